/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "calls refused limit=1000 used=1000 left=0 at=31": a line for each rule, in the order in which they are asked, with
 * what there is to say of it, and a last one with the first that refuses. All of it is asked of the rules
 * themselves, so that nothing here decides anything; here are only the words.
 *
 * Who may read a slot may not see what it was derived from. So that is told by its id alone, which `info` of those
 * who may look there has, too.
 */
#include "config.h"

#include "capfsd/tree/why.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/request.h"
#include "capfsd/ops/texts.h"
#include "capfsd/tree/info.h"

#define AT_MAX 16 /* so many capabilities of a line are named */

static void
tell_expires(const struct passage *p, struct text *t)
{
	uint64_t expires = capability_expires(p->capability);

	if (expires != LIMIT_NONE)
		text_time(t, expires);
}

static void
tell_right(const struct passage *p, struct text *t)
{
	text_add(t, passage_ask(p, PASSAGE_RIGHT) ? "needs=" : "has=");
	rights_format(passage_ask(p, PASSAGE_RIGHT) ? capability_type(p->capability)->connects
						    : capability_connects(p->capability), t);
}

static void
tell_only(const struct passage *p, struct text *t)
{
	for (const struct capability *i = p->capability; i; i = i->parent) {
		if (list_empty(&i->caveats))
			continue;
		if (t->n > 0)
			text_add(t, " ");
		caveats_show(i, " ", t);
	}
}

static void
tell_visit(const struct passage *p, struct text *t)
{
	const struct visit *v = p->capability->visit;

	if (v)
		text_add(t, v->record.open ? "open" : "pending");
}

static void
tell_served(const struct passage *p, struct text *t)
{
	const struct service s = capability_service(p->capability);

	text_add(t, s.answered ? "daemon" : info_served(p->capability));
	if (s.empty)
		text_add(t, " posted=no");
}

static void
tell_waiting(const struct passage *p, struct text *t)
{
	const struct entrypoint *e = capability_entrypoint(p->capability);

	if (e && !p->attached && e->record.hold)
		text_addf(t, "waiting=%" PRIu32 " hold=%u", p->n_queued, e->record.hold);
}

static void
tell_calls(const struct passage *p, struct text *t)
{
	const struct capability *c = p->capability;
	uint64_t left = capability_calls_left(c);

	if (left != LIMIT_NONE)
		info_limit(c->record.calls_limit, capability_calls_used(c), left, t);
}

static void
tell_conns(const struct passage *p, struct text *t)
{
	const struct capability *c = p->capability;
	uint64_t left = capability_conns_left(c);

	if (left != LIMIT_NONE)
		info_limit(c->record.conns_limit, c->conns_used, left, t);
}

static void
tell_rate(const struct passage *p, struct text *t)
{
	info_rate(p->capability, "", "", t);
}

static void
tell_methods(const struct passage *p, struct text *t)
{
	capability_format_methods(p->capability, t);
}

static void
tell_sockets(const struct passage *p, struct text *t)
{
	if (p->n_sockets > 0)
		text_addf(t, "needs=%" PRIu32 " free=%" PRIu64, p->n_sockets,
			quota_free(p->capability->session, QUOTA_SOCKETS));
}

static void
tell_inflight(const struct passage *p, struct text *t)
{
	if (p->n_sockets > 0)
		text_addf(t, "free=%" PRIu64, quota_free(p->capability->session, QUOTA_INFLIGHT));
}

/* NULL: there is nothing more to say. */
static void (*const tell[N_PASSAGE_RULES])(const struct passage *p, struct text *t) = {
	[PASSAGE_EXPIRES] = tell_expires,
	[PASSAGE_RIGHT] = tell_right,
	[PASSAGE_ONLY] = tell_only,
	[PASSAGE_VISIT] = tell_visit,
	[PASSAGE_SERVED] = tell_served,
	[PASSAGE_WAITING] = tell_waiting,
	[PASSAGE_CALLS] = tell_calls,
	[PASSAGE_CONNS] = tell_conns,
	[PASSAGE_RATE] = tell_rate,
	[PASSAGE_METHODS] = tell_methods,
	[PASSAGE_SOCKETS] = tell_sockets,
	[PASSAGE_INFLIGHT] = tell_inflight,
};

/* What C was reached through lets nobody use it any more. */
static bool
is_barred(const struct capability *c, enum passage_rule rule)
{
	return rule == PASSAGE_RIGHT && c->tie && c->tie->through &&
		!(tie_rights(c->tie) & capability_type(c)->connects);
}

/* Where it does not pass: the slot itself first. */
static void
tell_where(const struct passage *p, enum passage_rule rule, struct text *t)
{
	unsigned n = 0;

	for (const struct capability *i = p->capability; i && n < AT_MAX; i = i->parent)
		if (passage_stops_at(p, rule, i)) {
			if (is_barred(i, rule))
				text_addf(t, " through=%" PRIu64, i->tie->through->entity.id);
			else
				text_addf(t, " at=%" PRIu64, i->entity.id);
			n++;
		}
}

static void
tell_rule(const struct passage *p, enum passage_rule rule, struct text *t)
{
	bool refused = passage_ask(p, rule);
	cleanup_text struct text details = {};

	text_addf(t, "%s %s", passage_rule_name(rule), refused ? "refused" : "ok");
	if (tell[rule])
		tell[rule](p, &details);
	if (details.failed)
		t->failed = true;
	else if (details.n > 0)
		text_addf(t, " %s", details.data);
	if (refused)
		tell_where(p, rule, t);
	text_add(t, "\n");
}

void
why_read(struct request *r, struct entity *e, struct text *t)
{
	struct model *m = r->model;
	struct passage p;
	enum passage_rule first;
	int answer;

	passage_init(&p, capability_of(e));
	p.calls = true;
	if (m->hooks && m->hooks->looked)
		m->hooks->looked(m->hooks_data, capability_of(e), &p);
	for (enum passage_rule i = 0; i < N_PASSAGE_RULES; i++)
		tell_rule(&p, i, t);
	answer = passage_check(&p, PASSAGE_ALL, &first);
	if (answer)
		text_addf(t, "refused %s %s\n", passage_rule_name(first), error_name(connect_errno(answer)));
	else
		text_add(t, "open\n");
}

bool
why_restless(const struct entity *e)
{
	return true;
}
