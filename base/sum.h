/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A checksum for files that people keep: FNV-1a of 64 bits. It tells damage, and no forgery. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SUM_BEGIN UINT64_C(0xcbf29ce484222325)

/* Goes on with SUM over N more bytes. */
static inline uint64_t
sum_bytes(uint64_t sum, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ p[i]) * UINT64_C(0x100000001b3);
	return sum;
}
