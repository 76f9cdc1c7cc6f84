/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs, with a spawner and inits that are played: what is asked of them, told, stored, and taken up again. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/model/event.h"
#include "tests/fixture.h"
#include "tests/programs-world.h"

START_TEST(S07_a_program_is_started_shown_and_waited_for)
{
	struct process_record record;
	struct process_plan plan;
	const uint64_t before = 0;
	const char *name;
	uint64_t id;

	played_begin();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=3 name=web keep");
	ck_assert(!played_is_answered());
	ck_assert_uint_eq(w.n_spawners_wanted, 1);
	played_come();
	ck_assert_uint_eq(played_said(spawner, &record, &plan), PROCESS_START);
	ck_assert_str_eq(plan.session, "sessions/app");
	ck_assert_uint_eq(plan.uid, app->record.uid);
	ck_assert(!played_is_answered());
	played_launch_first(record.thread);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_int_ge(a.fd, 0);
	id = record.thread;
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 2);
	name = entity_find(w.model, id)->name;
	ck_assert_ptr_nonnull(strstr(played_info(name), "state=starting\n"));
	played_report(init, PROCESS_RUNNING, id, 0, 0);
	ck_assert_ptr_nonnull(strstr(played_info(name), "state=running\n"));
	/* The sender, by the kernel's word. */
	{
		char pid[32];

		snprintf(pid, sizeof(pid), "pid=%d\n", (int)getpid());
		ck_assert_ptr_nonnull(strstr(played_info(name), pid));
	}
	ck_assert_ptr_nonnull(strstr(played_info(name), "name=web\n"));
	{
		char path[64];

		snprintf(path, sizeof(path), "threads/%s", name);
		played_ask(WIRE_WAIT, path, 0, "");
		ck_assert(played_is_answered());
		ck_assert_uint_eq(a.m.error, ETIMEDOUT);
		played_ask(WIRE_WAIT, path, UINT64_MAX, "");
		ck_assert(!played_is_answered());
	}
	played_report(init, PROCESS_EXITED, id, 0x8b, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert_uint_eq(record.thread, id);
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited status=139 "));
	ck_assert_ptr_null(entity_find(w.model, id));
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 1);
	world_close(&w, init);
	world_settle(&w);
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], before);
	ck_assert_int_eq(world_ask(&w, world_control(&w, app), WIRE_READ, "events", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " fault session=init/app thread="));
	ck_assert_ptr_nonnull(strstr(a.text, " signal=SEGV core=yes\n"));
	ck_assert_int_eq(world_ask(&w, world_control(&w, app), WIRE_READ, "faults", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " fault session=init/app thread="));
	ck_assert_ptr_null(strstr(a.text, " spawn "));
}
END_TEST

static int
no_room(void *store)
{
	return -ENOSPC;
}

/* The init says it again, until it is stored; who reads is told once. */
START_TEST(S08_a_fault_that_cannot_be_stored_is_one_fault)
{
	const struct store_ops *usual;
	struct process_record record;
	struct store_ops full;
	const char *first;
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	usual = w.model->store;
	full = *usual;
	full.commit = no_room;
	w.model->store = &full;
	played_report(init, PROCESS_EXITED, id, 9, 0);
	played_report(init, PROCESS_EXITED, id, 9, 0);
	/* It is asked for all that it has, and may forget nothing. */
	while (played_said(init, &record, NULL))
		ck_assert_uint_eq(record.type, PROCESS_SYNC);
	ck_assert_ptr_nonnull(entity_find(w.model, id));
	w.model->store = usual;
	played_report(init, PROCESS_EXITED, id, 9, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert_ptr_null(entity_find(w.model, id));
	ck_assert_int_eq(world_ask(&w, world_control(&w, app), WIRE_READ, "faults", "", &a), 0);
	first = strstr(a.text, " signal=KILL core=no\n");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(strstr(first + 1, " fault "));
}
END_TEST

/* So that there is one piece of work in each round of the loop. */
static uint64_t
slow_clock(void)
{
	static uint64_t now;

	return now += TURN_NSEC + 1;
}

struct reader {
	int control;
	const char *path;
	unsigned n, n_before; /* of replies with the fault, and of those before who waits for the thread had its own */
};

#define READS 20


static void
reader_look(struct reader *r, bool told)
{
	static struct answered answer;

	while (world_reply(&w, r->control, &answer))
		if (strstr(answer.text, " signal=SEGV ")) {
			r->n++;
			r->n_before += !told;
		}
}

START_TEST(G61_who_waits_for_a_thread_is_told_before_its_session_and_those_above)
{
	struct process_record record = {.type = PROCESS_EXITED, .status = 11};
	bool told = false;
	char path[64];

	played_begin();
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0 keep", &record.thread));
	struct reader readers[] = {
		{world_control(&w, w.model->root), "sessions/app/faults", 0, 0},
		{world_control(&w, app), "faults", 0, 0},
		{world_control(&w, w.model->root), "faults", 0, 0},
	};
	played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	/* All at once, so that there is always one of them in line. */
	for (uint64_t i = 1; i <= READS; i++)
		for (size_t k = 0; k < 3; k++)
			world_send(readers[k].control, WIRE_READ, i, readers[k].path, "");
	ck_assert_int_eq(msg_send(init, &record, sizeof(record), NULL, 0, 0), sizeof(record));
	w.turns.now_nsec = slow_clock;
	while (readers[0].n == 0 || readers[1].n == 0 || readers[2].n == 0) {
		ck_assert_int_ge(sd_event_run(w.event, 0), 0);
		for (size_t i = 0; i < 3; i++)
			reader_look(&readers[i], told);
		told = told || played_is_answered();
	}
	ck_assert(told);
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited status=11 "));
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(readers[i].n_before, 0);
	world_settle(&w);
}
END_TEST

struct heard {
	const struct session *sessions[4];
	size_t n;
};

static void
note_logged(void *data, struct session *s)
{
	struct heard *heard = data;

	ck_assert_uint_lt(heard->n, 4);
	heard->sessions[heard->n++] = s;
}

START_TEST(G61_a_session_is_told_before_those_above)
{
	const struct model_hooks hooks = {.logged = note_logged}, *before;
	struct heard heard = {};
	void *data;

	played_begin();
	before = w.model->hooks;
	data = w.model->hooks_data;
	w.model->hooks = &hooks;
	w.model->hooks_data = &heard;
	event_log(w.model, app, &(struct event){.verb = EVENT_FAULT_VERB, .keep = EVENT_FAULT});
	w.model->hooks = before;
	w.model->hooks_data = data;
	ck_assert_uint_eq(heard.n, 2);
	ck_assert_ptr_eq(heard.sessions[0], app);
	ck_assert_ptr_eq(heard.sessions[1], w.model->root);
}
END_TEST

START_TEST(G65_its_end_may_come_before_it_is_waited_for)
{
	char path[64];
	uint64_t id;

	played_begin();
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0 keep", &id));
	played_report(init, PROCESS_EXITED, id, 0x0100, 0);
	ck_assert_ptr_nonnull(entity_find(w.model, id));
	played_ask(WIRE_WAIT, path, 0, "");
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "status=256 "));
	played_ask(WIRE_WAIT, path, 0, "");
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, ENOENT);
	/* Nobody asked about this one. */
	snprintf(path, sizeof(path), "threads/%s", played_run("descriptors=0", &id));
	played_report(init, PROCESS_EXITED, id, 0, 0);
	ck_assert_ptr_null(entity_find(w.model, id));
}
END_TEST

/* Sent on CLIENT, which is not the one that has asked for the program. */
static void
wait_too(int client, uint64_t number, const char *path)
{
	struct wire_request m = {.op = WIRE_WAIT, .serial = number, .offset = UINT64_MAX, .path = path,
		.n_path = strlen(path), .text = ""};
	uint8_t buffer[256];
	int n = wire_request_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(send(client, buffer, (size_t)n, 0), n);
	world_settle(&w);
}

/* Whether somebody has asked for that to be kept or not, and whoever comes first. */
START_TEST(G65_all_who_wait_are_told)
{
	static const char *const words[] = {"descriptors=0", "descriptors=0 keep"};
	int others[2];
	char path[64];
	uint64_t id;

	played_begin();
	others[0] = world_control(&w, app);
	others[1] = world_control(&w, w.model->root);
	for (uint64_t i = 0; i < 2; i++) {
		char above[96];

		snprintf(path, sizeof(path), "threads/%s", played_run(words[i], &id));
		snprintf(above, sizeof(above), "sessions/app/%s", path);
		if (i == 1)
			played_ask(WIRE_WAIT, path, UINT64_MAX, "");
		wait_too(others[0], i + 1, path);
		wait_too(others[1], i + 1, above);
		played_report(init, PROCESS_EXITED, id, 0x0100, 0);
		for (int k = 0; k < 2; k++) {
			ck_assert(world_reply(&w, others[k], &a));
			ck_assert_uint_eq(a.m.error, 0);
			ck_assert_ptr_nonnull(strstr(a.text, "status=256 "));
		}
		if (i == 1)
			ck_assert(played_is_answered() && strstr(a.text, "status=256 "));
		world_settle_for(&w, 20000);
		ck_assert_ptr_null(entity_find(w.model, id));
	}
	world_close(&w, others[0]);
	world_close(&w, others[1]);
}
END_TEST

/* More than one record has, over a restart; paid for as long as they are there. */
START_TEST(S27_descriptors_are_shown_as_they_were_called)
{
	char words[4096] = "descriptors=300 labels=", wanted[64], path[64];
	struct process_record record;
	uint64_t before, id;
	const char *text;

	played_begin();
	before = played_used().n[QUOTA_RAM];
	for (int i = 0; i < 300; i++)
		sprintf(words + strlen(words), "%sfd.%d", i ? "," : "", i);
	snprintf(path, sizeof(path), "threads/%s/fds", played_run(words, &id));
	for (int restarted = 0; restarted < 2; restarted++) {
		ck_assert_int_eq(world_ask(&w, world_control(&w, app), WIRE_READ, path, "", &a), 0);
		text = a.text;
		for (int i = 0; i < 300; i++) {
			int n = sprintf(wanted, "%d fd.%d\n", i, i);

			ck_assert_msg(strncmp(text, wanted, (size_t)n) == 0, "%d: %.20s", i, text);
			text += n;
		}
		ck_assert_str_eq(text, "");
		world_restart(&w);
		played_find();
		ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_SYNC);
		played_tell(init,
			&(struct process_record){.type = PROCESS_STATE, .thread = id, .flags = PHASE_RUNNING}, NULL, 0);
		played_tell(init,
			&(struct process_record){.type = PROCESS_SYNCED, .serial = record.serial}, NULL, 0);
	}
	played_report(init, PROCESS_EXITED, id, 0, 0);
	/* Its two events are left. */
	ck_assert_uint_lt(played_used().n[QUOTA_RAM] - before, 1024);
	ck_assert_uint_eq(app->n_owned[ENTITY_LABELS], 0);
	/* Others have names for none. */
	snprintf(path, sizeof(path), "threads/%s/fds", played_run("descriptors=2", &id));
	ck_assert_int_eq(world_ask(&w, world_control(&w, app), WIRE_READ, path, "", &a), 0);
	ck_assert_str_eq(a.text, "0 -\n1 -\n");
}
END_TEST

START_TEST(without_a_spawner_nothing_is_started)
{
	played_begin();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	programs_set_spawner(w.programs, -1);
	world_settle(&w);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(a.text, "no spawner"));
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 0);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
}
END_TEST

START_TEST(bad_requests_start_nothing)
{
	static const struct {
		const char *path, *text;
		int error;
	} bad[] = {
		{"threads", "", EINVAL},
		{"threads", "descriptors=x", EINVAL},
		{"threads", "descriptors=4097", EINVAL},
		{"threads", "descriptors=1 name=a/b", EINVAL},
		{"threads", "descriptors=1 name=a-name-that-is-longer-than-31-bytes", EINVAL},
		{"threads", "descriptors=1 uid=0", EINVAL},
		{"threads", "descriptors=2 labels=a", EINVAL},
		{"threads", "descriptors=2 labels=a,", EINVAL},
		{"threads", "descriptors=1 labels=a;b", EINVAL},
		{"caps", "descriptors=1", EINVAL},
		{"nowhere", "descriptors=1", ENOENT},
	};

	played_begin();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		played_ask(WIRE_SPAWN, bad[i].path, 0, bad[i].text);
		ck_assert_msg(played_is_answered() && a.m.error == (uint32_t)bad[i].error, "%s: %u", bad[i].text, a.m.error);
	}
	ck_assert_uint_eq(w.n_spawners_wanted, 0);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
}
END_TEST

START_TEST(Z80_G63_threads_are_paid_for)
{
	uint64_t id;

	played_begin();
	played_run("descriptors=0", &id);
	played_run("descriptors=0", &id);
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 3);
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, EDQUOT);
	played_report(init, PROCESS_EXITED, id, 0, 0);
	played_run("descriptors=0", &id);
}
END_TEST

START_TEST(C04_a_failed_start_is_told_with_its_step)
{
	struct process_record record;

	played_begin();
	played_come();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	played_report(spawner, PROCESS_FAILED, record.thread, STEP_CGROUP, EOPNOTSUPP);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(a.text, "step cgroup"));
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 0);
	ck_assert_ptr_null(entity_find(w.model, record.thread));
}
END_TEST

/* Without its client, one that was to end with it is killed; one that runs on is nobody's. */
START_TEST(C05_it_ends_with_its_client_if_that_was_asked)
{
	struct process_record record;
	uint64_t stays, dies;

	played_begin();
	played_run("descriptors=0 keep", &stays);
	played_run("descriptors=0 die keep", &dies);
	control = world_close(&w, control);
	world_settle(&w);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_KILL);
	ck_assert_uint_eq(record.thread, dies);
	ck_assert_int_eq(record.signal, SIGKILL);
	ck_assert_uint_eq(played_said(init, &record, NULL), 0);
	played_report(init, PROCESS_EXITED, dies, 9, 0);
	played_report(init, PROCESS_EXITED, stays, 0, 0);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
}
END_TEST

/* The client left while it was started: whatever comes then is not kept, and its other ends see that. */
START_TEST(a_client_that_leaves_is_not_waited_for)
{
	struct process_record record, launched = {.type = PROCESS_LAUNCH};
	int launch[2], r[2];

	played_begin();
	played_come();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0 keep");
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	control = world_close(&w, control);
	world_settle(&w);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
	played_pair(launch);
	played_pair(r);
	launched.thread = record.thread;
	played_tell(spawner, &launched, (int[]){launch[1], r[1]}, 2);
	close(launch[1]);
	close(r[1]);
	ck_assert(world_is_over(world_own(&w, launch[0])));
	ck_assert(world_is_over(world_own(&w, r[0])));
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 0);
}
END_TEST

/* An init speaks of its own session's programs. */
START_TEST(S07_forged_reports_have_no_effect)
{
	struct process_record record;
	uint64_t id;
	int mine;

	played_begin();
	played_run("descriptors=0", &id);
	mine = init;
	{
		int c = world_control(&w, root());

		ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/other", "threads=2 ram=64K sockets=8", &a), 0);
		world_send(c, WIRE_SPAWN, 9100, "sessions/other/threads", "descriptors=0");
		world_settle(&w);
		ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
		played_launch_first(record.thread);
		ck_assert(world_reply(&w, c, &a));
	}
	played_report(init, PROCESS_EXITED, id, 0, 0);
	ck_assert_ptr_nonnull(entity_find(w.model, id));
	played_report(mine, PROCESS_FAILED, record.thread, STEP_EXEC, ENOENT);
	ck_assert_ptr_nonnull(entity_find(w.model, record.thread));
	played_report(mine, PROCESS_EXITED, root()->entity.id, 0, 0);
	played_report(mine, 77, id, 0, 0);
	ck_assert_int_eq(send(mine, "short", 5, 0), 5);
	world_settle(&w);
	ck_assert_ptr_nonnull(entity_find(w.model, id));
}
END_TEST

START_TEST(G64_ctl)
{
	static const struct {
		const char *text;
		int error;
		uint32_t type;
		int signal;
		uint64_t cookie;
	} commands[] = {
		{"kill", 0, PROCESS_KILL, SIGKILL, 0},
		{"signal=15", 0, PROCESS_KILL, SIGTERM, 0},
		{"pause", 0, PROCESS_PAUSE, 0, 0},
		{"pause", 0, 0, 0, 0},
		{"resume", 0, PROCESS_RESUME, 0, 0},
		{"affinity=0-1,3", 0, PROCESS_AFFINITY, 0, 0xb},
		{"affinity=3-1", EINVAL, 0, 0, 0},
		{"affinity=64", EINVAL, 0, 0, 0},
		{"affinity=1,", EINVAL, 0, 0, 0},
		{"signal=0", EINVAL, 0, 0, 0},
		{"signal=65", EINVAL, 0, 0, 0},
		{"kill pause", EINVAL, 0, 0, 0},
		{"", EINVAL, 0, 0, 0},
	};
	struct process_record record;
	char path[64];
	uint64_t id;
	int c;

	played_begin();
	snprintf(path, sizeof(path), "threads/%s/ctl", played_run("descriptors=0 keep", &id));
	c = world_control(&w, app);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		uint32_t type;

		ck_assert_msg(world_ask(&w, c, WIRE_WRITE, path, commands[i].text, &a) == commands[i].error,
			"%s: %u %s", commands[i].text, a.m.error, a.text);
		memset(&record, 0, sizeof(record));
		type = played_said(init, &record, NULL);
		ck_assert_msg(type == commands[i].type, "%s: %u", commands[i].text, type);
		ck_assert_int_eq(record.signal, commands[i].signal);
		ck_assert_uint_eq(record.cookie, commands[i].cookie);
		ck_assert(!type || record.thread == id);
	}
	played_report(init, PROCESS_EXITED, id, 0, 0);
	ck_assert_uint_eq(played_said(init, &record, NULL), PROCESS_ACK);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, path, "kill", &a), ESRCH);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("programs");
	TCase *t = tcase_create("programs");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, S07_a_program_is_started_shown_and_waited_for);
	tcase_add_test(t, S08_a_fault_that_cannot_be_stored_is_one_fault);
	tcase_add_test(t, G61_who_waits_for_a_thread_is_told_before_its_session_and_those_above);
	tcase_add_test(t, G61_a_session_is_told_before_those_above);
	tcase_add_test(t, G65_all_who_wait_are_told);
	tcase_add_test(t, G65_its_end_may_come_before_it_is_waited_for);
	tcase_add_test(t, S27_descriptors_are_shown_as_they_were_called);
	tcase_add_test(t, without_a_spawner_nothing_is_started);
	tcase_add_test(t, bad_requests_start_nothing);
	tcase_add_test(t, Z80_G63_threads_are_paid_for);
	tcase_add_test(t, C04_a_failed_start_is_told_with_its_step);
	tcase_add_test(t, C05_it_ends_with_its_client_if_that_was_asked);
	tcase_add_test(t, a_client_that_leaves_is_not_waited_for);
	tcase_add_test(t, S07_forged_reports_have_no_effect);
	tcase_add_test(t, G64_ctl);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
