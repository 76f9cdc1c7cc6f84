/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/private.h"

/* How long to wait when the kernel has too many descriptors of this user in flight. */
#define IN_FLIGHT_RETRY_MSEC 10

#define SPIN_SKIP_MAX 63

/* A page that a child of any kind finds empty, unless it shares all memory with its parent. */
static pid_t *
page_make(void)
{
	pid_t *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED && madvise(page, sizeof(*page), MADV_WIPEONFORK) < 0) {
		munmap(page, sizeof(*page));
		page = MAP_FAILED;
	}
	return page;
}

pid_t
process_id(void)
{
	static pid_t *shared;
	pid_t *page = __atomic_load_n(&shared, __ATOMIC_ACQUIRE), pid;

	if (!page) {
		pid_t *none = NULL;

		page = page_make();
		if (!__atomic_compare_exchange_n(&shared, &none, page, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			if (page != MAP_FAILED)
				munmap(page, sizeof(*page));
			page = none;
		}
	}
	if (page == MAP_FAILED)
		return getpid();
	pid = __atomic_load_n(page, __ATOMIC_RELAXED);
	if (pid == 0) {
		pid = getpid();
		__atomic_store_n(page, pid, __ATOMIC_RELAXED);
	}
	return pid;
}

uint64_t
now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t
deadline_after(uint64_t timeout)
{
	uint64_t now;

	if (timeout == CAPC_FOREVER)
		return UINT64_MAX;
	now = now_usec();
	return timeout > UINT64_MAX - now ? UINT64_MAX : now + timeout;
}

uint64_t
deadline_left(uint64_t deadline)
{
	uint64_t now = deadline == UINT64_MAX ? 0 : now_usec();

	return deadline > now ? deadline - now : 0;
}

int
deadline_left_msec(uint64_t deadline)
{
	uint64_t left;

	if (deadline == UINT64_MAX)
		return -1;
	left = deadline_left(deadline);
	return left / 1000 >= INT_MAX ? INT_MAX : (int)((left + 999) / 1000);
}

/* A timeout of 0 still asks once. */
int
wait_until_either(int fd, short events, int other, uint64_t deadline)
{
	struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = other, .events = POLLIN}};

	for (;;) {
		int n = poll(p, other < 0 ? 1 : 2, deadline_left_msec(deadline));

		if (n > 0)
			return p[0].revents & POLLNVAL ? -EBADF : 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (deadline != UINT64_MAX && deadline_left(deadline) == 0)
			return -ETIMEDOUT;
	}
}

int
wait_until(int fd, short events, uint64_t deadline)
{
	return wait_until_either(fd, events, -1, deadline);
}

static uint64_t
clock_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int
spin_set(struct spin *s, uint64_t usec)
{
	if (usec > CAPC_BUSY_POLL_MAX)
		return -EINVAL;
	*s = (struct spin){.usec = (unsigned)usec};
	return 0;
}

bool
spin_again(struct spin *s, uint64_t deadline)
{
	if (s->usec == 0)
		return false;
	if (!s->end_nsec) {
		if (s->skipped < s->skip) {
			s->skipped++;
			return false;
		}
		if (deadline_left(deadline) == 0)
			return false;
		s->end_nsec = clock_nsec() + UINT64_C(1000) * s->usec;
		return true;
	}
	sched_yield();
	return clock_nsec() < s->end_nsec;
}

void
spin_end(struct spin *s, bool found)
{
	if (!s->end_nsec)
		return;
	s->end_nsec = 0;
	s->skipped = 0;
	s->skip = found ? 0 : s->skip < SPIN_SKIP_MAX ? 2 * s->skip + 1 : s->skip;
}

int
wait_in_flight(uint64_t deadline)
{
	int left = deadline_left_msec(deadline);

	if (left == 0)
		return -ETIMEDOUT;
	poll(NULL, 0, left < 0 || left > IN_FLIGHT_RETRY_MSEC ? IN_FLIGHT_RETRY_MSEC : left);
	return 0;
}

int
send_until(int fd, const void *data, size_t n, const int *fds, size_t n_fds, uint64_t deadline)
{
	for (;;) {
		ssize_t sent = msg_send(fd, data, n, fds, n_fds, MSG_DONTWAIT);
		int r;

		if (sent >= 0)
			return 0;
		if (sent == -EAGAIN)
			r = wait_until(fd, POLLOUT, deadline);
		else if (sent == -ETOOMANYREFS)
			r = wait_in_flight(deadline);
		else
			return (int)sent;
		if (r < 0)
			return r;
	}
}

ssize_t
receive_until(int fd, void *data, size_t size, int *ret_fd, uint64_t deadline)
{
	for (;;) {
		int fds[1], r;
		size_t n_fds;
		ssize_t n = msg_receive(fd, data, size, fds, 1, &n_fds, MSG_DONTWAIT);

		if (n >= 0) {
			*ret_fd = n_fds > 0 ? fds[0] : -1;
			return n;
		}
		if (n != -EAGAIN)
			return n;
		r = wait_until(fd, POLLIN, deadline);
		if (r < 0)
			return r;
	}
}

/*
 * connect(2) of AF_UNIX waits for room in the backlog by the send timeout of the socket; a
 * non-blocking one would have to ask again and again.
 */
static int
connect_timeout(int fd, const struct sockaddr_un *address, uint64_t deadline)
{
	struct timeval none = {}, t = {};

	for (;;) {
		if (deadline != UINT64_MAX) {
			uint64_t left = deadline_left(deadline);

			/* Zero would be for ever. */
			left = left > 0 ? left : 1;
			t.tv_sec = (time_t)(left / 1000000);
			t.tv_usec = (suseconds_t)(left % 1000000);
		}
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			break;
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) < 0 ? -errno : 0;
}

int
connect_path(const char *path, int type, uint64_t deadline, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = -1, node = -1;
	int r;

	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (strlen(path) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, path);
	} else {
		node = open(path, O_PATH | O_CLOEXEC);
		if (node < 0)
			return -errno;
		snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", node);
	}
	r = connect_timeout(fd, &address, deadline);
	if (r < 0)
		return r;
	*ret_fd = take_fd(fd);
	return 0;
}

int
socket_type(int fd)
{
	socklen_t n = sizeof(int);
	int type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ? -errno : type;
}

int
close_owned(int fd, pid_t owner)
{
	return owner == getpid() ? fd_shutdown_close(fd) : fd_close(fd);
}

/* --- connections that take the place of others --- */

/*
 * A server that stands in front of another one gives its client its own connection to that, and is out of
 * the way. The client asks for it with a byte on the connection that it has, once it takes descriptors there;
 * the answer is the same byte with the socket. From then on nothing is said on the first one: it tells each end
 * of the other's.
 */
static const char aside_word = 'a';

int
aside_ask(int fd)
{
	(void)fd_set_descriptors(fd, true);
	if (send(fd, &aside_word, 1, MSG_NOSIGNAL) == 1)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? -ECONNREFUSED : -errno;
}

int
aside_answer(int fd, int *ret_fd)
{
	cleanup_close int other = -1;
	size_t n_fds = 0;
	char byte;
	ssize_t n = msg_receive(fd, &byte, 1, &other, 1, &n_fds, MSG_DONTWAIT);

	if (n == 0 || n == -ECONNRESET)
		return -ECONNREFUSED;
	if (n < 0)
		return (int)n;
	if (byte != aside_word || n_fds != 1)
		return -EBADMSG;
	*ret_fd = take_fd(other);
	return 0;
}

int
aside_take(int fd, uint64_t deadline, int *ret_fd)
{
	int r = aside_ask(fd);

	if (r == 0)
		r = wait_until(fd, POLLIN, deadline);
	return r < 0 ? r : aside_answer(fd, ret_fd);
}

int
capc_step_aside(int fd, int other)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	int r;

	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	if (n == 0)
		return -ECONNRESET;
	if (byte != aside_word)
		return -EBADMSG;
	r = fd_set_nonblock(other, false);
	if (r < 0)
		return r;
	n = msg_send(fd, &aside_word, 1, &other, 1, MSG_DONTWAIT);
	if (n < 0)
		return n == -ETOOMANYREFS ? -ETOOMANYREFS : -ECONNRESET;
	(void)recv(fd, &byte, 1, MSG_DONTWAIT);
	return 0;
}
