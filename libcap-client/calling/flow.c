/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls on their way to the server, and their replies. What the server would not read stays here and not in the
 * socket, where it would stand before the word that a call was given up: so a client with more than a few calls
 * under way asks how many it may have. Of a server that does not know there is no answer: see doc/PROTOCOL.
 */
#include "config.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/msg.h"
#include "libcap-client/calling/calling.h"

#define UNASKED_MAX 8 /* unanswered, before it is asked for more */
#define QUESTIONS 2   /* so that the second is read only when the first is answered */

/* --- pendings --- */

struct pending *
pending_new(struct capc *c, const struct capc_msg *req)
{
	/* calloc() passes what malloc() keeps for this thread by. */
	struct pending *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct pending){};
	list_init(&p->link);
	p->serial = c->serial + 1;
	p->n_fds = req->n_fds;
	/* They ascend, and are ours: no peer makes chains of them. */
	if (index_add(&c->by_serial, &p->by_serial, p->serial) < 0) {
		free(p);
		return NULL;
	}
	c->serial++;
	return p;
}

static void
pending_leave(struct capc *c, struct pending *p)
{
	if (p->frame)
		c->n_queued--;
	p->frame = kept_frame_free(p->frame);
	list_unlink(&p->link);
}

void
pending_free(struct capc *c, struct pending *p)
{
	pending_leave(c, p);
	index_remove(&c->by_serial, &p->by_serial);
	capc_msg_done(&p->msg);
	free(p);
}

static struct pending *
pending_find_any(const struct capc *c, uint64_t serial)
{
	struct index_link *l = index_first(&c->by_serial, serial);

	for (; l; l = index_next(l)) {
		struct pending *p = list_entry(l, struct pending, by_serial);

		if (p->serial == serial)
			return p;
	}
	return NULL;
}

struct pending *
pending_find(const struct capc *c, uint64_t serial)
{
	struct pending *p = pending_find_any(c, serial);

	return p && p->state < PENDING_CANCELLING ? p : NULL;
}

void
pending_done(struct capc *c, struct pending *p, int error)
{
	pending_leave(c, p);
	p->state = PENDING_DONE;
	p->error = error;
	p->by_server = error && error == c->farewell;
	list_append(p->replied ? &c->due : &c->done, &p->link);
	dispatch_news(c);
}

static void
pending_sent(struct capc *c, struct pending *p)
{
	pending_leave(c, p);
	p->state = PENDING_SENT;
	list_append(&c->sent, &p->link);
	c->n_sent++;
	c->n_fds += p->n_fds;
}

static struct pending *
first(const struct list *l)
{
	return list_entry(list_first(l), struct pending, link);
}

/* --- in --- */

static int
take_credit(struct capc *c, const struct wire_call *credit)
{
	if (c->credit == CREDIT_UNASKED)
		return link_end(c, -EBADMSG);
	c->credit = CREDIT_TOLD;
	/* Each of them takes memory here, however many it would have. */
	c->calls_max = credit->code < CAPC_CALLS_MAX ? credit->code : CAPC_CALLS_MAX;
	c->fds_max = credit->n_payload;
	return 1;
}

static int
take_return(struct capc *c, const struct wire_call *reply)
{
	struct pending *p = pending_find_any(c, reply->serial);
	int r;

	buffer_copied(&c->out, reply->serial);
	if (!p || p->state == PENDING_QUEUED || p->state == PENDING_DONE) {
		inbox_discard(&c->in, reply);
		return 1;
	}
	c->n_sent--;
	c->n_fds -= p->n_fds;
	if (p->state != PENDING_SENT) {
		inbox_discard(&c->in, reply);
		pending_free(c, p);
		return 1;
	}
	if (wire_call_is_large(reply))
		handle_enter(c);
	r = inbox_take(&c->in, reply, &c->packet, &p->msg);
	if (r == -EBADMSG)
		return link_end(c, r);
	pending_done(c, p, r);
	return 1;
}

static int
take(struct capc *c, int flags)
{
	struct wire_call reply;
	int r = frame_receive(c->fd, c->packet->bytes, sizeof(c->packet->bytes), CAPC_FDS_MAX, true, &c->in, flags, &reply);

	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r < 0)
		return link_end(c, r);
	if (reply.type == WIRE_CREDIT)
		return take_credit(c, &reply);
	if (r > 0 && wire_call_is_farewell(&reply)) {
		c->farewell = -(int)reply.code;
		return link_end(c, c->farewell);
	}
	if (reply.serial > c->serial || (r > 0 && (reply.type != WIRE_RETURN || reply.code > WIRE_ERRNO_MAX)))
		return link_end(c, -EBADMSG);
	return r > 0 ? take_return(c, &reply) : 1;
}

int
flow_take(struct capc *c)
{
	return take(c, MSG_DONTWAIT);
}

int
flow_await(struct capc *c)
{
	struct timeval t = {.tv_usec = AWAIT_USEC};

	if (!c->is_timed && setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0)
		return 0;
	c->is_timed = true;
	return take(c, 0);
}

/* All that has come, unless that is more than MAX. Returns: 1: it is, 0, -errno: the connection has ended. */
static int
take_all(struct capc *c, unsigned max)
{
	int r = 1;

	for (unsigned i = 0; r > 0 && i < max; i++)
		r = flow_take(c);
	return r;
}

/* It has ended, but replies that came before are replies. Bounded: who reads nothing more may go on to write. */
static void
take_rest(struct capc *c)
{
	int r = 1;

	for (unsigned i = 0; r > 0 && i < CAPC_CALLS_MAX / SENT_MAX; i++)
		r = take_all(c, SENT_MAX);
	if (r >= 0)
		link_end(c, -ECONNRESET);
}

/* --- out --- */

/*
 * Sends F, or some of it. Returns: 0; -EAGAIN, -ETOOMANYREFS: later; -ECONNRESET: the connection has ended; another
 * -errno: F cannot be sent at all.
 */
static int
transmit(struct capc *c, struct frame *f)
{
	int r = frame_send(f, c->fd, c->packet->bytes, sizeof(c->packet->bytes));

	/* Perhaps the service waits for its replies to be read. */
	if (r == -EAGAIN && take_all(c, SENT_MAX) < 0)
		return -ECONNRESET;
	if (r == -EAGAIN)
		r = frame_send(f, c->fd, c->packet->bytes, sizeof(c->packet->bytes));
	c->is_blocked = r == -EAGAIN;
	c->is_starved = r == -ETOOMANYREFS;
	if (r != -EPIPE && r != -ECONNRESET)
		return r;
	take_rest(c);
	return -ECONNRESET;
}

/* A word without anything. Returns: as transmit(). */
static int
transmit_cancel(struct capc *c, uint64_t serial)
{
	struct frame f = {.call = {.type = WIRE_CANCEL, .serial = serial}, .memfd = -1};

	return transmit(c, &f);
}

static bool
fits(const struct capc *c, size_t n_fds)
{
	bool is_alone = n_fds == 0 || c->n_fds == 0;

	switch (c->credit) {
	case CREDIT_UNASKED:
		return c->n_sent < UNASKED_MAX && is_alone;
	case CREDIT_ASKED:
		return c->n_sent < WIRE_CREDIT_MIN && is_alone;
	case CREDIT_TOLD:
		return c->n_sent < c->calls_max && (is_alone || c->n_fds + n_fds <= c->fds_max);
	case CREDIT_NONE:
		break;
	}
	return c->n_sent < SENT_MAX;
}

static void
ask(struct capc *c)
{
	for (; c->n_asked < QUESTIONS && transmit_cancel(c, WIRE_CREDIT_SERIAL) == 0; c->n_asked++)
		c->credit = CREDIT_ASKED;
}

/* Whether everything was read: then an answer to the first question is on our side, or there is none. */
static bool
is_all_read(const struct capc *c)
{
	int n;

	return c->n_asked == QUESTIONS && (ioctl(c->fd, SIOCOUTQ, &n) < 0 || n == 0);
}

/*
 * The daemon has a duplicate of the server's end: where both have stopped, or the daemon stands still, the socket does
 * not tell of the server's death. So the kernel is asked who sends the first packet: that process serves it. Not
 * before there is a call: what else is spoken on the socket is not ours.
 */
static void
ask_server(struct capc *c)
{
	c->asks_server = true;
	c->in.sender = &c->server;
	msg_ask_pidfd(c->fd, true);
}

static bool
server_is_gone(const struct capc *c)
{
	struct pollfd p = {.fd = c->server, .events = POLLIN};

	return c->server >= 0 && poll(&p, 1, 0) > 0;
}

static bool
may_send(struct capc *c, size_t n_fds)
{
	int r;

	if (!c->asks_server)
		ask_server(c);
	if (fits(c, n_fds))
		return true;
	if (c->credit == CREDIT_UNASKED || (c->credit == CREDIT_ASKED && c->n_asked < QUESTIONS))
		ask(c);
	if (c->state == LINK_UP && c->credit == CREDIT_ASKED && is_all_read(c)) {
		r = take_all(c, SENT_MAX);
		if (r == 0 && c->credit == CREDIT_ASKED)
			c->credit = CREDIT_NONE;
	}
	return c->state == LINK_UP && fits(c, n_fds);
}

/* F is kept for P. */
static int
queue(struct capc *c, struct pending *p, struct frame *f)
{
	int r = c->n_queued < QUEUE_MAX ? frame_keep(f, &p->frame) : -EBUSY;

	if (r < 0)
		return r;
	/* It begins to wait now, whatever steps there were before. */
	if (c->n_queued == 0)
		c->retry_msec = RETRY_MSEC;
	p->state = PENDING_QUEUED;
	p->is_last_try = c->state != LINK_UP;
	list_append(&c->queued, &p->link);
	c->n_queued++;
	return 0;
}

int
flow_call(struct capc *c, struct pending *p, const struct capc_msg *req)
{
	uint64_t generation = c->generation;
	bool now = flow_is_simple(c) && may_send(c, req->n_fds);
	struct frame f;
	int r = frame_begin(&f, WIRE_CALL, req->code, p->serial, req, now ? &c->out : NULL);

	if (r == 0 && now) {
		r = transmit(c, &f);
		if (r == 0)
			pending_sent(c, p);
		now = r != -EAGAIN && r != -ETOOMANYREFS && r != -ECONNRESET;
		/* Nothing of it was sent that counts. */
		if (r == -ECONNRESET)
			r = frame_restart(&f);
		else if (!now)
			r = 0;
	}
	if (r == 0 && !now && c->state == LINK_NONE) {
		r = link_begin(c);
		c->refused = r < 0 && link_may(c) == 0;
	}
	if (r == 0 && !now)
		r = queue(c, p, &f);
	frame_end(&f);
	if (r < 0)
		pending_free(c, p);
	else if (c->state != LINK_UP || c->generation != generation)
		flow_step(c, 0);
	return r;
}

/* The first one that waits. Returns: whether to go on. */
static bool
send_first(struct capc *c)
{
	struct pending *p = list_empty(&c->queued) ? NULL : first(&c->queued);
	bool begun = p && p->frame->frame.n_sent > 0;
	int r;

	/* What could not be sent may have been given up since, and what is next may wait for credit: no socket tells. */
	c->is_blocked = c->is_starved = false;
	/* What comes between the packets of a call makes the first of them be dropped. */
	if (!begun && !list_empty(&c->cancelling)) {
		struct pending *given_up = first(&c->cancelling);

		r = transmit_cancel(c, given_up->serial);
		if (r == 0 && given_up == first(&c->cancelling)) {
			list_unlink(&given_up->link);
			given_up->state = PENDING_CANCELLED;
			list_append(&c->cancelled, &given_up->link);
		}
		return r == 0 || r == -ECONNRESET;
	}
	if (!p)
		return false;
	if (!begun && !may_send(c, p->n_fds))
		return c->state == LINK_NONE;
	r = transmit(c, &p->frame->frame);
	if (r == 0)
		pending_sent(c, p);
	else if (r != -EAGAIN && r != -ETOOMANYREFS && r != -ECONNRESET)
		pending_done(c, p, r);
	return r != -EAGAIN && r != -ETOOMANYREFS;
}

void
flow_send(struct capc *c)
{
	int r = 0;

	do {
		if (c->state == LINK_NONE && !list_empty(&c->queued))
			r = link_begin(c);
		if (r < 0)
			return flow_fail(c, r, link_may(c) == 0);
		if (c->state == LINK_UP && c->type != SOCK_SEQPACKET)
			return flow_fail(c, -EPROTOTYPE, false);
	} while ((c->state == LINK_UP && send_first(c)) || (c->state == LINK_NONE && !list_empty(&c->queued)));
}

/* What a server sent before it died comes first. */
static void
take_some(struct capc *c, unsigned n_max)
{
	int r = flow_take(c);

	if (r > 0)
		c->has_more = take_all(c, n_max - 1) > 0 && n_max > 1;
	else if (r == 0 && server_is_gone(c))
		take_rest(c);
}

void
flow_step(struct capc *c, unsigned n_max)
{
	unsigned n_queued = c->n_queued;

	c->has_more = false;
	/* On a new connection what waits is sent first. */
	if (c->state == LINK_UP && n_max > 0)
		take_some(c, n_max);
	else if (c->state != LINK_UP)
		link_step(c);
	if (!flow_is_simple(c))
		flow_send(c);
	if (c->n_queued != n_queued)
		c->retry_msec = RETRY_MSEC;
	else if (c->retry_msec < RETRY_MSEC_MAX)
		c->retry_msec *= 2;
}

void
flow_fail(struct capc *c, int error, bool refused)
{
	while (!list_empty(&c->queued)) {
		struct pending *p = first(&c->queued);

		p->refused = refused;
		pending_done(c, p, error);
	}
}

static void
all_done(struct capc *c, struct list *l, int error)
{
	while (!list_empty(l)) {
		if (first(l)->state == PENDING_SENT)
			pending_done(c, first(l), error);
		else
			pending_free(c, first(l));
	}
}

void
flow_reset(struct capc *c, int error)
{
	all_done(c, &c->sent, error);
	all_done(c, &c->cancelling, error);
	all_done(c, &c->cancelled, error);
	list_for_each_safe (i, &c->queued) {
		struct pending *p = list_entry(i, struct pending, link);
		int r = p->is_last_try || c->flags & CAPC_ONE_CONNECTION ? error : frame_restart(&p->frame->frame);

		p->is_last_try = true;
		if (r < 0)
			pending_done(c, p, r);
	}
	c->credit = CREDIT_UNASKED;
	c->n_asked = 0;
	c->n_sent = 0;
	c->n_fds = 0;
	c->is_blocked = c->is_starved = false;
}

int
flow_retry_msec(const struct capc *c)
{
	bool asked = c->credit == CREDIT_ASKED && !list_empty(&c->queued);

	return c->state == LINK_UP && ((c->is_starved && !flow_is_simple(c)) || asked) ? c->retry_msec : 0;
}
