/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * transfer: the slot moves to another session, and this one ends. Unlike a grant it leaves nothing
 * here by which the slot could be ended again.
 */
#include "config.h"

#include <errno.h>

#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

/* What is in use cannot move: its connections and children would lose what they hang from. */
static int
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	const struct word *as = &o->command.value[KEY_AS];
	struct session *to = slot_receiver(o);
	int answer;

	if (!to)
		return 0;
	answer = capability_transfer(
		o->change, source, to, as->p, as->n, o->request->uid, &made);
	/*
	 * The common text for this answer is about a limit that is too small, which is not what
	 * happened.
	 */
	if (answer == CAPABILITY_E_IN_USE)
		return refuse(o->request, EBUSY,
			"%s has connections, or something is derived from it or was reached by it",
			source->entity.name);
	/*
	 * The reply waits until the old slot is gone, as its quota and its name are free only then.
	 */
	o->request->pending = source->entity.id;
	return stage_slot(o, answer, source, to, made);
}

const struct verb verb_transfer = {
	VERB_ROW(TRANSFER, transfer),
	.lasting = true,
	.keys = KEY_BIT(KEY_TO) | KEY_BIT(KEY_AS),
	.required = KEY_BIT(KEY_TO),
	.right = RIGHT_TRANSFER,
	.stage = stage,
};
