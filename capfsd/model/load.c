/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The model made again from its records. Their bytes may be damaged in any way: each is checked on
 * its own and against what came before, and what belongs together is checked when all are there.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "capfsd/model/private.h"

/* What is loaded has used VALUE: the header, which comes after it, may not give it again. */
int
load_used(uint64_t *next, uint64_t value)
{
	if (value == UINT64_MAX)
		return -EBADMSG;
	if (*next <= value)
		*next = value + 1;
	return 0;
}

static int
load_header(struct model *m, const void *data, size_t n)
{
	const struct model_header *used = &m->header;
	struct model_header header;

	if (m->stored_header.next_id != 0 || n != sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.next_id < used->next_id || header.next_id - 1 > ID_MAX ||
		header.next_id <= m->loaded_upto || header.next_badge < used->next_badge ||
		header.next_event < 1 || header.n_entities != used->n_entities)
		return -EBADMSG;
	m->header = m->stored_header = header;
	return 0;
}

/* A name that is free where E stands; of objects, the ended ones keep theirs for a while. */
static bool
name_is_free(struct model *m, const struct entity *e)
{
	struct entity *owner = entity_kind(e)->place(e).owner;
	struct entity *other;

	if (e->kind == ENTITY_OBJECT)
		return true;
	other = entity_find_name(m, owner ? owner->id : 0, e->kind, e->name, strlen(e->name));
	return !other;
}

/* What was being ended when the record was stored. */
static void
set_ending(struct model *m, struct entity *e)
{
	struct capability *parent;
	bool ending = false;

	switch ((enum entity_kind)e->kind) {
	case ENTITY_SESSION:
		ending = session_of(e)->record.state == SESSION_CLOSING;
		break;
	case ENTITY_CAPABILITY:
		ending = capability_of(e)->record.flags & CAPABILITY_DEAD;
		parent = capability_of(e)->parent;
		if (parent && e->id <= parent->record.revoked_upto)
			entity_set_ending(m, &parent->entity);
		break;
	case ENTITY_ENTRYPOINT:
		ending = entrypoint_of(e)->record.flags & ENTRYPOINT_DEAD;
		break;
	case ENTITY_OBJECT:
		ending = object_of(e)->record.flags & OBJECT_DEAD;
		break;
	case ENTITY_THREAD:
	case ENTITY_N_KINDS:
		break;
	}
	if (ending)
		entity_set_ending(m, e);
}

static int
load_checked(struct model *m, struct entity *e)
{
	int r = entity_kind(e)->resolve(m, e);

	if (r < 0)
		return r;
	if (!name_is_free(m, e))
		return -EBADMSG;
	e->changed_nsec = m->stamp_nsec;
	e->cached = UINT32_MAX;
	entity_link(m, e);
	set_ending(m, e);
	return load_used(&m->header.next_id, e->id);
}

static int
load_entity(struct model *m, uint64_t id, const uint8_t *data, size_t n)
{
	struct entity blank = {}, *e;
	struct record_header header;
	size_t n_record;
	int r;

	/* Ids are given in order, so the next one is always that of an entity not yet loaded. */
	if (n < sizeof(header) || id < m->header.next_id || id > ID_MAX ||
		m->stored_header.next_id != 0)
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	if (header.kind < 1 || header.kind >= ENTITY_N_KINDS)
		return -EBADMSG;
	blank.kind = header.kind;
	n_record = entity_kind(&blank)->record_bytes;
	data += sizeof(header);
	if (n != sizeof(header) + n_record + header.n_name ||
		!name_is_valid((const char *)data + n_record, header.n_name))
		return -EBADMSG;
	e = entity_new(m, header.kind, (const char *)data + n_record, header.n_name);
	if (!e)
		return -ENOMEM;
	e->id = id;
	memcpy(entity_record(e), data, n_record);
	r = load_checked(m, e);
	if (r < 0)
		entity_free(e);
	return r;
}

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
	default:
		r = -EBADMSG;
		break;
	}
	return r < 0 ? error_trace(r) : 0;
}

static int
finish_quota(const struct session *s)
{
	uint64_t sum;

	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (__builtin_add_overflow(s->used.n[i], s->lent.n[i], &sum) ||
			sum > s->record.limit.n[i])
			return -EBADMSG;
	return 0;
}

/* A thread has a larger id than an entrypoint that is taken up again, so it comes later. */
static int
finish_entrypoint(struct model *m, struct entrypoint *ep)
{
	struct entity *e = ep->record.thread ? entity_find(m, ep->record.thread) : NULL;

	if (!ep->record.thread)
		return 0;
	if (!e || e->kind != ENTITY_THREAD || thread_of(e)->session != ep->session ||
		(thread_of(e)->serves && thread_of(e)->serves != ep))
		return -EBADMSG;
	entrypoint_set_thread(m, ep);
	return 0;
}

static int
finish_session(struct model *m, struct session *s)
{
	int r = finish_quota(s);

	if (s->record.state != SESSION_RUNNING && (s->n_sessions > 0 || !s->parent))
		return -EBADMSG;
	list_for_each (i, &s->entrypoints)
		if (r == 0)
			r = finish_entrypoint(m,
				list_entry(i, struct entrypoint, entity.owner_link));
	/* Every thread serves; it would never end otherwise. */
	list_for_each (i, &s->threads)
		if (r == 0 && !list_entry(i, struct thread, entity.owner_link)->serves)
			r = -EBADMSG;
	return r;
}

int
model_load_done(struct model *m)
{
	int r = 0;

	if (!m->root || m->stored_header.next_id == 0)
		return error_trace(-EBADMSG);
	for (struct session *s = m->root; r == 0 && s; s = session_next_below(m->root, s))
		r = finish_session(m, s);
	return r < 0 ? error_trace(r) : 0;
}
