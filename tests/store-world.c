/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/store-world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"

char directory[FIXTURE_PATH], file[128];

void
store_setup(void)
{
	fixture_setup();
	fixture_directory(directory);
	snprintf(file, sizeof(file), "%s/state.mdb", directory);
}

void
store_teardown(void)
{
	umount2(directory, MNT_DETACH);
	fixture_remove(directory);
	fixture_teardown();
}

struct state *
open_good(void)
{
	struct state *s = NULL;
	char *reason = NULL;

	ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), 0);
	ck_assert_ptr_null(reason);
	return s;
}

void
fill(uint8_t record[RECORD_BYTES], uint64_t key, unsigned generation)
{
	for (size_t i = 0; i < RECORD_BYTES; i++)
		record[i] = (uint8_t)(key * 31 + i * 7 + generation);
}

int
put(struct state *s, uint64_t key, unsigned generation)
{
	uint8_t record[RECORD_BYTES];

	fill(record, key, generation);
	return state_store_ops.put(s, key, record, sizeof(record));
}

void
put_range(struct state *s, uint64_t first, uint64_t n)
{
	ck_assert_int_eq(state_store_ops.begin(s), 0);
	for (uint64_t key = first; key < first + n; key++)
		ck_assert_int_eq(put(s, key, 0), 0);
	ck_assert_int_eq(state_store_ops.commit(s), 0);
}

struct seen {
	uint64_t n, last;
	bool wrong;
};

static int
see(void *data, uint64_t key, const void *record, size_t n)
{
	struct seen *seen = data;
	uint8_t expected[RECORD_BYTES];

	fill(expected, key, 0);
	if ((seen->n > 0 && key <= seen->last) || n != RECORD_BYTES ||
		memcmp(record, expected, n) != 0)
		seen->wrong = true;
	seen->last = key;
	seen->n++;
	return 0;
}

int64_t
count_or_refused(void)
{
	struct state *s = NULL;
	struct seen seen = {};
	cleanup_free char *reason = NULL;
	struct stat st, before;
	int r;

	ck_assert_int_eq(lstat(file, &before), 0);
	r = state_open(directory, MAP_BYTES, &s, &reason);
	if (r == 0)
		r = state_scan(s, see, &seen, &reason);
	state_free(s);
	if (r == STATE_E_DAMAGED) {
		ck_assert_ptr_nonnull(strstr(reason, " is damaged: "));
		ck_assert_int_eq(lstat(file, &st), 0);
		ck_assert_int_eq(st.st_size, before.st_size);
		return -1;
	}
	ck_assert_int_eq(r, 0);
	ck_assert(!seen.wrong);
	return (int64_t)seen.n;
}
