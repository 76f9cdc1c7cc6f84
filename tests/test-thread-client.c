/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G65 */
/* Programs that run: waiting for their end, commands for them. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/fixture.h"
#include "tests/spawn-world.h"

#define END "thread=7.3 state=exited status=134 utime_usec=10 stime_usec=20 maxrss_kib=300"

static void
setup(void)
{
	spawn_setup();
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv});
	played_asked(&d, WIRE_SPAWN, "threads", "descriptors=0 keep");
}

static void
is_end(const struct capc_exit *e)
{
	ck_assert(WIFSIGNALED(e->status) && WCOREDUMP(e->status));
	ck_assert_int_eq(WTERMSIG(e->status), 6);
	ck_assert_int_eq(e->error, 0);
	ck_assert_str_eq(e->step, "");
	ck_assert_uint_eq(e->utime_usec, 10);
	ck_assert_uint_eq(e->stime_usec, 20);
	ck_assert_uint_eq(e->maxrss_kib, 300);
}

START_TEST(G65_it_may_end_while_somebody_waits_and_before)
{
	static const uint64_t timeouts[] = {0, 1, 5000000, CAPC_FOREVER};
	struct capc_exit e = {}, again = {};

	played_answer(&d, WIRE_WAIT, 0, END, -1);
	ck_assert_int_eq(capc_thread_wait(thread, timeouts[_i], &e), 0);
	is_end(&e);
	/* Whose time it is, the daemon knows. */
	ck_assert_uint_eq(played_asked(&d, WIRE_WAIT, "threads/7.3", ""), timeouts[_i]);
	/* It is told once, and the daemon has nothing more of it then. */
	ck_assert_int_eq(capc_thread_wait(thread, LONG, &again), 0);
	is_end(&again);
	ck_assert_int_eq(capc_thread_ctl(thread, "kill", &reason), -ENOENT);
	ck_assert_ptr_null(reason);
	played_quiet(&d);
}
END_TEST

START_TEST(G65_one_that_goes_on_can_be_waited_for_again)
{
	struct capc_exit e = {.status = 4711};

	played_answer(&d, WIRE_WAIT, ETIMEDOUT, "it runs", -1);
	ck_assert_int_eq(capc_thread_wait(thread, 5, &e), -ETIMEDOUT);
	ck_assert_int_eq(e.status, 4711);
	ck_assert_str_eq(capc_session_reason(d.session), "it runs");
	played_answer(&d, WIRE_WAIT, 0, END, -1);
	ck_assert_int_eq(capc_thread_wait(thread, LONG, &e), 0);
	is_end(&e);
	ck_assert_str_eq(capc_session_reason(d.session), "");
}
END_TEST

START_TEST(G65_a_daemon_that_does_not_answer_is_not_waited_for)
{
	struct capc_exit e;

	capc_session_set_timeout(d.session, SHORT);
	ck_assert_int_eq(capc_thread_wait(thread, 1, &e), -ETIMEDOUT);
	ck_assert_uint_eq(played_asked(&d, WIRE_WAIT, "threads/7.3", ""), 1);
	played_answer(&d, WIRE_WAIT, ETIMEDOUT, "too late", -1);
	played_answer(&d, WIRE_WAIT, 0, END, -1);
	ck_assert_int_eq(capc_thread_wait(thread, 1, &e), 0);
	is_end(&e);
}
END_TEST

START_TEST(G65_a_daemon_may_go)
{
	struct capc_exit e;

	d.fd = fd_close(d.fd);
	ck_assert_int_eq(capc_thread_wait(thread, CAPC_FOREVER, &e), -ECONNRESET);
	ck_assert_int_eq(capc_thread_wait(thread, CAPC_FOREVER, &e), -ENOTCONN);
	ck_assert_int_eq(capc_thread_ctl(thread, "kill", NULL), -ENOTCONN);
}
END_TEST

START_TEST(one_that_did_not_even_start_says_where)
{
	struct capc_exit e;

	played_answer(&d, WIRE_WAIT, 0, "thread=7.3 state=failed step=landlock errno=ENOENT", -1);
	ck_assert_int_eq(capc_thread_wait(thread, LONG, &e), 0);
	ck_assert_int_eq(e.error, ENOENT);
	ck_assert_str_eq(e.step, "landlock");
	ck_assert_int_eq(e.status, 0);
	ck_assert_uint_eq(e.utime_usec, 0);
}
END_TEST

static const char *const nonsense[] = {
	"", "thread=7.3", "thread=7.4 state=exited status=0 utime_usec=1 stime_usec=1 maxrss_kib=1",
	"thread=7.3 state=running status=0 utime_usec=1 stime_usec=1 maxrss_kib=1",
	"thread=7.3 state=exited status=65536 utime_usec=1 stime_usec=1 maxrss_kib=1",
	"thread=7.3 state=exited status=-1 utime_usec=1 stime_usec=1 maxrss_kib=1",
	"thread=7.3 state=exited status=0 utime_usec=1 stime_usec=1",
	"thread=7.3 state=failed step=exec", "thread=7.3 state=failed errno=ENOENT",
	"thread=7.3 state=failed step=exec errno=ENOSUCH",
	"thread=7.3 state=failed step=abcdefghijklmnop errno=ENOENT",
};
#define N_NONSENSE (sizeof(nonsense) / sizeof(nonsense[0]))

START_TEST(an_end_may_be_nonsense)
{
	struct capc_exit e = {.status = 4711};

	played_answer(&d, WIRE_WAIT, 0, nonsense[_i], -1);
	ck_assert_int_eq(capc_thread_wait(thread, LONG, &e), -EBADMSG);
	ck_assert_int_eq(e.status, 4711);
}
END_TEST

START_TEST(commands_go_to_the_thread)
{
	played_answer(&d, WIRE_WRITE, 0, "done", -1);
	ck_assert_int_eq(capc_thread_ctl(thread, "signal=15", &reason), 0);
	ck_assert_ptr_null(reason);
	played_asked(&d, WIRE_WRITE, "threads/7.3/ctl", "signal=15");
	played_answer(&d, WIRE_WRITE, EINVAL, "there is no CPU 99", -1);
	ck_assert_int_eq(capc_thread_ctl(thread, "affinity=99", &reason), -EINVAL);
	ck_assert_str_eq(reason, "there is no CPU 99");
}
END_TEST

static void
runs_on(void)
{
	struct capc_exit e = {.status = 4711};

	ck_assert_int_eq(capc_thread_poll(thread, &e), -EAGAIN);
	ck_assert_int_eq(e.status, 4711);
}

static void
is_waited_for(void)
{
	runs_on();
	ck_assert_uint_eq(played_asked(&d, WIRE_WAIT, "threads/7.3", WIRE_WAIT_YIELDS), CAPC_FOREVER);
}

START_TEST(G65_a_loop_waits_and_does_other_things)
{
	struct capc_exit e;

	is_waited_for();
	runs_on();
	played_quiet(&d);
	played_answer(&d, WIRE_WAIT, EAGAIN, "there is another request", -1);
	played_answer(&d, WIRE_WRITE, 0, "done", -1);
	ck_assert_int_eq(capc_thread_ctl(thread, "signal=15", &reason), 0);
	ck_assert_str_eq(capc_session_reason(d.session), "");
	played_asked(&d, WIRE_WRITE, "threads/7.3/ctl", "signal=15");
	is_waited_for();
	played_answer(&d, WIRE_WAIT, 0, END, -1);
	ck_assert_int_eq(capc_thread_poll(thread, &e), 0);
	is_end(&e);
	ck_assert_int_eq(capc_thread_wait(thread, LONG, &e), 0);
	played_quiet(&d);
}
END_TEST

START_TEST(G65_it_may_end_while_it_is_told_something)
{
	struct capc_exit e, again;

	is_waited_for();
	played_answer(&d, WIRE_WAIT, 0, END, -1);
	played_answer(&d, WIRE_WRITE, ENOENT, "there is no 'threads/7.3'", -1);
	ck_assert_int_eq(capc_thread_ctl(thread, "kill", &reason), -ENOENT);
	played_asked(&d, WIRE_WRITE, "threads/7.3/ctl", "kill");
	ck_assert_int_eq(capc_thread_poll(thread, &e), 0);
	is_end(&e);
	ck_assert_int_eq(capc_thread_poll(thread, &again), 0);
	is_end(&again);
	played_quiet(&d);
}
END_TEST

/* Calls of the same loop read the answer, also that it has to give way to them. */
START_TEST(G65_a_loop_waits_and_connects)
{
	struct capc_exit e;
	int service;
	capc *c;

	is_waited_for();
	ck_assert_int_eq(capc_open_flags(d.session, "echo", 0, &c), 0);
	if (_i == 0)
		played_answer(&d, WIRE_WAIT, EAGAIN, "there is another request", -1);
	else
		played_answer(&d, WIRE_WAIT, 0, END, -1);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_dispatch(c), 0);
	ck_assert_int_ge(capc_fd(c), 0);
	played_asked(&d, WIRE_OPEN, "caps/echo", NULL);
	if (_i == 0) {
		is_waited_for();
		played_answer(&d, WIRE_WAIT, 0, END, -1);
	}
	ck_assert_int_eq(capc_thread_poll(thread, &e), 0);
	is_end(&e);
	played_quiet(&d);
	capc_free(c);
	close(service);
}
END_TEST

/* What comes too late for the one is told to the other. */
START_TEST(G65_a_loop_may_wait_in_the_end)
{
	struct capc_exit e;

	is_waited_for();
	played_answer(&d, WIRE_WAIT, 0, END, -1);
	played_answer(&d, WIRE_WAIT, ENOENT, "there is no 'threads/7.3'", -1);
	ck_assert_int_eq(capc_thread_wait(thread, LONG, &e), 0);
	is_end(&e);
}
END_TEST

START_TEST(one_at_a_time_is_waited_for_so)
{
	capc_thread *first = take_ptr(thread);
	struct capc_exit e;

	next_program();
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv});
	played_asked(&d, WIRE_SPAWN, "threads", NULL);
	ck_assert_int_eq(capc_thread_poll(first, &e), -EAGAIN);
	ck_assert_int_eq(capc_thread_poll(thread, &e), -EBUSY);
	played_asked(&d, WIRE_WAIT, "threads/7.3", WIRE_WAIT_YIELDS);
	capc_thread_free(first);
	is_waited_for();
	played_quiet(&d);
}
END_TEST

START_TEST(what_a_loop_is_told_may_be_nonsense)
{
	struct capc_exit e = {.status = 4711};

	is_waited_for();
	played_answer(&d, WIRE_WAIT, 0, nonsense[_i], -1);
	ck_assert_int_eq(capc_thread_poll(thread, &e), -EBADMSG);
	ck_assert_int_eq(e.status, 4711);
	is_waited_for();
}
END_TEST

START_TEST(a_loop_sees_that_the_daemon_is_gone)
{
	struct capc_exit e;

	is_waited_for();
	d.fd = fd_close(d.fd);
	ck_assert_int_eq(capc_thread_poll(thread, &e), -ENOTCONN);
	ck_assert_int_eq(capc_thread_poll(thread, &e), -ENOTCONN);
}
END_TEST

START_TEST(a_child_that_frees_it_ends_no_wait)
{
	struct capc_exit e;
	int status;
	pid_t pid;

	is_waited_for();
	pid = fork();
	if (pid == 0) {
		thread = capc_thread_free(thread);
		d.session = capc_session_free(d.session);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	played_answer(&d, WIRE_WAIT, 0, END, -1);
	ck_assert_int_eq(capc_thread_poll(thread, &e), 0);
	is_end(&e);
}
END_TEST

START_TEST(a_child_has_programs_of_its_own)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct capc_spawn p = {.size = sizeof(p), .argv = true_argv};
		capc_thread *other;
		struct capc_exit e;
		int ok = capc_spawn(d.session, &p, LONG, &other, NULL) == -ECHILD &&
			capc_thread_wait(thread, LONG, &e) == -ECHILD &&
			capc_thread_ctl(thread, "kill", NULL) == -ECHILD;

		_exit(ok ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	played_quiet(&d);
}
END_TEST

START_TEST(nothing_is_freed_without_harm)
{
	ck_assert_ptr_null(capc_thread_free(NULL));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("thread-client");
	TCase *c = tcase_create("threads");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, spawn_teardown);
	tcase_add_loop_test(c, G65_it_may_end_while_somebody_waits_and_before, 0, 4);
	tcase_add_test(c, G65_one_that_goes_on_can_be_waited_for_again);
	tcase_add_test(c, G65_a_daemon_that_does_not_answer_is_not_waited_for);
	tcase_add_test(c, G65_a_daemon_may_go);
	tcase_add_test(c, one_that_did_not_even_start_says_where);
	tcase_add_loop_test(c, an_end_may_be_nonsense, 0, N_NONSENSE);
	tcase_add_test(c, commands_go_to_the_thread);
	tcase_add_test(c, G65_a_loop_waits_and_does_other_things);
	tcase_add_test(c, G65_it_may_end_while_it_is_told_something);
	tcase_add_loop_test(c, G65_a_loop_waits_and_connects, 0, 2);
	tcase_add_test(c, G65_a_loop_may_wait_in_the_end);
	tcase_add_test(c, one_at_a_time_is_waited_for_so);
	tcase_add_loop_test(c, what_a_loop_is_told_may_be_nonsense, 0, N_NONSENSE);
	tcase_add_test(c, a_loop_sees_that_the_daemon_is_gone);
	tcase_add_test(c, a_child_that_frees_it_ends_no_wait);
	tcase_add_test(c, a_child_has_programs_of_its_own);
	tcase_add_test(c, nothing_is_freed_without_harm);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
