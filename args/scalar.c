/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "args/scalar.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#include "args/tree.h"

static bool
is_word(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* One of WORDS, up to a NULL. */
static bool
is_one_of(const char *s, size_t n, const char *const *words)
{
	for (; *words; words++)
		if (is_word(s, n, *words))
			return true;
	return false;
}

static int
parse_null(const char *s, size_t n, struct scalar *ret)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};

	ret->value = (struct capc_value){.type = CAPC_NULL};
	return is_one_of(s, n, words) ? 0 : -EINVAL;
}

/* Not yes, no, on, off: these are words. */
static int
parse_bool(const char *s, size_t n, struct scalar *ret)
{
	static const char *const yes[] = {"true", "True", "TRUE", NULL};
	static const char *const no[] = {"false", "False", "FALSE", NULL};

	ret->value = (struct capc_value){.type = CAPC_BOOL, .boolean = is_one_of(s, n, yes)};
	return ret->value.boolean || is_one_of(s, n, no) ? 0 : -EINVAL;
}

/* --- integers --- */

static int
digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : 16;
}

/* A number that grows by a digit at a time; the least significant word first. */
struct number {
	uint32_t words[CAPC_ARGS_BIG_MAX / 4 + 1];
	size_t n;
};

#define N_WORDS_MAX (CAPC_ARGS_BIG_MAX / 4)

static int
number_push(struct number *x, unsigned base, unsigned value)
{
	uint64_t carry = value;

	for (size_t i = 0; i < x->n; i++) {
		carry += (uint64_t)x->words[i] * base;
		x->words[i] = (uint32_t)carry;
		carry >>= 32;
	}
	if (carry == 0)
		return 0;
	if (x->n == N_WORDS_MAX)
		return -ERANGE;
	x->words[x->n++] = (uint32_t)carry;
	return 0;
}

/* As CBOR has negative ones: -1 - N. */
static void
number_decrement(struct number *x)
{
	for (size_t i = 0; i < x->n && x->words[i]-- == 0; i++)
		;
}

static int
number_value(struct number *x, bool negative, struct scalar *ret)
{
	struct capc_big big = {.data = ret->big, .n = 4 * x->n, .negative = negative && x->n > 0};

	if (big.negative)
		number_decrement(x);
	for (size_t i = 0; i < x->n; i++) {
		uint8_t *p = ret->big + 4 * (x->n - 1 - i);

		for (unsigned byte = 0; byte < 4; byte++)
			p[byte] = (uint8_t)(x->words[i] >> (24 - 8 * byte));
	}
	return big_normalize(&big, &ret->value);
}

static int
parse_int(const char *s, size_t n, struct scalar *ret)
{
	const char *end = s + n;
	struct number x = {};
	bool negative = false;
	int base = 10, r = 0;

	if (n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
		base = s[1] == 'x' ? 16 : 8;
		s += 2;
	} else if (n > 1 && (s[0] == '-' || s[0] == '+')) {
		negative = *s++ == '-';
	}
	/* First all of them, so that what is no number is never told to be too large. */
	for (const char *p = s; p < end; p++)
		if (digit(*p) >= base)
			return -EINVAL;
	if (s == end)
		return -EINVAL;
	for (; r == 0 && s < end; s++)
		r = number_push(&x, (unsigned)base, (unsigned)digit(*s));
	return r < 0 ? r : number_value(&x, negative, ret);
}

/* --- floats --- */

static size_t
skip_digits(const char *s, size_t n, size_t *i)
{
	size_t begin = *i;

	while (*i < n && s[*i] >= '0' && s[*i] <= '9')
		(*i)++;
	return *i - begin;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool
is_float(const char *s, size_t n)
{
	size_t i = n > 0 && (s[0] == '-' || s[0] == '+');
	size_t n_digits = skip_digits(s, n, &i);

	if (i < n && s[i] == '.') {
		i++;
		n_digits += skip_digits(s, n, &i);
	}
	if (n_digits == 0)
		return false;
	if (i < n && (s[i] == 'e' || s[i] == 'E')) {
		i++;
		i += i < n && (s[i] == '-' || s[i] == '+');
		if (skip_digits(s, n, &i) == 0)
			return false;
	}
	return i == n;
}

/* Whatever the program's locale has for a point. */
static int
convert(const char *s, double *ret)
{
	locale_t c = newlocale(LC_NUMERIC_MASK, "C", NULL);

	if (!c)
		return -ENOMEM;
	*ret = strtod_l(s, NULL, c);
	freelocale(c);
	return isinf(*ret) ? -ERANGE : 0;
}

static int
parse_float(const char *s, size_t n, struct scalar *ret)
{
	static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};
	static const char *const inf[] = {".inf", ".Inf", ".INF", NULL};
	size_t sign = n > 0 && (s[0] == '-' || s[0] == '+');

	ret->value = (struct capc_value){.type = CAPC_FLOAT, .real = (double)NAN};
	if (is_one_of(s, n, nan))
		return 0;
	if (is_one_of(s + sign, n - sign, inf)) {
		ret->value.real = s[0] == '-' ? -(double)INFINITY : (double)INFINITY;
		return 0;
	}
	return is_float(s, n) ? convert(s, &ret->value.real) : -EINVAL;
}

/* --- the others --- */

static int
parse_time(const char *s, size_t n, struct scalar *ret)
{
	ret->value.type = CAPC_TIME;
	return time_parse(s, n, &ret->value.time);
}

/* A day alone has no hour: who says that it is a time means its beginning. */
static int
parse_timestamp(const char *s, size_t n, struct scalar *ret)
{
	int r = parse_time(s, n, ret);

	return r == 0 ? 0 : time_parse_day(s, n, &ret->value.time);
}

static int
parse_str(const char *s, size_t n, struct scalar *ret)
{
	ret->value = (struct capc_value){.type = CAPC_STRING, .string = {s, n}};
	return 0;
}

static int
base64_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* Blanks and line breaks may stand anywhere; what is missing at the end must be '='. */
static int
parse_binary(const char *s, size_t n, struct scalar *ret)
{
	uint8_t *bytes = malloc(n > 0 ? n : 1);
	size_t n_digits = 0, n_padding = 0, n_bytes = 0;
	uint32_t bits = 0;

	if (!bytes)
		return -ENOMEM;
	ret->owned = bytes;
	for (size_t i = 0; i < n; i++) {
		int value = base64_digit(s[i]);

		if (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t')
			continue;
		if (s[i] == '=') {
			n_padding++;
			continue;
		}
		if (value < 0 || n_padding > 0)
			return -EINVAL;
		bits = bits << 6 | (unsigned)value;
		if (++n_digits % 4 != 1)
			bytes[n_bytes++] = (uint8_t)(bits >> (8 - n_digits % 4 * 2) % 8);
	}
	/* No bit beyond the last byte: one form for each value. */
	if (n_padding != (4 - n_digits % 4) % 4 || n_padding > 2 ||
		(bits & ((1u << 2 * n_padding) - 1)) != 0)
		return -EINVAL;
	ret->value = (struct capc_value){.type = CAPC_BINARY, .binary = {bytes, n_bytes}};
	return 0;
}

typedef int parser(const char *s, size_t n, struct scalar *ret);

int
scalar_plain(const char *s, size_t n, struct scalar *ret)
{
	static parser *const parsers[] = {
		parse_null, parse_bool, parse_int, parse_float, parse_time, parse_str};
	int r = -EINVAL;

	for (size_t i = 0; r == -EINVAL; i++)
		r = parsers[i](s, n, ret);
	return r;
}

int
scalar_tagged(const char *name, const char *s, size_t n, struct scalar *ret)
{
	static const struct {
		const char *name;
		parser *parse;
	} tags[] = {{"str", parse_str}, {"int", parse_int}, {"float", parse_float},
		{"bool", parse_bool}, {"null", parse_null}, {"binary", parse_binary},
		{"timestamp", parse_timestamp}};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (strcmp(name, tags[i].name) == 0)
			return tags[i].parse(s, n, ret);
	return -ENOENT;
}
