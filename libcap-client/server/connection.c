/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of one client. They are read only while it has few unanswered requests and takes its
 * replies, so what it can make the server hold is bounded: as many requests that a handler keeps, or
 * replies, as the entrypoint allows. A client that has asked how many these are sends no others: so that
 * it gives one of them up always stands first in the socket, and is heard.
 *
 * Requests outlive their connection: the handler has them. A reply then goes nowhere.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/server/serving.h"

static int connection_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events);

static struct connection *
connection_make(struct capc_entrypoint *e, const struct capc_caller *caller)
{
	size_t n_label = strlen(caller->label) + 1;
	struct connection *c = calloc(1, sizeof(*c) + n_label + caller->n_caveats);

	if (!c)
		return NULL;
	c->watched.dispatch = connection_dispatch;
	c->n_refs = 1;
	c->entrypoint = e;
	c->caller = *caller;
	c->caller.connection = ++e->connection_id;
	c->caller.label = memcpy(c->label, caller->label, n_label);
	if (caller->caveats)
		c->caller.caveats = memcpy(c->label + n_label, caller->caveats, caller->n_caveats);
	list_init(&c->requests);
	list_init(&c->replies);
	list_init(&c->ahead_link);
	list_init(&c->stalled_link);
	buffer_init(&c->buffer, &e->room, false);
	window_init(&c->window, &e->room);
	c->in.window = &c->window;
	return c;
}

static void
connection_tell_dead(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;

	while (e->on.cancelled && !list_empty(&c->requests)) {
		struct capc_request *r = list_entry(list_first(&c->requests), struct capc_request, link);

		if (r->told)
			break;
		request_tell_cancelled(r);
	}
	if (!c->announced || !e->on.disconnected)
		return;
	entrypoint_unlock(e);
	e->on.disconnected(&c->caller, c->error, e->on_data);
	entrypoint_lock(e);
}

/* Asks the program whether C may be, before a call of it is read. */
static void
connection_announce(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;
	void *data = NULL;
	int r;

	if (!e->on.connected)
		return;
	c->n_refs++;
	entrypoint_unlock(e);
	r = e->on.connected(&c->caller, &data, e->on_data);
	entrypoint_lock(e);
	c->announced = r >= 0;
	c->caller.data = data;
	if (r < 0 && c->open) {
		connection_farewell(c->fd, -r, "the server refuses the connection");
		connection_close(c, r);
	}
	/* It has detached the entrypoint, which has told all the others. */
	if (!c->open && list_empty(&c->link))
		connection_tell_dead(c);
	connection_unref(c);
}

void
connection_new(struct capc_entrypoint *e, int fd, const struct capc_caller *caller, uint32_t page_index)
{
	struct connection *c = connection_make(e, caller);
	int r = c ? 0 : -ENOMEM;

	if (r == 0)
		r = socket_type(fd) != SOCK_SEQPACKET ? -EPROTOTYPE : 0;
	if (r == 0)
		r = entrypoint_watch(e, fd, &c->watched);
	if (r < 0) {
		entrypoint_refuse(e, fd, r);
		fd_close(caller->pidfd);
		free(c);
		return;
	}
	e->n_refs++;
	c->open = true;
	c->fd = fd;
	c->events = EPOLLIN;
	c->page_index = page_index;
	list_append(&e->connections, &c->link);
	connection_announce(c);
}

struct connection *
connection_unref(struct connection *c)
{
	if (--c->n_refs > 0)
		return NULL;
	fd_close(c->caller.pidfd);
	c->entrypoint->n_refs--;
	index_deinit(&c->by_serial);
	free(c);
	return NULL;
}

/*
 * Counts what its inbox has now. All clients together have no more there than one call may bring: the
 * oldest call that did not come is in error then.
 */
static void
connection_ahead(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;

	e->n_ahead += c->in.n - c->n_ahead;
	c->n_ahead = c->in.n;
	if (c->n_ahead == 0)
		list_unlink(&c->ahead_link);
	else if (list_empty(&c->ahead_link))
		list_append(&e->ahead, &c->ahead_link);
	while (e->n_ahead > e->fds_max + 1) {
		struct connection *oldest =
			list_entry(list_first(&e->ahead), struct connection, ahead_link);

		inbox_fail(&oldest->in, -EMFILE);
		e->n_ahead -= oldest->n_ahead;
		oldest->n_ahead = 0;
		list_unlink(&oldest->ahead_link);
		connection_stalls(oldest);
	}
}

void
connection_drop_buffer(struct connection *c)
{
	if (!c->buffer.reserved)
		buffer_drop(&c->buffer);
}

void
connection_close(struct connection *c, int error)
{
	struct capc_entrypoint *e = c->entrypoint;

	if (!c->open)
		return;
	c->open = false;
	c->error = error;
	/*
	 * The daemon's duplicate keeps the socket alive, and with it what epoll knows of it. In a
	 * child of fork the epoll is its parent's as well.
	 */
	if (e->owner == getpid())
		epoll_ctl(e->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	c->fd = close_owned(c->fd, e->owner);
	while (!list_empty(&c->replies))
		kept_frame_free(list_entry(list_first(&c->replies), struct kept_frame, link));
	list_for_each (i, &c->requests)
		__atomic_store_n(
			&list_entry(i, struct capc_request, link)->cancelled, true, __ATOMIC_RELEASE);
	inbox_clear(&c->in);
	connection_ahead(c);
	window_drop(&c->window);
	connection_drop_buffer(c);
	list_unlink(&c->stalled_link);
	list_unlink(&c->link);
	list_append(&e->dead, &c->link);
	entrypoint_wake(e);
}

void
entrypoint_bury(struct capc_entrypoint *e)
{
	while (!list_empty(&e->dead)) {
		struct connection *c = list_entry(list_first(&e->dead), struct connection, link);

		list_unlink(&c->link);
		connection_tell_dead(c);
		connection_unref(c);
	}
}

/* Why a call is not given to its handler. Returns: 0, or a positive errno, with *RET_REASON and *RET_ORIGIN. */
static int
call_check(struct connection *c, const struct wire_call *call, struct capc_request *r,
	const struct object *o, const char **ret_reason, enum wire_origin *ret_origin)
{
	struct capc_entrypoint *e = c->entrypoint;
	int error = c->in.error;

	*ret_origin = WIRE_ORIGIN_SERVER;
	*ret_reason = "the server has no room for its descriptors";
	if (error == 0 && call->n_payload > e->data_max)
		error = -EMSGSIZE;
	if (error == -EMSGSIZE)
		*ret_reason = "the server takes no call with as much";
	if (error == 0)
		error = inbox_take(&c->in, call, &e->packet, &r->msg);
	else
		inbox_clear(&c->in);
	if (error == 0 && (!o || !o->handler)) {
		*ret_reason = "the server has no such object";
		error = -ENXIO;
	}
	if (error == 0 && c->page_index) {
		*ret_origin = WIRE_ORIGIN_LIMIT;
		return limits_count(&e->limits, c->page_index, c->caller.capability, call->code,
			ret_reason);
	}
	return -error;
}

/* Gives the call in the buffer to its object's handler. */
static int
connection_call(struct connection *c, const struct wire_call *call)
{
	struct object *o = entrypoint_find(c->entrypoint, c->caller.key);
	struct capc_request *r;
	enum wire_origin origin;
	const char *reason;
	int error = request_new(c, call->serial, &r);

	if (error < 0)
		return error;
	c->n_unanswered++;
	error = call_check(c, call, r, o, &reason, &origin);
	/* The copy is ours to pay for: one, as the client was told. */
	if (message_is_copied(&r->msg) && c->lent)
		error = EBADMSG;
	if (c->n_ahead > 0) {
		connection_ahead(c);
		connection_stalls(c);
	}
	/* ENOENT: its capability has ended, and the connection does, too. */
	if (error == EBADMSG || error == ENOMEM || error == ENOENT) {
		request_free(r);
		return -error;
	}
	r->n_fds = r->msg.n_fds;
	c->n_fds += r->n_fds;
	if (message_is_copied(&r->msg))
		c->lent = r->lent = true;
	if (wire_call_is_large(call))
		entrypoint_keeps(c->entrypoint);
	if (error == EMFILE || error == ENFILE)
		c->entrypoint->exhausted = -error;
	entrypoint_unlock(c->entrypoint);
	if (error)
		request_refuse(r, error, reason, origin);
	else
		o->handler(r, &r->msg, o->data);
	entrypoint_lock(c->entrypoint);
	return 0;
}

static void
connection_cancel(struct connection *c, uint64_t serial)
{
	struct capc_request *r = request_find(c, serial);

	if (r)
		request_tell_cancelled(r);
}

static bool
connection_is_full(const struct connection *c)
{
	return c->n_unanswered >= c->entrypoint->calls_max || c->n_fds > c->entrypoint->fds_max;
}

/* Whether something else than a CANCEL is next, which is all that is read of one that is full. */
static bool
connection_has_call(const struct connection *c)
{
	uint8_t head[2];
	ssize_t n = recv(c->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	return n == sizeof(head) && head[1] != WIRE_CANCEL;
}

/*
 * Returns: 1 when there was a call, 0 when there was something else or nothing, -errno when the
 * connection is to end.
 */
static int
connection_read(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;
	struct wire_call call;
	int r;

	if (connection_is_full(c) && connection_has_call(c)) {
		c->full = true;
		connection_watch(c);
		return 0;
	}
	r = frame_receive(c->fd, e->packet->bytes, sizeof(e->packet->bytes), e->fds_max,
		e->data_max > WIRE_PAYLOAD_MAX, &c->in, MSG_DONTWAIT, &call);
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	if (r == 0) {
		connection_ahead(c);
		if (list_empty(&c->stalled_link))
			connection_stalls(c);
		return 0;
	}
	if (c->n_ahead > c->in.n) {
		connection_ahead(c);
		connection_stalls(c);
	}
	if (call.type == WIRE_CANCEL) {
		if (c->in.n > 0 || c->in.error)
			return -EBADMSG;
		if (call.serial == WIRE_CREDIT_SERIAL)
			return connection_credit(c);
		connection_cancel(c, call.serial);
		return 0;
	}
	r = call.type == WIRE_CALL ? connection_call(c, &call) : -EBADMSG;
	return r < 0 ? r : 1;
}

/*
 * One call, the next in the next round: so all have their turn, whoever is the fastest to ask again, and
 * nobody is asked in vain whether there is more.
 */
static int
connection_read_one(struct connection *c)
{
	int r = connection_read(c);

	if (r < 0)
		connection_close(c, r == -ECONNRESET || r == -EPIPE ? 0 : r);
	else if (c->open)
		connection_watch(c);
	return r > 0;
}

/* Returns how many calls were given to handlers. */
static int
connection_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events)
{
	struct connection *c = container_of(w, struct connection, watched);
	int n = 0;

	/* Closed in this round, or while it was waited for. */
	if (!c->open)
		return 0;
	c->n_refs++;
	if (c->events & EPOLLIN)
		n = connection_read_one(c);
	else if (events & EPOLLOUT && c->events & EPOLLOUT)
		connection_flush(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		/* Nobody is there to reply to, and it is not read from: ready for ever. */
		connection_close(c, 0);
	connection_unref(c);
	return n;
}

void
capc_raw_close(int fd)
{
	fd_shutdown_close(fd);
}
