/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/model-service.h"

#include <string.h>

#include "tests/fixture.h"

struct world w;
struct session *root, *app, *inner;
struct entrypoint *web;
struct capability *origin;

void
service_setup(void)
{
	fixture_setup();
	world_set_now(1000 * MINUTE_USEC);
	world_init(&w);
	root = w.model->root;
	app = make_session(&w, root, "app", NULL);
	inner = make_session(&w, app, "inner", NULL);
	web = make_entrypoint(&w, root, "web");
	origin = make_origin(&w, web, 1, "web");
}

void
service_teardown(void)
{
	world_reap(&w);
	world_deinit(&w);
	fixture_teardown();
}

struct entity *
slot(struct session *s, const char *name)
{
	return entity_find_name(w.model, s->entity.id, ENTITY_CAPABILITY, name, strlen(name));
}
