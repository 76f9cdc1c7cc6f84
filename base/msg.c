/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/msg.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

union control {
	char buffer[CMSG_SPACE(MSG_FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

ssize_t
msg_send(int fd, const void *data, size_t n, const int *fds, size_t n_fds, int flags)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	struct cmsghdr *c = &control.align;
	ssize_t sent;

	assert(n_fds <= MSG_FDS_MAX);
	if (n_fds == 0) {
		/* Of which the kernel copies less. */
		do
			sent = send(fd, data, n, flags | MSG_NOSIGNAL);
		while (sent < 0 && errno == EINTR && (flags & MSG_DONTWAIT));
		return sent < 0 ? -errno : sent;
	}
	msg.msg_control = control.buffer;
	msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	memset(control.buffer, 0, msg.msg_controllen);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	do
		sent = sendmsg(fd, &msg, flags | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR && (flags & MSG_DONTWAIT));
	return sent < 0 ? -errno : sent;
}

/* Room for what the kernel adds when it is asked for credentials, and for what it is told. */
union credentials {
	char buffer[CMSG_SPACE(sizeof(struct ucred))];
	struct cmsghdr align;
};

ssize_t
msg_send_as(int fd, const void *data, size_t n, uid_t uid, gid_t gid, int flags)
{
	struct ucred who = {.pid = getpid(), .uid = uid, .gid = gid};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
	union credentials credentials = {};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = credentials.buffer,
		.msg_controllen = sizeof(credentials.buffer)};
	struct cmsghdr *c = &credentials.align;
	ssize_t sent;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(who));
	memcpy(CMSG_DATA(c), &who, sizeof(who));
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

static ssize_t
receive(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;

	do
		n = recvmsg(fd, msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR && (flags & MSG_DONTWAIT));
	return n < 0 ? -errno : n;
}

static void
find_sender(struct msghdr *msg, struct msg_sender *ret)
{
	struct ucred credentials;

	*ret = (struct msg_sender){.pidfd = -1};
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
			ret->pid = credentials.pid;
			ret->uid = credentials.uid;
			ret->gid = credentials.gid;
		} else if (c->cmsg_type == SCM_PIDFD) {
			memcpy(&ret->pidfd, CMSG_DATA(c), sizeof(ret->pidfd));
		}
	}
}

static ssize_t
receive_from(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	bool *ret_lost, struct msg_sender *ret_sender, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	size_t n_fds;
	ssize_t n;

	/* Without room none is installed: to close a stranger's file may take as long as he likes. */
	if (fds_max > 0 || ret_sender) {
		msg.msg_control = control.buffer;
		msg.msg_controllen = sizeof(control.buffer);
	}
	n = receive(fd, &msg, flags);
	if (n < 0)
		return n;
	if (ret_sender)
		find_sender(&msg, ret_sender);
	n_fds = collect_fds(&msg, ret_fds, fds_max);
	*ret_lost = msg.msg_flags & MSG_CTRUNC;
	if (n_fds > fds_max || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		for (size_t i = 0; i < n_fds && i < fds_max; i++)
			close(ret_fds[i]);
		*ret_n_fds = 0;
		if (msg.msg_flags & MSG_TRUNC)
			return -EMSGSIZE;
		return n_fds > fds_max ? -EBADMSG : n;
	}
	*ret_n_fds = n_fds;
	return n;
}

ssize_t
msg_receive_lossy(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	bool *ret_lost, int flags)
{
	return receive_from(fd, data, size, ret_fds, fds_max, ret_n_fds, ret_lost, NULL, flags);
}

ssize_t
msg_receive_lossy_from(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	bool *ret_lost, int *ret_pidfd, int flags)
{
	struct msg_sender sender = {.pidfd = -1};
	ssize_t n = receive_from(fd, data, size, ret_fds, fds_max, ret_n_fds, ret_lost, &sender, flags);

	if (n < 0 && sender.pidfd >= 0)
		close(sender.pidfd);
	/* Without room for it the kernel puts an errno there. */
	*ret_pidfd = n < 0 || sender.pidfd < 0 ? -1 : sender.pidfd;
	return n;
}

void
msg_ask_pidfd(int fd, bool on)
{
	int value = on;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &value, sizeof(value));
}

ssize_t
msg_receive_from(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	struct msg_sender *ret, int flags)
{
	bool lost = false;
	ssize_t n;

	*ret = (struct msg_sender){.pidfd = -1};
	n = receive_from(fd, data, size, ret_fds, fds_max, ret_n_fds, &lost, ret, flags);

	if (n < 0 || lost)
		ret->pidfd = ret->pidfd >= 0 ? (close(ret->pidfd), -1) : -1;
	return n >= 0 && lost ? -EBADMSG : n;
}

/* As msg_receive(), but peeked at descriptors are installed, and -EMFILE when some could not be. */
static ssize_t
receive_fds(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	int flags)
{
	bool lost;
	ssize_t n = msg_receive_lossy(fd, data, size, ret_fds, fds_max, ret_n_fds, &lost, flags);

	return n >= 0 && lost ? -EMFILE : n;
}

static ssize_t
peek(int fd, void *data, size_t size, size_t *ret_n_fds, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = receive(fd, &msg, flags);

	if (n < 0)
		return n;
	*ret_n_fds = (msg.msg_flags & MSG_CTRUNC) != 0;
	return msg.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

ssize_t
msg_receive(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds,
	int flags)
{
	ssize_t n;

	if (flags & MSG_PEEK)
		return peek(fd, data, size, ret_n_fds, flags);
	n = receive_fds(fd, data, size, ret_fds, fds_max, ret_n_fds, flags);
	return n == -EMFILE ? -EBADMSG : n;
}

ssize_t
msg_receive_whole(int fd, void *data, size_t size, int *ret_fds, size_t fds_max, size_t *ret_n_fds)
{
	ssize_t n = receive_fds(fd, data, size, ret_fds, fds_max, ret_n_fds,
		MSG_PEEK | MSG_DONTWAIT);

	/* The descriptors that it still has are closed with it; ours are others. */
	if (n != -EAGAIN && n != -EMFILE)
		recv(fd, NULL, 0, MSG_DONTWAIT);
	return n;
}

void
msg_take(int fd)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = sizeof(byte)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;

	msg.msg_control = control.buffer;
	msg.msg_controllen = sizeof(control.buffer);
	(void)receive(fd, &msg, MSG_DONTWAIT);
}

static int
ask_credentials(int fd, int on)
{
	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ? -errno : 0;
}

int
msg_ask_sender(int fd, bool pidfd)
{
	msg_ask_pidfd(fd, pidfd);
	return ask_credentials(fd, 1);
}

bool
msg_is_end(int fd)
{
	union credentials credentials;
	struct msghdr msg = {.msg_control = credentials.buffer,
		.msg_controllen = sizeof(credentials.buffer)};
	ssize_t n;

	/* An empty message has credentials like all others, and the end has none. */
	ask_credentials(fd, 1);
	n = receive(fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	/* Not for longer: who sends while it is on gets a name. */
	ask_credentials(fd, 0);
	return n == 0 && msg.msg_controllen == 0;
}

void
msg_discard_all(int fd)
{
	union credentials credentials;
	char buffer[16384];
	int type = SOCK_STREAM;
	socklen_t n_type = sizeof(type);

	/*
	 * An empty packet looks like the end, and descriptors may be queued behind it: asked for
	 * credentials, the kernel adds them to every packet, but not to the end of packets (to that
	 * of a stream it does). There is no room for descriptors, so none is installed.
	 */
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_type);
	if (type == SOCK_SEQPACKET)
		ask_credentials(fd, 1);
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
