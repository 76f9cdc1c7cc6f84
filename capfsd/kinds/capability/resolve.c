/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record of a capability as it comes from a store, which may be damaged in any way. */
#include "config.h"

#include "capfsd/kinds/capability/resolve.h"

#include <errno.h>

#include "capfsd/kinds/anchor.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/model/model.h"

/* A daemon that knows objects alone has ended what it could read, and left the others. */
static int
missing(const struct capability *c)
{
	return c->record.type == TYPE_OBJECT ? -EBADMSG : -ENOENT;
}

/* A parent of another target or type would lend its rights to what it was never made for. */
static int
resolve_parent(struct model *m, struct capability *c)
{
	struct entity *e = entity_find(m, c->record.parent);

	if (!e)
		return missing(c);
	if (e->kind != ENTITY_CAPABILITY || capability_of(e)->target != c->target ||
		capability_of(e)->record.type != c->record.type)
		return -EBADMSG;
	c->parent = capability_of(e);
	if (c->parent->entity.depth >= DERIVATION_DEPTH_MAX)
		return -EBADMSG;
	c->entity.depth = c->parent->entity.depth + 1;
	return 0;
}

/* An anchor is of one type. */
static bool
target_is_of(const struct entity *target, enum capability_type type)
{
	return target->kind != ENTITY_ANCHOR || anchor_of(target)->record.type == type;
}

/* Nothing of a capability may be asked of its type before this has looked at the record. */
static int
resolve_target(struct model *m, struct capability *c)
{
	const struct capability_record *r = &c->record;
	const struct type *type;

	if (r->type >= N_CAPABILITY_TYPES)
		return -EBADMSG;
	type = capability_type(c);
	c->target = entity_find(m, r->target);
	if (!c->target)
		return missing(c);
	if (c->target->kind != type->target || !target_is_of(c->target, r->type))
		return -EBADMSG;
	return r->rights & ~(RIGHTS_COMMON | type->rights) ? -EBADMSG : 0;
}

int
capability_resolve(struct model *m, struct entity *e)
{
	struct capability *c = capability_of(e);
	const struct capability_record *r = &c->record;
	const struct methods methods = record_methods(r);
	int a = resolve_target(m, c);

	if (a < 0)
		return a;
	c->session = session_find_id(m, r->session);
	if (!c->session)
		return entity_find(m, r->session) ? -EBADMSG : missing(c);
	if (!r->rights || (r->flags & ~CAPABILITY_DEAD) ||
		(r->mode > 0777 && r->mode != CAPABILITY_MODE_INHERIT))
		return -EBADMSG;
	if (r->calls_used > r->calls_limit || !methods_are_valid(&methods) ||
		(r->rate_limit != LIMIT_NONE && (r->rate_limit < 1 || r->rate_limit > RATE_MAX)))
		return -EBADMSG;
	/* What comes behind the header was revoked up to an id that this knows. */
	if (r->type != TYPE_OBJECT && r->revoked_upto >= m->header.next_id)
		return -EBADMSG;
	if (m->loaded_upto < r->revoked_upto)
		m->loaded_upto = r->revoked_upto;
	return r->parent ? resolve_parent(m, c) : 0;
}
