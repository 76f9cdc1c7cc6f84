/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs: one is asked for, and waited for. Return: as perform(). */
#pragma once

#include <stdbool.h>

struct control;
struct controls;
struct exchange;
struct list;
struct visit;

/* For controls_resume(). */
void spawn_resume(struct controls *controls, struct list *waiter, bool first);

/* Returns: 0 or -errno. */
int spawn_init(struct controls *controls);
void spawn_deinit(struct controls *controls);

int perform_spawn(struct exchange *x);
int perform_wait(struct exchange *x);
/* V is answered, or gone. For hooks. */
void spawn_visit_answered(struct visit *v);
/* C ends, or waits for something else. */
void spawn_forget(struct control *c);
/* Is the time over that a WAIT may take? It counts from when it was asked first. */
bool spawn_is_late(struct exchange *x);
/* The WAIT of C is performed again when that is over. */
void spawn_arm(struct control *c);
