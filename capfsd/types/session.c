/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities to sessions: by one its holder reaches a session that has no name from where it is, in commands
 * and at its socket. Its rights say for what.
 */
#include "config.h"

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

#define RIGHTS_SESSION (RIGHT_CALL | RIGHT_ACCEPT | RIGHT_ACCOUNT | RIGHT_CONTROL | RIGHT_SPAWN)

static void
describe(const struct capability *c, struct text *t)
{
	anchor_describe(c, t);
	text_add(t, "session=");
	session_label(anchor_of(c->target)->session, t);
	text_add(t, "\n");
}

const struct type session_type = {
	.name = "session",
	.rights = RIGHTS_SESSION,
	.connects = RIGHT_CONTROL,
	.target = ENTITY_ANCHOR,
	.reaches = true,
	.origins = anchor_origins,
	.service = control_service,
	.describe = describe,
	.limits = anchor_limits,
};
