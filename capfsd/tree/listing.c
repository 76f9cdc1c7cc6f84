/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands in a directory, a piece at a time, so that a list of a million entries delays nobody. A piece has an end
 * also where nothing is to be shown: what has ended and is not removed yet may be many.
 */
#include "config.h"

#include <errno.h>

#include "capfsd/kinds/alias.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/tree/tree.h"

/*
 * Cookies of entities stand above those of rows, so that one number tells which of the two it was,
 * whatever directory it is given back for. There are far fewer rows than this.
 */
#define COOKIE_ENTITIES 256

/* Of a piece: some tens of microseconds, where an entry takes as long as to look at so many of those above it. */
#define PIECE_LOOKS 8192
#define ENTRY_LOOKS 16

/*
 * The cookie of a row is its number, and the directory itself has no entry. A listing that is
 * interrupted goes on behind the last row it gave, whatever was done meanwhile.
 */
static bool
list_rows(struct node at, uint64_t *cookie, tree_each *each, void *data)
{
	struct rows rows = rows_of(at.entity->kind);

	for (uint64_t i = *cookie < rows.n ? *cookie + 1 : rows.n; i < rows.n; *cookie = i++)
		if (row_exists(&rows.rows[i], at.entity) &&
			!each(data, rows.rows[i].name, tree_file(at.entity, &rows.rows[i]), i))
			return true;
	return false;
}

/* At most ALIASES_MAX, which stand in lists of several slots; their cookies are those of entities. */
static bool
list_aliases(struct node at, uint64_t *cookie, tree_each *each, void *data)
{
	struct capability *c = capability_of(at.entity);
	uint64_t after = *cookie > COOKIE_ENTITIES ? *cookie - COOKIE_ENTITIES : 0;
	struct alias *a = capability_is_live(c) ? alias_next(c, after) : NULL;

	for (; a; a = alias_next(c, a->entity.id)) {
		uint64_t here = a->entity.id + COOKIE_ENTITIES;

		if (!each(data, a->entity.name, tree_slot_socket(c), here))
			return true;
		*cookie = here;
	}
	return false;
}

/* The first of what AT lists, of all of its kinds, whose id is above AFTER. */
static struct entity *
next_child(struct model *m, struct node at, uint64_t after)
{
	struct list *owned = session_of(at.entity)->owned;
	struct entity *e = entity_next(m, &owned[at.row->children], after);
	struct entity *other = at.row->others ? entity_next(m, &owned[at.row->others], after) : NULL;

	return !e || (other && other->id < e->id) ? other : e;
}

/* The one behind E. Where there is one kind it stands beside it. */
static struct entity *
next_below(struct model *m, struct node at, struct entity *e)
{
	struct list *next = e->owner_link.next;

	if (at.row->others)
		return next_child(m, at, e->id);
	return next == &session_of(at.entity)->owned[at.row->children]
		? NULL : list_entry(next, struct entity, owner_link);
}

/*
 * The cookie of an entity is made of its id. Ids only grow and are never used again, and children
 * stand in their order: so a listing that goes on later, even in another broker, finds its place
 * again whatever came and went.
 */
static bool
list_entities(struct model *m, struct node at, uint64_t *cookie, tree_each *each, void *data)
{
	uint64_t after = *cookie > COOKIE_ENTITIES ? *cookie - COOKIE_ENTITIES : 0;
	struct entity *e = next_child(m, at, after);
	int left = PIECE_LOOKS;

	for (; e && left > 0; e = next_below(m, at, e)) {
		uint64_t here = e->id + COOKIE_ENTITIES;

		if (entity_is_shown(e) && !each(data, e->name, tree_entity(e), here))
			return true;
		*cookie = here;
		/* Whether a capability is shown is for all to say that it was derived from. */
		left -= ENTRY_LOOKS + e->depth;
	}
	return e;
}

int
tree_list(struct model *m, struct node at, uint64_t *cookie, tree_each *each, void *data, bool *ret_more)
{
	if (at.row->type != ROW_DIRECTORY)
		return ENOTDIR;
	if (!at.row->children)
		*ret_more = list_rows(at, cookie, each, data);
	else if (at.row->children == ENTITY_ALIAS)
		*ret_more = list_aliases(at, cookie, each, data);
	else
		*ret_more = list_entities(m, at, cookie, each, data);
	return 0;
}
