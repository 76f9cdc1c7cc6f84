/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs fusermount3 and waits for it. It owns nothing: the connection that comes back is the
 * caller's. Used by mount.c alone, and only where the daemon is not root. What it mounts with is
 * fixed here, but the path and the name; no shell is between.
 */
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

#define HELPER_MSEC 10000 /* a helper that hangs must not keep the daemon from ending */
#define STATUS_MISSING 127 /* as a shell says it */

/*
 * The helper inherits the mask of signals, and the keeper blocks those that it reads from a
 * descriptor: it gets an empty one, or nothing but SIGKILL would end it. COMM_FD is where it sends
 * the connection, by a number in the environment; -1: none is to be sent.
 */
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

/*
 * It has said on stderr why it failed, so that its status is all that is of interest. Returns: 0,
 * -ENOENT, -EPERM, another -errno.
 */
static int
run(const char *const *arguments, int comm_fd)
{
	pid_t pid = start(arguments, comm_fd);
	int status = pid < 0 ? pid : child_wait(pid, HELPER_MSEC);

	if (status <= 0)
		return status;
	return WIFEXITED(status) && WEXITSTATUS(status) == STATUS_MISSING ? -ENOENT : -EPERM;
}

/*
 * Lazily, as the tree is in use more often than not, and quietly, as the mount may be gone already.
 */
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
	/*
	 * Then nobody has the other end, so that what was not sent yet never will be and nothing is
	 * waited for.
	 */
	theirs = fd_close(theirs);
	if (r < 0)
		return r;
	if (msg_receive(ours, bytes, sizeof(bytes), ret_fuse_fd, 1, &n_fds, MSG_DONTWAIT) <= 0)
		return -EPERM;
	return n_fds == 1 ? 0 : -EPERM;
}
