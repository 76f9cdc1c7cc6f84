/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calling from an event loop. What the program polls is an epoll that lasts as long as the handle, in which are
 * whatever descriptors the handle waits for now. It can be read as well when nothing is to be read from these, but
 * something was, by another function of the handle or by another handle of the session: a timer in it runs out then.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "libcap-client/calling/calling.h"

#define OFF (-1)

/* Returns: 0, -errno. */
static int
watch(const struct capc *c, int *watched, uint32_t *events, int fd, uint32_t wanted)
{
	struct epoll_event event = {.events = wanted};
	int op = *watched < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (*watched == fd && (fd < 0 || *events == wanted))
		return 0;
	if (*watched >= 0 && *watched != fd) {
		/* It may have been closed, which ends it as well. */
		epoll_ctl(c->epoll, EPOLL_CTL_DEL, *watched, NULL);
		*watched = -1;
		op = EPOLL_CTL_ADD;
	}
	if (fd < 0)
		return 0;
	if (epoll_ctl(c->epoll, op, fd, &event) < 0)
		return -errno;
	*watched = fd;
	*events = wanted;
	return 0;
}

void
dispatch_forget(struct capc *c)
{
	if (c->epoll < 0)
		return;
	watch(c, &c->watched_fd, &c->fd_events, -1, 0);
	watch(c, &c->watched_server, &c->server_events, -1, 0);
}

static void
set_timer(struct capc *c, int msec)
{
	struct itimerspec t = {};

	if (msec > 0)
		t.it_value = (struct timespec){msec / 1000, msec % 1000 * 1000000L};
	else
		t.it_value.tv_nsec = msec == 0;

	if (msec == c->timer_msec && msec <= 0)
		return;
	timerfd_settime(c->timer, 0, &t, NULL);
	c->timer_msec = msec;
}

void
dispatch_update(struct capc *c)
{
	int fd = -1, session = -1, retry = flow_retry_msec(c), r;
	uint32_t events = EPOLLIN, session_events = EPOLLIN;

	if (c->epoll < 0)
		return;
	if (c->state == LINK_UP || c->state == LINK_ASIDE)
		fd = c->fd;
	else if (c->state != LINK_NONE)
		session = capc_session_fd(c->session);
	if (c->state == LINK_UP && c->is_blocked && !flow_is_simple(c))
		events |= EPOLLOUT;
	if (c->state == LINK_ASKING)
		session_events |= EPOLLOUT;
	r = watch(c, &c->watched_fd, &c->fd_events, fd, events);
	if (r == 0)
		r = watch(c, &c->watched_server, &c->server_events, c->server, EPOLLIN);
	if (r == 0)
		r = watch(c, &c->watched_session, &c->session_events, session, session_events);
	if (c->has_news || c->has_more || !list_empty(&c->due))
		set_timer(c, 0);
	else
		set_timer(c, retry ? retry : r < 0 ? RETRY_MSEC : OFF);
}

static int
begin(struct capc *c)
{
	cleanup_close int epoll = epoll_create1(EPOLL_CLOEXEC), timer = -1;
	struct epoll_event event = {.events = EPOLLIN};

	if (epoll < 0)
		return -errno;
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) < 0)
		return -errno;
	c->epoll = take_fd(epoll);
	c->timer = take_fd(timer);
	return 0;
}

int
capc_poll_fd(struct capc *c)
{
	int r = c->owner == process_id() ? 0 : -ECHILD;

	if (r == 0 && c->epoll < 0) {
		r = begin(c);
		/* What came before anybody polled. */
		dispatch_news(c);
	}
	if (r < 0)
		return r;
	dispatch_update(c);
	return c->epoll;
}

void
capc_on_connection(struct capc *c, capc_connection_changed *f, void *data)
{
	c->changed = f;
	c->changed_data = data;
}

static int
change(struct capc *c, uint64_t generation, int error)
{
	if (c->is_freed || !c->changed)
		return 0;
	c->changed(c, generation, error, c->changed_data);
	return 1;
}

/* Several may have come and gone; the first end and the last beginning are told. */
static int
tell_connection(struct capc *c)
{
	uint64_t now = c->state == LINK_UP ? c->generation : 0, told = c->told;
	bool failed = c->failed;
	int n = 0;

	c->told = now;
	c->failed = false;
	if (told && told != now)
		n += change(c, told, c->ended);
	else if (failed && !now)
		n += change(c, 0, c->ended);
	if (now && told != now)
		n += change(c, now, 0);
	return n;
}

int
pending_result(struct pending *p, struct capc_msg *ret)
{
	int r = p->error ? p->error : -(int)p->msg.code;

	*ret = p->msg;
	if (p->by_server)
		ret->origin = CAPC_ORIGIN_SERVER;
	else if (p->error)
		ret->origin = p->refused ? CAPC_ORIGIN_DAEMON : CAPC_ORIGIN_LIBRARY;
	p->msg = (struct capc_msg){};
	return r;
}

static int
tell_replies(struct capc *c)
{
	int n = 0;

	for (; !c->is_freed && !list_empty(&c->due); n++) {
		struct pending *p = list_entry(list_first(&c->due), struct pending, link);
		capc_replied *replied = p->replied;
		uint64_t serial = p->serial;
		void *data = p->data;
		struct capc_msg m;
		int r = pending_result(p, &m);

		pending_free(c, p);
		replied(c, serial, r, &m, data);
		capc_msg_done(&m);
	}
	return n;
}

int
capc_dispatch(struct capc *c)
{
	int n;

	if (c->owner != process_id())
		return -ECHILD;
	if (c->is_dispatching)
		return -EBUSY;
	flow_step(c, SENT_MAX);
	c->has_news = false;
	c->is_dispatching = true;
	n = tell_connection(c) + tell_replies(c);
	c->is_dispatching = false;
	/* The timer runs out anew: who waits for an edge has seen it. */
	if (c->has_more)
		c->timer_msec = OFF;
	if (c->is_freed)
		capc_free(c);
	else
		dispatch_update(c);
	return n;
}
