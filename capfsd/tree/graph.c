/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A walk through the sessions, twice: first all nodes, each in its session's cluster, then all arrows
 * from slots, since a node belongs to every cluster in which it is named. What is open is known by
 * the ids on the way from the top, so that the walk goes on behind what has gone between two pieces, and every
 * brace that was opened is closed. Whatever was there all the time is told, and told once.
 */
#include "config.h"

#include "capfsd/tree/graph.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/request.h"
#include "capfsd/ops/texts.h"
#include "capfsd/tree/lists.h"
#include "capfsd/tree/rows.h"
#include "capfsd/tree/walk.h"

#define NEAR(used, limit) ((limit) > 0 && (used) >= (limit) - (limit) / 10)

static const char begin_text[] =
	" graph [rankdir=LR, style=rounded, color=\"#9aa5b1\", bgcolor=white, labeljust=l, nodesep=0.12,\n"
	"  ranksep=0.9, fontname=\"Helvetica-Bold\", fontsize=11, fontcolor=\"#52606d\",\n"
	"  label=\"An arrow leads the way of a call, from slot to slot, and tells its limits.   \\\n"
	"Dashed: nobody serves.   Red: nine tenths are used.\"];\n"
	" node [shape=box, style=\"rounded,filled\", color=\"#9aa5b1\", fillcolor=white, height=0.22, width=0.5,\n"
	"  margin=\"0.08,0.03\", fontname=\"Helvetica\", fontsize=9, fontcolor=\"#1f2933\"];\n"
	" edge [color=\"#52606d\", arrowsize=0.6, fontname=\"Helvetica\", fontsize=8, fontcolor=\"#52606d\"];\n";

void
graph_quote(struct text *t, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"')
			text_add(t, "\\\"");
		else if (c == '\\')
			text_add(t, "\xe2\x88\x96");
		else if (c == '&')
			text_add(t, "&amp;");
		else if (c == '\n')
			text_add(t, "\\n");
		else
			text_add_n(t, c < ' ' || c == 0x7f ? " " : s + i, 1);
	}
}

static void
add_quoted(struct text *t, const char *s)
{
	graph_quote(t, s, strlen(s));
}

static void
add_indent(const struct reading *at, struct text *t)
{
	text_addf(t, "%*s", at->n_path + 1, "");
}

/* --- nodes --- */

static void
add_slot_name(const struct capability *c, struct text *t)
{
	text_add(t, "\"");
	text_slot(c, t);
	text_add(t, "\"");
}

static void
add_entrypoint_name(const struct entrypoint *ep, struct text *t)
{
	session_label(ep->session, t);
	text_addf(t, "/entrypoints/%s", ep->entity.name);
}

static void
add_object_name(const struct object *o, struct text *t)
{
	text_add(t, "\"");
	add_entrypoint_name(o->entrypoint, t);
	text_addf(t, "/%" PRIu64 "\"", o->record.key);
}

/* Of what it has itself, without what it has lent. */
static bool
quota_is_near(const struct session *s, int kind)
{
	return s->parent && NEAR(s->used.n[kind], s->record.limit.n[kind] - s->lent.n[kind]);
}

/* Where a tenth or less of a kind is left the label tells it. What one says of itself those inside would inherit. */
static void
add_session(const struct session *s, struct text *t)
{
	bool near = false;

	text_add(t, "subgraph \"cluster_");
	session_label(s, t);
	text_add(t, "\" {\n  label=\"");
	add_quoted(t, s->entity.name);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		if (quota_is_near(s, i)) {
			near = true;
			text_addf(t, "\\n%s %" PRIu64 "/%" PRIu64, quota_kind_name(i), s->used.n[i],
				s->record.limit.n[i] - s->lent.n[i]);
		}
	text_addf(t, "\"; class=\"session%s\"; bgcolor=\"%s\"; fontcolor=\"%s\";\n  tooltip=\"",
		near ? " near" : "", s->entity.depth % 2 ? "#ffffff" : "#f3f6f9", near ? "#b42318" : "#1f2933");
	session_label(s, t);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		text_addf(t, "\\n%s limit=%" PRIu64 " used=%" PRIu64 " lent=%" PRIu64, quota_kind_name(i),
			s->record.limit.n[i], s->used.n[i], s->lent.n[i]);
	text_addf(t, "\\nprograms=%" PRIu64 " uid=%" PRIu32 "\";\n", s->n_owned[ENTITY_PROGRAM],
		s->record.uid);
}

/* Graphviz draws no cluster without a node. */
static void
add_nothing(const struct session *s, struct text *t)
{
	text_add(t, "  \"");
	session_label(s, t);
	text_add(t, "\" [style=invis, label=\"\", width=0.7];\n");
}

/* What nobody serves is dashed; a command will start what is only waiting for its first caller. */
static const char *
look_of(const struct entrypoint *ep)
{
	if (ep->thread)
		return "class=\"object\", fillcolor=\"#dbeafe\", color=\"#2563eb\"";
	if (ep->command)
		return "class=\"object ondemand\", fillcolor=\"#eef4ff\", color=\"#2563eb\", "
		       "style=\"rounded,filled,dashed\"";
	return "class=\"object detached\", fillcolor=\"#eceff1\", color=\"#7b8794\", fontcolor=\"#7b8794\", "
	       "style=\"rounded,filled,dashed\"";
}

static const char *
state_of(const struct entrypoint *ep)
{
	return ep->thread ? "served" : ep->command ? "on demand" : "detached";
}

static void
add_label(const struct entrypoint *ep, const struct object *o, struct text *t)
{
	text_add(t, " [label=\"");
	add_quoted(t, ep->entity.name);
	if (o && ep->n_objects > 1)
		text_addf(t, " %" PRIu64, o->record.key);
	if (!ep->thread)
		text_addf(t, "\\n%s", state_of(ep));
	text_addf(t, "\", %s, tooltip=\"entrypoint ", look_of(ep));
	add_entrypoint_name(ep, t);
	text_addf(t, "\\nstate=%s objects=%" PRIu64 " connections=%" PRIu32 " waiting=%" PRIu32, state_of(ep),
		ep->n_objects, ep->n_connections, ep->n_waiting);
	if (o)
		text_addf(t, "\\nkey=%" PRIu64 " badge=0x%" PRIx64, o->record.key, o->record.badge);
	text_add(t, "\"];\n");
}

static void
add_object(const struct object *o, struct text *t)
{
	add_object_name(o, t);
	add_label(o->entrypoint, o, t);
}

static void
add_empty_entrypoint(const struct entrypoint *ep, struct text *t)
{
	text_add(t, "\"");
	add_entrypoint_name(ep, t);
	text_add(t, "\"");
	add_label(ep, NULL, t);
}

static void
add_details(const struct capability *c, struct text *t)
{
	cleanup_text struct text caveats = {};
	uint64_t expires = capability_expires(c);

	text_slot(c, t);
	text_add(t, "\\nrights=");
	rights_format(capability_rights(c), t);
	text_add(t, "\\nmethods=");
	capability_format_methods(c, t);
	text_add(t, "\\nexpires=");
	if (expires == LIMIT_NONE)
		text_add(t, "never");
	else
		text_time(t, expires);
	text_add(t, "\\nparent=");
	if (c->parent)
		text_slot(c->parent, t);
	else
		text_add(t, "none");
	text_addf(t, " children=%" PRIu32 " id=%" PRIu64, c->n_children, c->entity.id);
	if (c->visit) {
		text_addf(t, "\\nvisit=%s payer=", visit_state(c->visit));
		session_label(c->visit->payer, t);
	}
	caveats_show(c, "\n", &caveats);
	if (caveats.n > 0)
		text_add(t, "\\n");
	graph_quote(t, caveats.data, caveats.n);
	t->failed |= caveats.failed;
}

static void
add_slot(const struct capability *c, struct text *t)
{
	add_slot_name(c, t);
	text_add(t, " [label=\"");
	add_quoted(t, c->entity.name);
	text_add(t, "\", class=\"slot\", tooltip=\"");
	add_details(c, t);
	text_add(t, "\"];\n");
}

/* --- arrows --- */

/* Returns: is nearly all of it used? */
static bool
add_use(struct text *t, const char *name, uint64_t used, uint64_t limit)
{
	if (limit == LIMIT_NONE)
		return false;
	text_addf(t, "%s%s %" PRIu64 "/%" PRIu64, t->n > 0 ? "\\n" : "", name, used, limit);
	return NEAR(used, limit);
}

/*
 * Its own limits alone, and only where they are smaller than those of what it was derived from, which stand
 * on the next arrow of the way. Returns: is one of them nearly used up, or are nine tenths of its time over?
 */
static bool
add_limits(const struct capability *c, struct text *t)
{
	static const struct capability_record unlimited = {.calls_limit = LIMIT_NONE, .conns_limit = LIMIT_NONE,
		.rate_limit = LIMIT_NONE, .expires_usec = LIMIT_NONE};
	const struct capability_record *r = &c->record, *above = c->parent ? &c->parent->record : &unlimited;
	uint64_t now = c->session->model->now_usec();
	bool near = false;

	if (c->visit)
		text_addf(t, "visit %s", visit_state(c->visit));
	if (r->calls_limit < above->calls_limit)
		near |= add_use(t, "calls", capability_calls_used(c), r->calls_limit);
	if (r->conns_limit < above->conns_limit)
		near |= add_use(t, "conns", c->conns_used, r->conns_limit);
	if (r->rate_limit < above->rate_limit)
		text_addf(t, "%s%" PRIu64 "/s", t->n > 0 ? "\\n" : "", r->rate_limit);
	if (caveats_count_own(c) > 0)
		text_addf(t, "%s%u caveat%s", t->n > 0 ? "\\n" : "", caveats_count_own(c),
			caveats_count_own(c) == 1 ? "" : "s");
	if (r->expires_usec >= above->expires_usec)
		return near;
	text_add(t, t->n > 0 ? "\\nuntil " : "until ");
	text_time(t, r->expires_usec);
	return near || (now > r->since_usec && r->expires_usec > r->since_usec &&
		NEAR(now - r->since_usec, r->expires_usec - r->since_usec));
}

/* What C was derived from, or the object; outside of what is shown it is drawn as a stub. */
static void
add_outside(const struct capability *c, const struct session *top, struct text *t)
{
	const struct object *o = capability_object(c);

	if (c->parent ? session_is_within(c->parent->session, top)
		      : !o || session_is_within(o->entrypoint->session, top))
		return;
	text_add(t, " ");
	if (c->parent)
		add_slot_name(c->parent, t);
	else
		add_object_name(o, t);
	text_add(t, " [label=\"");
	add_quoted(t, c->parent ? c->parent->entity.name : o->entrypoint->entity.name);
	text_add(t, "\", class=\"outside\", style=\"rounded,dotted\", tooltip=\"outside: ");
	if (c->parent)
		text_slot(c->parent, t);
	else
		add_entrypoint_name(o->entrypoint, t);
	text_add(t, "\"];\n");
}

/* It leads the way of a call: from slot to slot, each limited by itself, to the object. */
static void
add_arrow(const struct capability *c, const struct session *top, struct text *t)
{
	const struct entrypoint *ep = capability_entrypoint(c);
	bool calls = capability_connects(c), near;
	cleanup_text struct text limits = {};

	if (!c->parent && !capability_object(c))
		return;
	add_outside(c, top, t);
	near = add_limits(c, &limits);
	text_add(t, " ");
	add_slot_name(c, t);
	text_add(t, " -> ");
	if (c->parent)
		add_slot_name(c->parent, t);
	else
		add_object_name(capability_object(c), t);
	text_addf(t, " [class=\"%s%s\", label=\"%s\"%s%s", calls ? "call" : "nocall", near ? " near" : "",
		limits.n > 0 ? limits.data : "",
		calls && (!ep || ep->thread || ep->command) ? "" : ", style=dashed",
		near ? ", color=\"#b42318\", fontcolor=\"#b42318\", penwidth=2" : "");
	t->failed |= limits.failed;
	text_add(t, calls ? "];\n" : ", arrowhead=none];\n");
}

/* --- the walk --- */

static void
tell_head(const struct walk *w, const struct session *s)
{
	if (!w->at->arrows) {
		add_indent(w->at, w->t);
		add_session(s, w->t);
		if (s->n_owned[ENTITY_CAPABILITY] + s->n_owned[ENTITY_ENTRYPOINT] + s->n_owned[ENTITY_SESSION] == 0)
			add_nothing(s, w->t);
	}
	walk_next_phase(w->at);
	if (w->at->arrows)
		walk_next_phase(w->at);
}

/* One object of the entrypoint that is being told, or the next entrypoint. */
static void
tell_object(const struct walk *w, struct session *s)
{
	struct reading *at = w->at;
	struct entity *e = at->last_parent ? entity_find(w->model, at->last_parent) : NULL;
	struct entity *object = e ? walk_shown(w, &entrypoint_of(e)->objects, at->last) : NULL;

	if (object) {
		add_indent(at, w->t);
		add_object(object_of(object), w->t);
		at->last = object->id;
		at->n_lines++;
		return;
	}
	e = walk_shown(w, &s->owned[ENTITY_ENTRYPOINT], at->last_parent);
	if (!e) {
		walk_next_phase(at);
		return;
	}
	at->last_parent = e->id;
	at->last = 0;
	if (entrypoint_of(e)->n_objects > 0)
		return;
	add_indent(at, w->t);
	add_empty_entrypoint(entrypoint_of(e), w->t);
	at->n_lines++;
}

/* Returns: what it took, in parts of a piece; what is derived from much has many to ask. */
static unsigned
tell_slot(const struct walk *w, struct session *s)
{
	struct entity *e = walk_shown(w, &s->owned[ENTITY_CAPABILITY], w->at->last);

	if (!e) {
		walk_next_phase(w->at);
		return 1;
	}
	w->at->last = e->id;
	w->at->n_lines++;
	if (w->at->arrows) {
		add_arrow(capability_of(e), w->top, w->t);
	} else {
		add_indent(w->at, w->t);
		add_slot(capability_of(e), w->t);
	}
	return 1 + e->depth / 16;
}

static void
tell_child(const struct walk *w, struct session *s, bool full)
{
	if (walk_on(w, full ? NULL : s) || w->at->arrows)
		return;
	add_indent(w->at, w->t);
	text_add(w->t, "}\n");
}

static unsigned
tell(const struct walk *w)
{
	struct session *s = walk_current(w);
	bool full = w->at->n_lines >= GRAPH_NODES_MAX;

	if (!s || full)
		w->at->phase = WALK_CHILDREN;
	switch ((enum walk_phase)w->at->phase) {
	case WALK_HEAD:
		tell_head(w, s);
		break;
	case WALK_OBJECTS:
		tell_object(w, s);
		break;
	case WALK_SLOTS:
		return tell_slot(w, s);
	case WALK_CHILDREN:
		tell_child(w, s, full);
		break;
	}
	return 1;
}

static void
begin(const struct walk *w)
{
	text_add(w->t, "digraph \"");
	session_label(w->top, w->t);
	text_addf(w->t, "\" {\n%s", begin_text);
	walk_enter(w->at, w->top);
}

/* Behind all nodes come the arrows, and behind these the end. Returns: is there more? */
static bool
turn(const struct walk *w)
{
	if (w->at->n_lines >= GRAPH_NODES_MAX)
		text_add(w->t, " // ... more\n");
	if (w->at->arrows) {
		text_add(w->t, "}\n");
		return false;
	}
	w->at->arrows = true;
	w->at->n_lines = 0;
	walk_enter(w->at, w->top);
	return true;
}

bool
graph_read(struct request *r, struct entity *e, struct reading *at, struct text *t)
{
	const struct walk w = {r->model, session_of(e), at, t};
	int left = LISTS_PIECE_LINES;

	if (t->n == 0)
		begin(&w);
	while (left > 0) {
		left -= (int)tell(&w);
		if (at->n_path == 0 && !turn(&w))
			return false;
	}
	return true;
}
