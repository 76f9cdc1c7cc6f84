/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations of the property test on capabilities. */
#include "config.h"

#include "tests/property.h"

#include <string.h>

#undef NDEBUG
#include <assert.h>

/* A signal has other rights, and nothing to which caveats could apply. */
static void
fit_signal(struct property *p, struct reductions *how)
{
	how->n_only = 0;
	if (how->rights & RIGHT_CALL)
		how->rights |= property_random(p, 2) ? RIGHT_RAISE | RIGHT_WAIT : RIGHT_RAISE;
	how->rights &= ~(uint32_t)RIGHT_CALL;
}

struct reductions
property_reductions(struct property *p, int cap)
{
	struct reductions how = {
		.has_rights = property_random(p, 2),
		.rights = (uint32_t)property_random(p, 64),
		.has_calls = property_random(p, 8) == 0,
		.calls = property_random(p, 30),
		.has_conns = property_random(p, 8) == 0,
		.conns = property_random(p, 6),
		.has_rate = property_random(p, 20) == 0,
		.rate = property_random(p, 6),
		.has_expires = property_random(p, 20) == 0,
		.expires_usec = world_now() + property_random(p, 20000),
		.immutable = property_random(p, 10) == 0,
		.only = "GET /**\0POST /a",
		.n_only = property_random(p, 10) == 0 ? 1 + (unsigned)property_random(p, 2) : 0,
	};

	/* No limit of its own, which is more than any. */
	if (property_random(p, 8) == 0)
		how.calls = how.conns = how.rate = how.expires_usec = LIMIT_NONE;
	/* Most derivations can be passed on, or trees stay flat. */
	if (property_random(p, 3))
		how.rights |= RIGHT_CALL | RIGHT_GRANT | RIGHT_REDUCE | RIGHT_REPLICATE;
	if (cap >= 0 && p->reference.caps[cap].signal)
		fit_signal(p, &how);
	return how;
}

/* What is left of capability CAP after HOW, in *TO. */
int
property_expect_reductions(struct property *p, int cap, const struct reductions *how, struct ref_cap *to)
{
	struct reference *ref = &p->reference;
	const struct ref_cap *c = &ref->caps[cap];
	uint32_t held = ref_cap_rights(ref, cap);
	uint64_t expires = ref_cap_expires(ref, cap);

	to->rights = how->has_rights ? how->rights : held;
	if ((to->rights & held) != to->rights)
		return CAPABILITY_E_NOT_HELD;
	if (how->immutable)
		to->rights &= ~(uint32_t)RIGHTS_COMMON;
	if (to->rights == 0)
		return CAPABILITY_E_NOT_SMALLER;
	if ((how->has_calls && (how->calls == 0 || how->calls > c->calls_limit)) ||
		(how->has_conns && (how->conns == 0 || how->conns > c->conns_limit)) ||
		(how->has_rate && (how->rate == 0 || how->rate > c->rate_limit)) ||
		(how->has_expires &&
			(how->expires_usec <= world_now() || how->expires_usec > expires)))
		return CAPABILITY_E_NOT_SMALLER;
	to->calls_limit = how->has_calls ? how->calls : c->calls_limit;
	to->conns_limit = how->has_conns ? how->conns : c->conns_limit;
	to->rate_limit = how->has_rate ? how->rate : c->rate_limit;
	if (how->has_expires)
		to->expires = how->expires_usec;
	return 0;
}

/* Whether the slot that has the name is there to be seen. */
static int
expect_taken(const struct reference *ref, int cap)
{
	return ref_cap_live(ref, cap, world_now()) ? CAPABILITY_E_EXISTS : CAPABILITY_E_ENDING;
}

int
property_expect_slot(struct property *p, int to, const char *name)
{
	struct reference *ref = &p->reference;
	uint64_t left[QUOTA_N_KINDS];

	ref_left(ref, to, left);
	if (ref->sessions[to].closing)
		return CAPABILITY_E_CLOSING;
	if (name && ref_cap_named(ref, to, name) >= 0)
		return expect_taken(ref, ref_cap_named(ref, to, name));
	if (left[QUOTA_CAPS] < 1)
		return CAPABILITY_E_QUOTA_CAPS;
	return left[QUOTA_RAM] < 512 ? CAPABILITY_E_QUOTA_RAM : 0;
}

/* N caveats more for one in SESSION that has OWN and below those ABOVE, after so much ram is used. */
int
property_expect_caveats(struct property *p, int session, unsigned above, unsigned own, unsigned n, uint64_t ram)
{
	uint64_t left[QUOTA_N_KINDS];

	ref_left(&p->reference, session, left);
	if (n == 0)
		return 0;
	if (own + n > CAVEATS_OWN_MAX || above + own + n > CAVEATS_MAX)
		return CAPABILITY_E_CAVEATS;
	return left[QUOTA_RAM] - ram < n * REF_CAVEAT_RAM ? CAPABILITY_E_QUOTA_RAM : 0;
}

void
property_add_cap(struct property *p, const struct ref_cap *made, const struct capability *c)
{
	struct reference *ref = &p->reference;
	struct ref_cap *place = &ref->caps[ref_free_cap(ref)];

	assert(ref_cap_named(ref, made->session, c->entity.name) < 0);
	*place = *made;
	place->id = c->entity.id;
	place->last_rights = UINT32_MAX;
	place->last_calls = place->last_conns = place->last_expires = UINT64_MAX;
	place->last_live = true;
	strcpy(place->name, c->entity.name);
}

int
property_expect_visit(struct property *p, int source, const char *name, struct ref_cap *made)
{
	struct reference *ref = &p->reference;
	const struct reductions how = {.immutable = true};
	int expected;

	if (!ref_cap_live(ref, source, world_now()))
		return CAPABILITY_E_DEAD;
	if (!(ref_cap_rights(ref, source) & RIGHT_CALL))
		return CAPABILITY_E_RIGHT;
	expected = property_expect_reductions(p, source, &how, made);
	return expected ? expected : property_expect_slot(p, made->session, name);
}

/* Grant to TO, replicate if that is the SOURCE's own session and COPY. */
static void
derive(struct property *p, int source, int to, bool copy)
{
	struct reference *ref = &p->reference;
	struct reductions how = property_reductions(p, source);
	struct ref_cap made = {
		.session = to,
		.object = ref->caps[source].object,
		.signal = ref->caps[source].signal,
		.parent = source,
		.expires = UINT64_MAX,
	};
	struct capability *c, *from = property_cap(p, source);
	enum right needed = copy ? RIGHT_REPLICATE : RIGHT_GRANT;
	char buffer[8];
	const char *name = property_random(p, 3) == 0 ? NULL : buffer;
	size_t n;
	struct change *ch;
	int expected, answer;

	property_name(p, buffer, 'c', 10);
	n = name ? strlen(name) : 0;
	if (!ref_cap_live(ref, source, world_now()))
		expected = CAPABILITY_E_DEAD;
	else if (!(ref_cap_rights(ref, source) & needed))
		expected = CAPABILITY_E_RIGHT;
	else
		expected = property_expect_reductions(p, source, &how, &made);
	if (!expected)
		expected = property_expect_slot(p, to, name);
	if (!expected)
		expected = property_expect_caveats(p, to, ref_cap_caveats(ref, source), 0, how.n_only, 512);
	made.n_caveats = how.n_only;
	ch = change_begin(p->world.model);
	if (copy)
		answer = capability_replicate(ch, from, name, n, &how, 0, &c);
	else
		answer = capability_grant(
			ch, from, property_session(p, to), name, n, &how, 0, &c);
	if (property_done(p, ch, answer, expected))
		property_add_cap(p, &made, c);
}

void
op_grant(struct property *p)
{
	struct reference *ref = &p->reference;
	int source = PICK(p, ref->caps, REF_CAPS), to = PICK(p, ref->sessions, REF_SESSIONS);

	if (source >= 0 && to >= 0 && ref_free_cap(ref) >= 0)
		derive(p, source, to, false);
}

void
op_replicate(struct property *p)
{
	struct reference *ref = &p->reference;
	int source = PICK(p, ref->caps, REF_CAPS);

	if (source >= 0 && ref_free_cap(ref) >= 0)
		derive(p, source, ref->caps[source].session, true);
}

/* Something was derived from it, or reached by it. */
static bool
leads_on(const struct reference *ref, int cap)
{
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && (ref->caps[i].parent == cap || ref->caps[i].through == cap + 1))
			return true;
	return false;
}

void
op_move(struct property *p)
{
	struct reference *ref = &p->reference;
	int source = PICK(p, ref->caps, REF_CAPS), to = PICK(p, ref->sessions, REF_SESSIONS),
	    expected;
	struct ref_cap made;
	struct capability *c;
	struct change *ch;
	char name[8];

	if (source < 0 || to < 0 || ref_free_cap(ref) < 0)
		return;
	made = ref->caps[source];
	made.session = to;
	made.conns = 0;
	made.shared = false;
	made.ruled[0] = '\0';
	property_name(p, name, 'c', 10);
	if (!ref_cap_live(ref, source, world_now()))
		expected = CAPABILITY_E_DEAD;
	else if (!(ref_cap_rights(ref, source) & RIGHT_TRANSFER))
		expected = CAPABILITY_E_RIGHT;
	else if (ref_cap_conns(ref, source) > 0 || leads_on(ref, source))
		expected = CAPABILITY_E_IN_USE;
	else
		expected = property_expect_slot(p, to, name);
	if (!expected)
		expected = property_expect_caveats(p, to, 0, 0, made.n_caveats, 512);
	if (!expected)
		expected = property_expect_tie(p, to, made.through, 512 + made.n_caveats * REF_CAVEAT_RAM);
	ch = change_begin(p->world.model);
	if (property_done(p, ch,
		    capability_transfer(ch, property_cap(p, source), property_session(p, to), name,
			    strlen(name), 0, &c),
		    expected)) {
		ref_cap_end(ref, source);
		property_add_cap(p, &made, c);
	}
}

void
op_reduce(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS), expected;
	struct reductions how = property_reductions(p, cap);
	struct ref_cap *c, to;
	struct change *ch;

	if (cap < 0)
		return;
	c = &ref->caps[cap];
	to = *c;
	if (!ref_cap_live(ref, cap, world_now()))
		expected = CAPABILITY_E_DEAD;
	else if (!(ref_cap_rights(ref, cap) & RIGHT_REDUCE))
		expected = CAPABILITY_E_RIGHT;
	else
		expected = property_expect_reductions(p, cap, &how, &to);
	if (!expected && to.rights == ref_cap_rights(ref, cap) &&
		to.calls_limit == c->calls_limit && to.conns_limit == c->conns_limit &&
		to.rate_limit == c->rate_limit &&
		(!how.has_expires || to.expires == ref_cap_expires(ref, cap)) && how.n_only == 0)
		expected = CAPABILITY_E_NOT_SMALLER;
	if (!expected &&
		(to.calls_limit < c->calls_used || to.conns_limit < ref_cap_conns(ref, cap)))
		expected = CAPABILITY_E_IN_USE;
	if (!expected)
		expected = property_expect_caveats(
			p, c->session, c->parent < 0 ? 0 : ref_cap_caveats(ref, c->parent), c->n_caveats, how.n_only, 0);
	to.n_caveats += how.n_only;
	ch = change_begin(p->world.model);
	if (property_done(p, ch, capability_reduce(ch, property_cap(p, cap), &how), expected))
		*c = to;
}

void
property_forget_before(struct reference *ref, int cap)
{
	for (int i = 0; i < REF_CAPS; i++) {
		struct ref_cap *c = &ref->caps[i];

		if (!c->id || !ref_cap_depends(ref, i, cap))
			continue;
		c->last_rights = UINT32_MAX;
		c->last_calls = c->last_conns = c->last_expires = UINT64_MAX;
	}
}

static int
expect_adjust(struct property *p, int cap, const struct reductions *how, struct ref_cap *to)
{
	struct reference *ref = &p->reference;
	const struct ref_cap *c = &ref->caps[cap], *above = &ref->caps[c->parent];
	uint32_t held = ref_cap_rights(ref, c->parent);

	if (!ref_cap_live(ref, cap, world_now()))
		return CAPABILITY_E_DEAD;
	if (!(held & RIGHT_GRANT))
		return CAPABILITY_E_RIGHT;
	to->rights = how->has_rights ? how->rights : c->rights;
	/* A visit is its client's alone. */
	if (c->visit.is && how->has_rights && (how->rights & RIGHTS_COMMON))
		return CAPABILITY_E_NOT_HELD;
	if (how->has_rights && (to->rights & held) != to->rights)
		return CAPABILITY_E_NOT_HELD;
	if (how->immutable)
		to->rights &= ~(uint32_t)RIGHTS_COMMON;
	if (to->rights == 0 || (how->has_calls && how->calls == 0) ||
		(how->has_conns && how->conns == 0) || (how->has_rate && how->rate == 0) ||
		(how->has_expires && how->expires_usec <= world_now()))
		return CAPABILITY_E_NOT_SMALLER;
	if ((how->has_calls && how->calls > above->calls_limit) ||
		(how->has_conns && how->conns > above->conns_limit) ||
		(how->has_rate && how->rate > above->rate_limit) ||
		(how->has_expires && how->expires_usec > ref_cap_expires(ref, c->parent)))
		return CAPABILITY_E_ABOVE;
	to->calls_limit = how->has_calls ? how->calls : c->calls_limit;
	to->conns_limit = how->has_conns ? how->conns : c->conns_limit;
	to->rate_limit = how->has_rate ? how->rate : c->rate_limit;
	to->expires = how->has_expires ? how->expires_usec : c->expires;
	return (how->has_calls && to->calls_limit < c->calls_used) ||
			(how->has_conns && to->conns_limit < ref_cap_conns(ref, cap))
		? CAPABILITY_E_IN_USE
		: 0;
}

void
op_adjust(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS), expected;
	struct reductions how = property_reductions(p, cap);
	struct ref_cap to;
	struct change *ch;

	if (cap < 0 || ref->caps[cap].parent < 0)
		return;
	to = ref->caps[cap];
	expected = expect_adjust(p, cap, &how, &to);
	if (!expected)
		expected = property_expect_caveats(p, to.session, ref_cap_caveats(ref, to.parent), to.n_caveats, how.n_only, 0);
	to.n_caveats += how.n_only;
	ch = change_begin(p->world.model);
	if (property_done(p, ch, capability_adjust(ch, property_cap(p, cap), &how), expected)) {
		ref->caps[cap] = to;
		property_forget_before(ref, cap);
	}
}

/* Halves of what is left, where both sides can be called; the source's is the larger one. */
static bool
halve(uint64_t used, uint64_t *part, uint64_t *rest)
{
	if (*rest == UINT64_MAX)
		return true;
	*part = *rest > used ? (*rest - used) / 2 : 0;
	*rest -= *part;
	return *part > 0;
}

static int
expect_halves(const struct reference *ref, int cap, const struct reductions *how, struct ref_cap *part,
	struct ref_cap *rest)
{
	uint32_t connects = ref_cap_connects(ref, cap);

	if (!(part->rights & connects) || !(rest->rights & connects))
		return 0;
	return (how->has_calls || halve(rest->calls_used, &part->calls_limit, &rest->calls_limit)) &&
			halve(ref_cap_conns(ref, cap), &part->conns_limit, &rest->conns_limit) &&
			halve(0, &part->rate_limit, &rest->rate_limit)
		? 0
		: CAPABILITY_E_INDIVISIBLE;
}

static int
expect_split(struct property *p, int cap, const struct reductions *how, struct ref_cap *part,
	struct ref_cap *rest)
{
	const struct reference *ref = &p->reference;
	uint32_t held = ref_cap_rights(ref, cap);

	if (!ref_cap_live(ref, cap, world_now()))
		return CAPABILITY_E_DEAD;
	if (!(held & RIGHT_REDUCE))
		return CAPABILITY_E_RIGHT;
	if (how->has_rights) {
		if (how->rights & ~held)
			return CAPABILITY_E_NOT_HELD;
		if (!how->rights || !(held & ~how->rights))
			return CAPABILITY_E_NO_PART;
		part->rights = how->rights;
		rest->rights &= ~how->rights;
		return expect_halves(ref, cap, how, part, rest);
	}
	if (how->calls == 0 || rest->calls_limit == UINT64_MAX || how->calls >= rest->calls_limit)
		return CAPABILITY_E_NO_PART;
	if (how->calls >= rest->calls_limit - rest->calls_used)
		return CAPABILITY_E_IN_USE;
	part->calls_limit = how->calls;
	rest->calls_limit -= how->calls;
	return expect_halves(ref, cap, how, part, rest);
}

void
op_split(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS), expected;
	struct reductions how = property_reductions(p, cap);
	struct ref_cap part, rest;
	struct capability *c;
	struct change *ch;
	char name[8];

	if (cap < 0 || ref_free_cap(ref) < 0)
		return;
	how = (struct reductions){.has_rights = property_random(p, 2), .rights = how.rights,
		.calls = 1 + property_random(p, 10)};
	how.has_calls = !how.has_rights;
	part = rest = ref->caps[cap];
	part.calls_used = part.conns = 0;
	part.revoked = part.shared = false;
	part.ruled[0] = '\0';
	property_name(p, name, 'c', 10);
	expected = expect_split(p, cap, &how, &part, &rest);
	if (!expected)
		expected = property_expect_slot(p, rest.session, name);
	if (!expected)
		expected = property_expect_caveats(p, rest.session, 0, 0, part.n_caveats, 512);
	if (!expected)
		expected = property_expect_tie(p, rest.session, part.through, 512 + part.n_caveats * REF_CAVEAT_RAM);
	ch = change_begin(p->world.model);
	if (property_done(p, ch,
		    capability_split(ch, property_cap(p, cap), &how, name, strlen(name), 0, &c),
		    expected)) {
		ref->caps[cap] = rest;
		property_add_cap(p, &part, c);
	}
}

void
op_end(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = property_random(p, 4) ? PICK(p, ref->caps, REF_CAPS) : property_pick_visit(p);
	struct change *ch;

	if (cap < 0)
		return;
	ch = change_begin(p->world.model);
	if (property_random(p, 2)) {
		if (property_done(p, ch, capability_end(ch, property_cap(p, cap)), 0))
			ref_cap_end(ref, cap);
		return;
	}
	if (!property_done(p, ch, capability_end_children(ch, property_cap(p, cap)), 0))
		return;
	if (ref_share_of(ref, cap) >= 0)
		ref->shares[ref_share_of(ref, cap)].id = 0;
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && ref->caps[i].parent == cap)
			ref->caps[i].revoked = true;
}

void
op_rename(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS), expected = 0, other;
	struct change *ch;
	char name[8];

	if (cap < 0)
		return;
	property_name(p, name, 'c', 10);
	other = ref_cap_named(ref, ref->caps[cap].session, name);
	if (!ref_cap_live(ref, cap, world_now()))
		expected = CAPABILITY_E_DEAD;
	else if (other >= 0 && other != cap)
		expected = expect_taken(ref, other);
	ch = change_begin(p->world.model);
	if (property_done(p, ch, capability_rename(ch, property_cap(p, cap), name, strlen(name)),
		    expected))
		strcpy(ref->caps[cap].name, name);
}

/* The clock goes on: what was used comes back, one at a time. */
bool
property_rate_is_reached(const struct reference *ref, int cap)
{
	for (int i = cap; i >= 0; i = ref->caps[i].parent) {
		const struct ref_cap *c = &ref->caps[i];

		if (c->rate_limit != UINT64_MAX && c->rate_at > world_now() &&
			c->rate_at - world_now() > (c->rate_limit - 1) * ((999999 + c->rate_limit) / c->rate_limit))
			return true;
	}
	return false;
}

bool
property_calls_are_used(const struct reference *ref, int cap)
{
	for (; cap >= 0; cap = ref->caps[cap].parent)
		if (ref->caps[cap].calls_used >= ref->caps[cap].calls_limit)
			return true;
	return false;
}

static int
expect_connect(struct property *p, int cap)
{
	struct reference *ref = &p->reference;

	if (!ref_cap_live(ref, cap, world_now()))
		return CONNECT_E_ENDED;
	if (!(ref_cap_rights(ref, cap) & ref_cap_connects(ref, cap)))
		return CONNECT_E_RIGHT;
	if (property_calls_are_used(ref, cap))
		return CONNECT_E_CALLS;
	for (int i = cap; i >= 0; i = ref->caps[i].parent)
		if (ref_cap_conns(ref, i) >= ref->caps[i].conns_limit)
			return CONNECT_E_CONNS;
	return property_rate_is_reached(ref, cap) ? CONNECT_E_RATE : 0;
}

void
property_count_call(struct reference *ref, int cap)
{
	for (; cap >= 0; cap = ref->caps[cap].parent) {
		struct ref_cap *c = &ref->caps[cap];

		if (c->calls_limit != UINT64_MAX)
			c->calls_used++;
		if (c->rate_limit == UINT64_MAX)
			continue;
		if (c->rate_at < world_now())
			c->rate_at = world_now();
		c->rate_at += (999999 + c->rate_limit) / c->rate_limit;
	}
}

void
op_connect(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS);
	struct change *ch;

	if (cap < 0)
		return;
	if (property_random(p, 2) && ref->caps[cap].conns > 0) {
		capability_disconnected(property_cap(p, cap));
		ref->caps[cap].conns--;
		return;
	}
	ch = change_begin(p->world.model);
	if (!property_done(
		    p, ch, capability_connect(ch, property_cap(p, cap)), expect_connect(p, cap)))
		return;
	capability_connected(property_cap(p, cap));
	ref->caps[cap].conns++;
	property_count_call(ref, cap);
}
