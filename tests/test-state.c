/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store. Whatever happens to who writes, and however little room there is, every record that was
 * committed comes back.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capfsd/state/crc.h"
#include "tests/store-world.h"

START_TEST(crc_has_the_known_sums)
{
	uint8_t bytes[32];
	struct crc crc;

	crc_init(&crc);
	for (int instruction = 0; instruction < 2; instruction++) {
		ck_assert_uint_eq(crc_sum(&crc, 0, "123456789", 9), 0xe3069283);
		memset(bytes, 0, sizeof(bytes));
		ck_assert_uint_eq(crc_sum(&crc, 0, bytes, sizeof(bytes)), 0x8a9136aa);
		memset(bytes, 0xff, sizeof(bytes));
		ck_assert_uint_eq(crc_sum(&crc, crc_sum(&crc, 0, bytes, 5), bytes, 27), 0x62a8ab43);
		crc.instruction = false;
	}
}
END_TEST

START_TEST(what_is_put_comes_back)
{
	struct state *s = open_good();
	uint8_t expected[RECORD_BYTES];
	const void *data;
	struct stat st;
	size_t n;

	ck_assert(state_is_new(s));
	put_range(s, 1, 1000);
	ck_assert_int_eq(state_store_ops.begin(s), 0);
	ck_assert_int_eq(state_store_ops.drop(s, 1000), 0);
	ck_assert_int_eq(state_store_ops.drop(s, 1000), -ENOENT);
	ck_assert_int_eq(put(s, 7, 1), 0);
	ck_assert_int_eq(state_store_ops.put(s, 1001, NULL, 0), 0);
	ck_assert_int_eq(state_store_ops.commit(s), 0);
	state_free(s);

	s = open_good();
	ck_assert(!state_is_new(s));
	ck_assert_int_eq(state_get(s, 7, &data, &n), 0);
	fill(expected, 7, 1);
	ck_assert_uint_eq(n, RECORD_BYTES);
	ck_assert_mem_eq(data, expected, n);
	ck_assert_int_eq(state_get(s, 1001, &data, &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(state_get(s, 1000, &data, &n), -ENOENT);
	ck_assert_int_eq(stat(file, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	state_free(s);
}
END_TEST

START_TEST(abort_leaves_nothing)
{
	struct state *s = open_good();

	put_range(s, 1, 10);
	ck_assert_int_eq(state_store_ops.begin(s), 0);
	ck_assert_int_eq(put(s, 11, 0), 0);
	ck_assert_int_eq(state_store_ops.drop(s, 1), 0);
	state_store_ops.abort(s);
	state_free(s);
	ck_assert_int_eq(count_or_refused(), 10);
}
END_TEST

START_TEST(large_records_come_back)
{
	struct state *s = open_good();
	char *data = malloc(100000);
	const void *back;
	size_t n;

	ck_assert_ptr_nonnull(data);
	memset(data, 'x', 100000);
	ck_assert_int_eq(state_store_ops.begin(s), 0);
	ck_assert_int_eq(state_store_ops.put(s, 1, data, 100000), 0);
	ck_assert_int_eq(state_store_ops.commit(s), 0);
	state_free(s);
	s = open_good();
	ck_assert_int_eq(state_get(s, 1, &back, &n), 0);
	ck_assert_uint_eq(n, 100000);
	ck_assert_mem_eq(back, data, n);
	state_free(s);
	free(data);
}
END_TEST

static int
count_one(void *data, uint64_t key, const void *record, size_t n)
{
	++*(size_t *)data;
	return 0;
}

/* Records of all sizes come and go: whatever that makes of the tree, it is never taken for damaged. */
START_TEST(what_was_worked_on_is_good)
{
	static uint8_t big[20000];
	static bool present[20000];
	unsigned seed = (unsigned)_i;
	size_t n = 0, n_seen;

	for (unsigned round = 0; round < 40; round++) {
		struct state *s = open_good();
		uint64_t span = round % 10 < 5 ? 20000 : 300;
		char *reason = NULL;

		for (unsigned i = 0; i < 200; i++) {
			ck_assert_int_eq(state_store_ops.begin(s), 0);
			for (unsigned j = (unsigned)rand_r(&seed) % 30; j > 0; j--) {
				uint64_t key = (uint64_t)rand_r(&seed) % span;
				size_t size = (size_t)rand_r(&seed) % (j % 8 ? 300 : sizeof(big));

				if (present[key] && rand_r(&seed) % 20 >= (int)(round % 20)) {
					ck_assert_int_eq(state_store_ops.drop(s, key), 0);
					present[key] = false;
					n--;
					continue;
				}
				ck_assert_int_eq(state_store_ops.put(s, key, big, size), 0);
				n += !present[key];
				present[key] = true;
			}
			ck_assert_int_eq(state_store_ops.commit(s), 0);
		}
		state_free(s);
		s = open_good();
		n_seen = 0;
		ck_assert_int_eq(state_scan(s, count_one, &n_seen, &reason), 0);
		ck_assert_uint_eq(n_seen, n);
		state_free(s);
	}
}
END_TEST

/*
 * Commits without end, each told when it is done: fifty that make two records each, then fifty that
 * drop two.
 */
static void
write_until_killed(int progress_fd)
{
	struct state *s = open_good();

	for (uint64_t i = 0;; i++) {
		uint64_t key = i % 50 * 2 + 1;
		int r = state_store_ops.begin(s);

		for (uint64_t k = key; r == 0 && k < key + 2; k++)
			r = i / 50 % 2 == 0 ? put(s, k, 0) : state_store_ops.drop(s, k);
		if (r == 0)
			r = state_store_ops.commit(s);
		if (r != 0 || write(progress_fd, "", 1) != 1)
			_exit(1);
	}
}

/* How many records there are after so many commits. */
static int64_t
n_after(int64_t n_commits)
{
	int64_t n = n_commits % 100;

	return 2 * (n <= 50 ? n : 100 - n);
}

/* Reads what was told, until nobody is left who could. */
static int64_t
count_bytes(int fd)
{
	char bytes[4096];
	int64_t count = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		count += n;
	ck_assert_int_eq(n, 0);
	return count;
}

START_TEST(killed_in_a_transaction)
{
	for (int round = 0; round < 30; round++) {
		int fds[2], status;
		int64_t n, n_told;
		pid_t child;
		char byte;

		unlink(file);
		ck_assert_int_eq(pipe(fds), 0);
		child = fork();
		ck_assert_int_ge(child, 0);
		if (child == 0)
			write_until_killed(fds[1]);
		close(fds[1]);
		ck_assert_int_eq(read(fds[0], &byte, 1), 1);
		usleep((useconds_t)(round * 131));
		kill(child, SIGKILL);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		n_told = 1 + count_bytes(fds[0]);
		close(fds[0]);
		n = count_or_refused();
		/* All of it, and perhaps what was done and could not be told any more. */
		ck_assert_msg(n == n_after(n_told) || n == n_after(n_told + 1),
			"%lld records after %lld commits", (long long)n, (long long)n_told);
	}
}
END_TEST

START_TEST(killed_while_it_is_made)
{
	struct state *s;
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s.new", file);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	s = open_good();
	ck_assert(state_is_new(s));
	state_free(s);
}
END_TEST

START_TEST(full_map_still_lets_go)
{
	struct state *s = NULL;
	char *reason = NULL;
	uint64_t key = 1;
	int r = 0;

	ck_assert_int_eq(state_open(directory, 1 << 20, &s, &reason), 0);
	for (; r == 0; key++) {
		ck_assert_int_eq(state_store_ops.begin(s), 0);
		r = put(s, key, 0);
		if (r == 0)
			r = state_store_ops.commit(s);
		else
			state_store_ops.abort(s);
	}
	ck_assert_int_eq(r, -ENOSPC);
	key -= 2;
	ck_assert_uint_gt(key, 1000);
	for (uint64_t k = 1; k <= key; k++) {
		ck_assert_int_eq(state_store_ops.begin(s), 0);
		ck_assert_int_eq(state_store_ops.drop(s, k), 0);
		ck_assert_int_eq(state_store_ops.commit(s), 0);
	}
	put_range(s, 1, 1000);
	state_free(s);
	ck_assert_int_eq(count_or_refused(), 1000);
}
END_TEST

/* Fills the rest of the file system with another's file. */
static void
fill_up(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	char block[4096] = {};

	ck_assert_int_ge(fd, 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	close(fd);
}

/* A small file system there. Without it a test has nothing to say, and says that. */
static bool
mount_small(const char *size)
{
	char options[64];

	/* Of a mode that a state directory may have. */
	snprintf(options, sizeof(options), "mode=0700,size=%s", size);
	if (geteuid() == 0 && mount("none", directory, "tmpfs", 0, options) == 0)
		return true;
	fprintf(stderr, "# skipped: a file system of %s cannot be mounted\n", size);
	return false;
}

START_TEST(full_file_system_is_an_answer)
{
	struct state *s;
	char path[128];
	uint64_t key = 1001;
	int r = 0;

	if (!mount_small("2m"))
		return;
	s = open_good();
	put_range(s, 1, 1000);
	snprintf(path, sizeof(path), "%s/filler", directory);
	fill_up(path);
	for (; r == 0; key++) {
		ck_assert_int_eq(state_store_ops.begin(s), 0);
		r = put(s, key, 0);
		if (r == 0)
			r = state_store_ops.commit(s);
		else
			state_store_ops.abort(s);
	}
	ck_assert_int_eq(r, -ENOSPC);
	key -= 2;
	for (uint64_t k = 1001; k <= key; k++) {
		ck_assert_int_eq(state_store_ops.begin(s), 0);
		ck_assert_int_eq(put(s, 1, 0), 0);
		ck_assert_int_eq(state_store_ops.drop(s, k), 0);
		ck_assert_int_eq(state_store_ops.commit(s), 0);
	}
	state_free(s);
	ck_assert_int_eq(count_or_refused(), 1000);
	ck_assert_int_eq(unlink(path), 0);
	s = open_good();
	put_range(s, 1001, 100);
	state_free(s);
	ck_assert_int_eq(count_or_refused(), 1100);
	ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
}
END_TEST

/* One transaction that is larger than what is left: refused as a whole, with or without reserve. */
START_TEST(a_transaction_too_large_changes_nothing)
{
	struct state *s;
	int r = 0;

	if (!mount_small("1m"))
		return;
	s = open_good();
	put_range(s, 1, 100);
	ck_assert_int_eq(state_store_ops.begin(s), 0);
	for (uint64_t key = 101; r == 0 && key < 30000; key++)
		r = put(s, key, 0);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(state_store_ops.commit(s), -ENOSPC);
	put_range(s, 1, 100);
	state_free(s);
	ck_assert_int_eq(count_or_refused(), 100);
	ck_assert_int_eq(umount2(directory, MNT_DETACH), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("state");
	TCase *c = tcase_create("store");

	tcase_add_checked_fixture(c, store_setup, store_teardown);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, crc_has_the_known_sums);
	tcase_add_test(c, what_is_put_comes_back);
	tcase_add_test(c, abort_leaves_nothing);
	tcase_add_test(c, large_records_come_back);
	tcase_add_loop_test(c, what_was_worked_on_is_good, 0, 3);
	tcase_add_test(c, killed_in_a_transaction);
	tcase_add_test(c, killed_while_it_is_made);
	tcase_add_test(c, full_map_still_lets_go);
	tcase_add_test(c, full_file_system_is_an_answer);
	tcase_add_test(c, a_transaction_too_large_changes_nothing);
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
