/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rename: a slot gets another name in its session. It is no event: nobody has more or less by it.
 * What refers to the slot goes by its id, so connections and derivations stay.
 */
#include "config.h"

#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

static int
stage(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	const struct about about = {.capability = c, .session = c->session, .name = o->name};
	int answer = capability_rename(o->change, c, o->name.p, o->name.n);

	return answer > 0 ? refuse_capability(o->request, answer, &about) : answer;
}

const struct verb verb_rename = {
	VERB_ROW(RENAME, rename),
	.stage = stage,
};
