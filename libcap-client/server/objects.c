/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The objects of a served entrypoint, and their listeners until somebody takes these. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/fd.h"
#include "libcap-client/server/serving.h"

struct object *
entrypoint_find(const struct capc_entrypoint *e, uint64_t key)
{
	struct index_link *i = index_first(&e->objects_by_key, index_hash_id(key));

	while (i && container_of(i, struct object, by_key)->key != key)
		i = index_next(i);
	return i ? container_of(i, struct object, by_key) : NULL;
}

struct object *
entrypoint_find_badge(const struct capc_entrypoint *e, uint64_t badge)
{
	struct index_link *i = index_first(&e->objects_by_badge, index_hash_id(badge));

	while (i && container_of(i, struct object, by_badge)->badge != badge)
		i = index_next(i);
	return i ? container_of(i, struct object, by_badge) : NULL;
}

static void
object_unlink(struct capc_entrypoint *e, struct object *o)
{
	fd_close(o->listener);
	index_remove(&e->objects_by_key, &o->by_key);
	index_remove(&e->objects_by_badge, &o->by_badge);
	free(o);
}

/* Makes room first, so that nothing can fail after the daemon has said yes. */
static int
object_prepare(struct capc_entrypoint *e, uint64_t key, struct object **ret)
{
	struct object *o;

	if (index_reserve(&e->objects_by_key, e->objects_by_key.n + 1) < 0 ||
		index_reserve(&e->objects_by_badge, e->objects_by_badge.n + 1) < 0)
		return -ENOMEM;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->key = key;
	o->listener = -1;
	*ret = o;
	return 0;
}

/* Takes O; replaces one with the same key. */
static void
object_link(struct capc_entrypoint *e, struct object *o)
{
	struct object *old = entrypoint_find(e, o->key);

	if (old && old->badge == o->badge) {
		o->listener = take_fd(old->listener);
		o->has_come = old->has_come;
	}
	if (old)
		object_unlink(e, old);
	index_add(&e->objects_by_key, &o->by_key, index_hash_id(o->key));
	index_add(&e->objects_by_badge, &o->by_badge, index_hash_id(o->badge));
}

static int
objects_begin(struct capc_entrypoint *e)
{
	if (e->session)
		session_begin(e->session);
	return entrypoint_check(e);
}

static int
objects_write(struct capc_entrypoint *e, struct text *command, char **ret_text)
{
	cleanup_text struct text node = {};

	text_addf(&node, "entrypoints/%s/objects", e->name);
	return session_do_text(e->session, WIRE_WRITE, &node, command, ret_text);
}

/* The badge behind KEY in "object=12 badge=0x4c was=0x7"; never 0. */
static int
parse_badge(const char *result, const char *key, uint64_t *ret)
{
	size_t n;
	const char *p = result_find(result, key, &n);
	uint64_t badge;
	char *end;

	if (!p || n < 3 || p[0] != '0' || p[1] != 'x')
		return -EBADMSG;
	errno = 0;
	badge = strtoull(p + 2, &end, 16);
	if (end != p + n || errno || badge == 0)
		return -EBADMSG;
	*ret = badge;
	return 0;
}

/* Has the daemon add it. */
static int
object_ask(struct capc_entrypoint *e, struct object *o, const char *how)
{
	cleanup_text struct text command = {};
	cleanup_free char *result = NULL;
	int r;

	text_addf(&command, "key=%" PRIu64 "%s%s%s", o->key, how && *how ? " " : "", how ? how : "",
		o->handler ? " protocol=calls" : "");
	r = objects_write(e, &command, &result);
	if (r == 0)
		r = parse_badge(result, "badge=", &o->badge);
	if (r == 0)
		parse_badge(result, "was=", &o->was);
	return r;
}

/* Where there is no daemon a badge lasts as long as the entrypoint. */
static void
object_number(struct capc_entrypoint *e, struct object *o)
{
	const struct object *old = entrypoint_find(e, o->key);

	o->badge = old ? old->badge : ++e->badge;
}

int
capc_object_add(struct capc_entrypoint *e, uint64_t key, capc_handler *f, void *data,
	const char *how, uint64_t *ret_badge)
{
	cleanup_free struct object *o = NULL;
	uint64_t badge;
	int r;

	r = objects_begin(e);
	if (r == 0)
		r = object_prepare(e, key, &o);
	if (r < 0)
		return r;
	o->handler = f;
	o->data = data;
	if (e->session)
		r = object_ask(e, o, how);
	else
		object_number(e, o);
	if (r < 0)
		return r;
	badge = o->badge;
	object_link(e, take_ptr(o));
	if (ret_badge)
		*ret_badge = badge;
	return 0;
}

uint64_t
capc_object_was(const struct capc_entrypoint *e, uint64_t key)
{
	const struct object *o = entrypoint_find(e, key);

	return o ? o->was : 0;
}

int
capc_object_remove(struct capc_entrypoint *e, uint64_t badge)
{
	cleanup_text struct text command = {};
	struct object *o;
	int r;

	r = objects_begin(e);
	if (r < 0)
		return r;
	o = entrypoint_find_badge(e, badge);
	text_addf(&command, "remove=%" PRIu64, badge);
	if (e->session)
		r = objects_write(e, &command, NULL);
	else
		r = o ? 0 : -ENOENT;
	if (o && (r == 0 || r == -ENOENT))
		object_unlink(e, o);
	return r;
}

void
objects_free(struct capc_entrypoint *e)
{
	for (size_t i = 0; i < e->objects_by_key.size; i++)
		while (e->objects_by_key.buckets[i])
			object_unlink(e, container_of(e->objects_by_key.buckets[i], struct object,
						 by_key));
	index_deinit(&e->objects_by_key);
	index_deinit(&e->objects_by_badge);
}

int
capc_listener(struct capc_entrypoint *e, uint64_t key, uint64_t timeout)
{
	uint64_t deadline = deadline_after(timeout);

	if (!e->session)
		return -EOPNOTSUPP;
	for (;;) {
		struct object *o = entrypoint_find(e, key);
		uint64_t now;
		int r;

		if (!o || (o->has_come && o->listener < 0))
			return -ENOENT;
		if (o->has_come)
			return take_fd(o->listener);
		r = o->listener_error;
		o->listener_error = 0;
		if (r < 0)
			return r;
		now = now_usec();
		r = capc_serve(e, deadline == UINT64_MAX ? deadline : deadline > now ? deadline - now : 0);
		if (r < 0)
			return r;
		o = entrypoint_find(e, key);
		if (now >= deadline && o && !o->has_come && !o->listener_error)
			return -ETIMEDOUT;
	}
}
