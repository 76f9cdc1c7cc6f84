/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is counted for `metrics`. It lies in the page that the holder shares with its brokers, so
 * that it goes on when a broker dies; only the broker writes it, but for what several say they do.
 */
#pragma once

#include <stdint.h>

/* What people and programs ask for, through whichever front. */
enum operation {
	OPERATION_OTHER,
	OPERATION_GRANT,
	OPERATION_REPLICATE,
	OPERATION_TRANSFER,
	OPERATION_REDUCE,
	OPERATION_REVOKE,
	OPERATION_OBJECT,
	OPERATION_TRANSFER_QUOTA,
	OPERATION_CREATE,
	OPERATION_REMOVE,
	OPERATION_RENAME,
	OPERATION_CHMOD,
	OPERATION_ATTACH,
	OPERATION_OPEN,
	OPERATION_IMPORT,
	N_OPERATIONS,
};

/* Where requests come from. */
enum front {
	FRONT_FUSE,
	FRONT_CONTROL,
	FRONT_SOCKET, /* a connection is accepted */
	N_FRONTS,
};

#define COUNTERS_FUSE 64    /* opcodes of FUSE; 0: all others */
#define COUNTERS_CONTROL 16 /* operations of the control protocol; 0: all others */
#define COUNTERS_ERRNO 134  /* 0: all others */
#define COUNTERS_REASONS 13 /* why a connection is refused (sockets/private.h); 0: the daemon's fault \
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
	uint64_t done[N_OPERATIONS], refused[N_OPERATIONS];
	uint64_t errors[COUNTERS_ERRNO]; /* of these refusals */
	uint64_t offered, taken;	 /* connections */
	uint64_t connects_refused[COUNTERS_REASONS];
	uint64_t poisoned; /* requests answered EIO because brokers died of them */
	uint64_t events, events_lost;
	uint64_t lines_lost; /* of the log; added to by holder and broker */
	struct durations durations[N_FRONTS];
};

/* One more of ARRAY's I, or of its 0 where there is no such place. */
#define counters_add(array, i) \
	((array)[(uint64_t)(i) < sizeof(array) / sizeof((array)[0]) ? (uint64_t)(i) : 0]++)
