/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the control protocol. Its requests are served one after the other: peeked, executed,
 * committed with their reply, answered, and only then taken from the queue. A broker that dies in
 * between leaves the request there; its successor finds the reply in the store and sends that.
 *
 * A reply that does not fit, or that waits for something to be reaped, is kept as the parcel, and
 * nothing more is read from the client until it is gone.
 */
#include "config.h"

#include "capfsd/control/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/control/delegated.h"
#include "capfsd/control/exchange.h"
#include "capfsd/control/perform.h"
#include "capfsd/control/vouch.h"
#include "capfsd/control/wait.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/texts.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/messages.h"
#include "capfsd/programs/programs.h"
#include "wire/wire.h"

#define RETRY_USEC 10000 /* a reply for which there was no room is tried again after that */

enum step {
	STEP_MORE, /* did something, may go on */
	STEP_WAIT, /* nothing to do now */
	STEP_END,  /* the client is gone, or must go */
};

static struct model *
model_of(const struct control *c)
{
	return c->controls->sockets->model;
}

static void
parcel_clear(struct control *c)
{
	struct parcel *p = &c->parcel;

	free(p->data);
	p->data = NULL;
	charge_deinit(&p->ram);
	p->pending = 0;
	/* The client's end of what was sent: not to be shut down with our copy. */
	if (p->fd >= 0 && !c->controls->sockets->forgetting)
		disposal_leave(c->controls->sockets->disposal, p->fd, c->payer, NULL);
	p->fd = -1;
}

/* Nothing that it came through knows of it any more. */
static void
control_leave(struct control *c)
{
	if (c->counted)
		capability_disconnected(c->capability);
	c->counted = false;
	if (c->listener)
		listener_unlink(take_ptr(c->listener), &c->listener_link);
}

/*
 * Who speaks to a session through a slot can end that slot, by a command in the midst of which the model's hook
 * calls this. It is told that this was done, and no more.
 */
struct control *
control_free(struct control *c)
{
	if (!c)
		return NULL;
	control_leave(c);
	if (c->performing) {
		c->ended = true;
		return NULL;
	}
	watch_remove(&c->watch);
	list_unlink(&c->link);
	list_unlink(&c->pending_link);
	list_unlink(&c->starved_link);
	wait_forget(c);
	if (c->memo && !c->controls->sockets->forgetting)
		controls_connection_ended(c->controls, c->memo->record.cookie);
	parcel_clear(c);
	vouch_drop(c);
	perform_forget(c);
	if (!c->controls->sockets->forgetting)
		disposal_end(c->controls->sockets->disposal, c->fd, c->payer, &c->charge);
	charge_deinit(&c->charge);
	memo_drop(c->controls->sockets, c->memo);
	free(c);
	return NULL;
}

void
control_farewell(struct controls *controls, int fd, int error, const char *reason)
{
	struct wire_reply m = {
		.error = (uint32_t)error, .text = reason, .n_text = strlen(reason)};
	int n = wire_reply_encode(&m, controls->reply, WIRE_CONTROL_MAX);

	if (n > 0)
		(void)msg_send(fd, controls->reply, (size_t)n, NULL, 0, MSG_DONTWAIT);
}

/*
 * The request that was answered leaves the queue, with whatever descriptors it carried: one byte is
 * enough, since a packet that is read goes as a whole.
 */
static void
control_take(struct control *c)
{
	char byte;

	(void)recv(c->fd, &byte, 1, MSG_DONTWAIT);
}

/*
 * Sends a reply. Returns: STEP_MORE when nothing of it is left to do (also when the client does
 * not read any more), STEP_WAIT when it must be sent again, as the loop was told.
 */
static enum step
control_send(struct control *c, const uint8_t *data, size_t n, int fd)
{
	ssize_t r = msg_send(c->fd, data, n, &fd, fd >= 0, MSG_DONTWAIT);

	switch (r) {
	case -EAGAIN:
		watch_set(&c->watch, EPOLLOUT);
		return STEP_WAIT;
	case -ETOOMANYREFS:
	case -ENOBUFS:
	case -ENOMEM:
		watch_set(&c->watch, 0);
		list_unlink(&c->starved_link);
		list_append(&c->controls->starved, &c->starved_link);
		core_resume_later(c->controls->sockets, RETRY_USEC);
		return STEP_WAIT;
	default:
		return STEP_MORE;
	}
}

/*
 * Nothing else of this client is looked at until it is gone: replies stay in the order of requests.
 * Nor is it watched while it waits for something else than its socket: it must not wake the loop
 * with every byte that it sends.
 */
static enum step
control_send_parcel(struct control *c)
{
	struct parcel *p = &c->parcel;

	list_unlink(&c->pending_link);
	if (p->pending && model_is_ending(model_of(c), p->pending)) {
		watch_set(&c->watch, 0);
		list_append(&c->controls->pending, &c->pending_link);
		return STEP_WAIT;
	}
	if (control_send(c, p->data, p->n, p->fd) == STEP_WAIT)
		return STEP_WAIT;
	control_take(c);
	parcel_clear(c);
	return STEP_MORE;
}

/*
 * Keeps the encoded reply until it can go. The client's session pays for it, since who asks and
 * does not read could else fill the daemon's memory; where it cannot pay, the client is ended.
 * Takes *FD.
 */
static enum step
control_keep(struct control *c, size_t n, int *fd, uint64_t pending)
{
	struct parcel *p = &c->parcel;

	if (charge_init(&p->ram, c->payer, QUOTA_RAM, (uint32_t)n))
		return STEP_END;
	p->data = malloc(n);
	if (!p->data)
		return STEP_END;
	memcpy(p->data, c->controls->reply, n);
	p->n = n;
	p->fd = take_fd(*fd);
	p->pending = pending;
	return control_send_parcel(c);
}

/*
 * What was ended is not reported before it is over, if the operation has said so. A reply for which
 * there is no room is taken from the starved again, since control_keep() tries it at once.
 */
static enum step
control_reply(struct control *c, struct exchange *x)
{
	struct wire_reply m = {
		.op = x->asked->op,
		.flags = x->flags,
		.error = (uint32_t)x->request.error,
		.serial = x->asked->serial,
		.value = x->value,
		.text = x->text ? x->text : x->request.text.data,
		.n_text = x->text ? x->n_text : x->request.text.n,
	};
	int n;

	if (m.n_text > WIRE_TEXT_MAX)
		m.n_text = WIRE_TEXT_MAX;
	n = wire_reply_encode(&m, c->controls->reply, WIRE_CONTROL_MAX);
	if (n < 0)
		return STEP_END;
	/* Who is to pay for what waits may go with what it waits for. */
	if (c->ended) {
		(void)control_send(c, c->controls->reply, (size_t)n, x->fd);
		return STEP_END;
	}
	if (x->request.pending && !x->request.error &&
		model_is_ending(model_of(c), x->request.pending))
		return control_keep(c, (size_t)n, &x->fd, x->request.pending);
	if (control_send(c, c->controls->reply, (size_t)n, x->fd) == STEP_WAIT) {
		list_unlink(&c->starved_link);
		return control_keep(c, (size_t)n, &x->fd, 0);
	}
	control_take(c);
	return STEP_MORE;
}

/*
 * What cannot be a request is answered, as far as it can be, and ends the conversation: where one
 * packet was misread there is no telling what the next ones mean.
 */
static enum step
control_malformed(struct control *c, int error)
{
	control_farewell(c->controls, c->fd, error, "");
	return STEP_END;
}

/*
 * The reply's record, in the transaction that does what was asked: there is never one without the
 * other, so a successor can tell a request that was done from one that was not.
 */
static int
control_note(struct request *r, struct change *ch)
{
	struct exchange *x = r->data;
	struct memo *memo = x->control->memo;
	struct connection_record *record = &memo->record;
	size_t n = r->text.n < WIRE_TEXT_MAX ? r->text.n : WIRE_TEXT_MAX;
	int e;

	record->control.serial = x->asked->serial;
	record->op = x->asked->op;
	record->control.error = (uint32_t)r->error;
	record->control.pending = r->pending;
	record->control.fd_cookie = 0;
	if (x->fd >= 0) {
		e = fd_socket_cookie(x->fd, &record->control.fd_cookie);
		if (e < 0)
			return e;
	}
	x->noted = true;
	return memo_stage(memo, ch, r->text.data, n);
}

static void
log_poisoned(const struct control *c, uint64_t request)
{
	cleanup_text struct text label = {};
	const char *session;

	session_label(c->session, &label);
	session = label.data ? label.data : "?";
	log_event(LOG_ERR,
		LOG_FIELDS({"MESSAGE_ID", MESSAGE_REQUEST_POISONED},
			{"CAPFS_REQUEST", NULL, request}, {"CAPFS_UID", NULL, c->peer.uid},
			{"CAPFS_SESSION", session}),
		"a control request of %s (uid %u) ended two brokers and is refused", session,
		(unsigned)c->peer.uid);
}

/*
 * Two brokers that died of the same request are enough: a third is not given it. While it is
 * executed it stands in the page that the holder keeps, from which it knows what a broker died of.
 */
static int
control_perform(struct control *c, struct exchange *x)
{
	struct boot_page *page = c->controls->sockets->boot->page;
	uint64_t id = BOOT_REQUEST_CONTROL(c->memo->record.cookie, x->asked->serial);
	int r;

	x->unfinished = !programs_catch_up(c->controls->programs, c->memo->record.cookie);
	if (x->unfinished) {
		control_resume(c, true); /* behind them */
		return 0;
	}
	wait_forget(c);
	if (page && !boot_page_enter(page, id)) {
		model_of(c)->counters->poisoned++;
		log_poisoned(c, id);
		return refuse(&x->request, EIO, "this request ended the daemon twice");
	}
	r = perform(x);
	if (page)
		boot_page_leave(page);
	if (r == 0 && x->noted && !x->request.error)
		memo_stored(c->controls->sockets, c->memo);
	return r;
}

/*
 * A request without effect has its reply stored by nobody, and is simply done again by a successor.
 * An error of the daemon's own leaves it in the queue; where the store or memory is full the client
 * is ended instead, or the same request would be tried without end.
 */
static enum step
control_execute(struct control *c, const struct wire_request *asked, size_t n, bool has_fds)
{
	struct exchange x = {
		.request =
			{
				.model = model_of(c),
				.metrics = c->controls->metrics,
				.uid = c->peer.uid,
				.gid = c->peer.gid,
				.pid = c->peer.pid,
				.note = control_note,
			},
		.control = c,
		.asked = asked,
		.n_asked = n,
		.fd = -1,
	};
	enum step step;
	int r;

	x.request.data = &x;
	x.request.through = delegated_subject(c);
	x.request.by = c->capability;
	c->performing = c->controls->performing = true;
	if (has_fds)
		r = refuse(&x.request, EINVAL, "no request takes descriptors");
	else
		r = control_perform(c, &x);
	/* By this it has ended its own way in: it is answered now, before that ends piece by piece. */
	if (c->capability && capability_is_doomed(c->capability))
		control_free(c);
	c->performing = c->controls->performing = false;
	if (r == 0 && x.parked && !x.request.error) {
		/* Its end is told once, perhaps before this. */
		watch_set(&c->watch, x.gives_way ? EPOLLIN : 0);
		step = fd_has_hung_up(c->fd) ? STEP_END : STEP_WAIT;
	} else if (r == 0 && x.unfinished) {
		step = STEP_MORE;
	} else if (r == 0) {
		counters_add(model_of(c)->counters->control, asked->op);
		model_of(c)->counters->served[FRONT_CONTROL]++;
		c->serial = asked->serial;
		step = control_reply(c, &x);
	} else {
		/* Still in the queue: the next broker does it. */
		core_fail(c->controls->sockets, r);
		step = r == -ENOMEM || r == -ENOSPC ? STEP_END : STEP_WAIT;
	}
	perform_done(&x);
	exchange_deinit(&x);
	return c->ended ? STEP_END : step;
}

/*
 * The request is only peeked at: it leaves the queue when its reply has been sent, so that a broker
 * that dies in between leaves it to the next. Serials tell that one which it is.
 */
static enum step
control_step(struct control *c)
{
	struct wire_request asked;
	size_t has_fds = 0;
	ssize_t n;
	int r;

	if (!control_may_ask(c))
		return STEP_END;
	if (c->parcel.data && !c->replay)
		return control_send_parcel(c);
	n = msg_receive(c->fd, c->controls->request, WIRE_CONTROL_MAX, NULL, 0, &has_fds,
		MSG_PEEK | MSG_DONTWAIT);
	if (n == -EAGAIN) {
		/* Had the reply not gone out, its request would be here. */
		parcel_clear(c);
		c->replay = false;
		watch_set(&c->watch, EPOLLIN);
		return STEP_WAIT;
	}
	if (n == -EMSGSIZE)
		return control_malformed(c, EMSGSIZE);
	if (n <= 0)
		return STEP_END;
	r = wire_request_decode(c->controls->request, (size_t)n, &asked);
	if (r < 0 || asked.serial == 0)
		return control_malformed(c, r < 0 ? -r : EBADMSG);
	/*
	 * A successor's first look at the queue. A request with the serial of the stored reply was
	 * done; any other one came after the reply had been read, which is then of no use any more.
	 */
	if (c->replay) {
		c->replay = false;
		if (asked.serial == c->serial)
			return STEP_MORE;
		parcel_clear(c);
	}
	/*
	 * Serials only rise, so it was done, and its reply was sent: nothing is done twice for a
	 * client that repeats itself.
	 */
	if (asked.serial <= c->serial) {
		control_take(c);
		return STEP_MORE;
	}
	return control_execute(c, &asked, (size_t)n, has_fds > 0);
}

bool
control_on_io(void *data)
{
	struct control *c = data;
	enum step step = control_step(c);

	if (step == STEP_END)
		control_free(c);
	return step == STEP_MORE;
}

void
control_look(struct control *c)
{
	if (!c->controls->performing && control_on_io(c))
		watch_again(&c->watch);
}

void
control_resume(struct control *c, bool first)
{
	if (first)
		watch_first(&c->watch);
	else
		watch_again(&c->watch);
}
