/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G45 */
/* Entrypoints: the test plays the daemon, on the control connection and on the channel. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-server.h"
#include "wire/wire.h"

START_TEST(attach_tells_what_is_refused)
{
	capc_entrypoint *none;

	played_answer(&d, WIRE_ATTACH, EBUSY, "served by thread 7.1", -1);
	ck_assert_int_eq(capc_attach(d.session, "kv", CAPC_ATTACH_ONCE, &none), -EBUSY);
	ck_assert_str_eq(capc_session_reason(d.session), "served by thread 7.1");
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "once pidfd=no");
	ck_assert_int_eq(capc_attach(d.session, "kv", 32, &none), -EINVAL);
	played_quiet(&d);
}
END_TEST

/* What is not wanted is said, and a daemon that has no word for that is asked without it. */
START_TEST(a_pidfd_is_asked_for)
{
	capc_entrypoint *none;

	played_answer(&d, WIRE_ATTACH, EBUSY, "", -1);
	ck_assert_int_eq(capc_attach(d.session, "kv", CAPC_ATTACH_PIDFD, &none), -EBUSY);
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "pidfd=yes");
	played_answer(&d, WIRE_ATTACH, EINVAL, "unknown key", -1);
	played_answer(&d, WIRE_ATTACH, EBUSY, "", -1);
	ck_assert_int_eq(capc_attach_how(d.session, "kv", "hold=3", &none), -EBUSY);
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "hold=3 pidfd=no");
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "hold=3");
	played_answer(&d, WIRE_ATTACH, EINVAL, "unknown key", -1);
	played_answer(&d, WIRE_ATTACH, EBUSY, "", -1);
	ck_assert_int_eq(
		capc_attach(d.session, "kv", CAPC_ATTACH_ONCE | CAPC_ATTACH_PIDFD, &none), -EBUSY);
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "once pidfd=yes");
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "once pidfd=no");
}
END_TEST

START_TEST(objects_are_added_and_removed)
{
	uint64_t badge = 0;

	played_answer(&d, WIRE_WRITE, 0, "object=12 badge=0xfedcba9876543210", -1);
	ck_assert_int_eq(capc_object_add(e, UINT64_MAX, NULL, NULL, "as=kv socket=stream", &badge),
		0);
	ck_assert_uint_eq(badge, 0xfedcba9876543210);
	played_asked(&d, WIRE_WRITE, "entrypoints/e/objects",
		"key=18446744073709551615 as=kv socket=stream");
	played_answer(&d, WIRE_WRITE, 0, "removed=0xfedcba9876543210", -1);
	ck_assert_int_eq(capc_object_remove(e, badge), 0);
	played_asked(&d, WIRE_WRITE, "entrypoints/e/objects", "remove=18364758544493064720");

	played_answer(&d, WIRE_WRITE, EEXIST, "the slot 'kv' refers to something else", -1);
	ck_assert_int_eq(capc_object_add(e, 1, echo, NULL, "as=kv", &badge), -EEXIST);
	/* Whoever has a handler speaks the protocol of calls, and counts them. */
	played_asked(&d, WIRE_WRITE, "entrypoints/e/objects", "key=1 as=kv protocol=calls");
	played_answer(&d, WIRE_WRITE, ENOENT, "no object has that badge", -1);
	ck_assert_int_eq(capc_object_remove(e, 5), -ENOENT);
}
END_TEST

/* Of one that was restored its server is told by which badge it was known. */
START_TEST(R02_an_object_was_another)
{
	uint64_t badge;

	ck_assert_uint_eq(capc_object_was(e, 7), 0);
	played_answer(&d, WIRE_WRITE, 0, "object=12 badge=0x20 was=0xfedcba9876543210", -1);
	ck_assert_int_eq(capc_object_add(e, 7, NULL, NULL, "as=kv", &badge), 0);
	played_answer(&d, WIRE_WRITE, 0, "object=13 badge=0x21", -1);
	ck_assert_int_eq(capc_object_add(e, 8, NULL, NULL, "as=db", NULL), 0);
	ck_assert_uint_eq(badge, 0x20);
	ck_assert_uint_eq(capc_object_was(e, 7), 0xfedcba9876543210);
	ck_assert_uint_eq(capc_object_was(e, 8), 0);
	ck_assert_uint_eq(capc_object_was(e, 0x20), 0);
	played_answer(&d, WIRE_WRITE, 0, "removed=0x20", -1);
	ck_assert_int_eq(capc_object_remove(e, badge), 0);
	ck_assert_uint_eq(capc_object_was(e, 7), 0);
}
END_TEST

START_TEST(a_result_without_a_badge_is_malformed)
{
	static const char *const results[] = {"", "object=12", "object=12 badge=", "badge=0x",
		"badge=12", "badge=0x0", "badge=0x1ffffffffffffffff", "badge=0x1z"};
	uint64_t badge = 42;

	played_answer(&d, WIRE_WRITE, 0, results[_i], -1);
	ck_assert_int_eq(capc_object_add(e, 1, echo, NULL, NULL, &badge), -EBADMSG);
	ck_assert_uint_eq(badge, 42);
}
END_TEST

START_TEST(a_round_ends_in_time)
{
	ck_assert_int_eq(capc_serve(e, 0), 0);
	ck_assert_int_eq(capc_serve(e, SHORT), 0);
	ck_assert_int_eq(poll(&(struct pollfd){.fd = capc_entrypoint_fd(e), .events = POLLIN}, 1, 0),
		0);
}
END_TEST

START_TEST(a_repeated_handover_is_dropped_and_acknowledged_again)
{
	struct wire_call reply;
	int fds[2];

	played_add(&d, e, 1, echo, NULL);
	played_pair(SOCK_SEQPACKET, fds);
	played_handover_fd(channel, 5, 1, fds[1], -1);
	played_handover_fd(channel, 5, 1, fds[1], -1);
	close(fds[1]);
	ck_assert_int_eq(played_serve_all(e), 1);
	played_taken(channel, 5);
	played_taken(channel, 5);
	played_taken(channel, 0);
	/* The connection of the first is whole, and is served once. */
	played_call(fds[0], 1, 0, "x", 1, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(fds[0], buffer, &reply, NULL));
	ck_assert(!played_return(fds[0], buffer, &reply, NULL));
	close(fds[0]);
}
END_TEST

static void
send_listener(uint64_t key, uint32_t error, int fd)
{
	const struct wire_listener m = {.key = key, .badge = 0x100 + key, .error = error};
	int n = wire_listener_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(channel, buffer, (size_t)n, &fd, fd >= 0, 0), n);
}

START_TEST(listeners_are_taken_once)
{
	int fds[2], got;

	played_pair(SOCK_STREAM, fds);
	ck_assert_int_eq(capc_listener(e, 7, SHORT), -ENOENT);
	played_add(&d, e, 7, NULL, NULL);
	played_add(&d, e, 8, NULL, NULL);
	ck_assert_int_eq(capc_listener(e, 7, SHORT), -ETIMEDOUT);
	send_listener(7, 0, fds[0]);
	got = capc_listener(e, 7, SHORT);
	ck_assert_int_ge(got, 0);
	ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
	played_taken(channel, 0x107);
	/* A repetition is acknowledged again; it is the same socket, and not shut down. */
	send_listener(7, 0, fds[0]);
	ck_assert_int_eq(capc_listener(e, 7, SHORT), -ENOENT);
	played_serve_all(e);
	played_taken(channel, 0x107);
	ck_assert(!played_at_end(fds[1]));
	/* The object taken up again does not get it twice. */
	played_add(&d, e, 7, NULL, NULL);
	ck_assert_int_eq(capc_listener(e, 7, SHORT), -ENOENT);
	/* Why there is none. */
	send_listener(8, EDQUOT, -1);
	ck_assert_int_eq(capc_listener(e, 8, SHORT), -EDQUOT);
	played_taken(channel, 0x108);
	ck_assert_int_eq(capc_listener(e, 8, SHORT), -ETIMEDOUT);
	/* One of an object that it does not know is shut down. */
	send_listener(9, 0, fds[0]);
	played_serve_all(e);
	played_taken(channel, 0x109);
	ck_assert(played_at_end(fds[1]));
	fd_close(got);
	fd_close(fds[0]);
	fd_close(fds[1]);
}
END_TEST

START_TEST(a_listener_without_a_descriptor_is_malformed)
{
	played_add(&d, e, 7, NULL, NULL);
	send_listener(7, 0, -1);
	ck_assert_int_eq(capc_listener(e, 7, SHORT), -EBADMSG);
	ck_assert_int_eq(capc_listener(e, 7, SHORT), -EBADMSG);
}
END_TEST

START_TEST(attach_takes_words)
{
	capc_entrypoint *none;

	played_answer(&d, WIRE_ATTACH, EEXIST, "it is there with another mode", -1);
	ck_assert_int_eq(capc_attach_how(d.session, "kv", "mode=listen", &none), -EEXIST);
	played_asked(&d, WIRE_ATTACH, "entrypoints/kv", "mode=listen pidfd=no");
}
END_TEST

START_TEST(a_stream_socket_is_no_call_connection)
{
	int fds[2];

	played_add(&d, e, 1, echo, NULL);
	played_pair(SOCK_STREAM, fds);
	played_handover_fd(channel, 1, 1, fds[1], -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	played_taken(channel, 1);
	ck_assert(played_at_end(fds[0]));
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static void
raw(int fd, const struct capc_caller *caller, void *data)
{
	ck_assert_uint_eq(caller->badge, 0x101);
	ck_assert_str_eq(caller->label, "init/app");
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	*(int *)data = fd;
}

START_TEST(raw_sockets_are_given_away)
{
	int got = -1, fds[2];

	ck_assert_int_eq(capc_accept_raw(e, raw, &got), 0);
	played_pair(SOCK_STREAM, fds);
	ck_assert_int_eq(fd_set_nonblock(fds[1], true), 0);
	played_handover_fd(channel, 1, 1, fds[1], fds[1]);
	ck_assert_int_eq(played_serve_all(e), 1);
	played_taken(channel, 1);
	ck_assert_int_ge(got, 0);
	/* Not the library's any more. */
	e = capc_detach(e);
	ck_assert_int_eq(write(got, "x", 1), 1);
	ck_assert_int_eq(read(fds[0], buffer, 1), 1);
	capc_raw_close(got);
	ck_assert(played_at_end(fds[0]));
	capc_raw_close(-1);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_process_without_descriptors_hangs_nobody)
{
	struct rlimit limit, old;
	struct wire_call reply;
	int fds[2], full[256], n = 0, client;

	played_add(&d, e, 1, echo, NULL);
	played_pair(SOCK_SEQPACKET, fds);
	played_handover_fd(channel, 1, 1, fds[1], fds[1]);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = 128;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((full[n] = fd_dup(0)) >= 0)
		n++;
	/* Taken, acknowledged, and ended at once, though somebody has a duplicate, with a word why. */
	ck_assert_int_eq(played_serve_all(e), 1);
	played_taken(channel, 1);
	ck_assert(played_return(fds[0], buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, EMFILE);
	ck_assert_uint_eq(wire_refusal_origin(&reply), WIRE_ORIGIN_END);
	ck_assert(played_at_end(fds[0]));
	while (n > 0)
		close(full[--n]);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* Then all goes on. */
	client = played_client(e, channel, 2, 1);
	played_call(client, 1, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	close(client);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* As if another thread had opened something in the moment in which the spare ones make room. */
START_TEST(a_lost_race_for_descriptors_loses_no_connection)
{
	struct rlimit limit, old;
	struct wire_call reply;
	int client;

	played_add(&d, e, 1, echo, NULL);
	client = played_handover(channel, 1, 1, channel);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(capc_serve(e, SHORT), 0);
	played_taken(channel, 0);
	/* It is not tried all the time. */
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_int_eq(capc_serve(e, SHORT), 0);
	ck_assert_int_eq(played_serve_all(e), 1);
	played_taken(channel, 1);
	played_call(client, 1, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	close(client);
}
END_TEST

START_TEST(an_empty_packet_leaves_no_descriptor)
{
	int fds[2] = {channel, channel};

	ck_assert_int_eq(msg_send(channel, "", 0, fds, 2, 0), 0);
	ck_assert_int_eq(capc_serve(e, SHORT), -ENOTCONN);
}
END_TEST

START_TEST(a_daemon_that_does_not_read_gets_every_acknowledgement)
{
	uint8_t message[WIRE_CHANNEL_MAX];
	uint64_t taken = 0;
	int clients[300], n = 0;
	size_t n_fds;
	ssize_t r;

	played_add(&d, e, 1, echo, NULL);
	/* More than the socket's buffer holds of them: each takes some memory of the kernel. */
	for (uint64_t i = 1; i <= 300; i++) {
		clients[n++] = played_handover(channel, i, 1, -1);
		for (int k = 0; k < 3; k++)
			capc_serve(e, 0);
	}
	for (uint64_t i = 1; i <= 300;) {
		r = msg_receive(channel, message, sizeof(message), NULL, 0, &n_fds, MSG_DONTWAIT);
		if (r == -EAGAIN) {
			ck_assert_int_ge(capc_serve(e, SHORT), 0);
			continue;
		}
		ck_assert_int_eq(wire_taken_decode(message, (size_t)r, &taken), 0);
		ck_assert_uint_eq(taken, i++);
	}
	while (n > 0)
		close(clients[--n]);
}
END_TEST

START_TEST(the_end_of_the_channel_ends_all)
{
	int client;

	played_add(&d, e, 1, echo, NULL);
	client = played_client(e, channel, 1, 1);
	channel = fd_close(channel);
	ck_assert_int_eq(capc_serve(e, CAPC_FOREVER), -ENOTCONN);
	ck_assert(played_at_end(client));
	ck_assert_int_eq(capc_serve(e, CAPC_FOREVER), -ENOTCONN);
	ck_assert_int_eq(capc_object_add(e, 2, echo, NULL, NULL, NULL), -ENOTCONN);
	ck_assert_int_eq(capc_accept_raw(e, NULL, NULL), -ENOTCONN);
	close(client);
}
END_TEST

START_TEST(malformed_handovers_end_all)
{
	struct wire_handover m = {.serial = 1, .label = "init", .n_label = 4};
	int n = wire_handover_encode(&m, buffer, sizeof(buffer)), fds[3] = {channel, channel, channel};

	switch (_i) {
	case 0: /* no socket */
		ck_assert_int_gt(send(channel, buffer, (size_t)n, 0), 0);
		break;
	case 1:
		ck_assert_int_gt(msg_send(channel, buffer, (size_t)n - 1, fds, 1, 0), 0);
		break;
	case 2:
		ck_assert_int_gt(msg_send(channel, buffer, (size_t)n, fds, 3, 0), 0);
		break;
	default:
		buffer[0]++;
		ck_assert_int_gt(msg_send(channel, buffer, (size_t)n, fds, 1, 0), 0);
	}
	ck_assert_int_eq(capc_serve(e, SHORT), _i == 3 ? -EPROTO : -EBADMSG);
	ck_assert(played_at_end(channel));
}
END_TEST

static void
leave(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(capc_serve(e, 0), -EBUSY);
	e = capc_detach(e);
	ck_assert_int_eq(capc_reply(r, m), -ECONNRESET);
}

START_TEST(a_handler_may_detach)
{
	capc_entrypoint *left = e;
	int client, other;

	played_add(&d, e, 1, leave, NULL);
	client = played_client(e, channel, 1, 1);
	other = played_client(e, channel, 2, 1);
	played_call(client, 1, 0, "", 0, -1);
	played_call(other, 1, 0, "", 0, -1);
	ck_assert_int_eq(capc_serve(left, SHORT), -ENOTCONN);
	ck_assert(played_at_end(client));
	ck_assert(played_at_end(other));
	ck_assert(played_at_end(channel));
	close(client);
	close(other);
}
END_TEST

static void
forget(capc_request *r, struct capc_msg *m, void *data)
{
	played_answer(&d, WIRE_WRITE, 0, "removed=0x101", -1);
	ck_assert_int_eq(capc_object_remove(e, 0x101), 0);
	ck_assert_int_eq(capc_reply(r, m), 0);
}

static void
extend(capc_request *r, struct capc_msg *m, void *data)
{
	played_add(&d, e, 2, echo, data);
	ck_assert_int_eq(capc_reply(r, m), 0);
}

START_TEST(a_handler_may_add_objects)
{
	struct wire_call reply;
	int client, other;
	unsigned n = 0;

	played_add(&d, e, 1, extend, &n);
	client = played_client(e, channel, 1, 1);
	played_call(client, 1, 0, "x", 1, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	other = played_client(e, channel, 2, 2);
	played_call(other, 1, 0, "y", 1, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(other, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, 0);
	close(client);
	close(other);
}
END_TEST

START_TEST(G45_an_object_that_is_removed_answers_no_more)
{
	struct wire_call reply;
	int client;

	played_add(&d, e, 1, forget, NULL);
	client = played_client(e, channel, 1, 1);
	played_call(client, 1, 0, "", 0, -1);
	played_call(client, 2, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 2);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, 0);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, ENXIO);
	close(client);
}
END_TEST

START_TEST(an_object_is_taken_up_again)
{
	unsigned first = 0, second = 0;
	int client;

	played_add(&d, e, 1, echo, &first);
	played_add(&d, e, 1, echo, &second);
	client = played_client(e, channel, 1, 1);
	played_call(client, 1, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_uint_eq(first, 0);
	ck_assert_uint_eq(second, 1);
	close(client);
}
END_TEST

START_TEST(many_objects_are_told_apart)
{
	static unsigned counts[500];
	int client;

	for (uint64_t i = 0; i < 500; i++)
		played_add(&d, e, i * 3, echo, &counts[i]);
	for (uint64_t i = 0; i < 500; i += 50) {
		client = played_client(e, channel, i + 1, i * 3);
		played_call(client, 1, 0, "", 0, -1);
		ck_assert_int_eq(played_serve_all(e), 1);
		ck_assert_uint_eq(counts[i], 1);
		close(client);
		played_serve_all(e);
	}
}
END_TEST

static void
add_tests(TCase *t)
{
	tcase_add_test(t, attach_tells_what_is_refused);
	tcase_add_test(t, a_pidfd_is_asked_for);
	tcase_add_test(t, objects_are_added_and_removed);
	tcase_add_test(t, R02_an_object_was_another);
	tcase_add_loop_test(t, a_result_without_a_badge_is_malformed, 0, 8);
	tcase_add_test(t, a_round_ends_in_time);
	tcase_add_test(t, a_repeated_handover_is_dropped_and_acknowledged_again);
	tcase_add_test(t, listeners_are_taken_once);
	tcase_add_test(t, a_listener_without_a_descriptor_is_malformed);
	tcase_add_test(t, attach_takes_words);
	tcase_add_test(t, a_stream_socket_is_no_call_connection);
	tcase_add_test(t, raw_sockets_are_given_away);
	tcase_add_test(t, a_process_without_descriptors_hangs_nobody);
	tcase_add_test(t, a_lost_race_for_descriptors_loses_no_connection);
	tcase_add_test(t, an_empty_packet_leaves_no_descriptor);
	tcase_add_test(t, a_daemon_that_does_not_read_gets_every_acknowledgement);
	tcase_add_test(t, the_end_of_the_channel_ends_all);
	tcase_add_loop_test(t, malformed_handovers_end_all, 0, 4);
	tcase_add_test(t, a_handler_may_detach);
	tcase_add_test(t, a_handler_may_add_objects);
	tcase_add_test(t, G45_an_object_that_is_removed_answers_no_more);
	tcase_add_test(t, an_object_is_taken_up_again);
	tcase_add_test(t, many_objects_are_told_apart);
}

int
main(void)
{
	Suite *suite = suite_create("server");
	TCase *t = tcase_create("server");

	tcase_add_checked_fixture(t, server_setup, server_teardown);
	tcase_set_timeout(t, 20);
	add_tests(t);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
