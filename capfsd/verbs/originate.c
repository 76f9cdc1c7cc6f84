/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * originate: a session gets the first capability, without a parent, to something for which the daemon
 * answers itself. What that is, is made with it, and goes with its last one. Objects get theirs by
 * `objects`, from who serves them.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/* What there can be in an origin: these are given to one session at a time, and not shared. */
static uint32_t
rights_origin(enum capability_type type)
{
	return (capability_types[type]->rights | RIGHTS_COMMON) & ~(uint32_t)RIGHT_SHARE;
}

/* "type=": one of those whose rows refer to an anchor. Returns: is it one? Else it is refused. */
static bool
find_type(struct operation *o, struct anchor_record *record)
{
	for (uint8_t i = 0; i < N_CAPABILITY_TYPES; i++)
		if (capability_types[i]->target == ENTITY_ANCHOR &&
			command_is(&o->command, KEY_TYPE, capability_types[i]->name)) {
			record->type = i;
			return true;
		}
	return refuse(o->request, EINVAL, "no type '%.*s' is originated", (int)o->command.value[KEY_TYPE].n,
		o->command.value[KEY_TYPE].p);
}

/* The slot for A in S. */
static int
stage_origin(struct operation *o, struct session *s, struct anchor *a)
{
	const struct word *as = &o->command.value[KEY_AS];
	const struct about about = {.session = s, .name = *as};
	struct request *r = o->request;
	struct capability *made;
	int answer = capability_originate(o->change, a->record.type, &a->entity, s, as->p, as->n,
		rights_origin(a->record.type), r->uid, &made);

	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_capability(r, answer, &about);
	r->made = &made->entity;
	text_addf(&r->text, "slot=%s id=%" PRIu64, made->entity.name, made->entity.id);
	operation_tell(o, s, " slot=%s id=%" PRIu64 " type=%s uid=%u", made->entity.name,
		made->entity.id, capability_type(made)->name, (unsigned)r->uid);
	return 0;
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject);
	struct anchor_record record = {};
	struct anchor *a;
	int answer;

	if (!find_type(o, &record))
		return 0;
	if (command_has(&o->command, KEY_FAULTS)) {
		if (record.type != TYPE_SIGNAL)
			return refuse(o->request, EINVAL, "'faults' is for a signal");
		record.flags |= ANCHOR_ALARM;
	}
	answer = anchor_add(o->change, s, &record, &a);
	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_anchor(o->request, answer, &(struct about){.session = s});
	return stage_origin(o, s, a);
}

const struct verb verb_originate = {
	VERB_ROW(ORIGINATE, originate),
	.lasting = true,
	.keys = KEY_BIT(KEY_TYPE) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_FAULTS),
	.required = KEY_BIT(KEY_TYPE) | KEY_BIT(KEY_AS),
	.stage = stage,
};
