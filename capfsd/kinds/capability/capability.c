/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The row of capabilities: how one hangs in its session, on what it was derived from, and on its
 * target, and how a whole tree of derivations ends. Derivations are deep and wide: all walks go
 * along the links, never by recursion.
 *
 * The model calls the row; verbs and fronts call derive.c, which stages, and limits.c, which reads.
 * Nothing here asks what a target is: only its type's row knows that. A mark in one record ends a
 * whole tree at once, and what follows (connections, reaping) may take its time, since every
 * question about a capability walks up to the mark.
 */
#include "config.h"

#include "capfsd/kinds/capability/capability.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/declined.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/kinds/capability/expiry.h"
#include "capfsd/kinds/asking/policy.h"
#include "capfsd/kinds/capability/resolve.h"
#include "capfsd/kinds/capability/tie.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/kinds/capability/use.h"
#include "capfsd/kinds/visit.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

#define HELD_LOOKS_MAX 1024 /* others may be many that have ended, and are being removed */

/* Stores of all versions have it like this, so what it grows by comes from `reserved`. */
_Static_assert(sizeof(struct capability_record) == 152, "stored");
_Static_assert(METHODS_MAX <= UINT8_MAX, "the record has a byte for their number");

/*
 * By marks alone, so it is true for ever once it is true: the reaper goes by it, and it must not
 * take what would live again if the clock were set back. Expiry therefore is none of it.
 */
bool
capability_is_doomed(const struct capability *c)
{
	if (entity_is_doomed(c->target))
		return true;
	for (; c; c = c->parent)
		if ((c->record.flags & CAPABILITY_DEAD) ||
			c->session->record.state != SESSION_RUNNING ||
			(c->parent && c->entity.id <= c->parent->record.revoked_upto) ||
			(c->visit && visit_is_over(c->visit)) || (c->tie && tie_is_over(c->tie)))
			return true;
	return false;
}

/*
 * Some of C's children were ended by revoked_upto and are still there. Children stand in the order
 * of their ids, so the first one tells.
 */
static bool
has_revoked(const struct capability *c)
{
	struct list *first = list_first(&c->children);

	return first && list_entry(first, struct capability, sibling_link)->entity.id <=
		c->record.revoked_upto;
}

struct capability *
capability_next_beside(const struct capability *top, struct capability *c)
{
	while (c != top) {
		if (c->sibling_link.next != &c->parent->children)
			return list_entry(c->sibling_link.next, struct capability, sibling_link);
		c = c->parent;
	}
	return NULL;
}

struct capability *
capability_next_below(const struct capability *top, struct capability *c)
{
	struct list *first = list_first(&c->children);

	return first ? list_entry(first, struct capability, sibling_link)
		     : capability_next_beside(top, c);
}

static void
capability_init(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);

	list_init(&c->children);
	list_init(&c->sibling_link);
	list_init(&c->aliases);
	list_init(&c->caveats);
	list_init(&c->shares);
	list_init(&c->origin_link);
}

static struct place
capability_place(const struct entity *e)
{
	struct session *s = capability_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_CAPABILITY], s};
}

/*
 * All its caveats are there, or it cannot be called: a daemon that did not know them has made it of another one,
 * or lost some of them.
 */
static int
capability_finish(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);
	unsigned n = record_n_caveats(&c->record), there = caveats_count_own(c);

	if (n != there)
		record_set(&c->record, record_rights(&c->record) & ~(uint32_t)RIGHT_CALL, n > there ? n : there);
	return 0;
}

static uint64_t
holder_hash(const struct capability *parent, const struct session *s)
{
	return index_hash_id(parent->entity.id ^ index_hash_id(s->entity.id));
}

/* What S has that was derived from PARENT: the first of them, which alone is in the index. */
static struct capability *
find_first(struct model *m, const struct session *s, const struct capability *parent)
{
	struct index_link *i = index_first(&m->by_holder, holder_hash(parent, s));

	for (; i; i = index_next(i)) {
		struct capability *c = container_of(i, struct capability, held_link);

		if (c->parent == parent && c->session == s)
			return c;
	}
	return NULL;
}

static void
make_first(struct model *m, struct capability *c)
{
	/* As with the other indexes, there are buckets. */
	if (index_add(&m->by_holder, &c->held_link, holder_hash(c->parent, c->session)) < 0)
		abort();
}

/* Only one of many twins is in the index, since a chain of equal hashes is slow to remove from. */
static void
link_holder(struct model *m, struct capability *c)
{
	struct capability *first = find_first(m, c->session, c->parent);

	if (first)
		list_append(&first->twins, &c->twins);
	else
		make_first(m, c);
}

/*
 * The ring is left before the question who is in the index; where that was C, the next of its twins
 * takes the place, or all of them would be found by nobody.
 */
static void
unlink_holder(struct model *m, struct capability *c)
{
	struct list *next = c->twins.next;
	bool alone = list_empty(&c->twins);

	list_unlink(&c->twins);
	if (find_first(m, c->session, c->parent) != c)
		return;
	index_remove(&m->by_holder, &c->held_link);
	if (!alone)
		make_first(m, list_entry(next, struct capability, twins));
}

/*
 * An origin is listed by its target, whose end it shares; everything else by what it was derived
 * from.
 */
static void
capability_link(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);

	if (c->parent) {
		list_append(&c->parent->children, &c->sibling_link);
		c->parent->n_children++;
		link_holder(m, c);
		/*
		 * In what was loaded the parent's record came first, and told of nobody yet;
		 * without this what was revoked before a restart would never be removed.
		 */
		if (c->entity.id <= c->parent->record.revoked_upto)
			entity_set_ending(m, &c->parent->entity);
	} else {
		list_append(capability_type(c)->origins(c->target), &c->origin_link);
	}
	expiry_add(m, c);
}

static void
capability_unlink(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);

	assert(list_empty(&c->children) && list_empty(&c->aliases) && list_empty(&c->caveats) &&
		list_empty(&c->shares) && !c->ties && !c->visit && !c->tie);
	list_unlink(&c->sibling_link);
	if (c->parent) {
		c->parent->n_children--;
		unlink_holder(m, c);
	} else {
		list_unlink(&c->origin_link);
		/* What lasts as long as it has an origin goes next. */
		if (entity_is_ending(c->target))
			entity_set_ending(m, c->target);
	}
	expiry_remove(m, c);
}

/* What is smaller here is smaller for everything below it too, whose files show what counts. */
static bool
is_shown_below(const struct capability_record *r, const struct capability_record *before)
{
	return record_rights(r) != record_rights(before) || r->calls_limit != before->calls_limit ||
		r->conns_limit != before->conns_limit || r->rate_limit != before->rate_limit ||
		r->expires_usec != before->expires_usec || r->n_methods != before->n_methods ||
		memcmp(r->methods, before->methods, sizeof(r->methods)) != 0 ||
		record_n_caveats(r) != record_n_caveats(before);
}

/*
 * Is what its commands say, or who may use it, other than before? All else of a record are numbers in texts, and
 * what the kernel has of the other files stays true.
 */
static bool
is_other(const struct capability_record *r, const struct capability_record *before)
{
	return record_rights(r) != record_rights(before) || r->mode != before->mode || r->uid != before->uid ||
		r->gid != before->gid || r->flags != before->flags;
}

/*
 * The mark of a revocation counts as an end, though C itself lives: its children have connections.
 */
static unsigned
capability_applied(struct model *m, struct entity *e, const void *old)
{
	struct capability *c = capability_of(e);
	const struct capability_record *r = &c->record, *before = old;
	bool reduced = is_shown_below(r, before);
	bool ended = ((r->flags & ~before->flags) & CAPABILITY_DEAD) ||
		r->revoked_upto != before->revoked_upto;

	if (ended)
		entity_set_ending(m, e);
	expiry_follow(m, c, before);
	return (ended || reduced ? APPLIED_RESTRICTED : 0) | (reduced ? APPLIED_BELOW : 0) |
		(is_other(r, before) ? 0 : APPLIED_SHOWN);
}

/*
 * Twins that have ended may be many, until they are removed; so the search ends somewhere. What it
 * misses then is found by nobody, and the asker gets one more slot than it needs, which is no harm.
 */
struct capability *
capability_next_in(struct model *m, const struct session *s, struct capability *c,
	struct capability *before)
{
	struct capability *first = find_first(m, s, c), *i = before ? before : first;

	for (unsigned n = 0; i && n < HELD_LOOKS_MAX; n++) {
		if (i != before && capability_is_live(i))
			return i;
		i = list_entry(i->twins.next, struct capability, twins);
		if (i == first)
			break;
	}
	return NULL;
}

/* Upwards first: whoever has what C was derived from has all that C gives, and more. */
struct capability *
capability_slot_in(struct model *m, const struct session *s, struct capability *c)
{
	for (struct capability *i = c; i; i = i->parent)
		if (i->session == s)
			return i;
	return capability_next_in(m, s, c, NULL);
}

static struct session *
capability_session(const struct entity *e)
{
	return capability_of(e)->session;
}

/* An expired one is hidden at once, even before the broker comes to end it. */
static bool
capability_is_shown(const struct entity *e)
{
	return capability_is_live(capability_of(e));
}

static bool
is_doomed(const struct entity *e)
{
	return capability_is_doomed(capability_of(e));
}

/* One that lives may have children that were revoked; then it stays and they go. */
static bool
capability_is_ending(const struct entity *e)
{
	const struct capability *c = capability_of(e);

	return (c->record.flags & CAPABILITY_DEAD) || has_revoked(c);
}

/* Its connections are gone; any that nobody gave back must not count against its ancestors for ever. */
static void
capability_gone(struct entity *e)
{
	while (capability_of(e)->conns_used > 0)
		capability_disconnected(capability_of(e));
}

static struct capability *
first_leaf(struct capability *c)
{
	while (!list_empty(&c->children))
		c = list_entry(c->children.next, struct capability, sibling_link);
	return c;
}

/* The next in an order that gives children before parents. C is not the top. */
static struct capability *
next_leaf_first(struct capability *c)
{
	if (c->sibling_link.next == &c->parent->children)
		return c->parent;
	return first_leaf(list_entry(c->sibling_link.next, struct capability, sibling_link));
}

/*
 * A slot may have to go because of what its visit was made for, or what it is tied to, and has no other mark of that:
 * where it does not go together with its visit or tie it gets one.
 */
static int
reap_bound(struct reaper *r, struct capability *c)
{
	struct capability_record *record;
	int e = c->visit ? reap_entity(r, &c->visit->entity) : reap_one(r, &c->tie->entity);

	if (e)
		return e;
	e = reap_one(r, &c->entity);
	if (e <= 0)
		return e;
	record = change_edit(r->ch, &c->entity);
	if (!record)
		return -ENOMEM;
	record->flags |= CAPABILITY_DEAD;
	return e;
}

static int
reap_slot(struct reaper *r, struct capability *c)
{
	struct list *lists[] = {&c->aliases, &c->caveats, &c->shares};
	int e = ties_reap(r, c);

	for (size_t n = 0; e == 0 && n < sizeof(lists) / sizeof(lists[0]); n++)
		list_for_each (i, lists[n]) {
			e = reap_one(r, list_entry(i, struct entity, owner_link));
			if (e)
				break;
		}
	if (e == 0 && c->ruled)
		e = reap_one(r, &c->ruled->entity);
	if (e)
		return e;
	return c->visit || c->tie ? reap_bound(r, c) : declined_reap(r, c);
}

/* Leaves first, so that whenever the budget ends nothing is left without its parent. */
static int
reap_tree(struct reaper *r, struct capability *top)
{
	for (struct capability *c = first_leaf(top);; c = next_leaf_first(c)) {
		int e = reap_slot(r, c);

		if (e || c == top)
			return e;
	}
}

static int
capability_reap(struct reaper *r, struct entity *e)
{
	return reap_tree(r, capability_of(e));
}

/*
 * Children behind the mark were derived later, and live; they stand last, so the walk may stop
 * there.
 */
static int
reap_revoked(struct reaper *r, struct capability *c)
{
	list_for_each (i, &c->children) {
		struct capability *child = list_entry(i, struct capability, sibling_link);
		int e;

		if (child->entity.id > c->record.revoked_upto)
			break;
		e = reap_tree(r, child);
		if (e)
			return e;
	}
	return 0;
}

static int
capability_reap_ended(struct reaper *r, struct entity *e)
{
	struct capability *c = capability_of(e);

	return c->record.flags & CAPABILITY_DEAD ? reap_tree(r, c) : reap_revoked(r, c);
}

/*
 * All ancestors show what is derived from them (`holders`), and who asks for their attributes need not ask again for
 * that. One that has the stamp has passed it on to its own already: a thousand siblings that go at once cost one
 * walk. An origin has nobody above but the entrypoint, which shows how many there are.
 */
static void
capability_touch(struct model *m, struct entity *e, uint64_t stamp)
{
	struct capability *c = capability_of(e);
	struct entrypoint *ep = c->parent ? NULL : capability_entrypoint(c);

	for (c = c->parent; c && entity_touch_shown(m, &c->entity, stamp);)
		c = c->parent;
	if (ep)
		entity_touch(m, &ep->entity, stamp);
}

/* All that is derived from it shows its limits. */
static void
capability_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	struct capability *top = capability_of(e);

	for (struct capability *c = top; c; c = capability_next_below(top, c)) {
		touch(m, &c->entity, stamp);
		ties_touch_below(m, c, touch, stamp);
	}
}

static void
capability_tell_restricted(struct model *m, struct entity *e)
{
	model_tell_restricted(m, capability_of(e));
	ties_tell_restricted(m, capability_of(e));
}

static void
check_family(struct model *m, const struct capability *c)
{
	const struct capability *first;
	uint64_t n = 0, last = 0, conns = 0;

	model_holds(M13, c->record.parent == (c->parent ? c->parent->entity.id : 0));
	model_holds(M13, list_empty(&c->sibling_link) == !c->parent);
	if (c->parent) {
		const struct capability *twin = list_entry(c->twins.next, struct capability, twins);

		model_holds(M12, c->parent->target == c->target);
		model_holds(M12, c->parent->record.type == c->record.type);
		model_holds(M04, c->entity.depth == c->parent->entity.depth + 1);
		model_holds(M14, twin->parent == c->parent && twin->session == c->session);
		first = find_first(m, c->session, c->parent);
		model_holds(M14, first && (first == c || !list_empty(&c->twins)));
	} else {
		model_holds(M13, !list_empty(&c->origin_link));
	}
	list_for_each (i, &c->children) {
		struct capability *child = list_entry(i, struct capability, sibling_link);

		model_holds(M13, child->parent == c && child->entity.id > last);
		last = child->entity.id;
		conns += child->conns_used;
		n++;
	}
	model_holds(M13, n == c->n_children);
	model_holds(M21, conns <= c->conns_used);
}

static void
capability_check(struct model *m, struct entity *e)
{
	const struct capability *c = capability_of(e);
	const struct type *type = capability_type(c);

	model_holds(M10, c->record.type < N_CAPABILITY_TYPES);
	model_holds(M10, c->target->id == c->record.target && c->target->kind == type->target);
	model_holds(M03, c->session->entity.id == c->record.session);
	model_holds(M11, c->record.rights && !(c->record.rights & ~(RIGHTS_COMMON | type->rights)));
	model_holds(M20, c->record.calls_used <= c->record.calls_limit);
	check_list(&capability_of(e)->aliases, ENTITY_ALIAS, e);
	model_holds(M17, record_n_caveats(&c->record) == 0 || !(c->record.rights & RIGHT_CALL));
	model_holds(M17, record_n_caveats(&c->record) == check_list(&capability_of(e)->caveats, ENTITY_CAVEAT, e) ||
		!(record_rights(&c->record) & RIGHT_CALL) || capability_is_doomed(c));
	model_expect(check_list(&capability_of(e)->shares, ENTITY_SHARE, e) <= 1);
	for (const struct tie *t = c->ties; t; t = tie_next(t))
		model_holds(M19, t->through == c);
	check_family(m, c);
	expiry_check(m, c);
}

/*
 * The first of each ring of twins is in the index, and no other: two would be found by chance, and
 * one of them would stay there when it is freed.
 */
static void
capability_check_all(struct model *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->by_holder.size; i++)
		for (struct index_link *l = m->by_holder.buckets[i]; l; l = l->next) {
			const struct capability *c = container_of(l, struct capability, held_link);

			model_holds(M14, find_first(m, c->session, c->parent) == c);
			n++;
		}
	model_holds(M14, n == m->by_holder.n);
	expiry_check_all(m);
}

/* Daemons that know objects alone would take a record of another type for damage. */
static bool
capability_is_later(const void *record)
{
	return ((const struct capability_record *)record)->type != TYPE_OBJECT;
}

const struct kind capability_kind = {
	.size = sizeof(struct capability),
	.record_offset = offsetof(struct capability, record),
	.record_bytes = sizeof(struct capability_record),
	.cost = {{[QUOTA_CAPS] = 1, [QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.is_later = capability_is_later,
	.later_number = ENTITY_CAPABILITY_LATER,
	.init = capability_init,
	.place = capability_place,
	.session = capability_session,
	.is_shown = capability_is_shown,
	.is_doomed = is_doomed,
	.is_ending = capability_is_ending,
	.resolve = capability_resolve,
	.finish = capability_finish,
	.link = capability_link,
	.unlink = capability_unlink,
	.gone = capability_gone,
	.applied = capability_applied,
	.reap = capability_reap,
	.reap_ended = capability_reap_ended,
	.touch = capability_touch,
	.touch_below = capability_touch_below,
	.tell_restricted = capability_tell_restricted,
	.check = capability_check,
	.check_all = capability_check_all,
};
