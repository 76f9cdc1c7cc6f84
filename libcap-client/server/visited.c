/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Visits, from the side of who serves. The daemon tells which visit asks, or that all are to be looked at; what they
 * are stands in the tree. Those that are known are kept here, so that the end of one can be told.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "libcap-client/server/visited.h"

struct known {
	struct list link;
	uint64_t id;
	bool ours; /* at this entrypoint, and not another one of the session */
	bool seen; /* in the listing that is under way */
};

void
visited_init(struct visited *v)
{
	*v = (struct visited){};
	list_init(&v->known);
}

static void
forget(struct known *k)
{
	list_unlink(&k->link);
	free(k);
}

void
visited_deinit(struct visited *v)
{
	while (!list_empty(&v->known))
		forget(list_entry(list_first(&v->known), struct known, link));
}

static struct known *
find(struct visited *v, uint64_t id)
{
	list_for_each (i, &v->known)
		if (list_entry(i, struct known, link)->id == id)
			return list_entry(i, struct known, link);
	return NULL;
}

static struct known *
add(struct visited *v, uint64_t id)
{
	struct known *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->id = id;
	list_append(&v->known, &k->link);
	return k;
}

/* What stands behind KEY, which begins a line; "" if none does. It is the caller's (free); NULL: no memory. */
static char *
value_of(const char *info, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = info; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, key, n) == 0)
			return strndup(line + n, strcspn(line + n, "\n"));
	return strdup("");
}

uint64_t
capc_visit_quota(const struct capc_visit *v, const char *kind, const char *what)
{
	size_t n_kind = strlen(kind), n_what = strlen(what);

	for (const char *line = v->info; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *end = line + strcspn(line, "\n"), *word = line + n_kind;

		if (strncmp(line, kind, n_kind) != 0 || *word != ' ')
			continue;
		for (; word < end; word += strcspn(word, " \n")) {
			word++;
			if (strncmp(word, what, n_what) == 0 && word[n_what] == '=')
				return strtoull(word + n_what + 1, NULL, 10);
		}
	}
	return 0;
}

static enum capc_visit_state
state_of(const char *word)
{
	if (strcmp(word, "pending") == 0)
		return CAPC_VISIT_ASKED;
	return strcmp(word, "upgrading") == 0 ? CAPC_VISIT_UPGRADE : CAPC_VISIT_OPEN;
}

/* One that was answered since the daemon has told of it is no news. Returns: 0 or -ENOMEM. */
static int
tell(struct capc_entrypoint *e, struct known *k, const char *info, bool is_new)
{
	cleanup_free char *state = value_of(info, "state="), *label = value_of(info, "label="),
			  *slot = value_of(info, "slot="), *args = value_of(info, "args="),
			  *key = value_of(info, "key=");
	struct capc_visit visit = {.capability = k->id, .info = info, .label = label, .slot = slot, .args = args};

	if (!state || !label || !slot || !args || !key)
		return -ENOMEM;
	/* The badge stands behind it. */
	visit.key = strtoull(key, NULL, 10);
	visit.state = state_of(state);
	if (is_new || visit.state != CAPC_VISIT_OPEN)
		e->visited.handler(&visit, e->visited.data);
	return 0;
}

/* Reads K and tells of it, if it is ours. Returns: 0, -errno; -ENOENT: it has gone. */
static int
look_at(struct capc_entrypoint *e, struct known *k, bool is_new)
{
	cleanup_free char *info = NULL, *entrypoint = NULL;
	cleanup_text struct text node = {};
	int r;

	text_addf(&node, "visits/%" PRIu64 "/info", k->id);
	r = text_done(&node);
	if (r == 0)
		r = session_do(e->session, WIRE_READ, node.data, NULL, &info, session_deadline(e->session));
	if (r < 0)
		return r;
	entrypoint = value_of(info, "entrypoint=");
	if (!entrypoint)
		return -ENOMEM;
	k->ours = strcmp(entrypoint, e->name) == 0;
	return k->ours ? tell(e, k, info, is_new) : 0;
}

static void
tell_closed(struct capc_entrypoint *e, struct known *k)
{
	const struct capc_visit visit = {
		.capability = k->id, .state = CAPC_VISIT_CLOSED, .label = "", .slot = "", .args = "", .info = ""};
	bool ours = k->ours;

	forget(k);
	if (ours)
		e->visited.handler(&visit, e->visited.data);
}

static int
look_at_one(struct capc_entrypoint *e, uint64_t id)
{
	struct known *k = find(&e->visited, id);
	bool is_new = !k;
	int r;

	if (!k)
		k = add(&e->visited, id);
	if (!k)
		return -ENOMEM;
	r = look_at(e, k, is_new);
	if (r != -ENOENT)
		return r;
	/* Of one that never asked here nothing is to be told. */
	if (is_new)
		forget(k);
	else
		tell_closed(e, k);
	return 0;
}

struct listing {
	struct visited *visited;
	uint64_t *fresh; /* ids that are not known */
	size_t n, n_room;
};

static int
note(const char *name, void *data)
{
	struct listing *l = data;
	struct known *k;
	uint64_t id;

	if (number_parse(name, strlen(name), false, &id) < 0)
		return -EBADMSG;
	k = find(l->visited, id);
	if (k) {
		k->seen = true;
		return 0;
	}
	if (l->n == l->n_room) {
		size_t room = l->n_room ? 2 * l->n_room : 64;
		uint64_t *more = reallocarray(l->fresh, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->fresh = more;
		l->n_room = room;
	}
	l->fresh[l->n++] = id;
	return 0;
}

/* A handler may answer visits, and detach the entrypoint; it does not look at them itself. */
static int
look_at_all(struct capc_entrypoint *e)
{
	struct listing l = {.visited = &e->visited};
	int r;

	list_for_each (i, &e->visited.known)
		list_entry(i, struct known, link)->seen = false;
	r = session_list(e->session, "visits", note, &l, session_deadline(e->session));
	for (bool more = r == 0; more && !e->error;) {
		more = false;
		list_for_each (i, &e->visited.known)
			if (!list_entry(i, struct known, link)->seen) {
				tell_closed(e, list_entry(i, struct known, link));
				more = true;
				break;
			}
	}
	for (size_t i = 0; r == 0 && !e->error && i < l.n; i++)
		r = look_at_one(e, l.fresh[i]);
	free(l.fresh);
	return r;
}

int
visited_look(struct capc_entrypoint *e, uint64_t id)
{
	if (!e->visited.handler)
		return 0;
	return id ? look_at_one(e, id) : look_at_all(e);
}

int
capc_visits(struct capc_entrypoint *e, capc_visit_handler *f, void *data)
{
	int r = entrypoint_check(e);

	if (r < 0)
		return r;
	if (e->serving)
		return -EBUSY;
	if (!e->session)
		return -EOPNOTSUPP;
	e->visited.handler = f;
	e->visited.data = data;
	/* As if it was asked from within a round, so that a handler may detach it. */
	e->serving = true;
	r = f ? visited_look(e, 0) : 0;
	e->serving = false;
	return r;
}

int
capc_visit_answer(struct capc_entrypoint *e, uint64_t capability, const char *how)
{
	cleanup_text struct text node = {};
	int r = entrypoint_check(e);

	if (r == 0 && !e->session)
		r = -EOPNOTSUPP;
	if (r < 0)
		return r;
	text_addf(&node, "visits/%" PRIu64 "/answer", capability);
	r = text_done(&node);
	return r < 0 ? r : session_do(e->session, WIRE_WRITE, node.data, how, NULL, session_deadline(e->session));
}
