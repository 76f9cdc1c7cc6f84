/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all things of the model share: an id that is never reused, a name within an owner, a place
 * in the owner's list in order of ids, and a record: the plain bytes that are stored.
 *
 * The record is the truth, everything else is derived from it when it is linked. A record is
 * changed only by a committed `struct change` (change.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/index.h"
#include "base/list.h"

struct model;
struct session;
struct staged;

#define ENTITY_SLOTS 2
#define ENTITY_ID_BITS 48 /* node numbers have so many for an id, beside those of a row */
#define ENTITY_ID_MAX ((UINT64_C(1) << ENTITY_ID_BITS) - 1)
#define NAME_BYTES_MAX 64
#define NUMBER_BYTES_MAX 21 /* a 64-bit number in decimal, terminated */
#define LABEL_BYTES_MAX 1024
#define SESSION_DEPTH_MAX 64
#define DERIVATION_DEPTH_MAX 1024

_Static_assert(SESSION_DEPTH_MAX <= UINT16_MAX && DERIVATION_DEPTH_MAX <= UINT16_MAX,
	"entity.depth has 16 bits");

enum entity_kind {
	ENTITY_SESSION = 1,
	ENTITY_CAPABILITY,
	ENTITY_ENTRYPOINT,
	ENTITY_OBJECT, /* has no name: its name is its key, in decimal */
	ENTITY_THREAD,
	ENTITY_ALIAS,
	ENTITY_PROGRAM,
	ENTITY_CONFINEMENT,
	ENTITY_LABELS,
	ENTITY_CAVEAT,
	ENTITY_ASK,
	ENTITY_POLICY,
	ENTITY_RULED,
	ENTITY_SHARE,
	ENTITY_ANCHOR,
	ENTITY_VISIT, /* its name is the id of its slot */
	ENTITY_TIE,   /* likewise */
	ENTITY_DECLINED,
	ENTITY_N_KINDS,
	/* In the store alone: a capability of a type that the first daemons did not know. */
	ENTITY_CAPABILITY_LATER = 128,
};

_Static_assert(ENTITY_N_KINDS < ENTITY_CAPABILITY_LATER, "which is no kind");

struct entity {
	uint64_t id;
	struct index_link id_link;   /* model.by_id */
	struct index_link name_link; /* model.by_name, under the owner's id, kind and name */
	struct list owner_link;      /* the owner's list of this kind, ascending ids */
	struct list ending_link;     /* model.ending, while it is the root of what is being ended */
	char *name;
	struct staged *staged;       /* what the change under way does to it (change.c), or NULL */
	uint64_t changed_nsec;       /* CLOCK_REALTIME of its last change, strictly growing */
	uint64_t shown_nsec;         /* … and of the last one of what it shows; never before that */
	/*
	 * One word for each of those outside the model who must remember something about an entity: 0 at
	 * first, never looked at here. Who has which stands in broker/fronts.c.
	 */
	uint64_t slots[ENTITY_SLOTS];
	uint16_t depth; /* how many of its kind stand above it, where they form a tree */
	uint8_t kind;   /* enum entity_kind */
	bool linked;  /* in the model; not yet, or no longer, while it is being published */
};

/* 1-64 of [A-Za-z0-9._-], no leading dot. */
bool name_is_valid(const char *name, size_t n);
/* The same, or whatever else names of this kind may be. */
bool entity_name_is_valid(enum entity_kind kind, const char *name, size_t n);

/* NULL if there is none. NAME need not be terminated. */
struct entity *entity_find(struct model *m, uint64_t id);
struct entity *entity_find_name(struct model *m, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);

/* Has it ended, or has what it belongs to, so that model_reap() will remove it? */
bool entity_is_doomed(const struct entity *e);

/* The session in whose tree E stands: itself when it is one. */
struct session *entity_session(const struct entity *e);
/* Do its owner's lists show E? What has ended they do not, even while it is still being taken apart. */
bool entity_is_shown(const struct entity *e);

/* The next in the owner's list after ID, which may be gone by now; 0 for the first. NULL: no more. */
struct entity *entity_next(struct model *m, struct list *owner_list, uint64_t id);
