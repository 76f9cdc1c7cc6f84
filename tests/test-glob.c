/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P38 */
/* What a service makes of caveats: patterns, and groups of which each must have one that allows. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libcap-client/cap-client.h"
#include "tests/fixture.h"

START_TEST(patterns_match_all_of_a_text)
{
	static const struct {
		const char *pattern, *text;
		int is;
	} rows[] = {
		{"", "", 1},
		{"", "a", 0},
		{"GET /images/json", "GET /images/json", 1},
		{"GET /images/json", "GET /images/json?x", 0},
		{"GET /images/json", "XGET /images/json", 0},
		{"GET /images/*", "GET /images/json", 1},
		{"GET /images/*", "GET /images/", 1},
		{"GET /images/*", "GET /images/a/json", 0},
		{"GET /images/*/json", "GET /images/a/json", 1},
		{"GET /images/*/json", "GET /images/a/b/json", 0},
		{"GET /containers/**", "GET /containers/a/b/json", 1},
		{"GET /containers/**", "GET /containers/", 1},
		{"GET /containers/**", "GET /containers", 0},
		{"GET /**/json", "GET /a/b/json", 1},
		{"GET /**/json", "GET /json", 0},
		{"**", "", 1},
		{"***", "a/b", 1},
		{"*", "a b", 1},
		{"*", "a/b", 0},
		{"*a*b", "xxaxxb", 1},
		{"*a*b", "xxaxx", 0},
		{"**/*.txt", "a/b/c.txt", 1},
		{"**/*.txt", "a/b.txt/c", 0},
		{"a?c", "abc", 1},
		{"a?c", "a/c", 0},
		{"a?c", "ac", 0},
		{"[a-c]x", "bx", 1},
		{"[a-c]x", "dx", 0},
		{"[!a-c]x", "dx", 1},
		{"[!a-c]x", "ax", 0},
		{"[!a]x", "/x", 0},
		{"[/]x", "/x", 0},
		{"[]]x", "]x", 1},
		{"[!]]x", "]x", 0},
		{"[-a]", "-", 1},
		{"[a-]", "-", 1},
		{"[a-]", "b", 0},
		{"\\*", "*", 1},
		{"\\*", "a", 0},
		{"a\\\\", "a\\", 1},
		{"[", "[", -EINVAL},
		{"[]", "]", -EINVAL},
		{"[!", "!", -EINVAL},
		{"a\\", "a\\", -EINVAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(capc_glob(rows[i].pattern, rows[i].text) == rows[i].is, "'%s' '%s'",
			rows[i].pattern, rows[i].text);
}
END_TEST

START_TEST(a_pattern_is_as_long_as_a_caveat)
{
	char pattern[242];

	memset(pattern, 'a', sizeof(pattern) - 1);
	pattern[241] = '\0';
	ck_assert_int_eq(capc_glob(pattern, "a"), -EINVAL);
	pattern[240] = '\0';
	ck_assert_int_eq(capc_glob(pattern, pattern), 1);
}
END_TEST

static double
seconds(const char *pattern, size_t n)
{
	static char text[1 << 20];
	struct timespec start, end;

	memset(text, 'a', n);
	text[n] = '\0';
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	ck_assert_int_eq(capc_glob(pattern, text), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
}

/* Each star could begin anywhere: what tries them in turn takes the hundredth power of the length. */
START_TEST(many_stars_take_no_longer_than_few)
{
	char pattern[241] = "";

	for (int i = 0; i < 90; i++)
		strcat(pattern, i % 2 ? "a*" : "a**");
	strcat(pattern, "b");
	ck_assert(seconds(pattern, 1 << 16) < 5);
}
END_TEST

static const char two_groups[] = "GET /a/*\0GET /b\0\0GET **\0POST /a/x\0";

static const struct capc_caller caller = {.caveats = two_groups, .n_caveats = sizeof(two_groups)};

START_TEST(every_group_has_one_that_allows)
{
	static const struct capc_caller broken = {.caveats = "[\0", .n_caveats = 3};

	ck_assert_int_eq(capc_caveat_glob(&caller, "GET /a/x"), 1);
	ck_assert_int_eq(capc_caveat_glob(&caller, "GET /b"), 1);
	/* Of one group only. */
	ck_assert_int_eq(capc_caveat_glob(&caller, "POST /a/x"), 0);
	ck_assert_int_eq(capc_caveat_glob(&caller, "GET /c"), 0);
	/* None at all, and none that can be understood. */
	ck_assert_int_eq(capc_caveat_glob(&(struct capc_caller){.caveats = ""}, "x"), 1);
	ck_assert_int_eq(capc_caveat_glob(&(struct capc_caller){}, "x"), 1);
	ck_assert_int_eq(capc_caveat_glob(&broken, "["), 0);
}
END_TEST

static int
write_down(unsigned group, const char *text, void *data)
{
	sprintf((char *)data + strlen(data), "%u:%s ", group, text);
	return strcmp(text, "GET **") == 0 ? 7 : 0;
}

START_TEST(a_server_reads_them_in_order)
{
	char all[200] = "";

	ck_assert_int_eq(capc_caveats(&caller, write_down, all), 7);
	ck_assert_str_eq(all, "0:GET /a/* 0:GET /b 1:GET ** ");
	ck_assert_int_eq(capc_caveats(&(struct capc_caller){}, write_down, all), 0);
}
END_TEST

static int
fails(const char *text, void *data)
{
	return *text == *(const char *)data ? -EIO : 0;
}

START_TEST(an_error_is_no_verdict)
{
	static const char g[] = "G", p[] = "P";

	ck_assert_int_eq(capc_caveats_allow(&caller, fails, (void *)(uintptr_t)g), -EIO);
	ck_assert_int_eq(capc_caveats_allow(&caller, fails, (void *)(uintptr_t)p), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("glob");
	TCase *t = fixture_case(s, "glob", 20);

	tcase_add_test(t, patterns_match_all_of_a_text);
	tcase_add_test(t, a_pattern_is_as_long_as_a_caveat);
	tcase_add_test(t, many_stars_take_no_longer_than_few);
	tcase_add_test(t, every_group_has_one_that_allows);
	tcase_add_test(t, a_server_reads_them_in_order);
	tcase_add_test(t, an_error_is_no_verdict);
	return fixture_main(s);
}
