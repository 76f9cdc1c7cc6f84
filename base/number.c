/* SPDX-License-Identifier: LGPL-2.1-or-later */
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
