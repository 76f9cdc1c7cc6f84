/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the rows of the kinds need to stage the removal of what has ended: a budget that is counted
 * down in one place. model_reap() begins it (model.h); nobody else removes an entity that has ended.
 */
#pragma once

#include <stdbool.h>

struct change;
struct entity;
struct model;

struct reaper {
	struct change *ch;
	unsigned left; /* of the budget, in entities */
};

/*
 * E goes with this slice, and nothing that hangs on it is left by then. One that the slice has
 * already is passed over. Returns: 0, 1 when the budget is used up and E stays, -ENOMEM.
 */
int reap_one(struct reaper *r, struct entity *e);

/* E and all that hangs on it, as far as the budget goes. Returns: as reap_one(). */
int reap_entity(struct reaper *r, struct entity *e);

#define SLICE_MAX 4096
/*
 * After a transaction of up to N, which ended in R: the next are smaller when the store had no room
 * for it, and larger again when it had. Returns: is it worth trying again at once?
 */
bool model_adapt_slice(struct model *m, unsigned n, int r);
