/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests from when they are with a handler, and their replies until these are sent. A request outlives its
 * connection: the handler has it. A reply then goes nowhere. Any thread answers, and sends by itself what its client
 * takes at once: nobody has to be woken up for that.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/server/serving.h"

#define REASON_MAX 128 /* bytes of one that is the library's */

void
connection_watch(struct connection *c)
{
	bool waits = !list_empty(&c->replies);
	struct epoll_event event = {.data.ptr = &c->watched};

	if (waits)
		event.events = c->starved ? 0 : EPOLLOUT;
	else if (!c->full)
		event.events = EPOLLIN;
	if (event.events == c->events)
		return;
	c->events = event.events;
	if (epoll_ctl(c->entrypoint->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
		connection_close(c, -errno);
}

void
connection_flush(struct connection *c)
{
	bool some = false;

	c->starved = false;
	while (!list_empty(&c->replies)) {
		struct kept_frame *o = list_entry(list_first(&c->replies), struct kept_frame, link);
		int r = frame_send(&o->frame, c->fd, c->entrypoint->out, sizeof(c->entrypoint->out));

		c->starved = r == -ETOOMANYREFS;
		if (c->starved)
			entrypoint_retry(c->entrypoint);
		if (r == -EAGAIN || c->starved)
			break;
		if (r < 0)
			return connection_close(c, 0);
		if (o->frame.call.type == WIRE_RETURN)
			c->n_unanswered--;
		kept_frame_free(o);
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
connection_enqueue(struct connection *c, struct frame *f)
{
	struct kept_frame *o;
	int r = frame_keep(f, &o);

	if (r < 0)
		return r;
	list_append(&c->replies, &o->link);
	if (o->link.prev == &c->replies)
		connection_stalls(c);
	return 0;
}

int
connection_credit(struct connection *c)
{
	struct capc_entrypoint *e = c->entrypoint;
	struct frame f = {
		.call = {.type = WIRE_CREDIT, .code = e->calls_max, .serial = WIRE_CREDIT_SERIAL,
			.n_payload = e->fds_max},
		.memfd = -1,
	};
	int r = list_empty(&c->replies) ? frame_send(&f, c->fd, e->out, sizeof(e->out)) : -EAGAIN;

	if (r != -EAGAIN)
		return r;
	r = connection_enqueue(c, &f);
	if (r == 0)
		connection_watch(c);
	return r;
}

/*
 * Without the mutex: to copy what is large takes so long that others would stand still. The connection may have closed
 * meanwhile.
 */
static int
reply_load(struct connection *c, struct frame *f)
{
	struct capc_entrypoint *e = c->entrypoint;
	int r = wire_call_is_large(&f->call);

	while (r > 0 && c->open) {
		entrypoint_unlock(e);
		r = frame_load(f);
		entrypoint_lock(e);
		/* Nothing comes between the packets of a reply that waits. */
		if (r > 0 && c->open && list_empty(&c->replies))
			frame_tell(f, c->fd, e->out, sizeof(e->out));
	}
	return r < 0 ? r : c->open ? 0 : -ECONNRESET;
}

/* Sends a reply, or has it wait. */
static int
connection_reply(struct connection *c, uint32_t code, uint64_t serial, const struct capc_msg *m)
{
	struct capc_entrypoint *e = c->entrypoint;
	struct frame f;
	int r = frame_begin(&f, WIRE_RETURN, code, serial, m, &c->buffer);

	if (r == 0)
		r = reply_load(c, &f);
	if (r == 0)
		r = list_empty(&c->replies) ? frame_send(&f, c->fd, e->out, sizeof(e->out)) : -EAGAIN;
	if (r == -EAGAIN || (r == -ETOOMANYREFS && f.n_sent > 0))
		r = connection_enqueue(c, &f);
	else if (r == 0)
		c->n_unanswered--;
	if (wire_call_is_large(&f.call))
		entrypoint_keeps(e);
	/* What went ahead of it must not come with the error that would be sent instead. */
	if (r < 0 && f.n_sent > 0)
		connection_close(c, r);
	if (r == -EMFILE || r == -ENFILE)
		e->exhausted = r;
	frame_end(&f);
	if (!c->open)
		connection_drop_buffer(c);
	return r;
}

/* … an error that is the library's, in the place of a reply that cannot be sent. */
static int
connection_reply_none(struct connection *c, uint32_t code, uint64_t serial)
{
	char text[REASON_MAX];
	int n = wire_refusal_encode("the server's reply cannot be sent", WIRE_ORIGIN_SERVER, text, sizeof(text));

	return connection_reply(c, code, serial, &(struct capc_msg){.data = text, .n_data = (size_t)n});
}

/* In the place of the first call's RETURN, which those who do not know it take it for. */
void
connection_farewell(int fd, int error, const char *reason)
{
	char text[REASON_MAX], packet[REASON_MAX + 64];
	int n = wire_refusal_encode(reason, WIRE_ORIGIN_END, text, sizeof(text));
	struct wire_call m = {.type = WIRE_RETURN,
		.code = (uint32_t)error,
		.serial = 1,
		.payload = text,
		.n_payload = n < 0 ? 0 : (size_t)n};

	n = wire_call_encode(&m, packet, sizeof(packet));
	if (n > 0)
		(void)msg_send(fd, packet, (size_t)n, NULL, 0, MSG_DONTWAIT);
}

/* … its buffer to the client, who has the RETURN. */
static void
connection_return(struct capc_request *r)
{
	if (r->lent)
		r->connection->lent = false;
	r->lent = false;
}

static uint64_t
serial_hash(const struct connection *c, uint64_t serial)
{
	return index_hash(c->entrypoint->seed, &serial, sizeof(serial));
}

static struct capc_request *
find(const struct connection *c, uint64_t serial, uint64_t hash)
{
	struct index_link *i = index_first(&c->by_serial, hash);

	while (i && container_of(i, struct capc_request, by_serial)->serial != serial)
		i = index_next(i);
	return i ? container_of(i, struct capc_request, by_serial) : NULL;
}

struct capc_request *
request_find(const struct connection *c, uint64_t serial)
{
	return find(c, serial, serial_hash(c, serial));
}

int
request_new(struct connection *c, uint64_t serial, struct capc_request **ret)
{
	uint64_t hash = serial_hash(c, serial);
	struct capc_request *r;

	if (find(c, serial, hash))
		return -EBADMSG;
	/* calloc() passes what malloc() keeps for this thread by. */
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct capc_request){.connection = c, .n_refs = 1, .serial = serial};
	if (index_add(&c->by_serial, &r->by_serial, hash) < 0) {
		free(r);
		return -ENOMEM;
	}
	list_append(&c->requests, &r->link);
	c->n_refs++;
	*ret = r;
	return 0;
}

static void
request_unlink(struct capc_request *r)
{
	list_unlink(&r->link);
	index_remove(&r->connection->by_serial, &r->by_serial);
	r->connection->n_fds -= r->n_fds;
	r->n_fds = 0;
}

/* Returns: whether it is to be freed, which takes as long as closing its descriptors does. */
static bool
request_unref(struct capc_request *r)
{
	if (--r->n_refs > 0)
		return false;
	connection_unref(r->connection);
	return true;
}

static void
request_done(struct capc_request *r)
{
	capc_msg_done(&r->msg);
	free(r);
}

void
request_free(struct capc_request *r)
{
	request_unlink(r);
	if (request_unref(r))
		request_done(r);
}

void
request_tell_cancelled(struct capc_request *r)
{
	struct capc_entrypoint *e = r->connection->entrypoint;

	__atomic_store_n(&r->cancelled, true, __ATOMIC_RELEASE);
	if (r->told || !e->on.cancelled)
		return;
	r->told = true;
	/* Those of whom it was told stand last. */
	list_unlink(&r->link);
	list_append(&r->connection->requests, &r->link);
	r->n_refs++;
	entrypoint_unlock(e);
	e->on.cancelled(r, e->on_data);
	entrypoint_lock(e);
	if (request_unref(r))
		request_done(r);
}

/*
 * When the reply itself cannot be sent (its descriptor is none, or too many are in flight), the client gets that
 * error instead, and so does the server.
 */
static int
connection_answer(struct connection *c, struct capc_request *r, uint32_t code, const struct capc_msg *m)
{
	int result, again;

	again = result = connection_reply(c, code, r->serial, m);
	if (result < 0 && result != -EPIPE && result != -ECONNRESET && c->open)
		again = connection_reply_none(c, (uint32_t)-result, r->serial);
	request_unlink(r);
	connection_return(r);
	c->full = false;
	if (again < 0)
		connection_close(c, again == -EPIPE || again == -ECONNRESET ? 0 : again);
	else if (c->open)
		connection_watch(c);
	return result == -EPIPE ? -ECONNRESET : result;
}

/* Answers once and frees R. */
static int
request_answer(struct capc_request *r, uint32_t code, const struct capc_msg *m)
{
	struct connection *c = r->connection;
	struct capc_entrypoint *e = c->entrypoint;
	int result = -ECONNRESET;
	bool last;

	if (e->owner != process_id()) {
		request_free(r);
		return -ECHILD;
	}
	entrypoint_lock(e);
	if (c->open)
		result = connection_answer(c, r, code, m);
	else
		request_unlink(r);
	last = request_unref(r);
	entrypoint_unlock(e);
	if (last)
		request_done(r);
	return result;
}

int
capc_reply(struct capc_request *r, const struct capc_msg *m)
{
	return request_answer(r, 0, m ? m : &(struct capc_msg){});
}

void
request_refuse(struct capc_request *r, int error, const char *reason, enum wire_origin origin)
{
	char text[REASON_MAX];
	int n = wire_refusal_encode(reason, origin, text, sizeof(text));

	request_answer(r, (uint32_t)error, &(struct capc_msg){.data = text, .n_data = n < 0 ? 0 : (size_t)n});
}

/* An errno that is none would end the connection, and every other call on it. */
int
capc_reply_error(struct capc_request *r, int error, const char *reason)
{
	size_t n = reason ? strlen(reason) : 0;
	uint32_t code = error < 0 ? -(uint32_t)error : (uint32_t)error;

	if (code == 0 || code > WIRE_ERRNO_MAX) {
		request_refuse(r, EINVAL, "the server's errno is none", WIRE_ORIGIN_SERVER);
		return -EINVAL;
	}
	return request_answer(r, code,
		&(struct capc_msg){
			.data = reason, .n_data = n < WIRE_PAYLOAD_MAX ? n : WIRE_PAYLOAD_MAX});
}

bool
capc_cancelled(const struct capc_request *r)
{
	return __atomic_load_n(&r->cancelled, __ATOMIC_ACQUIRE);
}

const struct capc_caller *
capc_caller(const struct capc_request *r)
{
	return &r->connection->caller;
}

void
capc_caller_set_data(const struct capc_caller *caller, void *data)
{
	((struct capc_caller *)(uintptr_t)caller)->data = data;
}
