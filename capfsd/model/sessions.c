/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree of sessions: how one of them is found, what it is called, and what stands below it. */
#include "config.h"

#include <string.h>

#include "base/text.h"
#include "capfsd/model/kind.h"
#include "capfsd/model/model.h"

/*
 * Each step must be a valid name, so that neither an empty one nor `..` is looked up. A session
 * that is closing is already gone to who would use it.
 */
struct session *
session_find(struct model *m, struct session *s, const char *path, size_t n)
{
	const char *end = path + n;

	for (;;) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n_name = slash ? (size_t)(slash - path) : (size_t)(end - path);
		struct entity *e;

		if (!name_is_valid(path, n_name))
			return NULL;
		e = entity_find_name(m, s->entity.id, ENTITY_SESSION, path, n_name);
		if (!e || session_of(e)->record.state != SESSION_RUNNING)
			return NULL;
		s = session_of(e);
		if (!slash)
			return s;
		path = slash + 1;
	}
}

struct session *
session_find_id(struct model *m, uint64_t id)
{
	struct entity *e = entity_find(m, id);

	return e && e->kind == ENTITY_SESSION ? session_of(e) : NULL;
}

/* Along the links and not by recursion, so that the caller may stop at any of them. */
struct session *
session_next_below(const struct session *top, struct session *s)
{
	struct list *first = list_first(&s->owned[ENTITY_SESSION]);

	if (first)
		return session_of(list_entry(first, struct entity, owner_link));
	while (s != top) {
		struct list *next = s->entity.owner_link.next;

		if (next != &s->parent->owned[ENTITY_SESSION])
			return session_of(list_entry(next, struct entity, owner_link));
		s = s->parent;
	}
	return NULL;
}

void
session_label(const struct session *s, struct text *t)
{
	const struct session *path[SESSION_DEPTH_MAX + 1];
	size_t n = 0;

	for (; s; s = s->parent)
		path[n++] = s;
	while (n-- > 0) {
		text_add(t, path[n]->entity.name);
		if (n > 0)
			text_add(t, "/");
	}
}

bool
session_is_within(const struct session *s, const struct session *of)
{
	while (s && s != of)
		s = s->parent;
	return s;
}
