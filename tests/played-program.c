/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/played-program.h"

#include <check.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__;                                                           \
	} while (0)

#define LONG_MSEC 20000
#define MOMENT_MSEC 30

static bool
is_ready(const struct played_program *p, int msec)
{
	struct pollfd f = {.fd = p->fd, .events = POLLIN};

	return poll(&f, 1, msec) == 1;
}

static void
ask_credentials(int fd, int on)
{
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

static int
take_hello(struct played_program *p)
{
	union {
		char buffer[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = {.iov_base = &p->hello, .iov_len = sizeof(p->hello)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer)};
	ssize_t n;

	NEED(is_ready(p, LONG_MSEC));
	n = recvmsg(p->fd, &msg, MSG_CMSG_CLOEXEC);
	if (n == 0) {
		p->end_came = true;
		return 0;
	}
	NEED(n == HELLO_BYTES_FIRST && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
	NEED(control.align.cmsg_level == SOL_SOCKET && control.align.cmsg_type == SCM_CREDENTIALS);
	memcpy(&p->who, CMSG_DATA(&control.align), sizeof(p->who));
	p->hello_came = true;
	ask_credentials(p->fd, 0);
	return 0;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static bool
is_complete(const struct played_program *p)
{
	return p->n_bytes >= p->hello.n_bytes && p->n_fds >= p->hello.n_fds;
}

static int
take_packet(struct played_program *p)
{
	static char buffer[HELLO_PACKET_BYTES];
	int fds[HELLO_PACKET_FDS];
	size_t n_fds = 0;
	ssize_t n;

	NEED(is_ready(p, LONG_MSEC));
	n = msg_receive(p->fd, buffer, sizeof(buffer), fds, HELLO_PACKET_FDS, &n_fds, MSG_DONTWAIT);
	/* On a slow machine the client's time may be over sooner. */
	if (n == 0 && p->waits) {
		p->end_came = true;
		return 0;
	}
	NEED(n > 0);
	p->n_packets++;
	p->packet_bytes_max = larger(p->packet_bytes_max, (size_t)n);
	p->packet_fds_max = larger(p->packet_fds_max, n_fds);
	/* Behind the last of the bytes, one stands for each packet. */
	if (p->n_bytes < p->hello.n_bytes) {
		NEED(p->n_bytes + (size_t)n <= sizeof(p->bytes));
		memcpy(p->bytes + p->n_bytes, buffer, (size_t)n);
		p->n_bytes += (size_t)n;
	} else {
		NEED(n == 1 && n_fds > 0);
	}
	for (size_t i = 0; i < n_fds; i++) {
		struct stat st;

		NEED(p->n_fds < PROGRAM_FDS_MAX && fstat(fds[i], &st) == 0);
		p->files[p->n_fds++] = st.st_ino;
		close(fds[i]);
	}
	return 0;
}

static int
take(struct played_program *p)
{
	int line = take_hello(p);

	if (line || p->end_came)
		return line;
	if (p->full[0]) {
		NEED(!is_ready(p, MOMENT_MSEC));
		close(p->full[0]);
		close(p->full[1]);
	}
	for (int i = 0; p->takes == PROGRAM_TAKES_ALL ? !is_complete(p) : i < p->takes; i++) {
		line = take_packet(p);
		if (line || p->end_came)
			break;
	}
	return line;
}

static int
play(struct played_program *p)
{
	char byte;
	int line = p->takes == PROGRAM_TAKES_NOTHING ? 0 : take(p);

	if (line || p->end_came)
		return line;
	for (size_t i = 0; i < p->n_answers; i++) {
		size_t n = p->n_answer_bytes ? p->n_answer_bytes : sizeof(p->answers[i]);
		char answer[128] = {};

		memcpy(answer, &p->answers[i], sizeof(p->answers[i]));
		NEED(msg_send(p->fd, answer, n, NULL, 0, 0) == (ssize_t)n || p->waits);
	}
	if (p->waits) {
		struct pollfd f = {.fd = p->fd, .events = POLLRDHUP};

		NEED(poll(&f, 1, LONG_MSEC) == 1);
		p->end_came = true;
		/* Nothing more than it was to have. */
		NEED(p->takes != PROGRAM_TAKES_ALL || recv(p->fd, &byte, 1, MSG_DONTWAIT) == 0);
	} else if (p->takes == PROGRAM_TAKES_ALL) {
		NEED(recv(p->fd, &byte, 1, MSG_DONTWAIT) <= 0);
	}
	return 0;
}

static void *
run(void *data)
{
	struct played_program *p = data;

	p->line = play(p);
	p->fd = fd_close(p->fd);
	return NULL;
}

int
played_program_start(struct played_program *p)
{
	int fds[2];

	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET, fds), 0);
	p->fd = fds[0];
	/* Who says something before this has no name. */
	ask_credentials(p->fd, 1);
	ck_assert_int_eq(pthread_create(&p->thread, NULL, run, p), 0);
	return fds[1];
}

void
played_program_end(struct played_program *p)
{
	ck_assert_int_eq(pthread_join(p->thread, NULL), 0);
	ck_assert_msg(p->line == 0, "the program: line %d", p->line);
}
