/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages in which a server counts calls, with any bytes in both: what is counted stays below what
 * is granted, and nothing but the entries on the way to the origin changes.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz/fuzz.h"
#include "libcap-client/limits.h"

#define ENTRIES 16
#define CALLS 8

static struct granted_entry *granted;
static struct used_entry *used;

static void *
memory(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		-1, 0);

	FUZZ_CHECK(p != MAP_FAILED);
	return p;
}

/* Small numbers are likely: they find each other. */
static uint64_t
take_word(struct fuzz_input *in)
{
	uint8_t first = (uint8_t)fuzz_take(in, 1);

	return first < 0xf0 ? first % (2 * ENTRIES) : fuzz_take(in, 8);
}

static void
fill(struct fuzz_input *in, void *entry, size_t n)
{
	for (size_t i = 0; i < n / sizeof(uint64_t); i++)
		((uint64_t *)entry)[i] = take_word(in);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_input in = {data, data + n};
	struct used_entry before[ENTRIES];
	struct limits l;

	if (!granted) {
		granted = memory(PAGES_GRANTED_BYTES);
		used = memory(PAGES_USED_BYTES);
	}
	l = (struct limits){granted, used};
	for (unsigned i = 0; i < ENTRIES; i++) {
		fill(&in, &granted[i], sizeof(granted[i]));
		fill(&in, &used[i], sizeof(used[i]));
		granted[i].sequence &= ~UINT64_C(1);
	}
	memcpy(before, used, sizeof(before));
	for (unsigned i = 0; i < CALLS; i++) {
		const char *reason = NULL;
		uint32_t index = (uint32_t)take_word(&in);
		uint64_t capability = take_word(&in);
		int r = limits_count(&l, index, capability, (uint32_t)take_word(&in), &reason);

		FUZZ_CHECK(r == 0 || r == EPERM || r == EDQUOT || r == ENOENT);
		FUZZ_CHECK(r == 0 || reason);
	}
	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t limit = granted[i].calls_limit;

		FUZZ_CHECK(used[i].calls == before[i].calls ||
			(limit != PAGES_NO_LIMIT && used[i].calls <= limit &&
				used[i].calls > before[i].calls));
	}
	return 0;
}
