/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An alias is another name of a slot's socket, for clients that insist on one. It belongs to the slot,
 * whose session pays for it, and is shown in that and in all that is derived from it: whoever serves
 * something, or passes it on, knows what its clients call it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/model/entity.h"

struct change;
struct kind;

extern const struct kind alias_kind;

#define ALIASES_MAX 8 /* that a slot shows */

struct alias_record {
	uint64_t capability;
	uint8_t reserved[8];
};

struct alias {
	struct entity entity;
	struct alias_record record;
	struct capability *capability;
};

static inline struct alias *
alias_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct alias, entity);
}

enum {
	ALIAS_E_NAME = 1,
	ALIAS_E_EXISTS,   /* the slot shows one of that name */
	ALIAS_E_MANY,     /* … and ALIASES_MAX of others */
	ALIAS_E_DEAD,     /* the slot has ended */
	ALIAS_E_QUOTA_RAM,
};

/* The one of this name that C shows: its own, or of the nearest that it was derived from. NULL: none. */
struct alias *alias_find(const struct capability *c, const char *name, size_t n);

/* Of those that C shows the one with the smallest id above AFTER; NULL: no more. And how many there are. */
struct alias *alias_next(const struct capability *c, uint64_t after);
size_t alias_count(const struct capability *c);
/*
 * Of its own. The link count shows these alone: with those of others a change of one would have to be told of
 * all that is derived from the slot.
 */
size_t alias_count_own(const struct capability *c);

/* Stages one of C. Returns: 0, ALIAS_E_*; -errno. */
int alias_add(struct change *ch, struct capability *c, const char *name, size_t n);

/* Stages the same for TO, which is new, as FROM has of its own. Returns: 0, ALIAS_E_QUOTA_RAM; -errno. */
int alias_copy_all(struct change *ch, const struct capability *from, struct capability *to);
