/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one binary tells the next: comes back as it was, also when one of them knows less than the
 * other; anything else than a sealed one for this process is refused. And the state's copy for a trial.
 */
#include "config.h"

#include "capfsd/process/succession.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capfsd/state/state.h"
#include "tests/fixture.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define MAP_BYTES (64 << 20)
#define LENGTHS_AT 12 /* of the blocks, in the file */

static struct succession succession;
static struct boot boot, got_boot;
static struct boot_page page, got_page;
static struct succession got;

static void
setup(void)
{
	fixture_setup();
	succession = (struct succession){.role = SUCCESSION_HOLDER, .self = getpid(), .generation = 7};
	snprintf(succession.binary, sizeof(succession.binary), "/usr/sbin/capfsd");
	boot = (struct boot){.instance = 42, .log_level = 6, .page = &page, .store_max = 9};
	snprintf(boot.bind_dir, sizeof(boot.bind_dir), ".bind-x");
	page = (struct boot_page){.poisoned = 77, .polls = {1, 2, 3}};
}

static int
read_as(int fd, enum succession_role role)
{
	return succession_read(fd, role, &got, &got_boot, &got_page);
}

START_TEST(comes_back)
{
	cleanup_close int fd = succession_write(&succession, &boot);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read_as(fd, SUCCESSION_HOLDER), 0);
	ck_assert_uint_eq(got.generation, 7);
	ck_assert_str_eq(got.binary, "/usr/sbin/capfsd");
	ck_assert_uint_eq(got_boot.instance, 42);
	ck_assert_uint_eq(got_boot.store_max, 9);
	ck_assert_ptr_null(got_boot.title);
	ck_assert_ptr_eq(got_boot.page, &got_page);
	ck_assert_uint_eq(got_page.poisoned, 77);
	ck_assert_uint_eq(got_page.polls[2], 3);
	/* Again, as by the binary of before. */
	ck_assert_int_eq(read_as(fd, SUCCESSION_HOLDER), 0);
}
END_TEST

START_TEST(for_nobody_else)
{
	cleanup_close int fd = -1, child = -1;

	succession.self = getpid() + 1;
	child = succession_write(&succession, &boot);
	ck_assert_int_eq(read_as(child, SUCCESSION_HOLDER), -EINVAL);
	succession.self = getpid();
	fd = succession_write(&succession, &boot);
	ck_assert_int_eq(read_as(fd, SUCCESSION_KEEPER), -EINVAL);
	ck_assert_int_eq(read_as(fd, SUCCESSION_TRY), -EINVAL);
}
END_TEST

/* A copy of FD with SIZE bytes, N bytes at AT in it replaced. */
static int
forge(int fd, size_t size, size_t at, const void *data, size_t n, int seals)
{
	cleanup_close int copy = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	cleanup_free char *all = calloc(1, size + 1);

	ck_assert_int_ge(copy, 0);
	ck_assert_int_ge(pread(fd, all, size, 0), 0);
	memcpy(all + at, data, n);
	ck_assert_int_eq(write(copy, all, size), (ssize_t)size);
	ck_assert_int_eq(fcntl(copy, F_ADD_SEALS, seals), 0);
	return take_fd(copy);
}

static size_t
size_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

static void
check_forged(int fd, int forged, int wanted)
{
	ck_assert_int_eq(read_as(forged, SUCCESSION_HOLDER), wanted);
	close(forged);
}

START_TEST(no_other_file)
{
	cleanup_close int fd = succession_write(&succession, &boot), file = open("/dev/null", O_RDONLY);
	const uint32_t version = SUCCESSION_VERSION + 1, huge = 1 << 20, one = 1;
	size_t n = size_of(fd);

	ck_assert_int_eq(read_as(file, SUCCESSION_HOLDER), -EINVAL);
	check_forged(fd, forge(fd, n, 0, "", 0, SEALS), 0);
	check_forged(fd, forge(fd, n, 0, "", 0, SEALS & ~F_SEAL_WRITE), -EINVAL);
	check_forged(fd, forge(fd, n, 0, "x", 1, SEALS), -EINVAL);
	check_forged(fd, forge(fd, n, 8, &version, 4, SEALS), -EPROTO);
	check_forged(fd, forge(fd, n, LENGTHS_AT, &huge, 4, SEALS), -EPROTO);
	check_forged(fd, forge(fd, n, LENGTHS_AT, &one, 4, SEALS), -EINVAL);
	check_forged(fd, forge(fd, n - 1, 0, "", 0, SEALS), -EINVAL);
	check_forged(fd, forge(fd, 8, 0, "", 0, SEALS), -EINVAL);
}
END_TEST

/* The last block, the page, has 8 bytes less or more than ours. */
START_TEST(grows_at_its_end)
{
	cleanup_close int fd = succession_write(&succession, &boot);
	uint32_t less = sizeof(page) - 8, more = sizeof(page) + 8;
	size_t n = size_of(fd);

	got_page.polls[BOOT_POLLS_MAX - 1] = 5;
	check_forged(fd, forge(fd, n - 8, LENGTHS_AT + 8, &less, 4, SEALS), 0);
	ck_assert_uint_eq(got_page.polls[2], 3);
	ck_assert_uint_eq(got_page.polls[BOOT_POLLS_MAX - 1], 0);
	check_forged(fd, forge(fd, n + 8, LENGTHS_AT + 8, &more, 4, SEALS), 0);
	ck_assert_uint_eq(got_page.polls[2], 3);
}
END_TEST

START_TEST(argument_without_a_descriptor)
{
	char memory[64] = "capfsd\0--take-over=keeper,1\0--run-dir=x";
	char *argv[] = {memory, memory + 7, memory + 28, NULL};
	int argc = 3, fd = -1;

	/* No descriptor of ours can be 0-2. */
	ck_assert_int_eq(succession_argument(&argc, argv, &fd), -EINVAL);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(argument_leaves_the_rest)
{
	char memory[64], *argv[4] = {memory};
	cleanup_close int any = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int argc = 3, fd = -1, n;

	n = snprintf(memory, sizeof(memory), "capfsd%c--take-over=keeper,%d%c--run-dir=x", 0, any, 0);
	argv[1] = memory + 7;
	argv[2] = strchr(argv[1], '\0') + 1;
	ck_assert_int_eq(succession_argument(&argc, argv, &fd), SUCCESSION_KEEPER);
	ck_assert_int_eq(fd, any);
	ck_assert_int_eq(argc, 2);
	ck_assert_str_eq(argv[1], "--run-dir=x");
	ck_assert_ptr_null(argv[2]);
	ck_assert_ptr_eq(argv[1], memory + 7);
	for (int i = 7 + 12; i < n; i++)
		ck_assert_int_eq(memory[i], 0);
	/* And not twice. */
	ck_assert_int_eq(succession_argument(&argc, argv, &fd), 0);
}
END_TEST

static int
count(void *data, uint64_t key, const void *record, size_t n)
{
	++*(unsigned *)data;
	return n == sizeof(uint64_t) ? 0 : -EBADMSG;
}

static void
put(struct state *s, uint64_t from, uint64_t to)
{
	ck_assert_int_eq(state_store_ops.begin(s), 0);
	for (uint64_t i = from; i < to; i++)
		ck_assert_int_eq(state_store_ops.put(s, i, &i, sizeof(i)), 0);
	ck_assert_int_eq(state_store_ops.commit(s), 0);
}

/* The copy has what was there when it was made, and the store goes on. */
START_TEST(copy_of_the_state)
{
	struct state *s = NULL, *copied = NULL;
	cleanup_close int copy = -1;
	char directory[FIXTURE_PATH], *reason = NULL;
	unsigned n = 0;

	fixture_directory(directory);
	ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), 0);
	put(s, 1, 2000);
	copy = state_copy(s);
	ck_assert_int_ge(copy, 0);
	put(s, 2000, 6000);
	ck_assert_int_eq(state_open_copy(copy, MAP_BYTES, &copied, &reason), 0);
	ck_assert_int_eq(state_scan(copied, count, &n, &reason), 0);
	ck_assert_uint_eq(n, 1999);
	/* Writing to it does nothing to the store. */
	put(copied, 10000, 10010);
	state_free(copied);
	n = 0;
	ck_assert_int_eq(state_scan(s, count, &n, &reason), 0);
	ck_assert_uint_eq(n, 5999);
	state_free(s);
	fixture_remove(directory);
}
END_TEST

START_TEST(damaged_copy)
{
	struct state *s = NULL, *copied = NULL;
	cleanup_close int copy = -1;
	char directory[FIXTURE_PATH], *reason = NULL, path[128];

	fixture_directory(directory);
	ck_assert_int_eq(state_open(directory, MAP_BYTES, &s, &reason), 0);
	put(s, 1, 2000);
	copy = state_copy(s);
	ck_assert_int_eq(ftruncate(copy, 5000), 0);
	ck_assert_int_eq(state_open_copy(copy, MAP_BYTES, &copied, &reason), STATE_E_DAMAGED);
	ck_assert_ptr_nonnull(reason);
	free(reason);
	/* Only the copy: the state itself is where it was. */
	snprintf(path, sizeof(path), "%s/state.mdb", directory);
	ck_assert_int_eq(access(path, F_OK), 0);
	state_free(s);
	fixture_remove(directory);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("succession");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, fixture_teardown);
	tcase_add_test(t, comes_back);
	tcase_add_test(t, for_nobody_else);
	tcase_add_test(t, no_other_file);
	tcase_add_test(t, grows_at_its_end);
	tcase_add_test(t, argument_without_a_descriptor);
	tcase_add_test(t, argument_leaves_the_rest);
	tcase_add_test(t, copy_of_the_state);
	tcase_add_test(t, damaged_copy);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
