/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What most cases of the model start from: a service, and two sessions, one below the other. */
#pragma once

#include "tests/model-world.h"

extern struct world w;
extern struct session *root, *app, *inner;
extern struct entrypoint *web;
extern struct capability *origin;

/* For tcase_add_checked_fixture(). */
void service_setup(void);
void service_teardown(void);

/* Its slot NAME, or NULL. */
struct entity *slot(struct session *s, const char *name);
