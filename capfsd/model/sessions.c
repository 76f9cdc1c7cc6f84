/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree of sessions: how one of them is found, what it is called, what stands below it, and how quota moves
 * along it.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

/*
 * Each step must be a valid name, so that neither an empty one nor `..` is looked up. A session
 * that is closing is already gone to who would use it.
 */
struct session *
session_find(struct model *m, struct session *s, const char *path, size_t n)
{
	const char *end = path + n;

	for (;;) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n_name = slash ? (size_t)(slash - path) : (size_t)(end - path);
		struct entity *e;

		if (!name_is_valid(path, n_name))
			return NULL;
		e = entity_find_name(m, s->entity.id, ENTITY_SESSION, path, n_name);
		if (!e || session_of(e)->record.state != SESSION_RUNNING)
			return NULL;
		s = session_of(e);
		if (!slash)
			return s;
		path = slash + 1;
	}
}

struct session *
session_find_id(struct model *m, uint64_t id)
{
	struct entity *e = entity_find(m, id);

	return e && e->kind == ENTITY_SESSION ? session_of(e) : NULL;
}

/* Along the links and not by recursion, so that the caller may stop at any of them. */
struct session *
session_next_below(const struct session *top, struct session *s)
{
	struct list *first = list_first(&s->owned[ENTITY_SESSION]);

	if (first)
		return session_of(list_entry(first, struct entity, owner_link));
	while (s != top) {
		struct list *next = s->entity.owner_link.next;

		if (next != &s->parent->owned[ENTITY_SESSION])
			return session_of(list_entry(next, struct entity, owner_link));
		s = s->parent;
	}
	return NULL;
}

void
session_label(const struct session *s, struct text *t)
{
	const struct session *path[SESSION_DEPTH_MAX + 1];
	size_t n = 0;

	for (; s; s = s->parent)
		path[n++] = s;
	while (n-- > 0) {
		text_add(t, path[n]->entity.name);
		if (n > 0)
			text_add(t, "/");
	}
}

bool
session_is_within(const struct session *s, const struct session *of)
{
	while (s && s != of)
		s = s->parent;
	return s;
}

/*
 * From S to its parent. Never below the first donation, which a child may rely on: whoever planned
 * with it would else be refused by an account that its parent has emptied.
 */
static int
check_give_back(struct change *ch, const struct session *s, const struct quota *amount,
	enum quota_kind *ret_kind)
{
	const struct session_record *record = change_record(ch, &s->entity);

	if (!change_affords(ch, s, amount, ret_kind))
		return QUOTA_E_EXCEEDED;
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (amount->n[i] > 0 && record->limit.n[i] - amount->n[i] < record->donation.n[i]) {
			*ret_kind = i;
			return QUOTA_E_DONATION;
		}
	return 0;
}

/*
 * From the parent of S to S. A limit that would not fit 64 bits is an error of its own, as quota is
 * not what is short.
 */
static int
check_lend(struct change *ch, const struct session *s, const struct quota *amount,
	enum quota_kind *ret_kind)
{
	const struct session_record *record = change_record(ch, &s->entity);
	uint64_t sum;

	if (!change_affords(ch, s->parent, amount, ret_kind))
		return QUOTA_E_EXCEEDED;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (!number_add(record->limit.n[i], amount->n[i], &sum))
			return -EOVERFLOW;
	return 0;
}

/*
 * Only the child's record has a limit to be changed; what the parent lends is computed from it when
 * the change is published, so that the two can never disagree in a store. Other pairs are refused:
 * quota that jumped over a session would escape that one's account.
 */
int
session_transfer_quota(struct change *ch, struct session *from, struct session *to,
	const struct quota *amount, enum quota_kind *ret_kind)
{
	struct session *child = from->parent == to ? from : to;
	struct session_record *record;
	int r;

	if (from == to)
		return 0;
	if (child->parent != (child == from ? to : from))
		return -EINVAL;
	r = child == from ? check_give_back(ch, child, amount, ret_kind)
			  : check_lend(ch, child, amount, ret_kind);
	if (r)
		return r;
	record = change_edit(ch, &child->entity);
	if (!record)
		return -ENOMEM;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		record->limit.n[i] += child == from ? 0 - amount->n[i] : amount->n[i];
	return 0;
}

/* The one of S and those above it that is so deep. */
static struct session *
ancestor_at(struct session *s, unsigned depth)
{
	while (s->entity.depth > depth)
		s = s->parent;
	return s;
}

static struct session *
common_ancestor(struct session *a, struct session *b)
{
	a = ancestor_at(a, b->entity.depth);
	b = ancestor_at(b, a->entity.depth);
	while (a != b) {
		a = a->parent;
		b = b->parent;
	}
	return a;
}

/* May FROM give so much: from what is its own, or what TOP, which is above both, has lent it? */
static int
check_give(struct change *ch, const struct session *from, const struct session *top, const struct quota *amount,
	enum quota_kind *ret_kind)
{
	if (from == top)
		return change_affords(ch, from, amount, ret_kind) ? 0 : QUOTA_E_EXCEEDED;
	return from->parent == top ? check_give_back(ch, from, amount, ret_kind) : -EINVAL;
}

/* Its limit becomes so much larger, or smaller. */
static int
edit_limit(struct change *ch, struct session *s, const struct quota *amount, bool less)
{
	struct session_record *record = change_edit(ch, &s->entity);

	if (!record)
		return -ENOMEM;
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (less)
			record->limit.n[i] -= amount->n[i];
		else if (!number_add(record->limit.n[i], amount->n[i], &record->limit.n[i]))
			return -EOVERFLOW;
	return 0;
}

/*
 * It goes up to the nearest that is above both, and down from there: whoever is on that way lends so much more and
 * has a limit so much larger, and is left with what it had free. From the top down, so that nobody lends, not even
 * for a moment while this is published, what it has not.
 */
int
session_move_quota(struct change *ch, struct session *from, struct session *to, const struct quota *amount,
	enum quota_kind *ret_kind)
{
	struct session *top = common_ancestor(from, to);
	int r;

	if (from == to)
		return 0;
	r = check_give(ch, from, top, amount, ret_kind);
	if (r == 0 && from != top)
		r = edit_limit(ch, from, amount, true);
	for (unsigned depth = top->entity.depth + 1; r == 0 && depth <= to->entity.depth; depth++)
		r = edit_limit(ch, ancestor_at(to, depth), amount, false);
	return r;
}
