/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HAProxy, as a child of ours. It has connections from us alone, by descriptors that are passed to it, and so it
 * has our commands. Its end is ours, and the other way round.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "helpers/http/configuration.h"
#include "helpers/loop.h"

#define ENGINE_LISTENERS_MAX 256

struct engine {
	pid_t pid; /* 0: it is not there */
	int commands; /* our ends */
	int log;
	int upgrades; /* by which HAProxy connects to us, as to a server */
	int pages; /* where it gets those from in which it counts */
	int listeners[ENGINE_LISTENERS_MAX];
	size_t n_listeners;
	char patterns[CONFIGURATION_FILE_BYTES], names[CONFIGURATION_FILE_BYTES], words[CONFIGURATION_FILE_BYTES];
	char entries[CONFIGURATION_FILE_BYTES];
};

/* What is told to HAProxy; the rest is the engine's. */
struct engine_options {
	int preloaded; /* what is loaded into it (preloaded.c), open */
	const char *server;
	uint64_t idle_usec, wait_usec, max;
	size_t n_listeners; /* ENGINE_LISTENERS_MAX at most */
};

/* Opens what is loaded into HAProxy, which is beside this program. Returns: a descriptor, -errno. */
int engine_open_preloaded(void);

/*
 * Starts it, and waits until it answers. Blocks for up to ten seconds. Returns: 0; -errno, said: -ENOENT, there
 * is no HAProxy.
 */
int engine_start(struct engine *e, const struct engine_options *o);
/* Ends it, and waits for its end. */
void engine_stop(struct engine *e);
/* Has it ended? Then *RET_STATUS is its wait status. */
bool engine_has_ended(struct engine *e, int *ret_status);

/*
 * Passes the connection FD, which stays the caller's as well, to LISTENER.
 * Returns: 0; -EAGAIN: it has not taken those of before; -errno.
 */
int engine_pass(const struct engine *e, uint32_t listener, int fd);

/* The pages of the entrypoint, which stay the caller's: what is asked after that can be counted. Returns: 0 or -errno. */
int engine_give_pages(const struct engine *e, int granted, int used);

/* Whose LISTENER is. */
struct lease {
	const char *name;  /* told to who is refused … */
	const char *words; /* … and why; CONFIGURATION_ALL: everything is allowed */
	const char *entry; /* "INDEX CAPABILITY", where requests are counted; CONFIGURATION_NONE: nowhere */
};

/*
 * HAProxy compares what is asked through LISTENER with PATTERN, too, until engine_bar(): what matches is allowed.
 * Both block, shortly. Return: 0, -EMSGSIZE: that is more than HAProxy
 * takes; -EPROTO: it has refused, said; -ETIMEDOUT, -errno.
 */
int engine_allow(const struct engine *e, uint32_t listener, const char *pattern, const struct lease *lease);
int engine_bar(const struct engine *e, const char *pattern);

/* Has LISTENER no connections any more, in HAProxy either? Blocks, shortly. */
bool engine_is_idle(const struct engine *e, uint32_t listener);

/*
 * Whether HAProxy has the socket whose inode is INODE; *FD is where it was found at the last time, -1: never. One
 * that is on its way to LISTENER counts as its.
 */
bool engine_has(const struct engine *e, uint32_t listener, uint64_t inode, int *fd);

/*
 * HAProxy's descriptor of the client whose request has the number ID and waits at the backend of upgrades, and the
 * inode of that socket. Blocks, shortly. Returns: 0, -ENOENT: there is no such request any more; -ETIMEDOUT, -errno.
 */
int engine_find_client(const struct engine *e, uint64_t id, int *ret_fd, uint64_t *ret_inode);
