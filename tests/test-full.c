/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A real store that is full: nothing new is taken, but whatever ends something is done, and in the
 * end there is room again. What is ended is scattered over the store's pages, so that ending all of
 * it in one transaction would take more pages than there are.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capfsd/tree/tree.h"
#include "capfsd/state/state.h"
#include "tests/fixture.h"

#define MAP_BYTES (UINT64_C(2) << 20)
#define LARGE_MAP_BYTES (UINT64_C(64) << 20)
#define EVERY 8 /* of the slots one in so many is to end */
#define REAP_BUDGET 512

static char directory[FIXTURE_PATH];
static struct state *state;
static struct model *model;
static struct request answer;
static uint64_t now_usec = UINT64_C(1764000000) * 1000000;
static unsigned n_ending;

static uint64_t
now(void)
{
	return now_usec;
}

static struct node
walk(const char *path)
{
	struct node node;

	ck_assert_int_eq(tree_walk(model, tree_session(model->root), path, strlen(path), &node), 0);
	return node;
}

/* As the fronts do: a record under a key that no other request has. */
static int
note_reply(struct request *r, struct change *ch)
{
	static uint64_t n;

	return change_note(ch, STORE_KEY(STORE_REPLY, ++n), "reply", 5);
}

static struct request *
ask(void)
{
	request_deinit(&answer);
	answer = (struct request){.model = model, .uid = 1000, .gid = 1000};
	return &answer;
}

static int
put(const char *path, const char *text)
{
	ck_assert_int_eq(tree_write(ask(), walk(path), text, strlen(text)), 0);
	return answer.error;
}

static int
put_noted(const char *path, const char *text)
{
	struct request *r = ask();

	r->note = note_reply;
	ck_assert_int_eq(tree_write(r, walk(path), text, strlen(text)), 0);
	return r->error;
}

static void
make_session(const char *name)
{
	const char *quota = "caps=1000000 ram=1G";

	ck_assert_int_eq(
		tree_create(ask(), walk("sessions"), name, strlen(name), quota, strlen(quota)), 0);
	ck_assert_int_eq(answer.error, 0);
}

static void
serve(void)
{
	struct change *ch = change_begin(model);
	struct entrypoint *e;

	ck_assert_int_eq(entrypoint_attach(ch, model->root, "kv", 2, 0, 1, &e), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	ck_assert_int_eq(put("entrypoints/kv/objects", "key=0 as=kv socket=stream"), 0);
	make_session("some");
	make_session("most");
}

/* Grants until the store is full: to `some`, HOW, one of EVERY, to `most` the others. */
static void
fill(const char *how)
{
	char text[128];

	n_ending = 0;
	for (unsigned n = 0;; n++) {
		bool one = n % EVERY == 0;

		snprintf(text, sizeof(text), "to=%s as=slot-%u %s", one ? "some" : "most", n,
			one ? how : "");
		if (put("caps/kv/grant", text) != 0)
			break;
		n_ending += one;
	}
	ck_assert_int_eq(answer.error, ENOSPC);
	ck_assert_uint_gt(n_ending, 100);
}

static void
setup_store(size_t map_bytes)
{
	const struct quota quota = {{1 << 24, 1 << 20, 1 << 20, UINT64_C(1) << 36, 1 << 20}};
	char *reason = NULL;

	fixture_setup();
	fixture_directory(directory);
	ck_assert_int_eq(state_open(directory, map_bytes, &state, &reason), 0);
	ck_assert_int_eq(model_new(&state_store_ops, state, &model), 0);
	model->now_usec = now;
	ck_assert_int_eq(model_create_root(model, 0, 0, 0711, &quota), 0);
	serve();
}

static void
setup(void)
{
	setup_store(MAP_BYTES);
}

static void
setup_large(void)
{
	setup_store(LARGE_MAP_BYTES);
}

static void
teardown(void)
{
	char *reason = NULL;

	request_deinit(&answer);
	model = model_free(model);
	state = state_free(state);
	/* And it is a good one. */
	ck_assert_int_eq(state_open(directory, LARGE_MAP_BYTES, &state, &reason), 0);
	state = state_free(state);
	fixture_remove(directory);
	fixture_teardown();
}

/* All that has ended goes. */
static void
make_room(void)
{
	int r;

	while ((r = model_reap(model, REAP_BUDGET)) > 0)
		;
	ck_assert_int_eq(r, 0);
	model_check(model);
}

/* N slots are left, and there is room for new ones. */
static void
expect_room(uint64_t n)
{
	make_room();
	ck_assert_uint_eq(model->n[ENTITY_CAPABILITY], n);
	ck_assert_int_eq(put("caps/kv/grant", "to=some as=new"), 0);
}

START_TEST(expired_slots_go)
{
	uint64_t next, n;

	fill("expires=100");
	n = model->n[ENTITY_CAPABILITY];
	now_usec += 200 * UINT64_C(1000000);
	for (unsigned i = 0; i < n_ending; i++) {
		ck_assert_int_eq(expiry_run(model, &next), 0);
		if (next > now_usec)
			break;
	}
	ck_assert_uint_gt(next, now_usec);
	expect_room(n - n_ending);
}
END_TEST

/* Some in one transaction, the last with the reply. */
START_TEST(revoke_of_what_one_session_holds)
{
	char expected[64];
	uint64_t n;

	fill("");
	n = model->n[ENTITY_CAPABILITY];
	snprintf(expected, sizeof(expected), "revoked=%u", n_ending);
	ck_assert_int_eq(put_noted("caps/kv/revoke", "to=some"), 0);
	ck_assert_str_eq(answer.text.data, expected);
	ck_assert_uint_ne(answer.pending, 0);
	ck_assert(model_is_ending(model, answer.pending));
	ck_assert_int_eq(put_noted("caps/kv/revoke", "to=some"), ENOENT);
	expect_room(n - n_ending);
}
END_TEST

/* Each transaction goes on where the one before ended, so that it is less work than to grant them. */
START_TEST(revoke_of_much_is_not_quadratic)
{
	clock_t start = clock(), filled;

	fill("");
	filled = clock();
	ck_assert_int_eq(put_noted("caps/kv/revoke", "to=some"), 0);
	ck_assert_int_lt(clock() - filled, filled - start);
}
END_TEST

START_TEST(a_session_is_closed)
{
	uint64_t n;

	fill("");
	n = model->n[ENTITY_CAPABILITY];
	ck_assert_int_eq(tree_remove(ask(), walk("sessions"), "some", 4), 0);
	ck_assert_int_eq(answer.error, 0);
	make_room();
	ck_assert_uint_eq(model->n[ENTITY_CAPABILITY], n - n_ending);
	ck_assert_int_eq(put("caps/kv/grant", "to=most as=new"), 0);
}
END_TEST

/* The lines that only a closed session had are as scattered as slots are. */
START_TEST(a_closed_sessions_events_go)
{
	struct session *sessions[10];
	char name[16], padding[340];
	struct event note = {.verb = "note", .text = padding, .n_text = sizeof(padding) - 1};

	memset(padding, 'x', sizeof(padding) - 1);
	padding[sizeof(padding) - 1] = '\0';
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		make_session(name);
		sessions[i] = tree_session_of(walk("sessions"));
		sessions[i] = session_find(model, sessions[i], name, strlen(name));
	}
	for (int i = 0; i < 2 * EVENTS_LINES_MAX; i++) {
		event_log(model, sessions[i % 10], &note);
		if (i % 100 == 0)
			ck_assert_int_eq(events_store(model), 0);
	}
	fill("");
	ck_assert_int_eq(tree_remove(ask(), walk("sessions"), "s0", 2), 0);
	ck_assert_int_eq(answer.error, 0);
	ck_assert_int_eq(model_reap(model, REAP_BUDGET), 0);
	ck_assert_int_eq(tree_remove(ask(), walk("sessions"), "s1", 2), 0);
	ck_assert_int_eq(answer.error, 0);
	ck_assert_int_eq(put("caps/kv/revoke", "1"), 0);
	expect_room(1);
}
END_TEST

/* Their replies have no room either. */
START_TEST(requests_that_end_something_are_done)
{
	struct request *r;

	fill("");
	ck_assert_int_eq(put_noted("caps/kv/grant", "to=some as=x"), ENOSPC);
	r = ask();
	r->note = note_reply;
	ck_assert_int_eq(tree_remove(r, walk("sessions/some/caps"), "slot-0", 6), 0);
	ck_assert_int_eq(r->error, 0);
	ck_assert_int_eq(put_noted("caps/kv/revoke", "1"), 0);
	expect_room(1);
}
END_TEST

static uint64_t taken_back; /* the key of a record that is taken back with any change; 0: none */

static void
on_boarding(void *data, struct change *ch)
{
	if (taken_back)
		ck_assert_int_eq(change_ride(ch, taken_back, NULL, 0), 0);
}

static void
on_arrived(void *data, bool stored)
{
	if (stored)
		taken_back = 0;
}

/*
 * Records of sockets ride along with changes, and most of them go: a line of events that waits for
 * room must not keep them from making it.
 */
START_TEST(what_rides_makes_room_though_events_wait)
{
	static const struct model_hooks hooks = {.boarding = on_boarding, .arrived = on_arrived};
	const uint64_t key = STORE_KEY(STORE_REPLY, 1 << 20);
	struct change *ch = change_begin(model);

	ck_assert_int_eq(change_note(ch, key, "record", 6), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	fill("");
	model->hooks = &hooks;
	taken_back = key;
	event_log(model, model->root, &(struct event){.verb = "note"});
	ck_assert_int_eq(change_commit(change_begin(model)), 0);
	ck_assert_uint_eq(taken_back, 0);
	model->hooks = NULL;
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("full");
	TCase *t = tcase_create("full");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, expired_slots_go);
	tcase_add_test(t, requests_that_end_something_are_done);
	tcase_add_test(t, what_rides_makes_room_though_events_wait);
	tcase_add_test(t, revoke_of_what_one_session_holds);
	tcase_add_test(t, a_session_is_closed);
	tcase_add_test(t, a_closed_sessions_events_go);
	suite_add_tcase(s, t);
	t = tcase_create("large");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup_large, teardown);
	tcase_add_test(t, revoke_of_much_is_not_quadratic);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
