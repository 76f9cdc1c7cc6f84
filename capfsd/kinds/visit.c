/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Visits. The payer's `lent` follows their records by the difference, as it does those of child sessions, so that
 * neither a crash nor a refusal can make quota or lose it.
 *
 * The model calls the row, the verbs `visit` and `answer` what stages, the tree what reads.
 */
#include "config.h"

#include "capfsd/kinds/visit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/event.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct visit_record) == 8 * (3 + 3 * QUOTA_N_KINDS) + 8 + VISIT_ARGS_BYTES, "stored");
_Static_assert(sizeof(struct visit_record) <= QUOTA_RAM_SLOT, "paid for");

uint64_t
visit_free(const struct visit *v, enum quota_kind kind)
{
	return v->record.lent.n[kind] - v->record.asked.n[kind] - v->record.charged.n[kind];
}

const char *
visit_state(const struct visit *v)
{
	return !v->record.open ? "pending" : v->record.asks ? "upgrading" : "open";
}

/* That its own slot has ended is the slot's affair. */
bool
visit_is_over(const struct visit *v)
{
	return v->via && capability_is_doomed(v->via->capability);
}

static void
visit_init(struct model *m, struct entity *e)
{
	struct visit *v = visit_of(e);

	list_init(&v->payer_link);
	list_init(&v->forwarded);
	list_init(&v->via_link);
	list_init(&v->waiting);
	list_init(&v->untold_link);
}

static struct place
visit_place(const struct entity *e)
{
	struct visit *v = visit_of(e);
	struct session *s = v->entrypoint->session;

	return (struct place){&s->entity, &s->owned[ENTITY_VISIT], v->payer};
}

static struct session *
visit_session(const struct entity *e)
{
	return visit_of(e)->entrypoint->session;
}

static const struct quota *
visit_lends(const void *record)
{
	return &((const struct visit_record *)record)->lent;
}

static bool
visit_is_shown(const struct entity *e)
{
	return capability_is_live(visit_of(e)->capability);
}

static bool
visit_is_doomed(const struct entity *e)
{
	return capability_is_doomed(visit_of(e)->capability);
}

/* Of what a daemon that knows no visits has ended. */
static int
resolve_places(struct model *m, struct visit *v)
{
	struct entity *c = entity_find(m, v->record.capability);
	struct entity *via = v->record.via ? entity_find(m, v->record.via) : NULL;

	if (v->record.capability >= v->entity.id || v->record.via >= v->entity.id)
		return -EBADMSG;
	v->payer = session_find_id(m, v->record.payer);
	if (!c || !v->payer || (v->record.via && !via))
		return -ENOENT;
	if (c->kind != ENTITY_CAPABILITY || capability_of(c)->visit || (via && via->kind != ENTITY_VISIT))
		return -EBADMSG;
	v->capability = capability_of(c);
	v->entrypoint = capability_entrypoint(v->capability);
	v->via = via ? visit_of(via) : NULL;
	v->entity.depth = via ? via->depth + 1 : 0;
	if (!v->entrypoint || v->entity.depth >= VISIT_DEPTH_MAX || (v->via && v->via->payer != v->payer))
		return -EBADMSG;
	return 0;
}

static int
visit_resolve(struct model *m, struct entity *e)
{
	const struct visit_record *r = &visit_of(e)->record;
	uint64_t sum;

	if (r->answer >= VISIT_N_ANSWERS || r->open > 1 || r->asks > 1 || r->n_args > VISIT_ARGS_BYTES)
		return -EBADMSG;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (!number_add(r->asked.n[i], r->charged.n[i], &sum) || sum > r->lent.n[i])
			return -EBADMSG;
	return resolve_places(m, visit_of(e));
}

/* By what the records differ, modulo 2^64. */
static void
lend(struct visit *v, const struct quota *now, const struct quota *before)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		v->payer->lent.n[i] += now->n[i] - before->n[i];
		v->payer->donated.n[i] += now->n[i] - before->n[i];
	}
}

static void
visit_link(struct model *m, struct entity *e)
{
	struct visit *v = visit_of(e);

	v->capability->visit = v;
	v->entrypoint->session->n_visits++;
	list_append(&v->payer->visits, &v->payer_link);
	if (v->via)
		list_append(&v->via->forwarded, &v->via_link);
	lend(v, &v->record.lent, &(struct quota){});
	events_yield(v->payer);
}

static void
visit_unlink(struct model *m, struct entity *e)
{
	struct visit *v = visit_of(e);

	assert(list_empty(&v->forwarded));
	v->capability->visit = NULL;
	v->entrypoint->session->n_visits--;
	list_unlink(&v->payer_link);
	list_unlink(&v->via_link);
	list_unlink(&v->untold_link);
	lend(v, &(struct quota){}, &v->record.lent);
}

/*
 * Does it grow by what one that was made for it gives back, and which goes after this, in the same change? Those
 * between the two may have ended, and go later. Their chain is short.
 */
static bool
gets_back(const struct visit *v)
{
	list_for_each (i, (struct list *)(uintptr_t)&v->forwarded) {
		const struct visit *made = list_entry(i, struct visit, via_link);

		if (change_drops(&made->entity) || (visit_is_doomed(&made->entity) && gets_back(made)))
			return true;
	}
	return false;
}

/* The one whose quota it is gives first, and the other one is linked after that: so events give way to neither. */
static unsigned
visit_applied(struct model *m, struct entity *e, const void *old)
{
	struct visit *v = visit_of(e);
	const struct visit_record *before = old;

	lend(v, &v->record.lent, &before->lent);
	if (!gets_back(v))
		events_yield(v->payer);
	return 0;
}

/* The nearest one that it was made for and that stays; NULL: what it has is the payer's. */
static struct visit *
heir(const struct visit *v)
{
	struct visit *via = v->via;

	while (via && visit_is_doomed(&via->entity))
		via = via->via;
	return via;
}

/* What a visit gave for another one it has again. One that ends as well needs it no more, and is passed over. */
static int
give_back(struct reaper *r, struct visit *v)
{
	const struct visit_record *record = change_record(r->ch, &v->entity);
	struct visit *to = heir(v);
	struct visit_record *edited;

	if (!to)
		return 0;
	edited = change_edit(r->ch, &to->entity);
	if (!edited)
		return -ENOMEM;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		edited->lent.n[i] += record->lent.n[i] + visit_kind.cost.n[i];
	return 0;
}

/* Those that were made for it go with their slots, and before it. Their chain is short. */
static int
visit_reap(struct reaper *r, struct entity *e)
{
	struct visit *v = visit_of(e);
	int a;

	if (change_drops(e))
		return 0;
	list_for_each (i, &v->forwarded) {
		a = reap_entity(r, &list_entry(i, struct visit, via_link)->capability->entity);
		if (a)
			return a;
	}
	a = reap_one(r, e);
	return a ? a : give_back(r, v);
}

/* Its slot shows it, too, and as one of the holders of what that was derived from. */
static void
visit_touch(struct model *m, struct entity *e, uint64_t stamp)
{
	struct entity *slot = &visit_of(e)->capability->entity;

	entity_touch(m, slot, stamp);
	capability_kind.touch(m, slot, stamp);
}

/* What a session has lent to visits is the sum of theirs. */
static void
check_donated(const struct session *s)
{
	struct quota sum = {};

	list_for_each (i, (struct list *)(uintptr_t)&s->visits)
		for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
			sum.n[kind] += list_entry(i, struct visit, payer_link)->record.lent.n[kind];
	model_holds(M31, memcmp(&sum, &s->donated, sizeof(sum)) == 0);
}

static void
visit_check(struct model *m, struct entity *e)
{
	const struct visit *v = visit_of(e);
	const struct visit_record *r = &v->record;
	char name[NUMBER_BYTES_MAX];

	snprintf(name, sizeof(name), "%" PRIu64, r->capability);
	model_holds(M02, strcmp(e->name, name) == 0 && v->capability->entity.id == r->capability);
	model_holds(M35, v->capability->visit == v && v->payer->entity.id == r->payer);
	model_holds(M35, v->entrypoint == capability_entrypoint(v->capability));
	model_holds(M35, r->via == (v->via ? v->via->entity.id : 0) && (!v->via || v->via->payer == v->payer));
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		model_holds(M35, r->asked.n[i] <= r->lent.n[i] && r->charged.n[i] <= r->lent.n[i] - r->asked.n[i]);
		model_holds(M35, r->asks || r->asked.n[i] == 0);
	}
	if (list_first(&v->payer->visits) == &v->payer_link)
		check_donated(v->payer);
}

const struct kind visit_kind = {
	.size = sizeof(struct visit),
	.record_offset = offsetof(struct visit, record),
	.record_bytes = sizeof(struct visit_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.later = true,
	.init = visit_init,
	.place = visit_place,
	.session = visit_session,
	.lends = visit_lends,
	.is_shown = visit_is_shown,
	.is_doomed = visit_is_doomed,
	.resolve = visit_resolve,
	.link = visit_link,
	.unlink = visit_unlink,
	.applied = visit_applied,
	.reap = visit_reap,
	.touch = visit_touch,
	.check = visit_check,
};

/*
 * AMOUNT, with COST, of what was lent to VIA, which is then that much smaller: what the payer has lent and is charged
 * stays the same.
 */
static int
take_from(struct change *ch, struct visit *via, const struct quota *amount, const struct quota *cost,
	enum quota_kind *ret_kind)
{
	struct visit_record *r = change_edit(ch, &via->entity);

	if (!r)
		return -ENOMEM;
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++) {
		uint64_t sum, left = r->lent.n[i] - r->asked.n[i] - r->charged.n[i];

		if (!number_add(amount->n[i], cost->n[i], &sum) || sum > left) {
			*ret_kind = i;
			return VISIT_E_QUOTA;
		}
		r->lent.n[i] -= sum;
	}
	return 0;
}

static int
take_from_payer(struct change *ch, const struct session *payer, const struct quota *amount, const struct quota *cost,
	enum quota_kind *ret_kind)
{
	struct quota sum;

	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (!number_add(amount->n[i], cost->n[i], &sum.n[i])) {
			*ret_kind = i;
			return VISIT_E_QUOTA;
		}
	return change_affords(ch, payer, &sum, ret_kind) ? 0 : VISIT_E_QUOTA;
}

static int
take(struct change *ch, const struct session *payer, struct visit *via, const struct quota *amount,
	const struct quota *cost, enum quota_kind *ret_kind)
{
	return via ? take_from(ch, via, amount, cost, ret_kind) : take_from_payer(ch, payer, amount, cost, ret_kind);
}

int
visit_open(struct change *ch, struct capability *c, struct session *payer, struct visit *via,
	const struct quota *amount, const char *args, size_t n_args, enum quota_kind *ret_kind)
{
	char name[NUMBER_BYTES_MAX];
	struct entity *e;
	struct visit *v;
	int r, n;

	if (n_args > VISIT_ARGS_BYTES)
		return VISIT_E_ARGS;
	if (via && via->entity.depth + 1 >= VISIT_DEPTH_MAX)
		return VISIT_E_DEPTH;
	r = take(ch, payer, via, amount, &visit_kind.cost, ret_kind);
	if (r)
		return r;
	n = snprintf(name, sizeof(name), "%" PRIu64, c->entity.id);
	e = entity_new(change_model(ch), ENTITY_VISIT, name, (size_t)n);
	if (!e)
		return -ENOMEM;
	v = visit_of(e);
	v->capability = c;
	v->entrypoint = capability_entrypoint(c);
	v->payer = payer;
	v->via = via;
	e->depth = via ? via->entity.depth + 1 : 0;
	v->record = (struct visit_record){
		.capability = c->entity.id,
		.payer = payer->entity.id,
		.via = via ? via->entity.id : 0,
		.lent = *amount,
		.asked = *amount,
		.asks = 1,
		.n_args = (uint32_t)n_args,
	};
	if (n_args > 0)
		memcpy(v->record.args, args, n_args);
	return change_add(ch, e);
}

int
visit_upgrade(struct change *ch, struct visit *v, const struct quota *amount, enum quota_kind *ret_kind)
{
	struct visit_record *record;
	int r;

	if (v->record.asks)
		return VISIT_E_ASKS;
	r = take(ch, v->payer, v->via, amount, &(struct quota){}, ret_kind);
	if (r)
		return r;
	record = change_edit(ch, &v->entity);
	if (!record)
		return -ENOMEM;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		record->lent.n[i] += amount->n[i];
	record->asked = *amount;
	record->asks = 1;
	return 0;
}

/* What was asked for goes back to where it came from. */
static int
return_asked(struct change *ch, struct visit *v, struct visit_record *record)
{
	struct visit_record *via = v->via ? change_edit(ch, &v->via->entity) : NULL;

	if (v->via && !via)
		return -ENOMEM;
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		record->lent.n[i] -= record->asked.n[i];
		if (via)
			via->lent.n[i] += record->asked.n[i];
	}
	return 0;
}

int
visit_answer(struct change *ch, struct visit *v, bool accept)
{
	struct visit_record *record;
	int r;

	if (!v->record.asks)
		return VISIT_E_ANSWERED;
	if (!accept && !v->record.open)
		return capability_end(ch, v->capability);
	record = change_edit(ch, &v->entity);
	if (!record)
		return -ENOMEM;
	r = accept ? 0 : return_asked(ch, v, record);
	if (r < 0)
		return r;
	record->asked = (struct quota){};
	record->asks = 0;
	record->open = 1;
	record->answer = accept ? VISIT_ACCEPTED : VISIT_REFUSED;
	return 0;
}

int
visit_charge(struct change *ch, struct visit *v, unsigned kinds, const struct quota *charged,
	enum quota_kind *ret_kind)
{
	struct visit_record *record = change_edit(ch, &v->entity);

	if (!record)
		return -ENOMEM;
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++) {
		if (!(kinds & (1U << i)))
			continue;
		if (charged->n[i] > record->lent.n[i] - record->asked.n[i]) {
			*ret_kind = i;
			return VISIT_E_QUOTA;
		}
		record->charged.n[i] = charged->n[i];
	}
	return 0;
}
