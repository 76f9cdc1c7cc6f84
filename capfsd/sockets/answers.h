/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections that no server gets, as the daemon answers itself: to a signal, for one. A row for
 * each type of capability of which that is true, filled in capfsd/answers; all else (limits, charges,
 * records, revocation, the end) is as with every other connection, and not the row's concern.
 */
#pragma once

#include <stdbool.h>

#include "capfsd/kinds/capability/type.h"

struct connection;
struct entity;

struct answers {
	/*
	 * CONN has something to be read, or has ended, or may be written to again, or watch_again() was
	 * called for it: one piece of work. What is read is first peeked at and leaves the queue when
	 * it is done, so that a crash in between does nothing twice and loses nothing. Returns: may
	 * there be more? False when CONN was ended.
	 */
	bool (*io)(struct connection *conn);
	/* CONN was a predecessor's, and is published: before anybody is served. NULL: nothing is to be done. */
	void (*adopted)(struct connection *conn);
	/* CONN ends, also in a hook. NULL: it is linked nowhere. */
	void (*left)(struct connection *conn);
	/* For hooks: the record of TARGET has changed. NULL: nobody waits for that. */
	void (*changed)(struct entity *target);
};

/* NULL: a server answers, or nobody. */
extern const struct answers *const capability_answers[N_CAPABILITY_TYPES];
