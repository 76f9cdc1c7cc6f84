/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities to objects: what a server behind an entrypoint offers under a key of its choice.
 * They can be called, that is, connected to.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/types/types.h"

static struct list *
origins(struct entity *target)
{
	return &object_of(target)->origins;
}

static struct service
service(const struct capability *c)
{
	const struct object *o = object_of(c->target);

	return (struct service){
		.entrypoint = o->entrypoint,
		.object = o->entity.id,
		.key = o->record.key,
		.badge = o->record.badge,
		.socket = o->record.socket == OBJECT_STREAM ? SOCK_STREAM : SOCK_SEQPACKET,
		.listens = entrypoint_listens(o->entrypoint),
		.calls = o->record.protocol == OBJECT_CALLS,
		.counts = o->record.protocol == OBJECT_CALLS ||
			entrypoint_takes(o->entrypoint, ENTRYPOINT_TAKES_COUNTS),
		.fds = entrypoint_takes(o->entrypoint, ENTRYPOINT_TAKES_FDS),
		.caveats = entrypoint_takes(o->entrypoint, ENTRYPOINT_TAKES_CAVEATS),
	};
}

static void
describe(const struct capability *c, struct text *t)
{
	const struct service s = service(c);

	text_add(t, "entrypoint=");
	session_label(s.entrypoint->session, t);
	text_addf(t, "/%s\nobject=%" PRIu64 " badge=0x%" PRIx64 "\nsocket=%s\n",
		s.entrypoint->entity.name, s.object, s.badge,
		s.socket == SOCK_STREAM ? "stream" : "seqpacket");
}

/*
 * The daemon counts connections where it accepts them; what is asked is counted by servers that speak the library's
 * protocol, which alone has methods, and by those that say that they do. What a connection carries is seen by the server alone. Where all slots
 * are names of one socket, all or none of them take descriptors.
 */
static struct kept_limits
limits(const struct capability *c)
{
	const struct service s = service(c);

	if (s.listens)
		return (struct kept_limits){
			.kept = s.fds ? 0 : KEPT_FDS,
			.why = ", whose server accepts by itself",
		};
	if (!s.calls)
		return (struct kept_limits){
			.kept = KEPT_ALL & ~KEPT_METHODS & ~(s.caveats ? 0 : KEPT_CAVEATS),
			.why = s.caveats ? ": its service does not speak the library's protocol"
					 : ": its service does not speak the library's protocol, nor ask for caveats",
		};
	return (struct kept_limits){
		.kept = s.caveats ? KEPT_ALL : KEPT_ALL & ~KEPT_CAVEATS,
		.why = ": its service does not ask for caveats",
	};
}

const struct type object_type = {
	.name = "object",
	.rights = RIGHT_CALL,
	.connects = RIGHT_CALL,
	.target = ENTITY_OBJECT,
	.origins = origins,
	.service = service,
	.describe = describe,
	.limits = limits,
};
