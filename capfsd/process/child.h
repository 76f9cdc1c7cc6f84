/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all processes that the daemon forks begin with, and how one is waited for that ends soon. Non-logging.
 * What a child does first of all, and before anything else, is child_reset_signals() and child_arrange().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

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
