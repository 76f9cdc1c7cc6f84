/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/rules.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "libcap-client/cap-client.h"

#define API_VERSION "/v[0-9][0-9.]*(?=/)"
#define LENGTH_MAX "2048" /* of method and path: what is compared may take its square */
#define NOTHING "[^\\s\\S]"

/* --- one caveat --- */

/* Where a pattern is being read. */
struct cursor {
	const char *p;
	bool versioned; /* there is an API's version behind the first blank */
	bool blank;	/* that is behind us */
};

static void
add_literal(char c, struct text *t)
{
	if (strchr("\\^$.[]|()*+{}?-#", c))
		text_add_n(t, "\\", 1);
	text_add_n(t, &c, 1);
}

/* A set as capc_glob() has it: a '-' between two is a range, a ']' that stands first one of them. */
static void
add_set(struct cursor *c, struct text *t)
{
	bool negated = c->p[1] == '!';

	/* Never empty: there is no such character. */
	text_add(t, negated ? "(?!/)[^\\x00" : "(?!/)[\\x00");
	c->p += negated ? 2 : 1;
	do {
		bool range = c->p[1] == '-' && c->p[2] != ']';
		const char *last = c->p + (range ? 2 : 0);

		/* One that runs backwards has nothing in it. */
		if ((unsigned char)*c->p <= (unsigned char)*last) {
			add_literal(*c->p, t);
			text_add(t, "-");
			add_literal(*last, t);
		}
		c->p = last + 1;
	} while (*c->p != ']');
	c->p++;
	text_add(t, "]");
}

/* Up to the next wildcard, or the end. */
static void
add_chunk(struct cursor *c, struct text *t)
{
	while (*c->p && *c->p != '*') {
		bool blank = *c->p == ' ';

		if (*c->p == '[') {
			add_set(c, t);
			continue;
		}
		if (*c->p == '?') {
			text_add(t, "[^/]");
		} else {
			c->p += *c->p == '\\';
			add_literal(*c->p, t);
		}
		c->p++;
		if (blank && !c->blank && c->versioned)
			text_add(t, API_VERSION);
		c->blank = c->blank || blank;
	}
}

/* Is there another wildcard behind the one that C is at? */
static bool
has_more(const struct cursor *c)
{
	struct cursor ahead = *c;
	cleanup_text struct text t = {};

	ahead.p += strspn(ahead.p, "*");
	add_chunk(&ahead, &t);
	return *ahead.p;
}

static bool
at_deep(const struct cursor *c)
{
	return c->p[0] == '*' && c->p[1] == '*';
}

/* What stands between two `**`, or behind the last: its own wildcards stay within a part of the path. */
static void
add_piece(struct cursor *c, struct text *t)
{
	add_chunk(c, t);
	while (*c->p && !at_deep(c)) {
		bool more = has_more(c);

		text_add(t, more ? "(?>[^/]*?" : "[^/]*");
		c->p++;
		add_chunk(c, t);
		text_add(t, more ? ")" : "");
	}
}

/* Does a `**` stand behind the one that C is at? */
static bool
has_more_deep(const struct cursor *c)
{
	struct cursor ahead = *c;
	cleanup_text struct text t = {};

	ahead.p += strspn(ahead.p, "*");
	add_piece(&ahead, &t);
	return *ahead.p;
}

/* Returns: is there a place for a version? */
static bool
add_form(const char *caveat, bool versioned, struct text *t)
{
	struct cursor c = {.p = caveat, .versioned = versioned};

	add_piece(&c, t);
	while (*c.p) {
		bool more = has_more_deep(&c);

		c.p += strspn(c.p, "*");
		text_add(t, more ? "(?>.*?" : ".*");
		add_piece(&c, t);
		text_add(t, more ? ")" : "");
	}
	return c.blank;
}

/* With a version, and without: nothing may be tried again within what is taken for good. */
static void
add_caveat(const char *caveat, struct text *t)
{
	if (capc_glob(caveat, "") < 0) {
		text_add(t, NOTHING);
	} else if (add_form(caveat, false, t)) {
		text_add(t, "|");
		add_form(caveat, true, t);
	}
}

/* --- all of them --- */

struct writer {
	struct text *t;
	unsigned group;
	bool begun;
};

static int
add_alternative(unsigned group, const char *caveat, void *data)
{
	struct writer *w = data;

	if (w->begun)
		text_add(w->t, group == w->group ? "|" : ")$)(?=(?:");
	w->begun = true;
	w->group = group;
	add_caveat(caveat, w->t);
	return 0;
}

void
rules_pattern(const struct capc_caller *caller, uint32_t key, struct text *t)
{
	struct writer w = {.t = t};

	text_addf(t, "^%" PRIu32 " ", key);
	text_add(t, "(?=.{0," LENGTH_MAX "}$)(?=(?:");
	capc_caveats(caller, add_alternative, &w);
	text_add(t, ")$)");
}

static int
add_words(unsigned group, const char *caveat, void *data)
{
	struct writer *w = data;

	text_addf(w->t, "%s'%s'", !w->begun ? "only=" : group == w->group ? ", " : " and only=", caveat);
	w->begun = true;
	w->group = group;
	return 0;
}

void
rules_words(const struct capc_caller *caller, struct text *t)
{
	struct writer w = {.t = t};

	capc_caveats(caller, add_words, &w);
}
