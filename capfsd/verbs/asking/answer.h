/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What answers an ask, for the verbs by which it is given, and for what is asked where a policy decides at once. */
#pragma once

#include <stdbool.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/grammar.h"

struct operation;
struct request;

/* What is asked, of whom, and by whom: an ask that is there, or that is about to be. */
struct asking {
	const struct ask_record *record;
	struct session *session; /* that asks */
	const char *name;
	size_t n_name;
};

/*
 * Stages a slot of who asks, derived from SOURCE, as it asks and as far as GIVEN says. It is immutable.
 * Returns: 0, refused in R or with the slot in *RET; -errno.
 */
int answer_with(struct request *r, struct change *ch, const struct asking *asking, struct capability *source,
	const struct reductions *given, struct capability **ret);

/* The live slot NAME of S. NULL: refused. */
struct capability *find_slot(struct request *r, struct session *s, const struct word *name);

/* Until when is waited, from NOW on. Returns: is it said as it has to be? Else refused. */
bool take_timeout(struct operation *o, uint64_t now, uint64_t *ret_until_usec);

/* The event of a slot that was got by asking, told in the session that has it. */
void answer_tell(struct operation *o, const struct capability *made, uint64_t ask_id);
