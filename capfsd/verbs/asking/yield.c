/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * yield: quota is asked back of a session, which says how much of it its parent gets, and may take the time to
 * free it first. Who only takes by transfer_quota gets what is free, and no more.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "capfsd/verbs/asking/answer.h"
#include "capfsd/verbs/verbs.h"

#define NAME "yield"
#define REASON_DEFAULT "refused"

static bool
has_amount(const struct quota *q)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (q->n[i] > 0)
			return true;
	return false;
}

/* That one has an open file, and nobody has come for what it was answered. NULL: there is none. */
static struct ask *
find_answered(const struct session *s)
{
	list_for_each (i, (struct list *)(uintptr_t)&s->owned[ENTITY_ASK]) {
		struct ask *a = ask_of(list_entry(i, struct entity, owner_link));

		if (a->record.what == ASK_YIELD && a->record.state == ASK_ANSWERED && a->record.asker.handle)
			return a;
	}
	return NULL;
}

/*
 * One at a time, and the newest one counts: who asks is never kept from it, neither by a child that does not answer
 * nor by files that nobody reads. Returns: 0, also if refused; -ENOMEM.
 */
static int
make_room(struct operation *o, struct session *s)
{
	static const char reason[] = "asked anew";
	const struct asker *asker = o->request->asker;
	struct model *m = o->request->model;
	struct ask *waiting = ask_find_yield(s), *before = asker && asker->handle ? ask_find_file(m, asker->handle) : NULL;
	int e = 0;

	if (!before && ask_count(s, true) >= ASKS_MAX) {
		before = find_answered(s);
		if (!before)
			return refuse(o->request, EBUSY, "%d answers of it are on their way", ASKS_MAX);
	}
	if (waiting && waiting != before)
		e = ask_answer(o->change, waiting, ECANCELED, reason, strlen(reason));
	return e == 0 && before ? change_drop(o->change, &before->entity) : e;
}

static int
ask_for(struct operation *o, struct session *s)
{
	struct request *r = o->request;
	struct ask_record record = {.what = ASK_YIELD, .amount = o->quota, .since_usec = r->model->now_usec(), .uid = r->uid};
	struct ask *a;
	int e;

	if (!s->parent)
		return refuse(r, ESRCH, "the root session has nobody to give it to");
	if (!has_amount(&o->quota))
		return refuse(r, EINVAL, "no amount is given");
	if (!take_timeout(o, record.since_usec, &record.until_usec))
		return 0;
	if (r->asker)
		record.asker = *r->asker;
	e = make_room(o, s);
	if (e < 0 || r->error)
		return e;
	e = ask_add(o->change, s, NAME, strlen(NAME), &record, &a);
	if (e > 0)
		return refuse_quota(r, s->parent, QUOTA_RAM);
	if (e < 0)
		return e;
	r->made = &a->entity;
	text_addf(&r->text, "id=%" PRIu64, a->entity.id);
	operation_tell(o, s, " id=%" PRIu64 " uid=%u ", a->entity.id, (unsigned)r->uid);
	text_asked(&record, NAME, &o->event);
	return 0;
}

static int
give(struct operation *o, struct session *s, struct ask *a)
{
	struct request *r = o->request;
	struct about about = {.session = s};
	int answer;

	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (o->quota.n[i] > a->record.amount.n[i])
			return refuse(r, EINVAL, "no more %s than %" PRIu64 " is asked for", quota_kind_name(i),
				a->record.amount.n[i]);
	answer = session_transfer_quota(o->change, s, s->parent, &o->quota, &about.kind);
	if (answer == -ENOMEM)
		return answer;
	if (answer != 0)
		return refuse_transfer(r, answer, &about);
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (o->quota.n[i] > 0)
			text_addf(&r->text, "%s%s=%" PRIu64, r->text.n > 0 ? " " : "", quota_kind_name(i),
				o->quota.n[i]);
	operation_tell(o, s, " request=%" PRIu64 " uid=%u gives ", a->entity.id, (unsigned)r->uid);
	text_add_n(&o->event, r->text.data, r->text.n);
	return ask_answer(o->change, a, 0, r->text.data, r->text.n);
}

static int
give_nothing(struct operation *o, struct session *s, struct ask *a)
{
	const struct word *reason = &o->command.value[KEY_REFUSE];
	const char *p = reason->n > 0 ? reason->p : REASON_DEFAULT;

	text_add(&o->request->text, "refused");
	operation_tell(o, s, " request=%" PRIu64 " uid=%u", a->entity.id, (unsigned)o->request->uid);
	o->told_as = "refuse";
	return ask_answer(o->change, a, EACCES, p, reason->n > 0 ? reason->n : sizeof(REASON_DEFAULT) - 1);
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject);
	const struct command *c = &o->command;
	struct request *r = o->request;
	struct ask *a = ask_find_yield(s);
	uint64_t id;

	if (!command_has(c, KEY_ID))
		return command_has(c, KEY_REFUSE) ? refuse(r, EINVAL, "'id=N' is missing") : ask_for(o, s);
	if (!command_number(r, c, KEY_ID, &id))
		return 0;
	if (!a || a->entity.id != id)
		return refuse(r, ESRCH, "nothing of that id is asked for");
	if (command_has(c, KEY_TIMEOUT) || command_has(c, KEY_REFUSE) == has_amount(&o->quota))
		return refuse(r, EINVAL, "an answer is an amount of quota, or refuse");
	return command_has(c, KEY_REFUSE) ? give_nothing(o, s, a) : give(o, s, a);
}

const struct verb verb_yield = {
	VERB_ROW(YIELD, yield),
	.lasting = true,
	.keys = KEY_BIT(KEY_ID) | KEY_BIT(KEY_REFUSE) | KEY_BIT(KEY_TIMEOUT) | KEYS_QUOTA,
	.rest = KEY_BIT(KEY_REFUSE),
	.stage = stage,
};
