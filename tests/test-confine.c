/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `confine`: what may be written, what is in effect, and what a spawner is told of it. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/fixture.h"
#include "tests/programs-world.h"

static int
confine(const char *path, const char *text)
{
	return world_ask(&w, world_control(&w, root()), WIRE_WRITE, path, text, &a);
}

static const char *
shown(const char *path)
{
	a.text[0] = '\0';
	world_ask(&w, world_control(&w, root()), WIRE_READ, path, "", &a);
	return a.text;
}

START_TEST(what_is_written_is_shown)
{
	played_begin();
	ck_assert_str_eq(shown("sessions/app/confine"), "none\n");
	ck_assert_int_eq(confine("sessions/app/confine",
				 "uid=1000 gid=100 ro=/usr,/etc rw=/srv/app cwd=/srv/app "
				 "rlimits=nofile:1K,core:0:unlimited dev=no mem=64M pids=100"),
		0);
	ck_assert_str_eq(shown("sessions/app/confine"),
		"uid=1000\ngid=100\nro=/etc,/usr\nrw=/srv/app\ncwd=/srv/app\nnet=none\nproc=yes\ndev=no\n"
		"seccomp=yes\nlandlock=yes\nrlimits=core:0:18446744073709551615,nofile:1024\n"
		"mem=67108864\npids=100\n");
	ck_assert(world_has_event(&w, " confine session=init/app "));
	world_restart(&w);
	ck_assert_ptr_nonnull(strstr(shown("sessions/app/confine"), "ro=/etc,/usr\n"));
	ck_assert_str_eq(shown("confine"), "none\n");
}
END_TEST

START_TEST(nonsense_is_refused)
{
	static const char *const bad[] = {"", "uid=-1", "uid=4294967295", "uid=x", "ro=usr",
		"ro=/", "ro=/usr/", "ro=//usr", "ro=/usr/../etc", "ro=/usr/./lib", "ro=/usr,", "rw=/a,b", "net=yes",
		"proc=maybe", "mem=0", "mem=", "mem=-1", "mem=1.5G", "pids=0", "pids=max", "rlimits=nofile", "rlimits=files:3", "rlimits=nofile:9:8", "rlimits=nofile:x",
		"root=relative", "cwd=..", "ro=/a ro=/b", "unknown=1", "groups=x", "groups=-1", "groups=4294967295",
		"groups=1,1", "groups=none,1"};
	char text[1024] = "ro=";

	played_begin();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int e = confine("sessions/app/confine", bad[i]);

		/* A list may end with a comma, as it does where a shell joins words. */
		ck_assert_msg(e == EINVAL || strcmp(bad[i], "ro=/usr,") == 0 || !*bad[i], "%s: %d", bad[i], e);
	}
	for (int i = 0; i <= PLAN_BINDS_MAX; i++)
		strcat(text, i ? ",/usr" : "/usr");
	ck_assert_int_eq(confine("sessions/app/confine", text), EINVAL);
}
END_TEST

START_TEST(a_confined_session_is_only_confined_more)
{
	static const struct {
		const char *text;
		int error;
	} steps[] = {
		{"ro=/usr,/etc rw=/srv net=host rlimits=nofile:100", 0},
		{"rw=/usr", EPERM},
		{"ro=/usr,/opt", EPERM},
		{"rlimits=nofile:101", EPERM},
		{"rlimits=nofile:50", 0},
		{"rlimits=nofile:100", EPERM},
		{"seccomp=no", EPERM},
		{"ro=/usr/lib rw=/srv/data", 0},
		{"ro=/usr", EPERM},
		{"net=none", 0},
		{"net=host", EPERM},
		{"proc=no", 0},
		{"proc=yes", EPERM},
		{"uid=5", 0},
		{"uid=6", EPERM},
		{"root=/srv", EPERM},
		{"mem=1G", 0},
		{"mem=2G pids=7", EPERM},
		{"mem=1M pids=7", 0},
		{"pids=8", EPERM},
		{"groups=44", EPERM},
		{"groups=none", 0},
	};

	played_begin();
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int e = confine("sessions/app/confine", steps[i].text);

		ck_assert_msg(e == steps[i].error, "%s: %d %s", steps[i].text, e, a.text);
	}
	ck_assert_str_eq(shown("sessions/app/confine"),
		"uid=5\nro=/usr/lib\nrw=/srv/data\nnet=none\nproc=no\ndev=yes\nseccomp=yes\nlandlock=yes\nrlimits=nofile:50\n"
		"mem=1048576\npids=7\n");
}
END_TEST

START_TEST(it_is_inherited)
{
	int c;

	played_begin();
	c = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app/sessions/in", "ram=16K", &a), 0);
	ck_assert_int_eq(confine("sessions/app/sessions/in/confine",
				 "ro=/usr rw=/srv/x,/opt rlimits=core:0 mem=1M pids=9"),
		0);
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/srv rw=/opt rlimits=nofile:9 mem=2M pids=5"), 0);
	/* As far as the one above allows. */
	ck_assert_str_eq(shown("sessions/app/sessions/in/confine"),
		"ro=/srv/x\nrw=/opt\nnet=none\nproc=yes\ndev=yes\nseccomp=yes\nlandlock=yes\nrlimits=core:0,nofile:9\n"
		"mem=1048576\npids=5\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app/sessions/other", "ram=8K", &a), 0);
	ck_assert_ptr_nonnull(strstr(shown("sessions/app/sessions/other/confine"), "rw=/opt\n"));
	/* It is paid for, and given back. */
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions/app/sessions/in", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app/sessions/poor", "ram=1", &a), 0);
	ck_assert_int_eq(confine("sessions/app/sessions/poor/confine", "proc=no"), EDQUOT);
}
END_TEST

/* There are fewer below, and never others; what was said below before is not made more by it. */
START_TEST(G91_groups_are_left_out)
{
	struct process_record record;
	struct process_plan plan;
	int c;

	played_begin();
	c = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app/sessions/in", "ram=16K threads=2", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app/sessions/other", "ram=8K", &a), 0);
	ck_assert_int_eq(confine("sessions/app/sessions/other/confine", "ro=/usr groups=44,45"), 0);
	ck_assert_int_eq(confine("sessions/app/confine", "uid=77 ro=/usr groups=107,44,9"), 0);
	ck_assert_ptr_nonnull(strstr(shown("sessions/app/confine"), "\ngroups=9,44,107\n"));
	ck_assert_ptr_nonnull(strstr(shown("sessions/app/sessions/in/confine"), "\ngroups=9,44,107\n"));
	ck_assert_ptr_nonnull(strstr(shown("sessions/app/sessions/other/confine"), "groups=44\n"));
	ck_assert_int_eq(confine("sessions/app/sessions/in/confine", "groups=45"), EPERM);
	ck_assert_int_eq(confine("sessions/app/sessions/in/confine", "groups=107,9"), 0);
	ck_assert_int_eq(confine("sessions/app/sessions/in/confine", "groups=107,44"), EPERM);
	world_restart(&w);
	played_find();
	ck_assert_ptr_nonnull(strstr(shown("sessions/app/sessions/in/confine"), "\ngroups=9,107\n"));
	played_come();
	world_send(world_control(&w, app), WIRE_SPAWN, 1, "sessions/in/threads", "descriptors=0");
	world_settle(&w);
	ck_assert_uint_eq(played_said(spawner, &record, &plan), PROCESS_START);
	ck_assert_uint_eq(plan.n_groups, 2);
	ck_assert_uint_eq(plan.groups[0], 9);
	ck_assert_uint_eq(plan.groups[1], 107);
}
END_TEST

/* What lies below something else is bound after it, and cannot be uncovered. */
START_TEST(what_is_read_only_below_what_is_written_stays_so)
{
	struct process_record record;
	struct process_plan plan;
	int c;

	played_begin();
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/srv/a/b,/usr rw=/srv/a,/srv/a/b/c"), 0);
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/usr"), EPERM);
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/usr rw=/srv/a"), EPERM);
	c = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app/sessions/in", "ram=16K", &a), 0);
	ck_assert_int_eq(confine("sessions/app/sessions/in/confine", "ro=/usr rw=/srv/a"), EPERM);
	ck_assert_int_eq(confine("sessions/app/sessions/in/confine", "ro=/srv/a/b rw=/srv/a"), 0);
	played_come();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, &plan), PROCESS_START);
	ck_assert_uint_eq(plan.n_binds, 4);
	ck_assert_str_eq(plan.binds[0].path, "/srv/a");
	ck_assert_str_eq(plan.binds[1].path, "/srv/a/b");
	ck_assert_uint_eq(plan.binds[1].writable, 0);
	ck_assert_str_eq(plan.binds[2].path, "/srv/a/b/c");
	ck_assert_str_eq(plan.binds[3].path, "/usr");
}
END_TEST

/* A session whose parent is confined meanwhile would go on without that. */
START_TEST(nor_is_one_confined_above_what_runs)
{
	struct process_record record;
	int c;

	played_begin();
	c = world_control(&w, app);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/in", "threads=2 ram=16K sockets=4", &a), 0);
	played_come();
	played_ask(WIRE_SPAWN, "sessions/in/threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/usr"), EBUSY);
	played_report(spawner, PROCESS_FAILED, record.thread, STEP_FORK, EAGAIN);
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/usr"), 0);
}
END_TEST

START_TEST(Z81_where_a_program_runs_it_stays)
{
	uint64_t id;

	played_begin();
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/usr"), 0);
	played_run("descriptors=0", &id);
	ck_assert_int_eq(confine("sessions/app/confine", "net=none"), EBUSY);
	played_report(init, PROCESS_EXITED, id, 0, 0);
	ck_assert_int_eq(confine("sessions/app/confine", "net=none"), EBUSY);
	init = world_close(&w, init);
	world_settle(&w);
	ck_assert_int_eq(confine("sessions/app/confine", "net=none"), 0);
}
END_TEST

START_TEST(the_spawner_is_told)
{
	struct process_record record;
	struct process_plan plan;

	played_begin();
	ck_assert_int_eq(confine("sessions/app/confine", "uid=77 gid=78 ro=/usr rw=/srv rlimits=nofile:7 mem=1G pids=9"), 0);
	played_come();
	played_ask(WIRE_SPAWN, "threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, &plan), PROCESS_START);
	ck_assert_uint_eq(plan.uid, 77);
	ck_assert_uint_eq(plan.gid, 78);
	ck_assert_uint_eq(plan.n_groups, 0);
	ck_assert_uint_eq(plan.flags, PLAN_CONFINED | PLAN_PROC | PLAN_DEV | PLAN_SECCOMP | PLAN_LANDLOCK);
	ck_assert_uint_eq(plan.n_binds, 2);
	ck_assert_str_eq(plan.binds[0].path, "/srv");
	ck_assert_uint_eq(plan.binds[0].writable, 1);
	ck_assert_str_eq(plan.binds[1].path, "/usr");
	ck_assert_uint_eq(plan.binds[1].writable, 0);
	ck_assert_uint_eq(plan.rlimits_set, 1U << RLIMIT_NOFILE);
	ck_assert_uint_eq(plan.rlimits[RLIMIT_NOFILE][0], 7);
	ck_assert_uint_eq(plan.memory_max, 1 << 30);
	ck_assert_uint_eq(plan.pids_max, 9);
}
END_TEST

/* Inside a confined session its init makes that of a session below, and never the spawner. */
START_TEST(S09_below_a_confined_session_its_init_is_asked)
{
	struct process_record record, launched = {.type = PROCESS_LAUNCH};
	struct process_plan plan;
	int c, launch[2], r[2];
	uint64_t id;

	played_begin();
	ck_assert_int_eq(confine("sessions/app/confine", "ro=/usr"), 0);
	c = world_control(&w, app);
	ck_assert_int_eq(world_ask(&w, world_control(&w, root()), WIRE_WRITE, "transfer_quota", "to=app threads=4", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/in", "threads=2 ram=16K sockets=4", &a), 0);
	played_run("descriptors=0", &id);
	played_ask(WIRE_SPAWN, "sessions/in/threads", 0, "descriptors=0");
	ck_assert_uint_eq(played_said(spawner, &record, NULL), 0);
	ck_assert_uint_eq(played_said(init, &record, &plan), PROCESS_START);
	ck_assert_str_eq(plan.session, "sessions/app/sessions/in");
	ck_assert(plan.flags & PLAN_CONFINED);
	if (_i == 1) {
		/* That init is gone, with all that was in it. */
		init = world_close(&w, init);
		world_settle(&w);
		ck_assert_uint_eq(played_said(spawner, &record, &plan), PROCESS_START);
		ck_assert_str_eq(plan.session, "sessions/app/sessions/in");
		return;
	}
	launched.thread = record.thread;
	played_pair(launch);
	played_pair(r);
	world_own(&w, launch[0]);
	world_own(&w, r[0]);
	played_tell(init, &launched, (int[]){launch[1], r[1]}, 2);
	close(launch[1]);
	close(r[1]);
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_int_ge(a.fd, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("confine");
	TCase *t = tcase_create("confine");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_written_is_shown);
	tcase_add_test(t, nonsense_is_refused);
	tcase_add_test(t, a_confined_session_is_only_confined_more);
	tcase_add_test(t, it_is_inherited);
	tcase_add_test(t, G91_groups_are_left_out);
	tcase_add_test(t, what_is_read_only_below_what_is_written_stays_so);
	tcase_add_test(t, nor_is_one_confined_above_what_runs);
	tcase_add_test(t, Z81_where_a_program_runs_it_stays);
	tcase_add_test(t, the_spawner_is_told);
	tcase_add_loop_test(t, S09_below_a_confined_session_its_init_is_asked, 0, 2);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
