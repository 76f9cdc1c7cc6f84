/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An epoll of its own beneath the loop's: what is ready there is told in one system call and put in
 * line before anything of it is served, so that nothing in that list can have been freed meanwhile.
 *
 * It is edge-triggered, but for a few. With a level, all that wait for their turn are told again at each
 * look, and a look would be the longer the more connections somebody floods by.
 */
#include "config.h"

#include "capfsd/process/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "capfsd/process/loop.h"

#define EVENTS_MAX 64 /* of one look; the others are told at the next */
#define WATCH_FLAGS (WATCH_LEVEL | WATCH_LATE | WATCH_NEW)

struct watches {
	struct turns *turns;
	sd_event_source *source; /* something has become ready */
	sd_event_source *again;	 /* somebody is still in line; NULL: nobody */
	sd_event *event;
	int fd;
	int late_fd;		/* another epoll: what may be late */
	sd_event_source *late;	/* off while it is looked at only along with the others */
	sd_event_source *timer; /* … which is until nobody was served for so long */
	bool is_delayed;
	uint64_t served_usec;
};

static int watches_on_again(sd_event_source *source, void *data);

/*
 * A new one each time, which stands behind all sources that have become ready before. One that is only
 * enabled again keeps the place of its first time, before them all: while there is somebody in line
 * nothing else would ever be heard, such as the binder, for which others wait.
 */
static int
go_on(struct watches *watches)
{
	int r;

	if (watches->again)
		return 0;
	r = sd_event_add_defer(watches->event, &watches->again, watches_on_again, watches);
	return r < 0 ? r : sd_event_source_set_exit_on_failure(watches->again, true);
}

struct ready {
	struct epoll_event events[EVENTS_MAX];
	int n;
};

/* What is ready of what the epoll FD watches. Returns: 0 or -errno. */
static int
look(int fd, struct ready *ret)
{
	ret->n = epoll_wait(fd, ret->events, EVENTS_MAX, 0);
	if (ret->n >= 0)
		return 0;
	ret->n = 0;
	return errno == EINTR ? 0 : error_trace(-errno);
}

/* Puts it in line: behind all, or before them. */
static void
line_up(struct watches *watches, const struct ready *ready, void (*join)(struct turns *turns, struct turn *turn))
{
	for (int i = 0; i < ready->n; i++) {
		struct watch *w = ready->events[i].data.ptr;

		join(watches->turns, &w->turn);
	}
}

static bool
are_new(const struct ready *ready)
{
	for (int i = 0; i < ready->n; i++) {
		const struct watch *w = ready->events[i].data.ptr;

		if (!(w->events & WATCH_NEW))
			return false;
	}
	return true;
}

int
watches_catch_up(struct watches *watches)
{
	struct ready late;
	int r;

	if (!watches->is_delayed)
		return 0;
	r = look(watches->late_fd, &late);
	line_up(watches, &late, turn_ready);
	return r;
}

void
watches_settle(struct watches *watches)
{
	struct ready late;

	/* Also when somebody has hurried in this round: what is late is not in line yet. */
	if (look(watches->late_fd, &late) < 0)
		return;
	line_up(watches, &late, turn_first);
	while (turns_has_first(watches->turns))
		turns_take(watches->turns);
}

/*
 * Who is to be told before others can see it is told before this round ends, however long that has taken already: the
 * next one may begin with somebody who looks.
 */
static void
take_turns(struct watches *watches)
{
	uint64_t spent = 0;

	do
		spent += turns_take(watches->turns);
	while (turns_has_first(watches->turns) || (spent < TURN_NSEC && !turns_empty(watches->turns)));
}

/*
 * Who asks finds done what came before: the end of a client makes room for the next one. Who only connects need not
 * wait for that.
 */
static int
watches_turn(struct watches *watches)
{
	bool in_line = !turns_empty(watches->turns), first;
	struct ready ready;
	int r = look(watches->fd, &ready);

	if (r < 0)
		return r;
	first = !in_line && ready.n > 0 && are_new(&ready);
	if (!first)
		r = watches_catch_up(watches);
	line_up(watches, &ready, turn_ready);
	watches->again = sd_event_source_disable_unref(watches->again);
	take_turns(watches);
	if (first && r == 0)
		r = watches_catch_up(watches);
	if (first)
		take_turns(watches);
	if (r < 0)
		return r;
	return turns_empty(watches->turns) ? 0 : go_on(watches);
}

static int
watches_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	return watches_turn(data);
}

static int
watches_on_late(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct watches *watches = data;
	struct ready late;
	int r = look(fd, &late);

	line_up(watches, &late, turn_ready);
	return r < 0 ? r : watches_turn(watches);
}

static void
set_delayed(struct watches *watches, bool is_delayed)
{
	if (is_delayed == watches->is_delayed)
		return;
	if (sd_event_source_set_enabled(watches->late, is_delayed ? SD_EVENT_OFF : SD_EVENT_ON) < 0)
		log_message(LOG_ERR, "the loop cannot be told what may be late");
	else
		watches->is_delayed = is_delayed;
}

/* Whoever comes now and then is not worth a timer. */
void
watches_delay(struct watches *watches)
{
	uint64_t now = loop_now(watches->event), before = watches->served_usec;

	watches->served_usec = now;
	if (now - before >= WATCH_LATE_USEC)
		return;
	set_delayed(watches, true);
	loop_arm(watches->timer, WATCH_LATE_USEC);
}

void
watches_hurry(struct watches *watches)
{
	set_delayed(watches, false);
}

/* Nobody came again: what there is from here on wakes the loop. What there was meanwhile does so now. */
static int
watches_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct watches *watches = data;
	int r = watches_catch_up(watches);

	if (r < 0)
		return r;
	if (watches->is_delayed && loop_now(watches->event) - watches->served_usec < WATCH_LATE_USEC)
		loop_arm(watches->timer, WATCH_LATE_USEC);
	else
		set_delayed(watches, false);
	return turns_empty(watches->turns) ? 0 : go_on(watches);
}

static int
watches_on_again(sd_event_source *source, void *data)
{
	return watches_turn(data);
}

struct watches *
watches_free(struct watches *watches)
{
	if (!watches)
		return NULL;
	sd_event_source_disable_unref(watches->again);
	sd_event_source_disable_unref(watches->source);
	sd_event_source_disable_unref(watches->late);
	sd_event_source_disable_unref(watches->timer);
	fd_close(watches->fd);
	fd_close(watches->late_fd);
	free(watches);
	return NULL;
}

CLEANUP_DEFINE(struct watches *, watches_free)

int
watches_new(sd_event *event, struct turns *turns, struct watches **ret)
{
	cleanup(watches_free_p) struct watches *watches = calloc(1, sizeof(*watches));
	int r;

	if (!watches)
		return -ENOMEM;
	watches->turns = turns;
	watches->event = event;
	watches->fd = epoll_create1(EPOLL_CLOEXEC);
	watches->late_fd = watches->fd < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
	if (watches->late_fd < 0)
		return error_trace(-errno);
	r = loop_add_io(event, watches->fd, EPOLLIN, watches_on_io, watches, &watches->source);
	if (r == 0)
		r = loop_add_io(event, watches->late_fd, EPOLLIN, watches_on_late, watches, &watches->late);
	if (r == 0)
		r = loop_add_timer(event, watches_on_timer, watches, &watches->timer);
	if (r < 0)
		return error_trace(r);
	*ret = take_ptr(watches);
	return 0;
}

static bool
watch_take(struct turn *turn)
{
	struct watch *w = container_of(turn, struct watch, turn);

	return w->f(w->data);
}

static int
control(const struct watch *w, int op)
{
	const struct watches *watches = w->watches;
	struct epoll_event event = {.data.ptr = (void *)(uintptr_t)w};

	event.events = w->events & ~WATCH_FLAGS;
	if (!(w->events & WATCH_LEVEL))
		event.events |= EPOLLET;
	return epoll_ctl(w->events & WATCH_LATE ? watches->late_fd : watches->fd, op, w->fd, &event);
}

int
watch_add(struct watches *watches, struct watch *w, struct payer *payer, int fd, uint32_t events,
	bool (*f)(void *data), void *data)
{
	w->watches = watches;
	w->events = events;
	w->fd = fd;
	if (control(w, EPOLL_CTL_ADD) < 0) {
		w->watches = NULL;
		return error_trace(-errno);
	}
	turn_init(&w->turn, payer, watch_take);
	w->f = f;
	w->data = data;
	return 0;
}

/* The same ones are not set again: what there was of them was told, and it is in line or done. */
void
watch_set(struct watch *w, uint32_t events)
{
	events |= w->events & WATCH_FLAGS;
	if (w->events == events)
		return;
	w->events = events;
	if (control(w, EPOLL_CTL_MOD) < 0)
		log_message(LOG_ERR, "a descriptor cannot be watched: %s", error_name(errno));
}

static void
wake(struct watches *watches)
{
	if (go_on(watches) < 0)
		log_message(LOG_ERR, "the loop cannot be told to go on");
}

void
watch_again(struct watch *w)
{
	turn_ready(w->watches->turns, &w->turn);
	wake(w->watches);
}

void
watch_first(struct watch *w)
{
	turn_first(w->watches->turns, &w->turn);
	wake(w->watches);
}

void
watch_remove(struct watch *w)
{
	if (!w->watches)
		return;
	/* One that is closed already is told of as long as its file lives, and W may be freed: no way on. */
	if (control(w, EPOLL_CTL_DEL) < 0)
		abort();
	turn_leave(&w->turn);
	w->watches = NULL;
}
