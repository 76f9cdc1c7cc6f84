/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations of the property test on shares. What they make, change and end they do by themselves, in slices; after
 * each of these the reference asks whether that was to be, and when nothing is left to do, whether all of it was done.
 */
#include "config.h"

#include "tests/property.h"

#include <string.h>

#undef NDEBUG
#include <assert.h>

/* What SHARE would give now, in *TO, which has what is not its own. Returns: 0, CAPABILITY_E_*. */
static int
expect_share(struct property *p, int source, const struct reductions *how, struct ref_cap *to)
{
	const struct reference *ref = &p->reference;

	if (!ref_cap_live(ref, source, world_now()))
		return CAPABILITY_E_DEAD;
	if (!(ref_cap_rights(ref, source) & RIGHT_SHARE))
		return CAPABILITY_E_RIGHT;
	to->expires = UINT64_MAX;
	return property_expect_reductions(p, source, how, to);
}

/* Do they differ in anything that is given? What is not given counts as well: it stands in the record. */
static bool
differ(const struct reductions *a, const struct reductions *b)
{
	return a->has_rights != b->has_rights || a->has_calls != b->has_calls || a->has_conns != b->has_conns ||
		a->has_rate != b->has_rate || a->has_expires != b->has_expires || a->rights != b->rights ||
		a->calls != b->calls || a->conns != b->conns || a->rate != b->rate ||
		a->expires_usec != b->expires_usec;
}

static void
write_share(struct reference *ref, int i, struct ref_share *made)
{
	struct ref_share *s = &ref->shares[i];

	made->changed = s->id && (s->changed || differ(&s->how, &made->how));
	for (int k = 0; s->id && !made->changed && k < REF_CAPS; k++)
		if (ref->caps[k].id && ref->caps[k].shared && ref->caps[k].parent == s->cap)
			ref->caps[k].share_written = made->written;
	*s = *made;
}

/* With whom, at random; NONE only what is shared. */
static void
pick_with(struct property *p, int by, bool is_shared, struct ref_share *made, struct session **ret)
{
	const struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS);

	made->with = (enum share_with)(1 + property_random(p, N_SHARE_WITH - 1));
	if (made->with == SHARE_SIBLINGS && by == 0)
		made->with = SHARE_SUBTREE;
	if (made->with == SHARE_SESSION && session < 0)
		made->with = SHARE_CHILDREN;
	if (is_shared && property_random(p, 3) == 0)
		made->with = SHARE_NONE;
	*ret = made->with == SHARE_SESSION ? property_session(p, session) : NULL;
	made->scope = *ret ? (*ret)->entity.id : 0;
}

/* One that can be shared, or is; or any. */
static int
pick_source(struct property *p)
{
	const struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS), share = PICK(p, ref->shares, REF_SHARES);

	if (share >= 0 && property_random(p, 2))
		return ref->shares[share].cap;
	for (int i = 0; cap >= 0 && i < 6 && !(ref_cap_rights(ref, cap) & RIGHT_SHARE); i++)
		cap = PICK(p, ref->caps, REF_CAPS);
	return cap;
}

void
op_share(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = pick_source(p), found = cap < 0 ? -1 : ref_share_of(ref, cap), expected;
	int place = found >= 0 ? found : ref_free_share(ref);
	struct ref_share made = {.cap = cap};
	uint64_t left[QUOTA_N_KINDS];
	struct ref_cap unused = {};
	struct share *share;
	struct session *s;
	struct change *ch;
	int answer;

	if (cap < 0 || place < 0)
		return;
	made.how = property_random(p, 2) && found >= 0 ? ref->shares[found].how : property_reductions(p, cap);
	made.how.immutable = true;
	made.how.n_only = 0;
	pick_with(p, ref->caps[cap].session, found >= 0, &made, &s);
	expected = expect_share(p, cap, &made.how, &unused);
	if (made.with == SHARE_NONE && expected != CAPABILITY_E_DEAD && expected != CAPABILITY_E_RIGHT)
		expected = 0;
	ref_left(ref, ref->caps[cap].session, left);
	if (!expected && found < 0 && left[QUOTA_RAM] < 512)
		expected = CAPABILITY_E_QUOTA_RAM;
	ch = change_begin(p->world.model);
	answer = share_stage(ch, property_cap(p, cap), made.with, s, &made.how, &share);
	if (answer == 0 && property_random(p, 2))
		answer = share_begin(ch, share);
	if (!property_done(p, ch, answer, expected))
		return;
	made.id = share->entity.id;
	made.written = share->record.written;
	assert(found < 0 || (ref->shares[found].id == made.id && made.written > ref->shares[found].written));
	write_share(ref, place, &made);
	property_shares_follow(p);
}

static int
find_share(const struct reference *ref, uint64_t id)
{
	for (int i = 0; i < REF_SHARES; i++)
		if (ref->shares[i].id == id)
			return i;
	return -1;
}

/* One goes when it is withdrawn, or with its slot; a start of the daemon drops it if whom it was for alone has gone. */
static void
follow_gone(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_SHARES; i++) {
		struct ref_share *s = &ref->shares[i];
		bool orphan = s->with == SHARE_SESSION && !entity_find(p->world.model, s->scope);

		if (!s->id || entity_find(p->world.model, s->id))
			continue;
		assert(s->with == SHARE_NONE || orphan || ref_cap_doomed(ref, s->cap));
		s->id = 0;
	}
}

static bool
has_record(const struct capability *c, const struct ref_cap *as)
{
	const struct capability_record *r = &c->record;

	return (record_rights(r) & ~(uint32_t)RIGHT_FDS) == as->rights && r->calls_limit == as->calls_limit &&
		r->conns_limit == as->conns_limit && r->rate_limit == as->rate_limit && r->expires_usec == as->expires;
}

/* Of what it has made: it has ended it, or made it what it would be now, or left it. */
static void
follow_made(struct property *p, int cap)
{
	struct reference *ref = &p->reference;
	const struct capability *c = property_cap(p, cap);
	struct ref_cap *is = &ref->caps[cap], to = *is;
	int share = ref_share_of(ref, is->parent);
	bool covered = share >= 0 && ref_share_covers(ref, share, is->session);
	bool changed = share >= 0 && ref->shares[share].changed;

	if (c->record.flags & CAPABILITY_DEAD) {
		assert(share >= 0 && (!covered || changed));
		is->dead = true;
		return;
	}
	if (!covered || !changed || !ref_cap_live(ref, cap, world_now()) ||
		expect_share(p, is->parent, &ref->shares[share].how, &to) != 0) {
		return;
	} else if (has_record(c, &to)) {
		*is = to;
		is->share_written = ref->shares[share].written;
		property_forget_before(ref, cap);
	}
}

static int
find_made(const struct reference *ref, int share, int session)
{
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && ref->caps[i].shared && ref->caps[i].session == session &&
			ref->caps[i].parent == ref->shares[share].cap && ref_cap_live(ref, i, world_now()))
			return i;
	return -1;
}

static bool
is_declined(const struct reference *ref, int share, int session)
{
	for (int i = 0; i < REF_DECLINED; i++)
		if (ref->declined[i].id && ref->declined[i].session == session &&
			ref->declined[i].share == ref->shares[share].id &&
			ref->declined[i].written == ref->shares[share].written)
			return true;
	return false;
}

static int
find_cap(const struct reference *ref, uint64_t id)
{
	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id == id)
			return i;
	return -1;
}

/* C is new in SESSION: somebody shares it, and it is not there. */
static void
follow_new(struct property *p, int session, const struct capability *c)
{
	struct reference *ref = &p->reference;
	int source = c->parent ? find_cap(ref, c->parent->entity.id) : -1;
	int share = source < 0 ? -1 : ref_share_of(ref, source);
	struct ref_cap made = {.session = session, .parent = source, .shared = true};

	assert(share >= 0 && ref_share_covers(ref, share, session) && !ref->sessions[session].closing);
	assert(find_made(ref, share, session) < 0 && !is_declined(ref, share, session));
	assert(expect_share(p, source, &ref->shares[share].how, &made) == 0);
	made.object = ref->caps[source].object;
	made.signal = ref->caps[source].signal;
	made.share_written = ref->shares[share].written;
	property_add_cap(p, &made, c);
}

/* What was declined means nothing any more when the share is another one, or none, and goes some time later. */
static void
follow_declined(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_DECLINED; i++) {
		struct ref_declined *d = &ref->declined[i];
		int share = d->id ? find_share(ref, d->share) : -1;

		if (!d->id || entity_find(p->world.model, d->id))
			continue;
		assert(share < 0 || ref->shares[share].written != d->written || ref->sessions[d->session].closing);
		d->id = 0;
	}
}

/* All that was changed is as it would be made now, or it could not be. */
static void
follow_changed(struct property *p, int i)
{
	struct reference *ref = &p->reference;
	struct ref_share *s = &ref->shares[i];
	const struct share *share = share_of(entity_find(p->world.model, s->id));

	if (!s->changed || share->record.changed)
		return;
	for (int k = 0; k < REF_CAPS; k++)
		assert(!ref->caps[k].id || !ref->caps[k].shared || ref->caps[k].parent != s->cap ||
			ref_cap_doomed(ref, k) || ref->caps[k].share_written == s->written);
	s->changed = false;
}

void
property_shares_follow(struct property *p)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_CAPS; i++)
		if (ref->caps[i].id && ref->caps[i].shared && !ref_cap_doomed(ref, i))
			follow_made(p, i);
	for (int i = 0; i < REF_SESSIONS; i++) {
		struct session *s = ref->sessions[i].id ? property_session(p, i) : NULL;

		if (!s)
			continue;
		list_for_each (k, &s->owned[ENTITY_CAPABILITY]) {
			const struct capability *c = capability_of(list_entry(k, struct entity, owner_link));

			if (c->record.by_uid == BY_SHARE && find_cap(ref, c->entity.id) < 0)
				follow_new(p, i, c);
		}
	}
	follow_gone(p);
	follow_declined(p);
	for (int i = 0; i < REF_SHARES; i++)
		if (ref->shares[i].id)
			follow_changed(p, i);
}

/* Only when nothing has ended that is still there, as the daemon does. Returns: is there more to do? */
static bool
run(struct property *p, unsigned budget)
{
	int r;

	if (!list_empty(&p->world.model->ending))
		return false;
	r = share_run(p->world.model, budget);
	assert(r >= 0 || p->unreliable);
	if (r >= 0)
		property_shares_follow(p);
	return r > 0;
}

void
op_share_run(struct property *p)
{
	run(p, 1 + (unsigned)property_random(p, 6));
}

/* Those beside the sharer keep a half of their slots. */
static bool
has_room(const struct reference *ref, int share, int session)
{
	bool beside = !ref_session_within(ref, session, ref->caps[ref->shares[share].cap].session);
	uint64_t left[QUOTA_N_KINDS];

	ref_left(ref, session, left);
	return left[QUOTA_CAPS] >= 1 && left[QUOTA_RAM] >= 512 &&
		!(beside && left[QUOTA_CAPS] <= ref->sessions[session].limit[QUOTA_CAPS] / 2);
}

static void
check_settled(struct property *p, int share)
{
	const struct reference *ref = &p->reference;

	assert(ref->shares[share].with != SHARE_NONE && !ref->shares[share].changed);
	for (int i = 0; i < REF_SESSIONS; i++) {
		if (!ref->sessions[i].id || ref->sessions[i].closing || !ref_share_covers(ref, share, i))
			assert(!ref->sessions[i].id || find_made(ref, share, i) < 0);
		else if (!ref->shares[share].failed && !is_declined(ref, share, i) && has_room(ref, share, i))
			assert(find_made(ref, share, i) >= 0);
	}
}

/*
 * Whoever lacks something looks again when something of it has gone, or it got quota. Nobody tells it of connections
 * and visits that gave back theirs, so it is told here.
 */
void
op_share_settle(struct property *p)
{
	struct reference *ref = &p->reference;
	bool more = true;

	if (p->unreliable)
		return;
	for (int i = 0; i < REF_SESSIONS; i++)
		if (ref->sessions[i].id)
			session_has_room(property_session(p, i));
	while (more) {
		while (!list_empty(&p->world.model->ending))
			op_reap(p);
		more = run(p, 1 + (unsigned)property_random(p, 20)) || !list_empty(&p->world.model->ending);
	}
	for (int i = 0; i < REF_SHARES; i++)
		if (ref->shares[i].id)
			check_settled(p, i);
}

/* E is new: a slot that a share had made was ended by somebody else, and has gone just now. */
static void
reaped_declined(struct property *p, int session, const struct declined *d)
{
	struct reference *ref = &p->reference;
	int share = find_share(ref, d->record.share), place = ref_free_declined(ref);
	bool justified = false;

	assert(share >= 0 && ref->shares[share].written == d->record.written && place >= 0);
	for (int i = 0; i < REF_CAPS; i++)
		justified = justified || (ref->caps[i].id && ref->caps[i].declined && ref->caps[i].session == session &&
			ref->caps[i].parent == ref->shares[share].cap && !entity_find(p->world.model, ref->caps[i].id));
	assert(justified);
	ref->declined[place] = (struct ref_declined){d->entity.id, d->record.share, d->record.written, session};
}

/* Before the reference forgets the slots that have gone. */
void
property_shares_reaped(struct property *p)
{
	struct reference *ref = &p->reference;

	follow_gone(p);
	follow_declined(p);
	for (int i = 0; i < REF_SESSIONS; i++) {
		struct entity *s = ref->sessions[i].id ? entity_find(p->world.model, ref->sessions[i].id) : NULL;

		if (!s)
			continue;
		list_for_each (k, &session_of(s)->owned[ENTITY_DECLINED]) {
			const struct declined *d = declined_of(list_entry(k, struct entity, owner_link));
			bool known = false;

			for (int n = 0; n < REF_DECLINED; n++)
				known = known || ref->declined[n].id == d->entity.id;
			if (!known)
				reaped_declined(p, i, d);
		}
	}
	for (int i = 0; i < REF_CAPS; i++) {
		const struct ref_cap *c = &ref->caps[i];
		int share = c->id && c->declined ? ref_share_of(ref, c->parent) : -1;

		if (share >= 0 && !entity_find(p->world.model, c->id) && !ref->sessions[c->session].closing)
			assert(ref_cap_doomed(ref, c->parent) || is_declined(ref, share, c->session));
	}
}

void
property_compare_shares(struct property *p)
{
	struct reference *ref = &p->reference;
	uint64_t n = 0, n_declined = 0;

	for (int i = 0; i < REF_SHARES; i++) {
		struct ref_share *s = &ref->shares[i];
		struct ref_cap unused = {};

		if (!s->id)
			continue;
		n++;
		assert(share_find(property_cap(p, s->cap))->entity.id == s->id);
		s->failed = s->failed || expect_share(p, s->cap, &s->how, &unused) != 0;
	}
	for (int i = 0; i < REF_DECLINED; i++)
		n_declined += ref->declined[i].id != 0;
	assert(n == p->world.model->n[ENTITY_SHARE]);
	assert(n_declined == p->world.model->n[ENTITY_DECLINED]);
}
