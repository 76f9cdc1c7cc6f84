/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One world for all cases of a program, and entrypoints/web in it. */
#pragma once

#include "tests/sockets-world.h"

extern struct world w;
extern struct answered a; /* the last one */
extern struct handed h;   /* the last one */

/* For tcase_add_checked_fixture(). */
void web_setup(void);
void web_teardown(void);

struct session *root(void);

/* entrypoints/web with the slot caps/web, and the root's control connection. Returns its channel. */
int serve_web(int *ret_control);
/* caps/web */
struct capability *web(void);
/* Writes TEXT to entrypoints/web/objects. Returns: the reply's errno. */
int add_web(int control, const char *text);
