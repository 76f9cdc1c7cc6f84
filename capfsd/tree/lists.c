/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `holders`, `objects` and `requests`, a piece at a time. What was told last is known by its id, since anything may
 * have gone between two pieces; ids only grow and siblings stand in their order, so that the place is
 * found again behind what has gone. Whatever was there all the time is told once, as in the listing of a
 * directory; what came or went meanwhile may be told or not.
 */
#include "config.h"

#include "capfsd/tree/lists.h"

#include <inttypes.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/request.h"
#include "capfsd/ops/texts.h"
#include "capfsd/tree/rows.h"

/*
 * So often a text is begun anew, when all that it could go on from has gone. Then it is made in one piece:
 * whoever takes away what is being told hides nobody by that.
 */
#define RESTARTS_MAX 3

/* Who pays for what it is open for is often not who has it. */
static void
add_visit(const struct visit *v, struct text *t)
{
	text_addf(t, " visit=%s payer=", visit_state(v));
	session_label(v->payer, t);
}

/*
 * On one line, for grep(1): what its own record has, not what counts along its ancestors, so that
 * whoever looks for the one that is too wide finds it.
 */
static void
add_holder(const struct capability *c, struct text *t)
{
	const struct methods methods = record_methods(&c->record);

	text_addf(t, "id=%" PRIu64 " ", c->entity.id);
	text_slot(c, t);
	text_add(t, " rights=");
	rights_format(capability_rights(c), t);
	if (methods.n > 0) {
		text_add(t, " methods=");
		methods_format(&methods, t);
	}
	if (c->record.calls_limit != LIMIT_NONE)
		text_addf(t, " calls=%" PRIu64 "/%" PRIu64, capability_calls_used(c),
			c->record.calls_limit);
	if (c->record.conns_limit != LIMIT_NONE)
		text_addf(t, " conns=%" PRIu32 "/%" PRIu64, c->conns_used, c->record.conns_limit);
	if (c->record.rate_limit != LIMIT_NONE)
		text_addf(t, " rate=%" PRIu64 "/s", c->record.rate_limit);
	text_maker(c, t);
	text_add(t, " since=");
	text_time(t, c->record.since_usec);
	if (c->visit)
		add_visit(c->visit, t);
	if (!list_empty(&c->caveats)) {
		text_add(t, " ");
		caveats_show(c, " & ", t);
	}
	text_add(t, "\n");
}

/* The capability of this id, if it is there and stands below TOP, or is TOP. */
static struct capability *
find_below(struct model *m, const struct capability *top, uint64_t id)
{
	struct entity *e = id ? entity_find(m, id) : NULL;
	struct capability *c = e && e->kind == ENTITY_CAPABILITY ? capability_of(e) : NULL;

	for (struct capability *i = c; i; i = i->parent)
		if (i == top)
			return c;
	return NULL;
}

/* The first child of C behind the one of that ID; where there is none, what follows C and all below it. */
static struct capability *
next_child(const struct capability *top, struct capability *c, uint64_t id)
{
	list_for_each (i, &c->children) {
		struct capability *child = list_entry(i, struct capability, sibling_link);

		if (child->entity.id > id)
			return child;
	}
	return capability_next_beside(top, c);
}

/*
 * Behind what was told last: that one itself, or, since it has gone, its parent. With both of them gone
 * nothing tells where it was, and the text begins anew. Returns: is it known? NULL in *RET: the end.
 */
static bool
next_holder(struct model *m, struct capability *top, const struct reading *at, struct capability **ret)
{
	struct capability *c = at->last ? find_below(m, top, at->last) : top;

	if (c) {
		*ret = capability_next_below(top, c);
		return true;
	}
	c = find_below(m, top, at->last_parent);
	if (c)
		*ret = next_child(top, c, at->last);
	return c;
}

/* Depth first, so that who stands below whom can be seen from the order. */
bool
list_holders(struct request *r, struct entity *e, struct reading *at, struct text *t)
{
	struct capability *top = capability_of(e), *c;
	unsigned piece = at->n_restarts < RESTARTS_MAX ? LISTS_PIECE_LINES : LISTS_LINES_MAX;

	if (!next_holder(r->model, top, at, &c)) {
		text_reset(t);
		*at = (struct reading){.n_restarts = at->n_restarts + 1};
		return true;
	}
	for (unsigned i = 0; c && at->n_lines < LISTS_LINES_MAX; i++) {
		if (i == piece)
			return true;
		add_holder(c, t);
		at->n_lines++;
		at->last = c->entity.id;
		at->last_parent = c->parent->entity.id;
		c = capability_next_below(top, c);
	}
	if (c)
		text_add(t, "... more\n");
	return false;
}

/* As of `info`: which of the holders have a limit is known only to who looks at all of them. */
bool
list_holders_restless(const struct entity *e)
{
	const struct capability *c = capability_of(e);

	return c->n_children > 0 && capability_counts_calls(c);
}

static void
begin_object(const struct object *o, struct text *t)
{
	text_addf(t, "key=%" PRIu64 " object=%" PRIu64 " badge=0x%" PRIx64 " socket=%s%s",
		o->record.key, o->entity.id, o->record.badge,
		o->record.socket == OBJECT_STREAM ? "stream" : "seqpacket",
		o->record.protocol == OBJECT_CALLS ? " protocol=calls" : "");
	if (object_was(&o->record))
		text_addf(t, " was=0x%" PRIx64, object_was(&o->record));
}

/*
 * The slots of O's origins behind the one that was told last, all on its one line. Lines and slots are
 * counted together: one object can have a million origins. Returns: were these all of them?
 */
static bool
add_origins(struct object *o, unsigned *left, struct reading *at, struct text *t)
{
	list_for_each (i, &o->origins) {
		const struct capability *c = list_entry(i, struct capability, origin_link);

		if (c->entity.id <= at->last)
			continue;
		if (at->n_lines == LISTS_LINES_MAX)
			return true;
		if (*left == 0)
			return false;
		--*left;
		at->n_lines++;
		at->last = c->entity.id;
		text_add(t, " slot=");
		text_slot(c, t);
	}
	return true;
}

/* The rest of the line of O, which may have gone since it was begun. Returns: is it ended? */
static bool
end_line(struct object *o, unsigned *left, struct reading *at, struct text *t)
{
	if (o && !add_origins(o, left, at, t))
		return false;
	text_add(t, "\n");
	at->in_line = false;
	return true;
}

/*
 * A server that was started anew can see by these lines which keys it has made before, and which
 * slots the first capabilities to each went to.
 */
bool
list_objects(struct request *r, struct entity *e, struct reading *at, struct text *t)
{
	struct entrypoint *ep = entrypoint_of(e);
	unsigned left = LISTS_PIECE_LINES;

	e = at->in_line ? entity_find(r->model, at->last_parent) : NULL;
	if (e && (e->kind != ENTITY_OBJECT || object_of(e)->entrypoint != ep))
		e = NULL;
	if (at->in_line && !end_line(e ? object_of(e) : NULL, &left, at, t))
		return true;
	while ((e = entity_next(r->model, &ep->objects, at->last_parent))) {
		if (at->n_lines == LISTS_LINES_MAX) {
			text_add(t, "... more\n");
			return false;
		}
		if (left == 0)
			return true;
		left--;
		at->n_lines++;
		at->last_parent = e->id;
		at->last = 0;
		at->in_line = true;
		begin_object(object_of(e), t);
		if (!end_line(object_of(e), &left, at, t))
			return true;
	}
	return false;
}

/* The one of S behind ID that waits; where that has gone, those before it are passed over once more. */
static struct list *
next_ask(struct model *m, struct session *s, uint64_t id)
{
	struct entity *e = id ? entity_find(m, id) : NULL;
	struct list *l = &s->asked;

	if (e && e->kind == ENTITY_ASK && !list_empty(&ask_of(e)->asked_link) &&
		ask_decider(ask_of(e)->session, ask_of(e)->record.what) == s)
		l = &ask_of(e)->asked_link;
	do
		l = l->next;
	while (l != &s->asked && list_entry(l, struct ask, asked_link)->entity.id <= id);
	return l;
}

bool
list_requests(struct request *r, struct entity *e, struct reading *at, struct text *t)
{
	struct session *s = session_of(e);
	struct list *l = next_ask(r->model, s, at->last);

	for (unsigned n = 0; l != &s->asked; l = l->next) {
		const struct ask *a = list_entry(l, struct ask, asked_link);

		if (a->record.what == ASK_YIELD)
			continue;
		if (++n > LISTS_PIECE_LINES)
			return true;
		if (at->n_lines == LISTS_LINES_MAX) {
			text_add(t, "... more\n");
			return false;
		}
		text_ask(a, r->model->now_usec(), t);
		text_add(t, "\n");
		at->n_lines++;
		at->last = a->entity.id;
	}
	return false;
}

/* How long each has waited. */
bool
list_requests_restless(const struct entity *e)
{
	return !list_empty(&session_of(e)->asked);
}
