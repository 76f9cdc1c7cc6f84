/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events: who sees which, what is kept, what it costs, and what a restart brings back. */
#include "config.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/ops/texts.h"
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

/* What is seen of a log behind AT, read in pieces of SIZE bytes. */
static char *
read_view(const struct session *s, enum event_view view, uint64_t at, size_t size)
{
	struct text t = {};
	char buffer[4096];
	size_t n;

	while (events_has_more(s, view, at)) {
		n = events_read(s, view, &at, buffer, size);
		ck_assert(n > 0 || at == events_end(s));
		text_add_n(&t, buffer, n);
	}
	text_add(&t, "");
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

static char *
read_log(const struct session *s, size_t size)
{
	return read_view(s, EVENTS_ALL, events_start(s), size);
}

static void
expect_view(const struct session *s, enum event_view view, uint64_t at, const char *expected)
{
	static const size_t sizes[] = {1, 7, 30, 4096};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cleanup_free char *log = read_view(s, view, at, sizes[i]);

		ck_assert_str_eq(log, expected);
	}
}

static void
expect_log(const struct session *s, const char *expected)
{
	expect_view(s, EVENTS_ALL, events_start(s), expected);
}

static bool
log_has(const struct session *s, const char *part)
{
	cleanup_free char *log = read_log(s, 4096);

	return strstr(log, part);
}

static unsigned
count_lines(const struct session *s, const char *part)
{
	cleanup_free char *log = read_log(s, 4096);
	unsigned n = 0;

	for (const char *at = log; (at = strstr(at, part)); at++)
		n++;
	return n;
}

/* What BY has done to S. */
static void
log_by(struct session *s, const struct session *by, enum event_keep keep, const char *verb)
{
	event_log(w.model, s, &(struct event){.verb = verb, .keep = keep, .by = by});
}

static void
restart(void)
{
	cleanup_free char *before = NULL, *after = NULL;

	ck_assert_int_eq(events_store(w.model), 0);
	before = world_describe(&w);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
}

#define AT "2024-10-04T01:02:03Z"

START_TEST(each_sees_its_own_and_what_is_below)
{
	log_text(w.model, root, "a%d", 1);
	log_text(w.model, app, "b uid:%u", 5);
	log_text(w.model, other, "c");
	expect_log(root, AT " e=1 note session=init a1\n" AT " e=2 note session=init/app b uid:5\n" AT
			 " e=3 note session=init/other c\n");
	expect_log(app, AT " e=2 note session=init/app b uid:5\n");
	expect_log(other, AT " e=3 note session=init/other c\n");
}
END_TEST

START_TEST(P23_no_text_forges_a_line)
{
	log_text(w.model, app, "x\ny\033[31m\x7f\xc3\xa4 \xc3\x97" "9 \\x0a");
	expect_log(app, AT " e=1 note session=init/app "
			   "x\\x0ay\\x1b[31m\\x7f\\xc3\\xa4 \\xc3\\x979 \\x5cx0a\n");
}
END_TEST

START_TEST(P23_no_text_forges_a_field)
{
	log_refusal(w.model, app, "session=init uid=0 e=7 slot=kv to=x limit=1 xsession=y");
	expect_log(app, AT " e=1 refused note session=init/app EPERM: session\\x3dinit uid\\x3d0 "
			   "e\\x3d7 slot\\x3dkv to=x limit=1 xsession=y\n");
}
END_TEST

START_TEST(P23_no_value_forges_a_field)
{
	cleanup_text struct text fields = {}, where = {};
	const char *path = "caps/a b=\"c\nuid=0/grant";

	text_where("caps/kv", 7, &where);
	text_where(path, strlen(path), &where);
	text_where("entrypoints/web/objects", 23, &where);
	ck_assert_str_eq(where.data, " slot=kv slot=a\\x20b\\x3d\\x22c\\x0auid\\x3d0"
				     " at=caps/a\\x20b\\x3d\\x22c\\x0auid\\x3d0/grant"
				     " entrypoint=web at=entrypoints/web/objects");
	for (int i = 0; i < 5000; i++)
		text_add(&fields, "\n");
	where.n = 0;
	event_field(&where, "slot", fields.data, fields.n);
	ck_assert_uint_lt(where.n, 100);
}
END_TEST

START_TEST(long_lines_are_cut)
{
	char text[2000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_text(w.model, app, "%s", text);
	ck_assert_uint_le(events_end(app), EVENT_BYTES_MAX);
	for (int i = 0; i < 2; i++)
		log_refusal(w.model, app, "%s", text);
	ck_assert(log_has(app, "xx \xc3\x97" "2\n"));
	memset(text, '\n', sizeof(text) - 1);
	log_text(w.model, app, "%s", text);
	ck_assert(log_has(app, "\\x0a\n"));
	ck_assert_uint_le(app->event_bytes, 3 * EVENT_BYTES_MAX);
	restart();
}
END_TEST

/* A label may be longer than a line; whose it is stands there all the same. */
START_TEST(P23_a_long_label_is_its_end)
{
	struct quota quota = {{[QUOTA_CAPS] = 15, [QUOTA_RAM] = 12 * 8192}};
	struct session *s = root;
	char name[NAME_BYTES_MAX + 1];

	for (int i = 0; i < 10; i++) {
		memset(name, 'a' + i, sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		quota.n[QUOTA_CAPS]--;
		quota.n[QUOTA_RAM] -= 8192;
		s = make_session(&w, s, name, &quota);
	}
	log_text(w.model, s, "here");
	ck_assert(log_has(root, "note session=init/.../jjjjjjjj"));
	ck_assert(log_has(root, "jjjj here\n"));
}
END_TEST

/* Half for its own, half for all others. */
START_TEST(a_thousand_lines_are_kept)
{
	for (int i = 1; i <= 2000; i++) {
		log_text(w.model, root, "own");
		log_text(w.model, app, "line");
	}
	ck_assert_uint_eq(count_lines(app, "line\n"), 500);
	ck_assert_uint_eq(count_lines(root, "line\n"), 500);
	ck_assert_uint_eq(count_lines(root, "own\n"), 500);
	ck_assert(log_has(app, " e=4000 "));
	ck_assert(!log_has(app, " e=3000 "));
	ck_assert_int_eq(events_store(w.model), 0);
	/* Only what some log still has is in the store, and the entities and the header. */
	ck_assert_uint_eq(w.store->records.n, 1000 + 3 + 1);
	restart();
}
END_TEST

START_TEST(P23_a_flood_pushes_out_its_own_lines_only)
{
	log_text(w.model, root, "the root's");
	log_text(w.model, other, "the neighbour's");
	log_by(app, root, EVENT_LASTING, "grant");
	for (int i = 0; i < 5000; i++) {
		log_refusal(w.model, app, "number %d", i);
		log_by(app, app, EVENT_LASTING, "share");
	}
	for (int i = 0; i < 2; i++) {
		ck_assert(log_has(root, "the root's"));
		ck_assert(log_has(root, "the neighbour's"));
		ck_assert(log_has(root, " grant session=init/app"));
		/* Nor from its own log, what those above have done to it. */
		ck_assert(log_has(app, " grant session=init/app"));
		restart();
	}
}
END_TEST

START_TEST(P23_many_children_share_alike)
{
	struct quota small = {{8, 8, 8, 64 * 1024, 8}};
	char part[64];

	for (int i = 0; i < 20; i++) {
		struct session *s;

		snprintf(part, sizeof(part), "s%d", i);
		s = make_session(&w, root, part, &small);
		/* 500 / 21 each, the flood too. */
		for (int k = 0; k < 23; k++)
			log_text(w.model, s, "of %d", i);
	}
	for (int i = 0; i < 3000; i++)
		log_text(w.model, app, "flood");
	for (int i = 0; i < 20; i++) {
		snprintf(part, sizeof(part), " of %d\n", i);
		ck_assert_uint_eq(count_lines(root, part), 23);
	}
	ck_assert_uint_eq(count_lines(root, "flood\n"), 500 - 20 * 23);
	restart();
}
END_TEST

/* More of them than lines: each new one takes the place of one that came earlier, and none of the root's. */
START_TEST(P23_more_children_than_lines)
{
	struct quota small = {{8, 8, 8, 32 * 1024, 8}};
	char name[16];

	log_text(w.model, root, "the root's");
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		log_text(w.model, make_session(&w, root, name, &small), "one of %d.", i);
	}
	ck_assert(log_has(root, "the root's"));
	ck_assert_uint_eq(count_lines(root, " one of "), 500);
	ck_assert(log_has(root, "one of 599."));
	ck_assert(!log_has(root, "one of 99."));
}
END_TEST

START_TEST(refusals_go_first_and_grants_last)
{
	for (int i = 0; i < 100; i++) {
		log_by(app, app, EVENT_LASTING, "grant");
		log_by(app, app, EVENT_USUAL, "attach");
		log_refusal(w.model, app, "%d", i);
	}
	for (int i = 0; i < 300; i++)
		log_by(app, app, EVENT_USUAL, "detach");
	ck_assert_uint_eq(count_lines(app, " refused "), 0);
	ck_assert_uint_eq(count_lines(app, " attach "), 100);
	restart();
	for (int i = 0; i < 400; i++)
		log_by(app, app, EVENT_LASTING, "revoke");
	ck_assert_uint_eq(count_lines(app, " grant "), 100);
	ck_assert_uint_eq(count_lines(app, " revoke "), 400);
	/* What is new is seen in any case. */
	log_refusal(w.model, app, "seen");
	ck_assert(log_has(app, "seen"));
	ck_assert_uint_eq(count_lines(app, " grant "), 99);
}
END_TEST

START_TEST(S08_faults_are_a_log_of_their_own)
{
	static const char first[] = AT " e=2 fault session=init/app\n", last[] = AT " e=5 fault session=init/app\n";
	const size_t n = sizeof(first) - 1;
	char text[2 * sizeof(first)];

	log_text(w.model, app, "a");
	log_by(app, app, EVENT_FAULT, EVENT_FAULT_VERB);
	log_text(w.model, app, "b");
	log_refusal(w.model, app, "c");
	log_by(app, app, EVENT_FAULT, EVENT_FAULT_VERB);
	log_text(w.model, app, "fault session=init/app");
	snprintf(text, sizeof(text), "%s%s", first, last);
	for (int restarted = 0; restarted < 2; restarted++, restart())
		for (const struct session *s = app; s; s = s->parent) {
			expect_view(s, EVENTS_FAULTS, 0, text);
			expect_view(s, EVENTS_FAULTS, events_seek(s, EVENTS_FAULTS, n), last);
			ck_assert_uint_eq(events_size(s, EVENTS_FAULTS), 2 * n);
			ck_assert(!events_has_more(s, EVENTS_FAULTS, events_end(s) - 1));
		}
	ck_assert_uint_eq(events_size(other, EVENTS_FAULTS), 0);
}
END_TEST

START_TEST(P23_faults_and_what_else_there_is_share_alike)
{
	for (int i = 0; i < 400; i++)
		log_by(app, app, EVENT_FAULT, EVENT_FAULT_VERB);
	for (int i = 0; i < 3000; i++)
		log_by(app, app, i % 2 ? EVENT_LASTING : EVENT_USUAL, "other");
	ck_assert_uint_eq(count_lines(app, " fault "), 250);
	restart();
	for (int i = 0; i < 3000; i++)
		log_by(app, app, EVENT_FAULT, EVENT_FAULT_VERB);
	ck_assert_uint_eq(count_lines(app, " other "), 249);
	ck_assert_uint_eq(count_lines(app, " fault "), 251);
}
END_TEST

START_TEST(P23_repeated_refusals_are_one_line)
{
	uint64_t end, at;
	char buffer[256];
	size_t n;

	for (int i = 0; i < 40; i++) {
		log_refusal(w.model, app, "no");
		if (i % 3 == 0)
			log_text(w.model, other, "c");
	}
	ck_assert_uint_eq(count_lines(app, ": no"), 1);
	ck_assert_uint_eq(count_lines(root, ": no"), 1);
	ck_assert(log_has(app, " refused note session=init/app EPERM: no \xc3\x97" "40\n"));
	restart();
	end = at = events_end(app);
	log_refusal(w.model, app, "no");
	ck_assert(log_has(root, " no \xc3\x97" "41\n"));
	ck_assert_uint_eq(count_lines(root, ": no"), 1);
	/* Who follows sees it once more, with its new number. */
	ck_assert_uint_gt(events_end(app), end);
	n = events_read(app, EVENTS_ALL, &at, buffer, sizeof(buffer) - 1);
	buffer[n] = '\0';
	ck_assert_ptr_nonnull(strstr(buffer, "\xc3\x97" "41\n"));
	ck_assert_uint_eq(at, events_end(app));
	/* Another's, another text, and what was done are not the same. */
	log_refusal(w.model, other, "no");
	log_refusal(w.model, app, "no ");
	log_text(w.model, app, "no");
	log_text(w.model, app, "no");
	ck_assert_uint_eq(count_lines(root, ": no"), 3);
	ck_assert_uint_eq(count_lines(root, "app no\n"), 2);
	restart();
}
END_TEST

/* What is kept, as if there was nothing else, counted from the end. */
START_TEST(the_last_bytes_are_found_over_holes)
{
	char buffer[4096];
	uint64_t at;
	size_t n;

	for (int i = 0; i < 30; i++) {
		log_refusal(w.model, app, "the same");
		log_text(w.model, app, "%d", i);
	}
	for (uint64_t left = 1; left <= app->event_bytes + 10; left++) {
		at = events_seek(app, EVENTS_ALL, left);
		n = events_read(app, EVENTS_ALL, &at, buffer, sizeof(buffer));
		ck_assert_uint_eq(n, left < app->event_bytes ? left : app->event_bytes);
		ck_assert_uint_eq(at, events_end(app));
	}
	ck_assert_uint_eq(events_seek(app, EVENTS_ALL, 0), events_end(app));
}
END_TEST

START_TEST(restart_brings_events_back)
{
	uint64_t number;

	for (int i = 0; i < 1500; i++)
		log_text(w.model, i % 3 ? app : other, "number %d", i);
	number = w.model->header.next_event;
	/* The root had dropped many of them, which the two below still had. */
	restart();
	ck_assert_uint_eq(w.model->header.next_event, number);
	log_text(w.model, other, "later");
	restart();
}
END_TEST

/* The record of a line as the first version wrote it. */
static void
put_old_line(uint64_t number, const char *text, uint64_t app_end, uint64_t root_end)
{
	struct {
		uint32_t n_text, n_places;
		uint64_t places[4];
		char text[64];
	} record = {(uint32_t)strlen(text), 2,
		{app->entity.id, app_end, root->entity.id, root_end}, {}};

	memcpy(record.text, text, strlen(text));
	ck_assert_int_eq(event_load(w.model, number, &record, 40 + strlen(text)), 0);
}

START_TEST(lines_of_the_first_version_are_read)
{
	w.model->header.next_event = 10;
	put_old_line(3, "01:02:03 e=3 refused grant caps/kv uid=1 EPERM: no\n", 51, 151);
	put_old_line(5, "01:02:03 e=5 create uid=1\n", 100, 200);
	expect_log(app, "01:02:03 e=3 refused grant caps/kv uid=1 EPERM: no\n"
			"01:02:03 e=5 create uid=1\n");
	expect_log(root, "01:02:03 e=3 refused grant caps/kv uid=1 EPERM: no\n"
			 "01:02:03 e=5 create uid=1\n");
	for (int i = 0; i < 500; i++)
		log_text(w.model, root, "x");
	ck_assert(log_has(root, "create uid=1"));
}
END_TEST

START_TEST(a_change_takes_events_along)
{
	uint64_t commits = w.store->n_commits;
	size_t n = w.store->records.n;

	log_text(w.model, app, "x");
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
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < 3000; i++) {
			log_text(w.model, app, "x");
			log_refusal(w.model, app, "y");
		}
		ck_assert_int_eq(events_store(w.model), 0);
	}
	ck_assert_uint_eq(w.store->records.n, 500 + 3 + 1);
}
END_TEST

START_TEST(events_give_way_to_everything_else)
{
	struct quota tiny = {{4, 0, 0, 3 * QUOTA_RAM_SLOT, 0}};
	struct session *s = make_session(&w, root, "tiny", &tiny);
	struct capability *c = make_origin(&w, make_entrypoint(&w, root, "web"), 1, "web"), *d;
	uint64_t end;

	for (int i = 0; i < 200; i++)
		log_text(w.model, s, "%0100d", i);
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
	log_text(w.model, s, "nothing of this is kept");
	ck_assert_uint_gt(events_end(s), end);
	ck_assert_uint_eq(events_start(s), events_end(s));
	ck_assert_int_eq(events_store(w.model), 0);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
}
END_TEST

/* Where quota is short, a child has what its parent's own lines leave, and no more. */
START_TEST(P23_without_ram_nobody_pushes_the_session_itself)
{
	struct quota some = {{8, 8, 8, 64 * 1024, 8}}, none = {{2, 0, 0, 4096, 0}};
	struct session *s = make_session(&w, root, "some", &some);
	struct session *below = make_session(&w, s, "below", &none);
	uint64_t bytes;

	for (int i = 0; i < 100; i++)
		log_text(w.model, s, "own %0200d", i);
	bytes = s->event_bytes;
	for (int i = 0; i < 2000; i++)
		log_text(w.model, below, "flood %0300d", i);
	ck_assert_uint_eq(count_lines(s, " own "), 100);
	ck_assert_uint_gt(count_lines(s, " flood "), 0);
	ck_assert_uint_gt(s->event_bytes, bytes);
	/* The session itself may have half of it back. */
	for (int i = 0; i < 1000; i++)
		log_text(w.model, s, "own %0200d", i);
	ck_assert_uint_gt(count_lines(s, " flood "), 20);
	ck_assert_uint_gt(count_lines(s, " own "), 100);
}
END_TEST

START_TEST(a_closed_session_leaves_its_lines_to_those_above)
{
	uint64_t bytes;

	log_text(w.model, app, "last words");
	bytes = root->event_bytes;
	ck_assert_int_eq(try_close(&w, app), 0);
	world_reap(&w);
	ck_assert_uint_eq(root->event_bytes, bytes);
	ck_assert_int_eq(world_restart(&w), 0);
	find_sessions();
	expect_log(root, AT " e=1 note session=init/app last words\n");
	for (int i = 0; i < 3000; i++)
		log_text(w.model, other, "flood");
	ck_assert(log_has(root, "last words"));
}
END_TEST

static void
add_cases(TCase *t)
{
	tcase_add_test(t, each_sees_its_own_and_what_is_below);
	tcase_add_test(t, P23_no_text_forges_a_line);
	tcase_add_test(t, P23_no_text_forges_a_field);
	tcase_add_test(t, P23_no_value_forges_a_field);
	tcase_add_test(t, long_lines_are_cut);
	tcase_add_test(t, P23_a_long_label_is_its_end);
	tcase_add_test(t, a_thousand_lines_are_kept);
	tcase_add_test(t, P23_a_flood_pushes_out_its_own_lines_only);
	tcase_add_test(t, P23_many_children_share_alike);
	tcase_add_test(t, P23_more_children_than_lines);
	tcase_add_test(t, refusals_go_first_and_grants_last);
	tcase_add_test(t, S08_faults_are_a_log_of_their_own);
	tcase_add_test(t, P23_faults_and_what_else_there_is_share_alike);
	tcase_add_test(t, P23_repeated_refusals_are_one_line);
	tcase_add_test(t, the_last_bytes_are_found_over_holes);
	tcase_add_test(t, restart_brings_events_back);
	tcase_add_test(t, lines_of_the_first_version_are_read);
	tcase_add_test(t, a_change_takes_events_along);
	tcase_add_test(t, lines_that_were_never_stored_are_not_deleted);
	tcase_add_test(t, events_give_way_to_everything_else);
	tcase_add_test(t, P23_without_ram_nobody_pushes_the_session_itself);
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
