/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper's children: how each is started, what its end means, and when the next one is due. None of them is
 * ever given up; one that ends again and again is started ever more slowly (base/backoff.h). A new
 * role is a line here and a row in family.c.
 */
#pragma once

#include <stdint.h>

struct fdstore;
struct keeper;

enum child_role {
	CHILD_HOLDER,
	CHILD_BINDER,
	CHILD_SPAWNER, /* never of ours: only when it was asked for */
	CHILD_N,
};

void family_init(struct keeper *k);

/* The first one, with what STORED has, if it is not NULL, and a binder. Returns: 0 or -errno. */
int family_start_holder(struct keeper *k, const struct fdstore *stored);

/* Children that have ended. */
void family_reap(struct keeper *k);

/* It is time for another one. */
void family_next_holder(struct keeper *k);
void family_next_binder(struct keeper *k);
/* Or to look whether the one that is there hangs. */
void family_look_at_binder(struct keeper *k);

/* The broker asks for a connection to the spawner, and it is time that it gets one. */
void family_want_spawner(struct keeper *k, uint32_t generation);
void family_give_spawner(struct keeper *k);
