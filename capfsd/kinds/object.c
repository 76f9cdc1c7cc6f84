/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects. Their names are their keys, in decimal, so that the index of names finds them by key;
 * one that has ended keeps its key while it is reaped, beside a new one that got the key again. The
 * badge is new each time, and is how a server tells the two apart.
 *
 * The model calls the row, the verb `object` what stages. An object never moves to another
 * entrypoint, and its socket and protocol are for ever what they were when it was made.
 */
#include "config.h"

#include "capfsd/kinds/object.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/capability/type.h"
#include "capfsd/model/change.h"
#include "capfsd/model/check.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"
#include "capfsd/model/reap.h"
#include "capfsd/model/touch.h"

_Static_assert(sizeof(struct object_record) == 32, "stored");

static void
object_init(struct model *m, struct entity *e)
{
	list_init(&object_of(e)->origins);
}

/*
 * The session of the entrypoint pays, whoever gets capabilities to it: a server decides how many
 * objects it has.
 */
static struct place
object_place(const struct entity *e)
{
	struct entrypoint *ep = object_of(e)->entrypoint;

	return (struct place){&ep->entity, &ep->objects, ep->session};
}

static size_t
key_format(uint64_t key, char buffer[NUMBER_BYTES_MAX])
{
	return (size_t)snprintf(buffer, NUMBER_BYTES_MAX, "%" PRIu64, key);
}

/* By badge over all entrypoints; whose object it is the caller compares. */
static struct object *
find_badge(struct model *m, uint64_t badge)
{
	struct index_link *i = index_first(&m->by_badge, index_hash_id(badge));

	for (; i; i = index_next(i)) {
		struct object *o = container_of(i, struct object, badge_link);

		if (o->record.badge == badge)
			return o;
	}
	return NULL;
}

/* A badge that two objects have would let a server serve one to a client of the other. */
static int
object_resolve(struct model *m, struct entity *e)
{
	struct object *o = object_of(e);
	struct entity *owner = entity_find(m, o->record.entrypoint);
	char key[NUMBER_BYTES_MAX];

	if (!owner || owner->kind != ENTITY_ENTRYPOINT || o->record.socket > OBJECT_SEQPACKET)
		return -EBADMSG;
	if (o->record.protocol > OBJECT_CALLS ||
		(o->record.protocol == OBJECT_CALLS && o->record.socket != OBJECT_SEQPACKET))
		return -EBADMSG;
	o->entrypoint = entrypoint_of(owner);
	key_format(o->record.key, key);
	if (strcmp(key, e->name) != 0 || (o->record.flags & ~OBJECT_DEAD))
		return -EBADMSG;
	if (!o->record.badge || find_badge(m, o->record.badge))
		return -EBADMSG;
	return load_used(&m->header.next_badge, o->record.badge);
}

static void
object_link(struct model *m, struct entity *e)
{
	struct object *o = object_of(e);

	o->entrypoint->n_objects++;
	/* It fails only in an index without any bucket, and model_new() has made some. */
	if (index_add(&m->by_badge, &o->badge_link, index_hash_id(o->record.badge)) < 0)
		abort();
}

static void
object_unlink(struct model *m, struct entity *e)
{
	assert(list_empty(&object_of(e)->origins));
	object_of(e)->entrypoint->n_objects--;
	index_remove(&m->by_badge, &object_of(e)->badge_link);
}

static unsigned
object_applied(struct model *m, struct entity *e, const void *old)
{
	const struct object_record *before = old;

	if (!((object_of(e)->record.flags & ~before->flags) & OBJECT_DEAD))
		return 0;
	entity_set_ending(m, e);
	return APPLIED_RESTRICTED;
}

static struct session *
object_session(const struct entity *e)
{
	return object_of(e)->entrypoint->session;
}

static bool
object_is_doomed(const struct entity *e)
{
	return (object_of(e)->record.flags & OBJECT_DEAD) ||
		entity_is_doomed(&object_of(e)->entrypoint->entity);
}

static bool
object_is_ending(const struct entity *e)
{
	return object_of(e)->record.flags & OBJECT_DEAD;
}

/*
 * Origins, each with all that was derived from it, go before the object, since their records refer
 * to it.
 */
static int
object_reap(struct reaper *r, struct entity *e)
{
	list_for_each (i, &object_of(e)->origins) {
		struct capability *c = list_entry(i, struct capability, origin_link);
		int a = reap_entity(r, &c->entity);

		if (a)
			return a;
	}
	return reap_one(r, e);
}

/*
 * Capabilities show whether they are served; what is known of that comes from the entrypoint
 * through here.
 */
static void
object_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp)
{
	list_for_each (i, &object_of(e)->origins)
		entity_touch_below(m, &list_entry(i, struct capability, origin_link)->entity, touch, stamp);
}

/* Its origins are the uppermost capabilities that it restricts. */
static void
object_tell_restricted(struct model *m, struct entity *e)
{
	list_for_each (i, &object_of(e)->origins)
		entity_tell_restricted(m, &list_entry(i, struct capability, origin_link)->entity);
}

/* One that has ended keeps its badge in the index, and is not found by it any more. */
static void
object_check(struct model *m, struct entity *e)
{
	struct object *o = object_of(e);

	model_holds(M41, o->entrypoint->entity.id == o->record.entrypoint);
	model_holds(M40, o->record.badge > 0 && o->record.badge < m->header.next_badge);
	model_holds(M40, entity_is_doomed(e) || object_find(o->entrypoint, o->record.badge) == o);
	list_for_each (i, &o->origins) {
		struct capability *c = list_entry(i, struct capability, origin_link);

		model_holds(M13, capability_object(c) == o && !c->parent);
	}
}

static void
object_check_all(struct model *m)
{
	model_holds(M40, m->n[ENTITY_OBJECT] == m->by_badge.n);
}

const struct kind object_kind = {
	.size = sizeof(struct object),
	.record_offset = offsetof(struct object, record),
	.record_bytes = sizeof(struct object_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.init = object_init,
	.place = object_place,
	.names_repeat = true,
	.session = object_session,
	.is_doomed = object_is_doomed,
	.is_ending = object_is_ending,
	.resolve = object_resolve,
	.link = object_link,
	.unlink = object_unlink,
	.applied = object_applied,
	.reap = object_reap,
	.touch_below = object_touch_below,
	.tell_restricted = object_tell_restricted,
	.check = object_check,
	.check_all = object_check_all,
};

/*
 * The object with this key that has not ended, also as this change leaves it. The walk goes on over
 * those of the same key that are still being removed; the general lookup would stop at any of them.
 */
static struct object *
find_key(struct change *ch, struct entrypoint *ep, const char *key, size_t n)
{
	struct model *m = change_model(ch);
	uint64_t owner = ep->entity.id;
	struct index_link *i = index_first(&m->by_name,
		entity_hash_name(m, owner, ENTITY_OBJECT, key, n));
	const struct object_record *record;
	struct entity *e;

	for (; i; i = index_next(i)) {
		e = container_of(i, struct entity, name_link);
		record = change_record(ch, e);
		if (entity_is_named(e, owner, ENTITY_OBJECT, key, n) &&
			!(record->flags & OBJECT_DEAD))
			return object_of(e);
	}
	e = change_find_added(ch, owner, ENTITY_OBJECT, key, n);
	return e ? object_of(e) : NULL;
}

/* The badge comes from the change, so that an aborted one leaves it to the next. */
static int
object_new(struct change *ch, struct entrypoint *ep, uint64_t key, const char *name, size_t n,
	enum object_socket socket, enum object_protocol protocol, struct object **ret)
{
	struct entity *e = entity_new(change_model(ch), ENTITY_OBJECT, name, n);
	struct object *o;
	int r;

	if (!e)
		return -ENOMEM;
	o = object_of(e);
	o->entrypoint = ep;
	o->record = (struct object_record){
		.entrypoint = ep->entity.id,
		.key = key,
		.badge = change_new_badge(ch),
		.socket = (uint8_t)socket,
		.protocol = (uint8_t)protocol,
	};
	r = change_add(ch, e);
	if (r == 0)
		*ret = o;
	return r;
}

/*
 * A server that starts again names all its objects again: what is there is not an error, unless it
 * would have to become something else.
 */
int
object_add(struct change *ch, struct entrypoint *ep, uint64_t key, enum object_socket socket,
	enum object_protocol protocol, struct object **ret)
{
	char name[NUMBER_BYTES_MAX];
	size_t n = key_format(key, name);
	enum quota_kind kind;
	struct object *o;

	if (entity_is_doomed(&ep->entity))
		return ENTRYPOINT_E_CLOSING;
	o = find_key(ch, ep, name, n);
	if (o && (o->record.socket != socket || o->record.protocol != protocol))
		return ENTRYPOINT_E_EXISTS;
	if (o) {
		*ret = o;
		return 0;
	}
	if (!change_affords(ch, ep->session, &object_kind.cost, &kind))
		return ENTRYPOINT_E_QUOTA_RAM;
	return object_new(ch, ep, key, name, n, socket, protocol, ret);
}

int
object_set_was(struct change *ch, struct object *o, uint64_t badge)
{
	struct object_record *record = change_edit(ch, &o->entity);

	if (!record)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(record->was); i++)
		record->was[i] = (uint8_t)(badge >> (8 * i));
	return 0;
}

/*
 * One mark, which all capabilities to it see; their connections are ended by the hook after the
 * commit.
 */
int
object_end(struct change *ch, struct object *o)
{
	struct object_record *record;

	if (entity_is_doomed(&o->entity))
		return 0;
	record = change_edit(ch, &o->entity);
	if (!record)
		return -ENOMEM;
	record->flags |= OBJECT_DEAD;
	return 0;
}

struct object *
capability_object(const struct capability *c)
{
	return c->record.type == TYPE_OBJECT ? object_of(c->target) : NULL;
}

/* Of another entrypoint's object a server learns nothing, not even that the badge is in use. */
struct object *
object_find(struct entrypoint *ep, uint64_t badge)
{
	struct object *o = find_badge(ep->session->model, badge);

	return o && o->entrypoint == ep && !entity_is_doomed(&o->entity) ? o : NULL;
}
