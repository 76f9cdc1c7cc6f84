/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How sessions are opened, and whose they are. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"

static struct played d;
static capc_session *s;

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	s = d.session;
}

static void
teardown(void)
{
	played_deinit(&d);
	fixture_teardown();
}

START_TEST(a_child_of_fork_does_no_harm)
{
	cleanup_free char *text = NULL;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *none;
		bool good = capc_read(s, "label", &none, LONG) == -ECHILD &&
			capc_session_fd(s) == -ECHILD;

		capc_session_free(s);
		_exit(good ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	played_answer(&d, WIRE_READ, 0, "init\n", -1);
	ck_assert_int_eq(capc_read(s, "label", &text, LONG), 0);
}
END_TEST

START_TEST(an_inherited_connection_is_used_further)
{
	capc_session *inherited;

	ck_assert_int_eq(capc_read(s, "label", &(char *){NULL}, 0), -ETIMEDOUT);
	ck_assert_int_eq(capc_session_from_fd(fd_dup(capc_session_fd(s)), &inherited), 0);
	played_asked(&d, WIRE_READ, "label", NULL);
	/* Above d.serial + 1, which the handle before has used. */
	ck_assert_uint_gt(played_serial(&d, inherited), d.serial + 1);
	capc_session_free(inherited);
}
END_TEST

START_TEST(only_a_control_socket_is_a_session)
{
	capc_session *none;
	int fds[2], pipes[2];

	played_pair(SOCK_STREAM, fds);
	ck_assert_int_eq(capc_session_from_fd(fds[0], &none), -EPROTOTYPE);
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(capc_session_from_fd(pipes[0], &none), -ENOTSOCK);
	ck_assert_int_eq(capc_session_from_fd(-1, &none), -EBADF);
	/* Taken, also when refused. */
	ck_assert_int_eq(fcntl(fds[0], F_GETFD), -1);
	ck_assert_int_eq(fcntl(pipes[0], F_GETFD), -1);
	close(fds[1]);
	close(pipes[1]);
}
END_TEST

START_TEST(a_root_is_opened_however_long_its_path)
{
	char top[FIXTURE_PATH], path[512];
	capc_session *opened;
	int listener;

	fixture_directory(top);
	strcpy(path, top);
	for (int i = 0; i < _i; i++) {
		strcat(path, "/a-directory-with-a-long-name");
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	ck_assert_int_eq(capc_session_open(path, LONG, &opened), -ENOENT);
	listener = played_listen(path, "control", SOCK_SEQPACKET, 4);
	ck_assert_int_eq(capc_session_open(path, LONG, &opened), 0);
	capc_session_free(opened);
	ck_assert_int_eq(setenv("CAPFS", path, 1), 0);
	ck_assert_int_eq(capc_session_open(NULL, LONG, &opened), 0);
	capc_session_free(opened);
	close(listener);
	ck_assert_int_eq(capc_session_open(path, LONG, &opened), -ECONNREFUSED);
	fixture_remove(top);
}
END_TEST

START_TEST(a_full_backlog_is_waited_for_in_time)
{
	char top[FIXTURE_PATH];
	capc_session *first, *second;
	int listener;

	fixture_directory(top);
	listener = played_listen(top, "control", SOCK_SEQPACKET, 0);
	ck_assert_int_eq(capc_session_open(top, LONG, &first), 0);
	ck_assert_int_eq(capc_session_open(top, SHORT, &second), -ETIMEDOUT);
	capc_session_free(first);
	close(listener);
	fixture_remove(top);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("session");
	TCase *c = tcase_create("session");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_child_of_fork_does_no_harm);
	tcase_add_test(c, an_inherited_connection_is_used_further);
	tcase_add_test(c, only_a_control_socket_is_a_session);
	tcase_add_loop_test(c, a_root_is_opened_however_long_its_path, 0, 8);
	tcase_add_test(c, a_full_backlog_is_waited_for_in_time);
	suite_add_tcase(suite, c);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
