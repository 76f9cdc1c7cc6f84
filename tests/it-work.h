/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients of a running daemon, each a process in a session of its own (sessions/wN), each doing one
 * kind of thing again and again and comparing what it gets with what it must get.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WORK_N 8
#define WORK_TEXT 240

/* Shared with the worker's process. */
struct worker {
	volatile uint64_t rounds;
	volatile uint64_t failures;
	volatile int64_t last_msec; /* CLOCK_MONOTONIC of the last round's end */
	volatile bool stop;
	char first_failure[WORK_TEXT];
};

struct work {
	const char *name;
	/* One round; 0, or -1 after worker_fail(). STATE is the worker's own, NULL at first. */
	int (*round)(struct worker *w, const char *session, void **state);
};

extern const struct work work_table[WORK_N];

/* Notes what went wrong, with the present errno. Returns: -1. */
int worker_fail(struct worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

int64_t work_now_msec(void);

/* Runs rounds until told to stop. */
void work_run(const struct work *work, struct worker *w, unsigned number);
