/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: S25 */
/*
 * Programs that a client starts in a session that is not below its own, by a slot that refers to it, with `spawn`:
 * it waits for them, and does to them what their `ctl` takes, and to nobody else there.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capfsd/kinds/kinds.h"
#include "tests/fixture.h"
#include "tests/programs-world.h"

static struct session *other;

static int
of_root(enum wire_op op, const char *path, const char *text)
{
	int c = world_control(&w, w.model->root), r = world_ask(&w, c, op, path, text, &a);

	world_close(&w, c);
	return r;
}

/* app has `other`, a capability to that session, with RIGHTS. */
static void
begin(const char *how)
{
	char words[64];

	played_begin();
	ck_assert_int_eq(of_root(WIRE_CREATE, "sessions/other", "caps=8 threads=8 ram=64K"), 0);
	other = session_find(w.model, w.model->root, "other", 5);
	ck_assert_int_eq(of_root(WIRE_WRITE, "originate", "type=session as=other of=other"), 0);
	snprintf(words, sizeof(words), "to=app %s", how);
	ck_assert_int_eq(of_root(WIRE_WRITE, "caps/other/grant", words), 0);
}

static int
asked(enum wire_op op, const char *path, const char *text)
{
	played_ask(op, path, 0, text);
	return played_is_answered() ? (int)a.m.error : -1;
}

static void
expect(int error, const char *reason)
{
	ck_assert_msg((int)a.m.error == error && strstr(a.text, reason), "%d: %s", (int)a.m.error, a.text);
}

/* A program of `other` that runs. Returns: its path from app. */
static const char *
run(uint64_t *ret_id)
{
	static char path[64];
	struct process_record record;
	struct process_plan plan;

	ck_assert_int_eq(asked(WIRE_SPAWN, "@other/threads", "descriptors=0 keep"), -1);
	played_come();
	ck_assert_uint_eq(played_said(spawner, &record, &plan), PROCESS_START);
	ck_assert_str_eq(plan.session, "sessions/other");
	played_launch_first(record.thread);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	played_report(init, PROCESS_RUNNING, record.thread, 0, 0);
	*ret_id = record.thread;
	snprintf(path, sizeof(path), "@other/threads/%s", entity_find(w.model, record.thread)->name);
	return path;
}

START_TEST(S25_with_the_right_it_is_started_and_waited_for)
{
	struct process_record record;
	char path[80];
	uint64_t id;

	begin("rights=spawn calls=1");
	snprintf(path, sizeof(path), "%s", run(&id));
	ck_assert_ptr_eq(program_of(entity_find(w.model, id))->session, other);
	ck_assert_uint_eq(other->used.n[QUOTA_THREADS], 2);
	ck_assert_int_eq(of_root(WIRE_READ, "events", ""), 0);
	ck_assert_ptr_nonnull(strstr(a.text, " spawn session=init/other thread="));
	ck_assert_ptr_nonnull(strstr(a.text, " from=init/app/caps/other\n"));
	ck_assert_int_eq(asked(WIRE_WAIT, path, ""), ETIMEDOUT);
	strcat(path, "/ctl");
	ck_assert_int_eq(asked(WIRE_WRITE, path, "kill"), 0);
	while (played_said(init, &record, NULL) && record.type != PROCESS_KILL)
		;
	ck_assert_uint_eq(record.type, PROCESS_KILL);
	path[strlen(path) - 4] = '\0';
	played_ask(WIRE_WAIT, path, UINT64_MAX, "");
	ck_assert(!played_is_answered());
	played_report(init, PROCESS_EXITED, id, 9, 0);
	ck_assert(played_is_answered());
	ck_assert_ptr_nonnull(strstr(a.text, "state=exited status=9 "));
	ck_assert_ptr_null(entity_find(w.model, id));
	/* To start it was a call, and to wait for it none. */
	ck_assert_int_eq(asked(WIRE_SPAWN, "@other/threads", "descriptors=0"), EDQUOT);
	expect(EDQUOT, "no calls are left of other");
}
END_TEST

START_TEST(S25_without_the_right_it_is_not)
{
	begin("rights=accept,account,call,control");
	ck_assert_int_eq(asked(WIRE_SPAWN, "@other/threads", "descriptors=0"), EPERM);
	expect(EPERM, "init/app does not hold right 'spawn' on other");
	ck_assert_int_eq(asked(WIRE_SPAWN, "@none/threads", "descriptors=0"), ENOENT);
	ck_assert_int_eq(asked(WIRE_SPAWN, "@", "descriptors=0"), ENOENT);
	ck_assert_int_eq(asked(WIRE_SPAWN, "@/threads", "descriptors=0"), ENOENT);
	ck_assert_int_eq(asked(WIRE_SPAWN, "sessions/other/threads", "descriptors=0"), ENOENT);
	ck_assert_uint_eq(w.model->n[ENTITY_PROGRAM], 0);
	ck_assert_uint_eq(other->used.n[QUOTA_THREADS], 0);
}
END_TEST

/* Nothing else of that session is reached, and nobody else's program. */
START_TEST(S25_only_what_was_started_is_reached)
{
	static const char *const others[] = {"@other", "@other/", "@other/threads", "@other/caps", "@other/quota",
		"@other/label", "@other/sessions", "@other/threads/1.1", "@other/../app", "@other/@other"};
	char path[80], words[96];
	uint64_t id;
	int second;

	begin("rights=spawn,replicate");
	ck_assert_int_eq(asked(WIRE_SPAWN, "@other/caps", "descriptors=0"), EINVAL);
	ck_assert_int_eq(asked(WIRE_SPAWN, "@other/sessions/x/threads", "descriptors=0"), EINVAL);
	ck_assert_int_eq(asked(WIRE_SPAWN, "@other/threads", "descriptors=0 serves=web"), EPERM);
	snprintf(path, sizeof(path), "%s", run(&id));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		ck_assert_msg(asked(WIRE_READ, others[i], "") == ENOENT, "%s: %s", others[i], a.text);
		ck_assert_int_eq(asked(WIRE_LIST, others[i], ""), ENOENT);
		ck_assert_int_eq(asked(WIRE_WAIT, others[i], ""), ENOENT);
	}
	ck_assert_int_ne(asked(WIRE_REMOVE, path, ""), 0);
	ck_assert_int_ne(asked(WIRE_CREATE, "@other/sessions/x", ""), 0);
	second = world_control(&w, app);
	ck_assert_int_eq(world_ask(&w, second, WIRE_WAIT, path, "", &a), ENOENT);
	snprintf(words, sizeof(words), "%s/ctl", path);
	ck_assert_int_eq(world_ask(&w, second, WIRE_WRITE, words, "kill", &a), ENOENT);
	/* Nor by who has lost the right. */
	ck_assert_int_eq(of_root(WIRE_WRITE, "caps/other/revoke", "to=app"), 0);
	ck_assert_int_eq(asked(WIRE_WRITE, words, "kill"), ENOENT);
	ck_assert(program_is_live(program_of(entity_find(w.model, id))));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("started");
	TCase *t = tcase_create("started");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, S25_with_the_right_it_is_started_and_waited_for);
	tcase_add_test(t, S25_without_the_right_it_is_not);
	tcase_add_test(t, S25_only_what_was_started_is_reached);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
