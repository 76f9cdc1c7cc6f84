/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does the broker turn its loop? It counts its rounds in the shared page, and the holder looks there now
 * and then. Each look also sends HOLDER_SIGNAL_TURN, which makes a broker that sleeps turn once: so one whose
 * count is the same at the next look hangs. One that is still loading has more time.
 *
 * Owned by the holder, which sleeps until watch_at(), and ends a broker that hangs. Non-logging.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct boot_page;

struct watch {
	uint64_t period_usec; /* between two looks */
	uint64_t until_usec;  /* when it must have become ready */
	uint64_t at_usec;     /* the next look */
	uint64_t turns;	      /* at the last look … */
	bool asked;	      /* … after which it was to turn */
};

/* Looks every ten seconds, or as often as the keeper tells systemd that it lives, if that is more often. */
void watch_init(struct watch *w);

/* Another broker is started now. All times are CLOCK_MONOTONIC. */
void watch_begin(struct watch *w, uint64_t now_usec);

static inline uint64_t
watch_at(const struct watch *w)
{
	return w->at_usec;
}

/* It is time to look. Returns: does BROKER go on? */
bool watch_look(struct watch *w, const struct boot_page *page, pid_t broker, uint64_t now_usec);
