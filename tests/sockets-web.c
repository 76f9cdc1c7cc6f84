/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/sockets-web.h"

struct world w;
struct answered a;
struct handed h;

void
web_setup(void)
{
	fixture_setup();
	world_init(&w);
}

void
web_teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

struct session *
root(void)
{
	return w.model->root;
}

int
serve_web(int *ret_control)
{
	*ret_control = world_control(&w, root());
	return world_serve(&w, *ret_control, "web", "stream");
}

struct capability *
web(void)
{
	return world_slot(&w, root(), "web");
}

int
add_web(int control, const char *text)
{
	return world_ask(&w, control, WIRE_WRITE, "entrypoints/web/objects", text, &a);
}
