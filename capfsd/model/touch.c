/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling what has changed. Each entity gets the stamp of a change once, and its hook is called
 * once for it. A capability is shown by all its ancestors (`holders`), so whoever has a stamp has
 * passed it on to its ancestors already: the walk up ends there, and a thousand siblings that go at
 * once cost one walk.
 */
#include "config.h"

#include "capfsd/model/private.h"

uint64_t
model_stamp(struct model *m)
{
	uint64_t now = m->now_usec() * 1000;

	m->stamp_nsec = now > m->stamp_nsec ? now : m->stamp_nsec + 1;
	return m->stamp_nsec;
}

static bool
touch(struct model *m, struct entity *e, uint64_t stamp)
{
	if (!e->linked || e->changed_nsec >= stamp)
		return false;
	e->changed_nsec = stamp;
	if (m->hooks && m->hooks->changed)
		m->hooks->changed(m->hooks_data, e);
	return true;
}

void
entity_used(struct model *m, struct entity *e)
{
	if (e->linked && m->hooks && m->hooks->used)
		m->hooks->used(m->hooks_data, e);
}

static void
touch_up(struct model *m, struct capability *c, uint64_t stamp)
{
	while (c && touch(m, &c->entity, stamp))
		c = c->parent;
}

void
capability_used(struct capability *c)
{
	struct model *m = c->session->model;

	entity_used(m, &capability_entrypoint(c)->entity);
	for (; c; c = c->parent)
		entity_used(m, &c->entity);
}

static void
touch_capability(struct model *m, struct capability *c, uint64_t stamp)
{
	touch_up(m, c, stamp);
	if (c->parent)
		touch_up(m, c->parent, stamp);
	else
		touch(m, &capability_entrypoint(c)->entity, stamp);
}

void
entity_touch_all(struct model *m, struct entity *e, uint64_t stamp)
{
	struct place place = entity_kind(e)->place(e);

	if (e->kind == ENTITY_CAPABILITY)
		touch_capability(m, capability_of(e), stamp);
	else
		touch(m, e, stamp);
	if (place.owner)
		touch(m, place.owner, stamp);
	if (place.payer)
		touch(m, &place.payer->entity, stamp);
}

static void
touch_tree(struct model *m, struct capability *top, uint64_t stamp)
{
	for (struct capability *c = top; c; c = capability_next_below(top, c))
		touch(m, &c->entity, stamp);
}

/* A capability shows its ancestors' limits, and whether its entrypoint is served. */
void
entity_touch_below(struct model *m, struct entity *e, uint64_t stamp)
{
	if (e->kind == ENTITY_CAPABILITY)
		touch_tree(m, capability_of(e), stamp);
	if (e->kind != ENTITY_ENTRYPOINT)
		return;
	list_for_each (i, &entrypoint_of(e)->objects)
		list_for_each (j, &list_entry(i, struct object, entity.owner_link)->origins)
			touch_tree(m, list_entry(j, struct capability, origin_link), stamp);
}

static void
tell_object(struct model *m, struct object *o)
{
	list_for_each (i, &o->origins)
		m->hooks->restricted(m->hooks_data, list_entry(i, struct capability, origin_link));
}

void
entity_tell_restricted(struct model *m, struct entity *e)
{
	if (!m->hooks || !m->hooks->restricted)
		return;
	switch ((enum entity_kind)e->kind) {
	case ENTITY_CAPABILITY:
		m->hooks->restricted(m->hooks_data, capability_of(e));
		break;
	case ENTITY_SESSION:
		list_for_each (i, &session_of(e)->slots)
			m->hooks->restricted(m->hooks_data,
				list_entry(i, struct capability, entity.owner_link));
		list_for_each (i, &session_of(e)->entrypoints)
			entity_tell_restricted(m, list_entry(i, struct entity, owner_link));
		break;
	case ENTITY_ENTRYPOINT:
		list_for_each (i, &entrypoint_of(e)->objects)
			tell_object(m, list_entry(i, struct object, entity.owner_link));
		break;
	case ENTITY_OBJECT:
		tell_object(m, object_of(e));
		break;
	case ENTITY_THREAD:
	case ENTITY_N_KINDS:
		break;
	}
}
