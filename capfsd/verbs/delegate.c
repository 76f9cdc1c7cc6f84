/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done with capabilities: grant, replicate, transfer, reduce, revoke, drop, rename. */
#include "config.h"

#include "capfsd/verbs/verbs.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/tree/info.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/request.h"

int
finish_made(struct request *r, struct change *ch, const char *verb, struct capability *source,
	struct session *session, const struct word *as, int answer, const struct capability *made)
{
	cleanup_text struct text from = {}, to = {};
	int a;

	if (answer < 0)
		return request_fail(r, ch, answer);
	if (answer > 0) {
		change_abort(ch);
		return refuse_capability(r, source, session, as, answer, verb);
	}
	info_slot_path(source, &from);
	text_addf(&r->text, "slot=%s id=%" PRIu64, made->entity.name, made->entity.id);
	a = request_commit(r, ch);
	if (a < 0 || r->error)
		return a;
	session_label(made->session, &to);
	event_log(r->model, made->session, "%s id=%" PRIu64 " as=%s uid=%u %s to=%s", verb,
		made->entity.id, made->entity.name, (unsigned)r->uid,
		from.data ? from.data : "?", to.data ? to.data : "?");
	return 0;
}

/* What a connection carries is seen by the server alone. */
static bool
limits_can_be_kept(struct request *r, const struct capability *c, const struct reductions *how)
{
	const struct kept_limits limits = capability_type(c)->limits(c);
	const char *limit = reductions_not_kept(how, limits.kept);

	return !limit ||
		refuse(r, EOPNOTSUPP, "the limit '%s' cannot be kept for %s%s", limit,
			c->entity.name, limits.why);
}

int
verb_grant(struct request *r, struct entity *e, const char *text, size_t n)
{
	struct capability *source = capability_of(e), *made;
	struct command c;
	struct reductions how;
	struct session *to;
	struct change *ch;
	int a;

	if (!command_parse(r, text, n, 1u << KEY_TO | 1u << KEY_AS | KEYS_REDUCTIONS, &c) ||
		!command_reductions(r, &c, &how) || !limits_can_be_kept(r, source, &how))
		return 0;
	if (!command_has(&c, KEY_TO))
		return refuse(r, EINVAL, "'to=SESSION' is missing");
	if (!(capability_rights(source) & RIGHT_GRANT))
		return refuse_right(r, source, "grant");
	to = find_session(r, source->session, &c, KEY_TO);
	if (!to)
		return 0;
	/* Least authority: without rights= the new slot can be used, not passed on. */
	if (!how.has_rights) {
		how.has_rights = true;
		how.rights = capability_rights(source) & ~RIGHTS_COMMON;
		if (!how.rights)
			return refuse_right(r, source, "call");
	}
	ch = change_begin(r->model);
	a = capability_grant(ch, source, to, c.value[KEY_AS].p, c.value[KEY_AS].n, &how, r->uid,
		&made);
	return finish_made(r, ch, "grant", source, to, &c.value[KEY_AS], a, made);
}

int
verb_replicate(struct request *r, struct entity *e, const char *text, size_t n)
{
	struct capability *source = capability_of(e), *made;
	struct command c;
	struct reductions how;
	struct change *ch;
	int a;

	if (!command_parse(r, text, n, 1u << KEY_AS | KEYS_REDUCTIONS, &c) ||
		!command_reductions(r, &c, &how))
		return 0;
	if (!limits_can_be_kept(r, source, &how))
		return 0;
	if (how.has_calls)
		return refuse(r, EINVAL, "'calls' is a quantity: it is granted, not replicated");
	ch = change_begin(r->model);
	a = capability_replicate(ch, source, c.value[KEY_AS].p, c.value[KEY_AS].n, &how, r->uid,
		&made);
	return finish_made(
		r, ch, "replicate", source, source->session, &c.value[KEY_AS], a, made);
}

int
verb_transfer(struct request *r, struct entity *e, const char *text, size_t n)
{
	struct capability *source = capability_of(e), *made;
	struct command c;
	struct session *to;
	struct change *ch;
	int a;

	if (!command_parse(r, text, n, 1u << KEY_TO | 1u << KEY_AS, &c))
		return 0;
	if (!command_has(&c, KEY_TO))
		return refuse(r, EINVAL, "'to=SESSION' is missing");
	if (!(capability_rights(source) & RIGHT_TRANSFER))
		return refuse_right(r, source, "transfer");
	to = find_session(r, source->session, &c, KEY_TO);
	if (!to)
		return 0;
	ch = change_begin(r->model);
	a = capability_transfer(
		ch, source, to, c.value[KEY_AS].p, c.value[KEY_AS].n, r->uid, &made);
	if (a == CAPABILITY_E_IN_USE) {
		change_abort(ch);
		return refuse(r, EBUSY,
			"%s has connections, or something is derived from it", e->name);
	}
	r->pending = e->id;
	a = finish_made(r, ch, "transfer", source, to, &c.value[KEY_AS], a, made);
	if (a < 0 || r->error)
		r->pending = 0;
	return a;
}

int
verb_reduce(struct request *r, struct entity *e, const char *text, size_t n)
{
	struct capability *cap = capability_of(e);
	struct command c;
	struct reductions how;
	struct change *ch;
	int a;

	if (!command_parse(r, text, n, KEYS_REDUCTIONS, &c) || !command_reductions(r, &c, &how) ||
		!limits_can_be_kept(r, cap, &how))
		return 0;
	ch = change_begin(r->model);
	a = capability_reduce(ch, cap, &how);
	if (a < 0)
		return request_fail(r, ch, a);
	if (a > 0) {
		change_abort(ch);
		return refuse_capability(r, cap, cap->session, &c.value[KEY_AS], a, "reduce");
	}
	text_addf(&r->text, "slot=%s id=%" PRIu64, e->name, e->id);
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, cap->session, "reduce caps/%s uid=%u %.*s", e->name,
			(unsigned)r->uid, (int)n, text);
	return a;
}

/* What is held by S of all that is derived from C. */
struct held {
	struct capability *c;
	const struct session *session;
	struct capability *last; /* the walk below C goes on behind it */
	uint64_t n;		 /* ended so far */
};

/* Stages the end of MAX of it at most. Returns: 0, -ENOMEM. */
static int
end_held(struct change *ch, struct held *h, uint64_t max)
{
	uint64_t n = h->n + max < max ? UINT64_MAX : h->n + max;

	for (struct capability *i = capability_next_below(h->c, h->last); i && h->n < n;
		i = capability_next_below(h->c, i)) {
		if (i->session != h->session || !capability_is_live(i))
			continue;
		if (capability_end(ch, i) < 0)
			return -ENOMEM;
		h->last = i;
		h->n++;
	}
	return 0;
}

/*
 * One transaction of it; the last one brings the answer. Nothing is reaped in between, so that the
 * walk can go on.
 */
static int
revoke_slice(struct request *r, struct held *h, uint64_t max, bool *ret_last)
{
	struct change *ch = change_begin(r->model);
	uint64_t before = h->n;
	int e = end_held(ch, h, max);

	*ret_last = h->n - before < max;
	if (e < 0)
		return request_fail(r, ch, e);
	if (h->n == 0) {
		change_abort(ch);
		return refuse(
			r, ENOENT, "nothing derived from %s is held there", h->c->entity.name);
	}
	r->pending = h->last->entity.id;
	if (*ret_last) {
		text_addf(&r->text, "revoked=%" PRIu64, h->n);
		return request_commit(r, ch);
	}
	e = change_commit(ch);
	return e < 0 ? request_fail(r, NULL, e) : 0;
}

/*
 * All of it in one transaction, or, in a store that has no room for that, in several: every end is
 * final, their order does not matter, and whoever asks again ends what is left.
 */
static int
revoke_held(struct request *r, struct capability *c, const struct session *s)
{
	struct held done = {.c = c, .session = s, .last = c};
	uint64_t max = UINT64_MAX;
	bool last = false;

	for (;;) {
		struct held h = done;
		int e = revoke_slice(r, &h, max, &last);

		if (e == 0 && r->error == ENOSPC && h.n - done.n > 1) {
			r->error = 0;
			text_reset(&r->text);
			max = (h.n - done.n) / 2;
		} else if (e < 0 || r->error || last) {
			return e;
		} else {
			done = h;
		}
	}
}

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

static int
revoke_one(struct request *r, struct capability *c)
{
	struct change *ch = change_begin(r->model);
	int e = capability_end(ch, c);

	if (e < 0)
		return request_fail(r, ch, e);
	r->pending = c->entity.id;
	text_add(&r->text, "revoked=1");
	return request_commit(r, ch);
}

static int
revoke_all(struct request *r, struct capability *c)
{
	struct change *ch = change_begin(r->model);
	int e = capability_end_children(ch, c);

	if (e < 0)
		return request_fail(r, ch, e);
	r->pending = c->entity.id;
	text_addf(&r->text, "revoked=%" PRIu64, c->n_children);
	return request_commit(r, ch);
}

static int
revoke_chosen(struct request *r, struct capability *c, const struct command *cmd)
{
	struct capability *found;
	struct session *s;
	uint64_t id;

	if (command_has(cmd, KEY_ALL))
		return revoke_all(r, c);
	if (command_has(cmd, KEY_SELF))
		return revoke_one(r, c);
	if (command_has(cmd, KEY_TO)) {
		s = find_session(r, c->session, cmd, KEY_TO);
		return s ? revoke_held(r, c, s) : 0;
	}
	if (!command_number(r, cmd, KEY_ID, &id))
		return 0;
	found = find_below(r, c, id);
	if (!found)
		return refuse(r, ENOENT, "nothing derived from %s has that id", c->entity.name);
	return revoke_one(r, found);
}

int
verb_revoke(struct request *r, struct entity *e, const char *text, size_t n)
{
	const uint32_t keys = 1u << KEY_ALL | 1u << KEY_SELF | 1u << KEY_TO | 1u << KEY_ID;
	struct capability *cap = capability_of(e);
	struct command c;
	int a;

	if (!command_parse(r, text, n, keys, &c))
		return 0;
	if (c.given & (c.given - 1))
		return refuse(r, EINVAL, "one of 1, self, to=SESSION, id=N");
	a = revoke_chosen(r, cap, &c);
	if (a == 0 && !r->error)
		event_log(r->model, cap->session, "revoke caps/%s uid=%u %.*s", e->name,
			(unsigned)r->uid, (int)n, text);
	else
		r->pending = 0;
	return a;
}

int
verb_drop(struct request *r, struct capability *c)
{
	struct session *s = c->session;
	struct change *ch = change_begin(r->model);
	int a = capability_end(ch, c);

	if (a < 0)
		return request_fail(r, ch, a);
	r->pending = c->entity.id;
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, s, "drop caps/%s uid=%u", c->entity.name, (unsigned)r->uid);
	return a;
}

int
verb_rename(struct request *r, struct capability *c, const char *name, size_t n)
{
	struct word word = {name, n};
	struct change *ch = change_begin(r->model);
	int a = capability_rename(ch, c, name, n);

	if (a < 0)
		return request_fail(r, ch, a);
	if (a > 0) {
		change_abort(ch);
		return refuse_capability(r, c, c->session, &word, a, "");
	}
	return request_commit(r, ch);
}

