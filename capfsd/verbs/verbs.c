/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of the verbs, and the rows of those that are verbs by name only. Names are made from
 * the same list as numbers, so that none can be forgotten.
 */
#include "config.h"

#include "capfsd/verbs/verbs.h"

const char *const verb_names[VERB_N] = {
	[VERB_OTHER] = "other",
#define X(number, name) [VERB_##number] = #name,
	VERBS(X)
#undef X
};

static void
usage_call(struct request *r, struct entity *e, struct text *t)
{
	text_add(t, "one request of at most 65536 bytes; then read its reply from the same open file\n");
}

/* Its requests are the other front's, which does more with them than one change. */
const struct verb verb_call = {.name = "call", .usage = usage_call};

/* There is nothing to write to: such a request is always refused. */
const struct verb verb_write = {.name = "write"};
