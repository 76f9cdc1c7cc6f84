/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is waited for: a program, a visit, what a session is to decide. Returns: as perform(). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct control;
struct controls;
struct exchange;
struct list;
struct program;
struct visit;

/* For controls_resume(). */
void wait_resume(struct controls *controls, struct list *waiter, bool first);

/* For controls_end(). */
void wait_end(struct list *waiter, uint64_t connection);

/* Returns: 0 or -errno. */
int wait_init(struct controls *controls);
void wait_deinit(struct controls *controls);

int perform_wait(struct exchange *x);
/* V is answered, or gone. For hooks. */
void wait_visit_answered(struct visit *v);
/* Performed again when something has become of P. Returns: 0, else refused. */
int wait_park(struct exchange *x, struct program *p);
/* C ends, or waits for something else. */
void wait_forget(struct control *c);
/* Is the time over that a WAIT may take? It counts from when it was asked first. */
bool wait_is_late(struct exchange *x);
/* It is refused where another request of the connection stands behind it, now or later. Returns: whether it is now. */
bool wait_gives_way(struct exchange *x);
/* The WAIT of C is performed again when that is over. */
void wait_arm(struct control *c);
