/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other way to prove what one has: a connected socket is sent to an inspector
 * (capfsd/binder/inspector.c), and what that says it is counts as vouched for. The client gets one
 * end of a pair for this, the inspector the other; this process never has the descriptor.
 *
 * An inspector that is held by a hostile file system stays, and is counted, until it is let go: a
 * session that makes such ones runs out of its own. The binder outlives brokers, and tells each of
 * them which are there and whose: counted anew, there would be as many again for each that dies.
 */
#include "config.h"

#include "capfsd/control/inspection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/control/vouch.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/model/session.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/connection.h"
#include "wire/wire.h"

struct inspection {
	struct list link; /* controls.inspections */
	struct charge charge;
	struct session *session;
	uint64_t serial;
	bool moved; /* the binder still believes that it is another session's */
};

static void
inspection_free(struct inspection *i)
{
	list_unlink(&i->link);
	charge_deinit(&i->charge);
	free(i);
}

void
inspections_forget(struct controls *controls)
{
	list_for_each_safe (i, &controls->inspections)
		inspection_free(list_entry(i, struct inspection, link));
}

/* A session without quota for it does without: the process is there all the same. */
static void
inspection_pay(struct inspection *i, struct session *s)
{
	charge_deinit(&i->charge);
	i->session = s;
	(void)charge_init(&i->charge, s, QUOTA_SOCKETS, 1);
}

/* The binder must know it before this broker is dead. It may have no time now. */
static void
tell_moved(struct controls *controls)
{
	list_for_each (i, &controls->inspections) {
		struct inspection *found = list_entry(i, struct inspection, link);

		if (found->moved)
			found->moved = jobs_inspect(controls->sockets, found->serial,
					       found->session, -1) < 0;
	}
}

/*
 * An inspector may outlive the session that asked for it. It then counts against the parent, so
 * that making and closing sessions is no way to have any number of them.
 */
void
inspections_inherit(struct controls *controls, const struct session *s)
{
	list_for_each (i, &controls->inspections) {
		struct inspection *found = list_entry(i, struct inspection, link);

		if (found->session != s)
			continue;
		/* Its quota is the parent's again, unless others were faster. */
		inspection_pay(found, s->parent);
		found->moved = true;
	}
	tell_moved(controls);
}

static size_t
count_below(const void *data, const struct session *top)
{
	const struct controls *controls = data;
	size_t n = 0;

	list_for_each (i, &controls->inspections)
		n += quota_is_below(list_entry(i, struct inspection, link)->session, top);
	return n;
}

/* Gives the binder CLIENT for the inspection. Returns: 0, or -errno: nothing was begun. */
static int
inspection_begin(struct controls *controls, struct session *s, int client, uint64_t *ret_serial)
{
	const struct boot_page *page = controls->sockets->boot->page;
	struct inspection *i = calloc(1, sizeof(*i));

	if (!i)
		return -ENOMEM;
	list_init(&i->link);
	if (charge_init(&i->charge, s, QUOTA_SOCKETS, 1)) {
		free(i);
		return -EDQUOT;
	}
	i->session = s;
	/* No broker before had it: a reply to one of theirs is nobody's. */
	if (!controls->next_inspection)
		controls->next_inspection = (page ? (uint64_t)page->n_brokers : 0) << 32 | 1;
	i->serial = controls->next_inspection++;
	list_append(&controls->inspections, &i->link);
	tell_moved(controls);
	if (jobs_inspect(controls->sockets, i->serial, s, client) < 0) {
		inspection_free(i);
		return -EAGAIN;
	}
	*ret_serial = i->serial;
	return 0;
}

/* A binder that takes no more jobs is a matter of time, and the client may try again. */
static int
refuse_inspection(struct exchange *x, int error)
{
	const struct about about = {.session = x->control->session, .kind = QUOTA_SOCKETS};

	if (error == -EAGAIN)
		return refuse(&x->request, EAGAIN, "the binder has no time for it");
	return refuse_system(&x->request, error, &about);
}

/*
 * The client gets its end of the pair with the reply, and sends the socket over it, past this
 * process. What was proved before is dropped first: one connection has one proof at a time.
 */
int
perform_inspect(struct exchange *x)
{
	struct control *c = x->control;
	struct controls *controls = c->controls;
	cleanup_close int theirs = -1;
	int fds[2], r;

	if (x->asked->n_path > 0 || x->asked->n_text > 0)
		return refuse(&x->request, EINVAL, "an inspection takes neither path nor text");
	vouch_drop(c);
	if (!quota_share_left(c->session, INSPECTIONS_MAX, INSPECTIONS_MIN, count_below, controls))
		return refuse(&x->request, EBUSY,
			"too many inspections are not over: files that were sent cannot be closed");
	r = fd_socketpair(SOCK_SEQPACKET, fds);
	if (r < 0)
		return refuse_inspection(x, r);
	theirs = fds[0];
	x->fd = fds[1];
	r = inspection_begin(controls, c->session, theirs, &c->vouch.inspection);
	if (r == 0)
		return 0;
	x->fd = fd_close(x->fd);
	return refuse_inspection(x, r);
}

/*
 * What the binder listens at has the name that it was given here. Other processes of its user, such
 * as another daemon's binder, can use the same names, and so nobody else is believed.
 */
static int
inspection_find(struct sockets *sockets, const struct binder_result *result, uint64_t *ret)
{
	struct connection *conn = connection_find_paired(sockets, result->cookie);
	struct entity *e;

	if (result->error)
		return (int)result->error;
	if (result->uid != sockets->boot->daemon_uid || (!conn && !result->by_binder))
		return EXDEV;
	if (conn) {
		*ret = conn->capability->entity.id;
		return 0;
	}
	if (!result->object)
		return EINVAL;
	e = core_named(sockets, result->object, result->capability);
	*ret = e ? e->id : 0;
	return e ? 0 : ENOENT;
}

static struct inspection *
inspection_of(const struct controls *controls, uint64_t serial)
{
	list_for_each (i, &controls->inspections) {
		struct inspection *found = list_entry(i, struct inspection, link);

		if (found->serial == serial)
			return found;
	}
	return NULL;
}

/* One that a predecessor has begun. Whoever waited for what it says begins anew. */
static void
inspection_found(struct controls *controls, const struct binder_result *result)
{
	struct inspection *i = calloc(1, sizeof(*i));

	if (!i) {
		core_fail(controls->sockets, -ENOMEM);
		return;
	}
	i->serial = result->inspection;
	list_append(&controls->inspections, &i->link);
	inspection_pay(i, core_session(controls->sockets, result->object));
}

/*
 * What an inspector says, or that it has ended. The client is looked for anew, as it may be gone;
 * the serial tells whether it still waits for this one and not for a later one.
 */
static void
on_seen(void *data, const struct binder_result *result)
{
	struct controls *controls = data;
	struct inspection *i = inspection_of(controls, result->inspection);
	struct listener *l = i ? listener_find(&i->session->entity) : NULL;

	if (!i) {
		if (result->ended == INSPECTION_GOES_ON)
			inspection_found(controls, result);
		return;
	}
	if (result->ended == INSPECTION_GOES_ON)
		return;
	if (result->ended) {
		inspection_free(i);
		return;
	}
	if (!l)
		return;
	list_for_each (k, &l->clients) {
		struct control *c = list_entry(k, struct control, listener_link);

		if (c->vouch.inspection != i->serial)
			continue;
		c->vouch.inspection = 0;
		c->vouch.error = inspection_find(controls->sockets, result, &c->vouch.capability);
	}
}

/* With the binder all its inspectors ended, and none will report any more. */
static void
on_lost(void *data)
{
	inspections_forget(data);
}

const struct inspector_ops inspection_ops = {
	.seen = on_seen,
	.lost = on_lost,
};
