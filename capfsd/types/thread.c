/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities to threads: to a program of a session, with a right for each thing that can be done to it or
 * asked of it. It ends with the record of its thread.
 */
#include "config.h"

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

#define RIGHTS_THREAD (RIGHT_WAIT | RIGHT_KILL | RIGHT_PAUSE | RIGHT_AFFINITY | RIGHT_SIGNAL)

/* What has lost its thread is hidden, and nobody asks. */
static void
describe(const struct capability *c, struct text *t)
{
	const struct program *p = anchor_of(c->target)->program;

	anchor_describe(c, t);
	text_addf(t, "thread=%s session=", p ? p->entity.name : "none");
	session_label(anchor_of(c->target)->session, t);
	text_add(t, "\n");
}

const struct type thread_type = {
	.name = "thread",
	.rights = RIGHTS_THREAD,
	.connects = RIGHTS_THREAD,
	.target = ENTITY_ANCHOR,
	.origins = anchor_origins,
	.service = control_service,
	.describe = describe,
	.limits = anchor_limits,
};
