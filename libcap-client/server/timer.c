/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The timer of an entrypoint: connections that do nothing of what we wait for, descriptors that are
 * wanting, memory that is idle.
 */
#include "config.h"

#include <errno.h>
#include <sys/timerfd.h>

#include "libcap-client/server/serving.h"

#define RETRY_USEC 10000 /* between two tries for descriptors */

/* When a connection has taken nothing for too long. */
static uint64_t
connection_due(const struct connection *c)
{
	uint64_t timeout = c->entrypoint->timeout;

	return timeout > UINT64_MAX - c->stalled_since ? UINT64_MAX : c->stalled_since + timeout;
}

void
entrypoint_set_timer(struct capc_entrypoint *e)
{
	struct list *first = list_first(&e->stalled);
	struct itimerspec t = {};
	uint64_t due;

	due = first ? connection_due(list_entry(first, struct connection, stalled_link))
		    : UINT64_MAX;
	if (e->retry_at && e->retry_at < due)
		due = e->retry_at;
	if (e->room_at && e->room_at < due)
		due = e->room_at;
	if (e->dead_at || e->error)
		due = 1;
	if (due != UINT64_MAX) {
		t.it_value.tv_sec = (time_t)(due / 1000000);
		t.it_value.tv_nsec = (long)(due % 1000000) * 1000;
	}
	timerfd_settime(e->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

void
entrypoint_retry(struct capc_entrypoint *e)
{
	if (e->retry_at)
		return;
	e->retry_at = now_usec() + RETRY_USEC;
	entrypoint_set_timer(e);
}

/* Within a round they are buried at its end. */
void
entrypoint_wake(struct capc_entrypoint *e)
{
	if (e->in_round || e->dead_at)
		return;
	e->dead_at = 1;
	entrypoint_set_timer(e);
}

void
entrypoint_keeps(struct capc_entrypoint *e)
{
	if (e->room_at || room_is_empty(&e->room))
		return;
	e->room_at = now_usec() + ROOM_IDLE_USEC / 2;
	entrypoint_set_timer(e);
}

void
connection_stalls(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;
	bool first = list_empty(&e->stalled);

	list_unlink(&c->stalled_link);
	if (list_empty(&c->replies) && list_empty(&c->ahead_link))
		return;
	c->stalled_since = now_usec();
	list_append(&e->stalled, &c->stalled_link);
	if (first)
		entrypoint_set_timer(e);
}

void
connections_expire(struct capc_entrypoint *e)
{
	uint64_t now = now_usec();

	while (!list_empty(&e->stalled)) {
		struct connection *c =
			list_entry(list_first(&e->stalled), struct connection, stalled_link);

		if (connection_due(c) > now)
			return;
		connection_close(c, -ETIMEDOUT);
	}
}
