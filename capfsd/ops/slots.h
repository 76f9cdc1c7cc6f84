/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all verbs have in common that make a slot, or end one. For their stage functions only. */
#pragma once

#include "capfsd/ops/verb.h"

/*
 * The model's ANSWER to who would derive MADE from SOURCE, as a slot of TO that is called as AS
 * says. Returns: 0, refused or with reply and event; -errno as it was given.
 */
int stage_slot(struct operation *o, int answer, struct capability *source, struct session *to,
	struct capability *made);

/*
 * Instead of a derivation from the subject: what target= names is reached through it, for a slot of TO. It needs the
 * right of the verb. Returns: as stage_slot().
 */
int stage_reached(struct operation *o, struct session *to, const struct reductions *how);

/* The session that to= names, for which there must be one. NULL: refused. */
struct session *slot_receiver(struct operation *o);

/* May its own session end C? Else it is refused. */
bool may_drop(struct request *r, const struct capability *c);
