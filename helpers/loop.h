/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The event loop of the helpers: sources embedded in what they belong to. A source may be removed
 * while events are being handled, but its memory must stay until loop_wait() has returned, since
 * the same round may still hold an event for it; such an event is dropped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct source {
	int fd;
	uint32_t events; /* what it waits for; meaningful while it is added */
	bool added;
	bool late; /* of those that are ready in a round it runs after all that are not */
	void (*run)(struct source *s, uint32_t events);
};

struct loop {
	int epoll_fd;
	int signal_fd;
	struct source timer;	/* wakes it for what is due later */
	uint64_t timer_usec;	/* when; UINT64_MAX: not at all */
	bool ended;	   /* set by whoever wants loop_wait()'s caller to stop */
	int status;	   /* the process's exit status then */
	uint64_t now_usec; /* CLOCK_MONOTONIC at the begin of this round */
};

/* One that was not begun: loop_deinit() has nothing to do. */
#define LOOP_NONE ((struct loop){.epoll_fd = -1, .signal_fd = -1, .timer.fd = -1})

/* Also makes sure that descriptors 0 to 2 are in use. Returns: 0 or -errno. */
int loop_init(struct loop *l);
void loop_deinit(struct loop *l);

/* Blocks SIGNALS in this process and gives them to RUN_SOURCE. Returns: 0 or -errno. */
int loop_add_signals(struct loop *l, struct source *s, const int *signals, int n);

int loop_add(struct loop *l, struct source *s, uint32_t events);
int loop_modify(struct loop *l, struct source *s, uint32_t events);
/* What it waits for is told again, if it is so: by EPOLLET that comes only with a change. */
int loop_renew(struct loop *l, struct source *s);
void loop_remove(struct loop *l, struct source *s);

/* One round. TIMEOUT_USEC UINT64_MAX: for ever. Returns: 0 or -errno. */
int loop_wait(struct loop *l, uint64_t timeout_usec);

void loop_end(struct loop *l, int status);

uint64_t loop_clock_usec(void);
