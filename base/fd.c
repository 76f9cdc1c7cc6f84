/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Closing keeps errno, since most descriptors are closed on the way out of a failure, which is still
 * to be told.
 */
#include "config.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

int
fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

int
fd_shutdown_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	errno = saved;
	return fd_close(fd);
}

int
fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int
fd_set_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);
	int wanted = on ? flags | flag : flags & ~flag;

	if (flags < 0)
		return -errno;
	if (wanted != flags && fcntl(fd, set, wanted) < 0)
		return -errno;
	return 0;
}

int
fd_set_nonblock(int fd, bool on)
{
	return fd_set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int
fd_set_cloexec(int fd, bool on)
{
	return fd_set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

bool
fd_has_hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

int
fd_socket_cookie(int fd, uint64_t *ret)
{
	socklen_t n = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret, &n) < 0 ? -errno : 0;
}

int
fd_set_descriptors(int fd, bool on)
{
	return setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){on}, sizeof(int)) < 0 ? -errno : 0;
}

int
fd_refuse_descriptors(int fd)
{
	return fd_set_descriptors(fd, false);
}

bool
fd_bars_descriptors(int fd)
{
	int on = 1;
	socklen_t n = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &n) == 0 && !on;
}

int
fd_socketpair(int type, int ret_fds[2])
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

static int
compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* By /proc, as only the kernel knows; atoi() is enough for what it writes there. */
int
fd_list(int **ret_fds, size_t *ret_n)
{
	cleanup_closedir DIR *dir = opendir("/proc/self/fd");
	cleanup_free int *fds = NULL;
	size_t n = 0, size = 0;

	if (!dir)
		return -errno;
	for (struct dirent *e; (e = readdir(dir));) {
		int *grown, fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		if (n == size) {
			size = size ? size * 2 : 64;
			grown = reallocarray(fds, size, sizeof(*fds));
			if (!grown)
				return -ENOMEM;
			fds = grown;
		}
		fds[n++] = fd;
	}
	if (n > 0)
		qsort(fds, n, sizeof(*fds), compare_fds);
	*ret_fds = take_ptr(fds);
	*ret_n = n;
	return 0;
}
