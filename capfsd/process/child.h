/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all processes that the daemon forks begin with, how one is waited for that ends soon, and what is kept of
 * one that is to be there always. Non-logging. What a child does first of all, and before anything else, is
 * child_reset_signals() and child_arrange().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/backoff.h"

#define CHILD_FDS_MAX 5

/*
 * Forks, with a pair of sockets of TYPE between the two processes; *RET_FD is the end of whoever returns, and
 * nobody else has it. Returns: the pid, 0 in the child, -errno.
 */
pid_t child_fork(int type, int *ret_fd);

/* The keeper blocks signals, since it reads them from a descriptor; its children do not. */
void child_reset_signals(void);

/*
 * Leaves this process with 0-2 and the N of FDS as 3, 4, 5…, all CLOEXEC. KEPT, ascending and above those,
 * stay where they are; everything else is closed. Returns: 0 or -errno.
 */
int child_arrange(const int *fds, size_t n, const int *kept, size_t n_kept);

/* Waits for any child of ours. Returns: its wait status, -ETIMEDOUT (it is killed), -errno. */
int child_wait(pid_t pid, int msec);

/*
 * Waits until nobody has the other end of the pair of which FD is one: the kernel says so behind the last of what
 * those who had it have written anywhere. Returns: is it so, MSEC later at most?
 */
bool child_is_gone(int fd, int msec);

/*
 * What is known of a child that is started anew when it has ended, for whoever does that: this decides when the
 * next one is due, and never starts it. Somebody else may reap it.
 */
struct child {
	pid_t pid;           /* 0: none is running */
	uint64_t since_msec; /* when it was started, CLOCK_MONOTONIC */
	struct backoff backoff;
};

void child_started(struct child *c, pid_t pid);

/* It has ended, and was waited for. Returns: when the next one is due. */
uint64_t child_ended(struct child *c);

/* Sends it a signal, if it is running. */
void child_signal(const struct child *c, int signal);

/* Ends it, if it is running, and waits for it, MSEC at most, or for ever when that is -1. */
void child_end(struct child *c, int msec);
