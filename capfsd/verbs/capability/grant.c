/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * grant: another session gets a slot derived from this one, with at most its rights and limits. The
 * new one ends with this one, and is ended by whoever has this one.
 */
#include "config.h"

#include "capfsd/ops/refusals.h"
#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

/*
 * The receiver is named from the slot's session and is below it: capabilities flow down the tree,
 * and any other way only as they are passed on in messages (import.c).
 */
static int
stage(struct operation *o)
{
	struct capability *source = capability_of(o->subject), *made = NULL;
	struct reductions how = o->reductions;
	const struct word *as = &o->command.value[KEY_AS];
	struct session *to = slot_receiver(o);
	int answer;

	if (!to)
		return 0;
	/* Least authority: without rights= the new slot can be used, not passed on. */
	if (!how.has_rights)
		how.immutable = true;
	if (command_has(&o->command, KEY_TARGET))
		return stage_reached(o, to, &how);
	if (!how.has_rights && !(capability_rights(source) & ~RIGHTS_COMMON))
		return refuse_right(o->request, source, capability_type(source)->connects);
	answer = capability_grant(
		o->change, source, to, as->p, as->n, &how, o->request->uid, &made);
	return stage_slot(o, answer, source, to, made);
}

const struct verb verb_grant = {
	VERB_ROW(GRANT, grant),
	.lasting = true,
	.keys = KEY_BIT(KEY_TO) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_TARGET) | KEYS_REDUCTIONS,
	.required = KEY_BIT(KEY_TO),
	.right = RIGHT_GRANT,
	.stage = stage,
};
