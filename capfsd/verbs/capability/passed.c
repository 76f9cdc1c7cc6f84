/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What another session has passed on.
 *
 * identify: tells whom such a capability leads to, before it is imported or used. That the asker may use it is
 * proved by then; whose it is, and whether whoever passed it on may use it, too, is told here. Nothing is
 * changed, counted or logged.
 *
 * import: a session takes what another one has passed on to it in a message. Which capability that
 * is has been proved to control/vouch.c; here it is a grant without a name: whoever passes a
 * capability on delegates it, so it must hold `grant`, and may end what was made of it.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

static int
import_stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	const struct word *as = &o->command.value[KEY_AS];
	struct request *r = o->request;
	const struct capability *slot;
	int answer;

	if (!capability_is_live(source))
		return refuse(r, ENOENT, "the capability has ended");
	/* Not even one that is there: the session would use its own for somebody who named it. */
	if (!o->vouched)
		return refuse(r, EACCES,
			"nobody vouches for it: others than those who may use it can get such a "
			"descriptor; a connection has to be passed on instead");
	/*
	 * Nothing is made where there is a slot: asked again, it replies the same again. Who wants less than was
	 * passed on gets a slot of its own.
	 */
	slot = o->command.given & KEYS_REDUCTIONS ? NULL : capability_slot_in(r->model, o->session, source);
	if (slot) {
		o->unchanged = true;
		text_addf(&r->text, "slot=%s id=%" PRIu64 " held", slot->entity.name,
			slot->entity.id);
		return 0;
	}
	answer = capability_grant(
		o->change, source, o->session, as->p, as->n, &o->reductions, r->uid, &made);
	if (answer == CAPABILITY_E_RIGHT)
		return refuse_right(r, source, RIGHT_GRANT);
	return stage_slot(o, answer, source, o->session, made);
}

/* No right in the row: grant is asked for only where a slot must be made. */
const struct verb verb_import = {
	VERB_ROW(IMPORT, import),
	.lasting = true,
	.keys = KEY_BIT(KEY_AS) | KEYS_REDUCTIONS,
	.wordless = true,
	.stage = import_stage,
};

/* A slot that the asker has already is named, so that it need not import one. */
static int
identify_stage(struct operation *o)
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
	.stage = identify_stage,
};
