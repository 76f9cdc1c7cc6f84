/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#define EVENTS_MAX 64

uint64_t
loop_clock_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Else a connection could get the number of stderr, and messages would go to a client. */
static int
fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

int
loop_init(struct loop *l)
{
	int e = fill_standard_fds();

	*l = (struct loop){.epoll_fd = -1, .signal_fd = -1, .now_usec = loop_clock_usec()};
	if (e < 0)
		return e;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll_fd < 0 ? -errno : 0;
}

void
loop_deinit(struct loop *l)
{
	l->signal_fd = fd_close(l->signal_fd);
	l->epoll_fd = fd_close(l->epoll_fd);
}

int
loop_add_signals(struct loop *l, struct source *s, const int *signals, int n)
{
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < n; i++)
		sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signal_fd < 0)
		return -errno;
	s->fd = l->signal_fd;
	return loop_add(l, s, EPOLLIN);
}

static int
control(struct loop *l, int op, struct source *s, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	if (epoll_ctl(l->epoll_fd, op, s->fd, &e) < 0)
		return -errno;
	s->events = events;
	return 0;
}

int
loop_add(struct loop *l, struct source *s, uint32_t events)
{
	int e = control(l, EPOLL_CTL_ADD, s, events);

	s->added = e == 0;
	return e;
}

int
loop_modify(struct loop *l, struct source *s, uint32_t events)
{
	return s->events == events ? 0 : control(l, EPOLL_CTL_MOD, s, events);
}

void
loop_remove(struct loop *l, struct source *s)
{
	if (s->added)
		epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	s->added = false;
	s->events = 0;
}

void
loop_end(struct loop *l, int status)
{
	l->ended = true;
	l->status = status;
}

/* Rounded up, so that nothing is looked at just before its time, again and again. */
static int
timeout_msec(uint64_t usec)
{
	if (usec == UINT64_MAX)
		return -1;
	return usec >= (uint64_t)INT_MAX * 1000 - 999 ? INT_MAX : (int)((usec + 999) / 1000);
}

int
loop_wait(struct loop *l, uint64_t timeout_usec)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, timeout_msec(timeout_usec));

	l->now_usec = loop_clock_usec();
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct source *s = events[i].data.ptr;

		if (s->added)
			s->run(s, events[i].events);
	}
	return 0;
}
