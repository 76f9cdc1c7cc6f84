/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/kinds/entrypoint.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/private.h"

#define THREAD_NAME_BYTES_MAX (2 * KEY_BYTES_MAX)

static struct session *
find_session(struct model *m, uint64_t id)
{
	struct entity *e = entity_find(m, id);

	return e && e->kind == ENTITY_SESSION ? session_of(e) : NULL;
}

static void
entrypoint_init(struct model *m, struct entity *e)
{
	list_init(&entrypoint_of(e)->objects);
	list_init(&entrypoint_of(e)->held);
}

static struct place
entrypoint_place(const struct entity *e)
{
	struct session *s = entrypoint_of(e)->session;

	return (struct place){&s->entity, &s->entrypoints, &s->n_entrypoints, s};
}

static int
entrypoint_resolve(struct model *m, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);

	ep->session = find_session(m, ep->record.session);
	if (ep->record.flags & ~(uint32_t)(ENTRYPOINT_ONCE | ENTRYPOINT_DEAD | ENTRYPOINT_LISTEN))
		return -EBADMSG;
	if (ep->record.hold > ENTRYPOINT_HOLD_MAX ||
		(ep->record.hold && (ep->record.flags & (ENTRYPOINT_ONCE | ENTRYPOINT_LISTEN))))
		return -EBADMSG;
	return ep->session ? 0 : -EBADMSG;
}

void
entrypoint_set_thread(struct model *m, struct entrypoint *ep)
{
	struct entity *e = ep->record.thread ? entity_find(m, ep->record.thread) : NULL;

	if (ep->thread)
		ep->thread->serves = NULL;
	ep->thread = e && e->kind == ENTITY_THREAD ? thread_of(e) : NULL;
	if (ep->thread)
		ep->thread->serves = ep;
}

static void
entrypoint_link(struct model *m, struct entity *e)
{
	entrypoint_set_thread(m, entrypoint_of(e));
}

static void
entrypoint_unlink(struct model *m, struct entity *e)
{
	struct entrypoint *ep = entrypoint_of(e);

	assert(list_empty(&ep->objects) && list_empty(&ep->held));
	if (ep->thread)
		ep->thread->serves = NULL;
}

static unsigned
entrypoint_applied(struct model *m, struct entity *e, const void *old)
{
	struct entrypoint *ep = entrypoint_of(e);
	const struct entrypoint_record *before = old;
	bool ended = (ep->record.flags & ~before->flags) & ENTRYPOINT_DEAD;

	if (ep->record.thread != before->thread)
		entrypoint_set_thread(m, ep);
	if (ended)
		entity_set_ending(m, e);
	return (ended ? APPLIED_RESTRICTED : 0) |
		(ep->record.thread != before->thread ? APPLIED_BELOW : 0);
}

const struct kind entrypoint_kind = {
	.size = sizeof(struct entrypoint),
	.record_offset = offsetof(struct entrypoint, record),
	.record_bytes = sizeof(struct entrypoint_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.init = entrypoint_init,
	.place = entrypoint_place,
	.resolve = entrypoint_resolve,
	.link = entrypoint_link,
	.unlink = entrypoint_unlink,
	.applied = entrypoint_applied,
};

static void
object_init(struct model *m, struct entity *e)
{
	list_init(&object_of(e)->origins);
}

static struct place
object_place(const struct entity *e)
{
	struct entrypoint *ep = object_of(e)->entrypoint;

	return (struct place){&ep->entity, &ep->objects, &ep->n_objects, ep->session};
}

static size_t
key_format(uint64_t key, char buffer[KEY_BYTES_MAX])
{
	return (size_t)snprintf(buffer, KEY_BYTES_MAX, "%" PRIu64, key);
}

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

static int
object_resolve(struct model *m, struct entity *e)
{
	struct object *o = object_of(e);
	struct entity *owner = entity_find(m, o->record.entrypoint);
	char key[KEY_BYTES_MAX];

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

	/* As with the other indexes, there are buckets. */
	if (index_add(&m->by_badge, &o->badge_link, index_hash_id(o->record.badge)) < 0)
		abort();
}

static void
object_unlink(struct model *m, struct entity *e)
{
	assert(list_empty(&object_of(e)->origins));
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

const struct kind object_kind = {
	.size = sizeof(struct object),
	.record_offset = offsetof(struct object, record),
	.record_bytes = sizeof(struct object_record),
	.cost = {{[QUOTA_RAM] = QUOTA_RAM_SLOT}},
	.init = object_init,
	.place = object_place,
	.resolve = object_resolve,
	.link = object_link,
	.unlink = object_unlink,
	.applied = object_applied,
};

static void
thread_init(struct model *m, struct entity *e)
{
}

static struct place
thread_place(const struct entity *e)
{
	struct session *s = thread_of(e)->session;

	return (struct place){&s->entity, &s->threads, &s->n_threads, s};
}

static size_t
thread_format(uint64_t session, uint64_t number, char buffer[THREAD_NAME_BYTES_MAX])
{
	return (size_t)snprintf(buffer, THREAD_NAME_BYTES_MAX, "%" PRIu64 ".%" PRIu64, session,
		number);
}

static int
thread_resolve(struct model *m, struct entity *e)
{
	struct thread *t = thread_of(e);
	char name[THREAD_NAME_BYTES_MAX];

	t->session = find_session(m, t->record.session);
	if (!t->session || t->record.number > t->session->record.threads_made)
		return -EBADMSG;
	thread_format(t->record.session, t->record.number, name);
	return strcmp(name, e->name) == 0 ? 0 : -EBADMSG;
}

static void
thread_link(struct model *m, struct entity *e)
{
}

static void
thread_unlink(struct model *m, struct entity *e)
{
	struct thread *t = thread_of(e);

	if (t->serves)
		t->serves->thread = NULL;
	t->serves = NULL;
}

static unsigned
thread_applied(struct model *m, struct entity *e, const void *old)
{
	return 0;
}

const struct kind thread_kind = {
	.size = sizeof(struct thread),
	.record_offset = offsetof(struct thread, record),
	.record_bytes = sizeof(struct thread_record),
	.cost = {{[QUOTA_THREADS] = 1}},
	.init = thread_init,
	.place = thread_place,
	.resolve = thread_resolve,
	.link = thread_link,
	.unlink = thread_unlink,
	.applied = thread_applied,
};

static int
check_attach(struct change *ch, struct session *s, const char *name, size_t n_name, uint32_t flags,
	struct entrypoint **ret)
{
	struct quota cost = thread_kind.cost;
	enum quota_kind kind;
	struct entity *e;

	if (((const struct session_record *)change_record(ch, &s->entity))->state !=
		SESSION_RUNNING)
		return ENTRYPOINT_E_CLOSING;
	if (!name_is_valid(name, n_name))
		return ENTRYPOINT_E_NAME;
	e = entity_find_name(change_model(ch), s->entity.id, ENTITY_ENTRYPOINT, name, n_name);
	if (!e)
		e = change_find_added(ch, s->entity.id, ENTITY_ENTRYPOINT, name, n_name);
	*ret = e ? entrypoint_of(e) : NULL;
	if (e) {
		const struct entrypoint_record *record = change_record(ch, e);

		if (record->flags & ENTRYPOINT_DEAD)
			return ENTRYPOINT_E_CLOSING;
		if (record->thread)
			return ENTRYPOINT_E_SERVED;
		if ((record->flags ^ flags) & ENTRYPOINT_LISTEN)
			return ENTRYPOINT_E_MODE;
	} else {
		cost.n[QUOTA_RAM] += entrypoint_kind.cost.n[QUOTA_RAM];
	}
	if (change_affords(ch, s, &cost, &kind))
		return 0;
	return kind == QUOTA_THREADS ? ENTRYPOINT_E_QUOTA_THREADS : ENTRYPOINT_E_QUOTA_RAM;
}

static int
thread_add(struct change *ch, struct session *s, pid_t pid, uint64_t *ret_id)
{
	struct session_record *record = change_edit(ch, &s->entity);
	char name[THREAD_NAME_BYTES_MAX];
	struct thread *t;
	struct entity *e;
	size_t n;
	int r;

	if (!record)
		return -ENOMEM;
	n = thread_format(s->entity.id, record->threads_made + 1, name);
	e = entity_new(change_model(ch), ENTITY_THREAD, name, n);
	if (!e)
		return -ENOMEM;
	t = thread_of(e);
	t->session = s;
	t->record = (struct thread_record){
		.session = s->entity.id,
		.number = ++record->threads_made,
		.pid = (uint32_t)pid,
	};
	r = change_add(ch, e);
	if (r == 0)
		*ret_id = e->id;
	return r;
}

static int
entrypoint_add(struct change *ch, struct session *s, const char *name, size_t n,
	struct entrypoint **ret)
{
	struct entity *e = entity_new(change_model(ch), ENTITY_ENTRYPOINT, name, n);
	int r;

	if (!e)
		return -ENOMEM;
	entrypoint_of(e)->session = s;
	entrypoint_of(e)->record.session = s->entity.id;
	r = change_add(ch, e);
	if (r == 0)
		*ret = entrypoint_of(e);
	return r;
}

int
entrypoint_attach(struct change *ch, struct session *s, const char *name, size_t n_name,
	uint32_t flags, pid_t pid, struct entrypoint **ret)
{
	struct entrypoint_record *record;
	struct entrypoint *ep = NULL;
	uint64_t thread;
	int r;

	r = check_attach(ch, s, name, n_name, flags, &ep);
	if (r == 0)
		r = thread_add(ch, s, pid, &thread);
	if (r == 0 && !ep)
		r = entrypoint_add(ch, s, name, n_name, &ep);
	if (r)
		return r;
	record = change_edit(ch, &ep->entity);
	if (!record)
		return -ENOMEM;
	record->thread = thread;
	record->attachment++;
	record->flags = flags & (ENTRYPOINT_ONCE | ENTRYPOINT_LISTEN);
	record->hold = 0;
	*ret = ep;
	return 0;
}

int
entrypoint_hold(struct change *ch, struct entrypoint *ep, uint16_t n)
{
	struct entrypoint_record *record = change_edit(ch, &ep->entity);

	if (!record)
		return -ENOMEM;
	record->hold = n;
	return 0;
}

int
entrypoint_detach(struct change *ch, struct entrypoint *ep)
{
	struct entrypoint_record *record;

	if (!ep->thread)
		return 0;
	record = change_edit(ch, &ep->entity);
	if (!record || change_drop(ch, &ep->thread->entity) < 0)
		return -ENOMEM;
	record->thread = 0;
	if (record->flags & ENTRYPOINT_ONCE)
		record->flags |= ENTRYPOINT_DEAD;
	return 0;
}

int
entrypoint_end(struct change *ch, struct entrypoint *ep)
{
	struct entrypoint_record *record;

	if (entity_is_doomed(&ep->entity))
		return 0;
	record = change_edit(ch, &ep->entity);
	if (!record)
		return -ENOMEM;
	record->flags |= ENTRYPOINT_DEAD;
	return 0;
}

/* The object with this key that has not ended. */
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

int
object_add(struct change *ch, struct entrypoint *ep, uint64_t key, enum object_socket socket,
	enum object_protocol protocol, struct object **ret)
{
	char name[KEY_BYTES_MAX];
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
object_find(struct entrypoint *ep, uint64_t badge)
{
	struct object *o = find_badge(ep->session->model, badge);

	return o && o->entrypoint == ep && !entity_is_doomed(&o->entity) ? o : NULL;
}
