/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conformance: P21 S20
 *
 * The picture of the sessions: what it shows, that it is made in pieces while sessions come and go, and that
 * nothing that somebody has named leads out of the quotes in which it stands.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/tree/graph.h"
#include "capfsd/tree/lists.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;
static struct text text;
static struct reading at;

static void
setup(void)
{
	const struct quota plenty = {.n = {1 << 20, 1 << 20, 1 << 20, UINT64_C(1) << 34, 1 << 20}};

	world_init(&w);
	at = (struct reading){};
	ck_assert_int_eq(model_set_root_limit(w.model, &plenty), 0);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=1000 sockets=1000 threads=100 ram=64M"), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "sub", "caps=100 ram=8M"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call,grant conns=10"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/grant", "to=sub"), 0);
}

static void
teardown(void)
{
	text_deinit(&text);
	text = (struct text){};
	world_deinit(&w);
}

static unsigned
count_in(const char *in, const char *part)
{
	unsigned n = 0;

	for (const char *p = in; p && (p = strstr(p, part)); p++)
		n++;
	return n;
}

/* Outside of strings each brace that is opened is closed, and strings are closed as well. */
static void
expect_whole(const char *dot)
{
	int depth = 0;
	bool quoted = false;

	for (const char *p = dot; *p; p++) {
		if (quoted && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && *p == '{')
			depth++;
		else if (!quoted && *p == '}')
			ck_assert_int_ge(--depth, 0);
	}
	ck_assert_int_eq(depth, 0);
	ck_assert(!quoted);
	ck_assert_str_eq(dot + strlen(dot) - 2, "}\n");
}

static bool
piece(const char *path)
{
	return tree_read_piece(ask(&w), walk(&w, path), &at, &text);
}

START_TEST(S20_who_may_call_whom)
{
	char *dot = text_of(&w, "graph.dot");

	expect_whole(dot);
	ck_assert_uint_eq(count_in(dot, "subgraph \"cluster_init/app/sub\""), 1);
	ck_assert_uint_eq(count_in(dot, "\"init/entrypoints/kv/0\" [label=\"kv\", class=\"object\""), 1);
	ck_assert_uint_eq(count_in(dot, " \"init/caps/kv\" -> \"init/entrypoints/kv/0\" [class=\"call\""), 1);
	ck_assert_uint_eq(count_in(dot,
		" \"init/app/caps/kv\" -> \"init/caps/kv\" [class=\"call\", label=\"conns 0/10\"]"), 1);
	/* A limit stands where it was set, and not once more on all that was derived from there. */
	ck_assert_uint_eq(count_in(dot,
		" \"init/app/sub/caps/kv\" -> \"init/app/caps/kv\" [class=\"call\", label=\"\"]"), 1);
	ck_assert_uint_eq(count_in(dot, "outside"), 0);
	free(dot);
}
END_TEST

/* From inside what is above is a stub, once more in the words of `info`. */
START_TEST(S20_of_what_is_above_there_is_a_stub)
{
	char *dot = text_of(&w, "sessions/app/graph.dot");

	expect_whole(dot);
	ck_assert_uint_eq(count_in(dot, "digraph \"init/app\" {"), 1);
	ck_assert_uint_eq(count_in(dot, "subgraph"), 2);
	ck_assert_uint_eq(count_in(dot, " \"init/caps/kv\" [label=\"kv\", class=\"outside\""), 1);
	ck_assert_uint_eq(count_in(dot, "entrypoints/kv"), 0);
	free(dot);
}
END_TEST

START_TEST(S20_near_a_limit_is_marked)
{
	struct capability *c = capability_of(walk(&w, "sessions/app/sessions/sub/caps/kv").entity);
	char *dot;

	for (int i = 0; i < 8; i++)
		capability_connected(c);
	dot = text_of(&w, "graph.dot");
	ck_assert_uint_eq(count_in(dot, "conns 8/10"), 1);
	ck_assert_uint_eq(count_in(dot, "class=\"call near\""), 0);
	free(dot);
	capability_connected(c);
	dot = text_of(&w, "graph.dot");
	ck_assert_uint_eq(count_in(dot, "[class=\"call near\", label=\"conns 9/10\""), 1);
	free(dot);
	for (int i = 0; i < 9; i++)
		capability_disconnected(c);
}
END_TEST

START_TEST(S20_a_quota_near_its_end_is_marked)
{
	char *dot;

	ck_assert_int_eq(make(&w, "sessions", "poor", "caps=1 ram=64K"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=poor rights=grant"), 0);
	dot = text_of(&w, "graph.dot");
	ck_assert_uint_eq(count_in(dot, "label=\"poor\\ncaps 1/1\"; class=\"session near\""), 1);
	ck_assert_uint_eq(count_in(dot, "class=\"session near\""), 1);
	/* Without the right it leads nowhere. */
	ck_assert_uint_eq(count_in(dot, "\"init/poor/caps/kv\" -> \"init/caps/kv\" [class=\"nocall\""), 1);
	free(dot);
}
END_TEST

#define WIDE 10000

/* No piece is longer than others, however many sessions there are. */
START_TEST(P21_ten_thousand_sessions_in_pieces)
{
	const char *few = "caps=1 ram=8K";
	char name[32], *whole;
	size_t before = 0, longest = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < WIDE; i++) {
		int length = snprintf(name, sizeof(name), "s%u", i);

		/* Without the checks of the model that make() does each time. */
		ck_assert_int_eq(tree_create(ask(&w), walk(&w, "sessions"), name, (size_t)length, few, strlen(few)), 0);
		ck_assert_int_eq(w.request.error, 0);
	}
	whole = text_of(&w, "graph.dot");
	do {
		if (text.n - before > longest)
			longest = text.n - before;
		before = text.n;
		n++;
	} while (piece("graph.dot"));
	ck_assert_str_eq(text.data, whole);
	ck_assert_uint_gt(n, WIDE / LISTS_PIECE_LINES);
	ck_assert_uint_lt(longest, LISTS_PIECE_LINES * 1024);
	ck_assert_uint_eq(count_in(whole, "subgraph \"cluster_init/s"), WIDE);
	ck_assert_uint_eq(count_in(whole, "more"), 0);
	expect_whole(whole);
	free(whole);
}
END_TEST

START_TEST(P21_as_deep_as_sessions_go)
{
	cleanup_text struct text path = {};
	char *dot;
	unsigned n = 0;

	text_add(&path, "sessions/app/sessions/sub/sessions");
	while (make(&w, path.data, "d", n ? "" : "caps=10 ram=4M") == 0) {
		text_add(&path, "/d/sessions");
		n++;
	}
	ck_assert_uint_gt(n, 4);
	dot = text_of(&w, "graph.dot");
	expect_whole(dot);
	ck_assert_uint_eq(count_in(dot, "subgraph"), n + 3);
	free(dot);
}
END_TEST

/* Each cluster is closed that was opened, and those that stayed are told, whoever goes. */
START_TEST(P21_sessions_go_while_they_are_told)
{
	char name[32], command[64];

	ck_assert_int_eq(make(&w, "sessions/app/sessions/sub/sessions", "leaf", "caps=60 ram=1M"), 0);
	for (unsigned i = 0; i < 2 * LISTS_PIECE_LINES; i++) {
		snprintf(command, sizeof(command), "to=sub/leaf as=x%u", i);
		ck_assert_int_eq(put(&w, "sessions/app/caps/kv/grant", command), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "later%u", i);
		ck_assert_int_eq(make(&w, "sessions", name, "caps=1 ram=64K"), 0);
	}
	while (piece("graph.dot") && count_in(text.data, "caps/x") == 0)
		continue;
	ck_assert_uint_eq(count_in(text.data, "cluster_init/app/sub/leaf"), 1);
	ck_assert_uint_eq(count_in(text.data, "later"), 0);
	ck_assert_int_eq(removed(&w, "sessions/app/sessions/sub/sessions", "leaf"), 0);
	ck_assert_int_eq(removed(&w, "sessions/app/sessions", "sub"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "app"), 0);
	while (piece("graph.dot"))
		continue;
	expect_whole(text.data);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "cluster_init/later%u\"", i);
		ck_assert_uint_eq(count_in(text.data, name), 1);
	}
}
END_TEST

static void
expect_quoted(const char *from, const char *wanted)
{
	cleanup_text struct text t = {};

	graph_quote(&t, from, strlen(from));
	ck_assert_str_eq(t.data, wanted);
}

START_TEST(names_do_not_leave_their_quotes)
{
	expect_quoted("GET /containers/**", "GET /containers/**");
	expect_quoted("\"]; evil [label=\"", "\\\"]; evil [label=\\\"");
	expect_quoted("\\\"", "∖\\\"");
	expect_quoted("\\N\\G", "∖N∖G");
	expect_quoted("&lt;script&gt;", "&amp;lt;script&amp;gt;");
	expect_quoted("<script>alert(1)</script>", "<script>alert(1)</script>");
	expect_quoted("a\nb\r\t\033[0m\177", "a\\nb   [0m ");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("graph");
	TCase *t = fixture_case(s, "graph", 60);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, S20_who_may_call_whom);
	tcase_add_test(t, S20_of_what_is_above_there_is_a_stub);
	tcase_add_test(t, S20_near_a_limit_is_marked);
	tcase_add_test(t, S20_a_quota_near_its_end_is_marked);
	tcase_add_test(t, P21_ten_thousand_sessions_in_pieces);
	tcase_add_test(t, P21_as_deep_as_sessions_go);
	tcase_add_test(t, P21_sessions_go_while_they_are_told);
	tcase_add_test(t, names_do_not_leave_their_quotes);
	return fixture_main(s);
}
