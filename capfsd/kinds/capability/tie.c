/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ties. Nothing of what they mean is stored in the slot: whether it lives, what it may and when it expires is asked
 * of both that it comes from. That is a walk up two ways, each of which may lead over another tie; so few of these
 * may follow each other, and all the ways together are no longer than one may be.
 */
#include "config.h"

#include "capfsd/kinds/capability/tie.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/capability/derive.h"
#include "capfsd/kinds/capability/use.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct tie_record) == 16, "stored");

bool
tie_is_over(const struct tie *t)
{
	return !t->through || capability_is_doomed(t->through);
}

uint32_t
tie_rights(const struct tie *t)
{
	uint32_t rights = t->through ? capability_rights(t->through) : 0;

	return (rights & RIGHTS_COMMON) | (rights & RIGHT_CALL ? ~(uint32_t)RIGHTS_COMMON : 0);
}

uint64_t
tie_expires(const struct tie *t)
{
	return t->through ? capability_expires(t->through) : 0;
}

/* How many follow each other up to C, at most. The nearest knows of all above it. */
static unsigned
depth_of(const struct capability *c)
{
	while (c && !c->tie)
		c = c->parent;
	return c ? c->tie->entity.depth : 0;
}

static uint16_t
depth_below(const struct capability *through, const struct capability *target)
{
	unsigned a = through ? depth_of(through) : 0, b = depth_of(target);

	return (uint16_t)((a > b ? a : b) + 1);
}

/* How many there are on all ways up from C, each as often as it is met. */
static unsigned
ways_of(const struct capability *c)
{
	unsigned n = 0;

	for (; c; c = c->parent)
		n += 1 + (c->tie ? ways_of(c->tie->through) : 0);
	return n;
}

static void
tie_init(struct model *m, struct entity *e)
{
	list_init(&tie_of(e)->through_link);
}

static struct place
tie_place(const struct entity *e)
{
	struct session *s = tie_of(e)->capability->session;

	return (struct place){&s->entity, &s->owned[ENTITY_TIE], s};
}

static struct session *
tie_session(const struct entity *e)
{
	return tie_of(e)->capability->session;
}

static bool
tie_is_shown(const struct entity *e)
{
	return false;
}

static bool
tie_is_doomed(const struct entity *e)
{
	return capability_is_doomed(tie_of(e)->capability);
}

/* No mark stands anywhere for what is not there. */
static bool
tie_is_ending(const struct entity *e)
{
	return !tie_of(e)->through;
}

/* A daemon that knows no ties may have ended either: the slot, with which the tie goes, or what it must end with. */
static int
tie_resolve(struct model *m, struct entity *e)
{
	struct tie *t = tie_of(e);
	struct entity *c = entity_find(m, t->record.capability), *through = entity_find(m, t->record.through);

	if (t->record.capability >= e->id || t->record.through >= t->record.capability)
		return -EBADMSG;
	if (!c)
		return -ENOENT;
	if (c->kind != ENTITY_CAPABILITY || capability_of(c)->tie || !capability_of(c)->parent ||
		(through && through->kind != ENTITY_CAPABILITY))
		return -EBADMSG;
	t->capability = capability_of(c);
	t->through = through ? capability_of(through) : NULL;
	e->depth = depth_below(t->through, t->capability->parent);
	return e->depth <= TIE_DEPTH_MAX ? 0 : -EBADMSG;
}

static struct tie *
next_in_ring(const struct tie *t)
{
	return list_entry(t->through_link.next, struct tie, through_link);
}

const struct tie *
tie_next(const struct tie *t)
{
	const struct tie *next = next_in_ring(t);

	return next == t->through->ties ? NULL : next;
}

static void
tie_link(struct model *m, struct entity *e)
{
	struct tie *t = tie_of(e);

	t->capability->tie = t;
	if (!t->through)
		return;
	if (t->through->ties)
		list_append(&t->through->ties->through_link, &t->through_link);
	else
		t->through->ties = t;
}

static void
tie_unlink(struct model *m, struct entity *e)
{
	struct tie *t = tie_of(e);

	t->capability->tie = NULL;
	if (t->through && t->through->ties == t)
		t->through->ties = list_empty(&t->through_link) ? NULL : next_in_ring(t);
	list_unlink(&t->through_link);
}

/* With the slot, of which it is a part. */
static int
tie_reap(struct reaper *r, struct entity *e)
{
	return change_drops(e) ? 0 : reap_entity(r, &tie_of(e)->capability->entity);
}

static bool
is_in_ring(const struct tie *t)
{
	const struct tie *i = t->through->ties;

	while (i && i != t)
		i = tie_next(i);
	return i;
}

static void
tie_check(struct model *m, struct entity *e)
{
	const struct tie *t = tie_of(e);

	model_holds(M19, t->capability->tie == t && t->record.capability == t->capability->entity.id);
	model_holds(M19, t->through ? is_in_ring(t) : list_empty(&t->through_link));
	model_holds(M19, !t->through || t->record.through == t->through->entity.id);
	model_holds(M19, t->record.through < t->record.capability && t->capability->parent);
	model_holds(M19, e->depth <= TIE_DEPTH_MAX);
	model_holds(M19, e->depth == depth_below(t->through, t->capability->parent));
}

const struct kind tie_kind = {
	.size = sizeof(struct tie),
	.record_offset = offsetof(struct tie, record),
	.record_bytes = sizeof(struct tie_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.later = true,
	.init = tie_init,
	.place = tie_place,
	.session = tie_session,
	.is_shown = tie_is_shown,
	.is_doomed = tie_is_doomed,
	.is_ending = tie_is_ending,
	.resolve = tie_resolve,
	.link = tie_link,
	.unlink = tie_unlink,
	.reap = tie_reap,
	.check = tie_check,
};

static int
tie_add(struct change *ch, struct capability *c, struct capability *through)
{
	char name[NUMBER_BYTES_MAX];
	enum quota_kind kind;
	struct entity *e;
	int n;

	if (!change_affords(ch, c->session, &tie_kind.cost, &kind))
		return CAPABILITY_E_QUOTA_RAM;
	n = snprintf(name, sizeof(name), "%" PRIu64, c->entity.id);
	e = entity_new(change_model(ch), ENTITY_TIE, name, (size_t)n);
	if (!e)
		return -ENOMEM;
	tie_of(e)->capability = c;
	tie_of(e)->through = through;
	tie_of(e)->record = (struct tie_record){c->entity.id, through->entity.id};
	e->depth = depth_below(through, c->parent);
	return change_add(ch, e);
}

int
tie_copy(struct change *ch, const struct capability *from, struct capability *to)
{
	return from->tie ? tie_add(ch, to, from->tie->through) : 0;
}

/*
 * What THROUGH may not pass on nobody gets through it. What is asked for and is not there is refused, what is there
 * and is not asked for is left out: as it is with any derivation.
 */
static int
let_pass(struct change *ch, const struct capability *through, const struct reductions *how,
	struct capability_record *record)
{
	uint32_t common = derive_held(ch, through).rights | ~(uint32_t)RIGHTS_COMMON;

	if (how->has_rights && (how->rights & ~common))
		return CAPABILITY_E_NOT_HELD;
	if (how->has_expires && how->expires_usec > capability_expires(through))
		return CAPABILITY_E_NOT_SMALLER;
	record_set_rights(record, record_rights(record) & common);
	return 0;
}

int
capability_reach(struct change *ch, struct capability *through, struct capability *target, uint32_t right,
	struct session *to, const char *name, size_t n_name, const struct reductions *how, uid_t by_uid,
	struct capability **ret, struct capability **ret_of)
{
	struct capability_record record;
	struct capability *c = NULL;
	int r = capability_use(ch, through, RIGHT_CALL);

	*ret_of = through;
	if (r == 0 && !(derive_held(ch, through).rights & right))
		r = CAPABILITY_E_RIGHT;
	if (r)
		return r;
	*ret_of = target;
	r = derive_record(ch, target, right, how, by_uid, &record);
	if (r == 0 && depth_below(through, target) > TIE_DEPTH_MAX)
		r = CAPABILITY_E_TIES;
	else if (r == 0 && ways_of(through) + ways_of(target) > DERIVATION_DEPTH_MAX)
		r = CAPABILITY_E_DEPTH;
	if (r)
		return r;
	*ret_of = through;
	r = let_pass(ch, through, how, &record);
	if (r == 0)
		r = derive_slot(ch, target, to, name, n_name, how, &record, &c);
	if (r == 0)
		r = tie_add(ch, c, through);
	if (r == 0)
		*ret = c;
	return r;
}

/* Their number is bounded, and each of them is one that has ended. */
int
ties_reap(struct reaper *r, struct capability *c)
{
	int a = 0;

	for (const struct tie *t = c->ties; a == 0 && t; t = tie_next(t))
		a = reap_entity(r, &t->capability->entity);
	return a;
}

void
ties_touch_below(struct model *m, struct capability *c, entity_toucher *touch, uint64_t stamp)
{
	for (const struct tie *t = c->ties; t; t = tie_next(t))
		entity_touch_below(m, &t->capability->entity, touch, stamp);
}

/* Only what is for an anchor has any: of what else a million may be derived, nothing is walked for this. */
void
ties_tell_restricted(struct model *m, struct capability *top)
{
	if (m->n[ENTITY_TIE] == 0 || top->target->kind != ENTITY_ANCHOR)
		return;
	for (struct capability *c = top; c; c = capability_next_below(top, c))
		for (const struct tie *t = c->ties; t; t = tie_next(t))
			entity_tell_restricted(m, &t->capability->entity);
}
