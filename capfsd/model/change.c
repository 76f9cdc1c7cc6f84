/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a change stages hangs in three lists: one item for each entity that it touches, the notes,
 * which are records of others, and the riders, which are records that may be left out. All memory
 * that is needed is allocated while it is staged, so that the commit (commit.c) needs none.
 *
 * A model has one change, with memory for an encoded record that is allocated when the model is and
 * is large enough for any of them: a kind with a larger record needs nothing here. Nobody else
 * writes a record, links an entity or unlinks one, but for the loader, which runs before anybody
 * asks for anything.
 */
#include "config.h"

#include "capfsd/model/change.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/record.h"
#include "capfsd/model/staging.h"

/*
 * The buffer is allocated here so that storing a change needs no memory: where there is none, the
 * model is not made at all, instead of every commit being able to fail of it.
 */
struct change *
change_new(struct model *m)
{
	struct change *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->buffer = malloc(record_bytes_max());
	if (!ch->buffer) {
		free(ch);
		return NULL;
	}
	ch->model = m;
	list_init(&ch->items);
	list_init(&ch->notes);
	list_init(&ch->riders);
	return ch;
}

struct change *
change_free(struct change *ch)
{
	if (!ch)
		return NULL;
	assert(!ch->active && list_empty(&ch->items));
	assert(list_empty(&ch->notes) && list_empty(&ch->riders));
	free(ch->buffer);
	free(ch);
	return NULL;
}

/*
 * The counters are copied here and written back only when the change is published, so that an
 * aborted change leaves its ids and badges to the next one and nothing in memory has moved.
 */
struct change *
change_begin(struct model *m)
{
	struct change *ch = m->change;

	assert(!ch->active);
	ch->active = true;
	ch->notes_spared = false;
	ch->next_id = m->header.next_id;
	ch->next_badge = m->header.next_badge;
	ch->n_entities = m->header.n_entities;
	return ch;
}

struct model *
change_model(struct change *ch)
{
	return ch->model;
}

uint64_t
change_new_badge(struct change *ch)
{
	return ch->next_badge++;
}

uint64_t
change_last_id(const struct change *ch)
{
	return ch->next_id - 1;
}

/*
 * The item of E in this change, made when it is first asked for. The entity points to it, so that a
 * change of thousands of entities costs time in their number, not in its square. NULL: no memory.
 */
static struct staged *
stage(struct change *ch, struct entity *e)
{
	struct staged *item = e->staged;

	assert(ch->active);
	if (item)
		return item;
	item = calloc(1, sizeof(*item));
	if (!item)
		return NULL;
	item->entity = e;
	list_append(&ch->items, &item->link);
	e->staged = item;
	return item;
}

/*
 * What this change has added is seen by nobody yet, so its own record is edited in place. Of all else a copy is all
 * that an edit may write to.
 */
void *
change_edit(struct change *ch, struct entity *e)
{
	struct staged *item = stage(ch, e);

	if (!item)
		return NULL;
	if (item->added)
		return entity_record(e);
	if (!item->record) {
		item->record = malloc(entity_kind(e)->record_bytes);
		if (!item->record)
			return NULL;
		memcpy(item->record, entity_record(e), entity_kind(e)->record_bytes);
		item->edited = true;
	}
	return item->record;
}

const void *
change_record(struct change *ch, const struct entity *e)
{
	assert(ch->active);
	return e->staged && e->staged->edited ? e->staged->record : entity_record(e);
}

/*
 * The id is given when nothing can fail any more. Ids grow in the order of staging, and the loader
 * relies on that: an owner or a parent has a smaller id than what refers to it, so it is staged
 * first. Ids that are used up look like a full store, which is a refusal and does not end the
 * daemon.
 */
int
change_add(struct change *ch, struct entity *e)
{
	struct staged *item;

	if (ch->next_id > ENTITY_ID_MAX) {
		entity_free(e);
		return -ENOSPC;
	}
	item = stage(ch, e);
	if (!item) {
		entity_free(e);
		return -ENOMEM;
	}
	item->added = true;
	e->id = ch->next_id++;
	ch->n_entities += !entity_is_later(e);
	return 0;
}

/*
 * Walks of the reaper may meet an entity twice, for two roots; it is counted once. What the same
 * change adds is never dropped, since its id is in the counters already.
 */
int
change_drop(struct change *ch, struct entity *e)
{
	struct staged *item = stage(ch, e);

	if (!item)
		return -ENOMEM;
	assert(!item->added);
	if (!item->dropped)
		ch->n_entities -= !entity_is_later(e);
	item->dropped = true;
	return 0;
}

bool
change_drops(const struct entity *e)
{
	return e->staged && e->staged->dropped;
}

/* The name is copied now, because nothing may be allocated behind the store's commit. */
int
change_rename(struct change *ch, struct entity *e, const char *name, size_t n)
{
	struct staged *item = stage(ch, e);
	char *copy = strndup(name, n);

	if (!item || !copy) {
		free(copy);
		return -ENOMEM;
	}
	free(item->name);
	item->name = copy;
	return 0;
}

static int
add_note(struct change *ch, struct list *list, uint64_t key, const void *data, size_t n)
{
	struct note *note = malloc(sizeof(*note) + (data ? n : 0));

	assert(ch->active);
	if (!note)
		return -ENOMEM;
	note->key = key;
	note->drop = !data;
	note->n = data ? n : 0;
	if (note->n > 0)
		memcpy(note->data, data, n);
	list_append(list, &note->link);
	return 0;
}

bool
change_is_empty(const struct change *ch)
{
	return list_empty(&ch->items) && list_empty(&ch->notes);
}

int
change_note(struct change *ch, uint64_t key, const void *data, size_t n)
{
	return add_note(ch, &ch->notes, key, data, n);
}

int
change_ride(struct change *ch, uint64_t key, const void *data, size_t n)
{
	return add_note(ch, &ch->riders, key, data, n);
}

void
change_spare_notes(struct change *ch)
{
	ch->notes_spared = true;
}

struct entity *
change_find_added(struct change *ch, uint64_t owner_id, enum entity_kind kind, const char *name,
	size_t n)
{
	list_for_each (i, &ch->items) {
		struct staged *item = list_entry(i, struct staged, link);

		if (item->added && entity_is_named(item->entity, owner_id, kind, name, n))
			return item->entity;
	}
	return NULL;
}

static bool
is_renamed_to(const struct staged *item, uint64_t owner_id, enum entity_kind kind, const char *name,
	size_t n)
{
	const struct entity *e = item->entity;

	return item->name && e->kind == kind && strlen(item->name) == n &&
		memcmp(item->name, name, n) == 0 && entity_kind(e)->place(e).owner->id == owner_id;
}

/*
 * Both must be asked, the model and what was staged: two additions of one name in one change would
 * each find it free, and the index would have two entities of which only one can be reached. A name
 * that this change gives up counts as taken until the commit, which may refuse once too often and
 * never too seldom.
 */
bool
change_name_is_taken(struct change *ch, uint64_t owner_id, enum entity_kind kind, const char *name,
	size_t n)
{
	if (entity_find_name(ch->model, owner_id, kind, name, n) ||
		change_find_added(ch, owner_id, kind, name, n))
		return true;
	list_for_each (i, &ch->items)
		if (is_renamed_to(list_entry(i, struct staged, link), owner_id, kind, name, n))
			return true;
	return false;
}

/* What ITEM takes from S; modulo 2^64, since limits of children also become smaller. */
static uint64_t
item_charge(const struct staged *item, const struct session *s, unsigned kind)
{
	const struct entity *e = item->entity;
	const struct kind *row = entity_kind(e);
	uint64_t sum = 0, lent = 0;

	if (row->place(e).payer != s || !(item->added || item->edited))
		return 0;
	if (item->added)
		sum += row->cost.n[kind];
	if (!row->lends)
		return sum;
	/* An added entity is edited in its own record, and has lent nothing before. */
	lent = row->lends(entity_record(e))->n[kind];
	return sum + (item->added ? lent : row->lends(item->record)->n[kind] - lent);
}

uint64_t
change_charged(struct change *ch, const struct session *s, unsigned kind)
{
	uint64_t sum = 0;

	list_for_each (i, &ch->items)
		sum += item_charge(list_entry(i, struct staged, link), s, kind);
	return sum;
}

/*
 * What is available to S as this change leaves it: what there is now, changed by what the change
 * makes of its limit, less what it has charged so far. Without the last part one change could spend
 * the same quota twice. The steps are modulo 2^64, and the result is right all the same, since each
 * of them was checked when it was staged.
 */
bool
change_affords(struct change *ch, const struct session *s, const struct quota *cost,
	enum quota_kind *ret_kind)
{
	const struct session_record *record = change_record(ch, &s->entity);

	for (enum quota_kind kind = 0; kind < QUOTA_N_KINDS; kind++) {
		uint64_t available = quota_available(s, kind);

		available += record->limit.n[kind] - s->record.limit.n[kind];
		available -= change_charged(ch, s, kind);
		if (cost->n[kind] > available) {
			*ret_kind = kind;
			return false;
		}
	}
	return true;
}
