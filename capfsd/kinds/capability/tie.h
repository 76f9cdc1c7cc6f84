/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tie: a slot that lasts no longer than another one, from which it was not derived. Whoever has a capability to a
 * session, with `call`, reaches by it what that session has (target=). The slot that this makes is derived from that
 * session's, so that all limits of it hold, and whoever has that may end it; and it is tied to the one through which
 * it was reached, so that it ends with that, and may no more than that lets pass.
 *
 * A tie belongs to the slot that it ties, and goes with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/touch.h"

struct capability;
struct change;
struct kind;
struct reaper;
struct reductions;
struct session;

extern const struct kind tie_kind;

#define TIE_DEPTH_MAX 4 /* slots of which each was reached through the one before */

struct tie_record {
	uint64_t capability;
	uint64_t through;
};

struct tie {
	struct entity entity; /* its name is the id of its slot; as deep as slots were reached through each other */
	struct tie_record record;
	struct capability *capability;
	struct capability *through; /* NULL: it went under a daemon that knows no ties, and the slot is to go */
	struct list through_link;   /* the ring of those of one slot: few have any, and many pay for a list's head */
};

static inline struct tie *
tie_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct tie, entity);
}

/* The next that ends with the same slot, behind capability.ties. NULL: T was the last. */
const struct tie *tie_next(const struct tie *t);

/* Has what it was reached through ended? For ever, as capability_is_doomed(). */
bool tie_is_over(const struct tie *t);
/* Of all rights those that it lets pass now: to use the slot while there is `call`, and to pass it on as that may be. */
uint32_t tie_rights(const struct tie *t);
/* When what it was reached through expires. */
uint64_t tie_expires(const struct tie *t);

/*
 * Stages a slot in TO, derived from TARGET, of the session that THROUGH refers to, and tied to THROUGH, of which it is
 * a call. Both must have RIGHT, grant or replicate. *RET_OF: whom a refusal is about.
 * Returns: as capability_grant(); CAPABILITY_E_TIES; CAPABILITY_E_LIMIT_CALLS, _LIMIT_RATE, of THROUGH.
 */
int capability_reach(struct change *ch, struct capability *through, struct capability *target, uint32_t right,
	struct session *to, const char *name, size_t n_name, const struct reductions *how, uid_t by_uid,
	struct capability **ret, struct capability **ret_of);

/* Stages that TO, which this change adds, is tied as FROM is, if it is. Returns: 0, CAPABILITY_E_QUOTA_RAM; -ENOMEM. */
int tie_copy(struct change *ch, const struct capability *from, struct capability *to);

/* For the row of capabilities: what is tied to C goes before it, and shows what becomes of it. */
int ties_reap(struct reaper *r, struct capability *c);
void ties_touch_below(struct model *m, struct capability *c, entity_toucher *touch, uint64_t stamp);
/* Of what is tied to TOP and all that was derived from it. */
void ties_tell_restricted(struct model *m, struct capability *top);
