/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How connections get to their server. A server is offered each at most once by any broker, in the
 * order of serials; what it may have seen is never offered to another one, since it may have acted
 * on it. So a connection goes one way only: from the endpoint's queue to the channel, and back only
 * if it was never sent. What was sent and not acknowledged when a broker died is sent again on the
 * same channel, with the same serial, by which the server knows it.
 */
#include "config.h"

#include "capfsd/sockets/queue.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/model/event.h"
#include "capfsd/ops/texts.h"
#include "capfsd/sockets/channel.h"
#include "capfsd/sockets/connection.h"
#include "capfsd/sockets/counts.h"
#include "capfsd/sockets/pages.h"
#include "wire/wire.h"

#define QUEUED_USEC 1000000

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* LINK is in one of the four lists that connections on their way share one member for. */
static struct connection *
connection_at(const struct list *link)
{
	return list_entry((struct list *)(uintptr_t)link, struct connection, channel_link);
}

/* The last one that waits for a server. NULL: nobody does. */
static const struct connection *
last_queued(const struct entrypoint *e)
{
	const struct endpoint *endpoint = endpoint_find(e);

	if (!endpoint || list_empty(&endpoint->queue))
		return NULL;
	return connection_at(endpoint->queue.prev);
}

/*
 * Epochs begin with 1, so these serials have an upper half of 0 as long as no server has ever been
 * there; those of whom a server has left behind lie above, in its epoch.
 */
uint64_t
queue_serial(const struct entrypoint *e)
{
	const struct connection *last = last_queued(e);

	return last ? last->serial + 1 : 1;
}

/* So that those who wait come first, also among what the new server gets in its own epoch. */
uint64_t
queue_epoch(const struct entrypoint *e)
{
	const struct connection *last = last_queued(e);

	return last ? (last->serial >> EPOCH_SHIFT) + 1 : 1;
}

/*
 * The order is that of serials, as what is offered again must go out in the order of the first
 * time.
 */
static void
insert(struct list *list, struct connection *conn)
{
	struct list *before = list;

	/* From the end: but for those of a predecessor the serial is the highest. */
	while (before->prev != list && connection_at(before->prev)->serial > conn->serial)
		before = before->prev;
	list_append(before, &conn->channel_link);
}

/* Of a predecessor's some have been taken: they are only listed, to end with the channel. */
void
queue_enter(struct channel *channel, struct connection *conn)
{
	if (conn->state == CONNECTION_TAKEN) {
		list_append(&channel->taken, &conn->channel_link);
		return;
	}
	connection_wait(conn, channel);
	insert(&channel->waiting, conn);
}

/* There is an endpoint: whoever makes a connection without a server has made that first. */
void
queue_hold(struct connection *conn)
{
	struct endpoint *endpoint = endpoint_find(connection_entrypoint(conn));

	connection_wait(conn, NULL);
	insert(&endpoint->queue, conn);
	endpoint->n_queued++;
}

/* Whoever starts servers by hand, or by the events, learns it here. */
void
queue_hold_new(struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);
	struct endpoint *endpoint = endpoint_find(e);
	uint64_t now = core_now(conn->sockets);
	cleanup_text struct text fields = {};
	const struct event event = {.verb = "wait", .keep = EVENT_USUAL, .fields = &fields};

	queue_hold(conn);
	if (endpoint->queued_usec && now - endpoint->queued_usec < QUEUED_USEC)
		return;
	endpoint->queued_usec = now;
	text_addf(&fields, " entrypoint=%s waiting=%u hold=%u", e->entity.name,
		(unsigned)endpoint->n_queued, e->record.hold);
	event_log(conn->sockets->model, e->session, &event);
}

/* --- the hand-over --- */

/*
 * The client's process, for a server that wants it, if the kernel has it still and knows how to: of a pid alone a server cannot
 * know whether it still means the same process. Of a pair made here it would be this daemon's own.
 */
static int
peer_pidfd(const struct channel *channel, const struct connection *conn)
{
	int pidfd = -1;
	socklen_t n = sizeof(pidfd);

	if (channel->memo->record.channel.no_pidfd || conn->paired ||
		getsockopt(conn->fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) < 0)
		return -1;
	return pidfd;
}

/* Nothing changes here, so that it can be tried again whatever it says. */
static int
hand_over(struct channel *channel, struct connection *conn, unsigned *ret_n_fds)
{
	const struct connection_record *record = &conn->memo->record;
	const struct capability *c = conn->capability;
	const struct service service = capability_service(c);
	cleanup_close int pidfd = peer_pidfd(channel, conn);
	cleanup_text struct text label = {}, caveats = {};
	int fds[2] = {conn->fd, pidfd};
	uint8_t buffer[WIRE_CHANNEL_MAX];
	struct wire_handover m = {
		.serial = conn->serial,
		.key = service.key,
		.badge = service.badge,
		.capability = c->entity.id,
		.rights = capability_rights(c),
		.uid = record->connection.uid,
		.gid = record->connection.gid,
		.pid = record->connection.pid,
		.page_index = capability_page_index(c),
		.aside = record->connection.aside,
	};
	ssize_t n;
	int r = m.page_index ? pages_send(channel) : 0;

	if (r < 0)
		return r;
	session_label(c->session, &label);
	caveats_list(c, &caveats);
	if (text_done(&label) < 0 || text_done(&caveats) < 0)
		return -ENOMEM;
	m.label = label.data;
	m.n_label = label.n < WIRE_LABEL_MAX ? label.n : WIRE_LABEL_MAX;
	if (channel->memo->record.channel.caveats) {
		m.caveats = caveats.n > 0 ? caveats.data : "";
		m.n_caveats = caveats.n;
	}
	n = wire_handover_encode(&m, buffer, sizeof(buffer));
	if (n < 0)
		return error_trace((int)n);
	*ret_n_fds = pidfd < 0 ? 1 : 2;
	n = msg_send(channel->fd, buffer, (size_t)n, fds, *ret_n_fds, MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

/*
 * What it waits for this server may be unable to give, and would read its first word as a client's; and no server
 * gets one whose caveats it does not ask for.
 */
static bool
server_suits(const struct channel *channel, const struct connection *conn)
{
	const struct connection_record *record = &conn->memo->record;

	return (!record->connection.aside || channel->memo->record.channel.aside) &&
		(record->connection.n_caveats == 0 || channel->memo->record.channel.caveats);
}

/*
 * A connection goes to the other list only after it was sent, so whatever fails leaves all as it
 * was.
 */
void
queue_pump(struct channel *channel)
{
	while (!list_empty(&channel->waiting) && channel_may_send(channel, HANDOVER_FDS)) {
		struct connection *conn = connection_at(list_first(&channel->waiting));
		unsigned n_fds = 0;
		int r;

		if (!server_suits(channel, conn)) {
			connection_end(conn);
			continue;
		}
		if (!connection_fly(conn)) {
			/* What this server takes of the same slot will pump. */
			conn->unpaid = !connection_can_fly(conn);
			if (conn->unpaid)
				channel_pump_soon(channel);
			return;
		}
		r = hand_over(channel, conn, &n_fds);
		if (r < 0)
			connection_land(conn);
		/* A server that is gone shows by the loop. */
		if (r == -EPIPE || r == -ECONNRESET)
			return;
		if (r < 0) {
			/* The kernel's own limit of descriptors in flight, or its memory. */
			channel_starve(channel);
			return;
		}
		list_unlink(&conn->channel_link);
		list_append(&channel->offered, &conn->channel_link);
		connection_offered(conn, n_fds);
		channel_sent(channel, n_fds);
	}
}

/*
 * It would go to its server now, and its session has everything in flight to others. It is ended:
 * what may not be sent before it is not to wait for it.
 */
void
queue_refuse_unpaid(struct channel *channel)
{
	while (!list_empty(&channel->waiting)) {
		struct connection *conn = connection_at(list_first(&channel->waiting));
		cleanup_text struct text reason = {};

		if (!conn->unpaid || connection_can_fly(conn))
			return;
		text_account(conn->capability->session, QUOTA_INFLIGHT, &reason);
		listener_log_refusal(conn->listener, conn->memo->record.connection.uid, EDQUOT,
			reason.data ? reason.data : "");
		connection_end(conn);
	}
}

/*
 * Mostly the first of the list: servers acknowledge in order. The pages went before it in the same
 * socket, so they have been taken as well.
 */
bool
queue_taken(struct channel *channel, uint64_t serial)
{
	list_for_each (i, &channel->offered) {
		struct connection *conn = connection_at(i);

		if (conn->serial != serial)
			continue;
		channel_settled(channel, conn->n_sent);
		pages_taken(channel);
		list_unlink(&conn->channel_link);
		if (conn->capability) {
			list_append(&channel->taken, &conn->channel_link);
			connection_taken(conn);
		} else {
			connection_bury(conn);
		}
		return true;
	}
	return false;
}

/* --- servers come and go --- */

/*
 * Its server, who has come, may count what C calls: nobody could give it an entry while there was
 * none. Returns: 0, or it cannot be served.
 */
static int
queue_page(struct channel *channel, struct capability *c)
{
	struct change *ch;
	int r;

	if (!capability_counts_calls(c))
		return 0;
	ch = change_begin(channel->sockets->model);
	r = change_finish(ch, pages_stage(channel, ch, c));
	if (r < 0)
		return r;
	pages_publish(channel, c);
	counts_watch_capability(channel->sockets, c);
	return 0;
}

/*
 * That they may have been seen by a server is stored before one sees them. A store that has no room
 * for that is no reason to let anybody be served twice.
 */
void
queue_take(struct channel *channel)
{
	struct endpoint *endpoint = channel->endpoint;
	struct sockets *sockets = channel->sockets;
	int r;

	if (list_empty(&endpoint->queue))
		return;
	while (!list_empty(&endpoint->queue)) {
		struct connection *conn = connection_at(list_first(&endpoint->queue));

		endpoint_leave_queue(channel->entrypoint, &conn->channel_link);
		queue_enter(channel, conn);
		if (queue_page(channel, conn->capability) != 0)
			connection_end(conn);
		else
			connection_touch(conn, CONNECTION_OFFERED);
	}
	r = memos_flush(sockets);
	if (r < 0) {
		core_fail(sockets, r);
		list_for_each_safe (i, &channel->waiting) {
			struct connection *conn = connection_at(i);

			if (memo_is_late(conn->memo))
				connection_end(conn);
		}
	}
	channel_pump(channel);
}

/*
 * Only what waits for credit, and of that nothing which a predecessor may have offered already. In
 * order, until as many wait as may; who comes too late ends with the channel.
 */
void
queue_give_back(struct channel *channel)
{
	const struct entrypoint *e = channel->entrypoint;

	list_for_each_safe (i, &channel->waiting) {
		struct connection *conn = connection_at(i);

		if (conn->repeated || channel->endpoint->n_queued >= e->record.hold)
			continue;
		list_unlink(&conn->channel_link);
		queue_hold(conn);
		connection_touch(conn, CONNECTION_QUEUED);
	}
}

/*
 * All of them, and what they count for. One that had ended before is only waited for by its credit.
 */
void
queue_end(struct channel *channel)
{
	struct list *lists[] = {&channel->waiting, &channel->offered, &channel->taken};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while (!list_empty(lists[i])) {
			struct connection *conn = connection_at(list_first(lists[i]));

			if (conn->state == CONNECTION_OFFERED) {
				channel_settled(channel, conn->n_sent);
				connection_unoffered(conn);
			}
			if (conn->capability)
				connection_end(conn);
			else
				connection_bury(conn);
		}
}

void
queue_refuse(struct entrypoint *e)
{
	struct endpoint *endpoint = endpoint_find(e);

	while (endpoint && !list_empty(&endpoint->queue))
		connection_end(connection_at(list_first(&endpoint->queue)));
}
