/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listeners for servers that accept by themselves. Each object of such an entrypoint has one, of
 * which the `socket` of every slot is a name. The server gets a duplicate over its channel; the
 * other one stays here, to shut it down when the server goes: what the server then still has of it
 * is good for nothing, and the next server gets a new one.
 *
 * What a server has got is not recorded. After a crash all are sent again, and it drops what it has.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"

static struct object *
listener_object(const struct listener *l)
{
	return object_of(l->entity);
}

bool
listener_is_lent(const struct listener *l)
{
	return l->entity->kind == ENTITY_OBJECT;
}

/* Returns: 0, -errno. FD -1: there is none, for the reason ERROR. */
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
void
lend_failed(struct listener *l, int error)
{
	struct object *o = listener_object(l);

	if (!o->entrypoint->channel)
		return;
	event_log(l->ipc->model, o->entrypoint->session, "refused listen entrypoints/%s key=%s %s",
		o->entrypoint->entity.name, o->entity.name, error_name(error));
	(void)lend_send(o->entrypoint->channel, o, -1, error);
}

static void
lend_object(struct ipc *ipc, struct object *o)
{
	struct listener *l = o->listener;

	if (!listener_is_served(&o->entity))
		return;
	if (!l)
		l = listener_get(ipc, &o->entity);
	if (!l || l->state != LISTENER_UNBOUND)
		return;
	if (listener_charge(l)) {
		lend_failed(l, EDQUOT);
		listener_release(l);
		return;
	}
	binding_request(l);
}

void
lend_all(struct ipc *ipc, struct entrypoint *e)
{
	if (!entrypoint_listens(e))
		return;
	list_for_each (i, &e->objects)
		lend_object(ipc, list_entry(i, struct object, entity.owner_link));
}

/* Sends L's. Returns: false, when it must be tried again later. */
static bool
lend_one(struct channel *channel, struct listener *l)
{
	const struct object *o = listener_object(l);
	struct ipc *ipc = channel->ipc;
	int r;

	if (charge_init(&l->inflight, o->entrypoint->session, QUOTA_INFLIGHT, 1)) {
		list_unlink(&l->lend_link);
		lend_failed(l, EDQUOT);
		return true;
	}
	r = lend_send(channel, o, l->fd, 0);
	if (r < 0) {
		charge_deinit(&l->inflight);
		/* A server that is gone shows by the loop. */
		if (r != -EPIPE && r != -ECONNRESET)
			channel_starve(channel);
		return false;
	}
	list_unlink(&l->lend_link);
	l->lent = LENT_SENT;
	channel->n_offered++;
	ipc->n_inflight++;
	ipc->activity++;
	return true;
}

void
lend_pump(struct channel *channel)
{
	struct ipc *ipc = channel->ipc;

	if (channel->unlent) {
		channel->unlent = false;
		lend_all(ipc, channel->entrypoint);
	}
	while (channel->n_offered < CREDIT_MAX && !list_empty(&channel->lending)) {
		struct listener *l =
			list_entry(list_first(&channel->lending), struct listener, lend_link);

		if (ipc->n_inflight + 1 > ipc->n_inflight_max) {
			channel_starve(channel);
			return;
		}
		if (!lend_one(channel, l))
			return;
	}
}

void
lend_bound(struct listener *l)
{
	struct channel *channel = listener_object(l)->entrypoint->channel;

	if (!channel || l->lent != LENT_NOT || !list_empty(&l->lend_link))
		return;
	list_append(&channel->lending, &l->lend_link);
	lend_pump(channel);
}

/* What was sent is no longer in flight. */
static void
lend_settle(struct listener *l, struct channel *channel)
{
	charge_deinit(&l->inflight);
	channel->n_offered--;
	l->ipc->n_inflight--;
}

void
lend_taken(struct channel *channel, uint64_t badge)
{
	struct object *o = object_find(channel->entrypoint, badge);
	struct listener *l = o ? o->listener : NULL;

	if (!l || l->lent != LENT_SENT)
		return;
	lend_settle(l, channel);
	l->lent = LENT_TAKEN;
	channel_pump(channel);
}

void
lend_end(struct listener *l)
{
	list_unlink(&l->lend_link);
	if (l->lent != LENT_SENT)
		return;
	l->lent = LENT_NOT;
	if (listener_object(l)->entrypoint->channel)
		lend_settle(l, listener_object(l)->entrypoint->channel);
}

void
lend_detach(struct channel *channel)
{
	struct entrypoint *e = channel->entrypoint;

	if (!e || !entrypoint_listens(e))
		return;
	list_for_each (i, &e->objects) {
		struct object *o = list_entry(i, struct object, entity.owner_link);

		if (o->listener)
			lend_end(o->listener);
	}
}
