/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CRC-32C (Castagnoli): by the processor's instruction where there is one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crc {
	uint32_t table[8][256];
	bool instruction;
};

void crc_init(struct crc *crc);

/* Goes on with SUM over N more bytes; the first SUM is 0. */
uint32_t crc_sum(const struct crc *crc, uint32_t sum, const void *data, size_t n);
