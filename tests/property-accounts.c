/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the property test on sessions, quota, entrypoints and objects. */
#include "config.h"

#include "tests/property.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#undef NDEBUG
#include <assert.h>

void
op_session(struct property *p)
{
	struct reference *ref = &p->reference;
	static const uint64_t cost[QUOTA_N_KINDS] = {[QUOTA_CAPS] = 1, [QUOTA_RAM] = 4096};
	int parent = PICK(p, ref->sessions, REF_SESSIONS), place = ref_free_session(ref),
	    expected = 0;
	struct ref_session made = {.parent = parent};
	uint64_t left[QUOTA_N_KINDS];
	enum quota_kind kind;
	struct quota donation;
	struct session *s;
	struct change *ch;
	int other, answer;

	if (parent < 0 || place < 0)
		return;
	property_name(p, made.name, 's', 5);
	other = ref_session_named(ref, parent, made.name);
	ref_left(ref, parent, left);
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		donation.n[i] = property_random(p, i == QUOTA_RAM ? 40000 : 20);
		if (property_random(p, 200) == 0)
			donation.n[i] = UINT64_MAX - property_random(p, 2);
		made.limit[i] = made.donation[i] = donation.n[i];
		if (left[i] < cost[i] || donation.n[i] > left[i] - cost[i])
			expected = SESSION_E_QUOTA;
	}
	if (ref->sessions[parent].closing)
		expected = SESSION_E_CLOSING;
	else if (other >= 0)
		expected = ref->sessions[other].closing ? SESSION_E_ENDING : SESSION_E_EXISTS;
	ch = change_begin(p->world.model);
	answer = session_create(
		ch, property_session(p, parent), made.name, strlen(made.name), 0, 0, &donation, &s, &kind);
	if (answer == 0 && property_random(p, 2))
		answer = share_welcome(ch, s);
	if (property_done(p, ch, answer, expected)) {
		ref->sessions[place] = made;
		ref->sessions[place].id = s->entity.id;
		property_shares_follow(p);
	}
}

static int
expect_close(struct property *p, int session)
{
	struct reference *ref = &p->reference;
	int answer = 0;

	if (ref->sessions[session].parent < 0)
		return SESSION_E_BUSY;
	if (ref->sessions[session].closing)
		return SESSION_E_CLOSING;
	for (int i = 0; i < REF_ENTRYPOINTS; i++)
		if (ref->entrypoints[i].id && ref->entrypoints[i].session == session &&
			ref->entrypoints[i].served)
			answer = SESSION_E_BUSY;
	for (int i = 0; i < REF_SESSIONS; i++)
		if (ref->sessions[i].id && ref->sessions[i].parent == session)
			answer = SESSION_E_NOT_EMPTY;
	return answer;
}

void
op_close(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS);
	struct change *ch;

	if (session < 0)
		return;
	ch = change_begin(p->world.model);
	if (property_done(p, ch, session_close(ch, property_session(p, session)),
		    expect_close(p, session)))
		ref->sessions[session].closing = true;
}

static int
expect_lend(struct property *p, int from, const struct quota *q)
{
	uint64_t left[QUOTA_N_KINDS];

	ref_left(&p->reference, from, left);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (q->n[i] > left[i])
			return QUOTA_E_EXCEEDED;
	return 0;
}

int
property_expect_transfer(struct property *p, int from, int to, const struct quota *q)
{
	struct reference *ref = &p->reference;
	const struct ref_session *f = &ref->sessions[from];
	uint64_t left[QUOTA_N_KINDS];
	int answer = 0;

	if (from == to)
		return 0;
	if (f->parent != to && ref->sessions[to].parent != from)
		return -EINVAL;
	ref_left(ref, from, left);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (f->parent == to && q->n[i] > 0 && q->n[i] <= f->limit[i] &&
			f->limit[i] - q->n[i] < f->donation[i])
			answer = QUOTA_E_DONATION;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (q->n[i] > left[i])
			answer = QUOTA_E_EXCEEDED;
	return answer;
}

/* The nearest session that is above both, or is one of them. */
static int
common(const struct reference *ref, int a, int b)
{
	for (; a > 0; a = ref->sessions[a].parent)
		for (int i = b; i >= 0; i = ref->sessions[i].parent)
			if (i == a)
				return a;
	return 0;
}

/* Along the tree. */
static void
move(struct property *p, int from, int to, const struct quota *q)
{
	struct reference *ref = &p->reference;
	int top = common(ref, from, to), parent = ref->sessions[from].parent, expected;
	enum quota_kind kind;
	struct change *ch = change_begin(p->world.model);

	if (from == to)
		expected = 0;
	else if (from != top && parent != top)
		expected = -EINVAL;
	else if (from == top)
		expected = expect_lend(p, from, q);
	else
		expected = property_expect_transfer(p, from, parent, q);
	if (!property_done(p, ch,
		    session_move_quota(ch, property_session(p, from), property_session(p, to), q, &kind), expected) ||
		from == to)
		return;
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		ref->sessions[from].limit[i] -= from == top ? 0 : q->n[i];
		for (int s = to; s != top; s = ref->sessions[s].parent)
			ref->sessions[s].limit[i] += q->n[i];
	}
}

void
property_transfer(struct reference *ref, int from, int to, const struct quota *q)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		if (ref->sessions[from].parent == to)
			ref->sessions[from].limit[i] -= q->n[i];
		else
			ref->sessions[to].limit[i] += q->n[i];
	}
}

void
op_transfer(struct property *p)
{
	struct reference *ref = &p->reference;
	int from = PICK(p, ref->sessions, REF_SESSIONS), to;
	enum quota_kind kind;
	struct change *ch;
	struct quota q;

	if (from < 0)
		return;
	to = property_random(p, 2) ? ref->sessions[from].parent
				   : PICK(p, ref->sessions, REF_SESSIONS);
	if (to < 0)
		return;
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		q.n[i] =
			property_random(p, 3) ? 0 : property_random(p, i == QUOTA_RAM ? 10000 : 10);
		if (property_random(p, 100) == 0)
			q.n[i] = UINT64_MAX - property_random(p, 3);
	}
	if (property_random(p, 3) == 0) {
		move(p, from, to, &q);
		return;
	}
	ch = change_begin(p->world.model);
	if (!property_done(p, ch,
		    session_transfer_quota(
			    ch, property_session(p, from), property_session(p, to), &q, &kind),
		    property_expect_transfer(p, from, to, &q)) ||
		from == to)
		return;
	property_transfer(ref, from, to, &q);
}

static int
expect_attach(struct property *p, int session, int entrypoint)
{
	struct reference *ref = &p->reference;
	uint64_t left[QUOTA_N_KINDS];

	ref_left(ref, session, left);
	if (ref->sessions[session].closing)
		return ENTRYPOINT_E_CLOSING;
	if (entrypoint >= 0 && ref->entrypoints[entrypoint].dead)
		return ENTRYPOINT_E_CLOSING;
	if (entrypoint >= 0 && ref->entrypoints[entrypoint].served)
		return ENTRYPOINT_E_SERVED;
	if (left[QUOTA_THREADS] < 1)
		return ENTRYPOINT_E_QUOTA_THREADS;
	return entrypoint < 0 && left[QUOTA_RAM] < 512 ? ENTRYPOINT_E_QUOTA_RAM : 0;
}

void
op_attach(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS), place = ref_free_entrypoint(ref), found;
	struct ref_entrypoint made = {
		.session = session, .served = true, .once = property_random(p, 4) == 0};
	struct entrypoint *ep;
	struct change *ch;

	if (session < 0)
		return;
	property_name(p, made.name, 'e', 3);
	found = ref_entrypoint_named(ref, session, made.name);
	if (found < 0 && place < 0)
		return;
	ch = change_begin(p->world.model);
	if (!property_done(p, ch,
		    entrypoint_attach(ch, property_session(p, session), made.name,
			    strlen(made.name), made.once ? ENTRYPOINT_ONCE : 0, 1, &ep),
		    expect_attach(p, session, found)))
		return;
	made.id = ep->entity.id;
	assert(found < 0 || ref->entrypoints[found].id == made.id);
	ref->entrypoints[found < 0 ? place : found] = made;
}

void
op_unserve(struct property *p)
{
	struct reference *ref = &p->reference;
	int i = PICK(p, ref->entrypoints, REF_ENTRYPOINTS);
	struct ref_entrypoint *e;
	struct change *ch;

	if (i < 0)
		return;
	e = &ref->entrypoints[i];
	ch = change_begin(p->world.model);
	if (property_random(p, 4)) {
		if (property_done(p, ch, entrypoint_detach(ch, property_entrypoint(p, i)), 0)) {
			e->dead |= e->served && e->once;
			e->served = false;
		}
	} else if (property_done(p, ch, entrypoint_end(ch, property_entrypoint(p, i)), 0)) {
		e->dead |= !ref->sessions[e->session].closing;
	}
}

void
op_object(struct property *p)
{
	struct reference *ref = &p->reference;
	int ep = PICK(p, ref->entrypoints, REF_ENTRYPOINTS), place = ref_free_object(ref), found;
	uint64_t key = property_random(p, 4), left[QUOTA_N_KINDS];
	int socket = property_random(p, 8) == 0, expected = 0;
	struct object *o;
	struct change *ch;

	if (ep < 0)
		return;
	found = ref_object_keyed(ref, ep, key);
	if (found < 0 && place < 0)
		return;
	ref_left(ref, ref->entrypoints[ep].session, left);
	if (ref_entrypoint_doomed(ref, ep))
		expected = ENTRYPOINT_E_CLOSING;
	else if (found >= 0)
		expected = ref->objects[found].socket != socket ? ENTRYPOINT_E_EXISTS : 0;
	else if (left[QUOTA_RAM] < 512)
		expected = ENTRYPOINT_E_QUOTA_RAM;
	ch = change_begin(p->world.model);
	if (!property_done(
		    p, ch, object_add(ch, property_entrypoint(p, ep), key, socket, OBJECT_PLAIN, &o), expected))
		return;
	assert(found < 0 || o->record.badge == ref->objects[found].badge);
	if (found < 0)
		ref->objects[place] = (struct ref_object){.id = o->entity.id,
			.key = key,
			.badge = o->record.badge,
			.entrypoint = ep,
			.socket = socket};
}

void
op_object_end(struct property *p)
{
	struct reference *ref = &p->reference;
	int i = PICK(p, ref->objects, REF_OBJECTS);
	struct change *ch;

	if (i < 0)
		return;
	ch = change_begin(p->world.model);
	if (property_done(p, ch, object_end(ch, property_object(p, i)), 0))
		ref->objects[i].dead |= !ref_object_doomed(ref, i);
}

void
op_originate(struct property *p)
{
	struct reference *ref = &p->reference;
	int o = PICK(p, ref->objects, REF_OBJECTS), expected;
	struct ref_cap made = {
		.object = o,
		.parent = -1,
		.rights = RIGHTS_OBJECT,
		.calls_limit = UINT64_MAX,
		.conns_limit = UINT64_MAX,
		.rate_limit = UINT64_MAX,
		.expires = UINT64_MAX,
	};
	struct capability *c;
	struct change *ch;
	char name[8];

	if (o < 0 || ref_free_cap(ref) < 0)
		return;
	made.session = ref->entrypoints[ref->objects[o].entrypoint].session;
	property_name(p, name, 'c', 10);
	expected = ref_object_doomed(ref, o) ? CAPABILITY_E_CLOSING
					     : property_expect_slot(p, made.session, name);
	ch = change_begin(p->world.model);
	if (property_done(p, ch,
		    capability_originate(ch, TYPE_OBJECT, &property_object(p, o)->entity,
			    property_session(p, made.session), name, strlen(name), made.rights, 0,
			    &c),
		    expected))
		property_add_cap(p, &made, c);
}

void
op_charge(struct property *p)
{
	struct reference *ref = &p->reference;
	struct ref_charge *c = &ref->charges[property_random(p, REF_CHARGES)];
	uint64_t left[QUOTA_N_KINDS];
	int session, r;

	if (c->charge.session) {
		charge_deinit(&c->charge);
		return;
	}
	session = PICK(p, ref->sessions, REF_SESSIONS);
	if (session < 0)
		return;
	c->session = session;
	c->kind = (int)property_random(p, QUOTA_N_KINDS);
	c->n = (uint32_t)property_random(p, c->kind == QUOTA_RAM ? 3000 : 4);
	ref_left(ref, session, left);
	r = charge_init(&c->charge, property_session(p, session), c->kind, c->n);
	assert(r == (c->n > left[c->kind] ? QUOTA_E_EXCEEDED : 0));
}
