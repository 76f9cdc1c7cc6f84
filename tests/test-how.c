/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P36 */
/*
 * Commands that a program puts together: the daemon's own grammar reads what was added, as one key with one
 * value, or it was refused; and what was refused is no command at all.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/ops/grammar.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static capc_how *how;

static void
setup(void)
{
	fixture_setup();
	ck_assert_int_eq(capc_how_new(&how), 0);
}

static void
teardown(void)
{
	how = capc_how_free(how);
	ck_assert_ptr_null(how);
	fixture_teardown();
}

/* Does the grammar read TEXT as a command? Every key may be in it. */
static bool
parse(struct world *w, const char *text, struct command *ret)
{
	return command_parse(ask(w), text, strlen(text), ~(key_set)0, ret);
}

START_TEST(words_are_added_one_by_one)
{
	ck_assert_str_eq(capc_how_text(how), "");
	ck_assert_int_eq(capc_how_add(how, "as", "kv"), 0);
	ck_assert_int_eq(capc_how_add(how, "rights", "call,grant"), 0);
	ck_assert_int_eq(capc_how_add_number(how, "calls", UINT64_MAX), 0);
	ck_assert_int_eq(capc_how_add(how, "immutable", NULL), 0);
	ck_assert_str_eq(capc_how_text(how), "as=kv rights=call,grant calls=18446744073709551615 immutable");
}
END_TEST

START_TEST(caveats_are_quoted_and_may_be_several)
{
	ck_assert_int_eq(capc_how_add(how, "only", "GET /x rights=call"), 0);
	ck_assert_int_eq(capc_how_add(how, "only", "a\"b\\"), 0);
	ck_assert_str_eq(capc_how_text(how), "only=\"GET /x rights=call\" only=\"a\\\"b\\\\\"");
	ck_assert_int_eq(capc_how_add(how, "only", ""), -EINVAL);
}
END_TEST

static const struct {
	const char *key, *value;
} refused[] = {
	{"as", ""},
	{"as", "guestkv rights=call,grant,replicate,reduce,transfer"},
	{"as", " kv"},
	{"as", "kv "},
	{"as", "kv\tconns=none"},
	{"as", "kv\nconns=none"},
	{"as", "\"kv\""},
	{"as", "k\303\244v"},
	{"as", "\177"},
	{"only", "a\nb"},
	{"", "x"},
	{"", NULL},
	{"as=x rights", "call"},
	{"as rights", "call"},
	{"immutable rights=call", NULL},
	{"As", "kv"},
};

START_TEST(P36_what_the_grammar_does_not_allow_is_refused)
{
	ck_assert_int_eq(capc_how_add(how, "conns", "1"), 0);
	ck_assert_int_eq(capc_how_add(how, refused[_i].key, refused[_i].value), -EINVAL);
	/* It stays so, whatever comes, and no verb takes what there is: not the part before, and not nothing. */
	ck_assert_int_eq(capc_how_add(how, "as", "kv"), -EINVAL);
	ck_assert_str_eq(capc_how_text(how), "!refused");
}
END_TEST

START_TEST(a_key_comes_once)
{
	ck_assert_int_eq(capc_how_add(how, "conns", "1"), 0);
	ck_assert_int_eq(capc_how_add(how, "conn", "1"), 0);
	ck_assert_int_eq(capc_how_add(how, "conns", "9"), -EEXIST);
	ck_assert_str_eq(capc_how_text(how), "!refused");
}
END_TEST

START_TEST(what_was_refused_is_no_command_of_the_daemon)
{
	struct command c;
	struct world w;

	world_init(&w);
	capc_how_add(how, "as", "a b");
	ck_assert(!parse(&w, capc_how_text(how), &c));
	ck_assert_int_eq(w.request.error, EINVAL);
	world_deinit(&w);
}
END_TEST

/* Every byte, alone, first, in the middle and last: what is added is read as it was, and as nothing else. */
START_TEST(P36_the_daemon_reads_what_was_added_and_nothing_else)
{
	static const char *const places[] = {"?", "?b", "a?b", "a?"};
	unsigned n_taken = 0;
	struct command c;
	struct world w;

	world_init(&w);
	for (int byte = 1; byte < 256; byte++)
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			char value[4];
			capc_how *one;

			strcpy(value, places[i]);
			*strchr(value, '?') = (char)byte;
			ck_assert_int_eq(capc_how_new(&one), 0);
			capc_how_add(one, "conns", "1");
			if (capc_how_add(one, "as", value) == 0) {
				n_taken++;
				ck_assert(parse(&w, capc_how_text(one), &c));
				ck_assert(c.given == (KEY_BIT(KEY_CONNS) | KEY_BIT(KEY_AS)));
				ck_assert(command_is(&c, KEY_AS, value));
			}
			capc_how_free(one);
		}
	ck_assert_uint_eq(n_taken, 4 * ('~' - ' ') - 2);
	world_deinit(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("how");
	TCase *c = tcase_create("how");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, words_are_added_one_by_one);
	tcase_add_test(c, caveats_are_quoted_and_may_be_several);
	tcase_add_loop_test(c, P36_what_the_grammar_does_not_allow_is_refused, 0,
		(int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(c, a_key_comes_once);
	tcase_add_test(c, what_was_refused_is_no_command_of_the_daemon);
	tcase_add_test(c, P36_the_daemon_reads_what_was_added_and_nothing_else);
	suite_add_tcase(s, c);
	return fixture_main(s);
}
