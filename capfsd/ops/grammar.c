/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Words to keys and values. A command that is understood in part is not understood: whoever
 * mistypes a limit must not be left with a capability that has none.
 *
 * Whatever is given here was written by a client, or by an administrator on the command line.
 * Nothing is terminated, copied or allocated: values point into the text, which the front keeps
 * until it replies.
 */
#include "config.h"

#include "capfsd/ops/grammar.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "capfsd/ops/request.h"

static const struct {
	const char *name, *usage;
	bool bare;
} keys[KEY_N] = {
#define X(key, word, is_bare, text) [KEY_##key] = {.name = word, .usage = text, .bare = is_bare},
	KEYS(X)
#undef X
};

const char *
key_name(enum key key)
{
	return keys[key].name;
}

const char *
key_usage(enum key key)
{
	return keys[key].usage;
}

/* Words are never terminated: they stand in what the client has sent. */
static bool
word_is(const char *word, size_t n, const char *name)
{
	return strlen(name) == n && memcmp(word, name, n) == 0;
}

static enum key
key_find(const char *word, size_t n)
{
	enum key key = 0;

	while (key < KEY_N && !word_is(word, n, keys[key].name))
		key++;
	return key;
}

bool
command_is(const struct command *c, enum key key, const char *value)
{
	return command_has(c, key) && word_is(c->value[key].p, c->value[key].n, value);
}

/* The value that begins at *P, behind which that stands then. Returns: is it one? */
static bool
scan_value(const char **p, const char *end, struct word *ret)
{
	bool quoted = *p < end && **p == '"';
	const char *start = *p += quoted;

	while (*p < end && **p != (quoted ? '"' : ' ')) {
		bool escapes = quoted && **p == '\\';

		if (escapes && (end - *p < 2 || !strchr("\"\\", (*p)[1])))
			return false;
		*p += 1 + escapes;
	}
	*ret = (struct word){start, (size_t)(*p - start), quoted};
	if (!quoted)
		return true;
	/* Behind the other quote there is a blank, or the end. */
	return *p < end && (++*p == end || **p == ' ');
}

/* The word at *P, of which VALUE is {} where it has none. Returns: false, it is none. */
static bool
scan_word(const char **p, const char *end, struct word *key, struct word *value)
{
	const char *start = *p;

	while (*p < end && **p != ' ' && **p != '=')
		++*p;
	*key = (struct word){start, (size_t)(*p - start), false};
	*value = (struct word){};
	if (*p == end || **p == ' ')
		return true;
	++*p;
	return scan_value(p, end, value);
}

static void
skip_blanks(const char **p, const char *end)
{
	while (*p < end && **p == ' ')
		++*p;
}

/*
 * One word. That a key is not allowed here and that there is no such key is one mistake to who reads
 * the reason, since a usage shows only those that are.
 */
static bool
command_add(struct request *r, struct command *c, key_set allowed, const struct word *word,
	const struct word *value)
{
	enum key key = key_find(word->p, word->n);
	bool is_text = key < KEY_N && (KEYS_TEXTS & KEY_BIT(key));

	if (key == KEY_N || !(allowed & KEY_BIT(key)))
		return refuse(r, EINVAL, "unknown key '%.*s'", (int)word->n, word->p);
	if (!value->p != keys[key].bare || (value->p && value->n == 0))
		return refuse(r, EINVAL,
			keys[key].bare ? "'%s' takes no value" : "'%s' needs a value",
			keys[key].name);
	if (value->quoted && !is_text)
		return refuse(r, EINVAL, "'%s' takes no quotes", keys[key].name);
	if (command_has(c, key) && !is_text)
		return refuse(r, EINVAL, "'%s' is given twice", keys[key].name);
	if (!command_has(c, key))
		c->value[key] = *value;
	c->given |= KEY_BIT(key);
	return true;
}

bool
command_is_printable(struct request *r, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~')
			return refuse(r, EINVAL, "a command is one line of printable ASCII");
	return true;
}

/*
 * Tabs and line feeds are no blanks: a second line would be a second command that nobody runs. That
 * all is printable is looked at first, so that a reason which quotes a word can be shown to
 * anybody.
 */
bool
command_parse(struct request *r, const char *text, size_t n, key_set allowed, struct command *ret)
{
	const char *end = text + n;
	struct command c = {.end = end};
	struct word word, value;

	if (!command_is_printable(r, text, n))
		return false;
	for (const char *p = text; skip_blanks(&p, end), p < end;) {
		if (!scan_word(&p, end, &word, &value))
			return refuse(r, EINVAL, "the quotes of '%.*s' are not as \"TEXT\", with \\ before \" and \\",
				(int)word.n, word.p);
		if (!command_add(r, &c, allowed, &word, &value))
			return false;
	}
	if (!c.given)
		return refuse(r, EINVAL, "the command is empty");
	*ret = c;
	return true;
}

/* All of it is understood, as it was when it was parsed. */
bool
command_next(const struct command *c, enum key key, struct word *w)
{
	const char *p;
	struct word word;

	if (!w->p) {
		*w = c->value[key];
		return w->p;
	}
	p = w->p + w->n + w->quoted;
	while (skip_blanks(&p, c->end), p < c->end)
		if (scan_word(&p, c->end, &word, w) && word_is(word.p, word.n, keys[key].name))
			return true;
	return false;
}

void
word_add(const struct word *w, struct text *t)
{
	for (size_t i = 0; i < w->n; i++) {
		i += w->quoted && w->p[i] == '\\';
		text_add_n(t, w->p + i, 1);
	}
}

/*
 * Up to 16 digits, which are 64 bits, and nothing else; so there is no overflow to be looked for.
 */
static int
parse_hex(const char *digits, size_t n, uint64_t *ret)
{
	uint64_t value = 0;

	if (n < 1 || n > 16)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		char c = digits[i];

		if (!isxdigit((unsigned char)c))
			return -EINVAL;
		value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	*ret = value;
	return 0;
}

/* Only amounts of quota may end in K, M, G or T: a badge or an id is never so written. */
bool
command_number(struct request *r, const struct command *c, enum key key, uint64_t *ret)
{
	const struct word *w = &c->value[key];
	uint64_t value = 0;
	int e;

	if (w->n > 2 && w->p[0] == '0' && w->p[1] == 'x')
		e = parse_hex(w->p + 2, w->n - 2, &value);
	else
		e = number_parse(w->p, w->n, key >= KEY_QUOTA, &value);
	if (e < 0)
		return refuse(r, EINVAL, "'%s=%.*s' is not a number%s", keys[key].name, (int)w->n,
			w->p, e == -ERANGE ? " of 64 bits" : "");
	*ret = value;
	return true;
}

bool
command_yes(struct request *r, const struct command *c, enum key key, bool *ret)
{
	if (!command_has(c, key))
		return true;
	*ret = command_is(c, key, "yes");
	return *ret || command_is(c, key, "no") || refuse(r, EINVAL, "%s is yes or no", keys[key].name);
}

/* What is not given is 0; whoever has another default looks at which keys were given. */
bool
command_quota(struct request *r, const struct command *c, struct quota *ret)
{
	struct quota q = {};

	for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
		if (command_has(c, KEY_QUOTA + kind) &&
			!command_number(r, c, KEY_QUOTA + kind, &q.n[kind]))
			return false;
	*ret = q;
	return true;
}

/*
 * One "KIND=N", of which all of the N bytes are taken. A kind that is given twice is most likely a
 * mistake for another, which would stay without a limit of its own.
 */
static int
parse_amount(const char *word, size_t n, struct quota *q, uint32_t *given, struct text *reason)
{
	const char *equals = memchr(word, '=', n);
	size_t n_name = equals ? (size_t)(equals - word) : n;
	enum quota_kind kind = quota_kind_find(word, n_name);

	if (kind == QUOTA_N_KINDS || !equals) {
		text_addf(reason, "'%.*s' is not KIND=N", (int)n, word);
		return -EINVAL;
	}
	if (number_parse(equals + 1, n - n_name - 1, true, &q->n[kind]) < 0) {
		text_addf(reason, "'%.*s' has no valid number", (int)n, word);
		return -EINVAL;
	}
	if (*given & 1u << kind) {
		text_addf(reason, "'%.*s' is given twice", (int)n_name, word);
		return -EINVAL;
	}
	*given |= 1u << kind;
	return 0;
}

/* Works on copies, so that a list with a mistake at its end changes nothing. */
int
quota_parse(const char *text, struct quota *quota, uint32_t *given, struct text *reason)
{
	struct quota q = *quota;
	uint32_t seen = *given;
	bool more = *text;

	/* Behind each comma there must be another one: a list that was cut off is not taken. */
	while (more) {
		size_t n = strcspn(text, ",");

		if (parse_amount(text, n, &q, &seen, reason) < 0)
			return -EINVAL;
		more = text[n] == ',';
		text += n + more;
	}
	*quota = q;
	*given = seen;
	return 0;
}
