/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events: who sees which, what is kept, what it costs, and what a restart brings back. */
#include "config.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/model-world.h"

static struct world w;
static struct session *root, *app, *other;

static void
find_sessions(void)
{
	root = w.model->root;
	app = session_find(w.model, root, "app", 3);
	other = session_find(w.model, root, "other", 5);
}

static void
setup(void)
{
	fixture_setup();
	world_set_now(UINT64_C(1000000) * (86400 * 20000 + 3723));
	world_init(&w);
	make_session(&w, w.model->root, "app", NULL);
	make_session(&w, w.model->root, "other", NULL);
	find_sessions();
}

static void
teardown(void)
{
	model_check(w.model);
	world_deinit(&w);
	fixture_teardown();
}

/* All of a log, read in pieces of SIZE bytes. */
static char *
read_log(const struct session *s, size_t size)
{
	struct text t = {};
	char buffer[4096];
	size_t n;

	for (uint64_t at = events_start(s); at < events_end(s); at += n) {
		n = events_read(s, at, buffer, size);
		ck_assert_uint_gt(n, 0);
		text_add_n(&t, buffer, n);
	}
	ck_assert_uint_eq(events_read(s, events_end(s), buffer, size), 0);
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

static void
expect_log(const struct session *s, const char *expected)
{
	static const size_t sizes[] = {1, 7, 30, 4096};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cleanup_free char *log = read_log(s, sizes[i]);

		ck_assert_str_eq(log, expected);
	}
}

START_TEST(each_sees_its_own_and_what_is_below)
{
	event_log(w.model, root, "a%d", 1);
	event_log(w.model, app, "b uid=%u", 5);
	event_log(w.model, other, "c");
	expect_log(root, "01:02:03 e=1 a1\n01:02:03 e=2 b uid=5\n01:02:03 e=3 c\n");
	expect_log(app, "01:02:03 e=2 b uid=5\n");
	expect_log(other, "01:02:03 e=3 c\n");
}
END_TEST

START_TEST(control_characters_are_escaped)
{
	event_log(w.model, app, "x\ny\033[31m\x7f\xc3\xa4");
	expect_log(app, "01:02:03 e=1 x\\x0ay\\x1b[31m\\x7f\\xc3\\xa4\n");
}
END_TEST

START_TEST(long_lines_are_cut)
{
	char text[2000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	event_log(w.model, app, "%s", text);
	ck_assert_uint_le(events_end(app), EVENT_BYTES_MAX);
	memset(text, '\n', sizeof(text) - 1);
	event_log(w.model, app, "%s", text);
	ck_assert_uint_le(events_end(app) - events_start(app), 2 * EVENT_BYTES_MAX);
	ck_assert_uint_gt(events_end(app), EVENT_BYTES_MAX);
}
END_TEST

START_TEST(a_thousand_lines_are_kept)
{
	uint64_t end = 0;
	char line[64];

	for (int i = 1; i <= 5000; i++) {
		event_log(w.model, app, "line");
		ck_assert_uint_gt(events_end(app), end);
		end = events_end(app);
	}
	ck_assert_uint_eq(events_read(app, events_start(app), line, 16), 16);
	ck_assert_int_eq(memcmp(line, "01:02:03 e=4001 ", 16), 0);
	ck_assert_uint_eq(app->event_bytes, 1000 * strlen("01:02:03 e=4001 line\n"));
	ck_assert_int_eq(events_store(w.model), 0);
	/* Only what some log still has is in the store, and the entities and the header. */
	ck_assert_uint_eq(w.store->records.n, 1000 + 3 + 1);
}
END_TEST

START_TEST(restart_brings_events_back)
{
	cleanup_free char *before = NULL, *after = NULL;
	uint64_t number;

	for (int i = 0; i < 1500; i++)
		event_log(w.model, i % 3 ? app : other, "number %d", i);
	ck_assert_int_eq(events_store(w.model), 0);
	number = w.model->header.next_event;
	before = world_describe(&w);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	ck_assert_uint_eq(w.model->header.next_event, number);
	/* The root had dropped a third of them, which the two below still had. */
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
	event_log(w.model, other, "later");
	ck_assert_int_eq(events_store(w.model), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
}
END_TEST

START_TEST(a_change_takes_events_along)
{
	uint64_t commits = w.store->n_commits;
	size_t n = w.store->records.n;

	event_log(w.model, app, "x");
	ck_assert_uint_eq(w.store->n_commits, commits);
	make_session(&w, app, "s", NULL);
	ck_assert_uint_eq(w.store->n_commits, commits + 1);
	ck_assert_uint_eq(w.store->records.n, n + 2);
	ck_assert_int_eq(events_store(w.model), 0);
	ck_assert_uint_eq(w.store->n_commits, commits + 1);
}
END_TEST

START_TEST(lines_that_were_never_stored_are_not_deleted)
{
	/* The stub refuses to drop what it does not have. */
	for (int i = 0; i < 3000; i++)
		event_log(w.model, app, "x");
	ck_assert_int_eq(events_store(w.model), 0);
	for (int i = 0; i < 3000; i++)
		event_log(w.model, app, "x");
	ck_assert_int_eq(events_store(w.model), 0);
	ck_assert_uint_eq(w.store->records.n, 1000 + 3 + 1);
}
END_TEST

START_TEST(events_give_way_to_everything_else)
{
	struct quota tiny = {{4, 0, 0, 3 * QUOTA_RAM_SLOT, 0}};
	struct session *s = make_session(&w, root, "tiny", &tiny);
	struct capability *c = make_origin(&w, make_entrypoint(&w, root, "web"), 1, "web"), *d;
	uint64_t end;

	for (int i = 0; i < 200; i++)
		event_log(w.model, s, "%0100d", i);
	ck_assert_uint_gt(s->event_bytes, 2 * QUOTA_RAM_SLOT);
	ck_assert_uint_le(s->event_bytes, 3 * QUOTA_RAM_SLOT);
	model_check(w.model);
	for (int i = 0; i < 3; i++) {
		make_grant(&w, c, s, NULL, NULL);
		model_check(w.model);
	}
	ck_assert_uint_eq(s->event_bytes, 0);
	ck_assert_int_eq(try_grant(&w, c, s, NULL, NULL, &d), CAPABILITY_E_QUOTA_RAM);
	/* What has no room at all has been, and is gone. */
	end = events_end(s);
	event_log(w.model, s, "nothing of this is kept");
	ck_assert_uint_gt(events_end(s), end);
	ck_assert_uint_eq(events_start(s), events_end(s));
	ck_assert_int_eq(events_store(w.model), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
}
END_TEST

START_TEST(a_closed_session_leaves_its_lines_to_those_above)
{
	uint64_t bytes;

	event_log(w.model, app, "last words");
	bytes = root->event_bytes;
	ck_assert_int_eq(try_close(&w, app), 0);
	world_reap(&w);
	ck_assert_uint_eq(root->event_bytes, bytes);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	expect_log(root, "01:02:03 e=1 last words\n");
}
END_TEST

static void
add_cases(TCase *t)
{
	tcase_add_test(t, each_sees_its_own_and_what_is_below);
	tcase_add_test(t, control_characters_are_escaped);
	tcase_add_test(t, long_lines_are_cut);
	tcase_add_test(t, a_thousand_lines_are_kept);
	tcase_add_test(t, restart_brings_events_back);
	tcase_add_test(t, a_change_takes_events_along);
	tcase_add_test(t, lines_that_were_never_stored_are_not_deleted);
	tcase_add_test(t, events_give_way_to_everything_else);
	tcase_add_test(t, a_closed_session_leaves_its_lines_to_those_above);
}

int
main(void)
{
	Suite *s = suite_create("event");
	TCase *t = tcase_create("event");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	add_cases(t);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
