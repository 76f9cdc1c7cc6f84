/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame of every verb. Whatever may be refused is refused before the commit, and what cannot be
 * told is not done at all: a reply or an event for which there is no memory is a refusal as well.
 *
 * Fronts call it, one operation at a time. A change lives within run_once(), so none is ever under
 * way when something else gets its turn.
 */
#include "config.h"

#include "capfsd/ops/verb.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "capfsd/ops/reductions.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/usage.h"

/* The word behind which the rest of the line is for people. NULL: it is not there. */
static const char *
find_rest(const struct operation *o, const char *name)
{
	const char *p = o->text.p, *end = p + o->text.n;
	size_t n = strlen(name);

	for (; p && (size_t)(end - p) >= n; p++)
		if (memcmp(p, name, n) == 0 && (p == o->text.p || p[-1] == ' ') && (p + n == end || p[n] == ' '))
			return p;
	return NULL;
}

/* What is for people is text as all is, but has no keys. */
static bool
parse(struct operation *o)
{
	const struct verb *v = o->verb;
	struct command *c = &o->command;
	const char *rest = NULL;
	enum key key = 0;
	size_t n = o->text.n;

	while (v->rest && !(v->rest & KEY_BIT(key)))
		key++;
	if (v->rest)
		rest = find_rest(o, key_name(key));
	if (rest)
		n = (size_t)(rest - o->text.p) + strlen(key_name(key));
	if (!command_parse(o->request, o->text.p, n, v->keys, c))
		return false;
	if (rest && n < o->text.n)
		c->value[key] = (struct word){o->text.p + n + 1, o->text.n - n - 1};
	return !rest || command_is_printable(o->request, o->text.p + n, o->text.n - n);
}

/* Whether a limit can be kept is asked of a capability; what else has limits is about one that it finds. */
static bool
decode(struct operation *o)
{
	const struct verb *v = o->verb;
	struct request *r = o->request;
	struct command *c = &o->command;

	if (v->keys && !(v->wordless && o->text.n == 0) && !parse(o))
		return false;
	if ((c->given & KEYS_REDUCTIONS) && !command_reductions(r, c, &o->only, &o->reductions))
		return false;
	if ((c->given & KEYS_REDUCTIONS) && o->subject->kind == ENTITY_CAPABILITY && !command_has(c, KEY_TARGET) &&
		!reductions_can_be_kept(r, capability_of(o->subject), &o->reductions))
		return false;
	return !(c->given & KEYS_QUOTA) || command_quota(r, c, &o->quota);
}

/* Where a command has another form than its usual one, the words of the two are not mixed. */
static bool
check_alone(struct operation *o)
{
	key_set alone = o->command.given & o->verb->alone;
	cleanup_text struct text t = {};

	if (o->command.given == (alone & -alone))
		return true;
	usage_keys(alone, ", ", &t);
	return refuse(o->request, EINVAL, "'%s' is given alone", t.data ? t.data : "?");
}

/* Before anything is looked up: a command that is incomplete learns nothing of what there is. */
static bool
check_keys(struct operation *o)
{
	const struct verb *v = o->verb;
	key_set missing = v->required & ~o->command.given, one = o->command.given & v->one_of;
	cleanup_text struct text t = {};

	if (o->command.given & v->alone)
		return check_alone(o);
	if (missing) {
		usage_keys(missing & -missing, "", &t);
		return refuse(o->request, EINVAL, "'%s' is missing", t.data ? t.data : "?");
	}
	if (!v->one_of || (one && !(one & (one - 1))))
		return true;
	usage_keys(v->one_of, ", ", &t);
	return refuse(o->request, EINVAL, "one of %s", t.data ? t.data : "?");
}

/*
 * Who may write to the file may ask; whether it is done is the capability's to say. One that has
 * ended is refused by the model, as gone: which right it would have lacked is no answer to who
 * still has its file open.
 */
static bool
check_right(struct operation *o)
{
	uint32_t right = o->verb->right;
	const struct capability *c = right ? capability_of(o->subject) : NULL;

	return !c || !capability_is_live(c) || (capability_rights(c) & right) ||
		refuse_right(o->request, c, right);
}

/*
 * What is not the last of several parts has no reply yet, and so no note of one: a request that is
 * repeated after a crash goes on with the parts that are left.
 */
static int
commit(struct operation *o)
{
	struct request *r = o->request;
	int e;

	if (!o->slices.more)
		return request_commit(r, o->change);
	e = change_commit(o->change);
	return e < 0 ? request_fail(r, NULL, e) : 0;
}

/*
 * One transaction of it. It may be the second attempt, so what the one before has told is
 * forgotten.
 */
static int
run_once(struct operation *o)
{
	struct request *r = o->request;
	int e;

	o->change = change_begin(r->model);
	o->slices.n = 0;
	o->slices.more = false;
	o->told = o->about = NULL;
	text_reset(&o->event);
	e = o->verb->stage(o);
	if (e == 0 && !r->error && (text_done(&r->text) < 0 || text_done(&o->event) < 0))
		e = -ENOMEM;
	if (e < 0) {
		e = request_fail(r, o->change, e);
	} else if (r->error || o->unchanged || r->checks) {
		change_abort(o->change);
	} else {
		e = commit(o);
	}
	o->change = NULL;
	return e;
}

/*
 * In as many transactions as the store has room for. One that was too large is tried again with
 * half; with one entity and no room the refusal stands. Parts that were done are final, and the
 * reply of the last one counts them.
 */
static int
run(struct operation *o)
{
	struct request *r = o->request;
	struct slices *s = &o->slices;
	int e;

	s->max = UINT64_MAX;
	for (;;) {
		e = run_once(o);
		if (e == 0 && r->error == ENOSPC && s->n > 1) {
			r->error = 0;
			text_reset(&r->text);
			s->max = s->n / 2;
		} else if (e < 0 || r->error || !s->more) {
			return e;
		} else {
			s->done += s->n;
			s->last = s->next;
		}
	}
}

/*
 * The first verbs have their counters in the middle of the page, which cannot grow there: the page
 * is left by one binary to the next, and each must find the others' numbers.
 */
static void
count(const struct operation *o)
{
	const struct request *r = o->request;
	struct counters *c = r->model->counters;
	unsigned late = (unsigned)o->verb->number - COUNTERS_VERBS;
	bool first = o->verb->number < COUNTERS_VERBS;

	if (r->error) {
		++*(first ? &c->refused[o->verb->number] : &r->model->more->refused[late]);
		counters_add(c->errors, r->error);
	} else {
		++*(first ? &c->done[o->verb->number] : &r->model->more->done[late]);
	}
}

/*
 * A refusal becomes an event of the session in whose tree it was asked, since a shell's echo has
 * closed its file by the time one wants to read the reason. What the kernel asks for by itself
 * (lookups) is none.
 */
int
verb_finish(struct operation *o, int result)
{
	cleanup_text struct text where = {};
	struct request *r = o->request;

	if (result < 0 || r->error || r->checks)
		r->pending = 0;
	if (result < 0 || o->verb->quiet || r->checks)
		return result;
	count(o);
	if (r->error) {
		if (o->where)
			o->where(o, &where);
		request_log_refusal(r, o->session, o->verb->name, &where);
	}
	return result;
}

/*
 * In the share of who asked: what a session does to those below it they cannot push out of its log. What a server
 * has refused to somebody is that one's doing.
 */
static void
tell(const struct operation *o)
{
	const struct event event = {
		.verb = o->told_as ? o->told_as : o->verb->name,
		.error = o->told_error,
		.keep = o->verb->lasting ? EVENT_LASTING : EVENT_USUAL,
		.about = o->about,
		.by = o->told_error ? o->told : o->session,
		.through = o->request->by,
		.fields = &o->event,
		.text = o->told_error ? o->told_text.data : o->text.p,
		.n_text = o->told_error ? o->told_text.n : o->says_words ? o->text.n : 0,
	};

	event_log(o->request->model, o->told, &event);
}

/* done() comes before the event, so that what it tells of is complete when somebody reads it. */
int
verb_run(struct operation *o)
{
	const struct verb *v = o->verb;
	struct request *r = o->request;
	bool prepared = decode(o) && check_keys(o);
	int e = 0;

	r->asks = o->session;
	if (prepared && v->prepare)
		e = v->prepare(o);
	if (prepared && e == 0 && !r->error && check_right(o))
		e = run(o);
	if (prepared && v->done)
		v->done(o, e == 0 && !r->error && !o->unchanged);
	if (e == 0 && !r->error && !r->checks && o->told)
		tell(o);
	text_deinit(&o->event);
	text_deinit(&o->told_text);
	text_deinit(&o->only);
	return verb_finish(o, e);
}

void
operation_tell(struct operation *o, struct session *s, const char *format, ...)
{
	va_list args;

	o->told = s;
	text_reset(&o->event);
	va_start(args, format);
	text_vaddf(&o->event, format, args);
	va_end(args);
}
