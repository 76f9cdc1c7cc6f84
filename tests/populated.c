/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/populated.h"

#include <check.h>
#include <string.h>

struct session *
session_at(struct world *w, const char *path)
{
	return session_find(w->model, w->model->root, path, strlen(path));
}

struct capability *
slot_in(struct world *w, struct session *s, const char *name)
{
	struct entity *e = entity_find_name(w->model, s->entity.id, ENTITY_CAPABILITY, name,
		strlen(name));

	return e ? capability_of(e) : NULL;
}

struct entrypoint *
entrypoint_in(struct world *w, struct session *s, const char *name)
{
	struct entity *e = entity_find_name(w->model, s->entity.id, ENTITY_ENTRYPOINT, name,
		strlen(name));

	return e ? entrypoint_of(e) : NULL;
}

void
populated_init(struct world *w)
{
	struct reductions how = {
		.has_calls = true,
		.calls = 100,
		.has_expires = true,
	};
	struct session *app, *inner;
	struct entrypoint *web;
	struct capability *c;
	struct change *ch;

	world_set_now(1000 * MINUTE_USEC);
	how.expires_usec = world_now() + MINUTE_USEC;
	world_init(w);
	app = make_session(w, w->model->root, "app", NULL);
	inner = make_session(w, app, "inner", NULL);
	web = make_entrypoint(w, w->model->root, "web");
	c = make_origin(w, web, 1, "web");
	ch = change_begin(w->model);
	ck_assert_int_eq(finish(ch, alias_add(ch, c, ".web.sock", 9)), 0);
	make_origin(w, make_entrypoint(w, app, "db"), 7, "db");
	c = make_grant(w, c, app, NULL, &how);
	ck_assert_int_eq(try_connect(w, c), 0);
	capability_disconnected(c);
	make_grant(w, c, inner, "deep", NULL);
	log_text(w->model, inner, "made everything");
	log_text(w->model, app, "and more");
	ck_assert_int_eq(events_store(w->model), 0);
}
