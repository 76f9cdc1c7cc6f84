/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A caveat is a word that the service understands and the daemon does not: "GET /images/json". It belongs to a
 * capability, whose session pays for it, and counts for all that is derived from that. Those that were given by
 * one command are a group: what is asked is allowed when each group, of the capability and of all its ancestors,
 * has one caveat that allows it. So whatever is added makes a capability less, whatever it says.
 *
 * They come with the capability, or by `reduce`, and go with it: nothing here, nor anywhere, removes or changes
 * one. A capability whose caveats are not all there cannot be called (capability-record.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/model/entity.h"

struct change;
struct kind;
struct text;

extern const struct kind caveat_kind;

#define CAVEAT_BYTES_MAX 240 /* of one */
#define CAVEATS_OWN_MAX 16   /* of a capability … */
#define CAVEATS_MAX 32       /* … and with those of its ancestors: what a server is told at once */

_Static_assert(CAVEATS_OWN_MAX <= UINT8_MAX >> MARK_CAVEATS_SHIFT, "the record has so many bits for them");

struct caveat_record {
	uint64_t capability;
	uint32_t group; /* the place of its first one among the capability's own */
	uint32_t n;
	char text[CAVEAT_BYTES_MAX]; /* printable, not terminated */
};

struct caveat {
	struct entity entity;
	struct caveat_record record;
	struct capability *capability;
};

static inline struct caveat *
caveat_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct caveat, entity);
}

/* Is that a caveat: 1 to CAVEAT_BYTES_MAX printable characters of ASCII? */
bool caveat_is_valid(const char *text, size_t n);

/* How many C has of its own, and with those of all its ancestors. */
unsigned caveats_count_own(const struct capability *c);
unsigned caveats_count(const struct capability *c);

/*
 * Stages a group of C, which may be new: N texts, each with a 0 behind it. Returns: 0, CAPABILITY_E_CAVEATS
 * (there would be too many), _QUOTA_RAM; -errno.
 */
int caveats_add(struct change *ch, struct capability *c, const char *texts, unsigned n);

/* Stages the same for TO, which is new, as FROM has of its own. Returns: as caveats_add(). */
int caveats_copy(struct change *ch, const struct capability *from, struct capability *to);

/*
 * Appends those that count for C, the oldest first: each with a 0 behind it, and one more behind the last of each
 * group.
 */
void caveats_list(const struct capability *c, struct text *t);

/* Appends C's own as they are written in commands, only="…", with BETWEEN between groups. */
void caveats_show(const struct capability *c, const char *between, struct text *t);
