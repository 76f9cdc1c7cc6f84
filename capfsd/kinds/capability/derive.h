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

/* Can TO get one more slot, called NAME unless that is NULL? Returns: 0, or as capability_grant(). */
int derive_check_slot(struct change *ch, const struct session *to, const char *name, size_t n_name);

/* Stages a slot in TO below PARENT, for what SOURCE is for and called after it when NAME is NULL. */
int derive_add(struct change *ch, const struct capability *source, struct capability *parent,
	struct session *to, const char *name, size_t n_name,
	const struct capability_record *record, struct capability **ret);
