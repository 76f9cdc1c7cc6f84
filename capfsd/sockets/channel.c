/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket to an attached server. Connections are handed over in the order of their serials, at
 * most CREDIT_MAX that the server has not acknowledged; others wait. So after any crash what is
 * offered again goes first and in order, and the server knows a repetition by its serial alone.
 *
 * Serials never come twice on one channel: their upper half is an epoch, stored, and raised by
 * each broker before it offers anything new.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define EPOCH_SHIFT 32

static int channel_on_io(sd_event_source *source, int fd, uint32_t revents, void *data);
static void channel_detach_or_retry(struct channel *channel, struct entrypoint *e);

CLEANUP_DEFINE(struct channel *, channel_free)

static struct channel *
channel_alloc(struct ipc *ipc)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->ipc = ipc;
	channel->fd = -1;
	list_init(&channel->link);
	list_init(&channel->starved_link);
	list_init(&channel->waiting);
	list_init(&channel->offered);
	list_init(&channel->taken);
	list_init(&channel->lending);
	return channel;
}

int
channel_new(struct ipc *ipc, int fd, struct memo *memo, struct channel **ret)
{
	cleanup(channel_free_p) struct channel *channel = channel_alloc(ipc);
	int r;

	if (!channel)
		return -ENOMEM;
	r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = ipc_add_io(ipc, fd, EPOLLIN, channel_on_io, channel, &channel->source);
	if (r < 0)
		return error_trace(r);
	channel->fd = fd;
	channel->memo = memo;
	channel->next_serial = memo->record.serial << EPOCH_SHIFT | 1;
	*ret = take_ptr(channel);
	return 0;
}

/* Nodes that the kernel may hold from the time before are looked up again: they can be bound now.
 */
static void
channel_invalidate(struct ipc *ipc, struct entrypoint *e)
{
	list_for_each (i, &e->objects) {
		struct object *o = list_entry(i, struct object, entity.owner_link);

		list_for_each (j, &o->origins) {
			struct capability *top = list_entry(j, struct capability, origin_link);

			for (struct capability *c = top; c; c = capability_next_below(top, c))
				if (c->entity.cached)
					ipc->fs->socket_invalidate(ipc->fs_data, &c->entity);
		}
	}
}

void
channel_publish(struct channel *channel, struct entrypoint *e)
{
	struct ipc *ipc = channel->ipc;

	assert(!e->channel);
	channel->entrypoint = e;
	channel->memo->stored = true;
	e->channel = channel;
	list_append(&ipc->channels, &channel->link);
	ipc->activity++;
	channel_invalidate(ipc, e);
	lend_all(ipc, e);
	channel_take_held(channel);
}

/* The entrypoint that MEMO's channel serves, if it still does. */
static struct entrypoint *
adopt_entrypoint(struct ipc *ipc, const struct memo *memo)
{
	struct entity *found = entity_find(ipc->model, memo->record.owner);
	struct entrypoint *e = NULL;

	if (found && found->kind == ENTITY_ENTRYPOINT)
		e = container_of(found, struct entrypoint, entity);
	if (!e || e->record.thread == 0 || e->record.thread != memo->record.value || e->channel)
		return NULL;
	return e;
}

/* Takes both. Without them the server counts what nobody sees. */
static int
adopt_pages(struct ipc *ipc, struct entrypoint *e, const struct memo *memo, const int page_fds[2],
	struct pages **ret)
{
	int r = -ENOENT;

	if (!memo->record.pages && page_fds[0] < 0 && page_fds[1] < 0)
		return 0;
	if (e && page_fds[0] >= 0 && page_fds[1] >= 0)
		r = pages_adopt(ipc, e, page_fds[0], page_fds[1], ret);
	if (r < 0) {
		fd_close(page_fds[0]);
		fd_close(page_fds[1]);
	}
	return r;
}

/* A broker died between the end of a channel and the word of it in the store. */
static void
adopt_lost(struct ipc *ipc, struct entrypoint *e, struct pages *pages)
{
	struct channel *channel = channel_alloc(ipc);

	if (channel) {
		channel->pages = pages;
		channel_detach_or_retry(channel, e);
	} else {
		pages_free(pages);
		ipc_fail(ipc, -ENOMEM);
	}
}

void
channel_adopt(struct ipc *ipc, int fd, struct memo *memo, const int page_fds[2])
{
	struct entrypoint *e = adopt_entrypoint(ipc, memo);
	struct pages *pages = NULL;
	struct channel *channel;
	int r = adopt_pages(ipc, e, memo, page_fds, &pages);

	memo->record.serial++;
	if (!e || r < 0 || fd < 0 || channel_new(ipc, fd, memo, &channel) < 0) {
		fd_shutdown_close(fd);
		memo_drop(ipc, memo);
		if (pages)
			adopt_lost(ipc, e, pages);
		return;
	}
	channel->pages = pages;
	(void)charge_init(&channel->charge, e->session, QUOTA_SOCKETS, 1);
	channel->entrypoint = e;
	e->channel = channel;
	list_append(&ipc->channels, &channel->link);
	memo_touch(ipc, memo);
}

void
channel_enqueue(struct channel *channel, struct connection *conn)
{
	conn->channel = channel;
	connection_enqueue(&channel->waiting, conn);
}

void
channel_begin(struct channel *channel, const struct entrypoint *e)
{
	uint64_t epoch = 1;

	if (!list_empty(&e->held)) {
		const struct connection *last =
			list_entry(e->held.prev, const struct connection, channel_link);

		epoch = (last->serial >> EPOCH_SHIFT) + 1;
	}
	channel->memo->record.serial = epoch;
	channel->next_serial = epoch << EPOCH_SHIFT | 1;
}

/* The client's process, if the kernel has it still and knows how to. */
static int
channel_peer_pidfd(const struct connection *conn)
{
	int pidfd = -1;
	socklen_t n = sizeof(pidfd);

	if (conn->paired || getsockopt(conn->fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) < 0)
		return -1;
	return pidfd;
}

static int
channel_send(struct channel *channel, struct connection *conn, uint8_t *ret_n_fds)
{
	const struct connection_record *record = &conn->memo->record;
	const struct capability *c = conn->capability;
	cleanup_close int pidfd = channel_peer_pidfd(conn);
	cleanup_text struct text label = {};
	int fds[2] = {conn->fd, pidfd};
	uint8_t buffer[WIRE_CHANNEL_MAX];
	struct wire_handover m = {
		.serial = conn->serial,
		.key = capability_object(c)->record.key,
		.badge = capability_object(c)->record.badge,
		.capability = c->entity.id,
		.rights = capability_rights(c),
		.uid = record->uid,
		.gid = record->gid,
		.pid = record->pid,
		.page_index = capability_page_index(c),
	};
	ssize_t n;
	int r = m.page_index ? pages_send(channel) : 0;

	if (r < 0)
		return r;
	session_label(c->session, &label);
	if (text_done(&label) < 0)
		return -ENOMEM;
	m.label = label.data;
	m.n_label = label.n < WIRE_LABEL_MAX ? label.n : WIRE_LABEL_MAX;
	n = wire_handover_encode(&m, buffer, sizeof(buffer));
	if (n < 0)
		return error_trace((int)n);
	*ret_n_fds = pidfd < 0 ? 1 : 2;
	n = msg_send(channel->fd, buffer, (size_t)n, fds, *ret_n_fds, MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

void
channel_starve(struct channel *channel)
{
	struct ipc *ipc = channel->ipc;

	list_unlink(&channel->starved_link);
	list_append(&ipc->starved, &channel->starved_link);
	ipc_arm(ipc->retry_timer, RETRY_USEC);
}

/*
 * Hands over what the server's credit and the budget of all allow. A server that is gone shows by
 * the loop: nothing is ended here, since callers hold connections and listeners.
 */
void
channel_pump(struct channel *channel)
{
	struct ipc *ipc = channel->ipc;

	lend_pump(channel);
	while (channel->n_offered < CREDIT_MAX && !list_empty(&channel->waiting)) {
		struct connection *conn =
			list_entry(list_first(&channel->waiting), struct connection, channel_link);
		int r;

		if (ipc->n_inflight + HANDOVER_FDS > ipc->n_inflight_max) {
			channel_starve(channel);
			return;
		}
		r = channel_send(channel, conn, &conn->n_sent);
		if (r == -EPIPE || r == -ECONNRESET)
			return;
		if (r < 0) {
			/* The kernel's own limit of descriptors in flight, or its memory. */
			channel_starve(channel);
			return;
		}
		list_unlink(&conn->channel_link);
		list_append(&channel->offered, &conn->channel_link);
		conn->state = CONNECTION_OFFERED;
		channel->n_offered++;
		ipc->n_inflight += conn->n_sent;
		ipc->activity++;
	}
}

/* So that who queues up again meanwhile is not met twice. */
static void
move_all(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *link = list_first(from);

		list_unlink(link);
		list_append(to, link);
	}
}

static void
channel_pump_starved(struct ipc *ipc)
{
	struct list starved = LIST_INIT(starved);

	move_all(&ipc->starved, &starved);
	while (!list_empty(&starved)) {
		struct channel *channel =
			list_entry(list_first(&starved), struct channel, starved_link);

		list_unlink(&channel->starved_link);
		channel_pump(channel);
	}
}

int
channels_on_retry(sd_event_source *source, uint64_t usec, void *data)
{
	struct ipc *ipc = data;

	struct list controls = LIST_INIT(controls);

	channel_pump_starved(ipc);
	move_all(&ipc->starved_controls, &controls);
	while (!list_empty(&controls)) {
		struct control *c = list_entry(list_first(&controls), struct control, starved_link);

		list_unlink(&c->starved_link);
		control_resume(c);
	}
	return 0;
}

/* CONN is no longer in flight. It is freed if it has ended. */
static void
channel_settle(struct channel *channel, struct connection *conn)
{
	channel->n_offered--;
	channel->ipc->n_inflight -= conn->n_sent;
	if (channel->pages)
		pages_taken(channel->pages);
	list_unlink(&conn->channel_link);
	if (!conn->capability) {
		free(conn);
		return;
	}
	list_append(&channel->taken, &conn->channel_link);
	connection_taken(conn);
}

static void
channel_on_taken(struct channel *channel, uint64_t serial)
{
	struct ipc *ipc = channel->ipc;

	list_for_each (i, &channel->offered) {
		struct connection *conn = list_entry(i, struct connection, channel_link);

		if (conn->serial != serial)
			continue;
		channel_settle(channel, conn);
		channel_pump(channel);
		if (!list_empty(&ipc->starved))
			channel_pump_starved(ipc);
		return;
	}
	/* Else nothing: the acknowledgement of one that a predecessor offered and that ended. */
	lend_taken(channel, serial);
}

static int
channel_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct channel *channel = data;
	uint8_t buffer[WIRE_CHANNEL_MAX];

	for (unsigned i = 0; i < MESSAGES_MAX; i++) {
		uint64_t serial;
		size_t n_fds;
		ssize_t n = msg_receive(fd, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			return 0;
		if (n <= 0 || wire_taken_decode(buffer, (size_t)n, &serial) < 0) {
			channel_lost(channel);
			return 0;
		}
		channel->ipc->activity++;
		channel_on_taken(channel, serial);
	}
	return 0;
}

void
channel_look(struct channel *channel)
{
	struct pollfd p = {.fd = channel->fd};
	int n;

	do
		n = poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0 && (p.revents & (POLLHUP | POLLERR)))
		channel_lost(channel);
}

static void
channel_end_connections(struct channel *channel)
{
	struct list *lists[] = {&channel->waiting, &channel->offered, &channel->taken};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while (!list_empty(lists[i])) {
			struct connection *conn =
				list_entry(list_first(lists[i]), struct connection, channel_link);

			if (conn->state == CONNECTION_OFFERED) {
				channel->n_offered--;
				channel->ipc->n_inflight -= conn->n_sent;
				conn->state = CONNECTION_WAITING;
			}
			if (conn->capability) {
				connection_end(conn);
			} else {
				list_unlink(&conn->channel_link);
				free(conn);
			}
		}
}

/* Everything but the channel itself and its pages, which are still to be looked at. */
static void
channel_deinit(struct channel *channel)
{
	channel->source = sd_event_source_disable_unref(channel->source);
	channel_end_connections(channel);
	lend_detach(channel);
	if (channel->fd >= 0)
		channel->fd = ipc_close(channel->ipc, channel->fd);
	if (channel->entrypoint && channel->entrypoint->channel == channel)
		channel->entrypoint->channel = NULL;
	charge_deinit(&channel->charge);
	channel->memo = memo_drop(channel->ipc, channel->memo);
	list_unlink(&channel->starved_link);
	list_unlink(&channel->link);
}

struct channel *
channel_free(struct channel *channel)
{
	if (!channel)
		return NULL;
	channel_deinit(channel);
	pages_free(channel->pages);
	free(channel);
	return NULL;
}

static struct entrypoint *
listener_entrypoint(const struct listener *l)
{
	switch ((enum entity_kind)l->entity->kind) {
	case ENTITY_CAPABILITY:
		return capability_entrypoint(container_of(l->entity, struct capability, entity));
	case ENTITY_OBJECT:
		return container_of(l->entity, struct object, entity)->entrypoint;
	default:
		return NULL;
	}
}

/* Nobody accepts for E any more: its sockets refuse, and are looked up again. */
static void
channel_close_listeners(struct ipc *ipc, const struct entrypoint *e)
{
	list_for_each_safe (i, &ipc->listeners) {
		struct listener *l = list_entry(i, struct listener, link);

		if (listener_entrypoint(l) != e)
			continue;
		ipc->fs->socket_invalidate(ipc->fs_data, l->entity);
		listener_done(l, ECONNREFUSED);
		listener_free(l);
	}
}

/* What was used first: the entries are known by their thread, which goes. */
static int
channel_detach(struct channel *channel, struct entrypoint *e)
{
	struct ipc *ipc = channel->ipc;
	int r = counts_settle(channel->pages);
	struct change *ch;

	if (r < 0)
		return r;
	ch = change_begin(ipc->model);
	r = entrypoint_detach(ch, e);
	if (r) {
		change_abort(ch);
		return r;
	}
	return ipc_commit(ipc, ch);
}

static void
channel_free_rest(struct channel *channel)
{
	pages_free(channel->pages);
	free(channel);
}

/* CHANNEL has nothing left but its name for what is to be done, and its pages. Takes it. */
static void
channel_detach_or_retry(struct channel *channel, struct entrypoint *e)
{
	struct ipc *ipc = channel->ipc;
	int r;

	event_log(ipc->model, e->session, "detach entrypoints/%s", e->entity.name);
	channel->entrypoint = NULL;
	r = channel_detach(channel, e);
	if (r == 0) {
		channel_free_rest(channel);
		return;
	}
	/* It stays attached in the store, to nobody, until that has room. */
	ipc_fail(ipc, r);
	channel->entrypoint = e;
	list_append(&ipc->detaching, &channel->link);
	ipc_arm(ipc->flush_timer, FLUSH_AGAIN_USEC);
}

void
channel_lost(struct channel *channel)
{
	struct entrypoint *e = channel->entrypoint;
	struct ipc *ipc = channel->ipc;

	channel_hold_waiting(channel);
	channel_deinit(channel);
	if (!e->record.hold)
		channel_close_listeners(ipc, e);
	ipc->activity++;
	channel_detach_or_retry(channel, e);
}

void
channel_orphan(struct ipc *ipc, struct entrypoint *e)
{
	struct channel *channel = channel_alloc(ipc);

	if (channel)
		channel_detach_or_retry(channel, e);
	else
		ipc_fail(ipc, -ENOMEM);
}

void
channels_retry(struct ipc *ipc)
{
	while (!list_empty(&ipc->detaching)) {
		struct channel *channel =
			list_entry(list_first(&ipc->detaching), struct channel, link);
		struct entrypoint *e = channel->entrypoint;
		int r;

		list_unlink(&channel->link);
		channel->entrypoint = NULL;
		r = channel_detach(channel, e);
		if (r == 0) {
			channel_free_rest(channel);
			continue;
		}
		channel->entrypoint = e;
		list_append(&ipc->detaching, &channel->link);
		return;
	}
}
