/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conformance: P21
 *
 * Texts that are made in pieces, while what they tell of comes and goes.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/tree/lists.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

#define N (4 * LISTS_PIECE_LINES + 3)

static struct world w;
static struct node file;
static struct reading at;
static struct text text;

/* A slot for each of N in init/app: s1, s2, … */
static void
setup(void)
{
	const struct quota plenty = {.n = {1 << 20, 1024, 64, 1 << 30, 256}};
	char command[64];

	world_init(&w);
	at = (struct reading){};
	ck_assert_int_eq(model_set_root_limit(w.model, &plenty), 0);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=10000 ram=10M"), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "sub", "caps=1000 ram=1M"), 0);
	for (unsigned i = 1; i <= N; i++) {
		snprintf(command, sizeof(command), "to=app as=s%u rights=call,grant", i);
		ck_assert_int_eq(put(&w, "caps/kv/grant", command), 0);
	}
	file = walk(&w, "caps/kv/holders");
}

static void
teardown(void)
{
	text_deinit(&text);
	text = (struct text){};
	world_deinit(&w);
}

static bool
piece(void)
{
	return tree_read_piece(ask(&w), file, &at, &text);
}

static unsigned
count(const char *part)
{
	unsigned n = 0;

	for (const char *p = text.data; p && (p = strstr(p, part)); p++)
		n++;
	return n;
}

static unsigned
count_slot(const char *name, unsigned i)
{
	char slot[64];

	snprintf(slot, sizeof(slot), "/caps/%s%u ", name, i);
	return count(slot);
}

/* Each of those from FIRST on stands there once, in the order of their numbers. */
static void
expect_slots(const char *name, unsigned first)
{
	for (unsigned i = first; i <= N; i++)
		ck_assert_msg(count_slot(name, i) == 1, "%u times %s%u", count_slot(name, i), name, i);
}

static void
drop(const char *dir, const char *name, unsigned i)
{
	char slot[64];

	snprintf(slot, sizeof(slot), "%s%u", name, i);
	ck_assert_int_eq(removed(&w, dir, slot), 0);
}

START_TEST(P21_pieces_are_the_whole_text)
{
	char *whole = text_of(&w, "caps/kv/holders");
	unsigned n = 1;

	while (piece())
		n++;
	ck_assert_str_eq(text.data, whole);
	ck_assert_uint_eq(n, 5);
	free(whole);
}
END_TEST

START_TEST(P21_what_was_told_last_may_go)
{
	ck_assert(piece());
	ck_assert_uint_eq(count("\n"), LISTS_PIECE_LINES);
	/* Also what comes next. */
	drop("sessions/app/caps", "s", LISTS_PIECE_LINES);
	drop("sessions/app/caps", "s", LISTS_PIECE_LINES + 1);
	ck_assert(piece());
	ck_assert_uint_eq(count_slot("s", LISTS_PIECE_LINES + 1), 0);
	while (piece())
		continue;
	expect_slots("s", LISTS_PIECE_LINES + 2);
	ck_assert_uint_eq(count("\n"), N - 1);
	ck_assert_uint_eq(count("more"), 0);
}
END_TEST

/* What was derived from it, too: it goes on behind that one's parent. */
START_TEST(P21_what_was_told_last_may_go_with_its_parent)
{
	char command[64];

	for (unsigned i = 1; i <= 2 * LISTS_PIECE_LINES; i++) {
		snprintf(command, sizeof(command), "to=sub as=x%u", i);
		ck_assert_int_eq(put(&w, "sessions/app/caps/s1/grant", command), 0);
	}
	ck_assert(piece());
	ck_assert_uint_eq(count_slot("x", 1), 1);
	drop("sessions/app/sessions/sub/caps", "x", LISTS_PIECE_LINES - 1);
	ck_assert(piece());
	ck_assert_uint_eq(count_slot("x", LISTS_PIECE_LINES), 1);
	/* All of them and their parent: nothing tells where it was. */
	drop("sessions/app/caps", "s", 1);
	while (piece())
		continue;
	expect_slots("s", 2);
	ck_assert_uint_eq(count("\n"), N - 1);
	ck_assert_uint_eq(count("more"), 0);
}
END_TEST

/* Whoever takes away what is being told neither has it be told without end nor hides anybody. */
START_TEST(P21_a_text_ends_whatever_goes)
{
	unsigned n = 0;

	do {
		if (at.n_lines > 0)
			at.last = at.last_parent = UINT64_MAX >> 8;
		ck_assert_uint_lt(n++, 10);
	} while (piece());
	expect_slots("s", 1);
	ck_assert_uint_eq(count("\n"), N);
}
END_TEST

/* … nor may another capability be taken for what was there. */
START_TEST(P21_places_are_those_of_this_text)
{
	ck_assert(piece());
	at.last = w.model->root->entity.id;
	at.last_parent = walk(&w, "sessions/app").entity->id;
	while (piece())
		continue;
	expect_slots("s", 1);
}
END_TEST

START_TEST(P21_objects_are_told_in_pieces)
{
	char command[64], *whole;
	unsigned n = 1;

	for (unsigned i = 1; i <= N; i++) {
		snprintf(command, sizeof(command), "key=%u as=o%u", i, i);
		ck_assert_int_eq(put(&w, "entrypoints/kv/objects", command), 0);
	}
	file = walk(&w, "entrypoints/kv/objects");
	whole = text_of(&w, "entrypoints/kv/objects");
	while (piece())
		n++;
	ck_assert_str_eq(text.data, whole);
	ck_assert_uint_gt(n, 5);
	free(whole);
}
END_TEST

START_TEST(P21_objects_may_go_meanwhile)
{
	char command[64];

	for (unsigned i = 1; i <= N; i++) {
		snprintf(command, sizeof(command), "key=%u as=o%u", i, i);
		ck_assert_int_eq(put(&w, "entrypoints/kv/objects", command), 0);
	}
	file = walk(&w, "entrypoints/kv/objects");
	ck_assert(piece());
	for (unsigned i = 2; i < N; i++)
		drop("caps", "o", i);
	while (piece())
		continue;
	snprintf(command, sizeof(command), "key=%u ", N);
	ck_assert_uint_eq(count(command), 1);
	ck_assert(text.data[text.n - 1] == '\n');
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lists");
	TCase *t = fixture_case(s, "lists", 60);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, P21_pieces_are_the_whole_text);
	tcase_add_test(t, P21_what_was_told_last_may_go);
	tcase_add_test(t, P21_what_was_told_last_may_go_with_its_parent);
	tcase_add_test(t, P21_a_text_ends_whatever_goes);
	tcase_add_test(t, P21_places_are_those_of_this_text);
	tcase_add_test(t, P21_objects_are_told_in_pieces);
	tcase_add_test(t, P21_objects_may_go_meanwhile);
	return fixture_main(s);
}
