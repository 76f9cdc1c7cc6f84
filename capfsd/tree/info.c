/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The texts of informing files, one function for each row that rows.c gives to it. They are called
 * by tree_read() alone, read the model and what the broker knows for `metrics`, and change nothing.
 *
 * Each text is made in one go, from the model as it is at that moment: a reader who takes it in
 * pieces must get pieces of one truth, and the fronts keep it for them. Texts whose length follows the
 * number of capabilities or objects are made elsewhere (lists.c).
 *
 * Programs parse these texts. So a word is added behind those that are there, and none is moved or
 * renamed. Running out of memory sticks in the text, and its reader gets that as the error; so
 * nothing here looks whether an addition succeeded.
 */
#include "config.h"

#include "capfsd/tree/info.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/ops/request.h"
#include "capfsd/ops/texts.h"
#include "capfsd/tree/metrics.h"
#include "capfsd/verbs/verbs.h"

void
info_readme(struct request *r, struct entity *e, struct text *t)
{
	text_add(t,
		"This tree shows who may talk to whom. Every session directory has the same shape;\n"
		"this directory is the root session, init.\n"
		"\n"
		"  caps/SLOT/socket        connect(2) here: curl --unix-socket caps/web/socket http://x/\n"
		"  caps/SLOT/call          exec 3<>call; echo hello >&3; cat <&3: a request, its reply\n"
		"  caps/SLOT/info          what the capability refers to, its rights, limits and use\n"
		"  caps/SLOT/why           whether a connection would get through now, rule by rule\n"
		"  caps/SLOT/holders       everything that was derived from it\n"
		"  caps/SLOT/grant         echo 'to=SESSION [as=NAME] [rights=call] [conns=4]' > grant\n"
		"  caps/SLOT/reduce        echo 'conns=2' > reduce\n"
		"  caps/SLOT/revoke        echo 1 > revoke ends all that was derived from it, at once\n"
		"  rmdir caps/SLOT         drops the slot and all that was derived from it\n"
		"  entrypoints/NAME/info   who serves it\n"
		"  sessions/NAME           a child session; mkdir makes one, rmdir closes it\n"
		"  transfer_quota          echo 'to=SESSION caps=16' > transfer_quota\n"
		"  quota  label  state  events  faults  graph.dot  checkpoint\n"
		"\n"
		"cat a command file for its usage. A refusal says why at the end of `events`. One command\n"
		"is one line of at most 4095 bytes. capfs(5) describes every file and every error.\n");
}

void
info_version(struct request *r, struct entity *e, struct text *t)
{
	const struct metrics *m = r->metrics;

	text_add(t, "version=" PACKAGE_VERSION "\n");
	if (m)
		text_addf(t, "instance=%016" PRIx64 "\n", m->instance);
}

void
info_label(struct request *r, struct entity *e, struct text *t)
{
	session_label(session_of(e), t);
	text_add(t, "\n");
}

void
info_state(struct request *r, struct entity *e, struct text *t)
{
	text_add(t, session_of(e)->record.state == SESSION_RUNNING ? "running\n" : "closing\n");
}

/*
 * One line per kind; `free` is computed, and shown so that nobody must: a script that forgot what
 * was lent would believe that it has more than it has.
 */
void
info_quota(struct request *r, struct entity *e, struct text *t)
{
	const struct session *s = session_of(e);

	for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
		text_addf(t, "%s limit=%" PRIu64 " used=%" PRIu64 " free=%" PRIu64 " lent=%" PRIu64 "\n",
			quota_kind_name(kind), s->record.limit.n[kind], s->used.n[kind],
			quota_free(s, kind), s->lent.n[kind]);
}

/* Its own limit may be none, and an ancestor's still counts. */
void
info_limit(uint64_t limit, uint64_t used, uint64_t left, struct text *t)
{
	text_add(t, "limit=");
	if (limit == LIMIT_NONE)
		text_add(t, "none");
	else
		text_addf(t, "%" PRIu64, limit);
	text_addf(t, " used=%" PRIu64 " left=%" PRIu64, used, left);
}

static void
add_limit(struct text *t, const char *name, uint64_t limit, uint64_t used, uint64_t left)
{
	if (left == LIMIT_NONE)
		return;
	text_addf(t, "%s ", name);
	info_limit(limit, used, left, t);
	text_add(t, "\n");
}

/*
 * The smallest along the ancestors is the one that is felt. Nothing is shown as used or left: for a
 * rate that would be true for a moment only, and whoever read it would act on a number that is
 * gone.
 */
void
info_rate(const struct capability *c, const char *before, const char *behind, struct text *t)
{
	uint64_t limit = LIMIT_NONE;

	for (const struct capability *i = c; i; i = i->parent)
		if (i->record.rate_limit < limit)
			limit = i->record.rate_limit;
	if (limit != LIMIT_NONE)
		text_addf(t, "%slimit=%" PRIu64 "/s%s", before, limit, behind);
}

static void
add_methods(const struct capability *c, struct text *t)
{
	cleanup_text struct text methods = {};

	capability_format_methods(c, &methods);
	if (methods.n > 0)
		text_addf(t, "methods=%s\n", methods.data);
}

/*
 * What counts is the smallest along the ancestors, so that `left` may be less than its own limit
 * allows: whoever derived it may have others that use up the same.
 */
static void
add_limits(const struct capability *c, struct text *t)
{
	const struct capability_record *r = &c->record;

	add_limit(t, "calls", r->calls_limit, capability_calls_used(c), capability_calls_left(c));
	add_limit(t, "conns", r->conns_limit, c->conns_used, capability_conns_left(c));
	info_rate(c, "rate ", "\n", t);
}

/* A line for each group, as it was written, the oldest first; "inherited" before those of an ancestor. */
static void
add_caveats(const struct capability *c, struct text *t)
{
	const struct capability *owners[CAVEATS_MAX];
	unsigned n = 0;

	for (const struct capability *i = c; i && n < CAVEATS_MAX; i = i->parent)
		if (!list_empty(&i->caveats))
			owners[n++] = i;
	while (n-- > 0) {
		const char *before = owners[n] == c ? "" : "inherited ";

		text_add(t, before);
		caveats_show(owners[n], *before ? "\ninherited " : "\n", t);
		text_add(t, "\n");
	}
}

static const struct capability *
capability_origin(const struct capability *c)
{
	while (c->parent)
		c = c->parent;
	return c;
}

/* A command comes when somebody calls. */
const char *
info_served(const struct capability *c)
{
	const struct entrypoint *ep = capability_entrypoint(c);

	if (capability_service(c).answered)
		return capability_service(c).empty ? "no" : "yes";
	if (!ep || !ep->thread)
		return ep && ep->command && program_is_live(ep->command) ? "starting" : "no";
	return ep->thread->record.error ? "unreachable" : "yes";
}

static const char *
revocation_word(const struct capability *c)
{
	const struct service s = capability_service(c);

	return s.copies ? "none" : s.listens ? "new-only" : "full";
}

/* That by which it would be given now. */
static void
add_rule(const struct capability *c, struct text *t)
{
	const struct rule *rule = policy_rule_of(c);

	if (!rule)
		return;
	text_add(t, "policy=");
	session_label(c->ruled->session, t);
	text_addf(t, " line=%" PRIu32 "\n", rule->line);
}

/*
 * What it may is shown as it is in effect, with all its ancestors counted in, since that is what a
 * call meets; `holders` shows what each record says by itself. `revocation=new-only` warns that the
 * server accepts by itself, so that the end of the capability cannot reach connections it has; `none`,
 * that it cannot reach the descriptors that were got through it.
 */
void
info_capability(struct request *r, struct entity *e, struct text *t)
{
	const struct capability *c = capability_of(e);
	uint64_t expires = capability_expires(c);

	capability_describe(c, t);
	text_add(t, "rights=");
	rights_format(capability_rights(c), t);
	text_add(t, "\n");
	add_methods(c, t);
	add_limits(c, t);
	text_add(t, "expires=");
	if (expires == LIMIT_NONE)
		text_add(t, "never");
	else
		text_time(t, expires);
	text_add(t, "\nparent=");
	if (c->parent)
		text_slot(c->parent, t);
	else
		text_add(t, "none");
	text_addf(t, " id=%" PRIu64 "\nchildren=%" PRIu32 "\norigin=", c->entity.id, c->n_children);
	text_slot(capability_origin(c), t);
	if (c->tie && c->tie->through) {
		text_add(t, "\nthrough=");
		text_slot(c->tie->through, t);
	}
	if (share_find(c)) {
		text_add(t, "\nshared=");
		share_format_with(r->model, share_find(c), t);
	}
	text_addf(t, "\nmade=");
	text_time(t, c->record.since_usec);
	text_maker(c, t);
	text_addf(t, "\nserved=%s revocation=%s\n", info_served(c), revocation_word(c));
	add_caveats(c, t);
	add_rule(c, t);
}

/*
 * Servers count calls in memory that they share with the daemon, and tell nobody. A rule changes its line with the
 * rest of the policy.
 */
bool
info_capability_restless(const struct entity *e)
{
	const struct capability *c = capability_of(e);

	return c->ruled || (capability_counts_calls(c) && capability_calls_left(c) != LIMIT_NONE);
}

/*
 * Where the server accepts by itself, connections are shown as unknown and not as 0: nobody here
 * sees them, and a 0 would be believed.
 */
void
info_entrypoint(struct request *r, struct entity *e, struct text *t)
{
	const struct entrypoint *ep = entrypoint_of(e);

	text_addf(t, "state=%s thread=%s mode=%s objects=%" PRIu64, ep->thread ? "served" : "detached",
		ep->thread ? ep->thread->entity.name : "none",
		entrypoint_listens(ep) ? "listen" : "broker", ep->n_objects);
	/* What a server accepts by itself nobody else sees. */
	if (entrypoint_listens(ep))
		text_add(t, " connections=- waiting=-");
	else
		text_addf(t, " connections=%" PRIu32 " waiting=%" PRIu32, ep->n_connections,
			ep->n_waiting);
	if (ep->record.hold)
		text_addf(t, " hold=%u", ep->record.hold);
	if (ep->record.backlog)
		text_addf(t, " backlog=%" PRIu32, entrypoint_backlog(ep));
	text_addf(t, " fds=%s", entrypoint_takes(ep, ENTRYPOINT_TAKES_FDS) ? "yes" : "no");
	if (entrypoint_takes(ep, ENTRYPOINT_TAKES_CAVEATS))
		text_add(t, " caveats=yes");
	if (entrypoint_takes(ep, ENTRYPOINT_TAKES_COUNTS))
		text_add(t, " counts=yes");
	if (ep->command)
		text_addf(t, " command=%s", ep->command->entity.name);
	if (ep->thread && ep->thread->record.error)
		text_addf(t, " health=%s", error_name((int)ep->thread->record.error));
	text_add(t, "\n");
}

/* What is in effect, also by sessions above. */
void
info_confine(struct request *r, struct entity *e, struct text *t)
{
	struct confinement_record effective;

	if (confinement_effective(session_of(e), &effective))
		text_confinement(&effective, t);
	else
		text_add(t, "none\n");
}

/* A line for each word, as those of a thread. */
void
info_program(struct request *r, struct entity *e, struct text *t)
{
	static const char *const words[] = PROGRAM_RESTART_WORDS;
	const struct program_record *p = &program_of(e)->record;
	const struct entrypoint *ep = program_entrypoint(program_of(e));

	text_program(p, "\n", t);
	text_add(t, "\nsession=");
	session_label(program_of(e)->session, t);
	text_addf(t, "\nuid=%" PRIu32 "\ngid=%" PRIu32 "\n", p->uid, p->gid);
	if (p->flags & PROGRAM_REGISTERED)
		text_add(t, "kind=registered\n");
	else
		text_addf(t, "descriptors=%" PRIu32 "\n", p->n_fds);
	if (p->title[0])
		text_addf(t, "name=%s\n", p->title);
	if (ep)
		text_addf(t, "serves=%s\n", ep->entity.name);
	if (p->heartbeat_sec)
		text_addf(t, "heartbeat=%u:%u\n", p->heartbeat_sec, p->n_heartbeats);
	if (p->flags & PROGRAM_KEPT)
		text_addf(t, "restart=%s\nrestarts=%" PRIu32 "\n", words[p->restart], p->n_restarts);
}

void
info_program_fds(struct request *r, struct entity *e, struct text *t)
{
	const struct program *p = program_of(e);
	cleanup_text struct text labels = {};
	const char *label;

	labels_text(p, &labels);
	if (text_done(&labels) < 0) {
		t->failed = true;
		return;
	}
	label = labels.n > 0 ? labels.data : "";
	for (uint32_t i = 0; i < p->record.n_fds; i++) {
		size_t n = strcspn(label, ",");

		text_addf(t, "%" PRIu32 " %.*s\n", i, n > 0 ? (int)n : 1, n > 0 ? label : "-");
		label += n + (label[n] != '\0');
	}
}

void
info_thread(struct request *r, struct entity *e, struct text *t)
{
	const struct thread *th = thread_of(e);

	text_addf(t, "pid=%" PRIu32 "\nstate=serving\nsession=", th->record.pid);
	session_label(th->session, t);
	if (th->serves)
		text_addf(t, "\nserves=%s", th->serves->entity.name);
	text_add(t, "\n");
}

void
info_policy(struct request *r, struct entity *e, struct text *t)
{
	policy_text(session_of(e), t);
}

/* What is lent for it, a line for each kind of which there is something. */
static void
add_lent(const struct visit *v, struct text *t)
{
	const struct visit_record *r = &v->record;

	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		if (r->lent.n[i] > 0)
			text_addf(t, "%s lent=%" PRIu64 " charged=%" PRIu64 " free=%" PRIu64 " asked=%" PRIu64 "\n",
				quota_kind_name(i), r->lent.n[i], r->charged.n[i], visit_free(v, i), r->asked.n[i]);
}

static void
add_visit(const struct visit *v, struct text *t)
{
	static const char *const answers[VISIT_N_ANSWERS] = {"none", "accepted", "refused"};
	const struct visit_record *r = &v->record;

	text_addf(t, "state=%s\nanswer=%s\npayer=", visit_state(v),
		answers[r->answer]);
	session_label(v->payer, t);
	if (v->via)
		text_addf(t, " via=%s", v->via->entity.name);
	text_add(t, "\n");
}

/* For its server, which is told the same label with each connection, and the slot's id. */
void
info_visit(struct request *r, struct entity *e, struct text *t)
{
	const struct visit *v = visit_of(e);
	const struct object *o = capability_object(v->capability);

	add_visit(v, t);
	text_addf(t, "entrypoint=%s\n", v->entrypoint->entity.name);
	if (o)
		text_addf(t, "key=%" PRIu64 " badge=0x%" PRIx64 "\n", o->record.key, o->record.badge);
	text_add(t, "label=");
	session_label(v->capability->session, t);
	text_addf(t, "\nslot=%s\n", v->capability->entity.name);
	if (v->record.n_args > 0)
		text_addf(t, "args=%.*s\n", (int)v->record.n_args, v->record.args);
	add_lent(v, t);
}

void
info_slot_visit(struct request *r, struct entity *e, struct text *t)
{
	const struct visit *v = capability_of(e)->visit;

	if (!v) {
		verb_usage(&verb_visit, r, e, t);
		return;
	}
	add_visit(v, t);
	add_lent(v, t);
}

/* What it is asked to give back, if it is. */
void
info_yield(struct request *r, struct entity *e, struct text *t)
{
	list_for_each (i, &session_of(e)->asked) {
		const struct ask *a = list_entry(i, struct ask, asked_link);

		if (a->record.what != ASK_YIELD)
			continue;
		text_ask(a, r->model->now_usec(), t);
		text_add(t, "\n");
	}
}
