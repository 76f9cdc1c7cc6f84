/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C11 P09 P11 */
/* Calls, as a client makes them: the test plays the daemon and the service. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

static struct played d;
static int service = -1; /* the server's end of the last connection */
static capc *c;
static uint8_t buffer[WIRE_CALL_MAX];
static const struct capc_msg hello = {.code = 3, .data = "hello", .n_data = 5};

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &c), 0);
	played_asked(&d, WIRE_OPEN, "caps/kv", "");
}

static void
teardown(void)
{
	c = capc_free(c);
	service = fd_close(service);
	played_deinit(&d);
	fixture_teardown();
}

START_TEST(a_call_comes_back)
{
	struct capc_msg reply;

	played_put_return(service, 1, 0, "world", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	ck_assert_uint_eq(reply.code, 0);
	ck_assert_uint_eq(reply.n_data, 5);
	ck_assert_str_eq(reply.data, "world");
	ck_assert_uint_eq(reply.n_fds, 0);
	ck_assert_int_eq(capc_msg_take_fd(&reply, 0), -EBADF);
	played_get_call(service, 1, &hello, NULL);
	capc_msg_done(&reply);
	capc_msg_done(&reply);
}
END_TEST

START_TEST(an_empty_and_a_full_call_come_back)
{
	static char big[WIRE_PAYLOAD_MAX + 1];
	struct capc_msg req = {}, reply;

	played_put_return(service, 1, 0, "", -1);
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), 0);
	ck_assert_uint_eq(reply.n_data, 0);
	capc_msg_done(&reply);
	played_get_call(service, 1, &req, NULL);
	memset(big, 'x', sizeof(big) - 1);
	played_put_return(service, 2, 0, big, -1);
	req.data = big;
	req.n_data = WIRE_PAYLOAD_MAX;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), 0);
	ck_assert_uint_eq(reply.n_data, WIRE_PAYLOAD_MAX);
	capc_msg_done(&reply);
	played_get_call(service, 2, &req, NULL);
	req.n_data = CAPC_PAYLOAD_MAX + 1;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EMSGSIZE);
	capc_msg_done(&reply);
	req = (struct capc_msg){.n_data = 1};
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EINVAL);
}
END_TEST

START_TEST(descriptors_go_both_ways)
{
	struct capc_msg req = hello, reply;
	int pipes[2], got;

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	req.fds = &pipes[0];
	req.n_fds = 1;
	played_put_return(service, 1, 0, "", pipes[1]);
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), 0);
	ck_assert_uint_eq(reply.n_fds, 1);
	got = capc_msg_take_fd(&reply, 0);
	ck_assert_int_ge(got, 0);
	ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(capc_msg_take_fd(&reply, 0), -EBADF);
	capc_msg_done(&reply);
	close(got);
	played_get_call(service, 1, &req, &got);
	ck_assert_int_ge(got, 0);
	close(got);
	/* One that is not taken is closed with the message. */
	played_put_return(service, 2, 0, "", pipes[1]);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
	req.n_fds = CAPC_FDS_MAX + 1;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	/* What is no descriptor is told, and the connection goes on. */
	req.n_fds = 1;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EBADF);
	played_put_return(service, 4, 0, "good", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
}
END_TEST

START_TEST(a_refusal_carries_its_reason)
{
	struct capc_msg reply;

	played_put_return(service, 1, EPERM, "not on Sundays", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -EPERM);
	ck_assert_uint_eq(reply.code, EPERM);
	ck_assert_str_eq(reply.data, "not on Sundays");
	capc_msg_done(&reply);
}
END_TEST

START_TEST(a_call_that_was_given_up_is_not_mixed_up)
{
	struct capc_msg reply;
	int fds[2];

	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_eq(reply.code, 0);
	ck_assert_ptr_null(reply.owned);
	played_pair(SOCK_STREAM, fds);
	played_put_return(service, 1, EPERM, "too late", fds[0]);
	played_put_return(service, 2, 0, "in time", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	ck_assert_str_eq(reply.data, "in time");
	capc_msg_done(&reply);
	close(fds[0]);
	ck_assert(played_at_end(fds[1]));
	close(fds[1]);
}
END_TEST

START_TEST(a_service_that_does_not_read_costs_no_more_than_the_time)
{
	static char big[CAPC_PAYLOAD_MAX];
	struct capc_msg req = {.data = big, .n_data = sizeof(big)}, reply;

	/* The socket's buffer takes some; then sending itself has to wait. */
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(capc_call(c, &req, &reply, SHORT), -ETIMEDOUT);
}
END_TEST

START_TEST(the_end_of_an_idle_connection_is_repaired)
{
	struct capc_msg reply;

	/* Nothing was sent when the connection had ended, so it may be opened again. */
	close(service);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	played_put_return(service, 1, 0, "again", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	ck_assert_str_eq(reply.data, "again");
	capc_msg_done(&reply);
	played_asked(&d, WIRE_OPEN, "caps/kv", "");
	played_get_call(service, 1, &hello, NULL);
	/* What ended it stays: the slot is gone. */
	close(service);
	service = -1;
	played_answer(&d, WIRE_OPEN, ENOENT, "no slot 'kv'", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -ENOENT);
	ck_assert_str_eq(capc_session_reason(d.session), "no slot 'kv'");
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
}
END_TEST

START_TEST(a_call_that_was_sent_is_never_repeated)
{
	struct capc_msg reply;

	/* The end comes after the request went. */
	ck_assert_int_eq(shutdown(service, SHUT_WR), 0);
	ck_assert_int_eq(capc_call(c, &hello, &reply, CAPC_FOREVER), -ECONNRESET);
	played_get_call(service, 1, &hello, NULL);
	played_quiet(&d);
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
	close(service);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	played_put_return(service, 2, 0, "next", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
}
END_TEST

START_TEST(malformed_replies_end_the_connection)
{
	static const struct {
		struct wire_call m;
		size_t cut;
		uint8_t version;
		int error;
	} cases[] = {
		{{.type = WIRE_RETURN, .serial = 2}, 0, 1, -EBADMSG},
		{{.type = WIRE_CALL, .serial = 1}, 0, 1, -EBADMSG},
		{{.type = WIRE_RETURN, .serial = 1, .code = 5000}, 0, 1, -EBADMSG},
		{{.type = WIRE_RETURN, .serial = 1}, 3, 1, -EBADMSG},
		{{.type = WIRE_RETURN, .serial = 1}, 0, 9, -EPROTO},
	};
	struct capc_msg reply;
	int n = wire_call_encode(&cases[_i].m, buffer, sizeof(buffer));

	buffer[0] = cases[_i].version;
	ck_assert_int_gt(send(service, buffer, (size_t)n - cases[_i].cut, 0), 0);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), cases[_i].error);
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
	ck_assert_int_gt(recv(service, buffer, sizeof(buffer), MSG_DONTWAIT), 0);
	ck_assert(played_at_end(service));
}
END_TEST

/* Leaves room for N more descriptors. */
static void
limit_descriptors(int n)
{
	struct rlimit l;
	int next = fcntl(0, F_DUPFD, 0);

	ck_assert_int_ge(next, 0);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = n < 0 ? l.rlim_max : (rlim_t)(next + n);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

/* The message is refused, none of its descriptors stays, and the connection goes on. */
START_TEST(P09_C11_descriptors_without_room_are_told)
{
	struct wire_call m = {.type = WIRE_RETURN, .serial = 1};
	struct capc_msg reply;
	int fds[2], n = wire_call_encode(&m, buffer, sizeof(buffer));

	played_pair(SOCK_STREAM, fds);
	ck_assert_int_eq(msg_send(service, buffer, (size_t)n, fds, 2, 0), n);
	limit_descriptors(1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -EMFILE);
	limit_descriptors(-1);
	ck_assert_uint_eq(reply.n_fds, 0);
	close(fds[0]);
	ck_assert(played_at_end(fds[1]));
	close(fds[1]);
	played_put_return(service, 2, 0, "good", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
}
END_TEST

START_TEST(calls_are_pipelined)
{
	uint64_t serials[4], done;
	struct capc_msg reply;

	ck_assert_int_eq(capc_call_done(c, &done), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(capc_call_start(c, &hello, &serials[i]), 0);
	ck_assert_int_eq(capc_call_finish(c, serials[0], &reply, 0), -ETIMEDOUT);
	ck_assert_int_eq(capc_call_finish(c, 77, &reply, 0), -ENOENT);
	played_put_return(service, serials[2], 0, "two", -1);
	played_put_return(service, serials[0], EPERM, "no", -1);
	played_put_return(service, serials[1], 0, "one", service);
	ck_assert_int_eq(capc_call_done(c, &done), 1);
	ck_assert_uint_eq(done, serials[2]);
	/* One that waits takes those of the others along. */
	ck_assert_int_eq(capc_call_finish(c, serials[1], &reply, LONG), 0);
	ck_assert_str_eq(reply.data, "one");
	ck_assert_uint_eq(reply.n_fds, 1);
	capc_msg_done(&reply);
	ck_assert_int_eq(capc_call_finish(c, serials[0], &reply, 0), -EPERM);
	ck_assert_str_eq(reply.data, "no");
	capc_msg_done(&reply);
	ck_assert_int_eq(capc_call_finish(c, serials[0], &reply, 0), -ENOENT);
	/* The end of the connection is the end of those that have no reply, and of these only. */
	service = fd_shutdown_close(service);
	ck_assert_int_eq(capc_call_finish(c, serials[3], &reply, LONG), -ECONNRESET);
	ck_assert_int_eq(capc_call_finish(c, serials[2], &reply, 0), 0);
	ck_assert_str_eq(reply.data, "two");
	capc_msg_done(&reply);
}
END_TEST

/* What had come before the end of a connection is not lost because the next call finds it ended. */
START_TEST(replies_survive_a_new_connection)
{
	uint64_t one, two;
	struct capc_msg reply;

	ck_assert_int_eq(capc_call_start(c, &hello, &one), 0);
	played_put_return(service, one, 0, "one", -1);
	close(service);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_call_start(c, &hello, &two), 0);
	ck_assert_int_eq(capc_call_finish(c, one, &reply, 0), 0);
	ck_assert_str_eq(reply.data, "one");
	capc_msg_done(&reply);
	played_put_return(service, two, 0, "two", -1);
	ck_assert_int_eq(capc_call_finish(c, two, &reply, LONG), 0);
	capc_msg_done(&reply);
}
END_TEST

/* A service that talks and does not listen. */
static void *
talk(void *data)
{
	const int *fd = data;
	struct wire_call m = {.type = WIRE_RETURN, .serial = 1};
	uint8_t packet[64];
	int n = wire_call_encode(&m, packet, sizeof(packet));

	while (msg_send(*fd, packet, (size_t)n, NULL, 0, 0) == n)
		;
	return NULL;
}

START_TEST(P11_a_service_that_only_talks_costs_no_more_than_the_time)
{
	static char big[WIRE_PAYLOAD_MAX];
	struct capc_msg req = {.data = big, .n_data = sizeof(big)}, reply;
	pthread_t thread;
	uint64_t serial;
	clock_t start;

	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(capc_call_start(c, &req, &serial), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, talk, &service), 0);
	start = clock();
	ck_assert_int_eq(capc_call(c, &req, &reply, SHORT), -ETIMEDOUT);
	ck_assert_int_lt(clock() - start, CLOCKS_PER_SEC);
	shutdown(service, SHUT_RDWR);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

static void
expect_cancel(uint64_t serial)
{
	struct wire_call got;
	ssize_t n = recv(service, buffer, sizeof(buffer), MSG_DONTWAIT);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, &got), 0);
	ck_assert_uint_eq(got.type, WIRE_CANCEL);
	ck_assert_uint_eq(got.serial, serial);
}

START_TEST(P11_a_call_that_is_given_up_is_told)
{
	struct capc_msg reply;
	uint64_t serial;

	ck_assert_int_eq(capc_call_start(c, &hello, &serial), 0);
	played_get_call(service, serial, &hello, NULL);
	ck_assert_int_eq(capc_call_cancel(c, serial), 0);
	expect_cancel(serial);
	ck_assert_int_eq(capc_call_cancel(c, serial), -ENOENT);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, 0), -ENOENT);
	/* Its reply, with all it brings, is for nobody. */
	played_put_return(service, serial, 0, "late", service);
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	played_get_call(service, serial + 1, &hello, NULL);
	expect_cancel(serial + 1);
}
END_TEST

/* However many old replies a service sends, the time is the caller's. */
START_TEST(old_replies_do_not_prolong_a_call)
{
	struct capc_msg reply;

	ck_assert_int_eq(capc_call(c, &hello, &reply, 0), -ETIMEDOUT);
	for (int i = 0; i < 50; i++)
		played_put_return(service, 1, 0, "late", -1);
	played_put_return(service, 2, 0, "too late", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, 0), -ETIMEDOUT);
	capc_msg_done(&reply);
}
END_TEST

START_TEST(a_child_of_fork_does_no_harm)
{
	struct capc_msg reply;
	int status;
	/* Also one that the C library knows nothing of. */
	pid_t pid = _i == 0 ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0) {
		bool good = capc_call(c, &hello, &reply, LONG) == -ECHILD &&
			capc_fd(c) == -ECHILD;

		capc_free(c);
		_exit(good ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	played_put_return(service, 1, 0, "still here", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
}
END_TEST

/* The library's, too: whoever looks before it sleeps calls it each time. */
static unsigned n_yields;

CAPC_PUBLIC int
sched_yield(void)
{
	n_yields++;
	return 0;
}

START_TEST(looking_before_sleeping_is_the_callers_choice)
{
	struct capc_msg reply;

	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_eq(n_yields, 0);
	ck_assert_int_eq(capc_set_busy_poll(c, CAPC_BUSY_POLL_MAX + 1), -EINVAL);
	ck_assert_int_eq(capc_set_busy_poll(c, CAPC_BUSY_POLL_MAX), 0);
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_gt(n_yields, 0);
	/* It was in vain: not again at once. */
	n_yields = 0;
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_eq(n_yields, 0);
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_gt(n_yields, 0);
	ck_assert_int_eq(capc_set_busy_poll(c, 0), 0);
	n_yields = 0;
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_eq(n_yields, 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("call");
	TCase *t = tcase_create("call");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_call_comes_back);
	tcase_add_test(t, an_empty_and_a_full_call_come_back);
	tcase_add_test(t, descriptors_go_both_ways);
	tcase_add_test(t, a_refusal_carries_its_reason);
	tcase_add_test(t, a_call_that_was_given_up_is_not_mixed_up);
	tcase_add_test(t, a_service_that_does_not_read_costs_no_more_than_the_time);
	tcase_add_test(t, the_end_of_an_idle_connection_is_repaired);
	tcase_add_test(t, a_call_that_was_sent_is_never_repeated);
	tcase_add_loop_test(t, malformed_replies_end_the_connection, 0, 5);
	tcase_add_test(t, P09_C11_descriptors_without_room_are_told);
	tcase_add_test(t, calls_are_pipelined);
	tcase_add_test(t, replies_survive_a_new_connection);
	tcase_add_test(t, P11_a_service_that_only_talks_costs_no_more_than_the_time);
	tcase_add_test(t, P11_a_call_that_is_given_up_is_told);
	tcase_add_test(t, old_replies_do_not_prolong_a_call);
	tcase_add_loop_test(t, a_child_of_fork_does_no_harm, 0, 2);
	tcase_add_test(t, looking_before_sleeping_is_the_callers_choice);
	suite_add_tcase(suite, t);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
