/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The steps of which derivations and changes in place are made: derive.c owns them, and adjust.c, in which
 * stands what else changes a capability, uses them. For these two alone. Each looks at what the change under
 * way has staged before; only derive_add() stages something.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"

struct change;

/*
 * C's record as the change leaves it, with the rights and the expiry that count: those that all its ancestors
 * have as well. In `rights` stand all of them.
 */
struct capability_record derive_held(struct change *ch, const struct capability *c);

/* Does HOW ask for the right to send descriptors to a server that takes none? */
bool derive_in_vain(const struct capability *c, const struct reductions *how);

/* Is any limit that HOW gives more than C has, whose derive_held() is HELD? */
bool derive_exceeds(struct change *ch, const struct capability *c,
	const struct capability_record *held, const struct reductions *how);

/*
 * Writes what HOW gives into RECORD, and leaves all else there as it is. Rights must be among those of HELD.
 * Returns: 0, CAPABILITY_E_NOT_HELD, _NOT_SMALLER (nothing would be left); then RECORD may not be used.
 */
int derive_apply(const struct capability_record *held, const struct reductions *how, uint64_t now,
	struct capability_record *record);

/*
 * What a capability is that is derived from SOURCE, which must have RIGHT for it, with at most what HOW leaves.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT, _NOT_HELD, _NOT_SMALLER.
 */
int derive_record(struct change *ch, struct capability *source, uint32_t right,
	const struct reductions *how, uid_t by_uid, struct capability_record *ret);

/* Its second half: stages the slot in TO that RECORD is for, with the caveats of HOW. Returns: as capability_grant(). */
int derive_slot(struct change *ch, struct capability *source, struct session *to, const char *name,
	size_t n_name, const struct reductions *how, const struct capability_record *record,
	struct capability **ret);

/* The one primitive: stages such a slot in TO. Returns: as capability_grant(). */
int derive(struct change *ch, struct capability *source, uint32_t right, struct session *to,
	const char *name, size_t n_name, const struct reductions *how, uid_t by_uid,
	struct capability **ret);

/* BASE, or BASE-2, BASE-3… if that is taken in TO. */
void derive_pick_name(struct change *ch, const struct session *to, const char *base,
	char name[NAME_BYTES_MAX + 1]);

/* Can TO get one more slot, called NAME unless that is NULL? Returns: 0, or as capability_grant(). */
int derive_check_slot(struct change *ch, const struct session *to, const char *name, size_t n_name);

/* Stages a slot in TO below PARENT, for what SOURCE is for and called after it when NAME is NULL. */
int derive_add(struct change *ch, const struct capability *source, struct capability *parent,
	struct session *to, const char *name, size_t n_name,
	const struct capability_record *record, struct capability **ret);
