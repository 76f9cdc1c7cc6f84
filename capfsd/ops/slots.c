/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last step of each verb that makes a slot: the reply and the event are the same for all of
 * them, so that whoever reads logs finds every slot by one pattern. It never begins or commits
 * anything.
 */
#include "config.h"

#include "capfsd/ops/slots.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/reach.h"
#include "capfsd/ops/reductions.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"

/* Told whoever receives it, and named after the new slot: whose it is from is one more field. */
int
stage_slot(struct operation *o, int answer, struct capability *source, struct session *to,
	struct capability *made)
{
	struct request *r = o->request;
	const struct about about = {
		.capability = source,
		.session = to,
		.name = o->command.value[KEY_AS],
		.right = o->verb->right,
	};

	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_capability(r, answer, &about);
	r->made = &made->entity;
	text_addf(&r->text, "slot=%s id=%" PRIu64, made->entity.name, made->entity.id);
	operation_tell(o, to, " slot=%s id=%" PRIu64 " uid=%u from=", made->entity.name,
		made->entity.id, (unsigned)r->uid);
	event_label(source->session, &o->event);
	text_addf(&o->event, "/caps/%s", source->entity.name);
	/* What a caveat says stands in no other field. */
	o->says_words = o->reductions.n_only > 0;
	return 0;
}

/*
 * A session above that has opened a visit for one below relies on its being there. Who has come by a slot to that
 * session is none above it, and fills nobody's session with what does not go.
 */
bool
may_drop(struct request *r, const struct capability *c)
{
	const struct visit *v = c->visit;

	return !v || v->via || v->payer == c->session || !session_is_within(c->session, v->payer) ||
		refuse(r, EPERM, "the visit is that of the session above, which can revoke it");
}

/* Seen from the session of the slot: who grants reaches those below it, and those that accept it. */
struct session *
slot_receiver(struct operation *o)
{
	return find_session(o, capability_of(o->subject)->session, KEY_TO, RIGHT_ACCEPT);
}

/* Which limits can be kept is the reached slot's to say, and was not asked before. */
int
stage_reached(struct operation *o, struct session *to, const struct reductions *how)
{
	struct capability *through = capability_of(o->subject), *target = find_target(o, through), *made = NULL, *of;
	const struct word *as = &o->command.value[KEY_AS];
	struct request *r = o->request;
	int answer;

	if (!target || !reductions_can_be_kept(r, target, how))
		return 0;
	answer = capability_reach(o->change, through, target, o->verb->right, to, as->p, as->n, how, r->uid, &made, &of);
	if (answer == 0)
		of = target;
	answer = stage_slot(o, answer, of, to, made);
	o->says_words = true;
	return answer;
}
