/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words of a command that make a capability smaller: rights, limits, expiry. It owns how they are
 * written and which of them can be kept for whom. Verbs that derive or reduce have them decoded by
 * ops/verb.c, and ask nothing here themselves. It never changes a capability.
 */
#pragma once

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/ops/grammar.h"

/*
 * The reductions among the words of C; caveats go into ONLY, which must last as long. Returns: true, or false with
 * the refusal in R (EINVAL).
 */
bool command_reductions(struct request *r, const struct command *c, struct text *only,
	struct reductions *ret);

/* The set of keys whose limits nobody would keep for C: they are refused, and no usage shows them. */
key_set reductions_unkept(const struct capability *c);

/* Returns: true when HOW sets none of these limits, else false (refused, EOPNOTSUPP). */
bool reductions_can_be_kept(struct request *r, const struct capability *c,
	const struct reductions *how);
