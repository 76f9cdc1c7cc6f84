/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The model made again from its records. Their bytes may be damaged in any way: each is checked on
 * its own and against what came before, and what belongs together is checked when all are there.
 *
 * Only the start of a broker calls it, on an empty model, with all records in order of keys:
 * entities in the order of their ids, then the header, then events, then the entities of later kinds.
 * Whatever does not fit refuses the store as a whole, which is then kept aside; nothing is repaired or
 * skipped, since a capability that is missing something might allow more than it did. But for one thing: what
 * a daemon before this one could not read is still there when that has ended what it belonged to.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/model/event.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/record.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct model_header) == 32, "stored");
_Static_assert(ENTITY_ID_MAX <= STORE_ID_MAX, "an id must fit into a key");

/*
 * The counters in the header must be beyond all that is in use, or the next object would get the
 * badge of another and a server would take the one for the other.
 */
int
load_used(uint64_t *next, uint64_t value)
{
	if (value == UINT64_MAX)
		return -EBADMSG;
	if (*next <= value)
		*next = value + 1;
	return 0;
}

/*
 * By its key it comes behind all entities, so that it is compared with what they have used. A
 * header that comes twice, or before its time, has a wrong key. `loaded_upto` is the largest mark
 * of a revocation: with an id below it a new child would be dead when it is born.
 */
static int
load_header(struct model *m, const void *data, size_t n)
{
	const struct model_header *used = &m->header;
	struct model_header header;

	if (m->stored_header.next_id != 0 || n != sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.next_id < used->next_id || header.next_id - 1 > ENTITY_ID_MAX ||
		header.next_id <= m->loaded_upto || header.next_badge < used->next_badge ||
		header.next_event < 1 || header.n_entities != used->n_entities)
		return -EBADMSG;
	m->header = m->stored_header = header;
	return 0;
}

/*
 * Is no other called like E where it stands? Which of two a command is about would be left to
 * chance.
 */
static bool
name_is_free(struct model *m, const struct entity *e)
{
	struct entity *owner = entity_kind(e)->place(e).owner;
	struct entity *other;

	if (entity_kind(e)->names_repeat)
		return true;
	other = entity_find_name(m, owner ? owner->id : 0, e->kind, e->name, strlen(e->name));
	return !other;
}

static int
load_checked(struct model *m, struct entity *e)
{
	int r = entity_kind(e)->resolve(m, e);

	if (r < 0)
		return r;
	/* An older daemon has given the name of what it did not know to something else. */
	if (!name_is_free(m, e))
		return entity_is_later(e) ? -ENOENT : -EBADMSG;
	e->changed_nsec = e->shown_nsec = m->stamp_nsec;
	entity_link(m, e);
	/* What was being ended when the record was stored. */
	if (entity_is_ending(e))
		entity_set_ending(m, e);
	return load_used(&m->header.next_id, e->id);
}

/*
 * The record is copied into the entity before anything of it is checked: the bytes in the store
 * need not be aligned.
 */
static int
load_record(struct model *m, uint64_t id, bool later, const uint8_t *data, size_t n)
{
	struct record record;
	struct entity *e;
	int r = record_decode(data, n, &record);

	if (r < 0)
		return r;
	e = entity_new(m, record.kind, record.name, record.n_name);
	if (!e)
		return -ENOMEM;
	e->id = id;
	memcpy(entity_record(e), record.data, entity_kind(e)->record_bytes);
	r = entity_is_later(e) == later ? load_checked(m, e) : -EBADMSG;
	if (r < 0)
		entity_free(e);
	return r;
}

/*
 * Ids are given in order, so the next one is always that of an entity that is not loaded yet; behind
 * the header there is none.
 */
static int
load_entity(struct model *m, uint64_t id, const uint8_t *data, size_t n)
{
	if (id < m->header.next_id || id > ENTITY_ID_MAX || m->stored_header.next_id != 0)
		return -EBADMSG;
	return load_record(m, id, false, data, n);
}

static int
add_orphan(struct model *m, uint64_t id)
{
	uint64_t *more = reallocarray(m->orphans, m->n_orphans + 1, sizeof(id));

	if (!more)
		return -ENOMEM;
	m->orphans = more;
	m->orphans[m->n_orphans++] = id;
	return 0;
}

/* By its key it comes behind the header, whose counter is beyond all ids, and behind all that it is about. */
static int
load_later(struct model *m, uint64_t id, const uint8_t *data, size_t n)
{
	int r;

	if (record_is_unknown(data, n))
		return 0;
	if (id >= m->stored_header.next_id || entity_find(m, id))
		return -EBADMSG;
	r = load_record(m, id, true, data, n);
	return r == -ENOENT ? add_orphan(m, id) : r;
}

/*
 * Other spaces belong to the fronts and to sockets, who load them on their own; here they are
 * damage.
 */
int
model_load(struct model *m, uint64_t key, const void *data, size_t n)
{
	int r;

	if (m->stamp_nsec == 0)
		model_stamp(m);
	switch (STORE_KEY_SPACE(key)) {
	case STORE_HEADER:
		r = STORE_KEY_ID(key) == 0 ? load_header(m, data, n) : -EBADMSG;
		break;
	case STORE_ENTITY:
		r = load_entity(m, STORE_KEY_ID(key), data, n);
		break;
	case STORE_EVENT:
		r = event_load(m, STORE_KEY_ID(key), data, n);
		break;
	case STORE_LATER:
		r = load_later(m, STORE_KEY_ID(key), data, n);
		break;
	default:
		r = -EBADMSG;
		break;
	}
	return r < 0 ? error_trace(r) : 0;
}

static int
finish(struct model *m, struct entity *e)
{
	return entity_kind(e)->finish ? entity_kind(e)->finish(m, e) : 0;
}

/*
 * Capabilities that an older daemon passes over have come behind all others, and stand there in the list of who has
 * them. Whoever goes on with a listing where the last entry has gone relies on the order of ids (entity_next()).
 */
static void
order_owned(struct list *owned)
{
	struct list later = LIST_INIT(later), *at;

	list_for_each_safe (i, owned)
		if (entity_is_later(list_entry(i, struct entity, owner_link))) {
			list_unlink(i);
			list_append(&later, i);
		}
	at = owned->next;
	while (!list_empty(&later)) {
		struct list *i = list_first(&later);

		while (at != owned && list_entry(at, struct entity, owner_link)->id <
			list_entry(i, struct entity, owner_link)->id)
			at = at->next;
		list_unlink(i);
		list_append(at, i);
	}
}

/*
 * In the order of kinds: an entrypoint finds its thread before the thread is looked at, and a
 * thread that nobody refers to is damage. A kind that has nothing to do is passed over as a whole,
 * since there may be millions of it.
 */
static int
finish_owned(struct model *m, struct session *s)
{
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++) {
		if (entity_kinds[kind]->is_later)
			order_owned(&s->owned[kind]);
		if (!entity_kinds[kind]->finish)
			continue;
		list_for_each (i, &s->owned[kind]) {
			int r = finish(m, list_entry(i, struct entity, owner_link));

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* A store without room for it keeps them until the next start. */
static int
drop_orphans(struct model *m)
{
	struct change *ch;
	int r = 0;

	if (m->n_orphans == 0)
		return 0;
	ch = change_begin(m);
	for (size_t i = 0; r == 0 && i < m->n_orphans; i++)
		r = change_note(ch, STORE_KEY(STORE_LATER, m->orphans[i]), NULL, 0);
	r = change_finish(ch, r);
	free(take_ptr(m->orphans));
	m->n_orphans = 0;
	return r == -ENOSPC ? 0 : r;
}

/*
 * A store without a root or without a header is one that was cut off; taken as an empty one it
 * would cost everybody all capabilities.
 */
int
model_load_done(struct model *m)
{
	int r;

	if (!m->root || m->stored_header.next_id == 0)
		return error_trace(-EBADMSG);
	r = finish(m, &m->root->entity);
	for (struct session *s = m->root; r == 0 && s; s = session_next_below(m->root, s))
		r = finish_owned(m, s);
	if (r == 0)
		r = drop_orphans(m);
	return r < 0 ? error_trace(r) : 0;
}
