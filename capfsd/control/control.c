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

#include "capfsd/sockets/private.h"

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
#include "capfsd/process/messages.h"
#include "capfsd/ops/texts.h"

enum step {
	STEP_MORE, /* did something, may go on */
	STEP_WAIT, /* nothing to do now */
	STEP_END,  /* the client is gone, or must go */
};

static int control_on_io(sd_event_source *source, int fd, uint32_t revents, void *data);

static void
parcel_clear(struct ipc *ipc, struct parcel *p)
{
	free(p->data);
	p->data = NULL;
	charge_deinit(&p->ram);
	p->pending = 0;
	/* The client's end of what was sent: not to be shut down with our copy. */
	if (p->fd >= 0 && !ipc->forgetting)
		close(p->fd);
	p->fd = -1;
}

struct control *
control_free(struct control *c)
{
	if (!c)
		return NULL;
	sd_event_source_disable_unref(c->source);
	list_unlink(&c->pending_link);
	list_unlink(&c->starved_link);
	parcel_clear(c->ipc, &c->parcel);
	vouch_deinit(c);
	text_deinit(&c->snapshot);
	charge_deinit(&c->snapshot_ram);
	charge_deinit(&c->charge);
	if (c->listener)
		listener_unlink(c->listener, &c->listener_link);
	/* Closed over something unread, it would take the last replies from the client. */
	if (c->fd >= 0 && !c->ipc->forgetting)
		socket_discard(c->fd);
	memo_drop(c->ipc, c->memo);
	free(c);
	return NULL;
}

CLEANUP_DEFINE(struct control *, control_free)

/* Takes FD and MEMO on success only. Returns: 0, EDQUOT, -errno. */
static int
control_new(struct listener *l, struct session *s, int fd, struct memo *memo, struct control **ret)
{
	cleanup(control_free_p) struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->ipc = l->ipc;
	c->session = s;
	c->fd = c->parcel.fd = -1;
	list_init(&c->listener_link);
	list_init(&c->pending_link);
	list_init(&c->starved_link);
	if (charge_init(&c->charge, s, QUOTA_SOCKETS, 1))
		return EDQUOT;
	r = socket_peer(fd, &c->peer);
	if (r == 0)
		r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = ipc_add_io(l->ipc, fd, EPOLLIN, control_on_io, c, &c->source);
	if (r < 0)
		return error_trace(r);
	c->fd = fd;
	c->memo = memo;
	c->listener = l;
	listener_link(l, &c->listener_link);
	*ret = take_ptr(c);
	return 0;
}

/* Says why the conversation is over, to whoever is at the other end of FD. */
static void
control_farewell(struct ipc *ipc, int fd, int error, const char *reason)
{
	struct wire_reply m = {
		.error = (uint32_t)error, .text = reason, .n_text = strlen(reason)};
	int n = wire_reply_encode(&m, ipc->reply, WIRE_CONTROL_MAX);

	if (n > 0)
		(void)msg_send(fd, ipc->reply, (size_t)n, NULL, 0, MSG_DONTWAIT);
}

static void
control_refuse(struct listener *l, struct session *s, int fd, int error)
{
	cleanup_text struct text reason = {};
	struct ucred peer = {};

	socket_peer(fd, &peer);
	if (error == EDQUOT)
		text_account(s, QUOTA_SOCKETS, &reason);
	else if (error == ECONNREFUSED)
		text_add(&reason, "the session is being closed");
	else
		text_add(&reason, "the daemon has no room for it");
	if (text_done(&reason) == 0)
		control_farewell(l->ipc, fd, error, reason.data);
	socket_discard(fd);
	listener_log_refusal(l, peer.uid, error, reason.data ? reason.data : "");
}

void
control_accepted(struct listener *l, int fd)
{
	struct session *s = container_of(l->entity, struct session, entity);
	struct memo *memo = NULL;
	struct control *c;
	uint64_t cookie;
	int r;

	r = fd_socket_cookie(fd, &cookie);
	if (r == 0 && s->record.state != SESSION_RUNNING)
		r = -ECONNREFUSED;
	if (r == 0) {
		/* Written with the first reply; until then the socket's name says all there is. */
		memo = memo_new(SOCKET_CONTROL, cookie, s->entity.id);
		r = memo ? control_new(l, s, fd, memo, &c) : -ENOMEM;
	}
	if (r == 0)
		return;
	memo_drop(l->ipc, memo);
	control_refuse(l, s, fd, r < 0 ? -r : r);
}

/* EVENTS 0: not until control_resume(). */
static void
control_watch(struct control *c, uint32_t events)
{
	if (events)
		sd_event_source_set_io_events(c->source, events);
	sd_event_source_set_enabled(c->source, events ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* The reply that a predecessor committed, as it was. */
static void
control_restore_reply(struct control *c, const char *text, size_t n, int reply_fd)
{
	const struct connection_record *record = &c->memo->record;
	struct wire_reply m = {
		.op = record->op,
		.error = record->error,
		.serial = record->serial,
		.text = text,
		.n_text = n,
	};
	int size = wire_reply_encode(&m, c->ipc->reply, WIRE_CONTROL_MAX);

	c->parcel.fd = reply_fd;
	if (size < 0)
		return;
	c->parcel.data = malloc((size_t)size);
	if (!c->parcel.data)
		return;
	memcpy(c->parcel.data, c->ipc->reply, (size_t)size);
	c->parcel.n = (size_t)size;
	c->parcel.pending = record->value;
	c->replay = true;
}

void
control_adopt(struct ipc *ipc, int fd, struct memo *memo, const char *text, size_t n, int reply_fd)
{
	struct entity *e = entity_find(ipc->model, memo->record.owner);
	struct listener *l = NULL;
	struct control *c;
	int r = -ENOENT;

	if (e && e->kind == ENTITY_SESSION)
		l = listener_get(ipc, e);
	if (l)
		r = control_new(l, container_of(e, struct session, entity), fd, memo, &c);
	if (r) {
		fd_close(reply_fd);
		socket_discard(fd);
		memo_drop(ipc, memo);
		if (l)
			listener_release(l);
		return;
	}
	memo->stored = true;
	c->serial = memo->record.serial;
	control_restore_reply(c, text, n, reply_fd);
	/* The loop's first round resumes it, when everything is taken over. */
	control_watch(c, EPOLLOUT);
}

/* The request that was answered leaves the queue, with whatever descriptors it carried. */
static void
control_take(struct control *c)
{
	char byte;

	(void)recv(c->fd, &byte, 1, MSG_DONTWAIT);
	c->ipc->activity++;
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
		control_watch(c, EPOLLOUT);
		return STEP_WAIT;
	case -ETOOMANYREFS:
	case -ENOBUFS:
	case -ENOMEM:
		control_watch(c, 0);
		list_unlink(&c->starved_link);
		list_append(&c->ipc->starved_controls, &c->starved_link);
		ipc_arm(c->ipc->retry_timer, RETRY_USEC);
		return STEP_WAIT;
	default:
		return STEP_MORE;
	}
}

static enum step
control_send_parcel(struct control *c)
{
	struct parcel *p = &c->parcel;

	list_unlink(&c->pending_link);
	if (p->pending && model_is_ending(c->ipc->model, p->pending)) {
		control_watch(c, 0);
		list_append(&c->ipc->pending, &c->pending_link);
		return STEP_WAIT;
	}
	if (control_send(c, p->data, p->n, p->fd) == STEP_WAIT)
		return STEP_WAIT;
	control_take(c);
	parcel_clear(c->ipc, p);
	return STEP_MORE;
}

/* Keeps the encoded reply until it can go. Takes *FD. */
static enum step
control_keep(struct control *c, size_t n, int *fd, uint64_t pending)
{
	struct parcel *p = &c->parcel;

	if (charge_init(&p->ram, c->session, QUOTA_RAM, (uint32_t)n))
		return STEP_END;
	p->data = malloc(n);
	if (!p->data)
		return STEP_END;
	memcpy(p->data, c->ipc->reply, n);
	p->n = n;
	p->fd = take_fd(*fd);
	p->pending = pending;
	return control_send_parcel(c);
}

static enum step
control_reply(struct control *c, struct answer *a)
{
	struct wire_reply m = {
		.op = a->asked->op,
		.flags = a->flags,
		.error = (uint32_t)a->request.error,
		.serial = a->asked->serial,
		.value = a->value,
		.text = a->text ? a->text : a->request.text.data,
		.n_text = a->text ? a->n_text : a->request.text.n,
	};
	int n;

	if (m.n_text > WIRE_TEXT_MAX)
		m.n_text = WIRE_TEXT_MAX;
	n = wire_reply_encode(&m, c->ipc->reply, WIRE_CONTROL_MAX);
	if (n < 0)
		return STEP_END;
	if (a->request.pending && !a->request.error &&
		model_is_ending(c->ipc->model, a->request.pending))
		return control_keep(c, (size_t)n, &a->fd, a->request.pending);
	if (control_send(c, c->ipc->reply, (size_t)n, a->fd) == STEP_WAIT) {
		list_unlink(&c->starved_link);
		return control_keep(c, (size_t)n, &a->fd, 0);
	}
	control_take(c);
	return STEP_MORE;
}

/* What cannot be a request is answered, as far as it can be, and ends the conversation. */
static enum step
control_malformed(struct control *c, int error)
{
	control_farewell(c->ipc, c->fd, error, "");
	return STEP_END;
}

/* The reply's record, in the transaction that does what was asked. */
static int
control_note(struct request *r, struct change *ch)
{
	struct answer *a = r->data;
	struct connection_record *record = &a->control->memo->record;
	size_t n = r->text.n < WIRE_TEXT_MAX ? r->text.n : WIRE_TEXT_MAX;
	int e;

	record->serial = a->asked->serial;
	record->op = a->asked->op;
	record->error = (uint32_t)r->error;
	record->value = r->pending;
	record->fd_cookie = 0;
	if (a->fd >= 0) {
		e = fd_socket_cookie(a->fd, &record->fd_cookie);
		if (e < 0)
			return e;
	}
	a->noted = true;
	return memo_stage(a->control->memo, ch, r->text.data, n);
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

static int
control_perform(struct control *c, struct answer *a)
{
	struct boot_page *page = c->ipc->boot->page;
	uint64_t id = BOOT_REQUEST_CONTROL(c->memo->record.cookie, a->asked->serial);
	int r;

	if (page && !boot_page_enter(page, id)) {
		c->ipc->model->counters->poisoned++;
		log_poisoned(c, id);
		return refuse(&a->request, EIO, "this request ended the daemon twice");
	}
	r = perform(a);
	if (page)
		boot_page_leave(page);
	if (r == 0 && a->noted && !a->request.error)
		c->memo->stored = true;
	return r;
}

static enum step
control_execute(struct control *c, const struct wire_request *asked, bool has_fds)
{
	struct answer a = {
		.request =
			{
				.model = c->ipc->model,
				.metrics = c->ipc->metrics,
				.uid = c->peer.uid,
				.gid = c->peer.gid,
				.pid = c->peer.pid,
				.note = control_note,
			},
		.control = c,
		.asked = asked,
		.fd = -1,
	};
	enum step step;
	int r;

	a.request.data = &a;
	if (has_fds)
		r = refuse(&a.request, EINVAL, "no request takes descriptors");
	else
		r = control_perform(c, &a);
	if (r == 0) {
		counters_add(c->ipc->model->counters->control, asked->op);
		c->ipc->model->counters->served[FRONT_CONTROL]++;
		c->serial = asked->serial;
		step = control_reply(c, &a);
	} else {
		/* Still in the queue: the next broker does it. */
		ipc_fail(c->ipc, r);
		step = r == -ENOMEM || r == -ENOSPC ? STEP_END : STEP_WAIT;
	}
	answer_deinit(&a);
	return step;
}

static enum step
control_step(struct control *c)
{
	struct wire_request asked;
	size_t has_fds = 0;
	ssize_t n;
	int r;

	if (c->parcel.data && !c->replay)
		return control_send_parcel(c);
	n = msg_receive(c->fd, c->ipc->request, WIRE_CONTROL_MAX, NULL, 0, &has_fds,
		MSG_PEEK | MSG_DONTWAIT);
	if (n == -EAGAIN) {
		/* Had the reply not gone out, its request would be here. */
		parcel_clear(c->ipc, &c->parcel);
		c->replay = false;
		control_watch(c, EPOLLIN);
		return STEP_WAIT;
	}
	if (n == -EMSGSIZE)
		return control_malformed(c, EMSGSIZE);
	if (n <= 0)
		return STEP_END;
	r = wire_request_decode(c->ipc->request, (size_t)n, &asked);
	if (r < 0 || asked.serial == 0)
		return control_malformed(c, r < 0 ? -r : EBADMSG);
	if (c->replay) {
		c->replay = false;
		if (asked.serial == c->serial)
			return STEP_MORE;
		parcel_clear(c->ipc, &c->parcel);
	}
	if (asked.serial <= c->serial) {
		control_take(c);
		return STEP_MORE;
	}
	return control_execute(c, &asked, has_fds > 0);
}

void
control_resume(struct control *c)
{
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		enum step step = control_step(c);

		if (step == STEP_END) {
			control_free(c);
			return;
		}
		if (step == STEP_WAIT)
			return;
	}
	/* Others' turn; what is queued wakes the loop again. */
	control_watch(c, EPOLLIN);
}

static int
control_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	control_resume(data);
	return 0;
}
