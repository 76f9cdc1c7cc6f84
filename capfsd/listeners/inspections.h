/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks at what strangers have sent, by processes that the binder makes for that (capfsd/binder): who
 * wants one begins it here, and is told what it has seen. This process never has the descriptor.
 *
 * An inspector that is held by a hostile file system stays, and is counted, until it is let go: a
 * session that makes such ones runs out of its own. The binder outlives brokers, and tells each of
 * them which are there and whose: counted anew, there would be as many again for each that dies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/listeners/core.h"
#include "capfsd/process/records.h"

#define INSPECTIONS_MAX 64 /* not over, shared as quota_share_left() says; … */
#define INSPECTIONS_MIN 4  /* … in halves no smaller than this */

/* What SERIAL, which S pays for, has seen. RESULT NULL: it has ended, and said nothing. Once for each. */
typedef void inspection_told(
	void *data, const struct session *s, uint64_t serial, const struct binder_result *result);

/* Returns: 0 or -errno. */
int inspections_new(struct sockets *sockets);
/* Nobody is told any more but with NULL. */
void inspections_free(struct sockets *sockets);

/*
 * Begins one for S, which pays for it as long as its process is there, with the N FDS, which stay the
 * caller's. TOLD is called from the loop, or by jobs_look(), with DATA.
 * Returns: 0; -EBUSY: too many are not over; -EDQUOT; -EAGAIN: the binder has no time for it; -ENOMEM.
 */
int inspections_begin(struct sockets *sockets, struct session *s, enum inspection_task task, const int *fds,
	size_t n, inspection_told *told, void *data, uint64_t *ret_serial);

/*
 * Do those of S take as many of its sockets as are left to it? For what others have S pay, who could take the last
 * ones of it.
 */
bool inspections_crowd(const struct sockets *sockets, const struct session *s);

/* S is gone: its parent answers for those that are not over. */
void inspections_inherit(struct sockets *sockets, const struct session *s);

/* For jobs.c: what an inspector says, or the binder of it; and that all of them ended with the binder. */
void inspections_told(struct sockets *sockets, const struct binder_result *result);
void inspections_lost(struct sockets *sockets);
