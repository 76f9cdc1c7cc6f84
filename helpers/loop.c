/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"

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

int
loop_renew(struct loop *l, struct source *s)
{
	return control(l, EPOLL_CTL_MOD, s, s->events);
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

static void
timer_run(struct source *source, uint32_t events)
{
	struct loop *l = container_of(source, struct loop, timer);
	uint64_t n;

	if (read(source->fd, &n, sizeof(n)) == sizeof(n))
		l->timer_usec = UINT64_MAX;
}

int
loop_init(struct loop *l)
{
	int e = fill_standard_fds();

	*l = LOOP_NONE;
	l->timer.run = timer_run;
	l->timer_usec = UINT64_MAX;
	l->now_usec = loop_clock_usec();
	if (e < 0)
		return e;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return l->timer.fd < 0 ? -errno : loop_add(l, &l->timer, EPOLLIN);
}

void
loop_deinit(struct loop *l)
{
	l->timer.fd = fd_close(l->timer.fd);
	l->signal_fd = fd_close(l->signal_fd);
	l->epoll_fd = fd_close(l->epoll_fd);
}

/*
 * A timeout of epoll_wait(2) is started and stopped whenever there is nothing to do. This timer is left alone
 * while it goes off early enough, even if by then what it was set for will have moved.
 */
static int
timer_set(struct loop *l, uint64_t timeout_usec)
{
	uint64_t usec = timeout_usec < UINT64_MAX - l->now_usec ? l->now_usec + timeout_usec : UINT64_MAX;
	struct itimerspec t = {.it_value = {(time_t)(usec / 1000000), (long)(usec % 1000000) * 1000}};

	if (timeout_usec == 0 || usec >= l->timer_usec)
		return 0;
	if (timerfd_settime(l->timer.fd, TFD_TIMER_ABSTIME, &t, NULL) < 0)
		return -errno;
	l->timer_usec = usec;
	return 0;
}

static void
run_sources(const struct epoll_event *events, int n, bool late)
{
	for (int i = 0; i < n; i++) {
		struct source *s = events[i].data.ptr;

		if (s->added && s->late == late)
			s->run(s, events[i].events);
	}
}

int
loop_wait(struct loop *l, uint64_t timeout_usec)
{
	struct epoll_event events[EVENTS_MAX];
	int n = timer_set(l, timeout_usec);

	if (n < 0)
		return n;
	n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, timeout_usec == 0 ? 0 : -1);
	l->now_usec = loop_clock_usec();
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	run_sources(events, n, false);
	run_sources(events, n, true);
	return 0;
}
