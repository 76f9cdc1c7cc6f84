/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The first front: FUSE. Turns the kernel's requests into calls of tree/tree.h and answers each
 * once. Keeps no node: numbers are made of entities. What it hands to the kernel's caches it
 * invalidates when the model's hooks tell, with notifications that take no lock.
 *
 * Takes the connection over from its predecessor: replays INIT, invalidates, and asks the kernel
 * to send again what was being served. A mutating request that had committed is answered from the
 * store (STORE_REPLY), never run again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/process/boot.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"
#include "capfsd/state/state.h"

struct calls;
struct change;
struct fs;
struct turns;

/* What the file system needs of sockets/, given by broker/fronts.c. */
struct fs_sockets {
	/* Does this capability's `socket` (session's `control`) have a listener that may be cached? */
	bool (*ready)(void *data, struct entity *e);
	/*
	 * A look-up wants one: ends in fs_socket_done(), perhaps from inside this call.
	 */
	void (*want)(void *data, struct entity *e);
	/* The kernel forgot the node: nobody holds it any more. */
	void (*forgotten)(void *data, uint64_t entity_id);
	/*
	 * A challenge was written onto the socket of capability E by somebody who may connect to it.
	 * Returns: 0 or an errno.
	 */
	int (*vouch)(void *data, struct entity *e, const char *challenge, size_t n);
};

/*
 * TURNS: the line in which its requests wait, too. It may be NULL where nothing is served.
 */
int fs_new(struct model *m, struct state *state, const struct boot *boot,
	struct turns *turns, const struct fs_sockets *sockets, void *sockets_data, struct fs **ret);
struct fs *fs_free(struct fs *fs);

/* Who has the conversations of open `call` files. Before fs_take_over(). */
void fs_set_calls(struct fs *fs, const struct calls *calls, void *data);
/* … and of `request` files, likewise. */
void fs_set_asks(struct fs *fs, const struct calls *asks, void *data);

/* What its requests show of the broker (tree/metrics.h), and what counters.fuse counts there. */
struct metrics;
void fs_set_metrics(struct fs *fs, struct metrics *metrics);
const char *fs_opcode_name(size_t opcode);

/*
 * Gives INIT to libfuse again, as the keeper read it; nobody is told the reply.
 * Returns: 0, -EPROTO (libfuse answers in another way than the keeper did).
 */
int fs_replay_init(struct fs *fs);

/* Takes the connection over. Returns: 0, -EPROTO (another INIT), -errno. */
int fs_take_over(struct fs *fs);

/*
 * Puts what the kernel has in line and takes turns, whosever they are, for the time of one; EAGER:
 * looks a few times more before it finds nothing. Until nobody is in line it is to be called again.
 * Returns: how many were taken; -ENODEV when unmounted, -errno.
 */
int fs_drain(struct fs *fs, bool eager);

/* The listener that `want` asked for is there, or not (positive errno). */
void fs_socket_done(struct fs *fs, struct entity *e, int error);

/* There may be something to be read for this open `call`. */
void fs_call_ready(struct fs *fs, uint64_t handle);

/*
 * Look-ups that have waited too long for their listener are answered without it, and reads of a
 * `call` with ETIMEDOUT; and when the next one will have: CLOCK_MONOTONIC, UINT64_MAX when none waits.
 */
void fs_timeouts(struct fs *fs);
uint64_t fs_deadline(const struct fs *fs);

/* Makes the kernel look the socket up again at the next use (its listener is being given back). */
void fs_socket_invalidate(struct fs *fs, struct entity *e);

/* Has the kernel its node? Then somebody may connect to it without looking the name up. */
bool fs_socket_is_known(struct fs *fs, struct entity *e);

/* The model's hooks. */
void fs_changed(struct fs *fs, struct entity *e);
void fs_shown(struct fs *fs, struct entity *e);
void fs_used(struct fs *fs, struct entity *e);
void fs_gone(struct fs *fs, struct entity *e);
void fs_logged(struct fs *fs, struct session *s);
void fs_boarding(struct fs *fs, struct change *ch);
void fs_arrived(struct fs *fs, bool stored);

/* Something was reaped: sends the replies that waited for it. */
void fs_reaped(struct fs *fs);
