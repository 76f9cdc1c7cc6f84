/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a child of the daemon does between fork(2) and its own work, and how to wait for one without
 * being kept waiting. It owns nothing. What runs in the child calls nothing that allocates or logs,
 * and none of this decides what a child may do: that is in confine.c.
 */
#include "config.h"

#include "capfsd/process/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

/* Short against what a child takes to run a program, long against the cost of a look. */
#define LOOK_MSEC 10
#define GOOD_MSEC 5000 /* whoever has lived that long was of use */

/*
 * Each process closes the end that is the other's, so that the pair hangs up for one of them when
 * the other has ended, and not only when both have. The parent makes it, and so is who SO_PEERCRED
 * names to the child: by that the holder knows its keeper.
 */
pid_t
child_fork(int type, int *ret_fd)
{
	cleanup_close int parents = -1, childs = -1;
	int pair[2], r;
	pid_t pid;

	r = fd_socketpair(type, pair);
	if (r < 0)
		return error_trace(r);
	parents = pair[0];
	childs = pair[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	*ret_fd = pid == 0 ? take_fd(childs) : take_fd(parents);
	return pid;
}

/*
 * All that the parent has chosen about signals goes with fork(2). A child that kept them blocked
 * could not be ended but by SIGKILL; one that did not ignore SIGPIPE would die of a peer that has
 * gone away.
 */
void
child_reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Whatever is not wanted in a child is closed here, above all /dev/fuse, the locks and the sockets
 * of others: a copy that is forgotten in some child keeps a mount, a lock or a connection alive
 * after its owner's end.
 */
int
child_arrange(const int *fds, size_t n, const int *kept, size_t n_kept)
{
	int copies[CHILD_FDS_MAX], first = STDERR_FILENO + 1, next = first + (int)n;

	assert(n <= CHILD_FDS_MAX);
	/*
	 * Out of the way first, since one may have the number that another is to get. The copies
	 * lie above all wanted numbers and are closed below with the rest.
	 */
	for (size_t i = 0; i < n; i++) {
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, first + (int)n);
		if (copies[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < n; i++)
		if (dup3(copies[i], first + (int)i, O_CLOEXEC) < 0)
			return -errno;
	for (size_t i = 0; i < n_kept; i++) {
		if (kept[i] > next)
			close_range((unsigned)next, (unsigned)kept[i] - 1, 0);
		next = kept[i] + 1;
	}
	closefrom(next);
	return 0;
}

/*
 * By looking again and again, not by SIGCHLD: the caller may read that signal in a loop of its own,
 * which does not turn now. A child that is late is killed and not waited for, as it may sleep in a
 * system call that ignores even SIGKILL; whoever reaps next finds it.
 */
int
child_wait(pid_t pid, int msec)
{
	for (int waited = 0;; waited += LOOK_MSEC) {
		int status;
		pid_t r = waitpid(pid, &status, WNOHANG);

		if (r == pid)
			return status;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (waited >= msec) {
			kill(pid, SIGKILL);
			return -ETIMEDOUT;
		}
		nanosleep(&(struct timespec){.tv_nsec = LOOK_MSEC * 1000000L}, NULL);
	}
}

/*
 * Used where two processes must never be at one store: a process whose parent is gone cannot be
 * waited for, but the kernel closes its descriptors only when it has ended.
 */
bool
child_is_gone(int fd, int msec)
{
	struct pollfd p = {.fd = fd};
	int r;

	/* Without events only a hang-up ends the wait. */
	do
		r = poll(&p, 1, msec);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

void
child_started(struct child *c, pid_t pid)
{
	c->pid = pid;
	c->since_msec = clock_msec(CLOCK_MONOTONIC);
}

/*
 * One that has lived for a while was of use, and its end is the first again. The pause counts from
 * its start, so that one that has lived longer than that is replaced at once.
 */
uint64_t
child_ended(struct child *c)
{
	c->pid = 0;
	if (clock_msec(CLOCK_MONOTONIC) - c->since_msec >= GOOD_MSEC)
		backoff_reset(&c->backoff);
	return c->since_msec + backoff_add(&c->backoff) / 1000;
}

/* Never with 0 for a pid, which would be all processes of our group. */
void
child_signal(const struct child *c, int signal)
{
	if (c->pid)
		kill(c->pid, signal);
}

/*
 * By SIGKILL, as whoever gets here has had its time. It is given up first, so that its end, which
 * may be reaped later, is nobody's loss.
 */
void
child_end(struct child *c, int msec)
{
	pid_t pid = c->pid;

	c->pid = 0;
	if (pid == 0)
		return;
	kill(pid, SIGKILL);
	if (msec >= 0)
		child_wait(pid, msec);
	else
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
}
