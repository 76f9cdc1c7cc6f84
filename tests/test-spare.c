/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What makes a start quick: a launch pair that is there before its program; an end that is stored once. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/msg.h"
#include "capfsd/model/model.h"
#include "tests/fixture.h"
#include "tests/programs-world.h"

static uint64_t first; /* a program that runs in app, so that its init is there */

/* Returns: the init's end of a spare pair. */
static int
offer(void)
{
	return played_launch_next(0);
}

static void
begin(void)
{
	played_begin();
	played_run("descriptors=0", &first);
}

/* What the init is told next, but that ends are known. */
static struct process_record
said(void)
{
	struct process_record record = {};

	while (played_said(init, &record, NULL) == PROCESS_ACK)
		continue;
	return record;
}

static bool
has_hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* A program that is given the spare pair, of which THEIRS is the init's end. Returns: its thread. */
static uint64_t
spawn_with(int theirs, const char *words)
{
	struct process_record record;
	char byte;

	played_ask(WIRE_SPAWN, "threads", 0, words);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_ptr_nonnull(strstr(a.text, "thread="));
	ck_assert_ptr_nonnull(strstr(a.text, " uid="));
	ck_assert_int_ge(a.fd, 0);
	ck_assert_int_eq(send(a.fd, "x", 1, 0), 1);
	ck_assert_int_eq(recv(theirs, &byte, 1, MSG_DONTWAIT), 1);
	record = said();
	ck_assert_uint_eq(record.type, PROCESS_START);
	ck_assert_uint_eq(record.flags & (START_SPARE | START_WANT_SPARE), START_SPARE | START_WANT_SPARE);
	return record.thread;
}

/* The init has not been heard when the client has its answer, and is asked for one more. */
START_TEST(who_asks_has_the_spare_pair_at_once)
{
	struct process_record record;
	uint64_t id;

	begin();
	id = spawn_with(offer(), "descriptors=0 keep");
	ck_assert_uint_gt(id, first);
	played_report(init, PROCESS_RUNNING, id, 0, 0);
	played_report(init, PROCESS_EXITED, first, 0, 0);
	/* It was one. */
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert(!played_is_answered());
	record = said();
	ck_assert_uint_eq(record.type, PROCESS_START);
	ck_assert_uint_eq(record.flags & (START_SPARE | START_WANT_SPARE), START_WANT_SPARE);
	played_launch_next(record.thread);
	ck_assert(played_is_answered());
	ck_assert_int_ge(a.fd, 0);
}
END_TEST

/* 0 the init takes it back; 1 it has closed its end; 2 it offers another one. */
START_TEST(one_that_is_taken_back_is_given_to_nobody)
{
	struct process_record record;
	int theirs, next;

	begin();
	theirs = offer();
	if (_i == 0)
		played_tell(init, &(struct process_record){.type = PROCESS_LAUNCH}, NULL, 0);
	else if (_i == 1)
		world_close(&w, theirs);
	if (_i == 2) {
		next = offer();
		ck_assert(has_hung_up(theirs));
		spawn_with(next, "descriptors=0");
		return;
	}
	/* By that the init knows that nobody has it. */
	ck_assert(_i == 1 || has_hung_up(theirs));
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert(!played_is_answered());
	record = said();
	ck_assert_uint_eq(record.type, PROCESS_START);
	ck_assert_uint_eq(record.flags & START_SPARE, 0);
}
END_TEST

/* A refusal does not use it up. */
START_TEST(who_is_refused_leaves_it)
{
	int theirs;

	begin();
	theirs = offer();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0 restart=always");
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, EDQUOT);
	ck_assert_int_lt(a.fd, 0);
	ck_assert(!has_hung_up(theirs));
	spawn_with(theirs, "descriptors=0");
}
END_TEST

/*
 * The broker dies when its client has the pair. 0: the init was not asked for the program, 1: it was, 2: and has no
 * such pair any more.
 */
START_TEST(G10_a_broker_that_dies_has_it_started_once)
{
	struct process_record record, state = {.type = PROCESS_STATE, .flags = PHASE_STARTING};
	char path[64], name[32];
	uint64_t id, serial;

	begin();
	id = spawn_with(offer(), "descriptors=0 keep");
	ck_assert_int_eq(sscanf(a.text, "thread=%31s", name), 1);
	world_restart(&w);
	played_find();
	record = said();
	ck_assert_uint_eq(record.type, PROCESS_SYNC);
	serial = record.serial;
	played_report(init, PROCESS_STATE, first, PHASE_RUNNING, 0);
	state.thread = id;
	if (_i == 1)
		played_tell(init, &state, NULL, 0);
	played_end(played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = serial}));
	record = said();
	if (_i == 1) {
		ck_assert_uint_eq(record.type, 0);
	} else {
		ck_assert_uint_eq(record.type, PROCESS_START);
		ck_assert_uint_eq(record.thread, id);
		ck_assert_uint_eq(record.flags & START_SPARE, START_SPARE);
	}
	/* The client has had its answer. */
	ck_assert(!played_is_answered());
	snprintf(path, sizeof(path), "threads/%s", name);
	played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	if (_i == 2) {
		played_report(init, PROCESS_FAILED, id, STEP_HELLO, ECONNRESET);
		ck_assert(played_is_answered());
		ck_assert_ptr_nonnull(strstr(a.text, "state=failed step=hello errno=ECONNRESET"));
		ck_assert_ptr_null(entity_find(w.model, id));
		return;
	}
	played_report(init, PROCESS_RUNNING, id, 0, 0);
	ck_assert(!played_is_answered());
	played_report(init, PROCESS_EXITED, id, 3 << 8, 0);
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited status=768 "));
}
END_TEST

/* Nobody has the spare pair itself when a broker dies: the init sees it close. */
START_TEST(the_pair_of_a_dead_broker_is_closed)
{
	int theirs;

	begin();
	theirs = offer();
	world_restart(&w);
	ck_assert(has_hung_up(theirs));
}
END_TEST

static const struct store_ops *store;
static unsigned n_commits;

static int
count_commit(void *data)
{
	n_commits++;
	return store->commit(data);
}

/* That it has ended, that this is told, and that nothing is kept of it any more, is stored at once. 1: others wait, too. */
START_TEST(G10_an_end_is_one_change_with_its_answer)
{
	struct store_ops counting;
	struct process_record record;
	struct answered other;
	char path[64];
	uint64_t id;
	int c = -1;

	begin();
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0 keep", &id));
	if (_i == 1) {
		int asker = control;

		control = c = world_control(&w, app);
		played_ask(WIRE_WAIT, path, UINT64_MAX, "");
		control = asker;
	}
	played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	store = w.model->store;
	counting = *store;
	counting.commit = count_commit;
	n_commits = 0;
	w.model->store = &counting;
	played_report(init, PROCESS_EXITED, id, 5 << 8, 0);
	w.model->store = store;
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited status=1280 "));
	ck_assert(!played_is_answered());
	if (_i == 0) {
		ck_assert_uint_eq(n_commits, 1);
		ck_assert_ptr_null(entity_find(w.model, id));
	} else {
		ck_assert(world_reply(&w, c, &other));
		ck_assert_ptr_nonnull(strstr(other.text, "state=exited status=1280 "));
	}
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert_uint_eq(record.thread, id);
}
END_TEST

/*
 * The last that an init says is an end that somebody waits for who has asked for another program as well, and knows of
 * that no more than that it was begun. 0: the init has gone then; 1: it lives.
 */
START_TEST(an_end_is_taken_though_its_init_has_gone)
{
	struct process_record end = {.type = PROCESS_EXITED, .status = 5 << 8};
	char path[64], next[64], name[32];
	uint64_t id;

	begin();
	end.thread = spawn_with(offer(), "descriptors=0 keep");
	ck_assert_int_eq(sscanf(a.text, "thread=%31s", name), 1);
	snprintf(path, sizeof(path), "threads/%s", name);
	played_report(init, PROCESS_RUNNING, end.thread, 0, 0);
	played_report(init, PROCESS_EXITED, first, 0, 0);
	id = spawn_with(offer(), "descriptors=0 keep");
	ck_assert_int_eq(sscanf(a.text, "thread=%31s", name), 1);
	snprintf(next, sizeof(next), "threads/%s", name);
	played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	ck_assert(!played_is_answered());
	ck_assert_int_eq(msg_send(init, &end, sizeof(end), NULL, 0, 0), sizeof(end));
	if (_i == 0)
		init = world_close(&w, init);
	world_settle(&w);
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited status=1280 "));
	ck_assert_ptr_null(entity_find(w.model, end.thread));
	played_ask(WIRE_WAIT, next, UINT64_MAX, "");
	if (_i == 1)
		played_report(init, PROCESS_FAILED, id, STEP_NONE, ECONNRESET);
	ck_assert(played_is_answered());
	ck_assert_msg(strstr(a.text, "state=failed "), "%u %s", a.m.error, a.text);
	ck_assert_ptr_null(entity_find(w.model, id));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("spare");
	TCase *t = tcase_create("spare");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, who_asks_has_the_spare_pair_at_once);
	tcase_add_loop_test(t, one_that_is_taken_back_is_given_to_nobody, 0, 3);
	tcase_add_test(t, who_is_refused_leaves_it);
	tcase_add_loop_test(t, G10_a_broker_that_dies_has_it_started_once, 0, 3);
	tcase_add_test(t, the_pair_of_a_dead_broker_is_closed);
	tcase_add_loop_test(t, G10_an_end_is_one_change_with_its_answer, 0, 2);
	tcase_add_loop_test(t, an_end_is_taken_though_its_init_has_gone, 0, 2);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
