/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removing what has ended, a slice at a time. The model has a list of the roots of what is to go; a
 * slice goes through it from the front and stages entities, leaves first, until its budget is used
 * up. Nothing is unlinked before the commit, so the walks see the whole of each tree, and step over
 * what the same slice has staged already, perhaps for another root.
 *
 * Each slice is a transaction of its own, after which the model is whole: a daemon that dies
 * between two of them finds the roots again, as their records say that they have ended. Only the
 * broker's loop calls it, between requests: what has ended is dead from its mark on, so nothing
 * waits for it but quota and names.
 */
#include "config.h"

#include "capfsd/model/reap.h"

#include <errno.h>

#include "base/error.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

int
reap_one(struct reaper *r, struct entity *e)
{
	if (change_drops(e))
		return 0;
	if (r->left == 0)
		return 1;
	r->left--;
	return change_drop(r->ch, e);
}

int
reap_entity(struct reaper *r, struct entity *e)
{
	return entity_kind(e)->reap ? entity_kind(e)->reap(r, e) : reap_one(r, e);
}

static int
reap_root(struct reaper *r, struct entity *e)
{
	const struct kind *kind = entity_kind(e);

	return kind->reap_ended ? kind->reap_ended(r, e) : reap_entity(r, e);
}

/*
 * Roots that went were unlinked from the list with that. What lives on leaves it here, when the
 * last of it that had ended has gone. Only the front is looked at, since slices work from there.
 */
static void
forget_finished(struct model *m)
{
	while (!list_empty(&m->ending)) {
		struct entity *e = list_entry(m->ending.next, struct entity, ending_link);

		if (entity_is_ending(e))
			return;
		list_unlink(&e->ending_link);
	}
}

/*
 * The budget may be used up in the middle of a tree: what is staged by then are leaves, so that the
 * rest of the tree is whole and the next slice goes on with it.
 */
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

/*
 * Ending something may need a page of the store for each entity, if they are scattered; a store
 * without room for all of them at once has it for a few, and gets more by that. With one entity
 * there is nothing left to try.
 */
bool
model_adapt_slice(struct model *m, unsigned n, int r)
{
	if (r == -ENOSPC && n > 1) {
		m->slice = n / 2;
		return true;
	}
	if (r >= 0 && m->slice < SLICE_MAX)
		m->slice *= 2;
	return false;
}

/* At least one entity goes in each slice, or a caller with a budget of 0 would call for ever. */
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

/*
 * A front asks before it replies to what has ended something: until this is false its quota and its
 * name are not free again, and the client would be refused the very next thing that it does.
 */
bool
model_is_ending(struct model *m, uint64_t id)
{
	struct entity *e = entity_find(m, id);

	return e && (entity_is_doomed(e) || entity_is_ending(e) ||
			    (entity_kind(e)->is_busy && entity_kind(e)->is_busy(e)));
}
