/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P09 */
/* A server that dies is seen by its clients while somebody else, as the daemon does, keeps its end of the socket. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

static int fds[2];
static pid_t server;
static capc *c;

/* Method 0 is answered; 1 is answered, and then it dies; any other is kept. */
static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	uint32_t method = m->code;

	if (method <= 1)
		capc_reply(r, m);
	if (method == 1)
		_exit(0);
}

static void
serve(void)
{
	capc_entrypoint *e;

	if (capc_entrypoint_new(&e) < 0 || capc_object_add(e, 1, answer, NULL, NULL, NULL) < 0 ||
		capc_serve_fd(e, 1, fds[0]) < 0)
		_exit(1);
	while (capc_serve(e, CAPC_FOREVER) >= 0)
		continue;
	_exit(0);
}

static int
passes_pidfd(void)
{
	int on = -1;
	socklen_t n = sizeof(on);

	return getsockopt(fds[1], SOL_SOCKET, SO_PASSPIDFD, &on, &n) < 0 ? -1 : on;
}

static int
call(uint32_t method)
{
	struct capc_msg reply;
	int r = capc_call(c, &(struct capc_msg){.code = method}, &reply, CAPC_FOREVER);

	capc_msg_done(&reply);
	return r;
}

static void
setup(void)
{
	fixture_setup();
	played_pair(SOCK_SEQPACKET, fds);
	server = fork();
	if (server == 0)
		serve();
	ck_assert_int_gt(server, 0);
	ck_assert_int_eq(capc_from_fd(fd_dup(fds[1]), &c), 0);
	/* Of a socket on which nobody has called nothing is asked. */
	ck_assert_int_le(passes_pidfd(), 0);
	ck_assert_int_eq(call(0), 0);
	ck_assert_int_le(passes_pidfd(), 0);
}

static void
teardown(void)
{
	c = capc_free(c);
	close(fds[0]);
	close(fds[1]);
	fixture_teardown();
}

static void
kill_server(void)
{
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
}

START_TEST(P09_a_call_ends_with_its_server)
{
	struct capc_msg reply;
	uint64_t serial;

	ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){.code = 9}, &serial), 0);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, SHORT), -ETIMEDOUT);
	kill_server();
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, CAPC_FOREVER), -ECONNRESET);
	ck_assert_int_eq(call(0), -ENOTCONN);
}
END_TEST

START_TEST(P09_what_a_server_sent_before_it_died_is_there)
{
	struct capc_msg reply;
	uint64_t first, second;

	ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){.code = 1}, &first), 0);
	ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){.code = 9}, &second), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	ck_assert_int_eq(capc_call_finish(c, second, &reply, CAPC_FOREVER), -ECONNRESET);
	ck_assert_int_eq(capc_call_finish(c, first, &reply, CAPC_FOREVER), 0);
	capc_msg_done(&reply);
}
END_TEST

static unsigned n_replied;

static void
replied(capc *handle, uint64_t serial, int error, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(error, -ECONNRESET);
	n_replied++;
}

START_TEST(P09_a_loop_hears_of_its_servers_death)
{
	struct pollfd p = {.fd = capc_poll_fd(c), .events = POLLIN};

	n_replied = 0;
	ck_assert_int_ge(p.fd, 0);
	ck_assert_int_eq(capc_call_async(c, &(struct capc_msg){.code = 9}, replied, NULL, NULL), 0);
	while (poll(&p, 1, 0) > 0)
		ck_assert_int_ge(capc_dispatch(c), 0);
	kill_server();
	while (n_replied == 0) {
		ck_assert_int_eq(poll(&p, 1, -1), 1);
		ck_assert_int_ge(capc_dispatch(c), 0);
	}
}
END_TEST

static bool
is_timed(int fd)
{
	struct timeval t = {};
	socklen_t n = sizeof(t);

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &n), 0);
	return t.tv_sec || t.tv_usec;
}

/* Who waits sleeps in the receive, not for long. Whoever gets the socket then waits in it for as long as he likes. */
START_TEST(P09_who_waits_sleeps_in_the_receive)
{
	int fd;

	ck_assert(is_timed(fds[1]));
	fd = capc_take_fd(c);
	c = NULL;
	ck_assert_int_ge(fd, 0);
	ck_assert(!is_timed(fd));
	close(fd);
}
END_TEST

static void
on_alarm(int number)
{
}

/* A signal ends neither the call nor the connection. */
START_TEST(P09_a_signal_ends_no_call)
{
	struct itimerval often = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
	struct sigaction action = {.sa_handler = on_alarm};
	struct capc_msg reply;

	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	ck_assert_int_eq(capc_call(c, &(struct capc_msg){.code = 9}, &reply, 300000), -ETIMEDOUT);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &(struct itimerval){}, NULL), 0);
	ck_assert_int_eq(call(0), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("server-dies");
	TCase *t = tcase_create("server-dies");
	int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), on = 1;

	/* Before Linux 6.5 nobody tells who has sent it. */
	if (setsockopt(probe, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)) < 0)
		return 77;
	close(probe);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, P09_a_call_ends_with_its_server);
	tcase_add_test(t, P09_what_a_server_sent_before_it_died_is_there);
	tcase_add_test(t, P09_a_loop_hears_of_its_servers_death);
	tcase_add_test(t, P09_who_waits_sleeps_in_the_receive);
	tcase_add_test(t, P09_a_signal_ends_no_call);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
