/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A walk through a session and all below it that is made in pieces, for texts that tell of them all. Where it
 * is stands in struct reading as ids, from the top down, so that it goes on behind what has gone meanwhile;
 * whatever was there all the time is met once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct entity;
struct list;
struct model;
struct reading;
struct session;
struct text;

struct walk {
	struct model *model;
	struct session *top;
	struct reading *at;
	struct text *t;
};

/* What comes next of the session that is being told: `phase` of struct reading. */
enum walk_phase {
	WALK_HEAD,
	WALK_OBJECTS, /* `last_parent` is their entrypoint */
	WALK_SLOTS,
	WALK_CHILDREN,
};

/* The session that is being told; NULL: it has gone. */
struct session *walk_current(const struct walk *w);

/* S is told next; and of the one that is being told the next phase. */
void walk_enter(struct reading *at, const struct session *s);
void walk_next_phase(struct reading *at);

/* The first of LIST behind the id AFTER that is shown; NULL: no more. */
struct entity *walk_shown(const struct walk *w, struct list *list, uint64_t after);

/*
 * From S, the present session, to its next child, or back to its parent when there is none, or S is NULL. Returns:
 * was it down? When `n_path` is 0 the walk is over.
 */
bool walk_on(const struct walk *w, struct session *s);

/* Always: each entity below may change such a text. */
bool walk_restless(const struct entity *e);
