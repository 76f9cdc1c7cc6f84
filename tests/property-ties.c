/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations of the property test on what is reached through a capability. Which is one to a session verbs look at
 * (test-reached.c); the model asks only for its rights.
 */
#include "config.h"

#include "tests/property.h"

#include <string.h>

#undef NDEBUG
#include <assert.h>

int
property_expect_tie(struct property *p, int session, int through, uint64_t ram)
{
	uint64_t left[QUOTA_N_KINDS];

	ref_left(&p->reference, session, left);
	return through && left[QUOTA_RAM] - ram < 512 ? CAPABILITY_E_QUOTA_RAM : 0;
}

/* Of what is derived, what may be passed on through the other. */
static int
expect_pass(const struct reference *ref, int through, const struct reductions *how, struct ref_cap *made)
{
	uint32_t common = ref_cap_rights(ref, through) | ~(uint32_t)RIGHTS_COMMON;

	if (how->has_rights && (how->rights & ~common))
		return CAPABILITY_E_NOT_HELD;
	if (how->has_expires && how->expires_usec > ref_cap_expires(ref, through))
		return CAPABILITY_E_NOT_SMALLER;
	made->rights &= common;
	return 0;
}

static int
expect_use(const struct reference *ref, int through, enum right needed)
{
	if (!ref_cap_live(ref, through, world_now()))
		return CAPABILITY_E_DEAD;
	if (!(ref_cap_rights(ref, through) & RIGHT_CALL))
		return CAPABILITY_E_RIGHT;
	if (property_calls_are_used(ref, through))
		return CAPABILITY_E_LIMIT_CALLS;
	if (property_rate_is_reached(ref, through))
		return CAPABILITY_E_LIMIT_RATE;
	return ref_cap_rights(ref, through) & needed ? 0 : CAPABILITY_E_RIGHT;
}

static int
expect_reach(struct property *p, const char *name, enum right needed, const struct reductions *how, struct ref_cap *made)
{
	const struct reference *ref = &p->reference;
	int through = made->through - 1, target = made->parent, r = expect_use(ref, through, needed);
	int a = ref_cap_ties(ref, through), b = ref_cap_ties(ref, target);

	if (r)
		return r;
	if (!ref_cap_live(ref, target, world_now()))
		return CAPABILITY_E_DEAD;
	if (!(ref_cap_rights(ref, target) & needed))
		return CAPABILITY_E_RIGHT;
	r = property_expect_reductions(p, target, how, made);
	if (!r && (a > b ? a : b) >= TIE_DEPTH_MAX)
		r = CAPABILITY_E_TIES;
	if (!r)
		r = expect_pass(ref, through, how, made);
	if (!r)
		r = property_expect_slot(p, made->session, name);
	if (!r)
		r = property_expect_caveats(p, made->session, ref_cap_caveats(ref, target), 0, how->n_only, 512);
	return r ? r : property_expect_tie(p, made->session, made->through, 512 + how->n_only * REF_CAVEAT_RAM);
}

void
op_reach(struct property *p)
{
	struct reference *ref = &p->reference;
	int through = PICK(p, ref->caps, REF_CAPS), target = PICK(p, ref->caps, REF_CAPS);
	int to = PICK(p, ref->sessions, REF_SESSIONS), expected;
	enum right needed = property_random(p, 2) ? RIGHT_GRANT : RIGHT_REPLICATE;
	struct reductions how = property_reductions(p, target);
	struct capability *c, *of;
	struct ref_cap made;
	struct change *ch;
	char name[8];

	/* Most can be reached through, or nothing else would come of it. */
	for (int i = 0; through >= 0 && i < 4 && !(ref_cap_rights(ref, through) & RIGHT_CALL); i++)
		through = PICK(p, ref->caps, REF_CAPS);
	if (through < 0 || target < 0 || to < 0 || ref_free_cap(ref) < 0)
		return;
	made = (struct ref_cap){.session = to, .object = ref->caps[target].object, .signal = ref->caps[target].signal,
		.parent = target, .expires = UINT64_MAX, .through = through + 1, .n_caveats = how.n_only};
	property_name(p, name, 'c', 10);
	expected = expect_reach(p, name, needed, &how, &made);
	ch = change_begin(p->world.model);
	if (!property_done(p, ch,
		    capability_reach(ch, property_cap(p, through), property_cap(p, target), needed,
			    property_session(p, to), name, strlen(name), &how, 0, &c, &of),
		    expected))
		return;
	property_count_call(ref, through);
	property_add_cap(p, &made, c);
}

/* What is being removed may have lost its tie, and is dead by itself then. */
void
property_ties_reaped(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_CAPS; i++) {
		struct ref_cap *c = &ref->caps[i];
		struct entity *e = c->id && c->through ? entity_find(p->world.model, c->id) : NULL;

		if (!e || capability_of(e)->tie)
			continue;
		assert(ref_cap_doomed(ref, i));
		c->dead = true;
		c->through = 0;
		c->last_rights = UINT32_MAX;
		c->last_expires = UINT64_MAX;
	}
}
