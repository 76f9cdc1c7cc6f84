/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HAProxy's configuration. Nothing of it is in the file system: what it reads are files in memory, and where it
 * listens are pairs of sockets, by which connections are passed to it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct text;

/* The listener to which all connections go that have no limits; those of the others are counted from here on. */
#define LISTENER_FREE 1

/* So many of MAX connections one session can have, and HAProxy holds at the listener of one capability. */
#define CLIENTS_SHARE(max) (((max) + 3) / 4)

struct configuration {
	const char *server; /* the absolute path of its socket */
	uint64_t idle_usec; /* a connection may wait so long for its next request; 0: for ever */
	uint64_t wait_usec; /* a request waits so long for a server that is not there */
	uint64_t max;	    /* connections */
	const int *listeners;
	size_t n_listeners;
	/* Descriptors as HAProxy has them: … */
	int commands; /* where its commands come from */
	int log;
	int upgrades; /* where the server of upgrades is, which is us */
	int patterns; /* what is allowed, of all */
	int names;    /* whose a listener is, as it is told to who is refused */
	int words;    /* … and why */
	int entries;  /* where its requests are counted */
	int script;   /* in Lua, which has them counted */
	int pages;    /* … there, as it gets them */
};

/* In these maps: it is so of none; and in words: all is allowed. */
#define CONFIGURATION_NONE "-"
#define CONFIGURATION_ALL "*"

/* The backend of requests that ask for an upgrade and have a body; and what says that we go on with their client. */
#define CONFIGURATION_UPGRADES "upgrades"
#define CONFIGURATION_TAKEN "X-Capfs-Taken"

/* Can the path of a server stand in it? */
int configuration_check(const char *server);

/* Appends it. */
void configuration_write(const struct configuration *c, struct text *t);

/* Appends its script. PRELOADED is what is loaded into it, and PAGES as above. */
void configuration_script(int preloaded, int pages, struct text *t);

/* How HAProxy calls a file that is open as FD. */
#define CONFIGURATION_FILE_BYTES 32
void configuration_file(int fd, char ret[CONFIGURATION_FILE_BYTES]);
