/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other way to prove what one has: a connected socket is sent to an inspector
 * (capfsd/binder/inspector.c), and what that says it is counts as vouched for. The client gets one
 * end of a pair for this, the inspector the other; this process never has the descriptor.
 */
#include "config.h"

#include "capfsd/control/inspection.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/control/vouch.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/model/session.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/connection.h"
#include "wire/wire.h"

/* A binder that takes no more jobs is a matter of time, and the client may try again. */
static int
refuse_inspection(struct exchange *x, int error)
{
	const struct about about = {.session = x->control->payer, .kind = QUOTA_SOCKETS};

	if (error == -EBUSY)
		return refuse(&x->request, EBUSY,
			"too many inspections are not over: files that were sent cannot be closed");
	if (error == -EAGAIN)
		return refuse(&x->request, EAGAIN, "the binder has no time for it");
	return refuse_system(&x->request, error, &about);
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

/*
 * The client is looked for anew, as it may be gone; the serial tells whether it still waits for this
 * one and not for a later one. Of what was not seen nothing is proved.
 */
static void
on_seen(void *data, const struct session *s, uint64_t serial, const struct binder_result *result)
{
	struct controls *controls = data;

	if (!result)
		return;
	list_for_each (k, &controls->all) {
		struct control *c = list_entry(k, struct control, link);

		if (c->vouch.inspection != serial)
			continue;
		c->vouch.inspection = 0;
		c->vouch.error = inspection_find(controls->sockets, result, &c->vouch.capability);
	}
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
	r = fd_socketpair(SOCK_SEQPACKET, fds);
	if (r < 0)
		return refuse_inspection(x, r);
	theirs = fds[0];
	x->fd = fds[1];
	r = inspections_begin(controls->sockets, c->payer, INSPECTION_PASSED, &theirs, 1, on_seen, controls,
		&c->vouch.inspection);
	if (r == 0)
		return 0;
	x->fd = fd_close(x->fd);
	return refuse_inspection(x, r);
}
