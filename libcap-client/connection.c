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
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/private.h"

#define CALLS_MAX 16     /* unanswered, of one connection; and in one round */
#define RETRY_USEC 10000 /* between two tries for descriptors */

struct capc_request {
	struct connection *connection;
	uint64_t serial;
	struct capc_msg msg;
};

/* A reply that waits, encoded. */
struct reply {
	struct list link;
	int fd; /* a duplicate, or -1 */
	size_t n;
	uint8_t data[];
};

int
connection_new(struct capc_entrypoint *e, int fd, const struct capc_caller *caller)
{
	struct epoll_event event = {.events = EPOLLIN};
	size_t n_label = strlen(caller->label) + 1;
	struct connection *c = calloc(1, sizeof(*c) + n_label);
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
	c->caller = *caller;
	c->caller.label = memcpy(c->label, caller->label, n_label);
	list_init(&c->replies);
	list_init(&c->stalled_link);
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
	fd_close(o->fd);
	free(o);
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
	else if (c->n_unanswered < CALLS_MAX)
		event.events = EPOLLIN;
	if (event.events == c->events)
		return;
	c->events = event.events;
	if (epoll_ctl(c->entrypoint->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
		connection_close(c);
}

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

	due = first ? connection_due(list_entry(first, struct connection, stalled_link)) : UINT64_MAX;
	if (e->retry_at && e->retry_at < due)
		due = e->retry_at;
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

/* It took something, or begins to take nothing. */
static void
connection_stalls(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;
	bool first = list_empty(&e->stalled);

	list_unlink(&c->stalled_link);
	if (list_empty(&c->replies))
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
		struct connection *c = list_entry(list_first(&e->stalled), struct connection,
			stalled_link);

		if (connection_due(c) > now)
			return;
		connection_close(c);
	}
}

/* Sends what waits, as far as the client takes it, and as its descriptors may be in flight. */
static void
connection_flush(struct connection *c)
{
	bool some = false;

	c->starved = false;
	while (!list_empty(&c->replies)) {
		struct reply *o = list_entry(list_first(&c->replies), struct reply, link);
		ssize_t sent = msg_send(c->fd, o->data, o->n, &o->fd, o->fd >= 0, MSG_DONTWAIT);

		c->starved = sent == -ETOOMANYREFS;
		if (c->starved)
			entrypoint_retry(c->entrypoint);
		if (sent == -EAGAIN || c->starved)
			break;
		if (sent < 0)
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

static int
connection_enqueue(struct connection *c, const void *data, size_t n, int fd)
{
	struct reply *o = malloc(sizeof(*o) + n);

	if (!o)
		return -ENOMEM;
	o->n = n;
	memcpy(o->data, data, n);
	o->fd = fd < 0 ? -1 : fd_dup(fd);
	if (fd >= 0 && o->fd < 0) {
		int r = o->fd;

		free(o);
		return r;
	}
	list_append(&c->replies, &o->link);
	if (o->link.prev == &c->replies)
		connection_stalls(c);
	return 0;
}

/* Sends a reply, or has it wait. */
static int
connection_reply(struct connection *c, const struct wire_call *reply, int fd)
{
	uint8_t *buffer = c->entrypoint->buffer;
	int n = wire_call_encode(reply, buffer, sizeof(c->entrypoint->buffer));
	ssize_t sent = -EAGAIN;

	if (n < 0)
		return n;
	if (list_empty(&c->replies))
		sent = msg_send(c->fd, buffer, (size_t)n, &fd, fd >= 0, MSG_DONTWAIT);
	if (sent == -EAGAIN)
		return connection_enqueue(c, buffer, (size_t)n, fd);
	if (sent < 0)
		return (int)sent;
	c->n_unanswered--;
	return 0;
}

static struct capc_request *
request_free(struct capc_request *r)
{
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
request_answer(struct capc_request *r, uint32_t code, const void *data, size_t n, int fd)
{
	struct connection *c = r->connection;
	struct wire_call reply = {
		.type = WIRE_RETURN,
		.code = code,
		.serial = r->serial,
		.payload = data,
		.n_payload = n,
	};
	int result = -ECONNRESET, again;

	if (c->entrypoint && c->entrypoint->owner != getpid()) {
		result = -ECHILD;
	} else if (c->entrypoint) {
		again = result = connection_reply(c, &reply, fd);
		if (result < 0 && result != -EPIPE && result != -ECONNRESET) {
			reply.code = (uint32_t)-result;
			reply.n_payload = 0;
			again = connection_reply(c, &reply, -1);
		}
		if (again < 0)
			connection_close(c);
		else
			connection_watch(c);
		result = result == -EPIPE ? -ECONNRESET : result;
	}
	request_free(r);
	return result;
}

int
capc_reply(struct capc_request *r, const struct capc_msg *m)
{
	int bad = m ? message_check(m) : 0;

	if (bad < 0) {
		int result = request_answer(r, (uint32_t)-bad, NULL, 0, -1);

		return result < 0 ? result : bad;
	}
	return request_answer(r, 0, m ? m->data : NULL, m ? m->n_data : 0,
		m && m->n_fds > 0 ? m->fds[0] : -1);
}

int
capc_reply_error(struct capc_request *r, int error, const char *reason)
{
	size_t n = reason ? strlen(reason) : 0;

	error = error < 0 ? -error : error;
	return request_answer(r, error ? (uint32_t)error : EIO, reason,
		n < CAPC_PAYLOAD_MAX ? n : CAPC_PAYLOAD_MAX, -1);
}

const struct capc_caller *
capc_caller(const struct capc_request *r)
{
	return &r->connection->caller;
}

/* Gives the call in the buffer to its object's handler. Takes FD on success. */
static int
connection_call(struct connection *c, const struct wire_call *call, int fd)
{
	struct object *o = entrypoint_find(c->entrypoint, c->caller.key);
	struct capc_request *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	if (message_make(call->code, call->payload, call->n_payload, fd, &r->msg) < 0) {
		free(r);
		return -ENOMEM;
	}
	r->connection = c;
	r->serial = call->serial;
	c->n_refs++;
	c->n_unanswered++;
	if (o && o->handler)
		o->handler(r, &r->msg, o->data);
	else
		capc_reply_error(r, ENXIO, "the server has no such object");
	return 0;
}

/* Returns: 1 when there was a call, 0 when there was none, -errno when the connection is to end. */
static int
connection_read(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;
	cleanup_close int fd = -1;
	struct wire_call call;
	int fds[CAPC_FDS_MAX], r;
	size_t n_fds;
	ssize_t n;

	n = msg_receive(c->fd, e->buffer, sizeof(e->buffer), fds, CAPC_FDS_MAX, &n_fds,
		MSG_DONTWAIT);
	if (n == -EAGAIN)
		return 0;
	if (n >= 0 && n_fds > 0)
		fd = fds[0];
	if (n <= 0)
		return n == 0 ? -ECONNRESET : (int)n;
	r = wire_call_decode(e->buffer, (size_t)n, &call);
	if (r == 0 && call.type != WIRE_CALL)
		r = -EBADMSG;
	if (r == 0)
		r = connection_call(c, &call, fd);
	if (r < 0)
		return r;
	take_fd(fd);
	return 1;
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
