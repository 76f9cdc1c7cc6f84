/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * identify: tells whom a capability that was passed on leads to, before it is imported or used.
 * That the asker may use it is proved by then; whose it is, and whether whoever passed it on may use
 * it, too, is told here. Nothing is changed, counted or logged.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/verbs/verbs.h"

/* A slot that the asker has already is named, so that it need not import one. */
static int
stage(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	const struct service service = capability_service(c);
	const struct capability *slot;
	struct text *t = &o->request->text;

	o->unchanged = true;
	if (o->text.n > 0)
		return refuse(o->request, EINVAL, "identify takes no text");
	if (!capability_is_live(c))
		return refuse(o->request, ENOENT, "the capability has ended");
	text_addf(t, "object=%" PRIu64 " badge=0x%" PRIx64 " capability=%" PRIu64 " type=%s rights=",
		service.object, service.badge, c->entity.id, capability_type(c)->name);
	rights_format(capability_rights(c), t);
	text_add(t, " owner=");
	session_label(service.entrypoint ? service.entrypoint->session : entity_session(c->target), t);
	text_add(t, " holder=");
	session_label(c->session, t);
	text_addf(t, " vouched=%s", o->vouched ? "yes" : "no");
	slot = capability_slot_in(o->request->model, o->session, c);
	if (slot)
		text_addf(t, " slot=%s", slot->entity.name);
	return 0;
}

const struct verb verb_identify = {
	.name = "identify",
	.quiet = true,
	.stage = stage,
};
