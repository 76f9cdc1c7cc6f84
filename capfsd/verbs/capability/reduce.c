/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reduce: the slot itself gets fewer rights, or smaller limits, and so has all that was derived
 * from it. It is never undone: there is no verb that makes a slot more. Or some of its calls are used up, for
 * who makes a session again that had used them.
 */
#include "config.h"

#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/* The words stand in the event as they were given: they are what was reduced. */
static int
stage(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	struct request *r = o->request;
	const struct about about = {
		.capability = c, .session = c->session, .right = RIGHT_REDUCE};
	uint64_t used = 0;
	int answer;

	if (command_has(&o->command, KEY_USED) && !command_number(r, &o->command, KEY_USED, &used))
		return 0;
	answer = command_has(&o->command, KEY_USED) ? capability_use_up(o->change, c, used)
						    : capability_reduce(o->change, c, &o->reductions);
	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_capability(r, answer, &about);
	text_addf(&r->text, "slot=%s id=%" PRIu64, c->entity.name, c->entity.id);
	operation_tell(o, c->session, " slot=%s uid=%u", c->entity.name, (unsigned)r->uid);
	o->says_words = true;
	return 0;
}

const struct verb verb_reduce = {
	VERB_ROW(REDUCE, reduce),
	.keys = KEYS_REDUCTIONS | KEY_BIT(KEY_USED),
	.alone = KEY_BIT(KEY_USED),
	.right = RIGHT_REDUCE,
	.stage = stage,
};
