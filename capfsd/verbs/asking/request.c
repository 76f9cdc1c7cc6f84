/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * request: a session asks its parent, and nobody else, for a capability of its own, or for quota. It is told at
 * once whether it is asked; the answer is read where it was written. What is asked for is for the session itself,
 * and cannot be passed on.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "capfsd/verbs/asking/answer.h"
#include "capfsd/verbs/asking/policy.h"
#include "capfsd/verbs/verbs.h"

#define TIMEOUT_DEFAULT 30 /* seconds */
#define TIMEOUT_MAX 86400
#define NAME_OF_QUOTA "quota"

static bool
take_type(struct operation *o, uint8_t *ret)
{
	const struct word *w = &o->command.value[KEY_TYPE];
	cleanup_text struct text t = {};

	*ret = TYPE_OBJECT;
	if (!command_has(&o->command, KEY_TYPE))
		return true;
	for (unsigned i = 0; i < N_CAPABILITY_TYPES; i++) {
		if (strlen(capability_types[i]->name) == w->n &&
			memcmp(capability_types[i]->name, w->p, w->n) == 0) {
			*ret = (uint8_t)i;
			return true;
		}
		text_addf(&t, "%s%s", i > 0 ? ", " : "", capability_types[i]->name);
	}
	return refuse(o->request, EINVAL, "'type' is one of %s", t.data ? t.data : "?");
}

bool
take_timeout(struct operation *o, uint64_t now, uint64_t *ret_until_usec)
{
	uint64_t seconds = TIMEOUT_DEFAULT;

	if (command_has(&o->command, KEY_TIMEOUT) &&
		!command_number(o->request, &o->command, KEY_TIMEOUT, &seconds))
		return false;
	if (seconds < 1 || seconds > TIMEOUT_MAX)
		return refuse(o->request, EINVAL, "'timeout' is 1 to %d seconds", TIMEOUT_MAX);
	*ret_until_usec = now + seconds * 1000000;
	return true;
}

/* The rules of who asks: for itself alone, and for nothing that it could pass on. */
static bool
check_slot(struct operation *o, const struct session *s)
{
	const struct word *name = &o->command.value[KEY_NAME];
	const struct reductions *how = &o->reductions;
	struct request *r = o->request;

	if (!name_is_valid(name->p, name->n))
		return refuse(r, EINVAL, "'%.*s' is not a valid name", (int)name->n, name->p);
	if (how->has_rights && (how->rights & RIGHTS_COMMON))
		return refuse(r, EPERM, "what is asked for is immutable: it has none of grant, replicate, reduce, "
			"transfer, share");
	if (o->command.given & KEYS_QUOTA)
		return refuse(r, EINVAL, "amounts go with 'quota'");
	return !entity_find_name(r->model, s->entity.id, ENTITY_CAPABILITY, name->p, name->n) ||
		refuse(r, EEXIST, "there is a slot '%.*s' already", (int)name->n, name->p);
}

static bool
check_quota(struct operation *o)
{
	if (o->command.given & (KEYS_REDUCTIONS | KEY_BIT(KEY_TYPE)))
		return refuse(o->request, EINVAL, "quota has no type, rights or limits");
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (o->quota.n[i] > 0)
			return true;
	return refuse(o->request, EINVAL, "no amount is given");
}

/* Returns: is it something that may be asked? Else refused. */
static bool
check(struct operation *o, struct session *s)
{
	struct request *r = o->request;

	if (!s->parent)
		return refuse(r, ESRCH, "the root session has no parent to ask");
	if (s->record.state != SESSION_RUNNING)
		return refuse(r, EBUSY, "the session is being closed");
	if (command_has(&o->command, KEY_TO))
		return refuse(r, EPERM, "a session asks for itself alone, not for others or a group");
	return command_has(&o->command, KEY_NAME) ? check_slot(o, s) : check_quota(o);
}

/* An open file has one at a time: one that was answered makes room for the next. Returns: 0, also if refused. */
static int
make_room(struct operation *o, struct session *s)
{
	const struct asker *asker = o->request->asker;
	struct ask *before = asker && asker->handle ? ask_find_file(o->request->model, asker->handle) : NULL;

	if (before && before->record.state == ASK_WAITING)
		return refuse(o->request, EBUSY, "the answer to what was asked before must be read first");
	if (before)
		return change_drop(o->change, &before->entity);
	return ask_count(s, false) < ASKS_MAX ? 0
		: refuse(o->request, EBUSY, "%d of this session wait already", ASKS_MAX);
}

/*
 * What the parent's policy says is the answer, also where it is that there is none to be had. Returns: 0, with the
 * slot in *RET if there is one; -errno.
 */
static int
decide(struct operation *o, struct session *s, struct ask_record *record, struct capability **ret)
{
	const struct word *name = &o->command.value[KEY_NAME];
	const struct asking asking = {record, s, name->p, name->n};
	struct request answer = {.model = o->request->model, .uid = o->request->uid};
	const struct rule *rule = record->what == ASK_SLOT ? policy_find(s, name->p, name->n) : NULL;
	int e;

	*ret = NULL;
	if (!rule)
		return 0;
	e = policy_give(&answer, o->change, &asking, rule, ret);
	if (e == 0 && !answer.error)
		text_addf(&answer.text, "slot=%s id=%" PRIu64, (*ret)->entity.name, (*ret)->entity.id);
	if (e == 0)
		e = text_done(&answer.text);
	if (e == 0)
		ask_set_text(record, (uint32_t)answer.error, answer.text.data, answer.text.n);
	request_deinit(&answer);
	return e;
}

static int
add(struct operation *o, struct session *s, const struct ask_record *record, const struct capability *made)
{
	const struct word *name = &o->command.value[KEY_NAME];
	bool slot = record->what == ASK_SLOT;
	struct request *r = o->request;
	struct ask *a;
	int e;

	e = ask_add(o->change, s, slot ? name->p : NAME_OF_QUOTA, slot ? name->n : strlen(NAME_OF_QUOTA), record, &a);
	if (e > 0)
		return refuse_quota(r, s, QUOTA_RAM);
	if (e < 0)
		return e;
	r->made = &a->entity;
	text_addf(&r->text, "id=%" PRIu64, a->entity.id);
	operation_tell(o, s, " id=%" PRIu64 " uid=%u ", a->entity.id, (unsigned)r->uid);
	text_asked(record, a->entity.name, &o->event);
	if (made)
		answer_tell(o, made, a->entity.id);
	return 0;
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject);
	struct request *r = o->request;
	struct ask_record record = {
		.what = command_has(&o->command, KEY_NAME) ? ASK_SLOT : ASK_QUOTA,
		.since_usec = r->model->now_usec(),
		.amount = o->quota,
		.uid = r->uid,
	};
	struct capability *made;
	int e;

	if (!check(o, s) || !take_type(o, &record.type) || !take_timeout(o, record.since_usec, &record.until_usec))
		return 0;
	if (r->asker)
		record.asker = *r->asker;
	ask_set_reductions(&record, &o->reductions);
	e = make_room(o, s);
	if (e < 0 || r->error)
		return e;
	e = decide(o, s, &record, &made);
	/* A refusal may have staged a part of what it has refused, and is stored itself: nothing of that is left. */
	if (e == 0 && record.error) {
		change_abort(o->change);
		o->change = change_begin(r->model);
		made = NULL;
		e = make_room(o, s);
	}
	return e < 0 ? e : add(o, s, &record, made);
}

const struct verb verb_request = {
	VERB_ROW(REQUEST, request),
	.keys = KEY_BIT(KEY_NAME) | KEY_BIT(KEY_AMOUNT) | KEY_BIT(KEY_TYPE) | KEY_BIT(KEY_TIMEOUT) |
		KEY_BIT(KEY_TO) | (KEYS_REDUCTIONS & ~KEY_BIT(KEY_IMMUTABLE) & ~KEY_BIT(KEY_ONLY)) | KEYS_QUOTA,
	.one_of = KEY_BIT(KEY_NAME) | KEY_BIT(KEY_AMOUNT),
	.hidden = KEY_BIT(KEY_TO),
	.stage = stage,
};
