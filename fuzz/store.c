/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each function succeeds and keeps nothing, so that a run of the fuzzer begins as empty as the one
 * before it, and finds what the model does, not the disk.
 */
#include "config.h"

#include "fuzz/store.h"

#include "fuzz/fuzz.h"

static int
store_begin(void *data)
{
	return 0;
}

static int
store_put(void *data, uint64_t key, const void *record, size_t n)
{
	return 0;
}

static int
store_drop(void *data, uint64_t key)
{
	return 0;
}

static int
store_commit(void *data)
{
	return 0;
}

static void
store_abort(void *data)
{
}

const struct store_ops fuzz_store_ops = {
	.begin = store_begin,
	.put = store_put,
	.drop = store_drop,
	.commit = store_commit,
	.abort = store_abort,
};

uint64_t
fuzz_now(void)
{
	return UINT64_C(1769860800000000);
}

void
fuzz_reap(struct model *m, unsigned budget)
{
	int r;

	do {
		r = model_reap(m, budget);
		FUZZ_CHECK(r == 0 || r == 1);
		model_check(m);
	} while (r > 0);
}
