/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers in text: strict, unsigned, 64 bits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The N bytes at S, all of them decimal digits, as a number. With suffixes, one of K, M, G, T
 * (powers of 1024) may follow.
 * Returns: 0, -EINVAL for anything else, -ERANGE when 64 bits are not enough.
 */
int number_parse(const char *s, size_t n, bool suffixes, uint64_t *ret);

/* The last component of PATH, which must be "A.B". Returns: 0 or -EINVAL. */
int number_parse_pair(const char *path, uint64_t *ret_a, uint64_t *ret_b);

static inline bool
number_add(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}
