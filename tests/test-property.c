/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G27 */
/*
 * G27: two hundred thousand random operations, with tools/check a million, on the model and on the reference, which
 * says beforehand how each must end. After each of them all invariants of doc/MODEL are checked, and everything is
 * compared: that limit = used + lent + free at every session, with used and lent counted again; and that no
 * capability can do more than it could before, unless it was adjusted, or more than what it came from. Some
 * operations meet a store that fails; and now and then, more often after such a one, the broker dies, and the model
 * is made again from its store.
 *
 * What the daemon does by itself, for shares and policies, in slices, the reference does after it, if it was to be; and
 * asks when nothing is left to do whether all of it was done.
 *
 * $PROPERTY_SEED and $PROPERTY_STEPS choose another run.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#include <assert.h>
#include <check.h>

#include "tests/fixture.h"
#include "tests/property.h"

#define STEPS 200000
#define STEPS_CRASH 1000 /* between two deaths of the broker, on average … */
#define FAILURES_CRASH 20 /* … and so many operations with a store that fails */

uint64_t
property_random(struct property *p, uint64_t n)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (p->random >> 11) % n;
}

struct session *
property_session(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.sessions[i].id);

	assert(e);
	return container_of(e, struct session, entity);
}

struct capability *
property_cap(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.caps[i].id);

	assert(e);
	return container_of(e, struct capability, entity);
}

struct entrypoint *
property_entrypoint(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.entrypoints[i].id);

	assert(e);
	return container_of(e, struct entrypoint, entity);
}

struct object *
property_object(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.objects[i].id);

	assert(e);
	return container_of(e, struct object, entity);
}

/* Ends the change. ANSWER must be as expected. Returns: did it happen? */
bool
property_done(struct property *p, struct change *ch, int answer, int expected)
{
	int r;

	if (answer != expected)
		fprintf(stderr, "answer %d, expected %d\n", answer, expected);
	assert(answer == expected);
	if (answer != 0) {
		change_abort(ch);
		p->n_refused++;
		return false;
	}
	r = change_commit(ch);
	assert(r == 0 || (p->unreliable && r == p->world.store->fail_error));
	*(r == 0 ? &p->n_done : &p->n_failed) += 1;
	return r == 0;
}

void
property_name(struct property *p, char name[8], char kind, unsigned n)
{
	assert(n <= 10);
	name[0] = kind;
	name[1] = (char)('0' + property_random(p, n));
	name[2] = '\0';
}

static void
step(struct property *p)
{
	static const struct {
		void (*run)(struct property *p);
		unsigned weight;
	} operations[] = {
		{op_grant, 14},
		{op_replicate, 6},
		{op_move, 2},
		{op_reduce, 7},
		{op_end, 2},
		{op_adjust, 4},
		{op_split, 3},
		{op_rename, 2},
		{op_connect, 10},
		{op_session, 6},
		{op_close, 1},
		{op_transfer, 8},
		{op_attach, 5},
		{op_unserve, 1},
		{op_object, 4},
		{op_object_end, 1},
		{op_originate, 7},
		{op_charge, 4},
		{op_expire, 1},
		{op_reap, 6},
		{op_program, 3},
		{op_confine, 1},
		{op_log, 1},
		{op_visit, 3},
		{op_upgrade, 1},
		{op_answer, 2},
		{op_visit_charge, 1},
		{op_reach, 3},
		{op_signal, 2},
		{op_raise, 3},
		{op_policy, 2},
		{op_request, 6},
		{op_ask, 3},
		{op_decide, 4},
		{op_ask_end, 1},
		{op_share, 4},
		{op_share_run, 4},
		{op_share_settle, 1},
	};
	uint64_t n = property_random(p, 140);

	p->unreliable = property_random(p, 50) == 0;
	p->world.store->fail_after = p->unreliable ? property_random(p, 5) : UINT64_MAX;
	p->world.store->fail_error = property_random(p, 2) ? -EIO : -ENOSPC;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (n < operations[i].weight) {
			operations[i].run(p);
			break;
		}
		n -= operations[i].weight;
	}
	p->world.store->fail_after = UINT64_MAX;
}

/* limit = used + lent + free, and each of them as the reference counts it: without events, which give way. */
static void
compare_session(struct property *p, int i)
{
	const struct ref_session *expected = &p->reference.sessions[i];
	const struct session *s =
		container_of(entity_find(p->world.model, expected->id), struct session, entity);
	uint64_t used[QUOTA_N_KINDS], lent[QUOTA_N_KINDS];

	ref_used(&p->reference, i, used);
	ref_lent(&p->reference, i, lent);
	for (int kind = 0; kind < QUOTA_N_KINDS; kind++) {
		assert(s->record.limit.n[kind] == expected->limit[kind]);
		assert(s->used.n[kind] - (kind == QUOTA_RAM ? s->event_bytes : 0) == used[kind]);
		assert(s->lent.n[kind] == lent[kind]);
		assert(quota_free(s, kind) <= expected->limit[kind]);
		assert(s->used.n[kind] + lent[kind] + quota_free(s, kind) == expected->limit[kind]);
	}
}

static void
compare_cap(struct property *p, int i)
{
	const struct reference *ref = &p->reference;
	struct ref_cap *expected = &p->reference.caps[i];
	const struct capability *c = property_cap(p, i), *parent = c->parent;
	uint64_t expires = capability_expires(c);
	uint32_t rights = capability_rights(c);
	bool live = capability_is_live(c);

	assert(strcmp(c->entity.name, expected->name) == 0);
	/* What has lost caveats, because it is being removed, cannot be called after a restart. */
	if (ref_cap_doomed(ref, i))
		rights |= ref_cap_rights(ref, i) & RIGHT_CALL;
	assert(rights == ref_cap_rights(ref, i) && expires == ref_cap_expires(ref, i));
	assert(live == ref_cap_live(ref, i, world_now()));
	property_compare_visit(p, i);
	assert(caveats_count_own(c) == expected->n_caveats);
	assert(c->record.calls_limit == expected->calls_limit);
	assert(c->record.calls_used == expected->calls_used);
	assert(c->record.conns_limit == expected->conns_limit);
	assert(c->record.rate_limit == expected->rate_limit);
	assert(expected->rate_limit == UINT64_MAX || c->record.rate_at_usec == expected->rate_at);
	assert(!parent || capability_rate_left(c) <= capability_rate_left(parent));
	/* Never more than before … */
	assert(!(rights & ~expected->last_rights) && expires <= expected->last_expires);
	assert(expected->calls_limit <= expected->last_calls);
	assert(expected->conns_limit <= expected->last_conns);
	assert(expected->last_live || !live);
	/* … and never more than its parent. */
	assert(!parent || !(rights & ~capability_rights(parent)));
	assert(!parent || capability_calls_left(c) <= capability_calls_left(parent));
	assert(!parent || capability_conns_left(c) <= capability_conns_left(parent));
	assert(!parent || expires <= capability_expires(parent));
	assert(!parent || !live || capability_is_live(parent));
	expected->last_rights = rights;
	expected->last_calls = expected->calls_limit;
	expected->last_conns = expected->conns_limit;
	expected->last_expires = expires;
	expected->last_live = live;
}

/* Returns how many capabilities there are. */
static uint64_t
compare(struct property *p)
{
	uint64_t n = 0;

	for (int i = 0; i < REF_SESSIONS; i++)
		if (p->reference.sessions[i].id)
			compare_session(p, i);
	for (int i = 0; i < REF_CAPS; i++)
		if (p->reference.caps[i].id) {
			compare_cap(p, i);
			n++;
		}
	assert(n == p->world.model->n[ENTITY_CAPABILITY]);
	property_compare_signals(p);
	property_compare_shares(p);
	property_compare_asks(p);
	property_compare_policies(p);
	return n;
}

/* What a front does when a session goes: nobody may be charged to it any more. */
static void
on_gone(void *data, struct entity *e)
{
	struct property *p = container_of((struct world *)data, struct property, world);

	for (int i = 0; e->kind == ENTITY_SESSION && i < REF_CHARGES; i++) {
		struct charge *c = &p->reference.charges[i].charge;

		if (c->session == container_of(e, struct session, entity))
			charge_deinit(c);
	}
}

static const struct model_hooks property_hooks = {.gone = on_gone};

/* Connections and charges are not the store's, and begin anew. */
static void
forget_transient(struct property *p)
{
	for (int i = 0; i < REF_CHARGES; i++)
		charge_deinit(&p->reference.charges[i].charge);
	for (int i = 0; i < REF_CAPS; i++)
		p->reference.caps[i].conns = 0;
}

/* What there is after it is what was stored: nothing that was done is missing, and nothing that was refused is there. */
static void
crash(struct property *p)
{
	forget_transient(p);
	ck_assert_int_eq(world_restart(&p->world), 0);
	p->world.model->hooks = &property_hooks;
	property_policies_made(p);
	model_check(p->world.model);
	property_shares_follow(p);
	compare(p);
	p->n_crashes++;
}

static uint64_t
environment(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static void
property_init(struct property *p)
{
	struct quota limit = {{110, 60, 30, 200000, 60}};

	p->random = environment("PROPERTY_SEED", UINT64_C(0x9e3779b97f4a7c15)) * 2 + 1;
	world_init(&p->world);
	ck_assert_int_eq(model_set_root_limit(p->world.model, &limit), 0);
	p->world.model->hooks = &property_hooks;
	p->reference.sessions[0] = (struct ref_session){.id = 1, .parent = -1};
	memcpy(p->reference.sessions[0].limit, limit.n, sizeof(limit.n));
}

START_TEST(G27_conservation_and_monotony_over_many_operations)
{
	static struct property p;
	uint64_t steps = environment("PROPERTY_STEPS", STEPS), n_caps = 0;

	property_init(&p);
	for (uint64_t i = 1; i <= steps; i++) {
		step(&p);
		n_caps += compare(&p);
		model_check(p.world.model);
		if (property_random(&p, p.unreliable ? FAILURES_CRASH : STEPS_CRASH) == 0)
			crash(&p);
	}
	forget_transient(&p);
	fprintf(stderr,
		"# done %" PRIu64 ", refused %" PRIu64 ", failed %" PRIu64
		", crashes %" PRIu64 ", capabilities on average %" PRIu64 "\n",
		p.n_done, p.n_refused, p.n_failed, p.n_crashes, n_caps / steps);
	/* Neither all refused nor all done, on more than an empty model. */
	ck_assert_uint_gt(p.n_done, steps / 5);
	ck_assert_uint_gt(p.n_refused, steps / 10);
	ck_assert_uint_gt(n_caps / steps, 20);
	ck_assert_uint_gt(p.n_crashes, steps / (2 * STEPS_CRASH));
	world_deinit(&p.world);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("property");

	tcase_add_test(fixture_case(s, "property", 280),
		G27_conservation_and_monotony_over_many_operations);
	return fixture_main(s);
}
