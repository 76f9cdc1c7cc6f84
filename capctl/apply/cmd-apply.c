/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl apply: the sessions and programs of a file as it says. What they are is kept by nobody but
 * the tree: each program is called by the digest of what it was started from, and what has no
 * program under its digest is made anew. So whatever was half done is done by the next call.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "capctl/apply/apply.h"
#include "capctl/command.h"
#include "capctl/owner.h"
#include "capctl/run/settle.h"
#include "capctl/run/start.h"

/* Who may not look into it passes it on the way to a session of its own. */
#define GROUP_MODE 0711

/* --- what is there --- */

/* Returns: 1, 0, -errno. */
static int
exists(struct apply *a, const struct entry *e)
{
	cleanup_text struct text label = {};
	int r = context_read(a->context, e->node.data, "label", &label);

	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

/* Of one thread, if it is a program of ours that runs. */
static int
add_title(struct apply *a, const struct entry *e, const char *id, struct text *ret)
{
	cleanup_text struct text node = {}, info = {}, name = {}, state = {};
	int r;

	text_addf(&node, "%s/threads/%s", e->node.data, id);
	r = text_done(&node);
	if (r == 0)
		r = context_read(a->context, node.data, "info", &info);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	field_find(info.data, NULL, "state", &state);
	if (!field_find(info.data, NULL, "name", &name) || text_done(&name) < 0 ||
		text_done(&state) < 0)
		return text_done(&name) < 0 || text_done(&state) < 0 ? -ENOMEM : 0;
	if (strncmp(name.data, PLAN_TITLE, strlen(PLAN_TITLE)) == 0 && state.n > 0 &&
		strcmp(state.data, "exited") != 0 && strcmp(state.data, "failed") != 0)
		text_add(ret, name.data);
	return text_done(ret);
}

int
apply_title(struct apply *a, const struct entry *e, struct text *ret)
{
	cleanup(name_list_deinit) struct name_list threads = {};
	int r = context_list(a->context, e->node.data, "threads", &threads);

	text_add(ret, "");
	if (r == -ENOENT)
		return text_done(ret);
	/* There is one, and what it has started. */
	for (size_t i = 0; i < threads.n && r == 0 && ret->n == 0; i++)
		r = add_title(a, e, threads.names[i], ret);
	return r;
}

/* A descriptor that goes to what has ended stays one: whose argument it is, is started again with a
 * new one. */
static bool
loses_connections(const struct entry *e)
{
	for (size_t i = 0; i < e->n_uses && e->has_connections; i++)
		if (e->uses[i].from && !e->uses[i].from->is_kept)
			return true;
	return false;
}

static int
look(struct apply *a, struct entry *e)
{
	cleanup_text struct text title = {};
	int there = exists(a, e), r = there <= 0 ? there : apply_title(a, e, &title);

	if (r < 0)
		return complain(r, capc_session_reason(a->context->session), "%s", e->session.data);
	/* A session of sessions is one that never had a program. */
	e->is_kept = there && (!e->parent || e->parent->is_kept) &&
		     (e->has_program ? strcmp(title.data, e->digest) == 0 && !loses_connections(e)
				     : !*title.data);
	return 0;
}

/* --- what goes --- */

static int
end(struct apply *a, const char *session)
{
	int r = capc_session_close(a->context->session, session, CAPC_CLOSE_ALL);

	return r < 0 && r != -ENOENT
		       ? complain(r, capc_session_reason(a->context->session), "%s", session)
		       : 0;
}

static bool
is_of(const struct plan *p, const struct entry *group, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->all[i]->parent == group &&
			strcmp(node_name(p->all[i]->node.data), name) == 0)
			return true;
	return false;
}

static int
end_others(struct apply *a, const struct entry *group)
{
	cleanup(name_list_deinit) struct name_list names = {};
	int r = context_list(a->context, group->node.data, "sessions", &names), status = 0;

	if (r < 0)
		return complain(
			r, capc_session_reason(a->context->session), "%s", group->session.data);
	for (size_t i = 0; i < names.n && status == 0; i++) {
		cleanup_text struct text session = {};

		if (is_of(a->plan, group, names.names[i]))
			continue;
		text_addf(&session, "%s/%s", group->session.data, names.names[i]);
		status = text_done(&session) < 0 ? plan_no_memory() : end(a, session.data);
		if (status == 0)
			printf("%s: removed\n", session.data);
	}
	return status;
}

/* Who uses ends before who is used. */
static int
end_changed(struct apply *a)
{
	struct plan *p = a->plan;
	int status = 0;

	for (size_t i = 0; i < p->n && status == 0; i++)
		if (!p->all[i]->has_program)
			status = p->all[i]->is_kept ? end_others(a, p->all[i])
						    : end(a, p->all[i]->session.data);
	for (size_t i = p->n_order; i-- > 0 && status == 0;)
		if (!p->order[i]->is_kept)
			status = end(a, p->order[i]->session.data);
	return status;
}

/* --- sessions of sessions --- */

/* "caps=16", as what the session has more or less than that. */
static int
add_difference(const char *word, size_t n, const char *have, struct text *more, struct text *less)
{
	const char *equals = memchr(word, '=', n);
	cleanup_free char *kind = strndup(word, (size_t)(equals - word));
	cleanup_text struct text limit = {};
	uint64_t wanted, has;

	if (!kind)
		return -ENOMEM;
	if (number_parse(equals + 1, n - (size_t)(equals + 1 - word), true, &wanted) < 0)
		return -EINVAL;
	if (!field_find(have, kind, "limit", &limit) || text_done(&limit) < 0 ||
		number_parse(limit.data, limit.n, false, &has) < 0)
		return -EINVAL;
	if (wanted > has)
		text_addf(more, " %s=%" PRIu64, kind, wanted - has);
	if (wanted < has)
		text_addf(less, " %s=%" PRIu64, kind, has - wanted);
	return 0;
}

static int
transfer(struct apply *a, const struct entry *e, const char *way, const struct text *words)
{
	cleanup_text struct text how = {}, above = {}, what = {};
	const char *end_of_above = node_name(e->node.data) - strlen("sessions/");

	if (words->n == 0)
		return 0;
	text_add_n(&above, e->node.data, (size_t)(end_of_above - e->node.data));
	if (above.n > 0)
		above.data[--above.n] = '\0';
	if (word_append(&how, way, node_name(e->node.data)) < 0)
		return complain(EINVAL, "that is no name", "%s", e->session.data);
	text_add(&how, words->data);
	text_addf(&what, "%s: quota", e->session.data);
	if (text_done(&above) < 0 || text_done(&how) < 0 || text_done(&what) < 0)
		return plan_no_memory();
	return context_write(a->context, above.data ? above.data : "", "transfer_quota", how.data,
		false, what.data);
}

static int
keep_quota(struct apply *a, const struct entry *e)
{
	cleanup_text struct text wanted = {}, have = {}, more = {}, less = {};
	int status = run_quota(&e->words, &wanted), r = 0;

	if (status == 0)
		r = context_read(a->context, e->node.data, "quota", &have);
	for (const char *w = wanted.data; status == 0 && r == 0 && *w; w += strspn(w, " ")) {
		size_t n = strcspn(w, " ");

		r = add_difference(w, n, have.data, &more, &less);
		w += n;
	}
	if (r == 0 && (text_done(&more) < 0 || text_done(&less) < 0))
		r = -ENOMEM;
	if (r < 0)
		return complain(
			r, r == -EINVAL ? "this is no quota" : NULL, "%s: quota", e->session.data);
	if (status == 0)
		status = transfer(a, e, "from", &less);
	return status ? status : transfer(a, e, "to", &more);
}

static int
make(struct apply *a, const struct entry *e, const char *above, struct child *ret)
{
	struct run_words w = e->words;

	/* Its slots are granted by us: they may come from anywhere in the file. */
	w.n_given = 0;
	return child_make(ret, a->context, &w, e->parent ? e->parent->node.data : above,
		node_name(e->node.data));
}

static int
make_group(struct apply *a, const struct entry *e, const char *above)
{
	cleanup(child_deinit) struct child c = {};
	struct owner owner = OWNER_UNCHANGED;
	int status = e->is_kept ? keep_quota(a, e) : make(a, e, above, &c), r;

	if (status != 0)
		return status;
	owner.mode = GROUP_MODE;
	r = owner_set(a->context->place.root, e->node.data, &owner);
	return r < 0 ? complain(r, NULL, "%s: mode", e->session.data) : 0;
}

static int
make_groups(struct apply *a, const char *above)
{
	struct plan *p = a->plan;
	int status = 0;

	for (size_t i = 0; i < p->n && status == 0; i++) {
		complain_at(p->all[i]->place);
		if (!p->all[i]->has_program)
			status = make_group(a, p->all[i], above);
	}
	complain_at(NULL);
	return status;
}

/* --- programs --- */

static int
grant_all(struct apply *a, const struct entry *e, struct child *c)
{
	int status = 0;

	free(c->grants);
	c->grants = calloc(e->n_uses + 1, sizeof(*c->grants));
	if (!c->grants)
		return plan_no_memory();
	for (size_t i = 0; i < e->n_uses && status == 0; i++) {
		status = wire_grant(a, e, &e->uses[i], &c->grants[i].slot);
		if (status == 0) {
			c->grants[i].word = e->uses[i].name;
			c->n_grants++;
		}
	}
	return status;
}

/* What is open here stays above the numbers that arguments may name. */
static int
start_in(struct apply *a, struct entry *e, struct child *c)
{
	cleanup(start_deinit) struct start s = {.words = &e->words,
		.argv = e->program,
		.session = c->node.data,
		.tree = &e->tree,
		.child = c,
		.output = e->output ? e->output : "/dev/null"};
	capc_thread *t;
	int status = e->has_args ? reserve_fds(&s.reserve) : 0;

	if (status == 0)
		status = start_program(a->context, &s, &t);
	if (status != 0)
		return status;
	printf("%s: started %s\n", e->session.data, capc_thread_id(t));
	capc_thread_free(t);
	return 0;
}

static int
start(struct apply *a, struct entry *e, const char *above)
{
	cleanup(child_deinit) struct child c = {};
	int status = make(a, e, above, &c);

	if (status != 0)
		return status;
	status = grant_all(a, e, &c);
	if (status == 0)
		status = start_in(a, e, &c);
	if (status != 0)
		child_close(&c, a->context);
	return status;
}

static int
keep(struct apply *a, const struct entry *e)
{
	int status = 0;

	for (size_t i = 0; i < e->n_uses && status == 0; i++) {
		bool made;

		status = wire_keep(a, e, &e->uses[i], &made);
		if (status == 0 && made)
			printf("%s: granted %s\n", e->session.data, e->uses[i].name);
	}
	return status;
}

static int
start_all(struct apply *a, const char *above)
{
	struct plan *p = a->plan;
	int status = 0;

	for (size_t i = 0; i < p->n_order && status == 0; i++) {
		struct entry *e = p->order[i];

		complain_at(e->place);
		status = e->is_kept ? keep(a, e) : start(a, e, above);
		/* Whoever follows it sees each as it is done. */
		fflush(stdout);
	}
	complain_at(NULL);
	return status;
}

/* --- the command --- */

/* All that can be known to be wrong is, before anything is done. */
static int
check(struct apply *a)
{
	struct plan *p = a->plan;
	int status = 0;

	for (size_t i = 0; i < p->n_order && status == 0; i++)
		status = wire_check(a, p->order[i]);
	for (size_t i = 0; i < p->n && status == 0; i++)
		if (!p->all[i]->has_program)
			status = look(a, p->all[i]);
	for (size_t i = 0; i < p->n_order && status == 0; i++)
		status = look(a, p->order[i]);
	return status;
}

static int
open_first(struct apply *a)
{
	cleanup_text struct text path = {};
	int r;

	text_addf(&path, "%s/%s", a->context->place.root, a->plan->all[0]->node.data);
	r = text_done(&path);
	if (r == 0)
		r = capc_session_open(path.data, TIMEOUT_USEC, &a->first);
	return r < 0 ? complain(r, NULL, "%s", a->plan->all[0]->session.data) : 0;
}

static int
apply(struct apply *a)
{
	cleanup(reserve_release) struct reserve reserve = {};
	cleanup_text struct text above = {};
	int status = context_session(a->context, &above);

	if (status == 0)
		status = reserve_fds(&reserve);
	if (status == 0)
		status = context_open(a->context);
	if (status == 0)
		status = check(a);
	if (status == 0)
		status = end_changed(a);
	if (status == 0)
		status = make_groups(a, above.data ? above.data : "");
	if (status == 0 && !a->plan->all[0]->has_program)
		status = open_first(a);
	reserve_release(&reserve);
	if (status == 0)
		status = start_all(a, above.data ? above.data : "");
	return status ? STATUS_FAILED : 0;
}

static int
stop(struct apply *a)
{
	const struct entry *first = a->plan->all[0];
	int status = context_open(a->context);

	if (status != 0)
		return status;
	status = exists(a, first);
	if (status == 1) {
		status = end(a, first->session.data);
		if (status == 0)
			printf("%s: removed\n", first->session.data);
		return status;
	}
	return status < 0 ? complain(status, capc_session_reason(a->context->session), "%s",
				    first->session.data)
			  : status;
}

/*
 * Two calls for one file would end what the other one has just made. The lock is one of the directory in which the
 * file's session is, so that it goes with this process, and also holds while the session itself is not there yet.
 */
static int
lock(struct context *x, int *ret_fd)
{
	cleanup_text struct text node = {}, path = {};
	int status = context_session(x, &node);

	if (status != 0)
		return status;
	text_addf(&path, "%s/%s%ssessions", x->place.root, node.data ? node.data : "", node.data ? "/" : "");
	if (text_done(&path) < 0)
		return plan_no_memory();
	*ret_fd = open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd >= 0 && flock(*ret_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return complain(errno == EWOULDBLOCK ? EBUSY : errno,
		errno == EWOULDBLOCK ? "another capctl apply is at work there" : NULL, "%s", path.data);
}

static int
run_apply(struct context *x, int argc, char **argv)
{
	cleanup(plan_deinit) struct plan plan = {};
	struct apply a = {.context = x, .plan = &plan};
	cleanup_close int locked = -1;
	int status = plan_open(&plan, x, argv[0]);

	/* What it says may be wrong by now: to end it, its name is enough. */
	if (status == 0 && !options_have(&x->options, OPTION_STOP))
		status = plan_read(&plan);
	if (status == 0)
		status = lock(x, &locked);
	if (status == 0)
		status = options_have(&x->options, OPTION_STOP) ? stop(&a) : apply(&a);
	capc_session_free(a.first);
	return status;
}

const struct command command_apply = {
	.name = "apply",
	.by_path = true,
	.arguments = "[--stop] FILE.yaml",
	.summary = "make sessions, capabilities and programs what a file says; --stop ends them",
	.options = OPTION_STOP,
	.n_min = 1,
	.n_max = 1,
	.run = run_apply,
};
