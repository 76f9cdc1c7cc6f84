/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * revoke: ends what was derived from a slot: all of it, with the slot itself, what one session has of
 * it, or one by its id. It takes no right but the file's: whoever has passed something on may end it.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/reach.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/slots.h"
#include "capfsd/verbs/verbs.h"

/*
 * Every end is final and their order does not matter, so that they may be done in parts. It goes
 * through all that is derived, at any depth, as the session may have got it through others. What
 * the last part has ended stands for all when it is asked whether the reply must wait.
 */
static int
revoke_of_session(struct operation *o, struct capability *c, const struct session *s)
{
	struct slices *part = &o->slices;
	struct request *r = o->request;
	struct capability *i = capability_next_below(c, part->last ? part->last : c);

	part->next = part->last;
	for (; i && part->n < part->max; i = capability_next_below(c, i)) {
		if (i->session != s || !capability_is_live(i))
			continue;
		if (capability_end(o->change, i) < 0)
			return -ENOMEM;
		part->next = i;
		part->n++;
	}
	part->more = part->n == part->max;
	if (part->done + part->n == 0)
		return refuse(r, ENOENT, "nothing derived from %s is held there", c->entity.name);
	r->pending = part->next->entity.id;
	if (!part->more)
		text_addf(&r->text, "revoked=%" PRIu64, part->done + part->n);
	return 0;
}

/* An id reaches down only: nobody ends what was not made of this slot. */
static struct capability *
find_below(struct request *r, struct capability *c, uint64_t id)
{
	struct entity *e = entity_find(r->model, id);
	struct capability *found = e && e->kind == ENTITY_CAPABILITY ? capability_of(e) : NULL;
	struct capability *up = found ? found->parent : NULL;

	while (up && up != c)
		up = up->parent;
	return up && capability_is_live(found) ? found : NULL;
}

/* The reply waits until the connections of what has ended are gone (`pending`). */
static int
revoke_one(struct operation *o, struct capability *c)
{
	o->request->pending = c->entity.id;
	text_add(&o->request->text, "revoked=1");
	return capability_end(o->change, c);
}

/* The slot itself stays: one mark in its record ends a million. */
static int
revoke_all(struct operation *o, struct capability *c)
{
	o->request->pending = c->entity.id;
	text_addf(&o->request->text, "revoked=%" PRIu32, c->n_children);
	return capability_end_children(o->change, c);
}

/* An id is never used again, so that a command that comes late ends nothing else. */
static int
revoke_by_id(struct operation *o, struct capability *c)
{
	struct capability *found;
	uint64_t id;

	if (!command_number(o->request, &o->command, KEY_ID, &id))
		return 0;
	found = find_below(o->request, c, id);
	if (!found)
		return refuse(o->request, ENOENT, "nothing derived from %s has that id",
			c->entity.name);
	return revoke_one(o, found);
}

static int
stage(struct operation *o)
{
	struct capability *c = capability_of(o->subject);
	struct session *s;

	operation_tell(o, c->session, " slot=%s uid=%u", c->entity.name,
		(unsigned)o->request->uid);
	o->says_words = true;
	if (command_has(&o->command, KEY_ALL))
		return revoke_all(o, c);
	if (command_has(&o->command, KEY_SELF))
		return may_drop(o->request, c) ? revoke_one(o, c) : 0;
	if (command_has(&o->command, KEY_ID))
		return revoke_by_id(o, c);
	s = find_session(o, c->session, KEY_TO, 0);
	return s ? revoke_of_session(o, c, s) : 0;
}

#define WHAT (KEY_BIT(KEY_ALL) | KEY_BIT(KEY_SELF) | KEY_BIT(KEY_TO) | KEY_BIT(KEY_ID))

const struct verb verb_revoke = {
	VERB_ROW(REVOKE, revoke),
	.lasting = true,
	.keys = WHAT,
	.one_of = WHAT,
	.stage = stage,
};
