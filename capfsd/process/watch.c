/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An epoll of its own beneath the loop's: what is ready there is told in one system call and put in
 * line before anything of it is served, so that nothing in that list can have been freed meanwhile.
 *
 * It is edge-triggered. With a level, all that wait for their turn would be told again at each
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

struct watches {
	struct turns *turns;
	sd_event_source *source; /* something has become ready */
	sd_event_source *again;	 /* somebody is still in line; NULL: nobody */
	sd_event *event;
	int fd;
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

static int
watches_turn(struct watches *watches)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(watches->fd, events, EVENTS_MAX, 0);

	if (n < 0 && errno != EINTR)
		return error_trace(-errno);
	for (int i = 0; i < n; i++) {
		struct watch *w = events[i].data.ptr;

		turn_ready(watches->turns, &w->turn);
	}
	watches->again = sd_event_source_disable_unref(watches->again);
	turns_take(watches->turns);
	return turns_empty(watches->turns) ? 0 : go_on(watches);
}

static int
watches_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	return watches_turn(data);
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
	fd_close(watches->fd);
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
	if (watches->fd < 0)
		return error_trace(-errno);
	r = loop_add_io(event, watches->fd, EPOLLIN, watches_on_io, watches, &watches->source);
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

int
watch_add(struct watches *watches, struct watch *w, struct payer *payer, int fd, uint32_t events,
	bool (*f)(void *data), void *data)
{
	struct epoll_event event = {.events = events | EPOLLET, .data.ptr = w};

	if (epoll_ctl(watches->fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return error_trace(-errno);
	turn_init(&w->turn, payer, watch_take);
	w->watches = watches;
	w->f = f;
	w->data = data;
	w->events = events;
	w->fd = fd;
	return 0;
}

/* The same ones are not set again: what there was of them was told, and it is in line or done. */
void
watch_set(struct watch *w, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLET, .data.ptr = w};

	if (w->events == events)
		return;
	w->events = events;
	if (epoll_ctl(w->watches->fd, EPOLL_CTL_MOD, w->fd, &event) < 0)
		log_message(LOG_ERR, "a descriptor cannot be watched: %s", error_name(errno));
}

void
watch_again(struct watch *w)
{
	turn_ready(w->watches->turns, &w->turn);
	if (go_on(w->watches) < 0)
		log_message(LOG_ERR, "the loop cannot be told to go on");
}

void
watch_remove(struct watch *w)
{
	if (!w->watches)
		return;
	/* One that is closed already is told of as long as its file lives, and W may be freed: no way on. */
	if (epoll_ctl(w->watches->fd, EPOLL_CTL_DEL, w->fd, NULL) < 0)
		abort();
	turn_leave(&w->turn);
	w->watches = NULL;
}
