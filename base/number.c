/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * strtoull(3) is not used: it takes blanks, a sign and a prefix, and text that ends somewhere else than
 * at a NUL. What is accepted here stands in commands, in names that the binder binds, and in options,
 * and must mean the same to all of them.
 */
#include "config.h"

#include "base/number.h"

#include <errno.h>
#include <string.h>

static int
suffix_shift(char c)
{
	static const char suffixes[] = "KMGT";
	const char *p = c ? strchr(suffixes, c) : NULL;

	return p ? 10 * (int)(p - suffixes + 1) : 0;
}

int
number_parse(const char *s, size_t n, bool suffixes, uint64_t *ret)
{
	uint64_t value = 0;
	int shift = 0;

	if (suffixes && n > 1) {
		shift = suffix_shift(s[n - 1]);
		n -= shift > 0;
	}
	if (n == 0)
		return -EINVAL;
	/* First all of them, so that what is no number is never told to be too large. */
	for (size_t i = 0; i < n; i++)
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(s[i] - '0'), &value))
			return -ERANGE;
	if (shift > 0 && value > UINT64_MAX >> shift)
		return -ERANGE;
	*ret = value << shift;
	return 0;
}

int
number_parse_pair(const char *path, uint64_t *ret_a, uint64_t *ret_b)
{
	const char *name = strrchr(path, '/'), *dot;
	uint64_t a, b;

	name = name ? name + 1 : path;
	dot = strchr(name, '.');
	if (!dot || number_parse(name, (size_t)(dot - name), false, &a) < 0 ||
		number_parse(dot + 1, strlen(dot + 1), false, &b) < 0)
		return -EINVAL;
	*ret_a = a;
	*ret_b = b;
	return 0;
}
