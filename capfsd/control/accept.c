/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a client of the control protocol comes: it has connected, or a predecessor has left it with what it was
 * replied last; to the `control` of a session, or to the socket of a slot that is a session's or a thread's. Who is
 * not let in is told why.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/control/control.h"
#include "capfsd/control/ownership.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/texts.h"
#include "capfsd/programs/programs.h"
#include "capfsd/sockets/connect.h"
#include "wire/wire.h"

CLEANUP_DEFINE(struct control *, control_free)

/*
 * Charged before anything is watched: a session that has used up its sockets gets no further
 * client, and the others nothing of it. Takes FD and MEMO on success only. Returns: 0, EDQUOT,
 * EACCES, -errno.
 */
static int
control_new(struct controls *controls, struct listener *l, int fd, struct memo *memo,
	struct control **ret)
{
	cleanup(control_free_p) struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->controls = controls;
	if (l->entity->kind == ENTITY_CAPABILITY)
		c->capability = capability_of(l->entity);
	c->session = entity_session(c->capability ? capability_service(c->capability).root : l->entity);
	c->payer = listener_session(l);
	c->fd = c->parcel.fd = -1;
	list_init(&c->listener_link);
	list_append(&controls->all, &c->link);
	list_init(&c->pending_link);
	list_init(&c->starved_link);
	list_init(&c->parked_link);
	list_init(&c->timed_link);
	if (charge_init(&c->charge, c->payer, QUOTA_SOCKETS, 1) &&
		(!binding_yield(controls->sockets, c->payer, l) || charge_init(&c->charge, c->payer, QUOTA_SOCKETS, 1)))
		return EDQUOT;
	/* No request has any. Before Linux 6.16 those that come are refused with the request. */
	(void)fd_refuse_descriptors(fd);
	r = socket_peer(fd, &c->peer);
	/* Of a backlog, or of a predecessor, who both do not know of a change in between. */
	if (r == 0 && !c->capability && !ownership_allows(controls, c->session, fd, &c->peer))
		return EACCES;
	if (r == 0)
		r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = core_watch(controls->sockets, &c->watch, c->payer, fd, EPOLLIN, control_on_io, c);
	if (r < 0)
		return error_trace(r);
	c->fd = fd;
	c->memo = memo;
	programs_connection_found(controls->programs, memo->record.cookie);
	c->listener = l;
	listener_link(l, &c->listener_link);
	*ret = take_ptr(c);
	return 0;
}

void
control_dismiss(struct control *c, int error, const char *reason)
{
	control_farewell(c->controls, c->fd, error, reason);
	control_free(c);
}

static void
control_refuse(struct controls *controls, struct listener *l, int fd, int error)
{
	cleanup_text struct text reason = {};
	struct ucred peer = {};

	socket_peer(fd, &peer);
	if (error == EDQUOT)
		text_account(listener_session(l), QUOTA_SOCKETS, &reason);
	else if (error == ECONNREFUSED)
		text_add(&reason, "the session is being closed");
	else if (error == EACCES)
		text_add(&reason, "the session's owner or mode has changed");
	else
		text_add(&reason, "the daemon has no room for it");
	if (text_done(&reason) == 0)
		control_farewell(controls, fd, error, reason.data);
	socket_discard(controls->sockets, fd, listener_session(l));
	listener_log_refusal(l, peer.uid, error, reason.data ? reason.data : "");
}

/*
 * Refused with a reason where that is possible: a client that sees only an end tries again for
 * ever.
 */
static void
accept_own(struct controls *controls, struct listener *l, int fd)
{
	const struct session *s = listener_session(l);
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
		r = memo ? control_new(controls, l, fd, memo, &c) : -ENOMEM;
	}
	if (r == 0)
		return;
	memo_drop(controls->sockets, memo);
	control_refuse(controls, l, fd, r < 0 ? -r : r);
}

/* Told in the words of all connections through slots. Takes FD. */
static void
refuse_delegated(struct controls *controls, struct listener *l, int fd, int answer)
{
	struct sockets *sockets = controls->sockets;
	cleanup_text struct text reason = {};
	struct ucred peer = {};
	int error;

	socket_peer(fd, &peer);
	error = connect_refused(sockets, capability_of(l->entity), answer > 0 ? answer : CONNECT_E_MEMORY, &reason);
	if (text_done(&reason) == 0)
		control_farewell(controls, fd, error, reason.data);
	socket_discard(sockets, fd, listener_session(l));
	listener_log_refusal(l, peer.uid, error, reason.data ? reason.data : "");
}

static void
count_connection(struct control *c)
{
	c->counted = true;
	capability_connected(c->capability);
}

/*
 * Counted as every connection through a slot is, and stored with that: who is met again by a later broker was
 * counted. FD and MEMO are taken on success only. Returns: 0, CONNECT_E_*, -errno.
 */
static int
stage_delegated(struct controls *controls, struct change *ch, struct listener *l, int fd, struct memo *memo,
	struct control **ret)
{
	int r = connect_count(controls->sockets, ch, capability_of(l->entity));

	if (r == 0)
		r = memo_stage(memo, ch, NULL, 0);
	if (r == 0)
		r = control_new(controls, l, fd, memo, ret);
	return r == EDQUOT ? CONNECT_E_SOCKETS : r;
}

static void
accept_delegated(struct controls *controls, struct listener *l, int fd)
{
	struct sockets *sockets = controls->sockets;
	struct change *ch = change_begin(sockets->model);
	struct memo *memo = NULL;
	struct control *c;
	uint64_t cookie;
	int r = fd_socket_cookie(fd, &cookie);

	if (r == 0) {
		memo = memo_new(SOCKET_CONTROL, cookie, l->entity->id);
		r = memo ? stage_delegated(controls, ch, l, fd, memo, &c) : -ENOMEM;
	}
	if (r) {
		change_abort(ch);
		memo_drop(sockets, memo);
		refuse_delegated(controls, l, fd, r);
		return;
	}
	r = change_commit(ch);
	if (r == 0) {
		memo_stored(sockets, memo);
		count_connection(c);
		return;
	}
	core_fail(sockets, r);
	control_dismiss(c, r == -ENOSPC ? ENOSPC : ENOMEM, "the state store takes nothing");
}

void
control_accepted(struct controls *controls, struct listener *l, int fd)
{
	if (l->entity->kind == ENTITY_CAPABILITY)
		accept_delegated(controls, l, fd);
	else
		accept_own(controls, l, fd);
}

/*
 * The reply that a predecessor committed, as it was. Without memory for it there is none, and the
 * client that asks again for the same serial is passed over, as one that has had its reply.
 */
static void
control_restore_reply(struct control *c, const char *text, size_t n, int reply_fd)
{
	const struct connection_record *record = &c->memo->record;
	struct wire_reply m = {
		.op = record->op,
		.error = record->control.error,
		.serial = record->control.serial,
		.text = text,
		.n_text = n,
	};
	int size = wire_reply_encode(&m, c->controls->reply, WIRE_CONTROL_MAX);

	c->parcel.fd = reply_fd;
	if (size < 0)
		return;
	c->parcel.data = malloc((size_t)size);
	if (!c->parcel.data)
		return;
	memcpy(c->parcel.data, c->controls->reply, (size_t)size);
	c->parcel.n = (size_t)size;
	c->parcel.pending = record->control.pending;
	c->replay = true;
}

/*
 * The reply that stands in the record may have been sent or not. If it was, the request has left
 * the queue; if it was not, the request is still there, and gets this reply when its serial is met
 * again.
 */
void
control_adopt(struct controls *controls, struct adopted *found)
{
	struct sockets *sockets = controls->sockets;
	struct memo *memo = take_ptr(found->memo);
	struct entity *e = entity_find(sockets->model, memo->record.owner);
	struct listener *l = NULL;
	int r = -ENOENT, fd = take_fd(found->fd), reply_fd = take_fd(found->reply_fd);
	struct control *c;

	if (e && (e->kind == ENTITY_SESSION || (endpoint_user(e) == ENTITY_SESSION && endpoint_is_served(e))))
		l = listener_get(sockets, e);
	if (l)
		r = control_new(controls, l, fd, memo, &c);
	if (r) {
		disposal_leave(sockets->disposal, reply_fd, sockets->model->root, NULL);
		socket_discard(sockets, fd, l ? listener_session(l) : sockets->model->root);
		memo_drop(sockets, memo);
		if (l)
			listener_release(l);
		return;
	}
	if (c->capability)
		count_connection(c);
	c->serial = memo->record.control.serial;
	control_restore_reply(c, found->text, found->n_text, reply_fd);
	/* The loop's first round resumes it, when everything is taken over. */
	watch_set(&c->watch, EPOLLOUT);
}
