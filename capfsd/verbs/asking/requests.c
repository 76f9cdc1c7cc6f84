/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * requests: what the children of a session have asked of it is answered, by an id: with a slot of its own, with
 * quota, or not at all. Whoever reads `requests` may do it by hand, or a program (capc_pager()).
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/asking/answer.h"
#include "capfsd/verbs/verbs.h"

#define REASON_DEFAULT "refused"

/* Only what was asked of this session, and still waits. Ids are never used again. NULL: refused. */
static struct ask *
find_ask(struct operation *o, const struct session *s)
{
	struct request *r = o->request;
	struct entity *e;
	struct ask *a;
	uint64_t id;

	if (!command_number(r, &o->command, KEY_ID, &id))
		return NULL;
	e = entity_find(r->model, id);
	a = e && e->kind == ENTITY_ASK ? ask_of(e) : NULL;
	if (a && a->record.what != ASK_YIELD && a->record.state == ASK_WAITING && a->session->parent == s)
		return a;
	refuse(r, ESRCH, "no request of that id waits here");
	return NULL;
}

static int
give_slot(struct operation *o, struct session *s, struct ask *a)
{
	const struct asking asking = {&a->record, a->session, a->entity.name, strlen(a->entity.name)};
	struct request *r = o->request;
	struct capability *source, *made;
	int e;

	if (o->command.given & KEYS_QUOTA)
		return refuse(r, EINVAL, "a slot is given, or quota");
	source = find_slot(r, s, &o->command.value[KEY_SLOT]);
	if (!source)
		return 0;
	e = answer_with(r, o->change, &asking, source, &o->reductions, &made);
	if (e < 0 || r->error)
		return e;
	r->made = &made->entity;
	text_addf(&r->text, "slot=%s id=%" PRIu64, made->entity.name, made->entity.id);
	answer_tell(o, made, a->entity.id);
	return ask_answer(o->change, a, 0, r->text.data, r->text.n);
}

/* As much as who decides says, which may be less than was asked: who asked reads how much it is. */
static int
give_quota(struct operation *o, struct session *s, struct ask *a)
{
	struct request *r = o->request;
	struct about about = {.session = s};
	int answer;

	if (o->command.given & KEYS_REDUCTIONS)
		return refuse(r, EINVAL, "quota has no rights or limits");
	answer = session_transfer_quota(o->change, s, a->session, &o->quota, &about.kind);
	if (answer == -ENOMEM)
		return answer;
	if (answer != 0)
		return refuse_transfer(r, answer, &about);
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (o->quota.n[i] > 0)
			text_addf(&r->text, "%s%s=%" PRIu64, r->text.n > 0 ? " " : "", quota_kind_name(i),
				o->quota.n[i]);
	operation_tell(o, a->session, " request=%" PRIu64 " uid=%u ", a->entity.id, (unsigned)r->uid);
	text_add_n(&o->event, r->text.data, r->text.n);
	o->told_as = "transfer_quota";
	return ask_answer(o->change, a, 0, r->text.data, r->text.n);
}

static int
give_nothing(struct operation *o, struct ask *a)
{
	const struct word *reason = &o->command.value[KEY_REFUSE];
	const char *p = reason->n > 0 ? reason->p : REASON_DEFAULT;
	size_t n = reason->n > 0 ? reason->n : sizeof(REASON_DEFAULT) - 1;

	text_add(&o->request->text, "refused");
	operation_tell(o, a->session, " request=%" PRIu64 " uid=%u", a->entity.id, (unsigned)o->request->uid);
	o->told_as = "refuse";
	return ask_answer(o->change, a, EACCES, p, n);
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject);
	const struct command *c = &o->command;
	bool slot = command_has(c, KEY_SLOT), refuses = command_has(c, KEY_REFUSE), quota = c->given & KEYS_QUOTA;
	struct ask *a = find_ask(o, s);

	if (!a)
		return 0;
	if (slot + refuses + quota != 1)
		return refuse(o->request, EINVAL, "one of slot=NAME, an amount of quota, refuse");
	if (refuses)
		return c->given & KEYS_REDUCTIONS ? refuse(o->request, EINVAL, "nothing is given")
						  : give_nothing(o, a);
	if (slot != (a->record.what == ASK_SLOT))
		return refuse(o->request, EINVAL, slot ? "quota is asked for" : "a slot is asked for");
	return slot ? give_slot(o, s, a) : give_quota(o, s, a);
}

const struct verb verb_requests = {
	VERB_ROW(REQUESTS, requests),
	.lasting = true,
	.keys = KEY_BIT(KEY_ID) | KEY_BIT(KEY_SLOT) | KEY_BIT(KEY_REFUSE) |
		(KEYS_REDUCTIONS & ~KEY_BIT(KEY_IMMUTABLE)) | KEYS_QUOTA,
	.required = KEY_BIT(KEY_ID),
	.rest = KEY_BIT(KEY_REFUSE),
	.stage = stage,
};
