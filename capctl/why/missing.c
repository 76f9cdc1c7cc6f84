/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * There is no slot of that name: what was last heard of one, whether somebody above has one, whether the policy of
 * the parent would give it, and who waits for what. Names reach down and never up, so all of it is looked for
 * from the session that we talk to downwards.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capctl/why/why.h"

/* The session that NODE is a child of. Returns: false: it is the one that we talk to. */
static bool
parent_of(const char *node, struct text *ret)
{
	const char *last;

	if (!*node)
		return false;
	last = node_name(node) - strlen("sessions/");
	text_add_n(ret, node, last > node ? (size_t)(last - node - 1) : 0);
	return text_done(ret) == 0;
}

/* " from=init/caps/docker" as what a revocation there begins with: " revoke session=init slot=docker ". */
static void
follow_source(struct why *y, const char *line, size_t n, struct text *t)
{
	const char *from = memmem(line, n, " from=", 6), *caps = NULL;
	size_t n_from;

	if (!from)
		return;
	from += 6;
	n_from = strcspn(from, " \n");
	for (const char *p = from; p < from + n_from; p++)
		if (strncmp(p, "/caps/", 6) == 0)
			caps = p;
	if (!caps)
		return;
	text_reset(&y->from);
	text_reset(&y->source);
	text_add_n(&y->from, from, (size_t)(caps - from));
	text_add_n(&y->source, caps + 6, (size_t)(from + n_from - caps - 6));
	text_reset(t);
	if (text_done(&y->from) == 0 && text_done(&y->source) == 0)
		text_addf(t, " revoke session=%s slot=%s ", y->from.data, y->source.data);
}

/*
 * The last event that is about a slot of this name: its end, that is, or that of all that was derived from what it
 * came from.
 */
static void
print_last(struct why *y)
{
	cleanup_text struct text events = {}, mine = {}, source = {};
	const char *at, *line, *last = NULL;
	size_t n, n_last = 0;

	if (context_read(y->x, "", "events", &events) < 0)
		return;
	text_addf(&mine, " session=%s slot=%s ", y->label.data, y->name);
	if (text_done(&mine) < 0)
		return;
	for (at = events.data; (line = next_line(&at, &n));) {
		bool own = memmem(line, n, mine.data, mine.n);

		if (memmem(line, n, " refused ", 9) ||
			(!own && !(source.n > 0 && memmem(line, n, source.data, source.n))))
			continue;
		if (own)
			follow_source(y, line, n, &source);
		last = line;
		n_last = n;
	}
	if (last)
		printf("  %-9s %.*s\n", "last", (int)n_last, last);
}

/* What PATTERN of a policy is worth for a session of this label; 0: it is not for it. */
static size_t
pattern_score(const char *pattern, size_t n, const char *label)
{
	size_t n_label = strlen(label);
	const char *name = node_name(label);

	if (n == n_label && memcmp(pattern, label, n) == 0)
		return 4000 + n;
	if (n > 2 && memcmp(pattern + n - 2, "/*", 2) == 0 && n_label > n - 1 && memcmp(pattern, label, n - 1) == 0)
		return 3000 + n;
	if (n > 2 && memcmp(pattern, "*/", 2) == 0 && strlen(name) == n - 2 && memcmp(pattern + 2, name, n - 2) == 0)
		return 2000 + n;
	return n == 1 && *pattern == '*' ? 1000 : 0;
}

static bool
is_word(const char *word, size_t n, const char *as)
{
	return strlen(as) == n && memcmp(word, as, n) == 0;
}

/* The rule of PARENT's policy that counts. Returns: it gives the slot. */
static bool
print_rule(struct why *y, const char *parent)
{
	cleanup_text struct text policy = {}, label = {};
	const char *at, *line, *best = NULL;
	size_t n, n_best = 0, most = 0;
	unsigned number = 0, best_number = 0;

	if (context_read(y->x, parent, "policy", &policy) < 0)
		return false;
	session_label(&y->x->place, parent, &label);
	for (at = policy.data; (line = next_line(&at, &n));) {
		size_t n_pattern = strcspn(line, " \n"), score = pattern_score(line, n_pattern, y->label.data);
		const char *name = line + n_pattern + (line[n_pattern] == ' ');

		number++;
		if (score <= most || !is_word(name, strcspn(name, " \n"), y->name))
			continue;
		most = score;
		best = line;
		n_best = n;
		best_number = number;
	}
	if (!best || text_done(&label) < 0)
		return false;
	printf("  %-9s line %u of %s: %.*s\n", "policy", best_number, label.data, (int)n_best, best);
	return !(n_best > 5 && memcmp(best + n_best - 5, " deny", 5) == 0);
}

/* A request that waits at PARENT for somebody to decide. Returns: its id, or 0. */
static unsigned long
find_request(struct why *y, const char *parent)
{
	cleanup_text struct text requests = {}, from = {}, name = {};
	const char *at, *line;
	size_t n;

	if (context_read(y->x, parent, "requests", &requests) < 0)
		return 0;
	text_addf(&from, " from=%s ", y->label.data);
	text_addf(&name, " name=%s ", y->name);
	if (text_done(&from) < 0 || text_done(&name) < 0)
		return 0;
	for (at = requests.data; (line = next_line(&at, &n));)
		if (memmem(line, n, from.data, from.n) && memmem(line, n, name.data, name.n)) {
			printf("  %-9s %.*s\n", "waiting", (int)n, line);
			return strtoul(line + strlen("id="), NULL, 10);
		}
	return 0;
}

/* What the slot would be called in the session NODE above: as that which it came from, where this was granted as another. */
static const char *
name_in(const struct why *y, const char *node)
{
	cleanup_text struct text label = {};

	session_label(&y->x->place, node, &label);
	return text_done(&label) == 0 && y->from.n > 0 && strcmp(label.data, y->from.data) == 0 ? y->source.data : y->name;
}

/*
 * The nearest session above that has such a slot, in RET_NODE; "" is the one that we talk to. Returns: may
 * it be granted from there?
 */
static bool
find_above(struct why *y, struct text *ret_node, bool *ret_found)
{
	cleanup_text struct text at = {};

	*ret_found = false;
	text_add(&at, y->session.data ? y->session.data : "");
	for (;;) {
		cleanup_text struct text up = {}, slot = {}, info = {}, rights = {};

		if (!parent_of(at.data ? at.data : "", &up))
			return false;
		text_addf(&slot, "%s%scaps/%s", up.data ? up.data : "", up.n > 0 ? "/" : "",
			name_in(y, up.data ? up.data : ""));
		if (text_done(&slot) == 0 && context_read(y->x, slot.data, "info", &info) == 0) {
			*ret_found = true;
			text_add(ret_node, up.data ? up.data : "");
			return field_find(info.data, NULL, "rights", &rights) && strstr(rights.data, "grant");
		}
		text_reset(&at);
		text_add(&at, up.data ? up.data : "");
	}
}

/* "docker", or "app:docker" */
static void
add_slot(const char *session, const char *name, struct text *t)
{
	session_name(session, t);
	text_addf(t, "%s%s", t->n > 0 ? ":" : "", name);
}

/* The descendant of SESSION that Y's slot would be in: "ci", "app/db". */
static void
add_relative(const struct why *y, const char *session, struct text *t)
{
	size_t n = strlen(session);

	session_name(y->session.data + n + (n > 0), t);
}

static void
remedy(struct why *y, const char *parent, bool ruled, unsigned long id)
{
	cleanup_text struct text above = {}, slot = {}, to = {}, path = {};
	bool found, granted = find_above(y, &above, &found), renamed;
	const char *name;

	/* Whoever closes the file does not want it any more. */
	if (ruled) {
		add_shell_path(y, y->session.data, &path);
		if (text_done(&path) == 0)
			why_shell(y, "(echo name=%s >&3; cat <&3) 3<>%s/request", y->name, path.data);
		return;
	}
	if (!found) {
		why_hint(y, "No session above has a slot of that name, as far as can be seen from here.");
		return;
	}
	name = name_in(y, above.data ? above.data : "");
	renamed = strcmp(name, y->name) != 0;
	add_slot(above.data ? above.data : "", name, &slot);
	add_relative(y, above.data ? above.data : "", &to);
	if (text_done(&slot) < 0 || text_done(&to) < 0)
		return;
	printf("  %-9s %s%s\n", "above", slot.data, renamed ? ", from which it came" : " has one");
	if (id > 0 && strcmp(above.data ? above.data : "", parent) == 0) {
		add_shell_path(y, parent, &path);
		if (text_done(&path) == 0)
			why_shell(y, "echo id=%lu slot=%s > %s/requests", id, name, path.data);
	} else if (granted) {
		why_capctl(y, "grant %s %s%s%s", slot.data, to.data, renamed ? " as=" : "", renamed ? y->name : "");
	} else {
		why_hint(y, "%s lacks the right grant, so that nobody gets it from there.", slot.data);
	}
}

int
why_missing(struct why *y)
{
	const char *session = y->session.data ? y->session.data : "";
	cleanup_text struct text state = {}, info = {}, parent = {};
	bool ruled = false, has_parent = parent_of(session, &parent);
	unsigned long id = 0;
	int e = context_read(y->x, session, "state", &state);

	if (context_read(y->x, y->node.data, "info", &info) == 0) {
		complain(EOPNOTSUPP, "this daemon has no file `why`", "why %s", y->node.data);
		return 2;
	}
	if (e == -ENOENT) {
		printf("There is no session %s.\n", y->label.data);
		return STATUS_FAILED;
	}
	if (e < 0) {
		complain(e, capc_session_reason(y->x->session), "why %s", y->node.data);
		return 2;
	}
	printf("%s has no slot %s%s\n", y->label.data, y->name,
		strncmp(state.data, "closing", strlen("closing")) == 0 ? ": the session is being closed" : "");
	print_last(y);
	if (!has_parent) {
		why_hint(y, "It is the session that was asked; what is above it cannot be seen from here.");
		return STATUS_FAILED;
	}
	id = find_request(y, parent.data ? parent.data : "");
	ruled = print_rule(y, parent.data ? parent.data : "");
	remedy(y, parent.data ? parent.data : "", ruled && id == 0, id);
	return STATUS_FAILED;
}
