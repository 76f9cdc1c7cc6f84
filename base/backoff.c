/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long to wait before the next start; see the header for why it never gives up. No state but
 * that of the caller's struct, no clock.
 */
#include "config.h"

#include "base/backoff.h"

#include <limits.h>

uint64_t
backoff_add(struct backoff *b)
{
	uint64_t pause = b->first_usec;

	/*
	 * The count stays where it is at the end of its range: starting over would make the pause
	 * short again.
	 */
	if (b->n < UINT_MAX)
		b->n++;
	if (b->n <= b->n_free)
		return 0;
	/* As long as the bound is not reached it cannot overflow: both are far below the half of it. */
	for (unsigned i = b->n_free + 1; i < b->n && pause < b->max_usec; i++)
		pause *= 2;
	return pause < b->max_usec ? pause : b->max_usec;
}

void
backoff_reset(struct backoff *b)
{
	b->n = 0;
}
