/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * split: two slots of one, which have together what it had. What is given goes to the new one: some of the
 * rights, of the methods, or of the calls that are left.
 */
#include "config.h"

#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

static int
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	const struct word *as = &o->command.value[KEY_AS];
	int answer = capability_split(
		o->change, source, &o->reductions, as->p, as->n, o->request->uid, &made);

	return stage_slot(o, answer, source, source->session, made);
}

#define PART (KEY_BIT(KEY_RIGHTS) | KEY_BIT(KEY_METHODS) | KEY_BIT(KEY_CALLS))

const struct verb verb_split = {
	VERB_ROW(SPLIT, split),
	.lasting = true,
	.keys = KEY_BIT(KEY_AS) | PART,
	.one_of = PART,
	.right = RIGHT_REDUCE,
	.stage = stage,
};
