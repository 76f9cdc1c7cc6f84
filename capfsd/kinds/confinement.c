/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Confinements: at most one a session, an entity so that it is charged, stored and ended as all others. It is in
 * no directory: the session's file `confine` shows what is in effect.
 */
#include "config.h"

#include "capfsd/kinds/confinement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/touch.h"

#define NAME "confine"

_Static_assert(sizeof(struct confinement_record) == 7136, "stored");

static struct place
confinement_place(const struct entity *e)
{
	struct session *s = confinement_of(e)->session;

	return (struct place){&s->entity, &s->owned[ENTITY_CONFINEMENT], s};
}

static struct session *
confinement_session(const struct entity *e)
{
	return confinement_of(e)->session;
}

#define ENDS(text) (memchr((text), '\0', sizeof(text)) != NULL)

static bool
is_valid(const struct confinement_record *r)
{
	if (r->n_binds > PLAN_BINDS_MAX || r->n_groups > PLAN_GROUPS_MAX || !ENDS(r->root) || !ENDS(r->cwd))
		return false;
	for (uint32_t i = 0; i < PLAN_BINDS_MAX; i++)
		if (!ENDS(r->binds[i].path))
			return false;
	return true;
}

static int
confinement_resolve(struct model *m, struct entity *e)
{
	struct confinement *c = confinement_of(e);

	if (c->record.session >= e->id || !is_valid(&c->record))
		return -EBADMSG;
	c->session = session_find_id(m, c->record.session);
	if (!c->session)
		return entity_find(m, c->record.session) ? -EBADMSG : -ENOENT;
	return list_empty(&c->session->owned[ENTITY_CONFINEMENT]) ? 0 : -EBADMSG;
}

static bool
confinement_is_hidden(const struct entity *e)
{
	return false;
}

static void
confinement_check(struct model *m, struct entity *e)
{
	const struct confinement *c = confinement_of(e);

	model_holds(M04, c->record.session == c->session->entity.id && c->record.session < e->id);
	model_holds(M44, is_valid(&c->record) && confinement_own(c->session) == c);
}

/* All sessions below show it as well. */
static void
confinement_touch(struct model *m, struct entity *e, uint64_t stamp)
{
	struct session *top = confinement_of(e)->session;

	for (struct session *s = top; s; s = session_next_below(top, s))
		entity_touch(m, &s->entity, stamp);
}

const struct kind confinement_kind = {
	.size = sizeof(struct confinement),
	.record_offset = offsetof(struct confinement, record),
	.record_bytes = sizeof(struct confinement_record),
	.cost = {{[QUOTA_RAM] = 2 * QUOTA_RAM_SESSION}},
	.later = true,
	.place = confinement_place,
	.session = confinement_session,
	.is_shown = confinement_is_hidden,
	.resolve = confinement_resolve,
	.touch = confinement_touch,
	.check = confinement_check,
};

void
confinement_default(struct confinement_record *ret)
{
	*ret = (struct confinement_record){
		.uid = CONFINEMENT_NOBODY,
		.gid = CONFINEMENT_NOBODY,
		.flags = PLAN_CONFINED | PLAN_PROC | PLAN_DEV | PLAN_SECCOMP | PLAN_LANDLOCK,
	};
}

struct confinement *
confinement_own(const struct session *s)
{
	struct list *first = list_first(&s->owned[ENTITY_CONFINEMENT]);

	return first ? confinement_of(list_entry(first, struct entity, owner_link)) : NULL;
}

/* From the root downwards, by recursion that is as deep as sessions are. */
bool
confinement_effective(const struct session *s, struct confinement_record *ret)
{
	const struct confinement *own = confinement_own(s);
	struct confinement_record above;
	bool confined = s->parent && confinement_effective(s->parent, &above);

	if (own && confined)
		confinement_tighten(&above, &own->record, ret);
	else if (own || confined)
		*ret = own ? own->record : above;
	return own || confined;
}

/* The nearest above a path says whether it can be written. NULL: it is not there. */
static const struct plan_bind *
find_bind(const struct confinement_record *r, const char *path)
{
	const struct plan_bind *found = NULL;

	for (uint32_t i = 0; i < r->n_binds; i++)
		if (path_is_below(path, r->binds[i].path) &&
			(!found || strlen(r->binds[i].path) > strlen(found->path)))
			found = &r->binds[i];
	return found;
}

static int
compare_binds(const void *a, const void *b)
{
	const struct plan_bind *one = a, *other = b;

	return strcmp(one->path, other->path);
}

static int
compare_groups(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

	return one < other ? -1 : one > other;
}

void
confinement_sort(struct confinement_record *record)
{
	qsort(record->binds, record->n_binds, sizeof(record->binds[0]), compare_binds);
	qsort(record->groups, record->n_groups, sizeof(record->groups[0]), compare_groups);
}

static void
tighten_binds(const struct confinement_record *base, const struct confinement_record *with,
	struct confinement_record *ret)
{
	memset(ret->binds, 0, sizeof(ret->binds));
	ret->n_binds = 0;
	for (uint32_t i = 0; i < with->n_binds; i++) {
		const struct plan_bind *b = &with->binds[i], *over = find_bind(base, b->path);

		if (!over)
			continue;
		ret->binds[ret->n_binds] = *b;
		ret->binds[ret->n_binds++].writable = b->writable && over->writable;
	}
	/* What BASE keeps from being written stays so below what is written to. */
	for (uint32_t i = 0; i < base->n_binds; i++) {
		const struct plan_bind *b = &base->binds[i];
		struct plan_bind *over = (struct plan_bind *)(uintptr_t)find_bind(ret, b->path);

		if (b->writable || !over || !over->writable)
			continue;
		if (ret->n_binds < PLAN_BINDS_MAX)
			ret->binds[ret->n_binds++] = *b;
		else
			over->writable = false;
	}
	confinement_sort(ret);
}

static bool
has_group(const struct confinement_record *r, uint32_t group)
{
	for (uint32_t i = 0; i < r->n_groups; i++)
		if (r->groups[i] == group)
			return true;
	return false;
}

static void
tighten_groups(const struct confinement_record *base, struct confinement_record *ret)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ret->n_groups; i++)
		if (has_group(base, ret->groups[i]))
			ret->groups[n++] = ret->groups[i];
	memset(&ret->groups[n], 0, sizeof(ret->groups[0]) * (PLAN_GROUPS_MAX - n));
	ret->n_groups = n;
}

static void
tighten_rlimits(const struct confinement_record *base, struct confinement_record *ret)
{
	for (int i = 0; i < PLAN_RLIMITS; i++) {
		if (!(base->rlimits_set & 1U << i))
			continue;
		for (int k = 0; k < 2; k++)
			if (!(ret->rlimits_set & 1U << i) || ret->rlimits[i][k] > base->rlimits[i][k])
				ret->rlimits[i][k] = base->rlimits[i][k];
		ret->rlimits_set |= 1U << i;
	}
}

/* 0 is no limit. */
static uint64_t
lower(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

#define FLAGS_THAT_LOOSEN (PLAN_NET | PLAN_PROC | PLAN_DEV)

void
confinement_tighten(const struct confinement_record *base, const struct confinement_record *with,
	struct confinement_record *ret)
{
	*ret = *with;
	ret->flags = (base->flags & with->flags & FLAGS_THAT_LOOSEN) |
		((base->flags | with->flags) & ~(uint32_t)FLAGS_THAT_LOOSEN);
	/* Inside there are no others. */
	if (base->uid != CONFINEMENT_NOBODY)
		ret->uid = base->uid;
	if (base->gid != CONFINEMENT_NOBODY)
		ret->gid = base->gid;
	memcpy(ret->root, base->root, sizeof(ret->root));
	ret->memory_max = lower(base->memory_max, with->memory_max);
	ret->pids_max = lower(base->pids_max, with->pids_max);
	tighten_binds(base, with, ret);
	tighten_groups(base, ret);
	tighten_rlimits(base, ret);
}

int
confinement_set(struct change *ch, struct session *s, const struct confinement_record *record)
{
	struct confinement *own = confinement_own(s);
	struct confinement_record *copy;
	enum quota_kind kind;
	struct entity *e;

	if (own) {
		copy = change_edit(ch, &own->entity);
		if (!copy)
			return -ENOMEM;
		*copy = *record;
		copy->session = s->entity.id;
		return 0;
	}
	if (!change_affords(ch, s, &confinement_kind.cost, &kind))
		return QUOTA_E_EXCEEDED;
	e = entity_new(change_model(ch), ENTITY_CONFINEMENT, NAME, strlen(NAME));
	if (!e)
		return -ENOMEM;
	confinement_of(e)->session = s;
	confinement_of(e)->record = *record;
	confinement_of(e)->record.session = s->entity.id;
	return change_add(ch, e);
}
