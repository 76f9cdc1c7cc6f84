/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P10 P39 Z42 */
/* The server's side of the pages: the test plays the daemon that writes what is granted. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/cap-client.h"
#include "libcap-client/limits.h"
#include "tests/fixture.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define SLOT 5
#define PARENT 9
#define ORIGIN 1
#define SLOT_ID 105
#define PARENT_ID 55
#define ORIGIN_ID 51
#define WORKERS 4

static struct limits limits;
static struct granted_entry *granted;
static int granted_fd, used_fd;
static const char *reason;

static int
page_new(size_t n, int seals)
{
	int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void
grant(uint32_t index, uint64_t id, uint32_t parent_index, uint64_t parent)
{
	granted[index] = (struct granted_entry){
		.capability = id,
		.parent = parent,
		.parent_index = parent_index,
		.rights = CAPC_RIGHT_CALL,
		.calls_limit = PAGES_NO_LIMIT,
		.rate = PAGES_NO_LIMIT,
		.methods = {(uint64_t)UINT32_MAX << 32, 1, 1, 1},
	};
}

static void
setup(void)
{
	struct granted_header *header;

	fixture_setup();
	granted_fd = page_new(PAGES_GRANTED_BYTES, SEALS);
	used_fd = page_new(PAGES_USED_BYTES, SEALS);
	granted = mmap(NULL, PAGES_GRANTED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, granted_fd, 0);
	ck_assert(granted != MAP_FAILED);
	header = (struct granted_header *)granted;
	*header = (struct granted_header){
		.magic = PAGES_MAGIC, .version = PAGES_VERSION, .n_entries = PAGES_ENTRIES};
	ck_assert_int_eq(limits_map(granted_fd, used_fd, &limits), 0);
	grant(ORIGIN, ORIGIN_ID, 0, 0);
	grant(PARENT, PARENT_ID, ORIGIN, ORIGIN_ID);
	grant(SLOT, SLOT_ID, PARENT, PARENT_ID);
}

static void
teardown(void)
{
	limits_unmap(&limits);
	munmap(granted, PAGES_GRANTED_BYTES);
	close(granted_fd);
	close(used_fd);
	fixture_teardown();
}

static int
count(uint32_t method)
{
	return limits_count(&limits, SLOT, SLOT_ID, method, &reason);
}

START_TEST(without_limits_nothing_is_counted)
{
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(count((uint32_t)i), 0);
	ck_assert_int_eq(count(UINT32_MAX), 0);
	ck_assert_uint_eq(limits.used[SLOT].calls, 0);
}
END_TEST

START_TEST(calls_count_along_the_ancestors)
{
	granted[SLOT].calls_limit = 4;
	granted[ORIGIN].calls_limit = 6;
	limits.used[ORIGIN].calls = 3;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(count(0), 0);
	ck_assert_int_eq(count(0), EDQUOT);
	ck_assert_str_eq(reason, "its calls are used up");
	/* A refused one is counted nowhere. */
	ck_assert_uint_eq(limits.used[SLOT].calls, 3);
	ck_assert_uint_eq(limits.used[PARENT].calls, 0);
	ck_assert_uint_eq(limits.used[ORIGIN].calls, 6);
	/* A reduction holds from the next call on. */
	granted[ORIGIN].calls_limit = PAGES_NO_LIMIT;
	granted[SLOT].calls_limit = 3;
	ck_assert_int_eq(count(0), EDQUOT);
}
END_TEST

START_TEST(who_has_limits_is_known_without_a_call)
{
	ck_assert(!limits_apply(&limits, SLOT, SLOT_ID));
	granted[ORIGIN].rate = 5;
	ck_assert(limits_apply(&limits, SLOT, SLOT_ID));
	granted[ORIGIN].rate = PAGES_NO_LIMIT;
	granted[PARENT].calls_limit = 0;
	ck_assert(limits_apply(&limits, SLOT, SLOT_ID));
	ck_assert(!limits_apply(&limits, ORIGIN, ORIGIN_ID));
	/* What has ended may nothing. */
	granted[PARENT].calls_limit = PAGES_NO_LIMIT;
	granted[ORIGIN].capability = 0;
	ck_assert(limits_apply(&limits, SLOT, SLOT_ID));
	ck_assert_uint_eq(limits.used[SLOT].calls, 0);
}
END_TEST

START_TEST(Z42_methods_of_all_count)
{
	granted[SLOT].methods[0] = 1 | UINT64_C(4) << 32;
	granted[SLOT].methods[2] = UINT32_MAX | (uint64_t)UINT32_MAX << 32;
	granted[ORIGIN].methods[0] = 4 | UINT64_C(4) << 32;
	ck_assert_int_eq(count(4), 0);
	ck_assert_int_eq(count(3), EPERM);
	ck_assert_str_eq(reason, "it may not call that method");
	ck_assert_int_eq(count(5), EPERM);
	ck_assert_int_eq(count(UINT32_MAX), EPERM);
	granted[ORIGIN].methods[0] = (uint64_t)UINT32_MAX << 32;
	ck_assert_int_eq(count(UINT32_MAX), 0);
	/* A daemon that died while it wrote: what is there is granted, and nobody waits for ever. */
	granted[SLOT].sequence = 7;
	ck_assert_int_eq(count(4), 0);
	ck_assert_int_eq(count(5), EPERM);
	granted[PARENT].rights = 0;
	ck_assert_int_eq(count(4), EPERM);
	ck_assert_str_eq(reason, "it lacks right 'call'");
}
END_TEST

START_TEST(what_has_ended_is_refused)
{
	granted[SLOT].calls_limit = 10;
	ck_assert_int_eq(count(0), 0);
	/* One store ends all that is derived before. */
	granted[PARENT].revoked_upto = SLOT_ID;
	ck_assert_int_eq(count(0), ENOENT);
	granted[PARENT].revoked_upto = SLOT_ID - 1;
	ck_assert_int_eq(count(0), 0);
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t indexes[] = {SLOT, PARENT, ORIGIN};
		uint64_t id = granted[indexes[i]].capability;

		granted[indexes[i]].capability = 0;
		ck_assert_int_eq(count(0), ENOENT);
		/* The entry is another's now. */
		granted[indexes[i]].capability = 1000;
		ck_assert_int_eq(count(0), ENOENT);
		granted[indexes[i]].capability = id;
		ck_assert_int_eq(count(0), 0);
	}
	ck_assert_uint_eq(limits.used[SLOT].calls, 5);
	ck_assert_int_eq(limits_count(&limits, SLOT, 0, 0, &reason), ENOENT);
	ck_assert_int_eq(limits_count(&limits, 0, SLOT_ID, 0, &reason), ENOENT);
	ck_assert_int_eq(limits_count(&limits, PAGES_ENTRIES, SLOT_ID, 0, &reason), ENOENT);
	ck_assert_int_eq(limits_count(&limits, UINT32_MAX, SLOT_ID, 0, &reason), ENOENT);
	granted[ORIGIN].parent = SLOT_ID;
	granted[ORIGIN].parent_index = SLOT;
	ck_assert_int_eq(count(0), ENOENT);
	granted[ORIGIN].parent_index = UINT64_MAX;
	ck_assert_int_eq(count(0), ENOENT);
}
END_TEST

START_TEST(P10_at_the_edge_of_64_bits)
{
	granted[SLOT].calls_limit = UINT64_MAX - 1;
	limits.used[SLOT].calls = UINT64_MAX - 3;
	ck_assert_int_eq(count(0), 0);
	ck_assert_int_eq(count(0), 0);
	ck_assert_int_eq(count(0), EDQUOT);
	limits.used[SLOT].calls = UINT64_MAX;
	ck_assert_int_eq(count(0), EDQUOT);
	granted[SLOT].calls_limit = 0;
	limits.used[SLOT].calls = 0;
	ck_assert_int_eq(count(0), EDQUOT);
	granted[SLOT].calls_limit = PAGES_NO_LIMIT;
	/* Times that cannot be: as after the clock was set back. */
	granted[SLOT].rate = 1;
	limits.used[SLOT].rate_at = UINT64_MAX;
	ck_assert_int_eq(count(0), 0);
	ck_assert_int_eq(count(0), EDQUOT);
	granted[SLOT].rate = UINT64_MAX - 1;
	ck_assert_int_eq(count(0), EDQUOT);
	granted[SLOT].rate = 0;
	limits.used[SLOT].rate_at = 0;
	ck_assert_int_eq(count(0), EDQUOT);
}
END_TEST

START_TEST(P03_a_rate_is_had_at_once_and_comes_back)
{
	unsigned n = 0;

	granted[PARENT].rate = 10;
	while (n < 100 && count(0) == 0)
		n++;
	/* More only when this took a tenth of a second. */
	ck_assert_uint_ge(n, 10);
	ck_assert_uint_lt(n, 30);
	ck_assert_str_eq(reason, "its rate is reached");
	usleep(150000);
	ck_assert_int_eq(count(0), 0);
	/* What is refused by another limit costs nothing of it. */
	granted[ORIGIN].calls_limit = 0;
	limits.used[PARENT].rate_at = 0;
	ck_assert_int_eq(count(0), EDQUOT);
	ck_assert_uint_eq(limits.used[PARENT].rate_at, 0);
}
END_TEST

struct worker {
	pthread_t thread;
	uint32_t index;
	uint64_t capability;
	unsigned n;
};

static void *
work(void *data)
{
	struct worker *w = data;
	const char *why;

	for (unsigned i = 0; i < 40000; i++)
		if (limits_count(&limits, w->index, w->capability, 0, &why) == 0)
			w->n++;
	return NULL;
}

/* Two capabilities of one parent, whose limit is met from both sides. */
static void
limit_all(void)
{
	grant(6, 106, PARENT, PARENT_ID);
	granted[SLOT].calls_limit = 9000;
	granted[6].calls_limit = 9000;
	granted[PARENT].calls_limit = 12345;
	granted[ORIGIN].calls_limit = 20000;
}

START_TEST(many_threads_never_exceed_a_limit)
{
	struct worker workers[WORKERS];
	unsigned n = 0;

	limit_all();
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.index = i % 2 ? 6 : SLOT, .capability = i % 2 ? 106 : SLOT_ID};
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		n += workers[i].n;
	}
	/* All of it was had, as all went on when there was still some. */
	ck_assert_uint_eq(n, 12345);
	ck_assert_uint_eq(limits.used[PARENT].calls, 12345);
	ck_assert_uint_eq(limits.used[ORIGIN].calls, 12345);
	ck_assert_uint_eq(limits.used[SLOT].calls + limits.used[6].calls, 12345);
	ck_assert_uint_le(limits.used[SLOT].calls, 9000);
	ck_assert_uint_le(limits.used[6].calls, 9000);
}
END_TEST

START_TEST(many_processes_never_exceed_a_limit)
{
	unsigned *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[WORKERS];
	unsigned n = 0;

	limit_all();
	for (unsigned i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			struct worker w = {.index = i % 2 ? 6 : SLOT, .capability = i % 2 ? 106 : SLOT_ID};

			work(&w);
			made[i] = w.n;
			_exit(0);
		}
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
		n += made[i];
	}
	munmap(made, 4096);
	ck_assert_uint_eq(n, 12345);
	ck_assert_uint_eq(limits.used[PARENT].calls, 12345);
}
END_TEST

static void *
end_it(void *data)
{
	usleep(2000);
	__atomic_store_n(&granted[PARENT].capability, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

START_TEST(an_end_is_seen_by_the_next_call)
{
	pthread_t thread;
	int r = 0;

	granted[PARENT].calls_limit = UINT64_MAX - 1;
	ck_assert_int_eq(pthread_create(&thread, NULL, end_it, NULL), 0);
	while (r == 0)
		r = count(0);
	ck_assert_int_eq(r, ENOENT);
	pthread_join(thread, NULL);
	ck_assert_int_eq(count(0), ENOENT);
}
END_TEST

/* As the daemon adjusts: many calls of method 1, or a few of any. */
static void *
adjust_it(void *data)
{
	struct granted_entry *g = &granted[SLOT];

	for (uint64_t i = 1; i <= 200000; i++) {
		bool many = i % 2;

		__atomic_store_n(&g->sequence, i * 2 + 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_RELEASE);
		__atomic_store_n(&g->calls_limit, many ? PAGES_NO_LIMIT : 0, __ATOMIC_RELAXED);
		__atomic_store_n(&g->methods[0], many ? 1 | UINT64_C(1) << 32 : (uint64_t)UINT32_MAX << 32,
			__ATOMIC_RELAXED);
		__atomic_store_n(&g->sequence, i * 2, __ATOMIC_RELEASE);
	}
	__atomic_store_n((bool *)data, true, __ATOMIC_RELEASE);
	return NULL;
}

START_TEST(P39_before_or_after_and_no_mixture)
{
	bool done = false;
	pthread_t thread;

	granted[SLOT].methods[0] = 1 | UINT64_C(1) << 32;
	ck_assert_int_eq(pthread_create(&thread, NULL, adjust_it, &done), 0);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		ck_assert_int_ne(count(2), 0);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(other_files_are_no_pages)
{
	int unsealed = page_new(PAGES_USED_BYTES, F_SEAL_SHRINK), small = page_new(4096, SEALS);
	int pipes[2];
	struct limits none = {};

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	ck_assert_int_eq(limits_map(granted_fd, unsealed, &none), -EBADMSG);
	ck_assert_int_eq(limits_map(granted_fd, small, &none), -EBADMSG);
	ck_assert_int_eq(limits_map(granted_fd, pipes[0], &none), -EBADMSG);
	ck_assert_int_eq(limits_map(used_fd, used_fd, &none), -EBADMSG);
	ck_assert_int_eq(limits_map(-1, used_fd, &none), -EBADMSG);
	((struct granted_header *)granted)->version = PAGES_VERSION + 1;
	ck_assert_int_eq(limits_map(granted_fd, used_fd, &none), -EPROTO);
	((struct granted_header *)granted)->magic = 0;
	ck_assert_int_eq(limits_map(granted_fd, used_fd, &none), -EBADMSG);
	ck_assert_ptr_null(none.granted);
	limits_unmap(&none);
	close(unsealed);
	close(small);
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("limits");
	TCase *t = tcase_create("limits");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, without_limits_nothing_is_counted);
	tcase_add_test(t, calls_count_along_the_ancestors);
	tcase_add_test(t, who_has_limits_is_known_without_a_call);
	tcase_add_test(t, Z42_methods_of_all_count);
	tcase_add_test(t, what_has_ended_is_refused);
	tcase_add_test(t, P10_at_the_edge_of_64_bits);
	tcase_add_test(t, P03_a_rate_is_had_at_once_and_comes_back);
	tcase_add_test(t, many_threads_never_exceed_a_limit);
	tcase_add_test(t, many_processes_never_exceed_a_limit);
	tcase_add_test(t, an_end_is_seen_by_the_next_call);
	tcase_add_test(t, P39_before_or_after_and_no_mixture);
	tcase_add_test(t, other_files_are_no_pages);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
