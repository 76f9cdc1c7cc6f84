/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
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
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	const struct word *as = &o->command.value[KEY_AS];
	const struct reductions none = {};
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
	/* Nothing is made where there is a slot: asked again, it replies the same again. */
	slot = capability_slot_in(r->model, o->session, source);
	if (slot) {
		o->unchanged = true;
		text_addf(&r->text, "slot=%s id=%" PRIu64 " held", slot->entity.name,
			slot->entity.id);
		return 0;
	}
	answer = capability_grant(
		o->change, source, o->session, as->p, as->n, &none, r->uid, &made);
	if (answer == CAPABILITY_E_RIGHT)
		return refuse_right(r, source, RIGHT_GRANT);
	return stage_slot(o, answer, source, o->session, made);
}

/* No right in the row: grant is asked for only where a slot must be made. */
const struct verb verb_import = {
	VERB_ROW(IMPORT, import),
	.lasting = true,
	.keys = KEY_BIT(KEY_AS),
	.wordless = true,
	.stage = stage,
};
