/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations of the property test on what sessions ask of their parents, and these of them: it waits until it is
 * answered, and what is given then goes with the answer, or not at all.
 */
#include "config.h"

#include "tests/property.h"

#include <errno.h>
#include <string.h>

#include "capfsd/ops/request.h"
#include "capfsd/verbs/asking/answer.h"

#undef NDEBUG
#include <assert.h>

static struct ask *
property_ask(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.asks[i].id);

	assert(e && e->kind == ENTITY_ASK);
	return ask_of(e);
}

static struct quota
random_amount(struct property *p)
{
	struct quota q = {};

	for (int i = 0; i < QUOTA_N_KINDS; i++)
		q.n[i] = property_random(p, 3) ? 0 : property_random(p, i == QUOTA_RAM ? 6000 : 6);
	return q;
}

/* What waits for the answer of a session itself: there is one of these at most. */
static int
find_yield(const struct reference *ref, int session)
{
	for (int i = 0; i < REF_ASKS; i++)
		if (ref->asks[i].id && ref->asks[i].what == ASK_YIELD && ref->asks[i].session == session &&
			!ref->asks[i].answered)
			return i;
	return -1;
}

/* Nothing that can be passed on is asked for. */
void
property_ask_for(struct property *p, bool signal, struct ref_ask *made, struct ask_record *record)
{
	struct quota amount = random_amount(p);

	made->how = property_reductions(p, -1);
	if (property_random(p, 2))
		made->how = (struct reductions){};
	made->how.n_only = 0;
	made->signal = signal;
	made->how.rights = made->signal ? RIGHT_RAISE : RIGHT_CALL;
	memcpy(made->amount, amount.n, sizeof(amount.n));
	*record = (struct ask_record){.what = (uint8_t)made->what, .amount = amount, .since_usec = world_now(),
		.until_usec = world_now() + property_random(p, 1000), .type = made->signal ? TYPE_SIGNAL : TYPE_OBJECT};
	record->asker.handle = property_random(p, 2) ? 1 + property_random(p, 5) : 0;
	record->asker.connection = record->asker.handle ? 0 : 1 + property_random(p, 5);
	ask_set_reductions(record, &made->how);
}

void
op_ask(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS), place = ref_free_ask(ref), old = -1, answer = 0;
	struct ref_ask made = {.session = session, .what = (enum ask_what)property_random(p, ASK_N)};
	uint64_t left[QUOTA_N_KINDS];
	struct ask_record record;
	struct change *ch;
	struct ask *a;

	if (session <= 0 || place < 0 || ref->sessions[session].closing)
		return;
	property_name(p, made.name, 'c', 10);
	property_ask_for(p, property_random(p, 6) == 0, &made, &record);
	if (made.what == ASK_YIELD)
		old = find_yield(ref, session);
	ref_left(ref, made.what == ASK_YIELD ? ref->sessions[session].parent : session, left);
	ch = change_begin(p->world.model);
	if (old >= 0)
		answer = ask_answer(ch, property_ask(p, old), ECANCELED, "", 0);
	if (answer == 0)
		answer = ask_add(ch, property_session(p, session), made.name, strlen(made.name), &record, &a);
	if (!property_done(p, ch, answer, left[QUOTA_RAM] < 1024 ? QUOTA_E_EXCEEDED : 0))
		return;
	if (old >= 0)
		ref->asks[old].answered = true;
	made.id = a->entity.id;
	ref->asks[place] = made;
}

/* The smaller one of both. */
static void
smaller(bool has, uint64_t n, bool *to_has, uint64_t *to)
{
	*to = !*to_has || (has && n < *to) ? n : *to;
	*to_has |= has;
}

bool
property_expect_gift(struct property *p, const struct ref_ask *ask, int source, const struct reductions *given,
	struct ref_cap *made)
{
	const struct reference *ref = &p->reference;
	struct reductions how = ask->how;

	*made = (struct ref_cap){.session = ask->session, .parent = source, .expires = UINT64_MAX,
		.object = ref->caps[source].object, .signal = ref->caps[source].signal};
	if (!ref_cap_live(ref, source, world_now()) || !(ref_cap_rights(ref, source) & RIGHT_GRANT))
		return false;
	if (ask->signal != !!ref->caps[source].signal)
		return false;
	if (ask->how.has_rights && given->has_rights && (ask->how.rights & ~given->rights))
		return false;
	if (!how.has_rights)
		how.rights = given->rights;
	how.has_rights |= given->has_rights;
	how.immutable = true;
	smaller(given->has_calls, given->calls, &how.has_calls, &how.calls);
	smaller(given->has_conns, given->conns, &how.has_conns, &how.conns);
	smaller(given->has_rate, given->rate, &how.has_rate, &how.rate);
	smaller(given->has_expires, given->expires_usec, &how.has_expires, &how.expires_usec);
	return property_expect_reductions(p, source, &how, made) == 0 &&
		property_expect_slot(p, ask->session, ask->name) == 0;
}

/* A slot of the parent, if that has one. */
static int
pick_source(struct property *p, int parent)
{
	const struct reference *ref = &p->reference;
	int first = (int)property_random(p, REF_CAPS);

	for (int i = 0; i < REF_CAPS; i++) {
		int cap = (first + i) % REF_CAPS;

		if (ref->caps[cap].id && ref->caps[cap].session == parent)
			return cap;
	}
	return -1;
}

static bool
give_slot(struct property *p, int i)
{
	struct reference *ref = &p->reference;
	const struct ref_ask *asked = &ref->asks[i];
	struct request r = {.model = p->world.model};
	int source = pick_source(p, ref->sessions[asked->session].parent);
	struct ask *a = property_ask(p, i);
	const struct asking asking = {&a->record, property_session(p, asked->session), a->entity.name,
		strlen(a->entity.name)};
	struct reductions given = property_reductions(p, source);
	struct capability *c = NULL;
	struct ref_cap made;
	struct change *ch;
	bool expected;
	int answer;

	if (source < 0 || ref_free_cap(ref) < 0)
		return false;
	given.n_only = 0;
	expected = property_expect_gift(p, asked, source, &given, &made);
	ch = change_begin(p->world.model);
	answer = answer_with(&r, ch, &asking, property_cap(p, source), &given, &c);
	if (answer == 0 && !r.error)
		answer = ask_answer(ch, a, 0, "", 0);
	answer = answer ? answer : r.error != 0;
	request_deinit(&r);
	if (!property_done(p, ch, answer, !expected))
		return false;
	property_add_cap(p, &made, c);
	return true;
}

/* Up to what is asked, of what is free. */
static bool
give_quota(struct property *p, int i)
{
	struct reference *ref = &p->reference;
	const struct ref_ask *asked = &ref->asks[i];
	int parent = ref->sessions[asked->session].parent;
	int from = asked->what == ASK_YIELD ? asked->session : parent, to = from == parent ? asked->session : parent;
	struct quota q = {};
	enum quota_kind kind;
	struct change *ch;
	int answer;

	for (int k = 0; k < QUOTA_N_KINDS; k++)
		q.n[k] = property_random(p, asked->amount[k] + 1);
	ch = change_begin(p->world.model);
	answer = session_transfer_quota(ch, property_session(p, from), property_session(p, to), &q, &kind);
	if (answer == 0)
		answer = ask_answer(ch, property_ask(p, i), 0, "", 0);
	if (!property_done(p, ch, answer, property_expect_transfer(p, from, to, &q)))
		return false;
	property_transfer(ref, from, to, &q);
	return true;
}

void
op_decide(struct property *p)
{
	struct reference *ref = &p->reference;
	int i = PICK(p, ref->asks, REF_ASKS);
	struct ref_ask *a = i < 0 ? NULL : &ref->asks[i];
	struct change *ch;

	if (!a || a->answered || ref->sessions[a->session].closing)
		return;
	if (property_random(p, 5) == 0) {
		ch = change_begin(p->world.model);
		a->answered = property_done(p, ch, ask_answer(ch, property_ask(p, i), EACCES, "", 0), 0);
	} else if (a->what == ASK_SLOT) {
		a->answered = give_slot(p, i);
	} else {
		a->answered = give_quota(p, i);
	}
}

/* It was read, or nobody waits for it any more. */
void
op_ask_end(struct property *p)
{
	struct reference *ref = &p->reference;
	int i = PICK(p, ref->asks, REF_ASKS);
	struct change *ch;

	if (i < 0)
		return;
	ch = change_begin(p->world.model);
	if (property_done(p, ch, change_drop(ch, &property_ask(p, i)->entity), 0))
		ref->asks[i].id = 0;
}

void
property_asks_reaped(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_ASKS; i++)
		if (ref->asks[i].id && !entity_find(p->world.model, ref->asks[i].id)) {
			assert(ref->sessions[ref->asks[i].session].closing);
			ref->asks[i].id = 0;
		}
}

void
property_compare_asks(struct property *p)
{
	const struct reference *ref = &p->reference;
	uint64_t n = 0;

	for (int i = 0; i < REF_ASKS; i++) {
		const struct ask *a = ref->asks[i].id ? property_ask(p, i) : NULL;

		if (!a)
			continue;
		assert((a->record.state == ASK_ANSWERED) == ref->asks[i].answered);
		assert(a->session->entity.id == ref->sessions[ref->asks[i].session].id);
		n++;
	}
	assert(n == p->world.model->n[ENTITY_ASK]);
}
