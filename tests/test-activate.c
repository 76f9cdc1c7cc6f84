/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capc_session_open() where no capfs is: a service manager, the test's child, starts the daemon. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

#define NOBODY 65534

static char top[FIXTURE_PATH], root[FIXTURE_PATH + 16], run[FIXTURE_PATH + 16];

/* As a user: where root's service manager listens is no place for a test. */
static void
setup(void)
{
	fixture_setup();
	fixture_directory(top);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(top, NOBODY, NOBODY), 0);
		ck_assert_int_eq(seteuid(NOBODY), 0);
	}
	snprintf(root, sizeof(root), "%s/cap", top);
	snprintf(run, sizeof(run), "%s/capfsd", top);
	ck_assert_int_eq(mkdir(root, 0700), 0);
	ck_assert_int_eq(mkdir(run, 0700), 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", top, 1), 0);
	ck_assert_int_eq(unsetenv("CAPFS"), 0);
}

static void
teardown(void)
{
	fixture_remove(top);
	if (getuid() == 0)
		ck_assert_int_eq(seteuid(0), 0);
	fixture_teardown();
}

/* Answers one request of whoever connects; before that it mounts, if it does. */
static void
play_daemon(int listener, bool mounts)
{
	static uint8_t buffer[WIRE_CONTROL_MAX];
	struct wire_request q = {};
	struct wire_reply reply = {.op = WIRE_READ, .text = "init\n", .n_text = 5};
	int fd = accept(listener, NULL, NULL), n;
	size_t n_fds;

	n = (int)msg_receive(fd, buffer, sizeof(buffer), NULL, 0, &n_fds, 0);
	if (n <= 0 || wire_request_decode(buffer, (size_t)n, &q) < 0 || q.op != WIRE_READ)
		_exit(1);
	if (mounts)
		played_listen(root, "control", SOCK_SEQPACKET, 4);
	reply.serial = q.serial;
	n = wire_reply_encode(&reply, buffer, sizeof(buffer));
	_exit(msg_send(fd, buffer, (size_t)n, NULL, 0, 0) == n && pause() < 0);
}

static pid_t
start_manager(bool mounts, int *ret_listener)
{
	pid_t pid;

	*ret_listener = played_listen(run, "control", SOCK_SEQPACKET, 4);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		play_daemon(*ret_listener, mounts);
	return pid;
}

static void
end_manager(pid_t pid, int listener)
{
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(listener);
}

START_TEST(the_daemon_is_started_and_the_root_used)
{
	capc_session *s;
	int listener;
	pid_t pid = start_manager(true, &listener);

	ck_assert_int_eq(setenv("CAPFS", root, 1), 0);
	ck_assert_int_eq(capc_session_open(NULL, LONG, &s), 0);
	/* Through ROOT: there it has a directory to find nodes below, and nobody to answer. */
	ck_assert_int_eq(capc_export(s, "none"), -ENOENT);
	capc_session_free(s);
	end_manager(pid, listener);
}
END_TEST

START_TEST(a_root_that_was_named_is_not_replaced)
{
	capc_session *s;
	int listener;
	pid_t pid = start_manager(false, &listener);

	ck_assert_int_eq(setenv("CAPFS", root, 1), 0);
	ck_assert_int_eq(capc_session_open(NULL, LONG, &s), -ENOENT);
	end_manager(pid, listener);
}
END_TEST

START_TEST(a_root_as_argument_starts_nobody)
{
	capc_session *s;
	int listener;
	pid_t pid = start_manager(true, &listener);

	ck_assert_int_eq(capc_session_open(root, LONG, &s), -ENOENT);
	end_manager(pid, listener);
}
END_TEST

START_TEST(a_daemon_that_does_not_start_costs_the_timeout)
{
	capc_session *s;
	int listener = played_listen(run, "control", SOCK_SEQPACKET, 4);

	ck_assert_int_eq(setenv("CAPFS", root, 1), 0);
	ck_assert_int_eq(capc_session_open(NULL, SHORT, &s), -ETIMEDOUT);
	close(listener);
	ck_assert_int_eq(capc_session_open(NULL, SHORT, &s), -ENOENT);
}
END_TEST

START_TEST(P27_a_directory_of_others_is_not_asked)
{
	capc_session *s;
	int listener = played_listen(run, "control", SOCK_SEQPACKET, 4);
	char there[FIXTURE_PATH + 32];

	ck_assert_int_eq(setenv("CAPFS", root, 1), 0);
	ck_assert_int_eq(chmod(run, 0777), 0);
	ck_assert_int_eq(capc_session_open(NULL, SHORT, &s), -EPERM);
	ck_assert_int_eq(chmod(run, 0755), 0);
	ck_assert_int_eq(capc_session_open(NULL, SHORT, &s), -ETIMEDOUT);
	if (getuid() == 0) {
		ck_assert_int_eq(seteuid(0), 0);
		ck_assert_int_eq(chown(run, NOBODY - 1, NOBODY), 0);
		ck_assert_int_eq(seteuid(NOBODY), 0);
		ck_assert_int_eq(capc_session_open(NULL, SHORT, &s), -EPERM);
		ck_assert_int_eq(seteuid(0), 0);
		ck_assert_int_eq(chown(run, NOBODY, NOBODY), 0);
		ck_assert_int_eq(seteuid(NOBODY), 0);
	}
	/* A link leads anywhere. */
	snprintf(there, sizeof(there), "%s.there", run);
	ck_assert_int_eq(rename(run, there), 0);
	ck_assert_int_eq(symlink(there, run), 0);
	ck_assert_int_eq(capc_session_open(NULL, SHORT, &s), -ENOENT);
	close(listener);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("activate");
	TCase *t = tcase_create("activate");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_daemon_is_started_and_the_root_used);
	tcase_add_test(t, a_root_that_was_named_is_not_replaced);
	tcase_add_test(t, a_root_as_argument_starts_nobody);
	tcase_add_test(t, a_daemon_that_does_not_start_costs_the_timeout);
	tcase_add_test(t, P27_a_directory_of_others_is_not_asked);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
