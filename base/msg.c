/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/msg.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char buffer[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

ssize_t
msg_send(int fd, const void *data, size_t n, const int *fds, size_t n_fds, int flags)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t sent;

	assert(n_fds <= MSG_FDS_MAX);
	if (n_fds > 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.buffer;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		memset(control.buffer, 0, msg.msg_controllen);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		sent = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR && (flags & MSG_DONTWAIT));
	return sent < 0 ? -errno : sent;
}

/* Collects the descriptors of MSG; those above FDS_MAX are closed. Returns how many there were. */
static size_t
collect_fds(struct msghdr *msg, int *ret_fds, size_t fds_max)
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n_here;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n_here; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < fds_max)
				ret_fds[n] = fd;
			else
				close(fd);
			n++;
		}
	}
	return n;
}

ssize_t
msg_receive(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	size_t n_fds;
	ssize_t n;

	/* Without room none is installed: to close a stranger's file may take as long as he likes. */
	if (!(flags & MSG_PEEK) && fds_max > 0) {
		msg.msg_control = control.buffer;
		msg.msg_controllen = sizeof(control.buffer);
	}
	do
		n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR && (flags & MSG_DONTWAIT));
	if (n < 0)
		return -errno;
	if (flags & MSG_PEEK) {
		*ret_n_fds = (msg.msg_flags & MSG_CTRUNC) != 0;
		return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
	}
	n_fds = collect_fds(&msg, ret_fds, fds_max);
	if (n_fds > fds_max || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		for (size_t i = 0; i < n_fds && i < fds_max; i++)
			close(ret_fds[i]);
		*ret_n_fds = 0;
		return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : -EBADMSG;
	}
	*ret_n_fds = n_fds;
	return n;
}

void
msg_discard_all(int fd)
{
	char buffer[16384];
	union {
		char buffer[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} credentials;
	int on = 1, type = SOCK_STREAM;
	socklen_t n_type = sizeof(type);

	/*
	 * An empty packet looks like the end, and descriptors may be queued behind it: asked for
	 * credentials, the kernel adds them to every packet, but not to the end of packets (to that
	 * of a stream it does). There is no room for descriptors, so none is installed.
	 */
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_type);
	if (type == SOCK_SEQPACKET)
		setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	for (;;) {
		struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(buffer)};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;

		if (type == SOCK_SEQPACKET) {
			msg.msg_control = credentials.buffer;
			msg.msg_controllen = sizeof(credentials.buffer);
		}
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || (n == 0 && (type != SOCK_SEQPACKET || msg.msg_controllen == 0)))
			return;
	}
}
