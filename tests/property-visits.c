/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the property test on visits: what is lent, asked for, charged, and comes back. */
#include "config.h"

#include "tests/property.h"

#include <string.h>

#undef NDEBUG
#include <assert.h>

static const uint64_t cost[QUOTA_N_KINDS] = {[QUOTA_RAM] = 512};

static struct quota
random_amount(struct property *p)
{
	struct quota q = {};

	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		q.n[i] = property_random(p, 3) ? 0 : property_random(p, i == QUOTA_RAM ? 8000 : 4);
		if (property_random(p, 100) == 0)
			q.n[i] = UINT64_MAX - property_random(p, 2);
	}
	return q;
}

int
property_pick_visit(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int tries = 0; tries < 12; tries++) {
		int i = PICK(p, ref->caps, REF_CAPS);

		if (i >= 0 && ref->caps[i].visit.is)
			return i;
	}
	return -1;
}

/* A slot of the server of a visit that is open, in *SOURCE, for which it can visit another one. Returns: the visit, -1. */
static int
pick_via(struct property *p, int *source)
{
	struct reference *ref = &p->reference;
	int first = (int)property_random(p, REF_CAPS);

	for (int n = 0; n < REF_CAPS; n++) {
		int via = (first + n) % REF_CAPS;

		if (!ref->caps[via].id || !ref->caps[via].visit.open || ref_cap_doomed(ref, via))
			continue;
		for (int k = 0; k < REF_CAPS; k++) {
			*source = (first + k) % REF_CAPS;
			if (ref->caps[*source].id && ref->caps[*source].session == ref_cap_server(ref, via))
				return via;
		}
	}
	return -1;
}

static int
depth(const struct reference *ref, int via)
{
	int n = 0;

	for (; via >= 0; via = ref->caps[via].visit.via)
		n++;
	return n;
}

/* Is AMOUNT with COST to be had of VIA, or of PAYER, who has LESS less of it than now? */
static bool
affords(struct property *p, int payer, int via, const struct quota *amount, const uint64_t *extra,
	const uint64_t *less)
{
	struct reference *ref = &p->reference;
	uint64_t left[QUOTA_N_KINDS];

	ref_left(ref, payer, left);
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		const struct ref_visit *v = via >= 0 ? &ref->caps[via].visit : NULL;

		left[i] = v ? v->lent[i] - v->asked[i] - v->charged[i] : left[i] - less[i];
		if (left[i] < extra[i] || amount->n[i] > left[i] - extra[i])
			return false;
	}
	return true;
}

/* What is taken from VIA is AMOUNT with EXTRA. */
static void
take(struct reference *ref, int via, const struct quota *amount, const uint64_t *extra)
{
	for (int i = 0; via >= 0 && i < QUOTA_N_KINDS; i++)
		ref->caps[via].visit.lent[i] -= amount->n[i] + extra[i];
}

void
op_visit(struct property *p)
{
	static const uint64_t slot[QUOTA_N_KINDS] = {[QUOTA_CAPS] = 1, [QUOTA_RAM] = 512};
	struct reference *ref = &p->reference;
	int source, via = property_random(p, 2) ? pick_via(p, &source) : -1, expected;
	struct ref_cap made = {.expires = UINT64_MAX};
	struct quota amount = random_amount(p);
	struct capability *c = NULL;
	enum quota_kind kind;
	struct change *ch;
	char name[8];
	int answer;

	if (via < 0)
		source = PICK(p, ref->caps, REF_CAPS);
	if (source < 0 || ref_free_cap(ref) < 0)
		return;
	made.parent = source;
	made.session = ref->caps[source].session;
	made.object = ref->caps[source].object;
	made.signal = ref->caps[source].signal;
	property_name(p, name, 'c', 10);
	made.visit = (struct ref_visit){
		.is = true, .asks = true, .via = via, .payer = via < 0 ? made.session : ref->caps[via].visit.payer};
	expected = property_expect_visit(p, source, name, &made);
	if (!expected && depth(ref, via) + 1 > VISIT_DEPTH_MAX)
		expected = VISIT_E_DEPTH + 100;
	else if (!expected && !affords(p, made.visit.payer, via, &amount, cost, slot))
		expected = VISIT_E_QUOTA + 100;
	memcpy(made.visit.lent, amount.n, sizeof(amount.n));
	memcpy(made.visit.asked, amount.n, sizeof(amount.n));
	ch = change_begin(p->world.model);
	answer = capability_visit(ch, property_cap(p, source), property_session(p, made.session), name, strlen(name), 0,
		&c);
	if (answer == 0) {
		answer = visit_open(ch, c, property_session(p, made.visit.payer),
			via < 0 ? NULL : property_cap(p, via)->visit, &amount, "", 0, &kind);
		answer += answer > 0 ? 100 : 0;
	}
	if (property_done(p, ch, answer, expected)) {
		property_add_cap(p, &made, c);
		take(ref, via, &amount, cost);
	}
}

void
op_upgrade(struct property *p)
{
	static const uint64_t none[QUOTA_N_KINDS] = {};
	struct reference *ref = &p->reference;
	int i = property_pick_visit(p);
	struct quota amount = random_amount(p);
	struct ref_visit *v;
	enum quota_kind kind;
	struct change *ch;
	int expected = 0;

	if (i < 0)
		return;
	v = &ref->caps[i].visit;
	if (v->asks)
		expected = VISIT_E_ASKS;
	else if (!affords(p, v->payer, v->via, &amount, none, none))
		expected = VISIT_E_QUOTA;
	ch = change_begin(p->world.model);
	if (!property_done(p, ch, visit_upgrade(ch, property_cap(p, i)->visit, &amount, &kind), expected))
		return;
	take(ref, v->via, &amount, none);
	for (int k = 0; k < QUOTA_N_KINDS; k++) {
		v->asked[k] = amount.n[k];
		v->lent[k] += amount.n[k];
	}
	v->asks = true;
}

void
op_answer(struct property *p)
{
	struct reference *ref = &p->reference;
	bool accept = property_random(p, 4) > 0;
	int i = property_pick_visit(p);
	struct ref_visit *v;
	struct change *ch;
	bool ends;

	if (i < 0)
		return;
	v = &ref->caps[i].visit;
	ends = !accept && !v->open;
	ch = change_begin(p->world.model);
	if (!property_done(p, ch, visit_answer(ch, property_cap(p, i)->visit, accept), v->asks ? 0 : VISIT_E_ANSWERED))
		return;
	if (ends) {
		ref->caps[i].dead |= !ref_cap_doomed(ref, i);
		return;
	}
	for (int k = 0; k < QUOTA_N_KINDS; k++) {
		if (!accept) {
			v->lent[k] -= v->asked[k];
			if (v->via >= 0)
				ref->caps[v->via].visit.lent[k] += v->asked[k];
		}
		v->asked[k] = 0;
	}
	v->asks = false;
	v->open = true;
}

void
op_visit_charge(struct property *p)
{
	struct reference *ref = &p->reference;
	struct quota amount = random_amount(p);
	int i = property_pick_visit(p), expected = 0;
	struct ref_visit *v;
	enum quota_kind kind;
	struct change *ch;

	if (i < 0)
		return;
	v = &ref->caps[i].visit;
	for (int k = 0; k < QUOTA_N_KINDS; k++)
		if (amount.n[k] > v->lent[k] - v->asked[k])
			expected = VISIT_E_QUOTA;
	ch = change_begin(p->world.model);
	if (property_done(p, ch,
		    visit_charge(ch, property_cap(p, i)->visit, (1U << QUOTA_N_KINDS) - 1, &amount, &kind), expected))
		memcpy(v->charged, amount.n, sizeof(amount.n));
}

/* The nearest that CAP was made for and that stays; -1: it is the payer who has it again. */
static int
heir(const struct reference *ref, const bool *doomed, int cap)
{
	int via = ref->caps[cap].visit.via;

	while (via >= 0 && doomed[via])
		via = ref->caps[via].visit.via;
	return via;
}

/* After the reaper: what has gone gives back to what it was made from, or to what that was made from. */
void
property_visits_reaped(struct property *p)
{
	struct reference *ref = &p->reference;
	bool doomed[REF_CAPS];

	for (int i = 0; i < REF_CAPS; i++)
		doomed[i] = ref->caps[i].id && ref_cap_doomed(ref, i);
	for (int i = 0; i < REF_CAPS; i++) {
		struct ref_cap *c = &ref->caps[i];
		struct entity *e = c->id ? entity_find(p->world.model, c->id) : NULL;
		int via;

		if (!c->id || !c->visit.is || (e && container_of(e, struct capability, entity)->visit))
			continue;
		assert(doomed[i]);
		c->visit.is = false;
		/* A slot that is still there goes later. */
		c->dead = true;
		via = heir(ref, doomed, i);
		for (int k = 0; via >= 0 && k < QUOTA_N_KINDS; k++)
			ref->caps[via].visit.lent[k] += c->visit.lent[k] + cost[k];
	}
}

void
property_compare_visit(struct property *p, int i)
{
	const struct ref_visit *expected = &p->reference.caps[i].visit;
	const struct visit *v = property_cap(p, i)->visit;

	assert(expected->is == !!v);
	if (!v)
		return;
	assert(v->record.open == expected->open && v->record.asks == expected->asks);
	assert(memcmp(v->record.lent.n, expected->lent, sizeof(expected->lent)) == 0);
	assert(memcmp(v->record.asked.n, expected->asked, sizeof(expected->asked)) == 0);
	assert(memcmp(v->record.charged.n, expected->charged, sizeof(expected->charged)) == 0);
}
