/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long the broker works on requests, from the times that its loop knows anyway: what was served
 * between two of them shares what passed between them. Owned by the broker.
 */
#pragma once

#include <stdint.h>

#include "capfsd/model/counters.h"

struct meter {
	struct counters *counters;
	uint64_t since_usec;	   /* CLOCK_MONOTONIC: work goes on since then */
	uint64_t served[N_FRONTS]; /* measured so far */
	uint64_t n[N_FRONTS];	   /* since then, as of meter_mark() */
};

void meter_init(struct meter *m, struct counters *c);

/* Work begins: what has passed before is nobody's. */
static inline void
meter_begin(struct meter *m, uint64_t now_usec)
{
	m->since_usec = now_usec;
}

/* What is served from here on belongs to the next time. */
void meter_mark(struct meter *m);
/* The time at the last mark. */
void meter_note(struct meter *m, uint64_t now_usec);
