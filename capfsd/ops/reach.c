/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions that commands name. What a slot refers to is looked at, and its use staged, in the change that does
 * what is asked: there is no moment in which the slot might be revoked, and its holder still be obeyed.
 */
#include "config.h"

#include "capfsd/ops/reach.h"

#include <errno.h>
#include <string.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/refusals.h"

/* Whoever asks knows only what is below its own session, and learns of nothing else. */
struct session *
find_descendant(struct request *r, struct session *s, const struct command *c, enum key key)
{
	const struct word *w = &c->value[key];
	struct session *found;

	found = session_find(r->model, s, w->p, w->n);
	if (!found)
		refuse(r, ENOENT, "there is no session '%.*s' here", (int)w->n, w->p);
	return found;
}

bool
names_slot(const struct command *c, enum key key)
{
	return command_has(c, key) && c->value[key].p[0] == '@';
}

static bool
check_reaches(struct request *r, const struct capability *c)
{
	return capability_type(c)->reaches || refuse(r, EINVAL, "%s is no capability to a session", c->entity.name);
}

struct capability *
find_session_slot(struct request *r, const struct session *s, const char *name, size_t n)
{
	struct entity *e = entity_find_name(r->model, s->entity.id, ENTITY_CAPABILITY, name, n);
	struct capability *c = e ? capability_of(e) : NULL;

	if (!c || !capability_is_live(c))
		refuse(r, ENOENT, "there is no slot '%.*s' here", (int)n, name);
	else
		check_reaches(r, c);
	return r->error ? NULL : c;
}

/*
 * To itself a session needs no capability, and must not use one: with `grant` alone it would have what it gave
 * there, for which it needs `replicate`.
 */
static struct session *
session_by_slot(struct operation *o, struct session *s, const struct word *w, uint32_t right)
{
	struct request *r = o->request;
	struct capability *c = find_session_slot(r, s, w->p + 1, w->n - 1);
	struct session *found = c ? anchor_of(c->target)->session : NULL;
	const struct about about = {.capability = c, .session = found, .right = right};
	int answer = found && right ? capability_use(o->change, c, right) : 0;

	if (found == s)
		refuse(r, EINVAL, "%s refers to this session itself", c->entity.name);
	else if (answer < 0)
		refuse(r, ENOMEM, "the daemon is out of memory");
	else if (answer > 0)
		refuse_capability(r, answer, &about);
	return r->error ? NULL : found;
}

struct session *
find_session(struct operation *o, struct session *s, enum key key, uint32_t right)
{
	if (names_slot(&o->command, key))
		return session_by_slot(o, s, &o->command.value[key], right);
	return find_descendant(o->request, s, &o->command, key);
}

/* The last name is a slot's, in the session, or, behind names of sessions, in one below it. */
struct capability *
find_target(struct operation *o, const struct capability *through)
{
	const struct word *w = &o->command.value[KEY_TARGET];
	const char *slash = memrchr(w->p, '/', w->n), *name = slash ? slash + 1 : w->p;
	struct request *r = o->request;
	struct session *s;
	struct entity *e = NULL;

	if (!check_reaches(r, through))
		return NULL;
	if (!(capability_rights(through) & RIGHT_CALL)) {
		refuse_right(r, through, RIGHT_CALL);
		return NULL;
	}
	s = anchor_of(through->target)->session;
	if (slash)
		s = session_find(r->model, s, w->p, (size_t)(slash - w->p));
	if (s)
		e = entity_find_name(r->model, s->entity.id, ENTITY_CAPABILITY, name, w->n - (size_t)(name - w->p));
	if (e && capability_is_live(capability_of(e)))
		return capability_of(e);
	refuse(r, ENOENT, "there is no slot '%.*s' in the session of %s", (int)w->n, w->p, through->entity.name);
	return NULL;
}
