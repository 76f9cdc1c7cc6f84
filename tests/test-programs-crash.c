/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of programs when a broker dies, an init, the spawner, or their session is closed. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tests/fixture.h"
#include "tests/programs-world.h"

#define MANY 12 /* programs, of which an init that does not read is told of few */

/* The broker dies: 0 before the spawner has heard, 1 before it has answered, 2 after the client's end came. */
START_TEST(a_broker_that_dies_starts_one_program)
{
	struct process_record record;
	uint64_t id;
	int launch;

	played_begin();
	if (_i > 0)
		played_come();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0 keep");
	if (_i > 0)
		ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	if (_i == 2) {
		w.deaf = false;
		launch = played_launch_first(record.thread);
		ck_assert_int_ge(launch, 0);
	}
	world_restart(&w);
	played_find();
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 1);
	id = list_entry(list_first(&app->owned[ENTITY_PROGRAM]), struct entity, owner_link)->id;
	if (_i < 2) {
		/* The connection to the spawner is made anew. */
		ck_assert(!played_is_answered());
		played_come();
		ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
		ck_assert_uint_eq(record.thread, id);
		played_launch_first(id);
	} else {
		ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	}
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_int_ge(a.fd, 0);
	ck_assert(!played_is_answered());
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 1);
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 2);
}
END_TEST

/* What becomes of a program while no broker looks is told to the next. */
START_TEST(G10_no_end_is_lost_with_a_broker)
{
	struct process_record record, state = {.type = PROCESS_STATE};
	char path[64];
	uint64_t id;

	played_begin();
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0 keep", &id));
	played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	world_kill(&w);
	/* It was read by the one that died. */
	world_start(&w);
	world_settle(&w);
	played_find();
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	state.thread = id;
	state.flags = PHASE_EXITED;
	state.status = 9;
	ck_assert(!played_is_answered());
	played_tell(init, &state, NULL, 0);
	played_end(played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial}));
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "status=9 "));
	/* Told again, as the word that it is known was lost: acknowledged again. */
	played_tell(init, &state, NULL, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
}
END_TEST

/* An init that does not name a program has none. */
START_TEST(what_an_init_does_not_name_has_failed)
{
	struct process_record record;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	world_restart(&w);
	played_find();
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 1);
	played_end(played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial}));
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
}
END_TEST

/* It was said to run, so how that ended is kept for who started it, whatever it ended by. */
START_TEST(G10_an_end_with_the_init_is_told)
{
	char path[64];
	uint64_t id;

	played_begin();
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0 keep", &id));
	if (_i == 1)
		played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	init = world_close(&w, init);
	world_settle(&w);
	if (_i == 0)
		played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_ptr_nonnull(strstr(a.text, "state=failed step=start errno=ECONNRESET"));
	ck_assert_ptr_null(entity_find(w.model, id));
}
END_TEST

/* What an init has said before it is asked is not taken back by what it does not name then. */
START_TEST(G10_an_end_before_the_next_broker_asks_stays)
{
	struct process_record record, state = {.type = PROCESS_EXITED, .status = 7 << 8};
	char path[64];
	uint64_t id;

	played_begin();
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0 keep", &id));
	state.thread = id;
	world_kill(&w);
	ck_assert_int_eq(send(init, &state, sizeof(state), 0), sizeof(state));
	world_start(&w);
	world_settle(&w);
	played_find();
	while (played_said(init, &record, NULL) != PROCESS_SYNC)
		ck_assert_uint_eq(record.type, PROCESS_ACK);
	state.type = PROCESS_STATE;
	state.flags = PHASE_EXITED;
	played_tell(init, &state, NULL, 0);
	played_tell(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial}, NULL, 0);
	played_ask(WIRE_WAIT, path, 0, "");
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited"));
	ck_assert_ptr_nonnull(strstr(a.text, "status=1792 "));
}
END_TEST

START_TEST(an_answer_to_a_predecessor_is_none)
{
	struct process_record record;
	uint64_t id, serial;

	played_begin();
	played_run("descriptors=0", &id);
	world_restart(&w);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	serial = record.serial;
	world_restart(&w);
	played_find();
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	ck_assert_uint_gt(record.serial, serial);
	played_tell(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = serial}, NULL, 0);
	ck_assert_ptr_nonnull(entity_find(w.model, id));
}
END_TEST

/* Its client speaks to it already, so that nobody would come to another one. */
START_TEST(what_was_handed_out_is_not_begun_again)
{
	struct process_record record;
	uint64_t id;
	int launch;

	played_begin();
	played_come();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	id = record.thread;
	launch = played_launch_first(id);
	ck_assert_int_ge(launch, 0);
	ck_assert(played_is_answered());
	ck_assert_int_ge(a.fd, 0);
	init = world_close(&w, init);
	world_settle(&w);
	ck_assert_uint_eq(played_said(spawner, &record, NULL), 0);
	ck_assert_ptr_null(entity_find(w.model, id));
}
END_TEST

/* The spawner is not rid of it yet, though its socket has ended. */
START_TEST(an_init_that_is_not_gone_yet_is_waited_for)
{
	struct process_record record;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	init = world_close(&w, init);
	world_settle(&w);
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	id = record.thread;
	if (_i == 0) {
		record = (struct process_record){.type = PROCESS_FAILED, .thread = id, .error = EBUSY};
		played_tell(spawner, &record, NULL, 0);
		ck_assert(!played_is_answered());
		ck_assert_uint_eq(played_said(spawner, &record, NULL), 0);
	}
	record = (struct process_record){.type = PROCESS_ENDED, .session = app->entity.id};
	played_tell(spawner, &record, NULL, 0);
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	ck_assert_uint_eq(record.thread, id);
	played_launch_first(id);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
}
END_TEST

START_TEST(G62_a_session_ends_with_its_last_process)
{
	struct process_record record;
	int c;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	c = world_control(&w, root());
	world_send(c, WIRE_REMOVE, 9000, "sessions/app", "");
	world_settle(&w);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_END);
	ck_assert(!world_reply(&w, c, &a));
	ck_assert_ptr_nonnull(entity_find(w.model, id));
	if (_i == 1) {
		world_restart(&w);
		ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
		played_end(played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial}));
	}
	world_close(&w, init);
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_ptr_null(entity_find_name(w.model, root()->entity.id, ENTITY_SESSION, "app", 3));
	ck_assert_ptr_null(entity_find(w.model, id));
}
END_TEST

/* A session is gone when its init's process is, which is a moment later than its socket. */
START_TEST(G62_the_process_of_an_init_is_waited_for)
{
	struct process_record record;
	pid_t pid;
	int c;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	world_restart(&w);
	played_find();
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	played_tell(init, &(struct process_record){.type = PROCESS_STATE, .thread = id, .flags = PHASE_RUNNING}, NULL, 0);
	pid = played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial});
	c = world_control(&w, root());
	world_send(c, WIRE_REMOVE, 9000, "sessions/app", "");
	world_settle(&w);
	/* The other process has it, too. */
	ck_assert_int_eq(shutdown(init, SHUT_RDWR), 0);
	world_settle(&w);
	ck_assert(!world_reply(&w, c, &a));
	ck_assert_ptr_nonnull(entity_find(w.model, id));
	played_end(pid);
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_ptr_null(entity_find(w.model, id));
}
END_TEST

/* The init, or the spawner, dies under a program that is being started: another one makes it. */
START_TEST(a_lost_init_is_replaced)
{
	struct process_record record;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_START);
	init = world_close(&w, init);
	world_settle(&w);
	ck_assert_ptr_null(entity_find(w.model, id));
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	spawner = world_close(&w, spawner);
	world_settle(&w);
	ck_assert_uint_eq(w.n_spawners_wanted, 2);
	played_come();
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	played_launch_first(record.thread);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
}
END_TEST

/* An init that does not read: what it was not told is told when it does. */
START_TEST(G10_each_end_is_acknowledged_at_last)
{
	struct process_record record;
	uint64_t ids[MANY], id;
	bool acknowledged[MANY] = {};
	unsigned left = MANY, rounds = 0;

	played_room = 4096;
	played_begin();
	ck_assert_int_eq(world_ask(&w, world_control(&w, root()), WIRE_WRITE, "transfer_quota", "to=app threads=20", &a), 0);
	for (int i = 0; i < MANY; i++)
		played_run("descriptors=0", &ids[i]);
	for (int i = 0; i < MANY; i++)
		played_report(init, PROCESS_EXITED, ids[i], 0, 0);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
	while (left > 0) {
		uint32_t type = played_said(init, &record, NULL);

		ck_assert_uint_lt(rounds, 5 * MANY);
		for (int i = 0; type == PROCESS_ACK && i < MANY; i++)
			if (record.thread == ids[i] && !acknowledged[i]) {
				acknowledged[i] = true;
				left--;
			}
		if (type == 0)
			world_settle(&w);
		rounds++;
		if (type != PROCESS_SYNC)
			continue;
		id = record.serial;
		for (int i = 0; i < MANY; i++)
			if (!acknowledged[i])
				played_report(init, PROCESS_STATE, ids[i], PHASE_EXITED, 0);
		played_end(played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = id}));
	}
	/* It has told all, and is asked no more. */
	world_settle(&w);
	while (played_said(init, &record, NULL))
		ck_assert_uint_eq(record.type, PROCESS_ACK);
}
END_TEST

/* What cannot be done now is refused; but a pause is shown, and so it comes. */
START_TEST(G64_what_an_init_has_no_room_for)
{
	struct process_record record;
	char path[64];
	uint64_t id;
	int c, n = 0;

	played_room = 4096;
	played_begin();
	snprintf(path, sizeof(path), "threads/%s/ctl", played_run("descriptors=0", &id));
	c = world_control(&w, app);
	while (world_ask(&w, c, WIRE_WRITE, path, "signal=10", &a) == 0)
		n++;
	ck_assert_uint_eq(a.m.error, EAGAIN);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, path, "kill", &a), EAGAIN);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, path, "pause", &a), 0);
	world_restart(&w);
	played_find();
	for (; n > 0; n--) {
		ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_KILL);
		ck_assert_int_eq(record.signal, 10);
	}
	world_settle(&w);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
	played_report(init, PROCESS_STATE, id, PHASE_RUNNING, 0);
	played_end(played_say(init, &(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial}));
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_PAUSE);
	ck_assert_uint_eq(record.thread, id);
}
END_TEST

/* Who waits for a client first is nobody's init yet: it is not asked to end, but left. */
START_TEST(G62_one_that_is_on_its_way_holds_up_no_end)
{
	struct process_record record;
	int launch[2], r[2];

	played_begin();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	played_come();
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	played_pair(launch);
	played_pair(r);
	played_tell(spawner, &(struct process_record){.type = PROCESS_LAUNCH, .thread = record.thread},
		(int[]){launch[1], r[1]}, 2);
	close(launch[1]);
	close(r[1]);
	ck_assert(played_is_answered());
	ck_assert_int_eq(world_ask(&w, world_control(&w, root()), WIRE_REMOVE, "sessions/app", "", &a), 0);
	while (played_said(r[0], &record, NULL))
		continue;
	ck_assert_int_eq(recv(r[0], &record, sizeof(record), MSG_DONTWAIT), 0);
	close(launch[0]);
	close(r[0]);
}
END_TEST

/* The word that it is not to run again was stored, and nothing had followed from it. */
START_TEST(P14_one_that_was_given_up_is_over)
{
	struct process_record record;
	struct program_record *stored;
	struct change *ch;
	uint64_t id;

	played_begin();
	played_run("descriptors=0 restart=always", &id);
	played_report(init, PROCESS_EXITED, id, 0, 0);
	ck_assert_uint_eq(program_of(entity_find(w.model, id))->record.phase, PHASE_WAITING);
	ch = change_begin(w.model);
	stored = change_edit(ch, entity_find(w.model, id));
	stored->restart = RESTART_NO;
	ck_assert_int_eq(change_finish(ch, 0), 0);
	world_kill(&w);
	world_start(&w);
	world_settle(&w);
	played_find();
	while (played_said(init, &record, NULL) && record.type != PROCESS_ACK)
		continue;
	ck_assert_uint_eq(record.type, PROCESS_ACK);
	ck_assert_uint_eq(record.thread, id);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
}
END_TEST

/* Of what nobody knows the init is told that it is over, whatever it says of it; not of what is known. */
START_TEST(G63_what_nobody_knows_is_not_left_to_run)
{
	struct process_record record;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	played_report(init, PROCESS_STATE, id, PHASE_RUNNING, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), 0);
	played_report(init, PROCESS_STATE, id + 1000, PHASE_RUNNING, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert_uint_eq(record.thread, id + 1000);
	played_report(init, PROCESS_RUNNING, id + 1001, 0, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert_uint_eq(record.thread, id + 1001);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("programs-crash");
	TCase *t = tcase_create("programs-crash");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_broker_that_dies_starts_one_program, 0, 3);
	tcase_add_test(t, G10_no_end_is_lost_with_a_broker);
	tcase_add_test(t, what_an_init_does_not_name_has_failed);
	tcase_add_loop_test(t, G10_an_end_with_the_init_is_told, 0, 2);
	tcase_add_test(t, G10_an_end_before_the_next_broker_asks_stays);
	tcase_add_test(t, an_answer_to_a_predecessor_is_none);
	tcase_add_test(t, what_was_handed_out_is_not_begun_again);
	tcase_add_loop_test(t, an_init_that_is_not_gone_yet_is_waited_for, 0, 2);
	tcase_add_loop_test(t, G62_a_session_ends_with_its_last_process, 0, 2);
	tcase_add_test(t, G62_the_process_of_an_init_is_waited_for);
	tcase_add_test(t, a_lost_init_is_replaced);
	tcase_add_test(t, G10_each_end_is_acknowledged_at_last);
	tcase_add_test(t, G64_what_an_init_has_no_room_for);
	tcase_add_test(t, G62_one_that_is_on_its_way_holds_up_no_end);
	tcase_add_test(t, P14_one_that_was_given_up_is_over);
	tcase_add_test(t, G63_what_nobody_knows_is_not_left_to_run);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
