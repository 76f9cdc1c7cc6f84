/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CRC-32C, whose result must be the same by both ways, since a store that one binary has written is
 * read by the next. The table belongs to the caller, and is only read once it is made.
 */
#include "config.h"

#include "capfsd/state/crc.h"

#include <string.h>

#define CRC_POLYNOMIAL 0x82f63b78 /* Castagnoli's, bits reversed */

/*
 * The tables of slicing-by-8: the K-th says what a byte does to the sum K bytes further on, so that
 * eight of them are looked up at once. They are made even where there is an instruction, as tests
 * compare the two.
 */
void
crc_init(struct crc *crc)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t sum = i;

		for (unsigned bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? CRC_POLYNOMIAL : 0);
		crc->table[0][i] = sum;
	}
	for (unsigned i = 0; i < 256; i++)
		for (unsigned k = 1; k < 8; k++) {
			uint32_t before = crc->table[k - 1][i];

			crc->table[k][i] = before >> 8 ^ crc->table[0][before & 0xff];
		}
#ifdef __x86_64__
	crc->instruction = __builtin_cpu_supports("sse4.2") != 0;
#else
	crc->instruction = false;
#endif
}

#ifdef __x86_64__
/*
 * The target is this function's alone: the rest must run on processors that do not have the
 * instruction.
 */
__attribute__((target("sse4.2"))) static uint32_t
crc_sum_instruction(uint32_t sum, const uint8_t *p, size_t n)
{
	uint64_t wide = sum, word;

	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	sum = (uint32_t)wide;
	while (n-- > 0)
		sum = __builtin_ia32_crc32qi(sum, *p++);
	return sum;
}
#endif

static uint32_t
crc_sum_table(const struct crc *crc, uint32_t sum, const uint8_t *p, size_t n)
{
	const uint32_t(*t)[256] = crc->table;

	for (; n >= 8; p += 8, n -= 8)
		sum = t[7][(sum ^ p[0]) & 0xff] ^ t[6][(sum >> 8 ^ p[1]) & 0xff] ^
		      t[5][(sum >> 16 ^ p[2]) & 0xff] ^ t[4][(sum >> 24 ^ p[3]) & 0xff] ^
		      t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
	while (n-- > 0)
		sum = sum >> 8 ^ t[0][(sum ^ *p++) & 0xff];
	return sum;
}

/*
 * The sum is inverted on both sides, so that zeros ahead of a record change it; in pairs, these
 * cancel out, which is why a sum may be gone on with.
 */
uint32_t
crc_sum(const struct crc *crc, uint32_t sum, const void *data, size_t n)
{
#ifdef __x86_64__
	if (crc->instruction)
		return ~crc_sum_instruction(~sum, data, n);
#endif
	return ~crc_sum_table(crc, ~sum, data, n);
}
