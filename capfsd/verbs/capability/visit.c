/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * visit: opens a visit at the service of a slot, or, of a slot that is a visit's, lends more for it. Both wait for
 * their server's answer. answer: that, and what the server charges.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/ops/slots.h"
#include "capfsd/ops/texts.h"
#include "capfsd/verbs/verbs.h"

static int
refuse_short(struct request *r, int answer, const struct visit *via, struct session *payer, enum quota_kind kind)
{
	if (answer == VISIT_E_QUOTA && via)
		return refuse(r, EDQUOT, "the visit %s has %s free=%" PRIu64, via->entity.name, quota_kind_name(kind),
			visit_free(via, kind));
	return refuse_visit(r, answer, &(struct about){.session = payer, .kind = kind});
}

/* That of a client of S, which S has accepted. NULL: refused. */
static struct visit *
find_via(struct operation *o, const struct session *s)
{
	const struct word *w = &o->command.value[KEY_VIA];
	struct entity *e = entity_find_name(o->request->model, s->entity.id, ENTITY_VISIT, w->p, w->n);

	if (e && entity_is_shown(e) && visit_of(e)->record.open)
		return visit_of(e);
	refuse(o->request, ENOENT, "no visit '%.*s' was accepted here", (int)w->n, w->p);
	return NULL;
}

/* Where it is opened for a session below, that one has the slot, and who opens it pays. */
static int
open_visit(struct operation *o, struct capability *source)
{
	const struct word *as = &o->command.value[KEY_AS], *args = &o->command.value[KEY_ARGS];
	struct session *to = source->session, *payer = source->session;
	struct visit *via = NULL;
	struct capability *made = NULL;
	struct about about;
	enum quota_kind kind;
	int answer;

	if (command_has(&o->command, KEY_TO))
		to = slot_receiver(o);
	if (to && command_has(&o->command, KEY_VIA))
		via = find_via(o, source->session);
	if (!to || (command_has(&o->command, KEY_VIA) && !via))
		return 0;
	if (via)
		payer = via->payer;
	answer = capability_visit(o->change, source, to, as->p, as->n, o->request->uid, &made);
	about = (struct about){.capability = source, .session = to, .name = *as,
		.right = to == source->session ? RIGHT_CALL : RIGHT_GRANT};
	if (answer)
		return answer < 0 ? answer : refuse_capability(o->request, answer, &about);
	answer = visit_open(o->change, made, payer, via, &o->quota, args->p, args->n, &kind);
	if (answer)
		return answer < 0 ? answer : refuse_short(o->request, answer, via, payer, kind);
	return stage_slot(o, 0, source, to, made);
}

/* Who has the slot of a visit that was opened from above lends nothing for it that is not its own. */
static int
upgrade_visit(struct operation *o, struct capability *c)
{
	struct visit *v = c->visit;
	const struct session *lender = v->via ? v->via->entrypoint->session : v->payer;
	enum quota_kind kind;
	int answer;

	if (o->command.given & ~KEYS_QUOTA)
		return refuse(o->request, EINVAL, "the slot is a visit's: more quota can be lent for it");
	if (!o->command.given)
		return refuse(o->request, EINVAL, "no amount is given");
	if (capability_is_doomed(c))
		return refuse(o->request, ENOENT, "the visit has ended");
	if (lender != c->session)
		return refuse(o->request, EPERM, "it was opened from above, where no more is lent for it");
	answer = visit_upgrade(o->change, v, &o->quota, &kind);
	if (answer)
		return answer < 0 ? answer : refuse_short(o->request, answer, v->via, v->payer, kind);
	text_addf(&o->request->text, "slot=%s id=%" PRIu64, c->entity.name, c->entity.id);
	operation_tell(o, c->session, " slot=%s uid=%u", c->entity.name, (unsigned)o->request->uid);
	o->says_words = true;
	return 0;
}

/* Only a server that knows what a visit is would ever answer. */
static int
stage_visit(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	const struct entrypoint *ep = capability_entrypoint(c);

	if (!ep || !ep->thread)
		return refuse(o->request, ECONNREFUSED, "nobody serves it");
	if (!ep->takes_visits)
		return refuse(o->request, EOPNOTSUPP, "its server takes no visits");
	return c->visit ? upgrade_visit(o, c) : open_visit(o, c);
}

const struct verb verb_visit = {
	VERB_ROW(VISIT, visit),
	.lasting = true,
	.keys = KEY_BIT(KEY_TO) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_VIA) | KEY_BIT(KEY_ARGS) | KEYS_QUOTA,
	.stage = stage_visit,
};

static int
prepare_answer(struct operation *o)
{
	const struct command *c = &o->command;

	if (command_has(c, KEY_ACCEPT) && command_has(c, KEY_REFUSE))
		return refuse(o->request, EINVAL, "'accept' and 'refuse' exclude each other");
	if (command_has(c, KEY_REFUSE) && (c->given & KEYS_QUOTA))
		return refuse(o->request, EINVAL, "nothing is charged by a refusal");
	return 0;
}

static unsigned
kinds_given(const struct command *c)
{
	return (unsigned)((c->given & KEYS_QUOTA) >> KEY_QUOTA);
}

/* Told the client, in whose session it is: the server knows what it has said. */
static int
stage_answer(struct operation *o)
{
	struct visit *v = visit_of(o->subject);
	bool accept = command_has(&o->command, KEY_ACCEPT), refuses = command_has(&o->command, KEY_REFUSE);
	enum quota_kind kind;
	int answer = 0;

	if (capability_is_doomed(v->capability))
		return refuse(o->request, ENOENT, "the visit has ended");
	if (accept || refuses)
		answer = visit_answer(o->change, v, accept);
	if (answer == 0 && kinds_given(&o->command))
		answer = visit_charge(o->change, v, kinds_given(&o->command), &o->quota, &kind);
	if (answer == VISIT_E_QUOTA)
		return refuse(o->request, EDQUOT, "the visit has not so much %s", quota_kind_name(kind));
	if (answer)
		return answer < 0 ? answer : refuse_visit(o->request, answer, &(struct about){});
	text_add(&o->request->text, "done");
	operation_tell(o, v->capability->session, " slot=%s", v->capability->entity.name);
	o->says_words = true;
	return 0;
}

const struct verb verb_answer = {
	VERB_ROW(ANSWER, answer),
	.keys = KEY_BIT(KEY_ACCEPT) | KEY_BIT(KEY_REFUSE) | KEYS_QUOTA,
	.rest = KEY_BIT(KEY_REFUSE),
	.prepare = prepare_answer,
	.stage = stage_answer,
};
