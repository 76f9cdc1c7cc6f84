/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the broker knows for `metrics` and `version` beside the model's counters. It is the broker's,
 * which joins in it what only the fronts know, and comes with each request to tree/metrics.c, which
 * shows it. Neither the model nor a verb looks at it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/model/counters.h"

/* So many sessions have series of their own; the others are summed in one. */
#define METRICS_SESSIONS_MAX 64
#define METRICS_OTHERS "(others)" /* no session is called that */

struct request;
struct entity;
struct text;

/* What a counter of a front is called, by its number. NULL: it is not shown. */
typedef const char *metrics_name(size_t number);

struct metrics {
	uint64_t instance;  /* of the mount */
	uint64_t n_brokers; /* started for this mount, the present one included */
	metrics_name *fuse_name, *control_name, *connect_name;

	/* Asked for with each text; NULL: what it sets is not shown. */
	void (*measure)(struct metrics *m, void *data);
	void *data;
	uint64_t connections, listeners;	      /* open now */
	uint64_t store_used, store_file, store_limit; /* bytes */
	uint64_t memory;			      /* bytes; 0: unknown */

	/* The largest consumers that were found so far, and where the search goes on. */
	uint64_t largest[METRICS_SESSIONS_MAX];
	unsigned n_largest;
	uint64_t searched_upto; /* id of the session that was looked at last, 0: begin anew */
};

/* N requests of FRONT took so long each. */
void metrics_took(struct counters *c, enum front front, uint64_t n, uint64_t each_usec);

void info_metrics(struct request *r, struct entity *e, struct text *t);
bool info_metrics_restless(const struct entity *e);
