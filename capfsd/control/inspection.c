/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other way to prove what one has: a connected socket is sent to an inspector
 * (capfsd/binder/inspector.c), and what that says it is counts as vouched for. The client gets one end of
 * a pair for this, the inspector the other; this process never has the descriptor.
 *
 * An inspector that is held by a hostile file system stays, and is counted, until it is let go: a
 * session that makes such ones runs out of its own.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/ops/refusals.h"

struct inspection {
	struct list link; /* ipc.inspections */
	struct charge charge;
	struct session *session;
	uint64_t serial;
};

static void
inspection_free(struct ipc *ipc, struct inspection *i)
{
	list_unlink(&i->link);
	charge_deinit(&i->charge);
	free(i);
}

void
inspections_forget(struct ipc *ipc)
{
	list_for_each_safe (i, &ipc->inspections)
		inspection_free(ipc, list_entry(i, struct inspection, link));
}

void
inspections_inherit(struct ipc *ipc, const struct session *s)
{
	list_for_each (i, &ipc->inspections) {
		struct inspection *found = list_entry(i, struct inspection, link);

		if (found->session != s)
			continue;
		charge_deinit(&found->charge);
		found->session = s->parent;
		/* Its quota is the parent's again, unless others were faster. */
		(void)charge_init(&found->charge, s->parent, QUOTA_SOCKETS, 1);
	}
}

static size_t
count_below(const struct ipc *ipc, const struct session *top)
{
	size_t n = 0;

	list_for_each (i, &ipc->inspections)
		for (const struct session *s = list_entry(i, struct inspection, link)->session;
			s && s->entity.depth >= top->entity.depth; s = s->parent)
			n += s == top;
	return n;
}

/* One subtree never uses up what its neighbours need. */
static bool
may_inspect(const struct ipc *ipc, const struct session *s)
{
	for (; s; s = s->parent) {
		size_t max = s->entity.depth < 8 ? INSPECTIONS_MAX >> s->entity.depth : 0;

		if (count_below(ipc, s) >= (max > INSPECTIONS_MIN ? max : INSPECTIONS_MIN))
			return false;
	}
	return true;
}

/* Gives the binder CLIENT for the inspection. Returns: 0, or -errno: nothing was begun. */
static int
inspection_begin(struct ipc *ipc, struct session *s, int client, uint64_t *ret_serial)
{
	struct inspection *i = calloc(1, sizeof(*i));
	struct binder_job job = {};
	ssize_t n;

	if (!i)
		return -ENOMEM;
	list_init(&i->link);
	if (charge_init(&i->charge, s, QUOTA_SOCKETS, 1)) {
		free(i);
		return -EDQUOT;
	}
	i->session = s;
	/* No broker before had it: an answer to one of these is nobody's. */
	if (!ipc->next_inspection)
		ipc->next_inspection =
			(ipc->boot->page ? (uint64_t)ipc->boot->page->n_brokers : 0) << 32 | 1;
	i->serial = ipc->next_inspection++;
	list_append(&ipc->inspections, &i->link);
	job.inspection = i->serial;
	n = ipc->binder_source
		    ? msg_send(ipc->binder_fd, &job, sizeof(job), &client, 1, MSG_DONTWAIT)
		    : -EPIPE;
	if (n < 0) {
		inspection_free(ipc, i);
		return -EAGAIN;
	}
	*ret_serial = i->serial;
	return 0;
}

static int
refuse_inspection(struct answer *a, int error)
{
	const struct about about = {.session = a->control->session, .kind = QUOTA_SOCKETS};

	if (error == -EAGAIN)
		return refuse(&a->request, EAGAIN, "the binder has no time for it");
	return refuse_system(&a->request, error, &about);
}

int
perform_inspect(struct answer *a)
{
	struct control *c = a->control;
	struct ipc *ipc = c->ipc;
	cleanup_close int theirs = -1;
	int fds[2], r;

	if (a->asked->n_path > 0 || a->asked->n_text > 0)
		return refuse(&a->request, EINVAL, "an inspection takes neither path nor text");
	vouch_deinit(c);
	if (!may_inspect(ipc, c->session))
		return refuse(&a->request, EBUSY,
			"too many inspections are not over: files that were sent cannot be closed");
	r = fd_socketpair(SOCK_SEQPACKET, fds);
	if (r < 0)
		return refuse_inspection(a, r);
	theirs = fds[0];
	a->fd = fds[1];
	r = inspection_begin(ipc, c->session, theirs, &c->vouch.inspection);
	if (r == 0)
		return 0;
	a->fd = fd_close(a->fd);
	return refuse_inspection(a, r);
}

/*
 * What the binder listens at has the name that it was given here. Other processes of its user, such
 * as another daemon's binder, can use the same names, and so nobody else is believed.
 */
static int
inspection_find(struct ipc *ipc, const struct binder_result *result, uint64_t *ret)
{
	struct connection *conn = connection_find_paired(ipc, result->cookie);
	struct entity *e;

	if (result->error)
		return (int)result->error;
	if (result->uid != ipc->boot->daemon_uid || (!conn && !result->by_binder))
		return EXDEV;
	if (conn) {
		*ret = conn->capability->entity.id;
		return 0;
	}
	if (!result->object)
		return EINVAL;
	e = binding_find(ipc, result->object, result->capability);
	*ret = e ? e->id : 0;
	return e ? 0 : ENOENT;
}

static struct inspection *
inspection_of(const struct ipc *ipc, uint64_t serial)
{
	list_for_each (i, &ipc->inspections) {
		struct inspection *found = list_entry(i, struct inspection, link);

		if (found->serial == serial)
			return found;
	}
	return NULL;
}

void
inspection_result(struct ipc *ipc, const struct binder_result *result)
{
	struct inspection *i = inspection_of(ipc, result->inspection);
	struct listener *l = i ? listener_find(&i->session->entity) : NULL;

	if (!i)
		return;
	if (result->ended) {
		inspection_free(ipc, i);
		return;
	}
	if (!l)
		return;
	list_for_each (k, &l->connections) {
		struct control *c = list_entry(k, struct control, listener_link);

		if (c->vouch.inspection != i->serial)
			continue;
		c->vouch.inspection = 0;
		c->vouch.error = inspection_find(ipc, result, &c->vouch.capability);
	}
}
