/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The side of a helper that faces the daemon: one entrypoint with one object, key 0, whose slot has
 * the entrypoint's name, or another one. Connections are handed to a function; while the service is paused none
 * is taken, and the daemon keeps them waiting within its own bounds.
 */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "helpers/identity.h"
#include "helpers/loop.h"
#include "libcap-client/cap-client.h"

struct service_options {
	const char *name;
	bool seqpacket;	    /* else the sockets are streams */
	bool once;	    /* the entrypoint ends with this server */
	uint64_t hold;	    /* so many callers may wait while nobody serves */
	uint64_t backlog;   /* so many may wait to be accepted; 0: as many as the system allows */
	bool listen;	    /* in mode listen: there is a listener instead of connections */
	bool fds;	    /* clients may send descriptors */
	bool aside;	    /* callers may be given other connections */
	bool caveats;	    /* they come with their capability's caveats */
	bool counts;	    /* what they ask is counted here; where the daemon does not know that, they are */
	bool late;	    /* service_ready() is the user's to call */
	const char *slot;   /* NULL: as the entrypoint */
	uint64_t wait_usec; /* how long to try while another serves, or no daemon answers */
	struct identity_options identity;
};

struct service {
	struct source source;
	struct loop *loop;
	capc_session *session;
	capc_entrypoint *entrypoint;
	const char *name;
	int listener; /* where it listens; belongs to who takes it */
	struct source heart; /* says now and then that the loop turns, to who started us */
	struct identity identity;
};

/*
 * Attaches, makes the object, becomes whom the options name, and tells the service manager, where it does not
 * listen; F then gets each connection, which belongs to it (capc_raw_close). Blocks for up to wait_usec and the
 * daemon's own time. Returns: 0 or -errno, having said why.
 */
int service_init(struct service *s, struct loop *l, const struct service_options *o,
	capc_raw_handler *f, void *data);
void service_deinit(struct service *s);

/* Tells the service manager. */
void service_ready(const struct service *s);

/*
 * Tells the daemon whether what is served can be reached: 0, or the -errno of who tries. Blocks for a tenth of a
 * second at most. Returns: 0, -errno as capc_write().
 */
int service_health(struct service *s, int error);

/*
 * Tells the daemon that the server has refused CALL, words of its own, to who came by CAPABILITY as UID, -1: that
 * is not known; by ERROR, as EPERM, or else EDQUOT where it counts. Blocks as service_health(). Returns: 0, -ENOENT (the capability has ended), -EDQUOT (too many of
 * these), -errno as capc_write().
 */
int service_refused(struct service *s, uint64_t capability, uid_t uid, const char *error,
	const char *call);

void service_pause(struct service *s);
void service_resume(struct service *s);

/* The options that all helpers have. */
#define SERVICE_OPTIONS                                                                            \
	{"as", required_argument, NULL, 'a'}, {"backlog", required_argument, NULL, 'b'},           \
		{"once", no_argument, NULL, 'o'},                                                  \
		{"socket", required_argument, NULL, 's'}, {"user", required_argument, NULL, 'u'},  \
		{"wait", required_argument, NULL, 'w'}, {"help", no_argument, NULL, 'h'},          \
		{"version", no_argument, NULL, 'V'}, {}

/*
 * One that getopt_long(3) has found, and none of PROGRAM's own. Returns: 0, -EINVAL, or 1 when USAGE
 * or the version was all that was wanted.
 */
int service_option(int option, const char *program, const char *usage, struct service_options *o);

/*
 * What the options have left: NAME [--] COMMAND…. Sets the name. Returns: the command with its
 * arguments, in ARGV; NULL: there is none.
 */
char **service_command(int argc, char **argv, struct service_options *o);

/* A number of seconds, "0.5" too, as microseconds; or "N" as a count. Return: 0 or -EINVAL, said.
 */
int parse_seconds(const char *option, const char *text, uint64_t *ret_usec);
int parse_count(const char *option, const char *text, uint64_t *ret);
int parse_socket(const char *text, bool *ret_seqpacket);
