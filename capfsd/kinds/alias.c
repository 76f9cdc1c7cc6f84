/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Aliases. They have no node of their own: each is a name of its slot's socket, of one inode with it, so that
 * all that is true of the socket is true of them.
 *
 * What was derived from a slot shows the slot's as well, and nothing is copied: so one that is given or
 * taken at the source is so everywhere, and costs its giver alone. As anybody above may give more, a slot shows
 * the nearest ALIASES_MAX, each name once; walks upwards end there.
 *
 * The model calls the row, the verbs `alias` and `remove` what stages, the tree what reads.
 */
#include "config.h"

#include "capfsd/kinds/alias.h"

#include <errno.h>
#include <string.h>

#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

_Static_assert(sizeof(struct alias_record) == 16, "stored");

static struct place
alias_place(const struct entity *e)
{
	struct capability *c = alias_of(e)->capability;

	return (struct place){&c->entity, &c->aliases, c->session};
}

static struct session *
alias_session(const struct entity *e)
{
	return alias_of(e)->capability->session;
}

static bool
alias_is_shown(const struct entity *e)
{
	return capability_is_live(alias_of(e)->capability);
}

static bool
alias_is_doomed(const struct entity *e)
{
	return capability_is_doomed(alias_of(e)->capability);
}

size_t
alias_count_own(const struct capability *c)
{
	size_t n = 0;

	list_for_each (i, (struct list *)(uintptr_t)&c->aliases)
		n++;
	return n;
}

/* A daemon of 0.1.0 ends slots and leaves their aliases, of which it knows nothing. */
static int
alias_resolve(struct model *m, struct entity *e)
{
	struct alias *a = alias_of(e);
	struct entity *owner = entity_find(m, a->record.capability);

	if (a->record.capability >= e->id)
		return -EBADMSG;
	if (!owner)
		return -ENOENT;
	if (owner->kind != ENTITY_CAPABILITY)
		return -EBADMSG;
	a->capability = capability_of(owner);
	return alias_count_own(a->capability) < ALIASES_MAX ? 0 : -EBADMSG;
}

static void
alias_check(struct model *m, struct entity *e)
{
	const struct alias *a = alias_of(e);

	model_holds(M04, a->capability->entity.id == a->record.capability);
	model_holds(M04, a->record.capability < e->id && alias_count_own(a->capability) <= ALIASES_MAX);
}

const struct kind alias_kind = {
	.size = sizeof(struct alias),
	.record_offset = offsetof(struct alias, record),
	.record_bytes = sizeof(struct alias_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.dots = true,
	.later = true,
	.place = alias_place,
	.session = alias_session,
	.is_shown = alias_is_shown,
	.is_doomed = alias_is_doomed,
	.resolve = alias_resolve,
	.check = alias_check,
};

static bool
has_name(struct alias *const *aliases, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(aliases[i]->entity.name, name) == 0)
			return true;
	return false;
}

/* Those that C shows, the nearest first. Returns: how many. */
static size_t
gather(const struct capability *c, struct alias *ret[ALIASES_MAX])
{
	size_t n = 0;

	for (; c; c = c->parent)
		list_for_each (i, (struct list *)(uintptr_t)&c->aliases) {
			struct alias *a = alias_of(list_entry(i, struct entity, owner_link));

			if (has_name(ret, n, a->entity.name))
				continue;
			ret[n++] = a;
			if (n == ALIASES_MAX)
				return n;
		}
	return n;
}

struct alias *
alias_find(const struct capability *c, const char *name, size_t n)
{
	struct alias *aliases[ALIASES_MAX];
	size_t n_aliases = gather(c, aliases);

	for (size_t i = 0; i < n_aliases; i++)
		if (strlen(aliases[i]->entity.name) == n &&
			memcmp(aliases[i]->entity.name, name, n) == 0)
			return aliases[i];
	return NULL;
}

struct alias *
alias_next(const struct capability *c, uint64_t after)
{
	struct alias *aliases[ALIASES_MAX], *next = NULL;
	size_t n = gather(c, aliases);

	for (size_t i = 0; i < n; i++)
		if (aliases[i]->entity.id > after &&
			(!next || aliases[i]->entity.id < next->entity.id))
			next = aliases[i];
	return next;
}

size_t
alias_count(const struct capability *c)
{
	struct alias *aliases[ALIASES_MAX];

	return gather(c, aliases);
}

static int
add(struct change *ch, struct capability *c, const char *name, size_t n)
{
	enum quota_kind kind;
	struct entity *e;

	if (!change_affords(ch, c->session, &alias_kind.cost, &kind))
		return ALIAS_E_QUOTA_RAM;
	e = entity_new(change_model(ch), ENTITY_ALIAS, name, n);
	if (!e)
		return -ENOMEM;
	alias_of(e)->capability = c;
	alias_of(e)->record.capability = c->entity.id;
	return change_add(ch, e);
}

int
alias_add(struct change *ch, struct capability *c, const char *name, size_t n)
{
	if (!capability_is_live(c))
		return ALIAS_E_DEAD;
	if (!entity_name_is_valid(ENTITY_ALIAS, name, n))
		return ALIAS_E_NAME;
	if (alias_find(c, name, n))
		return ALIAS_E_EXISTS;
	return alias_count(c) < ALIASES_MAX ? add(ch, c, name, n) : ALIAS_E_MANY;
}

int
alias_copy_all(struct change *ch, const struct capability *from, struct capability *to)
{
	int r = 0;

	list_for_each (i, (struct list *)(uintptr_t)&from->aliases) {
		const char *name = list_entry(i, struct entity, owner_link)->name;

		r = add(ch, to, name, strlen(name));
		if (r)
			break;
	}
	return r;
}
