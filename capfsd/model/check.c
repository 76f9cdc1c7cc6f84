/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All invariants of the model, computed again from the records alone. Only tests call it: it costs
 * time in the size of the model, and aborts with the line that does not hold.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/private.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The entities of one owner's list, in ascending order of ids. Returns how many. */
static uint64_t
check_list(struct list *list, enum entity_kind kind, const struct entity *owner)
{
	uint64_t n = 0, last = 0;

	list_for_each (i, list) {
		struct entity *e = list_entry(i, struct entity, owner_link);

		CHECK(e->kind == kind && e->linked && e->id > last);
		CHECK(entity_kind(e)->place(e).owner == owner);
		CHECK(i->next->prev == i);
		last = e->id;
		n++;
	}
	return n;
}

static void
add_cost(struct quota *sum, const struct kind *kind, uint64_t n)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		sum->n[i] += n * kind->cost.n[i];
}

static void
add_quota(struct quota *sum, const struct quota *q)
{
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		sum->n[i] += q->n[i];
}

/* limit = used + lent + free, with used and lent counted again. */
static void
check_quota(struct session *s)
{
	struct quota used = s->charged, lent = {};

	add_cost(&used, &capability_kind, s->n_slots);
	add_cost(&used, &entrypoint_kind, s->n_entrypoints);
	add_cost(&used, &thread_kind, s->n_threads);
	add_cost(&used, &session_kind, s->n_sessions);
	used.n[QUOTA_RAM] += s->event_bytes;
	list_for_each (i, &s->entrypoints)
		add_cost(&used, &object_kind,
			list_entry(i, struct entrypoint, entity.owner_link)->n_objects);
	list_for_each (i, &s->sessions)
		for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
			lent.n[kind] += list_entry(i, struct session, entity.owner_link)
						->record.limit.n[kind];
	for (int kind = 0; kind < QUOTA_N_KINDS; kind++) {
		CHECK(s->used.n[kind] == used.n[kind] && s->lent.n[kind] == lent.n[kind]);
		CHECK(used.n[kind] <= s->record.limit.n[kind]);
		CHECK(lent.n[kind] <= s->record.limit.n[kind] - used.n[kind]);
		CHECK(quota_free(s, kind) == s->record.limit.n[kind] - used.n[kind] - lent.n[kind]);
		CHECK(s->record.limit.n[kind] >= s->record.donation.n[kind]);
	}
}

static void
check_session(struct model *m, struct session *s)
{
	CHECK(s->model == m && s->depth <= SESSION_DEPTH_MAX);
	CHECK(s->parent ? s->depth == s->parent->depth + 1 : s == m->root && s->depth == 0);
	CHECK(s->parent ? s->record.parent == s->parent->entity.id : s->record.parent == 0);
	CHECK(s->n_sessions == check_list(&s->sessions, ENTITY_SESSION, &s->entity));
	CHECK(s->n_slots == check_list(&s->slots, ENTITY_CAPABILITY, &s->entity));
	CHECK(s->n_entrypoints == check_list(&s->entrypoints, ENTITY_ENTRYPOINT, &s->entity));
	CHECK(s->n_threads == check_list(&s->threads, ENTITY_THREAD, &s->entity));
	if (s->record.state == SESSION_CLOSING)
		CHECK(s->n_sessions == 0 && !list_empty(&s->entity.ending_link));
	CHECK(events_start(s) <= events_end(s));
	CHECK(s->event_bytes == events_end(s) - events_start(s));
	check_quota(s);
}

static void
check_capability(struct model *m, struct capability *c)
{
	uint64_t n = 0, last = 0, conns = 0;

	CHECK(c->session->entity.id == c->record.session);
	CHECK(c->record.type < N_CAPABILITY_TYPES && c->target->id == c->record.target);
	CHECK(c->target->kind == capability_type(c)->target);
	CHECK(c->parent ? c->record.parent == c->parent->entity.id : c->record.parent == 0);
	CHECK(!c->parent || (c->parent->target == c->target && c->depth == c->parent->depth + 1));
	CHECK(!c->parent || c->parent->record.type == c->record.type);
	CHECK(list_empty(&c->sibling_link) == !c->parent);
	CHECK(c->parent || !list_empty(&c->origin_link));
	if (c->parent) {
		struct capability *twin = list_entry(c->twins.next, struct capability, twins);

		CHECK(twin->parent == c->parent && twin->session == c->session);
		CHECK(c->is_first || !list_empty(&c->twins));
	}
	CHECK(c->record.rights);
	CHECK(!(c->record.rights & ~(RIGHTS_COMMON | capability_type(c)->rights)));
	CHECK(c->record.calls_used <= c->record.calls_limit);
	list_for_each (i, &c->children) {
		struct capability *child = list_entry(i, struct capability, sibling_link);

		CHECK(child->parent == c && child->entity.id > last);
		last = child->entity.id;
		conns += child->conns_used;
		n++;
	}
	CHECK(n == c->n_children && conns <= c->conns_used);
	if (c->record.flags & CAPABILITY_DEAD)
		CHECK(c->expiry.usec == LIMIT_NONE && !list_empty(&c->entity.ending_link));
	else
		CHECK(c->expiry.usec == c->record.expires_usec);
	CHECK(c->expiry.usec == LIMIT_NONE || capability_is_doomed(c) ||
		m->next_expiry_usec <= c->record.expires_usec);
	CHECK(!capability_has_revoked(c) || !list_empty(&c->entity.ending_link));
}

static void
check_entrypoint(struct entrypoint *ep)
{
	CHECK(ep->session->entity.id == ep->record.session);
	CHECK(ep->n_objects == check_list(&ep->objects, ENTITY_OBJECT, &ep->entity));
	CHECK(ep->thread ? ep->thread->entity.id == ep->record.thread : ep->record.thread == 0);
	CHECK(!ep->thread || (ep->thread->serves == ep && ep->thread->session == ep->session));
	if (ep->record.flags & ENTRYPOINT_DEAD)
		CHECK(!list_empty(&ep->entity.ending_link));
}

static void
check_object(struct model *m, struct object *o)
{
	CHECK(o->entrypoint->entity.id == o->record.entrypoint);
	CHECK(o->record.badge > 0 && o->record.badge < m->header.next_badge);
	if (o->record.flags & OBJECT_DEAD)
		CHECK(!list_empty(&o->entity.ending_link));
	else
		CHECK(entity_is_doomed(&o->entity) ||
			object_find(o->entrypoint, o->record.badge) == o);
	list_for_each (i, &o->origins) {
		struct capability *c = list_entry(i, struct capability, origin_link);

		CHECK(capability_object(c) == o && !c->parent);
	}
}

static void
check_entity(struct model *m, struct entity *e)
{
	struct entity *owner = entity_kind(e)->place(e).owner;
	size_t n = strlen(e->name);

	CHECK(e->linked && !e->staged && e->id > 0 && e->id < m->header.next_id);
	CHECK(entity_find(m, e->id) == e && name_is_valid(e->name, n));
	/* Of objects with the same key all but one have ended. */
	if (e->kind != ENTITY_OBJECT)
		CHECK(entity_find_name(m, owner ? owner->id : 0, e->kind, e->name, n) == e);
	switch ((enum entity_kind)e->kind) {
	case ENTITY_SESSION:
		check_session(m, session_of(e));
		break;
	case ENTITY_CAPABILITY:
		check_capability(m, capability_of(e));
		break;
	case ENTITY_ENTRYPOINT:
		check_entrypoint(entrypoint_of(e));
		break;
	case ENTITY_OBJECT:
		check_object(m, object_of(e));
		break;
	case ENTITY_THREAD:
		CHECK(thread_of(e)->serves && thread_of(e)->serves->thread == thread_of(e));
		CHECK(thread_of(e)->record.number <= thread_of(e)->session->record.threads_made);
		break;
	case ENTITY_N_KINDS:
		break;
	}
}

/* All N that expire are met, the earliest first. */
static void
check_expiries(struct model *m, uint64_t n)
{
	uint64_t before = 0;

	for (struct capability *c = expiry_next(m, NULL); c; c = expiry_next(m, c), n--) {
		CHECK(n > 0 && c->expiry.usec >= before && c->expiry.usec != LIMIT_NONE);
		before = c->expiry.usec;
	}
	CHECK(n == 0);
}

void
model_check(struct model *m)
{
	uint64_t n[ENTITY_N_KINDS] = {}, sum = 0, n_expiring = 0, n_first = 0;
	struct quota used = {};

	CHECK(m->root && !m->root->parent);
	for (size_t i = 0; i < m->by_id.size; i++)
		for (struct index_link *link = m->by_id.buckets[i]; link; link = link->next) {
			struct entity *e = container_of(link, struct entity, id_link);

			check_entity(m, e);
			if (e->kind == ENTITY_SESSION)
				add_quota(&used, &session_of(e)->used);
			n[e->kind]++;
			n_expiring += e->kind == ENTITY_CAPABILITY &&
				capability_of(e)->expiry.usec != LIMIT_NONE;
			n_first += e->kind == ENTITY_CAPABILITY && capability_of(e)->is_first;
		}
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++) {
		CHECK(n[kind] == m->n[kind]);
		sum += n[kind];
	}
	CHECK(sum == m->by_id.n && sum == m->by_name.n && sum == m->header.n_entities);
	CHECK(m->n[ENTITY_OBJECT] == m->by_badge.n);
	CHECK(n_first == m->by_holder.n);
	CHECK(memcmp(&used, &m->used, sizeof(used)) == 0);
	check_expiries(m, n_expiring);
	list_for_each (i, &m->ending)
		CHECK(list_entry(i, struct entity, ending_link)->linked);
}
