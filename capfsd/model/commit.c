/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a change. Up to the store's commit everything may still fail, and then nothing has
 * happened; behind it nothing can: all memory was allocated while the change was staged.
 *
 * The store is written in the order of staging, so that what a note is put and dropped under stays
 * in order. Then the model follows: what is new is linked, records and names are replaced, live
 * connections are told of restrictions, what goes is unlinked and told, everything that shows any
 * of it is told, and only then memory is freed, since hooks may look at neighbours.
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
#include "capfsd/model/touch.h"

/* What is dropped is only deleted, whatever else was staged for it. */
static int
store_item(struct change *ch, const struct staged *item)
{
	const struct model *m = ch->model;
	const struct entity *e = item->entity;
	uint64_t key = STORE_KEY(entity_is_later(e) ? STORE_LATER : STORE_ENTITY, e->id);
	size_t n;

	if (item->dropped)
		return m->store->drop(m->store_data, key);
	if (!item->added && !item->edited && !item->name)
		return 0;
	n = record_encode(e, change_record(ch, e), item->name ? item->name : e->name,
		ch->buffer);
	return m->store->put(m->store_data, key, ch->buffer, n);
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
 * does not fit is tried again with less, down to the entities alone. Events are the first to stay
 * behind: they always need room, while riders often take back what is stored, and are what makes it.
 * *RET_RODE: were the riders stored?
 */
static int
store_what_fits(struct change *ch, bool events, bool *ret_rode)
{
	const bool riders = !list_empty(&ch->riders);
	const struct {
		bool is_less; /* than the attempts before it */
		struct extent with;
	} attempts[] = {
		{true, {.notes = true, .riders = riders, .events = events}},
		{riders && events, {.notes = true, .riders = true}},
		{riders || events, {.notes = true}},
		{ch->notes_spared, {}},
	};
	int r = -ENOSPC;

	*ret_rode = false;
	for (size_t i = 0; r == -ENOSPC && i < sizeof(attempts) / sizeof(attempts[0]); i++)
		if (attempts[i].is_less) {
			r = store_transaction(ch, &attempts[i].with);
			*ret_rode = r == 0 && attempts[i].with.riders;
		}
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
	if (item->edited) {
		swap_bytes(entity_record(e), item->record, kind->record_bytes);
		if (kind->applied)
			item->applied = kind->applied(m, e, item->record);
	}
	if (item->name) {
		entity_set_name(m, e, take_ptr(item->name));
		item->applied &= ~(unsigned)APPLIED_SHOWN;
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

static entity_toucher *
toucher(const struct staged *item)
{
	return item->applied & APPLIED_SHOWN ? entity_touch_shown : entity_touch;
}

/*
 * The indexes are much larger than the CPU's caches, and to wait for each link in its turn takes as long as all else
 * that is done for an entity.
 */
static void
prefetch_drops(const struct change *ch)
{
	list_for_each (i, &ch->items)
		if (list_entry(i, struct staged, link)->dropped)
			entity_prefetch(ch->model, list_entry(i, struct staged, link)->entity);
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
	prefetch_drops(ch);
	list_for_each (i, &ch->items)
		if (list_entry(i, struct staged, link)->dropped)
			publish_drop(m, list_entry(i, struct staged, link)->entity);
	stamp = model_stamp(m);
	list_for_each (i, &ch->items)
		entity_touch_all(m, list_entry(i, struct staged, link)->entity,
			toucher(list_entry(i, struct staged, link)), stamp);
	list_for_each (i, &ch->items)
		if (list_entry(i, struct staged, link)->applied & APPLIED_BELOW)
			entity_touch_below(m, list_entry(i, struct staged, link)->entity,
				toucher(list_entry(i, struct staged, link)), stamp);
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
		free(item->record);
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
	if (!events && change_is_empty(ch) && list_empty(&ch->riders)) {
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

int
change_finish(struct change *ch, int e)
{
	if (e == 0)
		return change_commit(ch);
	change_abort(ch);
	return e;
}
