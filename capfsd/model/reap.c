/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removing what has ended, a slice at a time. The model has a list of the roots of what is to go;
 * a slice goes through it from the front and stages entities, leaves first, until its budget is
 * used up. Nothing is unlinked before the commit, so the walks see the whole of each tree, and step
 * over what the same slice has staged already, perhaps for another root.
 *
 * Derivations are deep and wide: the walks go along the links, never by recursion.
 */
#include "config.h"

#include <errno.h>

#include "base/error.h"
#include "capfsd/model/private.h"

struct reaper {
	struct change *ch;
	unsigned left;
};

/* Returns: 0, 1 when the budget is used up, -ENOMEM. So do all that follow. */
static int
reap_one(struct reaper *r, struct entity *e)
{
	if (e->staged && e->staged->dropped)
		return 0;
	if (r->left == 0)
		return 1;
	r->left--;
	return change_drop(r->ch, e);
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

static int
reap_tree(struct reaper *r, struct capability *top)
{
	for (struct capability *c = first_leaf(top);; c = next_leaf_first(c)) {
		int e = reap_one(r, &c->entity);

		if (e || c == top)
			return e;
	}
}

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
reap_object(struct reaper *r, struct object *o)
{
	list_for_each (i, &o->origins) {
		int e = reap_tree(r, list_entry(i, struct capability, origin_link));

		if (e)
			return e;
	}
	return reap_one(r, &o->entity);
}

static int
reap_entrypoint(struct reaper *r, struct entrypoint *ep)
{
	int e = 0;

	list_for_each (i, &ep->objects) {
		e = reap_object(r, list_entry(i, struct object, entity.owner_link));
		if (e)
			return e;
	}
	/* In one with its thread, to which its record refers. */
	if (ep->thread && r->left > 0)
		e = change_drop(r->ch, &ep->thread->entity);
	return e ? e : reap_one(r, &ep->entity);
}

static int
reap_session(struct reaper *r, struct session *s)
{
	int e;

	list_for_each (i, &s->slots) {
		e = reap_tree(r, list_entry(i, struct capability, entity.owner_link));
		if (e)
			return e;
	}
	list_for_each (i, &s->entrypoints) {
		e = reap_entrypoint(r, list_entry(i, struct entrypoint, entity.owner_link));
		if (e)
			return e;
	}
	return reap_one(r, &s->entity);
}

static int
reap_root(struct reaper *r, struct entity *e)
{
	switch ((enum entity_kind)e->kind) {
	case ENTITY_SESSION:
		return reap_session(r, session_of(e));
	case ENTITY_CAPABILITY:
		if (capability_of(e)->record.flags & CAPABILITY_DEAD)
			return reap_tree(r, capability_of(e));
		return reap_revoked(r, capability_of(e));
	case ENTITY_ENTRYPOINT:
		return reap_entrypoint(r, entrypoint_of(e));
	case ENTITY_OBJECT:
		return reap_object(r, object_of(e));
	case ENTITY_THREAD:
	case ENTITY_N_KINDS:
		break;
	}
	return 0;
}

/* Capabilities that live on leave the list when the last of their revoked children has gone. */
static void
forget_finished(struct model *m)
{
	while (!list_empty(&m->ending)) {
		struct entity *e = list_entry(m->ending.next, struct entity, ending_link);

		if (e->kind != ENTITY_CAPABILITY ||
			(capability_of(e)->record.flags & CAPABILITY_DEAD) ||
			capability_has_revoked(capability_of(e)))
			return;
		list_unlink(&e->ending_link);
	}
}

static int
reap_slice(struct model *m, unsigned n)
{
	struct reaper r = {.ch = change_begin(m), .left = n};
	int e = 0;

	list_for_each (i, &m->ending) {
		e = reap_root(&r, list_entry(i, struct entity, ending_link));
		if (e)
			break;
	}
	if (e < 0) {
		change_abort(r.ch);
		return error_trace(e);
	}
	return change_commit(r.ch);
}

int
model_reap(struct model *m, unsigned budget)
{
	unsigned n;
	int e;

	if (list_empty(&m->ending))
		return 0;
	do {
		n = budget < m->slice ? budget : m->slice;
		n = n > 0 ? n : 1;
		e = reap_slice(m, n);
	} while (model_adapt_slice(m, n, e));
	if (e < 0)
		return e;
	forget_finished(m);
	return !list_empty(&m->ending);
}

bool
model_is_ending(struct model *m, uint64_t id)
{
	struct entity *e = entity_find(m, id);

	if (!e)
		return false;
	return entity_is_doomed(e) ||
		(e->kind == ENTITY_CAPABILITY && capability_has_revoked(capability_of(e)));
}
