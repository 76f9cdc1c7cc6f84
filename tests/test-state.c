/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store. Whatever is done to its file, either every record that was committed comes back, or
 * the store is refused and kept aside: never a crash, never something in between.
 */
#include "config.h"

#include "capfsd/state/state.h"

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

#include "base/cleanup.h"
#include "capfsd/state/crc.h"
#include "tests/fixture.h"

#define MAP_BYTES (64 << 20)
#define RECORD_BYTES 100

static char directory[FIXTURE_PATH], file[128];

static void
setup(void)
{
	fixture_setup();
	fixture_directory(directory);
	snprintf(file, sizeof(file), "%s/state.mdb", directory);
}

static void
teardown(void)
{
	umount2(directory, MNT_DETACH);
	fixture_remove(directory);
	fixture_teardown();
}

static struct state *
open_good(void)
{
	struct state *s = NULL;
	char *reason = NULL;

	ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), 0);
	ck_assert_ptr_null(reason);
	return s;
}

/* What record KEY has in it; GENERATION tells versions of it apart. */
static void
fill(uint8_t record[RECORD_BYTES], uint64_t key, unsigned generation)
{
	for (size_t i = 0; i < RECORD_BYTES; i++)
		record[i] = (uint8_t)(key * 31 + i * 7 + generation);
}

static int
put(struct state *s, uint64_t key, unsigned generation)
{
	uint8_t record[RECORD_BYTES];

	fill(record, key, generation);
	return state_store_ops.put(s, key, record, sizeof(record));
}

static void
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

/* How many records there are, all of them right, or -1: refused and kept aside. */
static int64_t
count_or_refused(void)
{
	struct state *s = NULL;
	struct seen seen = {};
	cleanup_free char *reason = NULL;
	struct stat st;
	int r = state_open(directory, MAP_BYTES, &s, &reason);

	if (r == 0)
		r = state_scan(s, see, &seen, &reason);
	state_free(s);
	if (r == STATE_E_DAMAGED) {
		ck_assert_ptr_nonnull(strstr(reason, "state.damaged-"));
		ck_assert_int_lt(lstat(file, &st), 0);
		return -1;
	}
	ck_assert_int_eq(r, 0);
	ck_assert(!seen.wrong);
	return (int64_t)seen.n;
}

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

START_TEST(cut_off_is_refused_and_kept)
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
	}
	ck_assert_int_eq(count_or_refused(), 0);
}
END_TEST

START_TEST(emptied_is_refused_then_begun_anew)
{
	struct state *s = open_good();

	state_free(s);
	ck_assert_int_eq(truncate(file, 0), 0);
	ck_assert_int_eq(count_or_refused(), -1);
	ck_assert_int_eq(count_or_refused(), 0);
}
END_TEST

#define N_RECORDS 300

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

/* Bytes that nothing uses may be flipped without harm; any other flip must be noticed. */
static bool
flip_is_refused(size_t at, unsigned bit)
{
	cleanup_free char *data = NULL;
	int64_t count;
	size_t n;

	make_store();
	data = file_read(&n);
	data[at % n] ^= (char)(1 << bit);
	file_write(data, n);
	count = count_or_refused();
	if (count == N_RECORDS) {
		write_on();
		count = count_or_refused();
	}
	ck_assert_msg(count == -1 || count == N_RECORDS, "byte %zu bit %u: %lld", at % n, bit,
		(long long)count);
	return count == -1;
}

static void
forget_damaged(void)
{
	fixture_remove(directory);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
}

START_TEST(flipped_bytes_lose_nothing_silently)
{
	unsigned seed = 1, refused = 0;

	for (unsigned round = 0; round < 1500; round++) {
		size_t at = round < 400 ? round % 200 + (round >= 200 ? 4096 : 0)
					: (size_t)rand_r(&seed) % (round % 2 ? SIZE_MAX : 1 << 15);

		refused += flip_is_refused(at, (unsigned)rand_r(&seed) % 8);
		if (round % 100 == 0)
			forget_damaged();
	}
	ck_assert_uint_gt(refused, 150);
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
	unsigned seed = 1, refused = 0;
	size_t page;

	make_store();
	page = free_list_at();
	for (size_t at = 0; at < 48; at++)
		refused += flip_is_refused(page + at, (unsigned)rand_r(&seed) % 8);
	/* Nodes grow from the end of the page. */
	for (size_t at = 4096 - 400; at < 4096; at++)
		for (unsigned bit = 0; bit < 8; bit += 2)
			refused += flip_is_refused(page + at, bit + at % 2);
	ck_assert_uint_gt(refused, 300);
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
	if (geteuid() == 0 && mount("none", directory, "tmpfs", 0, size) == 0)
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

	if (!mount_small("size=2m"))
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

	if (!mount_small("size=1m"))
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

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, crc_has_the_known_sums);
	tcase_add_test(c, what_is_put_comes_back);
	tcase_add_test(c, abort_leaves_nothing);
	tcase_add_test(c, large_records_come_back);
	tcase_add_loop_test(c, what_was_worked_on_is_good, 0, 3);
	tcase_add_test(c, killed_in_a_transaction);
	tcase_add_test(c, killed_while_it_is_made);
	tcase_add_test(c, cut_off_is_refused_and_kept);
	tcase_add_test(c, emptied_is_refused_then_begun_anew);
	tcase_add_test(c, flipped_bytes_lose_nothing_silently);
	tcase_add_test(c, flips_in_the_list_of_free_pages);
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
