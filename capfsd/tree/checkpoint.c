/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether something was changed is known by the stamps of the sessions: whatever is changed in one of them, or
 * comes or goes, leaves its stamp there. They are looked at in one go, at the end. The calls that a
 * server counts in memory of its own leave none, and are those of when their slot was told.
 */
#include "config.h"

#include "capfsd/tree/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sum.h"
#include "capfsd/kinds/asking/policy.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/request.h"
#include "capfsd/ops/texts.h"
#include "capfsd/tree/lists.h"
#include "capfsd/tree/rows.h"
#include "capfsd/tree/walk.h"

/*
 * So often it is begun anew; after that it is made in one piece, which nothing changes, if it is no longer
 * than other texts are that are made so.
 */
#define RESTARTS_MAX 3

/* --- the lines --- */

/* " path=", the way from the top to S: "." for itself. */
static void
add_path(const struct walk *w, const struct session *s, struct text *t)
{
	cleanup_text struct text top = {}, label = {};

	session_label(w->top, &top);
	session_label(s, &label);
	t->failed |= top.failed || label.failed;
	text_addf(t, " path=%s", s == w->top || t->failed ? "." : label.data + top.n + 1);
}

static void
add_owner(uid_t uid, gid_t gid, mode_t mode, struct text *t)
{
	text_addf(t, " uid=%" PRIu32 " gid=%" PRIu32 " mode=%04o", (uint32_t)uid, (uint32_t)gid, (unsigned)mode);
}

static void
add_session(const struct walk *w, const struct session *s, struct text *t)
{
	text_add(t, "session");
	add_path(w, s, t);
	add_owner(s->record.uid, s->record.gid, s->record.mode, t);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		text_addf(t, " %s=%" PRIu64, quota_kind_name(i), s->record.limit.n[i]);
	text_add(t, "\n");
}

/* As it would be written, all on one line. */
static void
add_confinement(const struct walk *w, const struct session *s, struct text *t)
{
	const struct confinement *own = confinement_own(s);
	cleanup_text struct text words = {};

	if (!own)
		return;
	text_confinement(&own->record, &words);
	t->failed |= words.failed;
	for (size_t i = 0; i < words.n; i++)
		if (words.data[i] == '\n')
			words.data[i] = i + 1 < words.n ? ' ' : '\0';
	text_add(t, "confine");
	add_path(w, s, t);
	text_addf(t, " %s\n", words.data ? words.data : "");
}

static void
add_entrypoint(const struct walk *w, const struct entrypoint *ep, struct text *t)
{
	text_add(t, "entrypoint");
	add_path(w, ep->session, t);
	text_addf(t, " name=%s mode=%s hold=%u backlog=%" PRIu32 " fds=%s caveats=%s%s\n", ep->entity.name,
		entrypoint_listens(ep) ? "listen" : "broker", ep->record.hold,
		ep->record.backlog ? entrypoint_backlog(ep) : 0,
		entrypoint_takes(ep, ENTRYPOINT_TAKES_FDS) ? "yes" : "no",
		entrypoint_takes(ep, ENTRYPOINT_TAKES_CAVEATS) ? "yes" : "no",
		/* What restores it may be of before, and know no such word. */
		entrypoint_takes(ep, ENTRYPOINT_TAKES_COUNTS) ? " counts=yes" : "");
	if (ep->n_connections == 0 || entrypoint_listens(ep))
		return;
	text_add(t, "left");
	add_path(w, ep->session, t);
	text_addf(t, " what=connections name=%s n=%" PRIu32 "\n", ep->entity.name, ep->n_connections);
}

static void
add_object(const struct walk *w, const struct object *o, struct text *t)
{
	text_add(t, "object");
	add_path(w, o->entrypoint->session, t);
	text_addf(t, " entrypoint=%s id=%" PRIu64 " key=%" PRIu64 " socket=%s protocol=%s badge=0x%" PRIx64 "\n",
		o->entrypoint->entity.name, o->entity.id, o->record.key,
		o->record.socket == OBJECT_STREAM ? "stream" : "seqpacket",
		o->record.protocol == OBJECT_CALLS ? "calls" : "plain", o->record.badge);
}

/* What it was derived from is one of these lines, or stands outside and has only a name. */
static void
add_source(const struct walk *w, const struct capability *c, struct text *t)
{
	if (c->parent && session_is_within(c->parent->session, w->top)) {
		text_addf(t, " parent=%" PRIu64, c->parent->entity.id);
	} else if (c->parent) {
		text_add(t, " from=");
		text_slot(c->parent, t);
	} else if (capability_object(c) && session_is_within(capability_object(c)->entrypoint->session, w->top)) {
		text_addf(t, " object=%" PRIu64, c->record.target);
	}
}

/* Its own, a line for each group. */
static void
add_caveats(const struct capability *c, struct text *t)
{
	char begin[sizeof("\nonly id= ") + NUMBER_BYTES_MAX];

	if (caveats_count_own(c) == 0)
		return;
	snprintf(begin, sizeof(begin), "\nonly id=%" PRIu64 " ", c->entity.id);
	text_add(t, begin + 1);
	caveats_show(c, begin, t);
	text_add(t, "\n");
}

/* As it is written; a session by its way from that of the slot. */
static void
add_share(const struct walk *w, const struct share *s, struct text *t)
{
	const struct reductions how = share_reductions(&s->record);
	cleanup_text struct text label = {}, by = {};

	text_addf(t, "share id=%" PRIu64 " with=", s->capability->entity.id);
	session_label(s->capability->session, &by);
	session_label(session_find_id(w->model, s->record.scope), &label);
	t->failed |= label.failed || by.failed;
	if (s->record.with != SHARE_SESSION)
		share_format_with(w->model, s, t);
	else if (!t->failed)
		text_add(t, label.data + by.n + 1);
	text_reductions(&how, t);
	text_add(t, "\n");
}

/* Can whoever makes the sessions again share it with the same ones? */
static bool
share_is_within(const struct walk *w, const struct share *s)
{
	const struct session *scope = session_find_id(w->model, s->record.scope), *by = s->capability->session;

	if (s->record.with == SHARE_SIBLINGS)
		return by != w->top;
	return scope && session_is_within(scope, by) && (s->record.with != SHARE_SESSION || scope != by);
}

/* That a share has made it: it makes it again, if it is a part of this as well. */
static bool
is_remade(const struct walk *w, const struct capability *c)
{
	return c->record.by_uid == BY_SHARE && c->parent && share_find(c->parent) &&
		session_is_within(c->parent->session, w->top) && share_is_within(w, share_find(c->parent));
}

/* … but not what was done with it. */
static bool
has_its_own(const struct capability *c)
{
	const struct capability *from = c->parent;
	size_t n = strlen(c->entity.name), n_from = strlen(from->entity.name);

	return capability_calls_used(c) > 0 || !list_empty(&c->aliases) || c->record.mode != CAPABILITY_MODE_INHERIT ||
		n < n_from || strcmp(c->entity.name + n - n_from, from->entity.name) != 0;
}

/* Is it, or what it was derived from, tied to a slot? That has no place in this form, and without it it may more. */
static bool
is_tied(const struct capability *c)
{
	while (c && !c->tie)
		c = c->parent;
	return c;
}

static void
add_left_slot(const struct walk *w, const struct capability *c, const char *what, struct text *t)
{
	text_add(t, "left");
	add_path(w, c->session, t);
	text_addf(t, " what=%s name=%s n=1\n", what, c->entity.name);
}

/* Rights and methods are those that count; a limit is its own, beside which those of its parent count, too. */
static void
add_slot(const struct walk *w, const struct capability *c, struct text *t)
{
	const struct capability_record *r = &c->record;
	cleanup_text struct text methods = {};
	const struct share *share;

	text_add(t, "slot");
	add_path(w, c->session, t);
	text_addf(t, " name=%s id=%" PRIu64 " type=%s", c->entity.name, c->entity.id, capability_type(c)->name);
	add_source(w, c, t);
	text_add(t, " rights=");
	rights_format(capability_rights(c), t);
	capability_format_methods(c, &methods);
	if (methods.n > 0)
		text_addf(t, " methods=%s", methods.data);
	t->failed |= methods.failed;
	text_bound("calls", r->calls_limit, t);
	if (r->calls_limit != LIMIT_NONE)
		text_bound("used", capability_calls_used(c), t);
	text_bound("conns", r->conns_limit, t);
	text_bound("rate", r->rate_limit, t);
	if (r->expires_usec != LIMIT_NONE) {
		text_add(t, " expires=");
		text_time(t, r->expires_usec);
	}
	if (r->mode != CAPABILITY_MODE_INHERIT)
		add_owner(r->uid, r->gid, r->mode, t);
	text_add(t, "\n");
	add_caveats(c, t);
	list_for_each (i, &c->aliases) {
		const struct alias *a = list_entry(i, struct alias, entity.owner_link);

		text_add(t, "alias");
		add_path(w, c->session, t);
		text_addf(t, " slot=%s name=%s\n", c->entity.name, a->entity.name);
	}
	share = share_find(c);
	if (share && share->record.with == SHARE_NONE)
		return;
	if (share && share_is_within(w, share))
		add_share(w, share, t);
	else if (share)
		add_left_slot(w, c, "share", t);
}

/* Of what there is no line of its own kind the reason stands in `left`. */
static void
tell_one_slot(const struct walk *w, const struct capability *c)
{
	if (is_tied(c))
		add_left_slot(w, c, "reached", w->t);
	else if (c->visit)
		add_left_slot(w, c, "visit", w->t);
	else if (!is_remade(w, c) && c->record.by_uid == BY_SHARE)
		add_left_slot(w, c, "shared", w->t);
	else if (!is_remade(w, c))
		add_slot(w, c, w->t);
	else if (has_its_own(c))
		add_left_slot(w, c, "shared", w->t);
}

/* As it was written, a line for each of its. */
static void
add_policy(const struct walk *w, const struct session *s, struct text *t)
{
	cleanup_text struct text rules = {};
	char *left, *line;

	policy_text(s, &rules);
	t->failed |= rules.failed;
	left = rules.n > 0 ? rules.data : NULL;
	while (left && (line = strsep(&left, "\n"))) {
		if (!*line)
			continue;
		text_add(t, "policy");
		add_path(w, s, t);
		text_addf(t, " %s\n", line);
	}
}

static void
add_left_number(const struct walk *w, const struct session *s, const char *what, uint64_t n, struct text *t)
{
	if (n == 0)
		return;
	text_add(t, "left");
	add_path(w, s, t);
	text_addf(t, " what=%s n=%" PRIu64 "\n", what, n);
}

/* What nobody can make again: processes, what is open with somebody, what somebody waits for, and who wants nothing. */
static void
add_left(const struct walk *w, const struct session *s, struct text *t)
{
	uint64_t n_requests = 0, n_yields = 0;

	list_for_each (i, (struct list *)(uintptr_t)&s->owned[ENTITY_ASK])
		*(ask_of(list_entry(i, struct entity, owner_link))->record.what == ASK_YIELD ? &n_yields : &n_requests) += 1;
	add_left_number(w, s, "programs", s->n_owned[ENTITY_PROGRAM], t);
	add_left_number(w, s, "visits", s->n_visits, t);
	add_left_number(w, s, "requests", n_requests, t);
	add_left_number(w, s, "yields", n_yields, t);
	add_left_number(w, s, "declined", s->n_owned[ENTITY_DECLINED], t);
}

/* --- the walk --- */

static void
tell_object(const struct walk *w, struct session *s)
{
	struct reading *at = w->at;
	struct entity *e = at->last_parent ? entity_find(w->model, at->last_parent) : NULL;
	struct entity *object = e ? walk_shown(w, &entrypoint_of(e)->objects, at->last) : NULL;

	if (object) {
		add_object(w, object_of(object), w->t);
		at->last = object->id;
		return;
	}
	e = walk_shown(w, &s->owned[ENTITY_ENTRYPOINT], at->last_parent);
	if (!e) {
		walk_next_phase(at);
		return;
	}
	at->last_parent = e->id;
	at->last = 0;
	add_entrypoint(w, entrypoint_of(e), w->t);
}

/* Returns: what it took, in parts of a piece. */
static unsigned
tell_slot(const struct walk *w, struct session *s)
{
	struct entity *e = walk_shown(w, &s->owned[ENTITY_CAPABILITY], w->at->last);

	if (!e) {
		walk_next_phase(w->at);
		return 1;
	}
	w->at->last = e->id;
	tell_one_slot(w, capability_of(e));
	return 1 + e->depth / 16;
}

static unsigned
tell(const struct walk *w)
{
	struct session *s = walk_current(w);

	if (!s)
		w->at->phase = WALK_CHILDREN;
	w->at->n_lines++;
	switch ((enum walk_phase)w->at->phase) {
	case WALK_HEAD:
		add_session(w, s, w->t);
		add_confinement(w, s, w->t);
		add_policy(w, s, w->t);
		add_left(w, s, w->t);
		walk_next_phase(w->at);
		break;
	case WALK_OBJECTS:
		tell_object(w, s);
		break;
	case WALK_SLOTS:
		return tell_slot(w, s);
	case WALK_CHILDREN:
		walk_on(w, s);
		break;
	}
	return 1;
}

static void
begin(const struct walk *w)
{
	w->at->began_nsec = w->model->stamp_nsec;
	w->at->sum = SUM_BEGIN;
	text_add(w->t, "capfs-checkpoint 1\nof=");
	session_label(w->top, w->t);
	text_add(w->t, " made=");
	text_time(w->t, w->model->now_usec());
	text_add(w->t, " version=" PACKAGE_VERSION "\n");
	walk_enter(w->at, w->top);
}

/* Has it been the same all the time? */
static bool
is_whole(const struct walk *w)
{
	for (const struct session *s = w->top; s; s = session_next_below(w->top, (struct session *)(uintptr_t)s))
		if (s->entity.shown_nsec > w->at->began_nsec || s->paid_nsec > w->at->began_nsec)
			return false;
	return true;
}

static void
sum_up(const struct walk *w)
{
	if (w->t->failed)
		return;
	w->at->sum = sum_bytes(w->at->sum, w->t->data + w->at->n_summed, w->t->n - w->at->n_summed);
	w->at->n_summed = w->t->n;
}

/* What has changed is begun anew when it is its turn. Returns: is there more? */
static bool
end(const struct walk *w)
{
	if (is_whole(w)) {
		sum_up(w);
		text_addf(w->t, "end sum=%016" PRIx64 "\n", w->at->sum);
		return false;
	}
	if (w->at->n_restarts > RESTARTS_MAX) {
		text_add(w->t, "torn\n");
		return false;
	}
	text_reset(w->t);
	*w->at = (struct reading){.n_restarts = w->at->n_restarts + 1};
	return true;
}

bool
checkpoint_read(struct request *r, struct entity *e, struct reading *at, struct text *t)
{
	const struct walk w = {r->model, session_of(e), at, t};
	int left = at->n_restarts > RESTARTS_MAX ? LISTS_LINES_MAX : LISTS_PIECE_LINES;

	if (t->n == 0)
		begin(&w);
	while (left > 0) {
		left -= (int)tell(&w);
		if (at->n_path == 0)
			return end(&w);
	}
	sum_up(&w);
	return true;
}
