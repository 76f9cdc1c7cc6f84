/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the types whose target is an anchor have in common. */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

struct list *
anchor_origins(struct entity *target)
{
	return &anchor_of(target)->origins;
}

struct service
anchor_service(const struct capability *c)
{
	return (struct service){
		.answered = true,
		.object = c->target->id,
		.badge = anchor_of(c->target)->record.badge,
		.socket = SOCK_SEQPACKET,
	};
}

struct service
control_service(const struct capability *c)
{
	const struct anchor *a = anchor_of(c->target);
	struct service s = anchor_service(c);

	s.controlled = true;
	s.root = &a->session->entity;
	if (a->record.type == TYPE_THREAD)
		s.root = a->program ? &a->program->entity : NULL;
	return s;
}

void
anchor_describe(const struct capability *c, struct text *t)
{
	text_addf(t, "object=%" PRIu64 " badge=0x%" PRIx64 "\nsocket=seqpacket\n", c->target->id,
		anchor_of(c->target)->record.badge);
}

struct kept_limits
anchor_limits(const struct capability *c)
{
	return (struct kept_limits){
		.kept = KEPT_ALL & ~(KEPT_METHODS | KEPT_CAVEATS),
		.why = ": the daemon itself answers there",
	};
}
