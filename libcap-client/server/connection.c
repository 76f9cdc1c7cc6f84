/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of one client. It is read from only while it has few unanswered requests and takes its
 * replies, so what it can make the server hold is bounded: CALLS_MAX requests that a handler
 * keeps, or as many replies.
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

#define CALLS_MAX 16     /* unanswered, of one connection; and in one round */

struct capc_request {
	struct connection *connection;
	struct list link; /* connection.requests */
	uint64_t serial;
	bool cancelled;
	size_t n_fds; /* that came with it */
	bool lent;    /* the payload came through the client's buffer */
	struct capc_msg msg;
};

/* A reply that waits: a frame, with a copy of the payload and duplicates of the descriptors. */
struct reply {
	struct list link;
	struct frame frame;
	int fds[]; /* and then the payload, unless it is in the frame's memfd */
};

int
connection_new(struct capc_entrypoint *e, int fd, const struct capc_caller *caller,
	uint32_t page_index)
{
	struct epoll_event event = {.events = EPOLLIN};
	size_t n_label = strlen(caller->label) + 1;
	struct connection *c = calloc(1, sizeof(*c) + n_label + caller->n_caveats);
	int r = -ENOMEM;

	event.data.ptr = c;
	if (c)
		r = socket_type(fd) != SOCK_SEQPACKET ? -EPROTOTYPE : 0;
	if (r == 0 && epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		r = -errno;
	if (r < 0) {
		fd_shutdown_close(fd);
		fd_close(caller->pidfd);
		free(c);
		return r;
	}
	c->n_refs = 1;
	c->entrypoint = e;
	c->fd = fd;
	c->events = event.events;
	c->page_index = page_index;
	c->caller = *caller;
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
	list_append(&e->connections, &c->link);
	return 0;
}

struct connection *
connection_unref(struct connection *c)
{
	if (--c->n_refs > 0)
		return NULL;
	fd_close(c->caller.pidfd);
	free(c);
	return NULL;
}

static void
reply_free(struct reply *o)
{
	list_unlink(&o->link);
	frame_end(&o->frame);
	for (size_t i = 0; i < o->frame.n_fds; i++)
		fd_close(o->fds[i]);
	free(o);
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
connection_close(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;

	if (!e)
		return;
	/*
	 * The daemon's duplicate keeps the socket alive, and with it what epoll knows of it. In a
	 * child of fork the epoll is its parent's as well.
	 */
	if (e->owner == getpid())
		epoll_ctl(e->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	c->fd = close_owned(c->fd, e->owner);
	while (!list_empty(&c->replies))
		reply_free(list_entry(list_first(&c->replies), struct reply, link));
	while (!list_empty(&c->requests))
		list_unlink(list_first(&c->requests));
	inbox_clear(&c->in);
	connection_ahead(c);
	window_drop(&c->window);
	buffer_drop(&c->buffer);
	list_unlink(&c->stalled_link);
	list_unlink(&c->link);
	c->entrypoint = NULL;
	if (e->serving)
		list_append(&e->dead, &c->link);
	else
		connection_unref(c);
}

/* Reads as long as there is room, writes while something waits. */
static void
connection_watch(struct connection *c)
{
	bool waits = !list_empty(&c->replies);
	struct epoll_event event = {.data.ptr = c};

	if (waits)
		event.events = c->starved ? 0 : EPOLLOUT;
	else if (!c->full)
		event.events = EPOLLIN;
	if (event.events == c->events)
		return;
	c->events = event.events;
	if (epoll_ctl(c->entrypoint->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
		connection_close(c);
}

/* Sends what waits, as far as the client takes it, and as its descriptors may be in flight. */
static void
connection_flush(struct connection *c)
{
	bool some = false;

	c->starved = false;
	while (!list_empty(&c->replies)) {
		struct reply *o = list_entry(list_first(&c->replies), struct reply, link);
		int r = frame_send(&o->frame, c->fd, c->entrypoint->buffer,
			sizeof(c->entrypoint->buffer));

		c->starved = r == -ETOOMANYREFS;
		if (c->starved)
			entrypoint_retry(c->entrypoint);
		if (r == -EAGAIN || c->starved)
			break;
		if (r < 0)
			return connection_close(c);
		reply_free(o);
		c->n_unanswered--;
		some = true;
	}
	if (some)
		connection_stalls(c);
	connection_watch(c);
}

void
connections_retry(struct capc_entrypoint *e)
{
	list_for_each_safe (i, &e->stalled) {
		struct connection *c = list_entry(i, struct connection, stalled_link);

		if (c->starved)
			connection_flush(c);
	}
}

/* Takes the frame's memfd. Returns: 0, -ENOMEM, -errno of a descriptor. */
static int
reply_new(struct frame *f, struct reply **ret)
{
	size_t n_data = wire_call_is_large(&f->call) ? 0 : f->call.n_payload;
	struct reply *o = malloc(sizeof(*o) + f->n_fds * sizeof(int) + n_data);

	if (!o)
		return -ENOMEM;
	frame_fill(f);
	o->frame = *f;
	o->frame.fds = o->fds;
	o->frame.memfd = take_fd(f->memfd);
	o->frame.buffer = take_ptr(f->buffer);
	list_init(&o->link);
	for (o->frame.n_fds = 0; o->frame.n_fds < f->n_fds; o->frame.n_fds++) {
		int fd = fd_dup(f->fds[o->frame.n_fds]);

		if (fd < 0) {
			reply_free(o);
			return fd;
		}
		o->fds[o->frame.n_fds] = fd;
	}
	if (n_data > 0)
		o->frame.call.payload = memcpy(&o->fds[f->n_fds], f->call.payload, n_data);
	*ret = o;
	return 0;
}

static int
connection_enqueue(struct connection *c, struct frame *f)
{
	struct reply *o;
	int r = reply_new(f, &o);

	if (r < 0)
		return r;
	list_append(&c->replies, &o->link);
	if (o->link.prev == &c->replies)
		connection_stalls(c);
	return 0;
}

/* Sends a reply, or has it wait. */
static int
connection_reply(struct connection *c, uint32_t code, uint64_t serial, const struct capc_msg *m)
{
	struct capc_entrypoint *e = c->entrypoint;
	struct frame f;
	int r = frame_begin(&f, WIRE_RETURN, code, serial, m, &c->buffer);

	if (r == 0)
		r = list_empty(&c->replies) ? frame_send(&f, c->fd, e->buffer, sizeof(e->buffer))
					    : -EAGAIN;
	if (r == -EAGAIN || (r == -ETOOMANYREFS && f.n_sent > 0))
		r = connection_enqueue(c, &f);
	else if (r == 0)
		c->n_unanswered--;
	if (wire_call_is_large(&f.call))
		entrypoint_keeps(e);
	/* What went ahead of it must not come with the error that would be sent instead. */
	if (r < 0 && f.n_sent > 0)
		connection_close(c);
	frame_end(&f);
	return r;
}

/* … its buffer to the client, who has the RETURN. */
static void
connection_return(struct capc_request *r)
{
	if (r->lent)
		r->connection->lent = false;
	r->lent = false;
}

static struct capc_request *
request_free(struct capc_request *r)
{
	list_unlink(&r->link);
	r->connection->n_fds -= r->n_fds;
	capc_msg_done(&r->msg);
	connection_unref(r->connection);
	free(r);
	return NULL;
}

/*
 * Answers once and frees R. When the reply itself cannot be sent (its descriptor is none, or too
 * many are in flight), the client gets that error instead, and so does the server.
 */
static int
request_answer(struct capc_request *r, uint32_t code, const struct capc_msg *m)
{
	struct connection *c = r->connection;
	int result = -ECONNRESET, again;

	if (c->entrypoint && c->entrypoint->owner != getpid()) {
		result = -ECHILD;
	} else if (c->entrypoint) {
		again = result = connection_reply(c, code, r->serial, m);
		if (result < 0 && result != -EPIPE && result != -ECONNRESET && c->entrypoint)
			again = connection_reply(
				c, (uint32_t)-result, r->serial, &(struct capc_msg){});
		c->n_fds -= r->n_fds;
		r->n_fds = 0;
		connection_return(r);
		c->full = false;
		if (again < 0)
			connection_close(c);
		else if (c->entrypoint)
			connection_watch(c);
		result = result == -EPIPE ? -ECONNRESET : result;
	}
	request_free(r);
	return result;
}

int
capc_reply(struct capc_request *r, const struct capc_msg *m)
{
	return request_answer(r, 0, m ? m : &(struct capc_msg){});
}

int
capc_reply_error(struct capc_request *r, int error, const char *reason)
{
	size_t n = reason ? strlen(reason) : 0;

	error = error < 0 ? -error : error;
	return request_answer(r, error ? (uint32_t)error : EIO,
		&(struct capc_msg){
			.data = reason, .n_data = n < WIRE_PAYLOAD_MAX ? n : WIRE_PAYLOAD_MAX});
}

bool
capc_cancelled(const struct capc_request *r)
{
	return r->cancelled || !r->connection->entrypoint;
}

const struct capc_caller *
capc_caller(const struct capc_request *r)
{
	return &r->connection->caller;
}

/* Why a call is not given to its handler. Returns: 0, or a positive errno, with *RET_REASON. */
static int
call_check(struct connection *c, const struct wire_call *call, struct capc_request *r,
	const struct object *o, const char **ret_reason)
{
	struct capc_entrypoint *e = c->entrypoint;
	int error = c->in.error;

	*ret_reason = "the server has no room for its descriptors";
	if (error == 0 && call->n_payload > e->data_max)
		error = -EMSGSIZE;
	if (error == -EMSGSIZE)
		*ret_reason = "the server takes no call with as much";
	if (error == 0)
		error = inbox_take(&c->in, call, &r->msg);
	else
		inbox_clear(&c->in);
	if (error == 0 && (!o || !o->handler)) {
		*ret_reason = "the server has no such object";
		error = -ENXIO;
	}
	if (error == 0 && c->page_index)
		return limits_count(&e->limits, c->page_index, c->caller.capability, call->code,
			ret_reason);
	return -error;
}

/* Gives the call in the buffer to its object's handler. */
static int
connection_call(struct connection *c, const struct wire_call *call)
{
	struct object *o = entrypoint_find(c->entrypoint, c->caller.key);
	struct capc_request *r = calloc(1, sizeof(*r));
	const char *reason;
	int error;

	if (!r)
		return -ENOMEM;
	r->connection = c;
	r->serial = call->serial;
	list_append(&c->requests, &r->link);
	c->n_refs++;
	c->n_unanswered++;
	error = call_check(c, call, r, o, &reason);
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
	if (error)
		capc_reply_error(r, error, reason);
	else
		o->handler(r, &r->msg, o->data);
	return 0;
}

static void
connection_cancel(struct connection *c, uint64_t serial)
{
	list_for_each (i, &c->requests) {
		struct capc_request *r = list_entry(i, struct capc_request, link);

		if (r->serial == serial)
			r->cancelled = true;
	}
}

/* Whether the next packet gives a call up; nothing else is read of one that has enough unanswered. */
static bool
connection_cancels(struct connection *c)
{
	uint8_t head[2];

	return recv(c->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT) == sizeof(head) &&
		head[1] == WIRE_CANCEL;
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

	if ((c->n_unanswered >= CALLS_MAX || c->n_fds > e->fds_max) && !connection_cancels(c)) {
		c->full = true;
		connection_watch(c);
		return 0;
	}
	r = frame_receive(c->fd, e->buffer, sizeof(e->buffer), e->fds_max,
		e->data_max > WIRE_PAYLOAD_MAX, &c->in, &call);
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
		connection_cancel(c, call.serial);
		return 0;
	}
	r = call.type == WIRE_CALL ? connection_call(c, &call) : -EBADMSG;
	return r < 0 ? r : 1;
}

/* Some calls; the rest in the next round, so that others have their turn. */
static int
connection_read_some(struct connection *c)
{
	int n = 0;

	while (c->entrypoint && c->events & EPOLLIN && n < CALLS_MAX) {
		int r = connection_read(c);

		if (r < 0 && c->entrypoint)
			connection_close(c);
		if (r <= 0)
			break;
		n++;
		if (c->entrypoint)
			connection_watch(c);
	}
	return n;
}

int
connection_dispatch(struct connection *c, uint32_t events)
{
	int n = 0;

	/* Closed by a handler in this round. */
	if (!c->entrypoint)
		return 0;
	c->n_refs++;
	if (c->events & EPOLLIN)
		n = connection_read_some(c);
	else if (events & EPOLLOUT && c->events & EPOLLOUT)
		connection_flush(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		/* Nobody is there to reply to, and it is not read from: ready for ever. */
		connection_close(c);
	connection_unref(c);
	return n;
}

void
capc_raw_close(int fd)
{
	fd_shutdown_close(fd);
}
