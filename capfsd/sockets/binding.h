/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How listeners come and go, by way of the binder: the process that makes them, and that has
 * somebody look at the descriptors that clients have sent. One of these may be there, or none, or
 * one that is ending and the next, which waits until the first has answered everything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/sockets/core.h"

struct binder_result;
struct session;

/* What an inspector says (control/inspection.c). */
struct inspector_ops {
	void (*seen)(void *data, const struct binder_result *result);
	/* The binder is gone, and all inspections with it. */
	void (*lost)(void *data);
};

/* Returns: 0 or -errno. */
int bindings_new(struct sockets *sockets);
/* Closes the binder's socket, which ends it. */
void bindings_stop(struct sockets *sockets);
void bindings_free(struct sockets *sockets);

/*
 * The first binder or a new one: takes FD, which gets the old one's number. Jobs that are under way
 * are given to it.
 */
void binding_set_binder(struct sockets *sockets, int fd);

/* Can E be connected to at once? */
bool binding_is_ready(struct sockets *sockets, struct entity *e);
/* A look-up waits for that: sockets_fs.socket_done tells, perhaps before this returns. */
void binding_want(struct sockets *sockets, struct entity *e);
/* The kernel has forgotten the node. */
void binding_forgotten(struct sockets *sockets, uint64_t entity_id);

/* Has the binder make a socket for L, which pays for it already. */
void binding_request(struct listener *l);
/* Gives back what is idle beyond the limit. */
void binding_balance(struct sockets *sockets);
/* Gives back an idle one of S, other than KEEP, its quota at once. Returns: was there one? */
bool binding_yield(struct sockets *sockets, const struct session *s, const struct listener *keep);

void binding_set_inspector(
	struct sockets *sockets, const struct inspector_ops *ops, void *data);
/*
 * Gives the binder CLIENT, one end of a pair, for the inspection SERIAL, which S pays for. -1: that
 * of SERIAL, which is under way, is S's now. Returns: 0, or -EAGAIN: it has no time for it, or has
 * not told yet what is under way.
 */
int binding_inspect(struct sockets *sockets, uint64_t serial, const struct session *s, int client);
/* Takes what the binder has said, without waiting for the loop. */
void binding_look(struct sockets *sockets);
