/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What clients may ask for that have come through a capability, and not to the `control` of a session. There is
 * one decoder and one set of operations for all: here is only where their paths begin, and which rights it takes.
 *
 * To a session: with `control` all that it could ask for itself, but what has a right of its own. To a thread:
 * the files of its directory for whose rows there is a right, and to wait for its end; it sees nothing else.
 */
#include "config.h"

#include "capfsd/control/delegated.h"

#include <errno.h>

#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/ops/refusals.h"
#include "wire/wire.h"

bool
control_may_ask(const struct control *c)
{
	return !c->capability || endpoint_may_call(c->capability);
}

struct node
control_root(const struct control *c)
{
	return c->capability ? tree_entity(capability_service(c->capability).root) : tree_session(c->session);
}

const struct capability *
delegated_subject(const struct control *c)
{
	return c->capability && control_root(c).entity->kind != ENTITY_SESSION ? c->capability : NULL;
}

/* Of the files of one entity, and what else can be asked of it: what there is no right for is not there. */
static bool
allows_file(struct exchange *x, const struct capability *c)
{
	uint8_t op = x->asked->op;
	struct node node;

	if (op != WIRE_READ && op != WIRE_WRITE && op != WIRE_WAIT)
		return refuse(&x->request, ENOENT, "there is nothing for that");
	if (exchange_walk(x, x->asked->path, x->asked->n_path, &node))
		return false;
	if (!node.row->rights)
		return refuse(&x->request, ENOENT, "there is no '%s'", node.row->name);
	return (capability_rights(c) & node.row->rights) || refuse_right(&x->request, c, node.row->rights);
}

bool
delegated_allows(struct exchange *x, uint32_t right)
{
	const struct capability *c = x->control->capability;

	if (!c)
		return true;
	if (delegated_subject(x->control))
		return allows_file(x, c);
	return !right || (capability_rights(c) & right) || refuse_right(&x->request, c, right);
}
