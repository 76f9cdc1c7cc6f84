/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Patterns come from whoever derives a capability, and texts from whoever calls: neither may make the other wait.
 * So all that a pattern may have matched up to a character is kept as a set of places in it, and each character
 * is looked at once: the time is at most the product of the two lengths, whatever they are.
 */
#include "config.h"

#include "libcap-client/server/glob.h"

#include <errno.h>
#include <string.h>

enum token_kind {
	TOKEN_CHARACTER,
	TOKEN_ANY,    /* ? */
	TOKEN_SET,    /* [a-z] */
	TOKEN_STAR,   /* *: of one segment */
	TOKEN_STARS,  /* **: of any */
};

struct token {
	enum token_kind kind;
	char character;
	const char *set; /* behind the '[' and the '!' */
	bool negated;
};

struct glob {
	struct token tokens[GLOB_BYTES_MAX];
	size_t n;
};

/* A ']' that stands first belongs to the set. Returns: behind its end, NULL: there is none. */
static const char *
parse_set(const char *p, struct token *t)
{
	*t = (struct token){.kind = TOKEN_SET, .negated = *p == '!'};
	p += t->negated;
	t->set = p;
	p = *p ? strchr(p + 1, ']') : NULL;
	return p ? p + 1 : NULL;
}

/* One token of the pattern at P. Returns: behind it, NULL: it is none. */
static const char *
parse_token(const char *p, struct token *t)
{
	*t = (struct token){.character = *p};
	switch (*p) {
	case '?':
		t->kind = TOKEN_ANY;
		return p + 1;
	case '*':
		t->kind = p[1] == '*' ? TOKEN_STARS : TOKEN_STAR;
		return p + strspn(p, "*");
	case '[':
		return parse_set(p + 1, t);
	case '\\':
		t->character = p[1];
		return p[1] ? p + 2 : NULL;
	default:
		return p + 1;
	}
}

static int
glob_parse(const char *pattern, struct glob *ret)
{
	ret->n = 0;
	if (strlen(pattern) > GLOB_BYTES_MAX)
		return -EINVAL;
	while (*pattern) {
		pattern = parse_token(pattern, &ret->tokens[ret->n++]);
		if (!pattern)
			return -EINVAL;
	}
	return 0;
}

/* "a-z" is a range; a '-' that has nothing on one side is itself. */
static bool
set_has(const struct token *t, unsigned char c)
{
	const char *p = t->set;

	do {
		unsigned char first = (unsigned char)*p, last = first;

		if (p[1] == '-' && p[2] != ']') {
			last = (unsigned char)p[2];
			p += 2;
		}
		if (c >= first && c <= last)
			return !t->negated;
		p++;
	} while (*p != ']');
	return t->negated;
}

/* Is C one that T may stand for? But for ** and itself nothing stands for a '/'. */
static bool
token_matches(const struct token *t, char c)
{
	switch (t->kind) {
	case TOKEN_CHARACTER:
		return c == t->character;
	case TOKEN_SET:
		return c != '/' && set_has(t, (unsigned char)c);
	case TOKEN_ANY:
	case TOKEN_STAR:
		return c != '/';
	case TOKEN_STARS:
		return true;
	}
	return false;
}

static bool
is_star(const struct token *t)
{
	return t->kind == TOKEN_STAR || t->kind == TOKEN_STARS;
}

/* Stars may stand for nothing: whoever is before one is behind it as well. */
static void
pass_stars(const struct glob *g, bool *at)
{
	for (size_t i = 0; i < g->n; i++)
		if (at[i] && is_star(&g->tokens[i]))
			at[i + 1] = true;
}

/* From the places AT by C to those in RET. Returns: is there any? */
static bool
step(const struct glob *g, const bool *at, char c, bool *ret)
{
	bool any = false;

	memset(ret, 0, g->n + 1);
	for (size_t i = 0; i < g->n; i++)
		if (at[i] && token_matches(&g->tokens[i], c)) {
			ret[is_star(&g->tokens[i]) ? i : i + 1] = true;
			any = true;
		}
	pass_stars(g, ret);
	return any;
}

int
glob_match(const char *pattern, const char *text)
{
	bool places[2][GLOB_BYTES_MAX + 1] = {{true}};
	unsigned now = 0;
	struct glob g;
	int r = glob_parse(pattern, &g);

	if (r < 0)
		return r;
	pass_stars(&g, places[now]);
	for (; *text; text++, now = !now)
		if (!step(&g, places[now], *text, places[!now]))
			return 0;
	return places[now][g.n];
}
