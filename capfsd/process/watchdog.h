/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does a child turn its loop? It counts its rounds in memory that it shares with its parent, who looks there now
 * and then. Each look also sends HOLDER_SIGNAL_TURN, which makes one that sleeps turn once: so one whose count is
 * the same at the next look hangs. One that waits for others, a broker that loads or a binder in a call on the
 * mount, has more time.
 *
 * Owned by the holder for its broker, and by the keeper for its binder: these look when it is watch_at(), and
 * end who hangs. Non-logging.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watchdog {
	uint64_t period_usec; /* between two looks */
	uint64_t until_usec;  /* when it must be ready again */
	uint64_t at_usec;     /* the next look */
	uint64_t turns;	      /* at the last look … */
	bool asked;	      /* … after which it was to turn */
};

/* Looks every ten seconds, or as often as the keeper tells systemd that it lives, if that is more often. */
void watchdog_init(struct watchdog *w);

/* Another child is started now. All times are CLOCK_MONOTONIC. */
void watchdog_begin(struct watchdog *w, uint64_t now_usec);

static inline uint64_t
watch_at(const struct watchdog *w)
{
	return w->at_usec;
}

/* It is time to look at CHILD's count; READY: it waits for nobody. Returns: does it go on? */
bool watchdog_look(struct watchdog *w, uint64_t turns, bool ready, pid_t child, uint64_t now_usec);
