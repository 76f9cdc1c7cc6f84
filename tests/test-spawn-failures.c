/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C04 S18 */
/* A start that fails in the new process leaves nothing, and the caller as it was. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/spawn-world.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* It fails with ERROR, for a reason that begins with WHY, and is to be killed if KILL. */
static void
fails(int error, const char *why, bool kill, uint64_t timeout)
{
	make_files();
	remember_table();
	answer();
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .fds = table, .n_fds = 1000}, timeout), error);
	played_program_end(&program);
	ck_assert_ptr_null(thread);
	table_is_as_before();
	if (why) {
		ck_assert_ptr_nonnull(reason);
		ck_assert_msg(strncmp(reason, why, strlen(why)) == 0, "%s", reason);
	} else {
		ck_assert_ptr_null(reason);
	}
	ck_assert_str_eq(capc_session_reason(d.session), reason ? reason : "");
	was_given_up(kill);
	/* The connection goes on as before. */
	next_program();
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv});
	close_files();
}

START_TEST(C04_S18_each_step_can_fail)
{
	static const char *const words[] = PROCESS_STEP_WORDS;
	char why[32];

	snprintf(why, sizeof(why), "step %s", words[_i]);
	program.answers[0] = (struct process_answer){.step = _i, .error = EDOM};
	fails(-EDOM, why, false, LONG);
}
END_TEST

START_TEST(a_later_version_has_more_steps)
{
	char why[32];

	snprintf(why, sizeof(why), "step %d", STEP_N + _i);
	program.answers[0] = (struct process_answer){.step = STEP_N + _i, .error = EDOM};
	program.n_answer_bytes = 32;
	fails(-EDOM, why, false, LONG);
}
END_TEST

static const struct {
	int step, error;
	const char *reason;
} told[] = {
	{STEP_EXEC, ENOENT, "step exec: there is no such program"},
	{STEP_EXEC, EACCES, "step exec: it may not"},
	{STEP_EXEC, ENOEXEC, "step exec: it is no program"},
	{STEP_PLACE, EISDIR, "step place: a directory"},
	{STEP_FDS, EMFILE, "step fds: it may not have so many"},
	{STEP_SECCOMP, EBUSY, "step seccomp: somebody else is asked"},
	{STEP_SECCOMP, EOPNOTSUPP, "step seccomp: open(2) of sockets needs Linux 5.19"},
};

START_TEST(C04_S18_a_failure_says_what_can_be_done)
{
	program.answers[0] = (struct process_answer){.step = told[_i].step, .error = told[_i].error};
	fails(-told[_i].error, told[_i].reason, false, LONG);
}
END_TEST

START_TEST(C04_S18_the_kernel_may_refuse_at_last)
{
	program.answers[1] = (struct process_answer){.step = STEP_EXEC, .error = EACCES};
	program.n_answers = 2;
	fails(-EACCES, "step exec", false, LONG);
}
END_TEST

START_TEST(C04_a_script_has_a_path)
{
	make_files();
	program.answers[0] = (struct process_answer){.step = STEP_EXEC, .error = ENOENT};
	answer();
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .exec_fd = files[0], .flags = CAPC_SPAWN_EXEC_FD}, LONG), -ENOEXEC);
	played_program_end(&program);
	ck_assert_str_eq(reason, "step exec: a script cannot be executed by its descriptor");
	close_files();
}
END_TEST

/* An image of before takes the flag for nonsense. */
START_TEST(what_starts_programs_may_be_older)
{
	program.answers[0] = (struct process_answer){.step = STEP_HELLO, .error = EBADMSG};
	answer();
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .flags = CAPC_SPAWN_OPEN_SOCKETS}, LONG), -EOPNOTSUPP);
	played_program_end(&program);
	ck_assert_uint_eq(program.hello.flags, HELLO_OPEN_SOCKETS);
	ck_assert_str_eq(reason, "step hello: what starts programs there is older than open(2) of sockets");
}
END_TEST

/* Nobody keeps anything of what was detached. */
START_TEST(C04_what_is_detached_is_gone)
{
	program.answers[0] = (struct process_answer){.step = STEP_EXEC, .error = ENOENT};
	answer();
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .flags = CAPC_SPAWN_DETACHED}, LONG), -ENOENT);
	played_program_end(&program);
	played_asked(&d, WIRE_SPAWN, "threads", "descriptors=0");
	played_quiet(&d);
}
END_TEST

/* It says so while the client is sending, or has sent all, and ends with a queue that is not empty. */
START_TEST(S18_it_need_not_take_what_it_has_no_use_for)
{
	program.takes = _i;
	program.answers[0] = (struct process_answer){.step = STEP_FDS, .error = EMFILE};
	fails(-EMFILE, "step fds", false, LONG);
}
END_TEST

START_TEST(S18_it_may_end_without_a_word)
{
	program.takes = _i;
	program.n_answers = 0;
	fails(-ECONNRESET, "step start: it ended", false, LONG);
}
END_TEST

START_TEST(S18_it_may_never_answer)
{
	program.takes = _i == 0 ? PROGRAM_TAKES_ALL : _i == 1 ? PROGRAM_TAKES_NOTHING : 0;
	program.n_answers = 0;
	program.waits = true;
	fails(-ETIMEDOUT, NULL, true, SHORT);
}
END_TEST

/* A socket holds less than all of this. */
static int
spawn_large(uint64_t timeout)
{
	static char big[HELLO_BYTES_MAX - 100];
	char *const envp[] = {big, NULL};
	int r;

	memset(big, 'x', sizeof(big) - 1);
	answer();
	r = spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv, .envp = envp},
		timeout);
	played_program_end(&program);
	return r;
}

START_TEST(S18_it_may_never_read)
{
	program.takes = PROGRAM_TAKES_NOTHING;
	program.n_answers = 0;
	program.waits = true;
	ck_assert_int_eq(spawn_large(SHORT), -ETIMEDOUT);
	was_given_up(true);
}
END_TEST

START_TEST(C04_S18_it_may_answer_before_all_was_sent)
{
	program.takes = 1;
	program.answers[0] = (struct process_answer){.step = STEP_FDS, .error = EMFILE};
	ck_assert_int_eq(spawn_large(LONG), -EMFILE);
	was_given_up(false);
}
END_TEST

START_TEST(S18_it_may_announce_that_it_executes_and_never_do_so)
{
	program.waits = true;
	fails(-ETIMEDOUT, NULL, true, SHORT);
}
END_TEST

static const struct process_answer nonsense[][2] = {
	{{.step = 0}, {.step = 0}},
	{{.step = STEP_EXEC, .error = 0}},
	{{.step = STEP_EXEC, .error = -ENOENT}},
	{{.step = STEP_EXEC, .error = 4096}},
	{{.step = -3, .error = ENOENT}},
};

START_TEST(S18_it_may_talk_nonsense)
{
	memcpy(program.answers, nonsense[_i], sizeof(program.answers));
	program.n_answers = _i == 0 ? 2 : 1;
	fails(-EBADMSG, NULL, true, LONG);
}
END_TEST

START_TEST(S18_its_answer_may_be_cut_or_too_long)
{
	program.n_answer_bytes = _i == 0 ? 4 : 100;
	fails(_i == 0 ? -EBADMSG : -EMSGSIZE, NULL, true, LONG);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("spawn-failures");
	TCase *c = tcase_create("failures");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, spawn_setup, spawn_teardown);
	tcase_add_loop_test(c, C04_S18_each_step_can_fail, 1, STEP_N);
	tcase_add_loop_test(c, a_later_version_has_more_steps, 0, 5);
	tcase_add_loop_test(c, C04_S18_a_failure_says_what_can_be_done, 0, N(told));
	tcase_add_test(c, C04_S18_the_kernel_may_refuse_at_last);
	tcase_add_test(c, C04_a_script_has_a_path);
	tcase_add_test(c, what_starts_programs_may_be_older);
	tcase_add_test(c, C04_what_is_detached_is_gone);
	tcase_add_loop_test(c, S18_it_need_not_take_what_it_has_no_use_for, 0, 4);
	tcase_add_loop_test(c, S18_it_may_end_without_a_word, 0, 4);
	tcase_add_loop_test(c, S18_it_may_never_answer, 0, 3);
	tcase_add_test(c, S18_it_may_never_read);
	tcase_add_test(c, C04_S18_it_may_answer_before_all_was_sent);
	tcase_add_test(c, S18_it_may_announce_that_it_executes_and_never_do_so);
	tcase_add_loop_test(c, S18_it_may_talk_nonsense, 0, N(nonsense));
	tcase_add_loop_test(c, S18_its_answer_may_be_cut_or_too_long, 0, 2);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
