/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a clock shows, as one number. Whoever measures or waits uses these, so that the unit stands in
 * the name and no caller puts a struct timespec together by itself. Non-logging; never fail for a
 * clock that the kernel has, which all CLOCK_… constants are.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

uint64_t clock_usec(clockid_t clock);
uint64_t clock_nsec(clockid_t clock);
uint64_t clock_msec(clockid_t clock);
/* CLOCK_MONOTONIC: what is measured by turns.h. */
uint64_t clock_turns_nsec(void);

/*
 * How long poll(2) may sleep, by CLOCK_MONOTONIC: until the first of the N times AT_MSEC that are not 0, or until
 * LAST_MSEC. -1: for ever, as that is UINT64_MAX.
 */
int clock_until(const uint64_t *at_msec, size_t n, uint64_t last_msec);
