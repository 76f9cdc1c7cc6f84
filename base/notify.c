/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who has sent a word the kernel tells (SO_PASSCRED), with each of them. */
#include "config.h"

#include "base/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/fd.h"

int
notify_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_n)
{
	size_t n = strlen(path);

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (n >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, n);
	if (path[0] == '@')
		ret->sun_path[0] = '\0';
	*ret_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return 0;
}

int
notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	cleanup_close int fd = -1;
	socklen_t n;
	int r;

	if (!path || !*path)
		return 0;
	r = notify_address(path, &address, &n);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
		sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, n) < 0)
		return -errno;
	return 0;
}

/* Bound to a name that the kernel chooses. */
int
notify_listen(void)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un own = {.sun_family = AF_UNIX};
	socklen_t n = sizeof(own);
	int on = 1;

	if (fd < 0)
		return -errno;
	(void)fd_refuse_descriptors(fd);
	if (bind(fd, (struct sockaddr *)&own, sizeof(sa_family_t)) < 0 ||
		getsockname(fd, (struct sockaddr *)&own, &n) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	own.sun_path[0] = '@';
	own.sun_path[n - offsetof(struct sockaddr_un, sun_path)] = '\0';
	return setenv("NOTIFY_SOCKET", own.sun_path, 1) < 0 ? -errno : take_fd(fd);
}

size_t
notify_receive(int fd, pid_t child, char *text, size_t size)
{
	union {
		char buffer[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = text, .iov_len = size - 1};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer),
	};
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	struct ucred peer = {};

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
		memcpy(&peer, CMSG_DATA(c), sizeof(peer));
	if (child <= 0 || peer.pid != child)
		return 0;
	text[n] = '\0';
	return (size_t)n;
}

bool
notify_is_ready(const char *text)
{
	return strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1");
}
