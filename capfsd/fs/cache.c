/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel may have cached, one word in each entity. Called by those files of fs/ that give
 * the kernel nodes or take them back; it never speaks to the kernel itself, and allocates nothing.
 *
 * An entity's word is 0 at first, and means what is true then: of one that was made since this
 * broker began the kernel has nothing, and the word has a bit for each file that it got. Of older
 * ones it may have everything, and the word is the complement: a bit for each file that it has not.
 * So a broker begins without a walk over a million entities, and never leaves out one that its
 * predecessor gave.
 */
#include "config.h"

#include "capfsd/fs/cache.h"

#include "capfsd/fs/front.h"

#define SLOT 0 /* of entity.slots */
#define NAMED (UINT64_C(1) << 63) /* the name of its socket, which only an epoch takes */

_Static_assert(SLOT < ENTITY_SLOTS && TREE_ROWS_MAX <= 63, "a word has a bit for each row");

void
fs_cache_begin(struct fs *fs)
{
	fs->cached_below = fs->model->header.next_id;
}

static bool
is_older(const struct fs *fs, const struct entity *e)
{
	return e->id < fs->cached_below;
}

static uint64_t
cached(const struct fs *fs, const struct entity *e)
{
	return (is_older(fs, e) ? ~e->slots[SLOT] : e->slots[SLOT]) &
		(tree_all_rows(e->kind) | NAMED);
}

static void
set_cached(const struct fs *fs, struct entity *e, uint64_t rows)
{
	e->slots[SLOT] = is_older(fs, e) ? ~rows : rows;
}

/*
 * This is done before the reply goes out: a change that came in between would otherwise not be
 * told.
 */
void
fs_cache_note(struct fs *fs, struct node node)
{
	uint64_t rows = UINT64_C(1) << node.row->number;

	if (node.row->type == ROW_SOCKET)
		rows |= NAMED;
	set_cached(fs, node.entity, cached(fs, node.entity) | rows);
}

bool
fs_cache_has(const struct fs *fs, const struct entity *e)
{
	return (cached(fs, e) & ~NAMED) != 0;
}

bool
fs_cache_names_socket(const struct fs *fs, const struct entity *e)
{
	return (cached(fs, e) & NAMED) != 0;
}

void
fs_cache_drop_socket(struct fs *fs, struct entity *e)
{
	set_cached(fs, e, cached(fs, e) & ~NAMED);
}

/*
 * What is taken counts as forgotten at once. A row of which the kernel is told twice costs a system
 * call; one that is not told shows its old text for a day. Of a socket only the attributes are
 * forgotten: its name would lead to a listener that has ended.
 */
uint64_t
fs_cache_take(struct fs *fs, struct entity *e, uint64_t rows)
{
	uint64_t all = cached(fs, e);

	rows &= ~NAMED;
	set_cached(fs, e, all & ~rows);
	return all & rows;
}
