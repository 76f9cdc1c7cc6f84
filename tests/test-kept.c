/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Texts that are kept for a moment. */
#include "config.h"

#include <check.h>
#include <string.h>

#include "base/kept.h"
#include "base/text.h"
#include "tests/fixture.h"

static struct kept kept;

static void
setup(void)
{
	fixture_setup();
	kept_init(&kept);
}

static void
teardown(void)
{
	kept_deinit(&kept);
	ck_assert_uint_eq(kept.n, 0);
	ck_assert_uint_eq(kept.n_bytes, 0);
	fixture_teardown();
}

static void
put(uint64_t number, uint64_t now_usec, size_t n)
{
	struct text t = {};

	for (size_t i = 0; i < n; i++)
		text_add(&t, "x");
	kept_put(&kept, number, now_usec, &t);
	ck_assert_uint_eq(t.n, 0);
}

static bool
has(uint64_t number, uint64_t now_usec, size_t n)
{
	struct text t = {};
	bool found = kept_copy(&kept, number, now_usec, &t);

	ck_assert(!found || t.n == n);
	text_deinit(&t);
	return found;
}

START_TEST(they_are_found_by_their_numbers)
{
	put(1, 0, 10);
	put(2, 0, 0);
	ck_assert(has(1, 0, 10) && has(1, 0, 10) && has(2, 0, 0) && !has(3, 0, 0));
	put(1, 0, 20);
	ck_assert(has(1, 0, 20));
	ck_assert_uint_eq(kept_length(&kept, 1), 20);
	ck_assert_uint_eq(kept_length(&kept, 3), 0);
	kept_drop(&kept, 1);
	kept_drop(&kept, 1);
	ck_assert(!has(1, 0, 20) && has(2, 0, 0));
}
END_TEST

START_TEST(they_are_kept_for_a_moment)
{
	put(1, 5, 10);
	ck_assert(has(1, 5 + KEPT_USEC, 10));
	ck_assert(!has(1, 6 + KEPT_USEC, 10));
}
END_TEST

START_TEST(they_are_few)
{
	for (uint64_t i = 1; i <= KEPT_MAX + 1; i++)
		put(i, 0, 1);
	ck_assert_uint_eq(kept.n, KEPT_MAX);
	ck_assert(!has(1, 0, 1) && has(2, 0, 1) && has(KEPT_MAX + 1, 0, 1));
}
END_TEST

START_TEST(they_are_small_together)
{
	put(1, 0, KEPT_BYTES_MAX / 4);
	put(2, 0, KEPT_BYTES_MAX / 4);
	put(3, 0, KEPT_BYTES_MAX / 4);
	ck_assert_uint_le(kept.n_bytes, KEPT_BYTES_MAX);
	ck_assert(!has(1, 0, 0) && has(3, 0, KEPT_BYTES_MAX / 4));
	/* One that is too large takes nobody's place, and is not mistaken for what was there before. */
	put(3, 0, KEPT_BYTES_MAX + 1);
	ck_assert(!has(3, 0, 0));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("kept");
	TCase *t = tcase_create("kept");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, they_are_found_by_their_numbers);
	tcase_add_test(t, they_are_kept_for_a_moment);
	tcase_add_test(t, they_are_few);
	tcase_add_test(t, they_are_small_together);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
