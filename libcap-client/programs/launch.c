/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "libcap-client/programs/launch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "libcap-client/private.h"

#define ERRNO_MAX 4095
#define ANSWER_BYTES 64 /* answers of later versions are longer */

_Static_assert(HELLO_PACKET_FDS == MSG_FDS_MAX, "a packet takes what the kernel allows");

const char *
launch_step_name(int step)
{
	static const char *const words[] = PROCESS_STEP_WORDS;

	return step >= 0 && step < STEP_N ? words[step] : NULL;
}

static int
say_as(int fd, const void *data, size_t size, uid_t uid, gid_t gid, uint64_t deadline)
{
	for (;;) {
		ssize_t n = msg_send_as(fd, data, size, uid, gid, MSG_DONTWAIT);
		int r;

		if (n != -EAGAIN)
			return n < 0 ? (int)n : 0;
		r = wait_until(fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
}

/*
 * The kernel takes nobody's word but that of a process with CAP_SETUID. Below a user namespace the same user
 * has another number, or none: then it is this process's own that is said, and whoever receives it compares.
 */
static int
say_hello(int fd, const struct launch *l, uint64_t deadline)
{
	size_t size = l->hello.n_groups > 0 ? sizeof(l->hello) : HELLO_BYTES_FIRST;
	int r = say_as(fd, &l->hello, size, l->uid, l->gid, deadline);

	if (r == -EINVAL)
		r = say_as(fd, &l->hello, size, geteuid(), getegid(), deadline);
	for (uint32_t i = 0; r == 0 && i < l->hello.n_groups; i++)
		r = say_as(fd, "", 1, l->uid, l->groups[i], deadline);
	return r;
}

static size_t
at_most(size_t n, size_t max)
{
	return n < max ? n : max;
}

/* The descriptors go ahead with the bytes, and what is left of them with one byte each time. */
static int
say_rest(int fd, const struct launch *l, uint64_t deadline)
{
	size_t bytes = 0, fds = 0;
	int r = 0;

	while (r == 0 && (bytes < l->hello.n_bytes || fds < l->n_fds)) {
		size_t n_bytes = at_most(l->hello.n_bytes - bytes, HELLO_PACKET_BYTES);
		size_t n_fds = at_most(l->n_fds - fds, HELLO_PACKET_FDS);

		r = n_bytes > 0 ? send_until(fd, l->bytes + bytes, n_bytes, l->fds + fds, n_fds, deadline)
				: send_until(fd, "", 1, l->fds + fds, n_fds, deadline);
		bytes += n_bytes;
		fds += n_fds;
	}
	return r;
}

/*
 * One answer. Returns: 1, 0: the end of the pair, -ETIMEDOUT, -EBADMSG, -errno. Nothing can come with it that
 * would be installed here. It is the end that is waited for, with which all answers are there: to be woken for the
 * first of them as well, only to wait again, costs as much as a start can be seen to take.
 */
static int
hear(int fd, uint64_t deadline, struct process_answer *ret)
{
	uint8_t buffer[ANSWER_BYTES];
	bool reset = false, late = false;
	size_t n_fds;

	for (;;) {
		ssize_t n = msg_receive(fd, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);
		int r;

		if (n >= (ssize_t)sizeof(*ret)) {
			memcpy(ret, buffer, sizeof(*ret));
			return 1;
		}
		if (n > 0)
			return -EBADMSG;
		/* That it ended with something unread is told before what it had said. */
		if (n == 0 || (n == -ECONNRESET && reset))
			return 0;
		if (n == -ECONNRESET) {
			reset = true;
			continue;
		}
		if (n != -EAGAIN || late)
			return n == -EAGAIN ? -ETIMEDOUT : (int)n;
		r = wait_until(fd, POLLRDHUP, deadline);
		late = r == -ETIMEDOUT;
		if (r < 0 && !late)
			return r;
	}
}

/* As launch_run(). */
static int
hear_all(int fd, uint64_t deadline, int *ret_step)
{
	struct process_answer answer;
	bool executes = false;
	int r;

	while ((r = hear(fd, deadline, &answer)) > 0) {
		if (answer.step != STEP_NONE) {
			if (answer.step < 0 || answer.error <= 0 || answer.error > ERRNO_MAX)
				return -EBADMSG;
			*ret_step = answer.step;
			return -answer.error;
		}
		if (executes)
			return -EBADMSG;
		executes = true;
	}
	if (r < 0 || executes)
		return r;
	*ret_step = STEP_NONE;
	return -ECONNRESET;
}

int
launch_run(int fd, const struct launch *l, uint64_t deadline, int *ret_step)
{
	int r;

	*ret_step = -1;
	r = say_hello(fd, l, deadline);
	if (r == 0)
		r = say_rest(fd, l, deadline);
	/* One that has failed does not wait for the rest, but has said why. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return r;
	return hear_all(fd, deadline, ret_step);
}
