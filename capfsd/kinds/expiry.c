/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which capability expires next: a tree in order of time, and of ids where that is the same, held
 * in balance by chance: a parent's rank, which nobody outside can foresee, is above its children's
 * (a treap). Nothing is allocated, so that linking a capability cannot fail.
 */
#include "config.h"

#include "capfsd/model/private.h"

static bool
is_before(const struct capability *a, const struct capability *b)
{
	if (a->expiry.usec != b->expiry.usec)
		return a->expiry.usec < b->expiry.usec;
	return a->entity.id < b->entity.id;
}

static bool
ranks_above(const struct capability *a, const struct capability *b)
{
	uint64_t seed = a->session->model->seed;

	return index_hash_id(a->entity.id ^ seed) > index_hash_id(b->entity.id ^ seed);
}

/* What is before AT, and what is after it. */
static void
split(struct capability *tree, const struct capability *at, struct capability **before,
	struct capability **after)
{
	while (tree) {
		if (is_before(tree, at)) {
			*before = tree;
			before = &tree->expiry.after;
			tree = tree->expiry.after;
		} else {
			*after = tree;
			after = &tree->expiry.before;
			tree = tree->expiry.before;
		}
	}
	*before = *after = NULL;
}

/* All of A is before all of B. */
static struct capability *
join(struct capability *a, struct capability *b)
{
	struct capability *tree = NULL, **at = &tree;

	while (a && b) {
		if (ranks_above(a, b)) {
			*at = a;
			at = &a->expiry.after;
			a = a->expiry.after;
		} else {
			*at = b;
			at = &b->expiry.before;
			b = b->expiry.before;
		}
	}
	*at = a ? a : b;
	return tree;
}

static struct capability **
side(struct capability *tree, const struct capability *c)
{
	return is_before(c, tree) ? &tree->expiry.before : &tree->expiry.after;
}

void
expiry_remove(struct model *m, struct capability *c)
{
	struct capability **at = &m->expiring;

	if (c->expiry.usec == LIMIT_NONE)
		return;
	while (*at != c)
		at = side(*at, c);
	*at = join(c->expiry.before, c->expiry.after);
	c->expiry = (struct expiry){.usec = LIMIT_NONE};
}

void
expiry_add(struct model *m, struct capability *c, uint64_t usec)
{
	struct capability **at = &m->expiring;

	expiry_remove(m, c);
	c->expiry.usec = usec;
	while (*at && ranks_above(*at, c))
		at = side(*at, c);
	split(*at, c, &c->expiry.before, &c->expiry.after);
	*at = c;
}

struct capability *
expiry_next(const struct model *m, const struct capability *c)
{
	struct capability *next = NULL;

	for (struct capability *i = m->expiring; i;) {
		bool is_after = !c || is_before(c, i);

		if (is_after)
			next = i;
		i = is_after ? i->expiry.before : i->expiry.after;
	}
	return next;
}
