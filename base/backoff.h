/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long to wait before a process that ends again and again is started anew. The first few times are
 * free, since what has ended it may be over; then the pause doubles up to a bound, so that a process
 * that cannot live costs next to nothing. It never gives up: whatever kept the process from living may
 * go away, and what is held for its clients is worth waiting for.
 *
 * Used by the holder for its brokers, by the keeper for holder and binder, by `capctl serve` for its helper.
 * Keeps no time by itself.
 */
#pragma once

#include <stdint.h>

struct backoff {
	unsigned n_free; /* failures in a row that cost nothing */
	uint64_t first_usec, max_usec;
	unsigned n; /* failures in a row so far */
};

/* It has failed once more. Returns: the pause that is to lie between its start and the next. */
uint64_t backoff_add(struct backoff *b);

/* It has done what it is for: the next failure is the first again. */
void backoff_reset(struct backoff *b);
