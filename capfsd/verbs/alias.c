/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * alias: the socket of a slot gets another name. It is no event: nobody has more or less by it. Whoever
 * may write in the slot's directory may ask; the slot needs no right, as with its own name.
 */
#include "config.h"

#include "capfsd/kinds/alias.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

static int
stage(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	const struct about about = {.capability = c, .session = c->session, .name = o->name};
	int answer = alias_add(o->change, c, o->name.p, o->name.n);

	return answer > 0 ? refuse_alias(o->request, answer, &about) : answer;
}

const struct verb verb_alias = {
	VERB_ROW(ALIAS, alias),
	.stage = stage,
};
