/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities to posted descriptors: somebody leaves one, and whoever may gets copies of it. The
 * daemon keeps it in the queue of a socket, and has it nowhere else.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

/* Whoever were given the right to post would decide what all others get: so the origin alone has it. */
static struct service
service(const struct capability *c)
{
	struct service s = anchor_service(c);

	s.fds = !c->parent;
	s.fds_own = true;
	s.empty = !anchor_of(c->target)->posted;
	s.copies = true;
	return s;
}

static void
add_seals(uint8_t seals, struct text *t)
{
	static const struct {
		uint8_t seal;
		const char *name;
	} names[] = {
		{F_SEAL_SHRINK, "shrink"},
		{F_SEAL_GROW, "grow"},
		{F_SEAL_WRITE, "write"},
		{F_SEAL_FUTURE_WRITE, "future-write"},
		{F_SEAL_SEAL, "seal"},
	};
	const char *separator = "";

	text_add(t, " seals=");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (seals & names[i].seal) {
			text_addf(t, "%s%s", separator, names[i].name);
			separator = ",";
		}
	if (!*separator)
		text_add(t, "-");
}

/* Size and seals as they were when it was posted, of which the poster may have changed what is not sealed. */
static void
describe(const struct capability *c, struct text *t)
{
	const struct anchor *a = anchor_of(c->target);

	anchor_describe(c, t);
	if (!a->posted || !a->record.memory)
		return;
	text_addf(t, "memory=%" PRIu64, a->record.count);
	add_seals(a->record.seals, t);
	text_add(t, "\n");
}

const struct type fd_type = {
	.name = "fd",
	.rights = RIGHT_OPEN,
	.connects = RIGHT_OPEN,
	.target = ENTITY_ANCHOR,
	.origins = anchor_origins,
	.service = service,
	.describe = describe,
	.limits = anchor_limits,
};
