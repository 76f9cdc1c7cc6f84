/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/mount/fusermount.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/process/child.h"

#define HELPER_MSEC 10000
#define STATUS_MISSING 127 /* as a shell says it */

/* With a signal mask of its own; COMM_FD, through which it sends the connection, -1: none is to be sent. */
static pid_t
start(const char *const *arguments, int comm_fd)
{
	pid_t pid = fork();
	sigset_t none;
	char number[16];

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (comm_fd >= 0) {
		snprintf(number, sizeof(number), "%d", comm_fd);
		if (fd_set_cloexec(comm_fd, false) < 0 || setenv("_FUSE_COMMFD", number, 1) < 0)
			_exit(EXIT_FAILURE);
	}
	execvp(arguments[0], (char **)(uintptr_t)arguments);
	_exit(STATUS_MISSING);
}

/* Runs it. Returns: 0, -ENOENT, -EPERM, another -errno. */
static int
run(const char *const *arguments, int comm_fd)
{
	pid_t pid = start(arguments, comm_fd);
	int status = pid < 0 ? pid : child_wait(pid, HELPER_MSEC);

	if (status <= 0)
		return status;
	return WIFEXITED(status) && WEXITSTATUS(status) == STATUS_MISSING ? -ENOENT : -EPERM;
}

int
fusermount_end(const char *path)
{
	const char *const arguments[] = {"fusermount3", "-u", "-z", "-q", "--", path, NULL};

	return run(arguments, -1);
}

int
fusermount_make(const char *path, const char *source, int *ret_fuse_fd)
{
	const char *arguments[] = {"fusermount3", "-o", NULL, "--", path, NULL};
	cleanup_free char *options = NULL;
	cleanup_close int ours = -1, theirs = -1;
	size_t n_fds = 0;
	char bytes[16];
	int pair[2], r;

	if (asprintf(&options, "default_permissions,fsname=%s,subtype=capfs,nosuid,nodev,noexec", source) < 0)
		return -ENOMEM;
	r = fd_socketpair(SOCK_STREAM, pair);
	if (r < 0)
		return error_trace(r);
	ours = pair[0];
	theirs = pair[1];
	arguments[2] = options;
	r = run(arguments, theirs);
	/* Then nobody has the other end, and what was not sent yet never will be. */
	theirs = fd_close(theirs);
	if (r < 0)
		return r;
	if (msg_receive(ours, bytes, sizeof(bytes), ret_fuse_fd, 1, &n_fds, MSG_DONTWAIT) <= 0)
		return -EPERM;
	return n_fds == 1 ? 0 : -EPERM;
}
