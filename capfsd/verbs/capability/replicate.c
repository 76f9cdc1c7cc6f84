/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * replicate: this session gets another slot, derived from this one, with at most its rights and
 * limits; so it can be ended alone, or passed on with less.
 */
#include "config.h"

#include <errno.h>

#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

/* Replicas share what is left of the source: a quantity of their own would be there twice. */
static int
prepare(struct operation *o)
{
	if (command_has(&o->command, KEY_CALLS))
		return refuse(o->request, EINVAL,
			"'calls' is a quantity: it is granted, not replicated");
	return 0;
}

static int
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	const struct word *as = &o->command.value[KEY_AS];
	int answer;

	if (command_has(&o->command, KEY_TARGET))
		return stage_reached(o, source->session, &o->reductions);
	answer = capability_replicate(
		o->change, source, as->p, as->n, &o->reductions, o->request->uid, &made);
	return stage_slot(o, answer, source, source->session, made);
}

const struct verb verb_replicate = {
	VERB_ROW(REPLICATE, replicate),
	.lasting = true,
	.keys = KEY_BIT(KEY_AS) | KEY_BIT(KEY_TARGET) | KEYS_REDUCTIONS,
	.usual = KEY_BIT(KEY_AS),
	.hidden = KEY_BIT(KEY_CALLS),
	.right = RIGHT_REPLICATE,
	.prepare = prepare,
	.stage = stage,
};
