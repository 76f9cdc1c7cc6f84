/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long the holder waits before the next broker, and when it takes one for one that hangs. And
 * what it and the keeper have in common: how a child is born, when it is due again, how it is ended.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/backoff.h"
#include "capfsd/process/child.h"
#include "capfsd/process/page.h"
#include "capfsd/process/watchdog.h"
#include "tests/fixture.h"

#define SECOND UINT64_C(1000000)

START_TEST(the_first_failures_are_free)
{
	struct backoff b = {.n_free = 2, .first_usec = 50, .max_usec = 400};

	for (int times = 0; times < 2; times++) {
		ck_assert_uint_eq(backoff_add(&b), 0);
		ck_assert_uint_eq(backoff_add(&b), 0);
		ck_assert_uint_eq(backoff_add(&b), 50);
		ck_assert_uint_eq(backoff_add(&b), 100);
		ck_assert_uint_eq(backoff_add(&b), 200);
		/* Once it is at its bound it stays there, for ever. */
		for (int i = 0; i < 1000; i++)
			ck_assert_uint_eq(backoff_add(&b), 400);
		backoff_reset(&b);
	}
	b.n = UINT32_MAX;
	ck_assert_uint_eq(backoff_add(&b), 400);
	ck_assert_uint_eq(b.n, UINT32_MAX);
}
END_TEST

static bool
look(struct watchdog *w, const struct boot_page *page, uint64_t now_usec)
{
	return watchdog_look(w, page->turns, page->ready, getpid(), now_usec);
}

START_TEST(who_turns_is_left_alone)
{
	struct boot_page page = {.ready = 1};
	struct watchdog w;

	watchdog_init(&w);
	watchdog_begin(&w, SECOND);
	ck_assert_uint_eq(watch_at(&w), 11 * SECOND);
	for (uint64_t now = 11; now < 1000; now += 10) {
		ck_assert(look(&w, &page, now * SECOND));
		ck_assert_uint_eq(watch_at(&w), (now + 10) * SECOND);
		page.turns++;
	}
}
END_TEST

/* The next look after the one that asked. */
START_TEST(who_does_not_turn_hangs)
{
	struct boot_page page = {.ready = 1, .turns = 7};
	struct watchdog w;

	watchdog_init(&w);
	watchdog_begin(&w, 0);
	ck_assert(look(&w, &page, 10 * SECOND));
	ck_assert(!look(&w, &page, 20 * SECOND));
	/* What the one before had counted says nothing about its successor. */
	watchdog_begin(&w, 20 * SECOND);
	ck_assert(look(&w, &page, 30 * SECOND));
	page.turns++;
	ck_assert(look(&w, &page, 40 * SECOND));
}
END_TEST

/* Who kills brokers must not have requests refused, however often he meets the same one. */
START_TEST(a_request_is_blamed_for_what_it_does)
{
	struct boot_page page = {};

	for (int i = 0; i < 5; i++) {
		ck_assert(boot_page_enter(&page, 7));
		ck_assert(!boot_page_died(&page, false));
	}
	ck_assert(boot_page_enter(&page, 7));
	ck_assert(!boot_page_died(&page, true));
	ck_assert(boot_page_enter(&page, 7));
	ck_assert(!boot_page_died(&page, false));
	ck_assert(boot_page_enter(&page, 7));
	ck_assert(boot_page_died(&page, true));
	ck_assert(!boot_page_enter(&page, 7));
	ck_assert(boot_page_enter(&page, 8));
	ck_assert(!boot_page_died(&page, true));
}
END_TEST

START_TEST(who_loads_has_two_minutes)
{
	struct boot_page page = {};
	struct watchdog w;
	uint64_t now;

	watchdog_init(&w);
	watchdog_begin(&w, 0);
	for (now = 10; now < 120; now += 10)
		ck_assert(look(&w, &page, now * SECOND));
	ck_assert(!look(&w, &page, now * SECOND));
	page.ready = 1;
	ck_assert(look(&w, &page, now * SECOND));
	ck_assert(!look(&w, &page, now * SECOND));
}
END_TEST

/* Half of what systemd is ready to wait, unless that is longer than we would wait anyway, or no number. */
START_TEST(as_often_as_systemd_is_told)
{
	static const struct {
		const char *text;
		uint64_t period;
	} cases[] = {
		{"1000000", SECOND / 2},
		{"30000000", 10 * SECOND},
		{"0", 10 * SECOND},
		{"1", 10 * SECOND},
		{"often", 10 * SECOND},
		{"", 10 * SECOND},
	};
	struct watchdog w;

	setenv("WATCHDOG_USEC", cases[_i].text, 1);
	watchdog_init(&w);
	ck_assert_uint_eq(w.period_usec, cases[_i].period);
}
END_TEST

/* That the pair hangs up when the child has ended shows that nobody else has the child's end. */
START_TEST(a_pair_has_one_end_in_each_process)
{
	cleanup_close int fd = -1;
	pid_t pid = child_fork(SOCK_SEQPACKET, &fd);
	char byte = 0;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* Gives the byte back, and stays until the parent has nothing more to say. */
		ssize_t n = read(fd, &byte, 1);

		_exit(n == 1 && write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 0 ? 0 : 1);
	}
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(read(fd, &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
	ck_assert(!child_is_gone(fd, 0));
	shutdown(fd, SHUT_WR);
	ck_assert(child_is_gone(fd, 10000));
	ck_assert_int_eq(child_wait(pid, 10000), 0);
}
END_TEST

START_TEST(one_that_has_lived_is_due_at_once)
{
	struct child c = {.backoff = {.first_usec = 100000, .max_usec = 400000}};

	for (uint64_t pause = 100; pause <= 400; pause *= 2) {
		child_started(&c, 1);
		ck_assert_uint_eq(child_ended(&c), c.since_msec + pause);
		ck_assert_int_eq(c.pid, 0);
	}
	/* Long ago: its pause is over, and the next failure is the first. */
	child_started(&c, 1);
	c.since_msec -= 6000;
	ck_assert_uint_eq(child_ended(&c), c.since_msec + 100);
}
END_TEST

START_TEST(one_that_is_ended_is_gone)
{
	struct child c = {};
	pid_t pid;

	for (int msec = -1; msec <= 10000; msec += 10001) {
		pid = fork();
		if (pid == 0)
			for (;;)
				pause();
		child_started(&c, pid);
		child_end(&c, msec);
		ck_assert_int_eq(c.pid, 0);
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1);
		ck_assert_int_eq(errno, ECHILD);
	}
	/* None is running: above all, not we. */
	child_end(&c, -1);
	child_signal(&c, SIGKILL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("holder");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, fixture_setup, fixture_teardown);
	tcase_add_test(t, the_first_failures_are_free);
	tcase_add_test(t, who_turns_is_left_alone);
	tcase_add_test(t, who_does_not_turn_hangs);
	tcase_add_test(t, a_request_is_blamed_for_what_it_does);
	tcase_add_test(t, who_loads_has_two_minutes);
	tcase_add_test(t, a_pair_has_one_end_in_each_process);
	tcase_add_test(t, one_that_has_lived_is_due_at_once);
	tcase_add_test(t, one_that_is_ended_is_gone);
	tcase_add_loop_test(t, as_often_as_systemd_is_told, 0, 6);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
