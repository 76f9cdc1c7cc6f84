/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only place that decides as whom a program runs: its plan names a user, which a broker wrote, and the
 * kernel another one, which nobody can forge. They are the same or there is no program.
 */
#include "config.h"

#include "spawner/hello.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/time.h>

#include "base/fd.h"
#include "spawner/raw.h"

#define HELLO_FLAGS (HELLO_EXEC_FD | HELLO_LISTEN_PID | HELLO_OPEN_SOCKETS)

union credentials {
	char buffer[CMSG_SPACE(sizeof(struct ucred))];
	struct cmsghdr align;
};

int
hello_pair(int ret_pair[2])
{
	int r;

	ret_pair[0] = ret_pair[1] = -1;
	r = fd_socketpair(SOCK_SEQPACKET, ret_pair);
	if (r == 0 && setsockopt(ret_pair[0], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)) < 0)
		r = -errno;
	return r;
}

void
hello_set_deadline(unsigned sec)
{
	struct itimerval t = {.it_value.tv_sec = sec};

	raw(SYS_setitimer, ITIMER_REAL, &t, NULL);
}

static bool
is_valid(const struct process_hello *h)
{
	uint32_t fds_max = HELLO_FDS_MAX + (h->flags & HELLO_EXEC_FD ? 1 : 0);

	return h->magic == HELLO_MAGIC && h->n_fds <= fds_max && h->n_bytes <= HELLO_BYTES_MAX &&
	       h->argc >= 1 && h->argc <= HELLO_STRINGS_MAX && h->envc <= HELLO_STRINGS_MAX &&
	       h->n_bytes >= h->argc + h->envc && !(h->flags & ~(uint32_t)HELLO_FLAGS) &&
	       !(h->flags & HELLO_EXEC_FD && h->n_fds == 0);
}

/* Is that what the kernel says of who has sent M? */
static bool
is_of(const struct msghdr *m, uint32_t uid, uint32_t gid)
{
	const struct cmsghdr *c =
		m->msg_controllen >= CMSG_LEN(sizeof(struct ucred)) ? CMSG_FIRSTHDR(m) : NULL;
	const struct ucred *u = c ? (const struct ucred *)(const void *)CMSG_DATA(c) : NULL;

	if (!u || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
		return false;
	return u->uid == uid && u->gid == gid;
}

/* Returns: how many bytes came; 0: the end; -errno. */
static long
receive(int fd, void *data, size_t size, int flags, union credentials *credentials, struct msghdr *ret)
{
	struct iovec iov = {.iov_base = data, .iov_len = size};
	long n;

	*ret = (struct msghdr){
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = credentials->buffer,
		.msg_controllen = sizeof(credentials->buffer),
	};
	do
		n = raw(SYS_recvmsg, fd, ret, MSG_CMSG_CLOEXEC | flags);
	while (n == -EINTR);
	ret->msg_iov = NULL;
	return n;
}

/* Each is one that the sender could be of by itself, and they are those of the plan, no more and no less. */
static int
look_at_groups(int fd, const struct process_plan *plan, int flags)
{
	union credentials credentials;
	struct msghdr m;
	char byte;

	for (uint32_t i = 0; i < plan->n_groups; i++) {
		long n = receive(fd, &byte, 1, flags, &credentials, &m);

		if (n <= 0)
			return n == 0 ? ECONNRESET : (int)-n;
		if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
			return EBADMSG;
		if (!is_of(&m, plan->uid, plan->groups[i]))
			return EPERM;
	}
	return 0;
}

/* What an older client does not send reads as 0. */
static int
look(int fd, const struct process_plan *plan, int flags, struct process_hello *ret, int *ret_step)
{
	union credentials credentials;
	struct msghdr m;
	long n;

	*ret = (struct process_hello){};
	*ret_step = STEP_HELLO;
	n = receive(fd, ret, sizeof(*ret), flags, &credentials, &m);
	if (n <= 0)
		return n == 0 ? ECONNRESET : (int)-n;
	if ((n != sizeof(*ret) && n != HELLO_BYTES_FIRST) || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || !is_valid(ret))
		return EBADMSG;
	*ret_step = STEP_CREDS;
	return is_of(&m, plan->uid, plan->gid) && ret->n_groups == plan->n_groups ? 0 : EPERM;
}

int
hello_receive(int fd, const struct process_plan *plan, struct process_hello *ret, int *ret_step)
{
	int r = look(fd, plan, 0, ret, ret_step);

	if (r == 0)
		r = look_at_groups(fd, plan, 0);
	raw(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &(int){0}, sizeof(int));
	return r;
}

/* Each of them is behind the one that was looked at last. */
static int
peek_groups(int fd, const struct process_plan *plan)
{
	int r;

	if (plan->n_groups == 0)
		return 0;
	hello_set_deadline(HELLO_SEC);
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){sizeof(struct process_hello)}, sizeof(int)) < 0)
		return errno;
	r = look_at_groups(fd, plan, MSG_PEEK);
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int));
	hello_set_deadline(0);
	return r;
}

int
hello_peek(int fd, int other, const struct process_plan *plan, int *ret_step)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = other}};
	struct process_hello hello;
	int r;

	*ret_step = STEP_HELLO;
	if (poll(p, 2, HELLO_SEC * 1000) <= 0)
		return ETIMEDOUT;
	if (p[1].revents)
		return ECONNRESET;
	r = look(fd, plan, MSG_PEEK | MSG_DONTWAIT, &hello, ret_step);
	return r == 0 ? peek_groups(fd, plan) : r;
}
