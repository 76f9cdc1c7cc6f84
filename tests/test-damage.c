/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Damage to the store. Whatever is done to its file, either every record that was committed comes
 * back, or the store is refused and kept aside: never a crash, never something in between.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/store-world.h"

static char *
file_read(size_t *ret_n)
{
	FILE *f = fopen(file, "re");
	struct stat st;
	char *data;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fstat(fileno(f), &st), 0);
	data = malloc((size_t)st.st_size);
	ck_assert_ptr_nonnull(data);
	*ret_n = fread(data, 1, (size_t)st.st_size, f);
	ck_assert_uint_eq(*ret_n, (size_t)st.st_size);
	fclose(f);
	return data;
}

static void
file_write(const char *data, size_t n)
{
	FILE *f = fopen(file, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, n, f), n);
	fclose(f);
}

START_TEST(P26_cut_off_is_refused)
{
	struct state *s = open_good();
	cleanup_free char *data = NULL;
	size_t n;

	put_range(s, 1, 2000);
	state_free(s);
	data = file_read(&n);
	for (size_t length = 0; length < n; length += 2048) {
		int64_t count;

		file_write(data, length);
		count = count_or_refused();
		ck_assert_int_eq(count, -1);
		ck_assert_int_eq(count_or_refused(), -1);
	}
}
END_TEST

START_TEST(P26_emptied_is_refused)
{
	struct state *s = open_good();

	state_free(s);
	ck_assert_int_eq(truncate(file, 0), 0);
	ck_assert_int_eq(count_or_refused(), -1);
	ck_assert_int_eq(count_or_refused(), -1);
}
END_TEST

#define N_RECORDS 300

/*
 * Each flip costs some forks, which a sanitizer makes ten times as slow, and it has the same code to look at
 * with fewer of them.
 */
#if defined(__SANITIZE_ADDRESS__)
#define THINNED 8
#else
#define THINNED 1
#endif

static void
make_store(void)
{
	struct state *s;

	unlink(file);
	s = open_good();
	for (uint64_t i = 0; i < 10; i++)
		put_range(s, 1 + i * 30, 30);
	state_free(s);
}

/* Does LMDB still work on it? Each commit makes a record and drops one. In a child, that may die. */
static void
write_on(void)
{
	pid_t child = fork();
	int status, r = 0;

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct state *s = open_good();

		for (uint64_t i = 0; r == 0 && i < 40; i++) {
			r = state_store_ops.begin(s);
			if (r == 0)
				r = put(s, 1000 + i, 0);
			if (r == 0)
				r = state_store_ops.drop(s, 1 + i * 7);
			if (r == 0)
				r = state_store_ops.commit(s);
		}
		_exit(r != 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(status == 0, "status %x", (unsigned)status);
}

/* Bytes of the file DATA that nothing uses may be flipped without harm; any other flip must be noticed. */
static bool
flip_is_refused(char *data, size_t n, size_t at, unsigned bit)
{
	int64_t count;

	data[at % n] ^= (char)(1 << bit);
	file_write(data, n);
	data[at % n] ^= (char)(1 << bit);
	count = count_or_refused();
	if (count == N_RECORDS) {
		write_on();
		count = count_or_refused();
	}
	ck_assert_msg(count == -1 || count == N_RECORDS, "byte %zu bit %u: %lld", at % n, bit,
		(long long)count);
	return count == -1;
}

START_TEST(flipped_bytes_lose_nothing_silently)
{
	cleanup_free char *data = NULL;
	unsigned seed = 1, refused = 0;
	size_t n;

	make_store();
	data = file_read(&n);
	for (unsigned round = 0; round < 1500; round += THINNED) {
		size_t at = round < 400 ? round % 200 + (round >= 200 ? 4096 : 0)
					: (size_t)rand_r(&seed) % (round / THINNED % 2 ? SIZE_MAX : 1 << 15);

		refused += flip_is_refused(data, n, at, (unsigned)rand_r(&seed) % 8);
	}
	ck_assert_uint_gt(refused, 150 / THINNED);
}
END_TEST

/* The page of the list of free pages, from the younger meta page. */
static size_t
free_list_at(void)
{
	cleanup_free char *data = NULL;
	uint64_t metas[2][17];
	size_t n;

	data = file_read(&n);
	for (int i = 0; i < 2; i++)
		memcpy(metas[i], data + i * 4096 + 16, sizeof(metas[i]));
	return metas[metas[1][16] > metas[0][16]][8] * 4096;
}

START_TEST(flips_in_the_list_of_free_pages)
{
	cleanup_free char *data = NULL;
	unsigned seed = 1, refused = 0;
	size_t page, n;

	make_store();
	page = free_list_at();
	data = file_read(&n);
	for (size_t at = 0; at < 48; at++)
		refused += flip_is_refused(data, n, page + at, (unsigned)rand_r(&seed) % 8);
	/* Nodes grow from the end of the page. */
	for (size_t at = 4096 - 400; at < 4096; at += THINNED)
		for (unsigned bit = 0; bit < 8; bit += 2)
			refused += flip_is_refused(data, n, page + at, bit + at % 2);
	ck_assert_uint_gt(refused, 300 / THINNED);
}
END_TEST

START_TEST(P26_only_by_word_it_is_put_aside)
{
	cleanup_free char *name = NULL, *reason = NULL, *next = NULL;
	struct state *s = NULL;
	struct stat st;

	make_store();
	ck_assert_int_eq(truncate(file, 4096), 0);
	ck_assert_int_eq(count_or_refused(), -1);
	ck_assert_int_eq(state_set_aside(directory, &name), 0);
	ck_assert_str_eq(name, "state.damaged-1");
	ck_assert_int_lt(lstat(file, &st), 0);
	ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), 0);
	ck_assert(state_is_new(s));
	state_free(s);
	/* Never over an older one. */
	ck_assert_int_eq(state_set_aside(directory, &next), 0);
	ck_assert_str_eq(next, "state.damaged-2");
}
END_TEST

START_TEST(P27_a_directory_of_others)
{
	cleanup_free char *reason = NULL;
	char link[sizeof(directory) + 8];
	struct state *s = NULL;

	ck_assert_int_eq(chmod(directory, 0750), 0);
	ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), -EPERM);
	ck_assert_int_eq(chmod(directory, 0700), 0);
	snprintf(link, sizeof(link), "%s.link", directory);
	ck_assert_int_eq(symlink(directory, link), 0);
	ck_assert_int_lt(state_open(link, MAP_BYTES, &s, &reason), 0);
	ck_assert_int_eq(unlink(link), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(directory, 65534, 65534), 0);
		ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), -EPERM);
	}
	ck_assert_int_lt(access(file, F_OK), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("damage");
	TCase *c = tcase_create("store");

	tcase_add_checked_fixture(c, store_setup, store_teardown);
	tcase_set_timeout(c, 600);
	tcase_add_test(c, P26_cut_off_is_refused);
	tcase_add_test(c, P26_emptied_is_refused);
	tcase_add_test(c, P26_only_by_word_it_is_put_aside);
	tcase_add_test(c, P27_a_directory_of_others);
	tcase_add_test(c, flipped_bytes_lose_nothing_silently);
	tcase_add_test(c, flips_in_the_list_of_free_pages);
	suite_add_tcase(suite, c);
	return suite;
}

int
main(void)
{
	/* LMDB allocates 2 MiB of zeros each time: not from a heap that would be cleared by hand. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	return fixture_main(suite());
}
