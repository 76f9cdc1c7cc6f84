/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Amounts by kind, and charges: what is used by something that is not an entity (a connection, a
 * buffer) and has no record. What entities cost is charged where they are linked (entity.c).
 *
 * A charge lasts as long as what embeds it and is never stored: after a restart whoever makes the
 * thing again charges for it again. It is given back to the session that paid, which therefore
 * cannot go before (session.c asserts that).
 */
#include "config.h"

#include "capfsd/model/quota.h"

#include <assert.h>
#include <string.h>

#include "capfsd/model/event.h"
#include "capfsd/model/model.h"
#include "capfsd/model/touch.h"

static const char *const kind_names[QUOTA_N_KINDS] = {
	[QUOTA_CAPS] = "caps",
	[QUOTA_SOCKETS] = "sockets",
	[QUOTA_THREADS] = "threads",
	[QUOTA_RAM] = "ram",
	[QUOTA_INFLIGHT] = "inflight",
};

const char *
quota_kind_name(enum quota_kind kind)
{
	assert(kind < QUOTA_N_KINDS);
	return kind_names[kind];
}

enum quota_kind
quota_kind_find(const char *name, size_t n)
{
	enum quota_kind kind = 0;

	while (kind < QUOTA_N_KINDS &&
		(strlen(kind_names[kind]) != n || memcmp(kind_names[kind], name, n) != 0))
		kind++;
	return kind;
}

uint64_t
quota_free(const struct session *s, enum quota_kind kind)
{
	return s->record.limit.n[kind] - s->used.n[kind] - s->lent.n[kind];
}

/* Lines of events use `ram` that nobody else needs, and are given up when somebody does. */
uint64_t
quota_available(const struct session *s, enum quota_kind kind)
{
	return quota_free(s, kind) + (kind == QUOTA_RAM ? s->event_bytes : 0);
}

/*
 * Checked and taken at once, so that two who ask one after the other cannot both be given the last
 * of it. The session's own number is charged, no ancestor's: what they have lent is no longer
 * theirs.
 */
int
charge_init(struct charge *c, struct session *s, enum quota_kind kind, uint32_t n)
{
	if (n > quota_available(s, kind))
		return QUOTA_E_EXCEEDED;
	c->session = s;
	c->kind = (uint8_t)kind;
	c->n = n;
	s->used.n[kind] += n;
	s->model->used.n[kind] += n;
	s->charged.n[kind] += n;
	events_yield(s);
	entity_used(s->model, &s->entity);
	return 0;
}

/*
 * Safe to be called twice or for nothing, so that an error path need not know how far it had come.
 */
void
charge_deinit(struct charge *c)
{
	struct session *s = c->session;

	if (!s)
		return;
	c->session = NULL;
	assert(s->charged.n[c->kind] >= c->n);
	s->used.n[c->kind] -= c->n;
	s->model->used.n[c->kind] -= c->n;
	s->charged.n[c->kind] -= c->n;
	entity_used(s->model, &s->entity);
}

void
charge_merge(struct charge *c, struct charge *more)
{
	if (c->session) {
		assert(c->session == more->session && c->kind == more->kind);
		c->n += more->n;
	} else {
		*c = *more;
	}
	more->session = NULL;
}

bool
quota_is_below(const struct session *s, const struct session *top)
{
	while (s && s->entity.depth > top->entity.depth)
		s = s->parent;
	return s == top;
}

/* How many S may have; 0: it has them, or one above it has all that it may. */
static size_t
share_of(const struct session *s, size_t max, size_t min,
	size_t (*count)(const void *data, const struct session *top), const void *data)
{
	size_t n = count(data, s), share = max;

	if (s->parent) {
		size_t all = share_of(s->parent, max, min, count, data);
		size_t others = count(data, s->parent) - n;
		size_t left = all > others ? all - others : 0;

		share = left / 2 > min ? left / 2 : left < min ? left : min;
	}
	return n < share ? share : 0;
}

bool
quota_share_left(const struct session *s, size_t max, size_t min,
	size_t (*count)(const void *data, const struct session *top), const void *data)
{
	return share_of(s, max, min, count, data) > 0;
}

/*
 * For the text of a refusal only, so what it names may not be the largest of a very large tree;
 * that is better than a daemon which walks all of it at each refusal.
 */
struct session *
quota_largest(struct session *s, enum quota_kind kind)
{
	struct session *largest = s, *i = s;

	for (unsigned n = 0; i && n < QUOTA_SEARCHED; n++, i = session_next_below(s, i))
		if (i->used.n[kind] > largest->used.n[kind])
			largest = i;
	return largest;
}
