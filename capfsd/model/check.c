/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The invariants that hold for every entity, and for the model as a whole. Those of one kind stand
 * in its row. All of it only reads, and nothing is believed that could be computed: a counter that
 * is wrong shows here in the step that made it wrong, and not when some session can no longer pay.
 */
#include "config.h"

#include "capfsd/model/check.h"

#include <string.h>

#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

const struct invariant model_invariants[MODEL_N_INVARIANTS] = {
#define MODEL_INVARIANT(number, text) [INVARIANT_##number] = {#number, text},
	MODEL_INVARIANTS(MODEL_INVARIANT)
#undef MODEL_INVARIANT
};

void
model_broken(enum model_invariant number, const char *file, int line, const char *condition)
{
	const struct invariant *broken = &model_invariants[number];

	fprintf(stderr, "%s, %s, is broken: %s:%d: %s\n", broken->number, broken->text, file, line, condition);
	abort();
}

uint64_t
check_list(struct list *list, enum entity_kind kind, const struct entity *owner)
{
	uint64_t n = 0, last = 0;

	list_for_each (i, list) {
		struct entity *e = list_entry(i, struct entity, owner_link);

		model_holds(M03, e->kind == kind && e->linked && e->id > last);
		model_holds(M03, entity_kind(e)->place(e).owner == owner);
		model_holds(M03, entity_kind(e)->place(e).list == list);
		model_holds(M03, i->next->prev == i);
		model_holds(M04, !owner || owner->id < e->id);
		last = e->id;
		n++;
	}
	return n;
}

uint64_t
check_list_paid(struct list *list, const struct session *s)
{
	uint64_t n = 0;

	list_for_each (i, list) {
		const struct entity *e = list_entry(i, struct entity, owner_link);

		n += entity_kind(e)->place(e).payer == s;
	}
	return n;
}

/*
 * The indexes must lead back to the entity itself, not to another one of that id or name. Between
 * two changes nothing may be staged, or the next change would write to what was freed.
 */
static void
check_entity(struct model *m, struct entity *e)
{
	const struct kind *kind = entity_kind(e);
	struct entity *owner = kind->place(e).owner;
	size_t n = strlen(e->name);

	model_holds(M05, !e->staged);
	model_holds(M01, e->linked && e->id > 0 && e->id < m->header.next_id);
	model_holds(M01, entity_find(m, e->id) == e);
	model_holds(M02, entity_name_is_valid(e->kind, e->name, n));
	if (!kind->names_repeat)
		model_holds(M02, entity_find_name(m, owner ? owner->id : 0, e->kind, e->name, n) == e);
	/* The reaper goes by that list alone, so what is missing there would never be removed. */
	if (entity_is_ending(e))
		model_holds(M15, !list_empty(&e->ending_link));
	if (kind->check)
		kind->check(m, e);
}

/* What is counted over all entities. */
struct sums {
	uint64_t n[ENTITY_N_KINDS], n_owned[ENTITY_N_KINDS], n_later;
	struct quota used;
};

static void
add_session(struct sums *sums, const struct session *s)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		sums->used.n[i] += s->used.n[i];
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++)
		sums->n_owned[kind] += s->n_owned[kind];
}

/*
 * The header's number of entities is what the loader compares the store with: if it were wrong, the
 * next start would refuse a store that is whole.
 */
static void
check_sums(const struct model *m, const struct sums *sums)
{
	uint64_t sum = 0;

	for (int kind = 1; kind < ENTITY_N_KINDS; kind++) {
		/* Nobody pays for the root session. */
		uint64_t n_free = kind == ENTITY_SESSION;

		model_holds(M06, sums->n[kind] == m->n[kind]);
		model_holds(M06, sums->n_owned[kind] + n_free == m->n[kind]);
		sum += sums->n[kind];
	}
	model_holds(M06, sum == m->by_id.n && sum == m->by_name.n);
	model_holds(M06, sum - sums->n_later == m->header.n_entities);
	model_holds(M34, memcmp(&sums->used, &m->used, sizeof(m->used)) == 0);
}

/*
 * Entities are met by the index of ids, which has all of them: one that had fallen out of its
 * owner's list would not be met by a walk down the tree, and that is what this is looking for.
 */
void
model_check(struct model *m)
{
	struct sums sums = {};

	model_holds(M04, m->root && !m->root->parent);
	for (size_t i = 0; i < m->by_id.size; i++)
		for (struct index_link *link = m->by_id.buckets[i]; link; link = link->next) {
			struct entity *e = container_of(link, struct entity, id_link);

			check_entity(m, e);
			sums.n[e->kind]++;
			sums.n_later += entity_is_later(e);
			if (e->kind == ENTITY_SESSION)
				add_session(&sums, session_of(e));
		}
	check_sums(m, &sums);
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++)
		if (entity_kinds[kind]->check_all)
			entity_kinds[kind]->check_all(m);
	list_for_each (i, &m->ending)
		model_holds(M15, list_entry(i, struct entity, ending_link)->linked);
}
