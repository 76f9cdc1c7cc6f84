/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * health: whether what an entrypoint stands for can be reached, in the words of who serves it. A relay is
 * attached all the while that the server behind it is gone, and whoever looks at a slot is to see that. It is
 * a word about this server, and goes with it; nothing is decided by it.
 */
#include "config.h"

#include <errno.h>

#include "base/error.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

static int
stage(struct operation *o)
{
	const struct word *name = &o->command.value[KEY_ERROR];
	const struct entrypoint *ep = entrypoint_of(o->subject);
	int error = 0;

	if (!ep->thread)
		return refuse(o->request, ECONNREFUSED, "nobody serves it");
	if (command_has(&o->command, KEY_ERROR)) {
		error = error_number(name->p, name->n);
		if (error == 0)
			return refuse(o->request, EINVAL, "no error is called '%.*s'", (int)name->n, name->p);
	}
	o->unchanged = ep->thread->record.error == (uint32_t)error;
	if (o->unchanged)
		return 0;
	operation_tell(o, ep->session, " entrypoint=%s health=%s", ep->entity.name,
		error ? error_name(error) : "ok");
	return thread_set_error(o->change, ep->thread, (uint32_t)error);
}

const struct verb verb_health = {
	VERB_ROW(HEALTH, health),
	.keys = KEY_BIT(KEY_OK) | KEY_BIT(KEY_ERROR),
	.one_of = KEY_BIT(KEY_OK) | KEY_BIT(KEY_ERROR),
	.stage = stage,
};
