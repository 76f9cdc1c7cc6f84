/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the broker knows for `metrics` and `version` beside the model's counters. Owned by the
 * broker, kept by the fronts, shown by tree/metrics.c.
 */
#pragma once

#include <stdint.h>

#include "capfsd/model/counters.h"

/* So many sessions have series of their own; the others are summed in one. */
#define METRICS_SESSIONS_MAX 64
#define METRICS_OTHERS "(others)" /* no session is called that */

struct metrics {
	uint64_t instance;    /* of the mount */
	uint64_t n_brokers;   /* started for this mount, the present one included */
	uint64_t connections; /* open now */
	uint64_t listeners;   /* open now */

	/* Asked for with each text; NULL: what it sets is not shown. */
	void (*measure)(struct metrics *m, void *data);
	void *data;
	uint64_t store_used, store_file, store_limit; /* bytes */
	uint64_t memory;			      /* bytes; 0: unknown */

	/* The largest consumers that were found so far, and where the search goes on. */
	uint64_t largest[METRICS_SESSIONS_MAX];
	unsigned n_largest;
	uint64_t searched_upto; /* id of the session that was looked at last, 0: begin anew */
};

/* Counts what was asked, by the verb of its event, and how it ended: ERROR is an errno, or 0. */
void metrics_asked(struct counters *c, const char *verb, int error);

/* N requests of FRONT took so long each. */
void metrics_took(struct counters *c, enum front front, uint64_t n, uint64_t each_usec);
