/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Callers that wait while nobody serves their entrypoint. Those whom a server has not been offered
 * when it goes wait for the next one, which gets them first.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

/* Its server, who has come now, may count what C calls. Returns: 0, or it cannot be served. */
static int
channel_page_held(struct channel *channel, struct capability *c)
{
	struct change *ch;
	int r;

	if (!capability_counts_calls(c))
		return 0;
	ch = change_begin(channel->ipc->model);
	r = pages_stage(channel, ch, c);
	if (r < 0) {
		change_abort(ch);
		return r;
	}
	r = ipc_commit(channel->ipc, ch);
	if (r == 0)
		pages_publish(channel, c);
	return r;
}

/*
 * That they may have been seen by a server is stored before one sees them. A store that has no room for
 * that is no reason to let anybody be served twice.
 */
void
channel_take_held(struct channel *channel)
{
	struct entrypoint *e = channel->entrypoint;
	struct ipc *ipc = channel->ipc;
	int r;

	if (list_empty(&e->held))
		return;
	while (!list_empty(&e->held)) {
		struct connection *conn =
			list_entry(list_first(&e->held), struct connection, channel_link);

		list_unlink(&conn->channel_link);
		channel_enqueue(channel, conn);
		if (channel_page_held(channel, conn->capability) != 0) {
			connection_end(conn);
			continue;
		}
		conn->memo->record.state = CONNECTION_OFFERED;
		memo_touch(ipc, conn->memo);
	}
	e->n_held = 0;
	r = memos_flush(ipc);
	if (r < 0) {
		ipc_fail(ipc, r);
		list_for_each_safe (i, &channel->waiting) {
			struct connection *conn = list_entry(i, struct connection, channel_link);

			if (!list_empty(&conn->memo->link))
				connection_end(conn);
		}
	}
	channel_pump(channel);
}

void
channel_hold_waiting(struct channel *channel)
{
	struct entrypoint *e = channel->entrypoint;

	list_for_each_safe (i, &channel->waiting) {
		struct connection *conn = list_entry(i, struct connection, channel_link);

		if (conn->repeated || e->n_held >= e->record.hold)
			continue;
		list_unlink(&conn->channel_link);
		connection_hold(conn);
		conn->memo->record.state = CONNECTION_HELD;
		memo_touch(channel->ipc, conn->memo);
	}
}
