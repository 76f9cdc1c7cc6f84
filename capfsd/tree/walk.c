/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/tree/walk.h"

#include "capfsd/model/model.h"
#include "capfsd/tree/rows.h"

struct session *
walk_current(const struct walk *w)
{
	struct entity *e = entity_find(w->model, w->at->path[w->at->n_path - 1]);

	return e && e->kind == ENTITY_SESSION ? session_of(e) : NULL;
}

void
walk_enter(struct reading *at, const struct session *s)
{
	at->path[at->n_path++] = s->entity.id;
	at->phase = WALK_HEAD;
	at->last = at->last_parent = 0;
}

struct entity *
walk_shown(const struct walk *w, struct list *list, uint64_t after)
{
	struct entity *e = entity_next(w->model, list, after);

	while (e && !entity_is_shown(e))
		e = entity_next(w->model, list, e->id);
	return e;
}

void
walk_next_phase(struct reading *at)
{
	at->phase++;
	at->last = at->last_parent = 0;
}

bool
walk_on(const struct walk *w, struct session *s)
{
	struct reading *at = w->at;
	struct entity *e = s ? walk_shown(w, &s->owned[ENTITY_SESSION], at->last) : NULL;

	if (e && at->n_path <= SESSION_DEPTH_MAX) {
		walk_enter(at, session_of(e));
		return true;
	}
	at->last = at->path[--at->n_path];
	return false;
}

bool
walk_restless(const struct entity *e)
{
	return true;
}
