/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a change stages hangs in three lists: one item for each entity that it touches, the notes,
 * which are records of others, and the riders, which are records that may be left out. All memory
 * that is needed is allocated while it is staged; what is behind the store's commit cannot fail.
 *
 * The store is written in the order of staging, so that what a note is put and dropped under stays
 * in order. Then the model follows: what is new is linked, records and names are replaced, live
 * connections are told of restrictions, what goes is unlinked and told, everything that shows any
 * of it is told, and only then memory is freed, since hooks may look at neighbours.
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
#include "capfsd/model/touch.h"

/* What the change does to one entity. */
struct staged {
	struct list link; /* change.items, in the order of staging */
	struct entity *entity;
	char *name; /* a new one, or NULL */
	bool added, edited, dropped;
	unsigned applied;  /* enum applied, when it was published */
	uint64_t record[]; /* the new one when `edited`; the old one while it is being published */
};

struct note {
	struct list link;
	uint64_t key;
	size_t n;
	bool drop;
	uint8_t data[];
};

struct change {
	struct model *model;
	struct list items; /* of struct staged */
	struct list notes;  /* of struct note */
	struct list riders; /* of struct note: they may be left out */
	uint64_t next_id, next_badge, n_entities;
	bool active;
	bool notes_spared; /* they may be left out */
	uint8_t *buffer;   /* of record_bytes_max(): the record that is being stored */
};

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
 * change of thousands of entities costs time in their number, not in its square. It has room for a
 * copy of the kind's record, and that copy is all that an edit may write to. NULL: no memory.
 */
static struct staged *
stage(struct change *ch, struct entity *e)
{
	const struct kind *kind = entity_kind(e);
	struct staged *item = e->staged;

	assert(ch->active);
	if (item)
		return item;
	item = calloc(1, sizeof(*item) + kind->record_bytes);
	if (!item)
		return NULL;
	item->entity = e;
	list_append(&ch->items, &item->link);
	e->staged = item;
	return item;
}

/* What this change has added is seen by nobody yet, so its own record is edited in place. */
void *
change_edit(struct change *ch, struct entity *e)
{
	struct staged *item = stage(ch, e);

	if (!item)
		return NULL;
	if (item->added)
		return entity_record(e);
	if (!item->edited) {
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
	ch->n_entities++;
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
		ch->n_entities--;
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

/* What is dropped is only deleted, whatever else was staged for it. */
static int
store_item(struct change *ch, const struct staged *item)
{
	const struct model *m = ch->model;
	const struct entity *e = item->entity;
	size_t n;

	if (item->dropped)
		return m->store->drop(m->store_data, STORE_KEY(STORE_ENTITY, e->id));
	if (!item->added && !item->edited && !item->name)
		return 0;
	n = record_encode(e, change_record(ch, e), item->name ? item->name : e->name,
		ch->buffer);
	return m->store->put(m->store_data, STORE_KEY(STORE_ENTITY, e->id), ch->buffer, n);
}

/* The header after the commit. Events count on their own, whatever becomes of the change. */
static struct model_header
new_header(const struct change *ch)
{
	return (struct model_header){
		.next_id = ch->next_id,
		.next_badge = ch->next_badge,
		.next_event = ch->model->header.next_event,
		.n_entities = ch->n_entities,
	};
}

/*
 * A deletion may find nothing: the record that it means may have been left out when it was new and
 * the store full (change_spare_notes()). Everything else that fails, fails the transaction.
 */
static int
store_notes(const struct model *m, const struct list *notes)
{
	int r;

	list_for_each (i, notes) {
		const struct note *note = list_entry(i, struct note, link);

		r = note->drop ? m->store->drop(m->store_data, note->key)
			       : m->store->put(m->store_data, note->key, note->data, note->n);
		if (r < 0 && !(note->drop && r == -ENOENT))
			return r;
	}
	return 0;
}

/* What of a change is stored beside its entities. */
struct extent {
	bool notes, riders, events;
};

/*
 * The header comes last, with the counters as they are after all of it, and is left out where it
 * says the same as before: most changes only edit, and a page less is written for each of them.
 */
static int
store_all(struct change *ch, const struct extent *with)
{
	struct model *m = ch->model;
	struct model_header header = new_header(ch);
	int r = 0;

	list_for_each (i, &ch->items) {
		r = store_item(ch, list_entry(i, struct staged, link));
		if (r < 0)
			return r;
	}
	if (with->notes)
		r = store_notes(m, &ch->notes);
	if (r == 0 && with->riders)
		r = store_notes(m, &ch->riders);
	if (r == 0)
		r = events_stage(m, with->events);
	if (r == 0 && memcmp(&header, &m->stored_header, sizeof(header)) != 0)
		r = m->store->put(m->store_data, STORE_KEY(STORE_HEADER, 0), &header,
			sizeof(header));
	return r;
}

/*
 * One attempt. Each error ends in an abort, also one of the commit itself, so that the next attempt
 * begins with what is stored and not with half of this one. What the model believes of the store
 * (stored_header, which lines are stored) follows a commit that succeeded, and nothing else.
 */
static int
store_transaction(struct change *ch, const struct extent *with)
{
	struct model *m = ch->model;
	int r = m->store->begin(m->store_data);

	if (r < 0)
		return r;
	r = store_all(ch, with);
	if (r == 0)
		r = m->store->commit(m->store_data);
	if (r < 0) {
		m->store->abort(m->store_data);
		return r;
	}
	m->stored_header = new_header(ch);
	events_settle(m, with->events);
	return 0;
}

/*
 * Events and riders may wait, and must not keep from a full store what would make room in it; nor
 * may the notes of what ends something, since a revocation may not fail for want of room. So what
 * does not fit is tried again with less, down to the entities alone. *RET_RODE: were the riders
 * stored?
 */
static int
store_what_fits(struct change *ch, bool events, bool *ret_rode)
{
	bool riders = !list_empty(&ch->riders);
	int r = store_transaction(ch, &(struct extent){true, riders, events});

	*ret_rode = r == 0;
	if (r == -ENOSPC && (events || riders))
		r = store_transaction(ch, &(struct extent){.notes = true});
	if (r == -ENOSPC && ch->notes_spared)
		r = store_transaction(ch, &(struct extent){});
	return r;
}

/* The contents of A and B change places. In pieces, so that it is no matter how many bytes they are. */
static void
swap_bytes(void *a, void *b, size_t n)
{
	char *p = a, *q = b, piece[64];

	while (n > 0) {
		size_t k = n < sizeof(piece) ? n : sizeof(piece);

		memcpy(piece, p, k);
		memcpy(p, q, k);
		memcpy(q, piece, k);
		p += k;
		q += k;
		n -= k;
	}
}

/*
 * Brings the records, names and links of what is not dropped up to date. The old record changes
 * places with the new one, since the kind's row compares the two; it is freed with the item.
 */
static void
publish_item(struct model *m, struct staged *item)
{
	struct entity *e = item->entity;
	const struct kind *kind = entity_kind(e);

	if (item->added)
		entity_link(m, e);
	if (item->name)
		entity_set_name(m, e, take_ptr(item->name));
	if (item->edited) {
		swap_bytes(entity_record(e), item->record, kind->record_bytes);
		if (kind->applied)
			item->applied = kind->applied(m, e, item->record);
	}
}

/*
 * The hook is called between the two: the entity is found by nobody any more, while what it points
 * to is still there, and whoever has made something for it lets go of that before it is freed.
 */
static void
publish_drop(struct model *m, struct entity *e)
{
	entity_unlink(m, e);
	if (m->hooks && m->hooks->gone)
		m->hooks->gone(m->hooks_data, e);
	if (entity_kind(e)->gone)
		entity_kind(e)->gone(e);
}

/*
 * Nothing here can fail, and the order is the promise that hooks rely on. All records and links are
 * in place before anybody is told of a restriction, and what goes is still linked then, so that
 * whoever ends connections finds the capability and all above it. Drops follow in the order in
 * which they were staged, which is leaves first. Only what is whole is told with a stamp.
 */
static void
publish(struct change *ch)
{
	struct model *m = ch->model;
	uint64_t stamp;

	m->header.next_id = ch->next_id;
	m->header.next_badge = ch->next_badge;
	list_for_each (i, &ch->items)
		if (!list_entry(i, struct staged, link)->dropped)
			publish_item(m, list_entry(i, struct staged, link));
	list_for_each (i, &ch->items)
		if (list_entry(i, struct staged, link)->applied & APPLIED_RESTRICTED)
			entity_tell_restricted(m, list_entry(i, struct staged, link)->entity);
	list_for_each (i, &ch->items)
		if (list_entry(i, struct staged, link)->dropped)
			publish_drop(m, list_entry(i, struct staged, link)->entity);
	stamp = model_stamp(m);
	list_for_each (i, &ch->items)
		entity_touch_all(m, list_entry(i, struct staged, link)->entity, stamp);
	list_for_each (i, &ch->items)
		if (list_entry(i, struct staged, link)->applied & APPLIED_BELOW)
			entity_touch_below(m, list_entry(i, struct staged, link)->entity, stamp);
}

/*
 * Ends the change and frees what it owns: dropped entities when it was published, else the new
 * ones.
 */
static void
change_end(struct change *ch, bool published)
{
	list_for_each_safe (i, &ch->items) {
		struct staged *item = list_entry(i, struct staged, link);

		item->entity->staged = NULL;
		if (published ? item->dropped : item->added)
			entity_free(item->entity);
		free(item->name);
		free(item);
	}
	list_for_each_safe (i, &ch->notes)
		free(list_entry(i, struct note, link));
	list_for_each_safe (i, &ch->riders)
		free(list_entry(i, struct note, link));
	list_init(&ch->items);
	list_init(&ch->notes);
	list_init(&ch->riders);
	ch->active = false;
}

void
change_abort(struct change *ch)
{
	assert(ch->active);
	change_end(ch, false);
}

/*
 * A change that stages nothing writes nothing, so that whoever has nothing to do pays no
 * transaction. `boarding` is asked before that is decided, since it may be what brings something,
 * and `arrived` is told of a failure too: riders that were not stored are offered again with a
 * later change.
 *
 * Any error leaves the model as it was. It is the caller's to tell a full store, which is a
 * refusal, from an error that ends the daemon.
 */
int
change_commit(struct change *ch)
{
	const struct model_hooks *hooks = ch->model->hooks;
	bool events = events_are_queued(ch->model), rode = false;
	int r;

	assert(ch->active);
	if (hooks && hooks->boarding)
		hooks->boarding(ch->model->hooks_data, ch);
	if (!events && list_empty(&ch->items) && list_empty(&ch->notes) && list_empty(&ch->riders)) {
		change_end(ch, false);
		return 0;
	}
	r = store_what_fits(ch, events, &rode);
	if (hooks && hooks->arrived)
		hooks->arrived(ch->model->hooks_data, rode);
	if (r < 0) {
		change_abort(ch);
		return error_trace(r);
	}
	publish(ch);
	change_end(ch, true);
	return 0;
}
