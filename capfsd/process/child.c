/* SPDX-License-Identifier: LGPL-2.1-or-later */
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

#define LOOK_MSEC 10

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

int
child_arrange(const int *fds, size_t n, const int *kept, size_t n_kept)
{
	int copies[CHILD_FDS_MAX], first = STDERR_FILENO + 1, next = first + (int)n;

	assert(n <= CHILD_FDS_MAX);
	/* Out of the way first, as one may have the number that another is to get. */
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
