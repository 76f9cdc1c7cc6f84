/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C10 P09 S05 */
/* Descriptors of calls, as a server gets and sends them: the test plays the daemon and the clients. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/both.h"
#include "tests/fixture.h"
#include "tests/played-server.h"
#include "wire/wire.h"

#define BIG 60000   /* bytes of a reply of which a socket holds few */

/* Only who is not privileged has a limit of descriptors in flight. */
static void
become_nobody(void)
{
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0);
}

static void
reply_big_with_fd(capc_request *r, struct capc_msg *m, void *data)
{
	static char big[BIG];

	ck_assert_int_eq(capc_reply(r, &(struct capc_msg){.data = big, .n_data = BIG,
					       .fds = &channel, .n_fds = 1}), 0);
}

START_TEST(a_reply_waits_for_descriptors_in_flight)
{
	struct rlimit limit = {64, 64};
	struct wire_call reply;
	int client, full[2], many[100], n_back = 0, fd;

	become_nobody();
	played_add(&d, e, 1, reply_big_with_fd, NULL);
	client = played_client(e, channel, 1, 1);
	for (uint64_t i = 1; i <= 10; i++)
		played_call(client, i, 0, "", 0, -1);
	ck_assert_int_gt(played_serve_all(e), 1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	played_pair(SOCK_SEQPACKET, full);
	for (int i = 0; i < 100; i++)
		many[i] = channel;
	ck_assert_int_eq(msg_send(full[0], "", 1, many, 100, 0), 1);
	while (played_return(client, buffer, &reply, &fd)) {
		n_back++;
		close(fd);
	}
	ck_assert_int_lt(n_back, 10);
	ck_assert_int_eq(capc_serve(e, SHORT), 0);
	ck_assert(!played_return(client, buffer, &reply, &fd));
	/* Nor is it tried all the time. */
	ck_assert_int_eq(played_serve_all(e), 0);
	close(full[0]);
	close(full[1]);
	while (n_back < 10) {
		ck_assert_int_ge(capc_serve(e, SHORT), 0);
		while (played_return(client, buffer, &reply, &fd)) {
			ck_assert_uint_eq(reply.serial, (uint64_t)++n_back);
			ck_assert_uint_eq(reply.code, 0);
			close(fd);
		}
	}
	close(client);
}
END_TEST

/* S05: each of them, in order, CLOEXEC, and nothing stays behind. */
START_TEST(S05_C10_many_descriptors_come_back)
{
	static const size_t counts[] = {1, 2, 252, 253, 254, 506, 507, CAPC_FDS_MAX};
	static char big[WIRE_PAYLOAD_MAX + 1];
	static int fds[CAPC_FDS_MAX];
	struct capc_msg reply;
	struct rlimit l;
	struct both b;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	played_add(&d, e, 1, echo, NULL);
	capc_entrypoint_set_max(e, SIZE_MAX, SIZE_MAX);
	both_start(&b, e, &channel);
	for (size_t i = 0; i < CAPC_FDS_MAX; i++)
		ck_assert_int_ge(fds[i] = eventfd((unsigned)i + 1, EFD_CLOEXEC), 0);
	for (size_t i = 0; i < 2 * sizeof(counts) / sizeof(counts[0]); i++) {
		struct capc_msg req = {.fds = fds, .n_fds = counts[i / 2]};

		/* With a payload that takes a descriptor, and without. */
		req.data = big;
		req.n_data = i % 2 ? sizeof(big) : 1;
		ck_assert_int_eq(capc_call(b.c, &req, &reply, CAPC_TIMEOUT_USEC), 0);
		ck_assert_uint_eq(reply.n_data, req.n_data);
		ck_assert_uint_eq(reply.n_fds, req.n_fds);
		for (size_t j = 0; j < req.n_fds; j++) {
			eventfd_t value = 0;

			ck_assert_int_eq(fcntl(reply.fds[j], F_GETFD), FD_CLOEXEC);
			ck_assert_int_eq(eventfd_read(reply.fds[j], &value), 0);
			ck_assert_uint_eq(value, j + 1);
			ck_assert_int_eq(eventfd_write(reply.fds[j], value), 0);
		}
		capc_msg_done(&reply);
	}
	for (size_t i = 0; i < CAPC_FDS_MAX; i++)
		close(fds[i]);
	both_stop(&b);
}
END_TEST

START_TEST(more_than_a_server_takes_is_refused)
{
	static char big[WIRE_PAYLOAD_MAX + 1];
	struct capc_msg reply;
	int fds[3] = {0, 0, 0};
	struct both b;

	played_add(&d, e, 1, echo, NULL);
	capc_entrypoint_set_max(e, 100, 2);
	both_start(&b, e, &channel);
	for (int i = 0; i < 4; i++) {
		struct capc_msg req = {.data = big, .n_data = i == 0 ? 101 : sizeof(big)};

		if (i >= 2)
			req = (struct capc_msg){.fds = fds, .n_fds = 3};
		ck_assert_int_eq(capc_call(b.c, &req, &reply, CAPC_TIMEOUT_USEC), -EMSGSIZE);
		ck_assert_ptr_nonnull(strstr(reply.data, "takes no call with as much"));
		capc_msg_done(&reply);
		req = (struct capc_msg){.data = big, .n_data = 100, .fds = fds, .n_fds = 2};
		ck_assert_int_eq(capc_call(b.c, &req, &reply, CAPC_TIMEOUT_USEC), 0);
		capc_msg_done(&reply);
	}
	both_stop(&b);
}
END_TEST

/* Room for the descriptor of a large payload is no room for another one. */
START_TEST(descriptors_ahead_of_a_call_are_counted)
{
	struct wire_call m = {.type = WIRE_FDS, .serial = 1}, reply;
	int client, n_bytes = wire_call_encode(&m, buffer, sizeof(buffer));
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	capc_entrypoint_set_max(e, 100, 0);
	client = played_client(e, channel, 1, 1);
	ck_assert_int_eq(msg_send(client, buffer, (size_t)n_bytes, &client, 1, 0), n_bytes);
	played_call(client, 1, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, EMSGSIZE);
	ck_assert_uint_eq(n, 0);
	close(client);
}
END_TEST

START_TEST(P09_a_server_without_room_refuses_the_call)
{
	struct wire_call reply;
	struct rlimit l, before;
	int client, fds[2], next;
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	client = played_client(e, channel, 1, 1);
	played_pair(SOCK_STREAM, fds);
	played_call(client, 1, 0, "", 0, fds[0]);
	close(fds[0]);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	next = fcntl(0, F_DUPFD, 0);
	close(next);
	l = before;
	l.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, EMFILE);
	ck_assert_uint_eq(n, 0);
	ck_assert(played_at_end(fds[1]));
	close(fds[1]);
	/* The next one is served. */
	played_call(client, 2, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, 0);
	close(client);
}
END_TEST

START_TEST(descriptors_of_a_call_that_never_came_are_dropped)
{
	struct wire_call m = {.type = WIRE_FDS, .serial = 1}, reply;
	int client, fds[2], n_bytes = wire_call_encode(&m, buffer, sizeof(buffer));
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	client = played_client(e, channel, 1, 1);
	played_pair(SOCK_STREAM, fds);
	ck_assert_int_eq(msg_send(client, buffer, (size_t)n_bytes, fds, 1, 0), n_bytes);
	close(fds[0]);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert(!played_at_end(fds[1]));
	played_call(client, 2, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert(played_at_end(fds[1]));
	close(fds[1]);
	close(client);
}
END_TEST

static void
put_ahead(int client, int fd)
{
	struct wire_call m = {.type = WIRE_FDS, .serial = 1};
	int n = wire_call_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(client, buffer, (size_t)n, &fd, 1, 0), n);
}

/* Nobody keeps descriptors in a server by calls that never come: not for long … */
START_TEST(descriptors_ahead_of_no_call_end_their_connection)
{
	int client, other;
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	capc_entrypoint_set_timeout(e, SHORT);
	client = played_client(e, channel, 1, 1);
	other = played_client(e, channel, 2, 1);
	put_ahead(client, other);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_int_eq(capc_serve(e, 100 * SHORT), 0);
	ck_assert(played_at_end(client));
	ck_assert(!played_at_end(other));
	close(client);
	close(other);
}
END_TEST

/* … nor many of them: the oldest make room, and their calls are refused. */
START_TEST(descriptors_ahead_are_bounded_for_all)
{
	struct wire_call reply;
	int clients[3], got;
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	capc_entrypoint_set_max(e, 100, 1);
	for (unsigned i = 0; i < 3; i++) {
		clients[i] = played_client(e, channel, i + 1, 1);
		put_ahead(clients[i], clients[i]);
		ck_assert_int_eq(played_serve_all(e), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		played_call(clients[i], 1, 0, "", 0, -1);
		ck_assert_int_eq(played_serve_all(e), 1);
		ck_assert(played_return(clients[i], buffer, &reply, &got));
		ck_assert_uint_eq(reply.code, i == 0 ? EMFILE : 0);
		fd_close(got);
		close(clients[i]);
	}
}
END_TEST

static void
add_tests(TCase *t)
{
	struct rlimit l;

	tcase_add_test(t, a_reply_waits_for_descriptors_in_flight);
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_max >= 4 * CAPC_FDS_MAX)
		tcase_add_test(t, S05_C10_many_descriptors_come_back);
	else
		fixture_skip("S05_C10_many_descriptors_come_back", "RLIMIT_NOFILE is too low");
	tcase_add_test(t, more_than_a_server_takes_is_refused);
	tcase_add_test(t, descriptors_ahead_of_a_call_are_counted);
	tcase_add_test(t, P09_a_server_without_room_refuses_the_call);
	tcase_add_test(t, descriptors_of_a_call_that_never_came_are_dropped);
	tcase_add_test(t, descriptors_ahead_of_no_call_end_their_connection);
	tcase_add_test(t, descriptors_ahead_are_bounded_for_all);
}

int
main(void)
{
	Suite *suite = suite_create("serve-descriptors");
	TCase *t = tcase_create("serve-descriptors");

	tcase_add_checked_fixture(t, server_setup, server_teardown);
	tcase_set_timeout(t, 20);
	add_tests(t);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
