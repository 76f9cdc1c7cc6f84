/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done with capabilities: grant, reduce, revoke, drop, rename. */
#include "config.h"

#include "capfsd/ops/verbs.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/ops/info.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/request.h"

static struct capability *
capability_of(struct entity *e)
{
	return container_of(e, struct capability, entity);
}

static void
log_grant(struct request *r, const struct capability *source, const struct capability *made)
{
	cleanup_text struct text from = {};
	cleanup_text struct text to = {};

	info_slot_path(source, &from);
	session_label(made->session, &to);
	event_log(r->model, made->session, "grant %s to=%s id=%" PRIu64 " as=%s uid=%u",
		from.data ? from.data : "?", to.data ? to.data : "?", made->entity.id,
		made->entity.name, (unsigned)r->uid);
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
		!command_reductions(r, &c, &how))
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
	if (a < 0)
		return request_fail(r, ch, a);
	if (a > 0) {
		change_abort(ch);
		return refuse_capability(r, source, to, &c.value[KEY_AS], a, "grant");
	}
	text_addf(&r->text, "slot=%s id=%" PRIu64, made->entity.name, made->entity.id);
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		log_grant(r, source, made);
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

	if (!command_parse(r, text, n, KEYS_REDUCTIONS, &c) || !command_reductions(r, &c, &how))
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

/* Everything derived from C that DATA picks. */
static int
end_below(struct change *ch, struct capability *c, const struct session *held_by, uint64_t id,
	uint64_t *ret_n, uint64_t *ret_last)
{
	for (struct capability *i = capability_next_below(c, c); i; i = capability_next_below(c, i)) {
		int e;

		if (held_by ? i->session != held_by : i->entity.id != id)
			continue;
		e = capability_end(ch, i);
		if (e < 0)
			return e;
		*ret_last = i->entity.id;
		++*ret_n;
	}
	return 0;
}

static int
stage_revoke(struct request *r, struct change *ch, struct capability *c, const struct command *cmd,
	const struct session *held_by, uint64_t id)
{
	uint64_t n = 0;
	int e;

	if (command_has(cmd, KEY_ALL)) {
		n = c->n_children;
		e = capability_end_children(ch, c);
		r->pending = c->entity.id;
	} else if (command_has(cmd, KEY_SELF)) {
		n = 1;
		e = capability_end(ch, c);
		r->pending = c->entity.id;
	} else {
		e = end_below(ch, c, held_by, id, &n, &r->pending);
		if (e == 0 && n == 0)
			return refuse(r, ENOENT, "nothing derived from %s is held there",
				c->entity.name);
	}
	if (e == 0)
		text_addf(&r->text, "revoked=%" PRIu64, n);
	return e;
}

int
verb_revoke(struct request *r, struct entity *e, const char *text, size_t n)
{
	const uint32_t keys = 1u << KEY_ALL | 1u << KEY_SELF | 1u << KEY_TO | 1u << KEY_ID;
	struct capability *cap = capability_of(e);
	struct session *s = cap->session, *held_by = NULL;
	uint64_t id = 0;
	struct command c;
	struct change *ch;
	int a;

	if (!command_parse(r, text, n, keys, &c))
		return 0;
	if (c.given & (c.given - 1))
		return refuse(r, EINVAL, "one of 1, self, to=SESSION, id=N");
	if (command_has(&c, KEY_TO)) {
		held_by = find_session(r, s, &c, KEY_TO);
		if (!held_by)
			return 0;
	}
	if (command_has(&c, KEY_ID) && !command_number(r, &c, KEY_ID, &id))
		return 0;
	ch = change_begin(r->model);
	a = stage_revoke(r, ch, cap, &c, held_by, id);
	if (a < 0 || r->error) {
		r->pending = 0;
		if (a < 0)
			return request_fail(r, ch, a);
		change_abort(ch);
		return 0;
	}
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, s, "revoke caps/%s %.*s uid=%u", e->name, (int)n, text,
			(unsigned)r->uid);
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

