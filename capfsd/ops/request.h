/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thing asked by somebody, from either front (a file, a control message). Whoever serves it
 * leaves the outcome here, and the front replies, once. Who refuses says why in one line, which
 * becomes the reply's text and an event. A request is its front's, and lives as long as that serves
 * it; nothing here sends anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"

struct metrics;

struct request {
	struct model *model;
	struct metrics *metrics; /* what its broker knows of itself (tree/metrics.h), NULL: nothing */
	uid_t uid; /* of the caller: information for events, and the owner of what it makes */
	gid_t gid;
	pid_t pid; /* likewise; decides nothing */

	/* It has come through this capability to what it is about, whose rights bound what it may do; NULL: all. */
	const struct capability *through;
	/* The same, or a capability to the session that asks: whoever has come so makes none that may more. NULL: all. */
	const struct capability *by;
	/* In whose tree it is asked: what is not below that is no account to be looked into. NULL: any is. */
	const struct session *asks;
	const struct asker *asker; /* who waits for what is asked by it (kinds/asking/ask.h); NULL: nobody */

	bool checks;  /* nothing is to be changed or told: what would be replied */
	bool appends; /* to what the file has: where that is a text that is written as a whole */

	/* The outcome. */
	int error;          /* positive errno, 0 when done */
	struct text text;   /* the result's line, or the reason of the refusal; no line feed */
	struct entity *made; /* what it has made, from before the commit on; NULL: nothing */
	uint64_t pending;   /* id of what must be reaped before the reply goes out, 0: reply now */

	/*
	 * Called by request_commit() before the commit: the front stages its reply's record
	 * (change_note), so that a repeated request gets that reply from the store. May be NULL.
	 * Where a full store has no room for it, what ends something is done without it.
	 */
	int (*note)(struct request *r, struct change *ch);
	void *data; /* the front's */
};

/* Sets the refusal; always returns 0, so that handlers end by `return refuse(…)`. */
int refuse(struct request *r, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Commits CH with the front's note. A store that is full becomes a refusal (ENOSPC).
 * Returns: 0 when the outcome stands in R (r->error tells), -errno for what ends the daemon.
 */
int request_commit(struct request *r, struct change *ch);

/* Aborts CH and turns -ENOMEM, -ENOSPC into refusals. Returns: 0, else the error. */
int request_fail(struct request *r, struct change *ch, int error);

/*
 * The one place that makes an event of a refusal: R's, of what is called VERB, asked where the fields
 * WHERE say, for those who read the events of S.
 */
void request_log_refusal(const struct request *r, struct session *s, const char *verb,
	const struct text *where);

void request_deinit(struct request *r);
