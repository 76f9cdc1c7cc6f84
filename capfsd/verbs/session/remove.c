/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * remove: ends what has a directory: a session is closed, a slot is dropped, an entrypoint ends. What
 * is told of it is called so. Objects are removed by their entrypoint's verb.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

/* Its label goes into the event of its parent: its own events end with it. */
static int
close_session(struct operation *o)
{
	struct session *s = session_of(o->subject);
	int answer = session_close(o->change, s);

	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_session(o->request, answer, &(struct about){.session = s});
	/* The root is always busy, so there is a parent. */
	o->told_as = "close";
	operation_tell(o, s->parent, " id=%" PRIu64 " uid=%u", s->entity.id,
		(unsigned)o->request->uid);
	o->about = s;
	return 0;
}

/* With all that was derived from it, as a revocation that names the slot itself. */
static int
drop_slot(struct operation *o)
{
	struct capability *c = capability_of(o->subject);

	if (!may_drop(o->request, c))
		return 0;
	o->told_as = "drop";
	operation_tell(o, c->session, " slot=%s uid=%u", c->entity.name, (unsigned)o->request->uid);
	return capability_end(o->change, c);
}

/* Its objects end with it, and all capabilities to them, whoever has these. */
static int
end_entrypoint(struct operation *o)
{
	struct entrypoint *e = entrypoint_of(o->subject);

	o->told_as = "end";
	operation_tell(o, e->session, " entrypoint=%s uid=%u", e->entity.name,
		(unsigned)o->request->uid);
	return entrypoint_end(o->change, e);
}

/* What is derived from its slot loses it, too. It goes at once, so there is nothing to wait for. */
static int
remove_alias(struct operation *o)
{
	o->request->pending = 0;
	return change_drop(o->change, o->subject);
}

static int (*const ends[ENTITY_N_KINDS])(struct operation *o) = {
	[ENTITY_SESSION] = close_session,
	[ENTITY_CAPABILITY] = drop_slot,
	[ENTITY_ENTRYPOINT] = end_entrypoint,
	[ENTITY_ALIAS] = remove_alias,
};

/*
 * The reply waits until what it removes is gone, so that its name is free when the caller goes on.
 */
static int
stage(struct operation *o)
{
	if (!ends[o->subject->kind])
		return refuse(o->request, EPERM, "a thread lasts as long as its process");
	o->request->pending = o->subject->id;
	return ends[o->subject->kind](o);
}

const struct verb verb_remove = {
	VERB_ROW(REMOVE, remove),
	.lasting = true,
	.stage = stage,
};
