/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands that programs put together: words of the grammar, of which none can become two.
 *
 * What a program knows by name only (a slot's, a session's, a caveat that somebody typed) goes into a command as
 * the value of one key. Pasted there as text, a blank in it would begin a key of its own, "rights=" for one. Here it
 * is refused, and a command of which anything was refused is one that no verb takes: were that part of it left out,
 * or all of it, what is granted would have no limit at all.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcap-client/private.h"

/* No key is called so, and none will be. */
#define REFUSED "!refused"

struct capc_how {
	struct text text;
	struct text keys; /* " as conns ", those that came */
	int error;
};

static bool
is_key(const char *s)
{
	return *s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

/* Its values are texts, which may have blanks and come several times. */
static bool
key_is_text(const char *key)
{
	return strcmp(key, "only") == 0;
}

static bool
is_printable(const char *s)
{
	while (*s >= ' ' && *s <= '~')
		s++;
	return !*s;
}

/* One word: nothing in it may become a key of its own. Quotes are for texts, and only where they stand first. */
static bool
is_word(const char *s)
{
	return *s && *s != '"' && is_printable(s) && !strchr(s, ' ');
}

int
command_add(struct text *t, const char *key, const char *value)
{
	if (!value)
		return 0;
	if (key_is_text(key) ? !*value || strlen(value) > WIRE_CAVEAT_MAX || !is_printable(value) : !is_word(value))
		return -EINVAL;
	text_addf(t, "%s%s=", t->n > 0 ? " " : "", key);
	if (key_is_text(key))
		text_add_quoted(t, value, strlen(value));
	else
		text_add(t, value);
	return 0;
}

int
capc_how_new(struct capc_how **ret)
{
	cleanup_free struct capc_how *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	text_add(&h->text, "");
	text_add(&h->keys, " ");
	*ret = take_ptr(h);
	return 0;
}

struct capc_how *
capc_how_free(struct capc_how *h)
{
	if (!h)
		return NULL;
	text_deinit(&h->text);
	text_deinit(&h->keys);
	free(h);
	return NULL;
}

/* Notes KEY. Returns: 0, -EINVAL, -EEXIST, -ENOMEM. */
static int
how_key(struct capc_how *h, const char *key)
{
	cleanup_text struct text word = {};

	if (!is_key(key))
		return -EINVAL;
	text_addf(&word, " %s ", key);
	if (text_done(&word) < 0 || text_done(&h->keys) < 0)
		return -ENOMEM;
	if (strstr(h->keys.data, word.data))
		return key_is_text(key) ? 0 : -EEXIST;
	text_add(&h->keys, word.data + 1);
	return text_done(&h->keys);
}

int
capc_how_add(struct capc_how *h, const char *key, const char *value)
{
	int r = h->error;

	if (r == 0)
		r = how_key(h, key);
	if (r == 0 && value)
		r = command_add(&h->text, key, value);
	else if (r == 0)
		text_addf(&h->text, "%s%s", h->text.n > 0 ? " " : "", key);
	if (r == 0)
		r = text_done(&h->text);
	h->error = r;
	return r;
}

int
capc_how_add_number(struct capc_how *h, const char *key, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	return capc_how_add(h, key, digits);
}

const char *
capc_how_text(const struct capc_how *h)
{
	return h->error || text_done(&h->text) < 0 ? REFUSED : h->text.data;
}
