/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * That a session does not want what is shared with it: it has dropped the slot, or somebody has revoked it there. It
 * stands where the slot was and is paid by that session with a part of what the slot had cost, so that a slot can be
 * dropped however little room there is. It is of the share as that was written then: one that is written anew is for
 * all, and what was declined of it before is removed.
 *
 * It is never shown. The reaper makes it with the end of the slot, sharing.c asks for it and removes it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/model/entity.h"

struct capability;
struct change;
struct kind;
struct model;
struct reaper;
struct session;
struct share;

extern const struct kind declined_kind;

struct declined_record {
	uint64_t session, share;
	uint64_t written; /* of that share */
	uint64_t reserved;
};

struct declined {
	struct entity entity;
	struct declined_record record;
	struct session *session;
	struct share *share;    /* NULL: it is another one now, or none, and this is to go */
	struct list share_link; /* share.declined */
};

static inline struct declined *
declined_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct declined, entity);
}

/* Has S declined what SHARE gives? */
bool declined_is(struct model *m, const struct session *s, const struct share *share);

/*
 * The end of the slot C, of which nothing else is left; if a share had made it, and somebody else has ended it, it is
 * not to be made again. Returns: as reap_one().
 */
int declined_reap(struct reaper *r, struct capability *c);

/* What was declined of SHARE means nothing any more; share_run() removes it. */
void declined_forget(struct model *m, struct share *share);

/* Stages that all of S that means nothing goes, N at most, which counts down. Returns: 0, 1 if there is more; -errno. */
int declined_drop(struct change *ch, const struct session *s, unsigned *n);
