/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/sockets/visits.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/msg.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/sockets/channel.h"
#include "wire/wire.h"

static struct channel *
visited(const struct entrypoint *e)
{
	return e->takes_visits ? endpoint_channel(e) : NULL;
}

/* An answer is what its server has done itself. */
void
visits_changed(struct visit *v)
{
	struct channel *channel = visited(v->entrypoint);

	if (!channel || !v->record.asks)
		return;
	list_unlink(&v->untold_link);
	list_append(&channel->untold, &v->untold_link);
	channel_pump_soon(channel);
}

void
visits_gone(struct visit *v)
{
	struct channel *channel = visited(v->entrypoint);

	if (!channel)
		return;
	channel->look = true;
	channel_pump_soon(channel);
}

void
visits_tell_all(struct channel *channel)
{
	if (!channel->entrypoint->takes_visits)
		return;
	list_for_each (i, &channel->entrypoint->session->owned[ENTITY_VISIT]) {
		struct visit *v = visit_of(list_entry(i, struct entity, owner_link));

		if (v->entrypoint == channel->entrypoint)
			visits_changed(v);
	}
	channel->look = true;
	channel_pump_soon(channel);
}

/* Those that have gone first: what they had can be given to others. */
void
visits_pump(struct channel *channel)
{
	struct visit *v = list_empty(&channel->untold)
		? NULL : list_entry(list_first(&channel->untold), struct visit, untold_link);
	uint8_t message[16];
	ssize_t sent;
	int n;

	if (channel->told || (!channel->look && !v))
		return;
	n = wire_visit_encode(channel->look ? 0 : v->capability->entity.id, message, sizeof(message));
	sent = msg_send(channel->fd, message, (size_t)n, NULL, 0, MSG_DONTWAIT);
	/* Where its server has gone the loop hears of that. */
	if (sent == -EAGAIN)
		channel_starve(channel);
	if (sent < 0)
		return;
	channel->told = true;
	if (channel->look)
		channel->look = false;
	else
		list_unlink(&v->untold_link);
}

/* After a restart one may come that a predecessor has waited for: then it is told a word more than needed. */
bool
visits_taken(struct channel *channel, uint64_t serial)
{
	if (serial != WIRE_VISIT_SERIAL)
		return false;
	channel->told = false;
	visits_pump(channel);
	return true;
}

void
visits_forget(struct channel *channel)
{
	list_for_each_safe (i, &channel->untold)
		list_unlink(i);
	if (channel->entrypoint)
		channel->entrypoint->takes_visits = false;
}
