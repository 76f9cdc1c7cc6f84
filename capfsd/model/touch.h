/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling what has changed, for change.c, which begins it, and for the rows of the kinds, which
 * pass it on. Only ever after a commit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct capability;
struct entity;
struct model;

/* A new stamp, larger than all before: a value of entity.changed_nsec and shown_nsec. */
uint64_t model_stamp(struct model *m);

/* How something is told of: one of the next two. */
typedef bool entity_toucher(struct model *m, struct entity *e, uint64_t stamp);

/* The hook `changed` for E. Returns: false when it was told with this stamp, or is not linked. */
bool entity_touch(struct model *m, struct entity *e, uint64_t stamp);
/*
 * The hook `shown` for E, whose texts and lists show what has changed, while nothing else of it has.
 * Returns: false when it was called with this stamp, or E is not linked.
 */
bool entity_touch_shown(struct model *m, struct entity *e, uint64_t stamp);
/* For E, by TOUCH, and for what shows it. */
void entity_touch_all(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp);
/* Of a record that was applied: by TOUCH for everything that shows it further below. */
void entity_touch_below(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp);

/* The hook `used` for E. */
void entity_used(struct model *m, struct entity *e);

/* The hook `restricted` for every capability that E's record restricts. */
void entity_tell_restricted(struct model *m, struct entity *e);
void model_tell_restricted(struct model *m, struct capability *c);
