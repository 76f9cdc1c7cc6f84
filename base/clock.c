/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 64 bits of nanoseconds last until the year 2554, so that no caller has to think of an overflow.
 */
#include "config.h"

#include "base/clock.h"

uint64_t
clock_nsec(clockid_t clock)
{
	struct timespec t = {};

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t
clock_usec(clockid_t clock)
{
	return clock_nsec(clock) / 1000;
}

uint64_t
clock_msec(clockid_t clock)
{
	return clock_nsec(clock) / 1000000;
}

uint64_t
clock_turns_nsec(void)
{
	return clock_nsec(CLOCK_MONOTONIC);
}

int
clock_until(const uint64_t *at_msec, size_t n, uint64_t last_msec)
{
	uint64_t now = clock_msec(CLOCK_MONOTONIC), first = last_msec;

	for (size_t i = 0; i < n; i++)
		if (at_msec[i] && at_msec[i] < first)
			first = at_msec[i];
	return first == UINT64_MAX ? -1 : first > now ? (int)(first - now) : 0;
}
