/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/keeper/children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "capfsd/holder/holder.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/succession.h"

#define FDS_MAX 5

/* The keeper blocks signals, since it reads them from a descriptor; its children do not. */
static void
reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Leaves this process with 0-2 and FDS as 3, 4, 5…, all CLOEXEC. They are copied out of the way
 * first, as one may have the number that another is to get. KEPT, above those, stay where they are.
 */
static int
arrange(const int *fds, size_t n, const int *kept, size_t n_kept)
{
	int copies[FDS_MAX], first = STDERR_FILENO + 1, next = first + (int)n;

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

static void __attribute__((noreturn))
holder_child(const struct boot *boot, const struct children_fds *fds, pid_t parent)
{
	const int wanted[FDS_MAX] = {
		[BOOT_FD_FUSE - BOOT_FD_FUSE] = fds->fuse,
		[BOOT_FD_KEEPER - BOOT_FD_FUSE] = fds->keeper,
		[BOOT_FD_BINDER - BOOT_FD_FUSE] = fds->binder,
		[BOOT_FD_LOCK - BOOT_FD_FUSE] = fds->lock,
		[BOOT_FD_FIRST_FREE - BOOT_FD_FUSE] = fds->activation,
	};
	struct boot own = *boot;
	int r;

	reset_signals();
	confine_title(boot, "capfs-holder");
	r = arrange(wanted, fds->activation < 0 ? FDS_MAX - 1 : FDS_MAX, fds->sockets,
		fds->n_sockets);
	if (r == 0)
		r = confine_drop(boot, parent);
	if (r < 0) {
		log_message(LOG_ERR, "holder: cannot drop privileges: %s", strerror(-r));
		_exit(BROKER_EXIT_RESTART);
	}
	_exit(holder_main(&own));
}

pid_t
children_start_holder(const struct boot *boot, const struct children_fds *fds)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		holder_child(boot, fds, parent);
	return pid;
}

pid_t
children_start_binder(const struct boot *boot, const char *mountpoint, int socket_fd)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid > 0)
		return pid;
	reset_signals();
	confine_title(boot, "capfs-binder");
	/* Above all without /dev/fuse, before anything is looked up on the mount. */
	if (arrange(&socket_fd, 1, NULL, 0) < 0)
		_exit(1);
	_exit(binder_main(boot, mountpoint, STDERR_FILENO + 1));
}

static void __attribute__((noreturn))
try_child(const struct boot *boot, int binary, int succession, int socket_fd, pid_t parent)
{
	const int wanted[] = {succession, socket_fd, binary};
	const int first = STDERR_FILENO + 1;
	char *const argv[] = {(char[]){"capfs-try"}, NULL};
	int r;

	reset_signals();
	r = arrange(wanted, 3, NULL, 0);
	if (r == 0)
		r = confine_drop(boot, parent);
	if (r == 0)
		r = fd_set_cloexec(first + 1, false);
	if (r == 0)
		r = succession_exec(first + 2, first, SUCCESSION_TRY, argv);
	log_message(LOG_ERR, "cannot try the installed binary: %s", strerror(-r));
	_exit(EXIT_FAILURE);
}

pid_t
children_start_try(const struct boot *boot, int binary, int succession, int socket_fd)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		try_child(boot, binary, succession, socket_fd, parent);
	return pid;
}

int
children_wait(pid_t pid, int msec)
{
	for (int waited = 0;; waited += 10) {
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
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}
