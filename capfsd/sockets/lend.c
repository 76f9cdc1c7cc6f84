/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listeners for servers that accept by themselves. Each object of such an entrypoint has one, of
 * which the `socket` of every slot is a name. The server gets a duplicate over its channel; the
 * other one stays here, to shut it down when the server goes: what the server then still has of it
 * is good for nothing, and the next server gets a new one.
 *
 * What a server has got is not recorded. After a crash all are sent again, and it drops what it
 * has.
 */
#include "config.h"

#include "capfsd/sockets/lend.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/model/event.h"
#include "capfsd/sockets/channel.h"
#include "wire/wire.h"

enum lent {
	LENT_NOT,
	LENT_SENT,
	LENT_TAKEN,
};

static struct object *
lent_object(const struct listener *l)
{
	return object_of(l->entity);
}

/* Who serves the object of L, NULL: nobody. */
static struct channel *
channel_of(const struct listener *l)
{
	return endpoint_channel(lent_object(l)->entrypoint);
}

/*
 * Without a descriptor it says why there is none, lest the server wait for it. Returns: 0, -errno.
 * FD -1: there is none, for the reason ERROR.
 */
static int
lend_send(struct channel *channel, const struct object *o, int fd, int error)
{
	const struct wire_listener m = {
		.key = o->record.key, .badge = o->record.badge, .error = (uint32_t)error};
	uint8_t buffer[64];
	ssize_t n = wire_listener_encode(&m, buffer, sizeof(buffer));

	n = msg_send(channel->fd, buffer, (size_t)n, &fd, fd >= 0, MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

/* It may be lost, when the server does not read: then that waits in vain, as long as it likes. */
static void
lend_failed(struct listener *l, int error)
{
	struct object *o = lent_object(l);
	cleanup_text struct text fields = {};
	const struct event event = {.verb = "listen", .error = error, .fields = &fields};

	if (!channel_of(l))
		return;
	text_addf(&fields, " entrypoint=%s key=%s", o->entrypoint->entity.name, o->entity.name);
	event_log(l->sockets->model, o->entrypoint->session, &event);
	(void)lend_send(channel_of(l), o, -1, error);
}

/*
 * One that is on its way, or there, is left alone: this is called for all objects again and again.
 */
static void
lend_object(struct sockets *sockets, struct object *o)
{
	struct listener *l = listener_find(&o->entity);

	if (!endpoint_is_served(&o->entity))
		return;
	if (!l)
		l = listener_get(sockets, &o->entity);
	if (!l || l->state != LISTENER_UNBOUND)
		return;
	if (listener_charge(l)) {
		lend_failed(l, EDQUOT);
		listener_release(l);
		return;
	}
	jobs_request(l);
}

void
lend_all(struct sockets *sockets, struct entrypoint *e)
{
	if (!entrypoint_listens(e))
		return;
	list_for_each (i, &e->objects)
		lend_object(sockets, list_entry(i, struct object, entity.owner_link));
}

/*
 * The entrypoint's session pays for what is in flight. Where it cannot, the server is told, as it
 * alone can do something about that. Returns: false, when it must be tried again later.
 */
static bool
lend_one(struct channel *channel, struct listener *l)
{
	const struct object *o = lent_object(l);
	int r;

	if (charge_init(&l->loan.inflight, o->entrypoint->session, QUOTA_INFLIGHT, 1)) {
		list_unlink(&l->loan.link);
		lend_failed(l, EDQUOT);
		return true;
	}
	r = lend_send(channel, o, l->fd, 0);
	if (r < 0) {
		charge_deinit(&l->loan.inflight);
		/* A server that is gone shows by the loop. */
		if (r != -EPIPE && r != -ECONNRESET)
			channel_starve(channel);
		return false;
	}
	list_unlink(&l->loan.link);
	l->loan.state = LENT_SENT;
	channel_sent(channel, 1);
	return true;
}

/* `unlent` is set where nothing may be charged (in hooks); here it may. */
void
lend_pump(struct channel *channel)
{
	if (channel->unlent) {
		channel->unlent = false;
		lend_all(channel->sockets, channel->entrypoint);
	}
	while (!list_empty(&channel->lending) && channel_may_send(channel, 1)) {
		struct listener *l =
			list_entry(list_first(&channel->lending), struct listener, loan.link);

		if (!lend_one(channel, l))
			return;
	}
}

/*
 * A listener that a predecessor left comes here as well: its server is sent it once more, and drops
 * what it has. Where the server has gone meanwhile the next one gets a new listener.
 */
static void
lend_bound(void *data, struct listener *l, int error)
{
	struct channel *channel = channel_of(l);

	if (error)
		lend_failed(l, error);
	if (error || !channel || l->loan.state != LENT_NOT || !list_empty(&l->loan.link))
		return;
	list_append(&channel->lending, &l->loan.link);
	lend_pump(channel);
}

/* What was sent is no longer in flight: its quota and the channel's credit come back together. */
static void
lend_settle(struct listener *l, struct channel *channel)
{
	charge_deinit(&l->loan.inflight);
	channel_settled(channel, 1);
}

/* Badges are the server's word: one that it was never sent settles nothing. */
void
lend_taken(struct channel *channel, uint64_t badge)
{
	struct object *o = object_find(channel->entrypoint, badge);
	struct listener *l = o ? listener_find(&o->entity) : NULL;

	if (!l || l->loan.state != LENT_SENT)
		return;
	lend_settle(l, channel);
	l->loan.state = LENT_TAKEN;
	channel_pump(channel);
}

/* What was sent and not acknowledged gives its credit back, if the channel is there to have it. */
static void
lend_end(struct listener *l)
{
	list_unlink(&l->loan.link);
	if (l->loan.state != LENT_SENT)
		return;
	l->loan.state = LENT_NOT;
	if (channel_of(l))
		lend_settle(l, channel_of(l));
}

static void
lend_gone(void *data, struct listener *l)
{
	lend_end(l);
}

void
lend_detach(struct channel *channel)
{
	struct entrypoint *e = channel->entrypoint;

	if (!e || !entrypoint_listens(e))
		return;
	list_for_each (i, &e->objects) {
		struct listener *l =
			listener_find(&list_entry(i, struct object, entity.owner_link)->entity);

		if (l)
			lend_end(l);
	}
}

void
lend_changed(struct object *o)
{
	struct channel *channel = endpoint_channel(o->entrypoint);

	if (!o->entity.linked || listener_find(&o->entity) || !entrypoint_listens(o->entrypoint) ||
		!channel)
		return;
	/* Not here, where nothing may be charged. */
	channel->unlent = true;
	channel_pump_soon(channel);
}

const struct endpoint_ops lend_ops = {
	.entity = ENTITY_OBJECT,
	.bound = lend_bound,
	.gone = lend_gone,
};
