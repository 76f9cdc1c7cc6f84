/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A world with one of everything: sessions below each other, entrypoints, slots, events. */
#pragma once

#include "tests/model-world.h"

/* Sets the clock, too. */
void populated_init(struct world *w);

/* By name, since restarts make new pointers. NULL: it is not there. */
struct session *session_at(struct world *w, const char *path);
struct capability *slot_in(struct world *w, struct session *s, const char *name);
struct entrypoint *entrypoint_in(struct world *w, struct session *s, const char *name);
