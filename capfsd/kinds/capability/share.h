/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A share: a slot appears, immutable, in other sessions, those of now and those that come later. It belongs to
 * the slot, of which it is the only one, and is paid by its session; each slot that it makes is paid by the
 * session that gets it. A session without room for one is told, and gets it when there is room.
 *
 * A slot that it has made has BY_SHARE for its maker, and is derived from the shared slot like any other: what
 * ends or limits that, ends or limits it. The share itself only makes and ends. What somebody else has ended of
 * it, it does not make again, unless it is written anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/model/model.h"

struct change;
struct kind;

extern const struct kind share_kind;

/* With whom. They stand in records. */
enum share_with {
	SHARE_NONE, /* it is being withdrawn, and goes when all that it made has ended */
	SHARE_CHILDREN,
	SHARE_SUBTREE,
	SHARE_SIBLINGS,
	SHARE_SESSION,
	N_SHARE_WITH,
};

enum {
	SHARE_HAS_RIGHTS = 1 << 0, /* the bits of `given`, as in struct reductions */
	SHARE_HAS_METHODS = 1 << 1,
	SHARE_HAS_CALLS = 1 << 2,
	SHARE_HAS_CONNS = 1 << 3,
	SHARE_HAS_RATE = 1 << 4,
	SHARE_HAS_EXPIRES = 1 << 5,
};

struct share_record {
	uint64_t capability;
	uint64_t scope; /* the session that all whom it is for are in, or that it is for alone */
	uint64_t written;      /* another one whenever it is written */
	uint64_t settled_upto; /* an older daemon's: sessions with an id up to this one get nothing more of it */
	uint64_t calls, conns, rate, expires_usec;
	uint32_t rights;
	uint8_t with;  /* enum share_with */
	uint8_t given;
	uint8_t n_methods;
	uint8_t changed; /* what was made before is not as it should be */
	uint8_t reserved[8];
	struct method_range methods[METHODS_MAX];
};

struct share {
	struct entity entity;
	struct share_record record;
	struct capability *capability;
	struct list scope_link; /* session.shares of the scope */
	struct list work_link;  /* model.sharing, while there are sessions to look at */
	struct list declined;   /* of struct declined: who does not want it any more */
	uint64_t at;   /* the id of the last slot, or session, that was looked at */
	bool gives;    /* those who should not have it have lost it: now the others get it */
	bool settled;  /* all have got it with the change that makes it */
};

static inline struct share *
share_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct share, entity);
}

/* The one of C, or NULL. */
struct share *share_find(const struct capability *c);

/* " children", …: whom it is for, as a command has it. */
void share_format_with(struct model *m, const struct share *s, struct text *t);

/*
 * Stages that C is shared as WITH and HOW say, also if it is shared already; S is the session of SHARE_SESSION,
 * else NULL. What it makes and ends is done by share_run(), in slices.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT (share), _NOT_HELD, _NOT_SMALLER, _QUOTA_RAM; -errno.
 */
int share_stage(struct change *ch, struct capability *c, enum share_with with,
	const struct session *s, const struct reductions *how, struct share **ret);

/* For sharing.c: what is asked of a derivation for it, and what that would be. */
struct reductions share_reductions(const struct share_record *r);
int share_derive(struct change *ch, const struct share *share, struct capability_record *ret);

/*
 * Stages what SHARE gives to all whom it is for, where the same change makes it, and they are few and have room:
 * then whoever shared is answered with that change. Else share_run() does it. Returns: 0 or -errno.
 */
int share_begin(struct change *ch, struct share *share);

/* Stages what is shared with S, which the same change makes, up to a bound; share_run() does the rest. */
int share_welcome(struct change *ch, struct session *s);

/*
 * Looks at BUDGET slots or sessions at most, and gives and ends what is to be, in one transaction.
 * Returns: 1 if more is to do, 0 if nothing is left, -errno.
 */
int share_run(struct model *m, unsigned budget);

static inline bool
share_is_due(const struct model *m)
{
	return !list_empty(&m->sharing) || !list_empty(&m->unshared);
}
