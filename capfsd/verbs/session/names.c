/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rename, alias: a slot gets another name in its session, or its socket one more. Neither is an event: nobody
 * has more or less by it. What refers to the slot goes by its id, so connections and derivations stay. Whoever
 * may write in the slot's directory may ask for an alias; the slot needs no right, as with its own name.
 */
#include "config.h"

#include "capfsd/kinds/alias.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

static int
stage_rename(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	const struct about about = {.capability = c, .session = c->session, .name = o->name};
	int answer = capability_rename(o->change, c, o->name.p, o->name.n);

	return answer > 0 ? refuse_capability(o->request, answer, &about) : answer;
}

const struct verb verb_rename = {
	VERB_ROW(RENAME, rename),
	.stage = stage_rename,
};

static int
stage_alias(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	const struct about about = {.capability = c, .session = c->session, .name = o->name};
	int answer = alias_add(o->change, c, o->name.p, o->name.n);

	return answer > 0 ? refuse_alias(o->request, answer, &about) : answer;
}

const struct verb verb_alias = {
	VERB_ROW(ALIAS, alias),
	.stage = stage_alias,
};
