/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What capctl makes of the words of a command line. */
#include "config.h"

#include <check.h>
#include <errno.h>

#include "base/cleanup.h"
#include "capctl/names.h"
#include "capctl/options.h"
#include "capctl/why/why.h"
#include "tests/fixture.h"

static const struct place top = {.root = "/cap", .label = "init"};

static void
setup(void)
{
	fixture_setup();
}

static void
teardown(void)
{
	fixture_teardown();
}

static void
assert_node(const struct place *place, const char *folder, const char *word, const char *wanted)
{
	cleanup_text struct text t = {};

	ck_assert_int_eq(word_node(place, folder, word, &t), 0);
	ck_assert_str_eq(t.data, wanted);
}

START_TEST(words_are_nodes)
{
	assert_node(&top, "caps", "kv", "caps/kv");
	assert_node(&top, "sessions", "app", "sessions/app");
	assert_node(&top, "", "label", "label");
	assert_node(&top, "caps", "caps/kv", "caps/kv");
	assert_node(&top, "caps", "sessions/app/caps/kv", "sessions/app/caps/kv");
	assert_node(&top, "caps", "sessions//app/caps/kv/", "sessions/app/caps/kv");
	assert_node(&top, "caps", "app:kv", "sessions/app/caps/kv");
	assert_node(&top, "caps", "app/db:kv", "sessions/app/sessions/db/caps/kv");
	assert_node(&top, "caps", "/cap/sessions/app/caps/kv", "sessions/app/caps/kv");
	assert_node(&top, "caps", "init/app/db/caps/kv", "sessions/app/sessions/db/caps/kv");
	assert_node(&top, "caps", "init/caps/kv", "caps/kv");
	assert_node(&top, "caps", "init/entrypoints/kv", "entrypoints/kv");
	assert_node(&top, "sessions", "init/app/db", "sessions/app/sessions/db");
}
END_TEST

START_TEST(a_session_may_be_called_caps)
{
	assert_node(&top, "caps", "init/caps/caps/kv", "sessions/caps/caps/kv");
	assert_node(&top, "caps", "caps:kv", "sessions/caps/caps/kv");
	ck_assert_int_eq(node_kind("sessions/caps/caps/kv"), NODE_SLOT);
	ck_assert_int_eq(node_kind("sessions/caps"), NODE_SESSION);
}
END_TEST

START_TEST(session_is_put_before)
{
	const struct place place = {.root = "/cap/", .label = "init/web", .session = "app/db"};

	assert_node(&place, "caps", "kv", "sessions/app/sessions/db/caps/kv");
	assert_node(&place, "caps", "x:kv", "sessions/app/sessions/db/sessions/x/caps/kv");
	assert_node(&place, "caps", "caps/kv", "sessions/app/sessions/db/caps/kv");
	assert_node(&place, "", "events", "sessions/app/sessions/db/events");
	/* What is named from the root is not put below it. */
	assert_node(&place, "caps", "/cap/caps/kv", "caps/kv");
	assert_node(&place, "caps", "init/web/caps/kv", "caps/kv");
}
END_TEST

START_TEST(what_the_daemon_says_is_below_or_not_there)
{
	const struct place place = {.root = "/cap", .label = "init/web"};
	cleanup_text struct text t = {}, own = {}, label = {};

	ck_assert_int_eq(label_node(&place, "init/web/db/caps/kv", &t), 0);
	ck_assert_str_eq(t.data, "sessions/db/caps/kv");
	ck_assert_int_eq(label_node(&place, "init/web", &own), 0);
	ck_assert_uint_eq(own.n, 0);
	ck_assert_int_eq(label_node(&place, "init/caps/kv", &own), -ENOENT);
	ck_assert_int_eq(label_node(&place, "init/webs/caps/kv", &own), -ENOENT);
	session_label(&place, "sessions/db/sessions/x", &label);
	ck_assert_str_eq(label.data, "init/web/db/x");
}
END_TEST

START_TEST(rules_are_found_and_words_are_the_shells)
{
	static const char rules[] = "calls refused limit=2 used=2 left=0 at=7\nconns ok\nrefused calls EDQUOT\n";
	cleanup_text struct text details = {}, none = {}, word = {};
	bool refused;

	ck_assert(rule_find(rules, "calls", &refused, &details) && refused);
	ck_assert_str_eq(details.data, "limit=2 used=2 left=0 at=7");
	ck_assert(rule_find(rules, "conns", &refused, &none) && !refused && none.n == 0);
	ck_assert(!rule_find(rules, "call", &refused, &none) && !rule_find(rules, "rate", &refused, &none));
	add_shell_word("/cap/sessions/ci", &word);
	add_shell_word("; rm 'x'", &word);
	add_shell_word("", &word);
	ck_assert_str_eq(word.data, "/cap/sessions/ci'; rm '\\''x'\\'''''");
}
END_TEST

START_TEST(bad_words_are_refused)
{
	static const char *const words[] = {"", "..", "../caps/kv", "caps/../../x", ".bind", "a b",
		"a\nb", "app:", "app:kv/x", "app//db:kv", "/etc/passwd", "/capx/caps/kv",
		"caf\xc3\xa9"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		cleanup_text struct text t = {};

		ck_assert_msg(word_node(&top, "caps", words[i], &t) == -EINVAL, "'%s'", words[i]);
	}
}
END_TEST

START_TEST(sessions_are_paths)
{
	cleanup_text struct text a = {};
	cleanup_text struct text b = {};
	cleanup_text struct text c = {};

	ck_assert_int_eq(session_node("app/db", &a), 0);
	ck_assert_str_eq(a.data, "sessions/app/sessions/db");
	ck_assert_int_eq(session_node("sessions/app", &b), 0);
	ck_assert_str_eq(b.data, "sessions/app");
	ck_assert_int_eq(session_node("app/", &c), -EINVAL);
	ck_assert_int_eq(session_node("/app", &c), -EINVAL);
}
END_TEST

START_TEST(kinds_go_by_shape)
{
	ck_assert_int_eq(node_kind(""), NODE_SESSION);
	ck_assert_int_eq(node_kind("sessions/a/sessions/b"), NODE_SESSION);
	ck_assert_int_eq(node_kind("sessions"), NODE_OTHER);
	ck_assert_int_eq(node_kind("caps"), NODE_OTHER);
	ck_assert_int_eq(node_kind("caps/kv"), NODE_SLOT);
	ck_assert_int_eq(node_kind("caps/kv/info"), NODE_OTHER);
	ck_assert_int_eq(node_kind("sessions/a/entrypoints/kv"), NODE_ENTRYPOINT);
	ck_assert_int_eq(node_kind("threads/1.1"), NODE_THREAD);
	ck_assert_int_eq(node_kind("sessions/a/quota"), NODE_OTHER);
	ck_assert_str_eq(node_name("sessions/a"), "a");
	ck_assert_str_eq(node_name("a"), "a");
}
END_TEST

static void
assert_field(const char *text, const char *line, const char *key, const char *wanted)
{
	cleanup_text struct text t = {};

	ck_assert_int_eq(field_find(text, line, key, &t), wanted != NULL);
	if (wanted)
		ck_assert_str_eq(t.data ? t.data : "", wanted);
}

START_TEST(fields_are_found)
{
	const char *info = "type=object\nobject=12 badge=0x4c\nrights=call,grant\n"
			   "calls limit=100 used=3 left=97\nconns limit=4 used=1 left=3\n"
			   "parent=init/caps/kv id=31\nexpires=\n";

	assert_field(info, NULL, "type", "object");
	assert_field(info, NULL, "badge", "0x4c");
	assert_field(info, NULL, "id", "31");
	assert_field(info, "conns", "limit", "4");
	assert_field(info, "calls", "used", "3");
	assert_field(info, NULL, "expires", "");
	assert_field(info, NULL, "ject", NULL);
	assert_field(info, "rate", "limit", NULL);
	assert_field("", NULL, "type", NULL);
}
END_TEST

START_TEST(words_are_joined)
{
	cleanup_text struct text t = {};

	ck_assert_int_eq(word_append(&t, "to", "app"), 0);
	ck_assert_int_eq(word_append(&t, NULL, "conns=4"), 0);
	ck_assert_str_eq(t.data, "to=app conns=4");
	ck_assert_int_eq(word_append(&t, "to", "app rights=grant"), -EINVAL);
	ck_assert_int_eq(word_append(&t, NULL, "conns=4\n"), -EINVAL);
	ck_assert_int_eq(word_append(&t, "id", ""), -EINVAL);
	ck_assert_str_eq(t.data, "to=app conns=4");
}
END_TEST

START_TEST(options_are_for_their_commands)
{
	char *revoke[] = {(char[]){"revoke"}, (char[]){"kv"}, (char[]){"--from=app"}, NULL};
	char *drop[] = {(char[]){"drop"}, (char[]){"kv"}, (char[]){"--from=app"}, NULL};
	char *serve[] = {(char[]){"serve"}, (char[]){"--inetd"}, (char[]){"x"}, (char[]){"--"},
		(char[]){"ls"}, (char[]){"--all"}, NULL};
	struct options o = {};

	ck_assert_int_eq(options_parse(&o, 3, revoke, OPTIONS_GLOBAL | OPTION_FROM, false), 2);
	ck_assert_str_eq(o.from, "app");
	ck_assert_str_eq(revoke[2], "kv");
	ck_assert_int_eq(options_parse(&o, 3, drop, OPTIONS_GLOBAL, false), -EINVAL);
	o = (struct options){};
	ck_assert_int_eq(options_parse(&o, 6, serve, OPTIONS_GLOBAL | OPTION_INETD, false), 3);
	ck_assert(options_have(&o, OPTION_INETD) && !options_have(&o, OPTION_ALL));
	ck_assert_str_eq(serve[3], "x");
	ck_assert_str_eq(serve[5], "--all");
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("capctl");
	TCase *c = tcase_create("words");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, words_are_nodes);
	tcase_add_test(c, a_session_may_be_called_caps);
	tcase_add_test(c, session_is_put_before);
	tcase_add_test(c, bad_words_are_refused);
	tcase_add_test(c, what_the_daemon_says_is_below_or_not_there);
	tcase_add_test(c, rules_are_found_and_words_are_the_shells);
	tcase_add_test(c, sessions_are_paths);
	tcase_add_test(c, kinds_go_by_shape);
	tcase_add_test(c, fields_are_found);
	tcase_add_test(c, words_are_joined);
	tcase_add_test(c, options_are_for_their_commands);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
