/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The listener that a service manager made: a second name of the root session's control. */
#pragma once

#include <stdbool.h>

struct controls;

/* Returns: 0 or -errno. */
int manager_init(struct controls *controls);
/* FD was left by a predecessor: if it is such a one, or was accepted of it, takes it. */
bool manager_adopt(struct controls *controls, int fd);
/* Is FD that listener, or a connection that it has accepted? */
bool manager_is(const struct controls *controls, int fd);
/* Closed, unless all is only forgotten; who is in its backlog waits for the next daemon. */
void manager_close(struct controls *controls);
void manager_deinit(struct controls *controls);
