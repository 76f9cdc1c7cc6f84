/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities to signals: counts that go from whoever raises to whoever waits. The daemon keeps the
 * count, so that neither of them ever waits for the other.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

static void
describe(const struct capability *c, struct text *t)
{
	const struct anchor_record *r = &anchor_of(c->target)->record;

	anchor_describe(c, t);
	text_addf(t, "count=%" PRIu64 "%s\n", r->count, r->flags & ANCHOR_ALARM ? " faults" : "");
}

const struct type signal_type = {
	.name = "signal",
	.rights = RIGHT_RAISE | RIGHT_WAIT,
	.connects = RIGHT_RAISE | RIGHT_WAIT,
	.target = ENTITY_ANCHOR,
	.origins = anchor_origins,
	.service = anchor_service,
	.describe = describe,
	.limits = anchor_limits,
};
