/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long the holder waits before the next broker, and when it takes one for one that hangs.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "capfsd/holder/watch.h"
#include "capfsd/process/backoff.h"
#include "capfsd/process/page.h"
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

START_TEST(who_turns_is_left_alone)
{
	struct boot_page page = {.ready = 1};
	struct watch w;

	watch_init(&w);
	watch_begin(&w, SECOND);
	ck_assert_uint_eq(watch_at(&w), 11 * SECOND);
	for (uint64_t now = 11; now < 1000; now += 10) {
		ck_assert(watch_look(&w, &page, getpid(), now * SECOND));
		ck_assert_uint_eq(watch_at(&w), (now + 10) * SECOND);
		page.turns++;
	}
}
END_TEST

/* The next look after the one that asked. */
START_TEST(who_does_not_turn_hangs)
{
	struct boot_page page = {.ready = 1, .turns = 7};
	struct watch w;

	watch_init(&w);
	watch_begin(&w, 0);
	ck_assert(watch_look(&w, &page, getpid(), 10 * SECOND));
	ck_assert(!watch_look(&w, &page, getpid(), 20 * SECOND));
	/* What the one before had counted says nothing about its successor. */
	watch_begin(&w, 20 * SECOND);
	ck_assert(watch_look(&w, &page, getpid(), 30 * SECOND));
	page.turns++;
	ck_assert(watch_look(&w, &page, getpid(), 40 * SECOND));
}
END_TEST

START_TEST(who_loads_has_two_minutes)
{
	struct boot_page page = {};
	struct watch w;
	uint64_t now;

	watch_init(&w);
	watch_begin(&w, 0);
	for (now = 10; now < 120; now += 10)
		ck_assert(watch_look(&w, &page, getpid(), now * SECOND));
	ck_assert(!watch_look(&w, &page, getpid(), now * SECOND));
	page.ready = 1;
	ck_assert(watch_look(&w, &page, getpid(), now * SECOND));
	ck_assert(!watch_look(&w, &page, getpid(), now * SECOND));
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
	struct watch w;

	setenv("WATCHDOG_USEC", cases[_i].text, 1);
	watch_init(&w);
	ck_assert_uint_eq(w.period_usec, cases[_i].period);
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
	tcase_add_test(t, who_loads_has_two_minutes);
	tcase_add_loop_test(t, as_often_as_systemd_is_told, 0, 6);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
