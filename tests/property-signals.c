/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations of the property test on signals, which last as long as they have an origin, and as their session: what is
 * raised is there until it is taken, and each fault is raised in the alarms of its session and of all above it.
 */
#include "config.h"

#include "tests/property.h"

#include <string.h>

#undef NDEBUG
#include <assert.h>

static struct anchor *
property_signal(struct property *p, int i)
{
	struct entity *e = entity_find(p->world.model, p->reference.signals[i].id);

	assert(e && e->kind == ENTITY_ANCHOR);
	return anchor_of(e);
}

static bool
has_alarm(const struct reference *ref, int session)
{
	for (int i = 0; i < REF_SIGNALS; i++)
		if (ref->signals[i].id && ref->signals[i].alarm && ref->signals[i].session == session)
			return true;
	return false;
}

/* Those of the model and of what is given first are told from those of the slot by a hundred. */
static int
expect_signal(struct property *p, const struct ref_signal *made, const char *name)
{
	const struct reference *ref = &p->reference;
	uint64_t left[QUOTA_N_KINDS];
	int r;

	ref_left(ref, made->session, left);
	if (ref->sessions[made->session].closing)
		return ANCHOR_E_CLOSING + 100;
	if (made->alarm && has_alarm(ref, made->session))
		return ANCHOR_E_ALARM + 100;
	if (left[QUOTA_RAM] < 512)
		return ANCHOR_E_QUOTA_RAM + 100;
	r = property_expect_slot(p, made->session, name);
	return !r && left[QUOTA_RAM] < 1024 ? CAPABILITY_E_QUOTA_RAM : r;
}

void
op_signal(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS), place = ref_free_signal(ref), answer;
	struct ref_signal made = {.session = session, .alarm = property_random(p, 2)};
	struct anchor_record record = {.type = TYPE_SIGNAL, .flags = made.alarm ? ANCHOR_ALARM : 0};
	struct ref_cap first = {
		.session = session, .parent = -1, .signal = place + 1, .rights = RIGHTS_COMMON | RIGHT_RAISE | RIGHT_WAIT,
		.calls_limit = UINT64_MAX, .conns_limit = UINT64_MAX, .rate_limit = UINT64_MAX, .expires = UINT64_MAX,
	};
	struct capability *c;
	struct change *ch;
	struct anchor *a;
	char name[8];

	if (session < 0 || place < 0 || ref_free_cap(ref) < 0)
		return;
	property_name(p, name, 'c', 10);
	ch = change_begin(p->world.model);
	answer = anchor_add(ch, property_session(p, session), &record, NULL, &a);
	answer += answer > 0 ? 100 : 0;
	if (answer == 0)
		answer = capability_originate(ch, TYPE_SIGNAL, &a->entity, property_session(p, session), name,
			strlen(name), first.rights, 0, &c);
	if (!property_done(p, ch, answer, expect_signal(p, &made, name)))
		return;
	made.id = a->entity.id;
	ref->signals[place] = made;
	property_add_cap(p, &first, c);
}

static void
add(struct ref_signal *s, uint64_t n)
{
	s->count = n > UINT64_MAX - s->count ? UINT64_MAX : s->count + n;
}

static void
fault(struct property *p)
{
	struct reference *ref = &p->reference;
	int session = PICK(p, ref->sessions, REF_SESSIONS);
	struct change *ch;

	if (session < 0)
		return;
	ch = change_begin(p->world.model);
	if (!property_done(p, ch, anchors_alarm(ch, property_session(p, session)), 0))
		return;
	for (; session >= 0; session = ref->sessions[session].parent)
		for (int i = 0; i < REF_SIGNALS; i++)
			if (ref->signals[i].id && ref->signals[i].alarm && ref->signals[i].session == session &&
				!ref->sessions[session].closing)
				add(&ref->signals[i], 1);
}

/* Who is connected through a slot raises, or takes; or there is a fault. */
void
op_raise(struct property *p)
{
	struct reference *ref = &p->reference;
	int cap = PICK(p, ref->caps, REF_CAPS);
	uint64_t n = property_random(p, 10) ? 1 + property_random(p, 5) : UINT64_MAX - property_random(p, 2);
	uint32_t rights;
	struct anchor *a;
	struct change *ch;

	if (property_random(p, 3) == 0) {
		fault(p);
		return;
	}
	for (int i = 0; cap >= 0 && i < 4 && !ref->caps[cap].signal; i++)
		cap = PICK(p, ref->caps, REF_CAPS);
	if (cap < 0 || !ref->caps[cap].signal || !ref_cap_live(ref, cap, world_now()))
		return;
	rights = ref_cap_rights(ref, cap);
	a = property_signal(p, ref->caps[cap].signal - 1);
	ch = change_begin(p->world.model);
	if (rights & RIGHT_RAISE && property_random(p, 3)) {
		if (property_done(p, ch, anchor_raise(ch, a, n), 0))
			add(&ref->signals[ref->caps[cap].signal - 1], n);
	} else if (rights & RIGHT_WAIT) {
		if (property_done(p, ch, anchor_take(ch, a), 0))
			ref->signals[ref->caps[cap].signal - 1].count = 0;
	} else {
		change_abort(ch);
	}
}

/* One goes with its last slot, and not before that; ALL: nothing is left to do. */
void
property_signals_reaped(struct property *p, bool all)
{
	struct reference *ref = &p->reference;

	for (int i = 0; i < REF_SIGNALS; i++) {
		struct ref_signal *s = &ref->signals[i];
		bool used = false;

		for (int k = 0; s->id && k < REF_CAPS; k++)
			used = used || (ref->caps[k].id && ref->caps[k].signal == i + 1);
		if (s->id && entity_find(p->world.model, s->id)) {
			assert(used || !all);
		} else if (s->id) {
			assert(!used);
			s->id = 0;
		}
	}
}

void
property_compare_signals(struct property *p)
{
	struct reference *ref = &p->reference;
	uint64_t n = 0;

	for (int i = 0; i < REF_SIGNALS; i++) {
		const struct ref_signal *expected = &ref->signals[i];
		const struct anchor *a = expected->id ? property_signal(p, i) : NULL;

		if (!a)
			continue;
		assert(a->record.count == expected->count);
		assert(a->session->entity.id == ref->sessions[expected->session].id);
		assert(!!(a->record.flags & ANCHOR_ALARM) == expected->alarm);
		n++;
	}
	assert(n == p->world.model->n[ENTITY_ANCHOR]);
}
