/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What would make a rule let it pass. A limit is changed where the slot that has it was given away, by `adjust`,
 * and no further than what that one has itself; so the commands begin at the top. Who that is `info` says by name;
 * what is above the session that we talk to is not there for us.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capctl/why/why.h"

#define LINKS_MAX 32
#define SOME_QUOTA 16 /* what is given where little is missing */
#define NO_LIMIT UINT64_MAX

/* The slot, and what it was derived from. */
struct link {
	struct text node, session, info, label; /* its slot's, that session's; as the daemon calls it */
	uint64_t id;
	uint64_t limit, used; /* of what is asked for */
	bool is_stopped;      /* it is to be changed */
};

struct chain {
	struct link links[LINKS_MAX];
	size_t n;
	bool is_whole; /* the last one was derived from nothing */
};

static void
chain_deinit(struct chain *c)
{
	for (size_t i = 0; i < LINKS_MAX; i++) {
		text_deinit(&c->links[i].node);
		text_deinit(&c->links[i].session);
		text_deinit(&c->links[i].info);
		text_deinit(&c->links[i].label);
	}
}

static uint64_t
number(const char *text, const char *line, const char *key, uint64_t otherwise)
{
	cleanup_text struct text value = {};

	if (!field_find(text, line, key, &value) || !value.data || value.data[0] < '0' || value.data[0] > '9')
		return otherwise;
	return strtoull(value.data, NULL, 10);
}

/* Returns: false: it is not there for us. */
static bool
link_read(struct why *y, struct link *l, const char *node)
{
	const char *folder = node_name(node) - strlen("caps/");

	text_add(&l->node, node);
	text_add_n(&l->session, node, folder > node ? (size_t)(folder - node - 1) : 0);
	session_label(&y->x->place, l->session.data ? l->session.data : "", &l->label);
	text_addf(&l->label, "/caps/%s", node_name(node));
	if (context_read(y->x, node, "info", &l->info) < 0 || text_done(&l->label) < 0 || text_done(&l->session) < 0)
		return false;
	l->id = number(l->info.data, NULL, "id", 0);
	return true;
}

/* "parent=init/caps/kv id=31": the id is the slot's own, so that of the next one is only known when it is read. */
static void
chain_read(struct why *y, struct chain *c)
{
	cleanup_text struct text node = {}, parent = {};

	text_add(&node, y->node.data);
	while (c->n < LINKS_MAX && text_done(&node) == 0 && link_read(y, &c->links[c->n], node.data)) {
		text_reset(&node);
		text_reset(&parent);
		if (!field_find(c->links[c->n++].info.data, NULL, "parent", &parent))
			return;
		if (strcmp(parent.data, "none") == 0) {
			c->is_whole = true;
			return;
		}
		if (label_node(&y->x->place, parent.data, &node) < 0)
			return;
	}
}

static bool
is_at(const char *details, uint64_t id)
{
	char word[32];
	int n = snprintf(word, sizeof(word), "at=%" PRIu64, id);

	for (const char *p = details; (p = strstr(p, word)); p++)
		if (p[n] == '\0' || p[n] == ' ')
			return true;
	return false;
}

static size_t
count_at(const char *details)
{
	size_t n = 0;

	for (const char *p = details; (p = strstr(p, "at=")); p++)
		n++;
	return n;
}

/* "docker", or "app:docker" */
static void
add_slot(const struct link *l, struct text *t)
{
	session_name(l->session.data ? l->session.data : "", t);
	text_addf(t, "%s%s", t->n > 0 ? ":" : "", node_name(l->node.data));
}

/*
 * How `adjust` of ABOVE names L: by its session, where nothing else there was derived from it, else by its id.
 * `holders` has what was derived further, too: then the id is taken, without need.
 */
static void
add_whom(struct why *y, const struct link *above, const struct link *l, struct text *t)
{
	cleanup_text struct text holders = {}, mine = {};
	const char *session = l->session.data ? l->session.data : "";
	size_t n_above = above->session.n, n = 0;

	text_add(&mine, " ");
	session_label(&y->x->place, session, &mine);
	text_add(&mine, "/caps/");
	if (l->session.n > n_above && text_done(&mine) == 0 &&
		context_read(y->x, above->node.data, "holders", &holders) == 0)
		for (const char *p = holders.data ? holders.data : ""; (p = strstr(p, mine.data)); p++)
			n++;
	if (n == 1)
		session_name(session + n_above + (n_above > 0), t);
	else
		text_addf(t, "--id=%" PRIu64, l->id);
}

static bool
has_right(const struct link *l, const char *right)
{
	cleanup_text struct text rights = {};
	size_t n = strlen(right);

	if (!field_find(l->info.data, NULL, "rights", &rights) || !rights.data)
		return false;
	for (const char *p = rights.data; (p = strstr(p, right)); p++)
		if ((p == rights.data || p[-1] == ',') && (p[n] == '\0' || p[n] == ','))
			return true;
	return false;
}

/* Twice as much as there was, but no more than each above has: "2000"; "9/s". */
static void
add_limit(struct chain *c, size_t i, const char *rule, struct text *t)
{
	struct link *l = &c->links[i];
	uint64_t limit = l->limit < NO_LIMIT / 2 ? l->limit * 2 : NO_LIMIT - 1;

	if (limit <= l->used)
		limit = l->used + 1;
	for (size_t k = i + 1; k < c->n; k++)
		if (c->links[k].limit < limit)
			limit = c->links[k].limit;
	l->limit = limit;
	text_addf(t, "%s=%" PRIu64 "%s", rule, limit, strcmp(rule, "rate") == 0 ? "/s" : "");
}

/* What it has, and the first of those that are needed that ABOVE has, too. */
static void
add_rights(const struct link *above, const struct link *l, const char *details, struct text *t)
{
	cleanup_text struct text needs = {}, rights = {}, need = {};
	const char *p;

	field_find(l->info.data, NULL, "rights", &rights);
	field_find(details, NULL, "needs", &needs);
	for (p = needs.data ? needs.data : ""; *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
		text_reset(&need);
		text_add_n(&need, p, strcspn(p, ","));
		if (text_done(&need) < 0 || has_right(above, need.data))
			break;
	}
	text_addf(t, "rights=%s%s%s", rights.data ? rights.data : "",
		rights.n > 0 && strcmp(rights.data, "none") != 0 ? "," : "", need.data ? need.data : "");
}

static void
adjust(struct why *y, struct chain *c, size_t i, const char *rule, const char *details)
{
	const struct link *l = &c->links[i], *above = &c->links[i + 1];
	cleanup_text struct text slot = {}, whom = {}, how = {};

	if (i + 1 >= c->n) {
		why_hint(y, c->is_whole ? "%s is what all others were derived from: what it has not nobody can give it."
					: "%s was given by somebody above, who cannot be seen from here.", l->label.data);
		return;
	}
	if (!has_right(above, "grant")) {
		why_hint(y, "%s lacks the right grant, and with that nobody changes what was derived from it.",
			above->label.data);
		return;
	}
	add_slot(above, &slot);
	add_whom(y, above, l, &whom);
	if (strcmp(rule, "right") == 0)
		add_rights(above, l, details, &how);
	else
		add_limit(c, i, rule, &how);
	if (text_done(&slot) == 0 && text_done(&whom) == 0 && text_done(&how) == 0)
		why_capctl(y, "adjust %s %s %s", slot.data, whom.data, how.data);
}

/*
 * Nobody is given more than those above have, who may have used less: what was used before there was a limit is not
 * counted. So they are raised, too, where they have not one more than was used here.
 */
static void
stop_above(struct chain *c, size_t i)
{
	for (size_t k = i + 1; k < c->n; k++)
		if (c->links[k].limit <= c->links[i].used) {
			c->links[k].is_stopped = true;
			if (c->links[k].used < c->links[i].used)
				c->links[k].used = c->links[i].used;
		}
}

/* From the top, so that each has what the next one is given. */
static void
remedy_chain(struct why *y, const char *rule, const char *details)
{
	cleanup(chain_deinit) struct chain c = {};
	size_t found = 0;

	if (strstr(details, "through=")) {
		why_hint(y, "What it was reached through does not let it pass any more: that is `through=' in its `info', "
			    "or of what it was derived from.");
		return;
	}
	chain_read(y, &c);
	for (size_t i = 0; i < c.n; i++) {
		c.links[i].limit = number(c.links[i].info.data, rule, "limit", NO_LIMIT);
		c.links[i].used = number(c.links[i].info.data, rule, "used", 0);
		c.links[i].is_stopped = is_at(details, c.links[i].id);
		found += c.links[i].is_stopped;
	}
	for (size_t i = 0; i < c.n; i++)
		if (c.links[i].is_stopped && strcmp(rule, "right") != 0)
			stop_above(&c, i);
	if (found < count_at(details))
		why_hint(y, "It is an ancestor's, which cannot be seen from here: ask who has given the slot.");
	if (found == 0 && count_at(details) == 0)
		why_hint(y, "Nothing is left of it between the slot and its ancestors.");
	for (size_t i = c.n; i-- > 0;)
		if (c.links[i].is_stopped)
			adjust(y, &c, i, rule, details);
}

/* The entrypoint's session, as we call it, and its name: "init/app/web" is `web` of `app`. Returns: is it there for us? */
static bool
find_service(struct why *y, struct text *ret_session, struct text *ret_name)
{
	cleanup_text struct text label = {}, node = {};
	const char *slash;

	if (!field_find(y->info.data, NULL, "entrypoint", &label) || !label.data)
		return false;
	slash = strrchr(label.data, '/');
	text_add(ret_name, slash + 1);
	label.data[slash - label.data] = '\0';
	if (label_node(&y->x->place, label.data, &node) < 0)
		return false;
	session_name(node.data ? node.data : "", ret_session);
	return text_done(ret_session) == 0 && text_done(ret_name) == 0;
}

/* What backend a server is for nobody but who runs it knows. */
static void
remedy_service(struct why *y, const char *rule, const char *details)
{
	cleanup_text struct text session = {}, name = {};
	const char *option = strcmp(rule, "only") == 0 ? "--caveats " : "";

	if (strstr(details, "posted=no")) {
		why_hint(y, "Nothing is posted there yet: see `capctl post'.");
		return;
	}
	if (!find_service(y, &session, &name)) {
		why_hint(y, "It is its server's side, which cannot be seen from here.");
		return;
	}
	why_hint(y, "Start a server for it, as by `capctl %s%s%sserve %s %s…'.", session.n > 0 ? "--session=" : "",
		session.data, session.n > 0 ? " " : "", name.data, option);
}

static void
remedy_crowd(struct why *y, const char *rule, const char *details)
{
	why_hint(y, "Its server does not take the connections that it has been handed: look after that.");
}

static void
remedy_visit(struct why *y, const char *rule, const char *details)
{
	cleanup_text struct text session = {}, name = {};

	if (!find_service(y, &session, &name)) {
		why_hint(y, "Its server has not accepted the visit yet.");
		return;
	}
	why_capctl(y, "%s%s%sanswer %" PRIu64 " accept", session.n > 0 ? "--session=" : "", session.data,
		session.n > 0 ? " " : "", number(y->info.data, NULL, "id", 0));
}

/* From the parent, as far as that has some. */
static void
give_quota(struct why *y, const char *session, const char *kind, uint64_t missing)
{
	cleanup_text struct text up = {}, quota = {}, from = {};
	const char *last = node_name(session) - strlen("sessions/");
	uint64_t has;

	if (!*session) {
		why_hint(y, "Its session has none left, and nobody above can be seen from here who could give it %s.", kind);
		return;
	}
	text_add_n(&up, session, last > session ? (size_t)(last - session - 1) : 0);
	session_name(up.data ? up.data : "", &from);
	if (text_done(&up) < 0 || text_done(&from) < 0 || context_read(y->x, up.data ? up.data : "", "quota", &quota) < 0)
		return;
	has = number(quota.data, kind, "free", 0);
	if (has < missing) {
		why_hint(y, "The session above has no %s left either.", kind);
		return;
	}
	if (missing < SOME_QUOTA)
		missing = has < SOME_QUOTA ? has : SOME_QUOTA;
	why_capctl(y, "%s%s%stransfer-quota --to=%s %s=%" PRIu64, from.n > 0 ? "--session=" : "", from.data,
		from.n > 0 ? " " : "", node_name(session), kind, missing);
}

static void
remedy_quota(struct why *y, const char *rule, const char *details)
{
	uint64_t needs = number(details, NULL, "needs", 2), has = number(details, NULL, "free", 0);

	give_quota(y, y->session.data ? y->session.data : "", rule, needs > has ? needs - has : 1);
}

/* The entries that are missing, a step of them at a time. */
static void
remedy_pages(struct why *y, const char *rule, const char *details)
{
	cleanup_text struct text session = {}, name = {}, node = {};

	if (!find_service(y, &session, &name))
		why_hint(y, "The session of its server has no ram left, and cannot be seen from here.");
	else if (session_node(session.data, &node) == 0)
		give_quota(y, node.data ? node.data : "", "ram", 65536);
}

static const struct {
	const char *rule;
	void (*f)(struct why *y, const char *rule, const char *details);
} remedies[] = {
	{"right", remedy_chain}, {"only", remedy_service}, {"visit", remedy_visit}, {"served", remedy_service},
	{"waiting", remedy_service}, {"calls", remedy_chain}, {"conns", remedy_chain}, {"rate", remedy_chain},
	{"methods", remedy_chain}, {"pages", remedy_pages}, {"crowd", remedy_crowd}, {"sockets", remedy_quota},
	{"inflight", remedy_quota},
};

void
why_remedies(struct why *y)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
		cleanup_text struct text details = {};
		bool refused;

		if (!rule_find(y->rules.data, remedies[i].rule, &refused, &details) || !refused)
			continue;
		remedies[i].f(y, remedies[i].rule, details.data ? details.data : "");
	}
}
