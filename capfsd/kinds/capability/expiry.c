/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which capability expires next: a tree in order of time, and of ids where that is the same, held
 * in balance by chance: a parent's rank, which nobody outside can foresee, is above its children's
 * (a treap). Nothing is allocated, so that linking a capability cannot fail, and no walk recurses.
 *
 * The row of capabilities keeps the tree up to date; the broker's loop runs what is due. A
 * capability that has expired is refused at once, by the clock; what is done here only frees it.
 */
#include "config.h"

#include "capfsd/kinds/capability/expiry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "capfsd/kinds/capability/capability.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"

/* When it expires, by R; LIMIT_NONE: never, or it has ended. Nothing else says whether it is in the tree. */
static uint64_t
expires_at(const struct capability_record *r)
{
	return r->flags & CAPABILITY_DEAD ? LIMIT_NONE : r->expires_usec;
}

static uint64_t
usec_of(const struct capability *c)
{
	return expires_at(&c->record);
}

/*
 * No two are equal, so that each has one place, and one can be found again without a pointer
 * upwards. USEC is when C expires.
 */
static bool
is_before(const struct capability *c, uint64_t usec, const struct capability *other)
{
	if (usec != usec_of(other))
		return usec < usec_of(other);
	return c->entity.id < other->entity.id;
}

/*
 * With the seed, since ids can be foreseen: who chose expiries by them could make a list of the
 * tree.
 */
static bool
ranks_above(const struct capability *a, const struct capability *b)
{
	uint64_t seed = a->session->model->seed;

	return index_hash_id(a->entity.id ^ seed) > index_hash_id(b->entity.id ^ seed);
}

/* Cuts TREE into what is before AT and what is after it. AT itself is not in it. */
static void
split(struct capability *tree, const struct capability *at, struct capability **before,
	struct capability **after)
{
	while (tree) {
		if (is_before(tree, usec_of(tree), at)) {
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
side(struct capability *tree, const struct capability *c, uint64_t usec)
{
	return is_before(c, usec, tree) ? &tree->expiry.before : &tree->expiry.after;
}

/* It stands where R, its record until now, has put it. */
static void
take_out(struct model *m, struct capability *c, const struct capability_record *r)
{
	struct capability **at = &m->expiring;

	if (expires_at(r) == LIMIT_NONE)
		return;
	while (*at != c)
		at = side(*at, c, expires_at(r));
	*at = join(c->expiry.before, c->expiry.after);
	c->expiry = (struct expiry){};
}

void
expiry_remove(struct model *m, struct capability *c)
{
	take_out(m, c, &c->record);
}

/*
 * The next one to expire is only ever corrected downwards here: too early costs the broker one look in vain,
 * too late would be a capability that stays.
 */
void
expiry_add(struct model *m, struct capability *c)
{
	struct capability **at = &m->expiring;
	uint64_t usec = usec_of(c);

	if (usec == LIMIT_NONE)
		return;
	while (*at && ranks_above(*at, c))
		at = side(*at, c, usec);
	split(*at, c, &c->expiry.before, &c->expiry.after);
	*at = c;
	if (usec < m->next_expiry_usec)
		m->next_expiry_usec = usec;
}

void
expiry_follow(struct model *m, struct capability *c, const struct capability_record *before)
{
	if (expires_at(before) == usec_of(c))
		return;
	take_out(m, c, before);
	expiry_add(m, c);
}

/* The one that expires after C, which is there; NULL: the first. */
static struct capability *
expiry_next(const struct model *m, const struct capability *c)
{
	struct capability *next = NULL;

	for (struct capability *i = m->expiring; i;) {
		bool is_after = !c || is_before(c, usec_of(c), i);

		if (is_after)
			next = i;
		i = is_after ? i->expiry.before : i->expiry.after;
	}
	return next;
}

/*
 * Stages the end of what has expired, N of it at most, and notes which in ENDED. What is doomed
 * already is passed over and not counted: it waits for the reaper, and would else fill the slice.
 */
static int
stage_expired(struct change *ch, uint64_t now, unsigned n, struct capability **ended,
	unsigned *ret_n_ended, uint64_t *ret_next)
{
	struct model *m = change_model(ch);
	struct capability *c = expiry_next(m, NULL);

	*ret_n_ended = 0;
	for (; c && usec_of(c) <= now; c = expiry_next(m, c)) {
		if (capability_is_doomed(c))
			continue;
		if (*ret_n_ended == n) {
			*ret_next = now;
			return 0;
		}
		if (capability_end(ch, c) < 0)
			return -ENOMEM;
		ended[(*ret_n_ended)++] = c;
	}
	*ret_next = c ? usec_of(c) : LIMIT_NONE;
	return 0;
}

/* Nobody has asked for it, so that nobody else would tell. */
static void
tell_expired(struct model *m, const struct capability *c)
{
	cleanup_text struct text fields = {};
	const struct event event = {.verb = "expire", .keep = EVENT_LASTING, .fields = &fields};

	text_addf(&fields, " slot=%s id=%" PRIu64, c->entity.name, c->entity.id);
	event_log(m, c->session, &event);
}

/* What has ended is there until it is reaped. */
static int
expire_slice(struct model *m, uint64_t now, unsigned n, uint64_t *ret_next)
{
	cleanup_free struct capability **ended = malloc(n * sizeof(*ended));
	unsigned n_ended;
	struct change *ch;
	int r;

	if (!ended)
		return -ENOMEM;
	ch = change_begin(m);
	r = change_finish(ch, stage_expired(ch, now, n, ended, &n_ended, ret_next));
	for (unsigned i = 0; r == 0 && i < n_ended; i++)
		tell_expired(m, ended[i]);
	return r;
}

/*
 * A full store may have no room for the marks of all at once. Where there are more, `next` is now,
 * so that the caller comes again after its other work.
 */
int
expiry_run(struct model *m, uint64_t *ret_next_usec)
{
	uint64_t now, next = m->next_expiry_usec;
	unsigned n;
	int r;

	if (next == LIMIT_NONE || next > (now = m->now_usec())) {
		*ret_next_usec = next;
		return 0;
	}
	do {
		n = m->slice;
		r = expire_slice(m, now, n, &next);
	} while (model_adapt_slice(m, n, r));
	if (r < 0)
		return r;
	m->next_expiry_usec = next;
	*ret_next_usec = next;
	return 0;
}

void
expiry_check(const struct model *m, const struct capability *c)
{
	model_holds(M22, usec_of(c) == LIMIT_NONE || capability_is_doomed(c) || m->next_expiry_usec <= usec_of(c));
	model_holds(M22, usec_of(c) != LIMIT_NONE || (!c->expiry.before && !c->expiry.after));
}

/*
 * All that expire are met, the earliest first. They are counted up in the tree and down in the
 * index of ids, and come out even.
 */
void
expiry_check_all(const struct model *m)
{
	uint64_t before = 0, n = 0;

	for (struct capability *c = expiry_next(m, NULL); c; c = expiry_next(m, c), n++) {
		model_holds(M22, usec_of(c) >= before && usec_of(c) != LIMIT_NONE);
		before = usec_of(c);
	}
	for (size_t i = 0; i < m->by_id.size; i++)
		for (struct index_link *l = m->by_id.buckets[i]; l; l = l->next) {
			const struct entity *e = container_of(l, struct entity, id_link);

			n -= e->kind == ENTITY_CAPABILITY &&
				usec_of(capability_of(e)) != LIMIT_NONE;
		}
	model_holds(M22, n == 0);
}
