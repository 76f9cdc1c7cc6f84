/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is counted for `metrics`. It lies in the page that the holder shares with its brokers, so
 * that it goes on when a broker dies; only the broker writes it, but for what several say they do.
 */
#pragma once

#include <stdint.h>

/* Where requests come from. */
enum front {
	FRONT_FUSE,
	FRONT_CONTROL,
	FRONT_SOCKET, /* a connection is accepted */
	N_FRONTS,
};

/* Verbs, by their numbers (verbs/verbs.h); 0: all others. Those that came later have a place behind. */
#define COUNTERS_VERBS 15
#define COUNTERS_MORE_VERBS 48
#define COUNTERS_FUSE 64    /* opcodes of FUSE; 0: all others */
#define COUNTERS_CONTROL 16 /* operations of the control protocol; 0: all others */
#define COUNTERS_ERRNO 134  /* 0: all others */
#define COUNTERS_REASONS 13 /* why a connection is refused (kinds/capability/passage.h); 0: the daemon's fault \
			     */
#define COUNTERS_BUCKETS 13 /* tree/metrics.c has their bounds; what is slower is in none */

/* How long requests took. */
struct durations {
	uint64_t buckets[COUNTERS_BUCKETS];
	uint64_t n, sum_usec;
};

struct counters {
	uint64_t since_usec; /* CLOCK_REALTIME, when all of them were 0 */
	uint64_t fuse[COUNTERS_FUSE];
	uint64_t control[COUNTERS_CONTROL];
	uint64_t served[N_FRONTS]; /* all requests of a front */
	uint64_t done[COUNTERS_VERBS], refused[COUNTERS_VERBS];
	uint64_t errors[COUNTERS_ERRNO]; /* of these refusals */
	uint64_t offered, taken;	 /* connections */
	uint64_t connects_refused[COUNTERS_REASONS];
	uint64_t poisoned; /* requests refused with EIO because brokers died of them */
	uint64_t events, events_lost;
	uint64_t lines_lost; /* of the log; added to by holder and broker */
	struct durations durations[N_FRONTS];
};

/* Of verbs from COUNTERS_VERBS on. It stands at the end of the page, whose other members have their place. */
struct more_counters {
	uint64_t done[COUNTERS_MORE_VERBS], refused[COUNTERS_MORE_VERBS];
};

/* One more of ARRAY's I, or of its 0 where there is no such place. */
#define counters_add(array, i) \
	((array)[(uint64_t)(i) < sizeof(array) / sizeof((array)[0]) ? (uint64_t)(i) : 0]++)
