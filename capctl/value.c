/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/value.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capctl/command.h"

int
value_read(const char *file, struct text *t)
{
	bool is_stdin = strcmp(file, "-") == 0;
	cleanup_fclose FILE *f = is_stdin ? fdopen(dup(STDIN_FILENO), "r") : fopen(file, "re");
	char buffer[4096];
	size_t n;

	if (!f)
		return complain(errno, NULL, "%s", file);
	while (t->n <= CAPC_ARGS_BYTES_MAX && (n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		text_add_n(t, buffer, n);
	if (ferror(f))
		return complain(errno, NULL, "%s", file);
	return text_done(t) < 0 ? complain(ENOMEM, NULL, "%s", file) : STATUS_DONE;
}

/* --- strings --- */

/* The character at P, of a string that is known to be UTF-8. */
static size_t
character(const unsigned char *p, uint32_t *ret)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	*ret = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		*ret = *ret << 6 | (p[i] & 0x3f);
	return n;
}

/* What a terminal would not show, or YAML would not read. */
static bool
is_hidden(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       (c & 0xfffe) == 0xfffe;
}

static void
add_quoted(struct text *t, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + n;

	text_add(t, "\"");
	while (p < end) {
		uint32_t c;
		size_t n_bytes = character(p, &c);

		if (c == '\n')
			text_add(t, "\\n");
		else if (is_hidden(c))
			text_addf(t,
				c < 0x100     ? "\\x%02x"
				: c < 0x10000 ? "\\u%04x"
					      : "\\U%08x",
				c);
		else if (c == '"' || c == '\\')
			text_addf(t, "\\%c", (int)c);
		else
			text_add_n(t, p, n_bytes);
		p += n_bytes;
	}
	text_add(t, "\"");
}

void
value_add_key(struct text *t, const char *key)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

	/* Whatever such a word would mean as a value: a key is taken as it is written. */
	if (strspn(key, plain) == strlen(key))
		text_add(t, key);
	else
		add_quoted(t, key, strlen(key));
}

static void
add_base64(struct text *t, const struct capc_binary *b)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = b->data;

	text_add(t, "!!binary \"");
	for (size_t i = 0; i < b->n; i += 3) {
		size_t left = b->n - i;
		uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
				(left > 2 ? p[i + 2] : 0);

		text_addf(t, "%c%c%c%c", digits[bits >> 18], digits[bits >> 12 & 63],
			left > 1 ? digits[bits >> 6 & 63] : '=',
			left > 2 ? digits[bits & 63] : '=');
	}
	text_add(t, "\"");
}

/* --- numbers --- */

#define BIG_WORDS (CAPC_ARGS_BIG_MAX / 4 + 1)
#define BIG_DIGITS (CAPC_ARGS_BIG_MAX * 5 / 2)

/* Divides by ten to the ninth. Returns: the rest. */
static uint32_t
divide(uint32_t words[BIG_WORDS], size_t n)
{
	uint64_t rest = 0;

	for (size_t i = 0; i < n; i++) {
		rest = rest << 32 | words[i];
		words[i] = (uint32_t)(rest / 1000000000);
		rest %= 1000000000;
	}
	return (uint32_t)rest;
}

/* The most significant word first; N + 1 for a negative one, which CBOR has as -1 - N. */
static size_t
big_words(const struct capc_big *big, uint32_t words[BIG_WORDS])
{
	size_t n = (big->n + 3) / 4 + 1;

	memset(words, 0, n * sizeof(uint32_t));
	for (size_t i = 0; i < big->n; i++)
		words[n - 1 - i / 4] |= (uint32_t)big->data[big->n - 1 - i] << (8 * (i % 4));
	for (size_t i = n; big->negative && i-- > 0;)
		if (++words[i] != 0)
			break;
	return n;
}

static void
add_big(struct text *t, const struct capc_big *big)
{
	uint32_t words[BIG_WORDS];
	char digits[BIG_DIGITS], *p = digits + sizeof(digits);
	size_t n = big_words(big, words), first = 0;

	while (first < n) {
		uint32_t rest = divide(words, n);

		for (int i = 0; i < 9; i++, rest /= 10)
			*--p = (char)('0' + rest % 10);
		while (first < n && words[first] == 0)
			first++;
	}
	p += strspn(p, "0");
	text_add(t, big->negative ? "-" : "");
	text_add_n(t, p, (size_t)(digits + sizeof(digits) - p));
}

/* With as few digits as give the same number. */
static void
add_float(struct text *t, double real)
{
	char s[32];

	if (isnan(real) || isinf(real)) {
		text_add(t, isnan(real) ? ".nan" : real < 0 ? "-.inf" : ".inf");
		return;
	}
	for (int n = 15; n <= 17; n++) {
		snprintf(s, sizeof(s), "%.*g", n, real);
		if (strtod(s, NULL) == real)
			break;
	}
	text_addf(t, "%s%s", s, strpbrk(s, ".e") ? "" : ".0");
}

static void
add_time(struct text *t, const struct capc_time *time)
{
	time_t sec = (time_t)time->sec;
	struct tm tm = {};
	char nsec[16] = "";
	size_t n;

	gmtime_r(&sec, &tm);
	if (time->nsec > 0) {
		n = (size_t)snprintf(nsec, sizeof(nsec), ".%09u", time->nsec);
		while (nsec[n - 1] == '0')
			nsec[--n] = '\0';
	}
	text_addf(t, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, nsec);
}

/* --- all --- */

void
value_add(struct text *t, const struct capc_value *v)
{
	switch (v->type) {
	case CAPC_NULL:
		return text_add(t, "null");
	case CAPC_BOOL:
		return text_add(t, v->boolean ? "true" : "false");
	case CAPC_INT:
		return text_addf(t, "%" PRId64, v->integer);
	case CAPC_BIG:
		return add_big(t, &v->big);
	case CAPC_FLOAT:
		return add_float(t, v->real);
	case CAPC_STRING:
		return add_quoted(t, v->string.data, v->string.n);
	case CAPC_BINARY:
		return add_base64(t, &v->binary);
	case CAPC_TIME:
		return add_time(t, &v->time);
	case CAPC_FD:
		return text_addf(t, "!fd %d", v->fd);
	case CAPC_SEQUENCE:
		return text_add(t, "[]");
	case CAPC_MAP:
		return text_add(t, "{}");
	}
}

void
value_add_raw(struct text *t, const struct capc_value *v)
{
	if (v->type == CAPC_STRING)
		text_add_n(t, v->string.data, v->string.n);
	else if (v->type == CAPC_BINARY)
		text_add_n(t, v->binary.data, v->binary.n);
	else if (v->type == CAPC_FD)
		text_addf(t, "%d", v->fd);
	else
		value_add(t, v);
}

const char *
value_type(const struct capc_value *v)
{
	static const char *const names[] = {
		[CAPC_NULL] = "null",
		[CAPC_BOOL] = "bool",
		[CAPC_INT] = "int",
		[CAPC_BIG] = "int",
		[CAPC_FLOAT] = "float",
		[CAPC_STRING] = "string",
		[CAPC_BINARY] = "binary",
		[CAPC_TIME] = "time",
		[CAPC_FD] = "fd",
		[CAPC_SEQUENCE] = "sequence",
		[CAPC_MAP] = "map",
	};

	return names[v->type];
}
