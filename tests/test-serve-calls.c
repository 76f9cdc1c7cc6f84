/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C09 G40 S02 S04 S19 */
/* Calls, as a server gets them: the test plays the daemon and the clients. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

static void
keep_caller(capc_request *r, struct capc_msg *m, void *data)
{
	const struct capc_caller *caller = capc_caller(r);

	ck_assert_uint_eq(caller->badge, 0x107);
	ck_assert_uint_eq(caller->key, 7);
	ck_assert_uint_eq(caller->capability, 31);
	ck_assert_uint_eq(caller->rights, CAPC_RIGHT_CALL | CAPC_RIGHT_GRANT);
	ck_assert_uint_eq(caller->uid, 990);
	ck_assert_uint_eq(caller->gid, 991);
	ck_assert_int_eq(caller->pid, 4711);
	ck_assert_int_eq(caller->pidfd >= 0, *(bool *)data);
	ck_assert_str_eq(caller->label, "init/app");
	ck_assert_uint_eq(m->code, 0x42424242);
	ck_assert_int_eq(capc_reply(r, NULL), 0);
}

/* Whatever the client writes into its calls, badge and key are the daemon's word. */
START_TEST(S19_S04_G40_the_badge_comes_from_the_daemon)
{
	bool pidfd = _i > 0;
	struct wire_call reply;
	int other = pidfd ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1, client;

	played_add(&d, e, 7, keep_caller, &pidfd);
	played_add(&d, e, 0x42424242, echo, NULL);
	client = played_handover(channel, 1, 7, other);
	fd_close(other);
	for (uint64_t i = 1; i <= 10; i++)
		played_call(client, i, 0x42424242, "BBBBBBBBBBBBBBBBBBBBBBBB", 24, -1);
	ck_assert_int_eq(played_serve_all(e), 11);
	for (uint64_t i = 1; i <= 10; i++) {
		ck_assert(played_return(client, buffer, &reply, NULL));
		ck_assert_uint_eq(reply.serial, i);
		ck_assert_uint_eq(reply.code, 0);
	}
	close(client);
}
END_TEST

START_TEST(calls_are_answered)
{
	struct wire_call reply;
	int client, pipes[2], got;
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	client = played_client(e, channel, 1, 1);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	played_call(client, 9, 3, "hello", 5, pipes[0]);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, &got));
	ck_assert_uint_eq(reply.serial, 9);
	ck_assert_uint_eq(reply.n_payload, 5);
	ck_assert_mem_eq(reply.payload, "hello", 5);
	ck_assert_int_ge(got, 0);
	ck_assert_uint_eq(n, 1);
	close(got);
	close(pipes[0]);
	close(pipes[1]);
	/* The client goes; the server's end is shut down. */
	close(client);
	ck_assert_int_eq(played_serve_all(e), 0);
}
END_TEST

START_TEST(refusals_reach_the_client)
{
	struct wire_call reply;
	int client = played_client(e, channel, 1, 77);

	/* Nobody added this key. */
	played_call(client, 1, 0, "x", 1, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.code, ENXIO);
	ck_assert_uint_gt(reply.n_payload, 0);
	close(client);
}
END_TEST

static void
keep_fd(capc_request *r, struct capc_msg *m, void *data)
{
	*(int *)data = capc_msg_take_fd(m, 0);
	ck_assert_int_eq(capc_reply(r, NULL), 0);
}

/*
 * A client's end goes to another as the payload of a message, and is the same connection there, with
 * its own key and badge; the server's end never leaves the server.
 */
START_TEST(S02_a_clients_end_is_delegated)
{
	struct wire_call reply;
	int first = played_client(e, channel, 1, 1), second = played_client(e, channel, 2, 2), got = -1;
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	played_add(&d, e, 2, keep_fd, &got);
	played_call(second, 1, 0, "take this", 9, first);
	close(first);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(second, buffer, &reply, NULL));
	ck_assert_int_ge(got, 0);
	close(second);
	played_call(got, 5, 0, "from another", 12, -1);
	played_serve_all(e);
	ck_assert(played_return(got, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.serial, 5);
	ck_assert_mem_eq(reply.payload, "from another", 12);
	ck_assert_uint_eq(n, 1);
	close(got);
}
END_TEST

static void
bad_reply(capc_request *r, struct capc_msg *m, void *data)
{
	static char big[CAPC_PAYLOAD_MAX + 1];
	struct capc_msg reply = {.data = big, .n_data = sizeof(big)};
	int fds[2] = {1 << 20, -1};

	switch (m->code) {
	case 0:
		ck_assert_int_eq(capc_reply(r, &reply), -EMSGSIZE);
		break;
	case 1:
		ck_assert_int_eq(capc_reply(r, &(struct capc_msg){.fds = fds, .n_fds = 1}), -EBADF);
		break;
	case 2:
		ck_assert_int_eq(capc_reply_error(r, -EPERM, "no"), 0);
		break;
	default:
		ck_assert_int_eq(capc_reply(r, &(struct capc_msg){.n_fds = CAPC_FDS_MAX + 1}),
			-EINVAL);
	}
}

START_TEST(a_reply_that_cannot_be_is_an_error_to_both)
{
	static const uint32_t codes[] = {EMSGSIZE, EBADF, EPERM, EINVAL};
	struct wire_call reply;
	int client;

	played_add(&d, e, 1, bad_reply, NULL);
	client = played_client(e, channel, 1, 1);
	for (uint32_t i = 0; i < 4; i++) {
		played_call(client, i + 1, i, "", 0, -1);
		ck_assert_int_eq(played_serve_all(e), 1);
		ck_assert(played_return(client, buffer, &reply, NULL));
		ck_assert_uint_eq(reply.code, codes[i]);
	}
	close(client);
}
END_TEST

static void
keep(capc_request *r, struct capc_msg *m, void *data)
{
	capc_request **kept = data;

	while (*kept)
		kept++;
	*kept = r;
}

START_TEST(requests_are_answered_later_and_in_any_order)
{
	capc_request *kept[64] = {};
	struct wire_call reply;
	int client;

	ck_assert_int_eq(capc_entrypoint_set_calls(e, 16), 0);
	played_add(&d, e, 1, keep, kept);
	client = played_client(e, channel, 1, 1);
	for (uint64_t i = 1; i <= 40; i++)
		played_call(client, i, 0, "", 0, -1);
	/* No more than it may have unanswered. */
	ck_assert_int_eq(played_serve_all(e), 16);
	for (int i = 15; i >= 0; i--) {
		ck_assert_int_eq(capc_reply(kept[i], NULL), 0);
		ck_assert(played_return(client, buffer, &reply, NULL));
		ck_assert_uint_eq(reply.serial, (uint64_t)i + 1);
	}
	memset(kept, 0, sizeof(kept));
	ck_assert_int_eq(played_serve_all(e), 16);
	/* The client goes, then the server: what it kept goes nowhere, and breaks nothing. */
	close(client);
	ck_assert_int_eq(played_serve_all(e), 0);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(capc_reply(kept[i], NULL), -ECONNRESET);
	e = capc_detach(e);
	for (int i = 8; i < 16; i++) {
		ck_assert_str_eq(capc_caller(kept[i])->label, "init/app");
		ck_assert_int_eq(capc_reply_error(kept[i], EIO, NULL), -ECONNRESET);
	}
}
END_TEST

static void
reply_big(capc_request *r, struct capc_msg *m, void *data)
{
	static char big[BIG];
	unsigned *n = data;

	memset(big, (int)m->code, sizeof(big));
	ck_assert_int_eq(capc_reply(r, &(struct capc_msg){.data = big, .n_data = BIG}), 0);
	(*n)++;
}

START_TEST(a_client_that_does_not_read_blocks_nobody)
{
	struct wire_call reply;
	unsigned n = 0, n_back = 0;
	int deaf, other;

	played_add(&d, e, 1, reply_big, &n);
	deaf = played_client(e, channel, 1, 1);
	other = played_client(e, channel, 2, 1);
	for (uint32_t i = 1; i <= 30; i++)
		played_call(deaf, i, i, "", 0, -1);
	ck_assert_int_gt(played_serve_all(e), 0);
	/* It is not read from while its replies wait. */
	ck_assert_uint_lt(n, 16);
	played_call(other, 1, 1, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_return(other, buffer, &reply, NULL));
	/* Once it reads it gets all, in order, each once. */
	while (n_back < 30) {
		while (played_return(deaf, buffer, &reply, NULL)) {
			ck_assert_uint_eq(reply.serial, ++n_back);
			ck_assert_uint_eq(((const uint8_t *)reply.payload)[BIG - 1], n_back);
		}
		played_serve_all(e);
	}
	ck_assert_uint_eq(n, 31);
	close(deaf);
	close(other);
}
END_TEST

START_TEST(a_client_that_never_reads_is_disconnected)
{
	capc_request *kept[17] = {};
	unsigned n = 0;
	int deaf, other;
	ssize_t r;

	played_add(&d, e, 1, reply_big, &n);
	played_add(&d, e, 2, keep, kept);
	capc_entrypoint_set_timeout(e, SHORT);
	deaf = played_client(e, channel, 1, 1);
	other = played_client(e, channel, 2, 2);
	for (uint32_t i = 1; i <= 30; i++)
		played_call(deaf, i, i, "", 0, -1);
	/* One whose handler takes its time is another matter. */
	played_call(other, 1, 0, "", 0, -1);
	ck_assert_int_gt(played_serve_all(e), 1);
	ck_assert(!played_at_end(other));
	ck_assert_int_eq(capc_serve(e, 100 * SHORT), 0);
	/* What was sent can be read; that calls were left unread shows as a reset. */
	do
		r = recv(deaf, buffer, sizeof(buffer), MSG_DONTWAIT);
	while (r > 0 || (r < 0 && errno == ECONNRESET));
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(capc_reply(kept[0], NULL), 0);
	/* For ever is no time at all. */
	capc_entrypoint_set_timeout(e, CAPC_FOREVER);
	ck_assert_int_eq(capc_serve(e, SHORT), 0);
	close(deaf);
	close(other);
}
END_TEST

START_TEST(malformed_calls_end_their_connection_alone)
{
	static const struct {
		struct wire_call m;
		size_t cut;
		uint8_t version;
		unsigned n_fds;
	} cases[] = {
		{{.type = WIRE_RETURN, .serial = 1}, 0, 1, 0},
		{{.type = WIRE_CALL, .serial = 0}, 0, 1, 0},
		{{.type = WIRE_CALL, .serial = 1}, 5, 1, 0},
		{{.type = WIRE_CALL, .serial = 1}, 0, 2, 0},
		{{.type = WIRE_FDS, .serial = 1, .code = 1}, 0, 1, 2},
	};
	static uint8_t longer[WIRE_CALL_MAX + 1];
	struct wire_call reply;
	unsigned n = 0;
	int bad, good, n_bytes = wire_call_encode(&cases[_i % 5].m, buffer, sizeof(buffer));

	played_add(&d, e, 1, echo, &n);
	bad = played_client(e, channel, 1, 1);
	good = played_client(e, channel, 2, 1);
	buffer[0] = cases[_i % 5].version;
	if (_i == 5)
		ck_assert_int_gt(send(bad, longer, sizeof(longer), 0), 0);
	else
		ck_assert_int_gt(msg_send(bad, buffer, (size_t)n_bytes - cases[_i].cut,
					 (int[]){bad, good}, cases[_i].n_fds, 0), 0);
	played_call(good, 1, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert(played_at_end(bad));
	ck_assert(played_return(good, buffer, &reply, NULL));
	ck_assert_uint_eq(n, 1);
	close(bad);
	close(good);
}
END_TEST

/* The daemon holds a duplicate of every connection. */
START_TEST(connections_end_in_spite_of_a_duplicate)
{
	int fds[2];

	played_add(&d, e, 1, echo, NULL);
	played_pair(SOCK_SEQPACKET, fds);
	played_handover_fd(channel, 1, 1, fds[1], -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	e = capc_detach(e);
	ck_assert(played_at_end(fds[0]));
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* A revoked connection: the daemon shuts its duplicate down. */
START_TEST(a_revoked_connection_is_forgotten)
{
	capc_request *kept[17] = {};
	int fds[2];

	played_add(&d, e, 1, keep, kept);
	played_pair(SOCK_SEQPACKET, fds);
	played_handover_fd(channel, 1, 1, fds[1], -1);
	for (uint64_t i = 1; i <= 16; i++)
		played_call(fds[0], i, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 17);
	ck_assert_int_eq(shutdown(fds[1], SHUT_RDWR), 0);
	ck_assert_int_eq(played_serve_all(e), 0);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(capc_reply(kept[i], NULL), -ECONNRESET);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_child_of_fork_does_no_harm)
{
	capc_request *kept[2] = {};
	struct wire_call reply;
	int client, status;
	pid_t pid;

	played_add(&d, e, 1, keep, kept);
	client = played_client(e, channel, 1, 1);
	played_call(client, 1, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	pid = fork();
	if (pid == 0) {
		bool good = capc_serve(e, 0) == -ECHILD && capc_entrypoint_fd(e) == -ECHILD &&
			capc_reply(kept[0], NULL) == -ECHILD;

		capc_detach(e);
		_exit(good ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(capc_reply(kept[0], NULL), 0);
	ck_assert(played_return(client, buffer, &reply, NULL));
	kept[0] = NULL;
	played_call(client, 2, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_int_eq(capc_reply(kept[0], NULL), 0);
	close(client);
}
END_TEST

START_TEST(a_client_calls_a_server)
{
	struct capc_msg reply;
	struct both b;
	unsigned n = 0;

	played_add(&d, e, 1, echo, &n);
	both_start(&b, e, &channel);
	for (uint32_t i = 1; i <= 1000; i++) {
		struct capc_msg req = {.code = i, .data = &i, .n_data = sizeof(i)};

		ck_assert_int_eq(capc_call(b.c, &req, &reply, CAPC_TIMEOUT_USEC), 0);
		ck_assert_uint_eq(reply.n_data, sizeof(i));
		ck_assert_mem_eq(reply.data, &i, sizeof(i));
		capc_msg_done(&reply);
	}
	both_stop(&b);
	ck_assert_uint_eq(n, 1000);
}
END_TEST

static void
mirror(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(capc_reply(r, m), 0);
}

/* Who has as many calls unanswered as may be can still give them up. */
START_TEST(cancellations_are_read_of_a_full_connection)
{
	struct wire_call cancel = {.type = WIRE_CANCEL}, reply;
	capc_request *kept[32] = {};
	int client, n;

	ck_assert_int_eq(capc_entrypoint_set_calls(e, 16), 0);
	played_add(&d, e, 1, keep, kept);
	client = played_client(e, channel, 1, 1);
	for (uint64_t i = 1; i <= 16; i++)
		played_call(client, i, 0, "", 0, -1);
	for (cancel.serial = 1; cancel.serial <= 16; cancel.serial++) {
		n = wire_call_encode(&cancel, buffer, sizeof(buffer));
		ck_assert_int_eq(msg_send(client, buffer, (size_t)n, NULL, 0, 0), n);
	}
	played_call(client, 17, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 16);
	for (unsigned i = 0; i < 16; i++) {
		ck_assert(capc_cancelled(kept[i]));
		ck_assert_int_eq(capc_reply(kept[i], NULL), 0);
		ck_assert(played_return(client, buffer, &reply, NULL));
	}
	memset(kept, 0, sizeof(kept));
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_int_eq(capc_reply(kept[0], NULL), 0);
	close(client);
}
END_TEST

START_TEST(a_kept_request_learns_that_nobody_waits)
{
	struct wire_call cancel = {.type = WIRE_CANCEL, .serial = 1}, reply;
	capc_request *kept[4] = {};
	int client, n;

	played_add(&d, e, 1, keep, kept);
	client = played_client(e, channel, 1, 1);
	for (uint64_t i = 1; i <= 3; i++)
		played_call(client, i, 0, "", 0, -1);
	ck_assert_int_eq(played_serve_all(e), 3);
	ck_assert(!capc_cancelled(kept[0]));
	n = wire_call_encode(&cancel, buffer, sizeof(buffer));
	ck_assert_int_eq(msg_send(client, buffer, (size_t)n, NULL, 0, 0), n);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert(capc_cancelled(kept[0]) && !capc_cancelled(kept[1]));
	/* It has a return all the same. */
	ck_assert_int_eq(capc_reply_error(kept[0], ECANCELED, NULL), 0);
	ck_assert(played_return(client, buffer, &reply, NULL));
	ck_assert_uint_eq(reply.serial, 1);
	ck_assert_int_eq(capc_reply(kept[1], NULL), 0);
	close(client);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert(capc_cancelled(kept[2]));
	ck_assert_int_eq(capc_reply(kept[2], NULL), -ECONNRESET);
}
END_TEST

/* Neither side waits for the other to read. */
/* However many calls one has sent, another one's come in between. */
START_TEST(clients_take_turns)
{
	int busy, idle;
	struct wire_call reply;

	played_add(&d, e, 7, echo, NULL);
	busy = played_handover(channel, 1, 7, -1);
	idle = played_handover(channel, 2, 7, -1);
	ck_assert_int_eq(played_serve_all(e), 2);
	for (uint64_t i = 1; i <= 10; i++)
		played_call(busy, i, 0, "many", 4, -1);
	played_call(idle, 1, 0, "one", 3, -1);
	ck_assert_int_eq(capc_serve(e, 0), 2);
	ck_assert(played_return(idle, buffer, &reply, NULL));
	ck_assert(played_return(busy, buffer, &reply, NULL));
	ck_assert(!played_return(busy, buffer, &reply, NULL));
	ck_assert_int_eq(played_serve_all(e), 9);
	close(busy);
	close(idle);
}
END_TEST

START_TEST(a_pipe_that_is_full_both_ways_moves_on)
{
	static char big[WIRE_PAYLOAD_MAX];
	struct capc_msg req = {.data = big, .n_data = sizeof(big)}, reply;
	uint64_t serials[200];
	struct both b;
	int n = 0;

	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	while (n < 200) {
		int r = capc_call_start(b.c, &req, &serials[n]);

		if (r != -EAGAIN) {
			ck_assert_int_eq(r, 0);
			n++;
			continue;
		}
		ck_assert_int_eq(capc_call(b.c, &req, &reply, CAPC_TIMEOUT_USEC), 0);
		capc_msg_done(&reply);
	}
	for (int i = n - 1; i >= 0; i--) {
		ck_assert_int_eq(capc_call_finish(b.c, serials[i], &reply, CAPC_TIMEOUT_USEC), 0);
		ck_assert_uint_eq(reply.n_data, sizeof(big));
		capc_msg_done(&reply);
	}
	both_stop(&b);
}
END_TEST

static void
add_tests(TCase *t)
{
	tcase_add_loop_test(t, S19_S04_G40_the_badge_comes_from_the_daemon, 0, 2);
	tcase_add_test(t, calls_are_answered);
	tcase_add_test(t, S02_a_clients_end_is_delegated);
	tcase_add_test(t, refusals_reach_the_client);
	tcase_add_test(t, a_reply_that_cannot_be_is_an_error_to_both);
	tcase_add_test(t, requests_are_answered_later_and_in_any_order);
	tcase_add_test(t, a_client_that_does_not_read_blocks_nobody);
	tcase_add_test(t, a_client_that_never_reads_is_disconnected);
	tcase_add_loop_test(t, malformed_calls_end_their_connection_alone, 0, 6);
	tcase_add_test(t, connections_end_in_spite_of_a_duplicate);
	tcase_add_test(t, a_revoked_connection_is_forgotten);
	tcase_add_test(t, a_child_of_fork_does_no_harm);
	tcase_add_test(t, a_client_calls_a_server);
	tcase_add_test(t, cancellations_are_read_of_a_full_connection);
	tcase_add_test(t, a_kept_request_learns_that_nobody_waits);
	tcase_add_test(t, clients_take_turns);
	tcase_add_test(t, a_pipe_that_is_full_both_ways_moves_on);
}

int
main(void)
{
	Suite *suite = suite_create("serve-calls");
	TCase *t = tcase_create("serve-calls");

	tcase_add_checked_fixture(t, server_setup, server_teardown);
	tcase_set_timeout(t, 20);
	add_tests(t);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
