/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is the same for all kinds: names, the indexes of ids and names, the owner's list, and the
 * charge for the entity's cost. Linking cannot fail, since it happens behind the store's commit:
 * the links are part of the entity, and an index that has buckets takes any number of members.
 *
 * Anybody may look entities up. Making, linking, renaming and freeing them is for change.c and
 * load.c alone (kind.h): an entity that came to be in any other way would not be in the store.
 */
#include "config.h"

#include "capfsd/model/entity.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

/*
 * A name becomes the name of a file, a word of a command and a part of a line in logs, so it has
 * neither slashes nor blanks nor anything that a terminal acts upon. With a leading dot it could be
 * `.` or `..`, or a file that a listing hides.
 */
bool
name_is_valid(const char *name, size_t n)
{
	if (n < 1 || n > NAME_BYTES_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
			c != '.' && c != '_' && c != '-')
			return false;
	}
	return true;
}

/* With one dot before it no name can be `..`, and one that is the dot alone has nothing behind it. */
bool
entity_name_is_valid(enum entity_kind kind, const char *name, size_t n)
{
	size_t n_dot = entity_kinds[kind]->dots && n > 0 && n <= NAME_BYTES_MAX && name[0] == '.';

	return name_is_valid(name + n_dot, n - n_dot);
}

struct session *
entity_session(const struct entity *e)
{
	return entity_kind(e)->session(e);
}

/*
 * Not the same as whether it is alive: what has ended stays linked until the reaper comes to it,
 * and must be gone for everybody who lists or looks up in the meantime.
 */
bool
entity_is_shown(const struct entity *e)
{
	const struct kind *kind = entity_kind(e);

	return !kind->is_shown || kind->is_shown(e);
}

static char *
name_copy(const char *name, size_t n)
{
	char *copy = malloc(n + 1);

	if (!copy)
		return NULL;
	memcpy(copy, name, n);
	copy[n] = '\0';
	return copy;
}

/*
 * The row's init() makes the lists, so that entity_free() is right from here on, however little of
 * its record the caller has set.
 */
struct entity *
entity_new(struct model *m, enum entity_kind kind, const char *name, size_t n)
{
	const struct kind *row = entity_kinds[kind];
	struct entity *e = calloc(1, row->size);

	if (!e)
		return NULL;
	e->kind = kind;
	list_init(&e->owner_link);
	list_init(&e->ending_link);
	if (row->init)
		row->init(m, e);
	e->name = name_copy(name, n);
	return e->name ? e : entity_free(e);
}

struct entity *
entity_free(struct entity *e)
{
	if (!e)
		return NULL;
	assert(!e->linked && !e->staged);
	if (entity_kind(e)->deinit)
		entity_kind(e)->deinit(e);
	free(e->name);
	free(e);
	return NULL;
}

/*
 * The seed is random, because clients choose names: who knew it could choose a million that fall
 * into one bucket, and make every lookup slow. The kind is a part of the seed, so that a slot and
 * an entrypoint of one session may have the same name.
 */
uint64_t
entity_hash_name(const struct model *m, uint64_t owner_id, enum entity_kind kind, const char *name,
	size_t n)
{
	char buffer[sizeof(owner_id) + NAME_BYTES_MAX];

	assert(n <= NAME_BYTES_MAX);
	memcpy(buffer, &owner_id, sizeof(owner_id));
	memcpy(buffer + sizeof(owner_id), name, n);
	return index_hash(m->seed + kind, buffer, sizeof(owner_id) + n);
}

static uint64_t
owner_id_of(const struct entity *e)
{
	struct place place = entity_kind(e)->place(e);

	return place.owner ? place.owner->id : 0;
}

static void
link_name(struct model *m, struct entity *e)
{
	uint64_t hash = entity_hash_name(m, owner_id_of(e), e->kind, e->name, strlen(e->name));

	/* It fails only in an index without any bucket, and model_new() has made some. */
	if (index_add(&m->by_name, &e->name_link, hash) < 0)
		abort();
}

/*
 * It is called behind the store's commit: NAME was allocated while it was staged, and the old one
 * is freed only when it is in no index any more.
 */
void
entity_set_name(struct model *m, struct entity *e, char *name)
{
	index_remove(&m->by_name, &e->name_link);
	free(e->name);
	e->name = name;
	link_name(m, e);
}

/*
 * What an entity costs is paid from when it is linked until it is unlinked. Lines of events give
 * way to it at once: change_affords() has counted their bytes as available, and used and lent
 * together would else be above the limit.
 */
static void
charge_cost(struct session *payer, const struct quota *cost, bool give_back)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++) {
		uint64_t n = give_back ? 0 - cost->n[i] : cost->n[i];

		payer->used.n[i] += n;
		payer->model->used.n[i] += n;
	}
	if (!give_back)
		events_yield(payer);
}

/*
 * Appending keeps the owner's list in the order of ids, since ids only grow, and the loader brings
 * them in the same order, or sees to it when all are there. The row comes last: its links lead to an
 * entity that everybody finds.
 */
void
entity_link(struct model *m, struct entity *e)
{
	const struct kind *kind = entity_kind(e);
	struct place place = kind->place(e);

	assert(!e->linked);
	e->linked = true;
	if (index_add(&m->by_id, &e->id_link, index_hash_id(e->id)) < 0)
		abort();
	link_name(m, e);
	if (place.owner) {
		list_append(place.list, &e->owner_link);
		place.payer->n_owned[e->kind]++;
		charge_cost(place.payer, &kind->cost, false);
	}
	m->n[e->kind]++;
	m->header.n_entities += !entity_is_later(e);
	if (kind->link)
		kind->link(m, e);
}

void
entity_prefetch(const struct model *m, const struct entity *e)
{
	index_prefetch(&m->by_id, &e->id_link);
	index_prefetch(&m->by_name, &e->name_link);
}

/*
 * The reverse of entity_link(): the row first, while all that it may look for can still be found.
 * Afterwards nobody can reach the entity but the change that drops it, which frees it.
 */
void
entity_unlink(struct model *m, struct entity *e)
{
	const struct kind *kind = entity_kind(e);
	struct place place = kind->place(e);

	assert(e->linked);
	e->linked = false;
	if (kind->unlink)
		kind->unlink(m, e);
	index_remove(&m->by_id, &e->id_link);
	index_remove(&m->by_name, &e->name_link);
	list_unlink(&e->owner_link);
	list_unlink(&e->ending_link);
	if (place.owner) {
		place.payer->n_owned[e->kind]--;
		charge_cost(place.payer, &kind->cost, true);
		session_has_room(place.payer);
	}
	m->n[e->kind]--;
	m->header.n_entities -= !entity_is_later(e);
}

struct entity *
entity_find(struct model *m, uint64_t id)
{
	struct index_link *i = index_first(&m->by_id, index_hash_id(id));

	for (; i; i = index_next(i)) {
		struct entity *e = container_of(i, struct entity, id_link);

		if (e->id == id)
			return e;
	}
	return NULL;
}

bool
entity_is_named(const struct entity *e, uint64_t owner_id, enum entity_kind kind, const char *name,
	size_t n)
{
	return e->kind == kind && strlen(e->name) == n && memcmp(e->name, name, n) == 0 &&
		owner_id_of(e) == owner_id;
}

struct entity *
entity_find_name(struct model *m, uint64_t owner_id, enum entity_kind kind, const char *name,
	size_t n)
{
	struct index_link *i;

	if (n > NAME_BYTES_MAX)
		return NULL;
	i = index_first(&m->by_name, entity_hash_name(m, owner_id, kind, name, n));
	for (; i; i = index_next(i)) {
		struct entity *e = container_of(i, struct entity, name_link);

		if (entity_is_named(e, owner_id, kind, name, n))
			return e;
	}
	return NULL;
}

static struct entity *
entity_after(struct list *owner_list, struct list *link)
{
	return link->next == owner_list ? NULL : list_entry(link->next, struct entity, owner_link);
}

/*
 * From both ends: whoever deletes what was just listed finds the next one near the beginning, and whoever has listed
 * most of it near the end.
 */
static struct entity *
next_by_id(struct list *owner_list, uint64_t id)
{
	struct list *up = owner_list->next, *down = owner_list->prev;

	for (; up != owner_list; up = up->next, down = down->prev) {
		if (list_entry(up, struct entity, owner_link)->id > id)
			return list_entry(up, struct entity, owner_link);
		if (list_entry(down, struct entity, owner_link)->id <= id)
			return entity_after(owner_list, down);
	}
	return NULL;
}

/*
 * A listing goes on behind the last entity that it has given, which may have ended in between. As
 * long as that one is there its link is the place, and a directory of a million is listed in one
 * walk.
 */
struct entity *
entity_next(struct model *m, struct list *owner_list, uint64_t id)
{
	struct entity *e = id ? entity_find(m, id) : NULL;

	if (id == 0)
		return entity_after(owner_list, owner_list);
	if (e && entity_kind(e)->place(e).list == owner_list)
		return entity_after(owner_list, &e->owner_link);
	return next_by_id(owner_list, id);
}

bool
entity_is_doomed(const struct entity *e)
{
	return entity_kind(e)->is_doomed && entity_kind(e)->is_doomed(e);
}

bool
entity_is_ending(const struct entity *e)
{
	return entity_kind(e)->is_ending && entity_kind(e)->is_ending(e);
}

/*
 * Asked again, nothing happens: an entity is in the list once, and its place there is that of its
 * first end, so that nobody can push others' ends back.
 */
void
entity_set_ending(struct model *m, struct entity *e)
{
	if (list_empty(&e->ending_link))
		list_append(&m->ending, &e->ending_link);
}
