/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P09 P10 */
/* Errors of calls say who they are from, and what is no errno harms nobody. The test plays the daemon. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "tests/both.h"
#include "tests/fixture.h"
#include "tests/played-server.h"
#include "wire/pages.h"

static void
call(struct both *b, uint32_t method, int error, enum capc_origin origin, const char *reason)
{
	struct capc_msg reply;

	ck_assert_int_eq(capc_call(b->c, &(struct capc_msg){.code = method}, &reply, LONG), -error);
	ck_assert_uint_eq(reply.code, (uint32_t)error);
	ck_assert_uint_eq(reply.origin, origin);
	if (reason)
		ck_assert_str_eq(reply.data, reason);
	if (reason)
		ck_assert_uint_eq(reply.n_data, strlen(reason));
	capc_msg_done(&reply);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_SERVICE);
}

/* Method 0 is kept until method 1 comes; a method above is the errno to give, which is none. */
static capc_request *kept;

static const int no_errnos[] = {0, 4096, 5000, -5000, INT_MAX, INT_MIN};

static void
refuse(capc_request *r, struct capc_msg *m, void *data)
{
	if (m->code == 0) {
		kept = r;
	} else if (m->code == 1) {
		ck_assert_int_eq(capc_reply(kept, NULL), 0);
		ck_assert_int_eq(capc_reply_error(r, -EPERM, "not today"), 0);
	} else {
		ck_assert_int_eq(capc_reply_error(r, no_errnos[m->code - 2], "mine"), -EINVAL);
	}
}

/* Who gives it is told, its client gets an error, and no other call of that client suffers. */
START_TEST(P09_an_errno_that_is_none_is_refused_where_it_is_given)
{
	struct capc_msg reply;
	struct both b;
	uint64_t serial;

	played_add(&d, e, 1, refuse, NULL);
	both_start(&b, e, &channel);
	ck_assert_int_eq(capc_call_start(b.c, &(struct capc_msg){}, &serial), 0);
	for (uint32_t i = 0; i < sizeof(no_errnos) / sizeof(no_errnos[0]); i++)
		call(&b, 2 + i, EINVAL, CAPC_ORIGIN_SERVER, NULL);
	call(&b, 1, EPERM, CAPC_ORIGIN_SERVICE, "not today");
	ck_assert_int_eq(capc_call_finish(b.c, serial, &reply, LONG), 0);
	capc_msg_done(&reply);
	both_stop(&b);
}
END_TEST

static void
wrong(capc_request *r, struct capc_msg *m, void *data)
{
	static const int none = -1;
	struct capc_msg reply = {.fds = &none, .n_fds = 1};

	if (m->code == 0)
		ck_assert_int_eq(capc_reply(r, &reply), -EBADF);
	else
		ck_assert_int_eq(capc_reply_error(r, ENXIO, "no such key"), 0);
}

/* What the library in the server refuses by itself, and the same errno of the service. */
START_TEST(P09_the_library_and_the_service_are_told_apart)
{
	struct both b;
	struct capc_msg reply, large = {.data = "12345", .n_data = 5};

	played_add(&d, e, 1, wrong, NULL);
	capc_entrypoint_set_max(e, 4, 0);
	both_start(&b, e, &channel);
	call(&b, 0, EBADF, CAPC_ORIGIN_SERVER, NULL);
	call(&b, 1, ENXIO, CAPC_ORIGIN_SERVICE, "no such key");
	ck_assert_int_eq(capc_call(b.c, &large, &reply, LONG), -EMSGSIZE);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_SERVER);
	ck_assert_str_eq(reply.data, "the server takes no call with as much");
	capc_msg_done(&reply);
	both_stop(&b);
}
END_TEST

START_TEST(P09_an_object_that_is_not_there_is_refused_by_the_library)
{
	struct both b;

	both_start(&b, e, &channel);
	call(&b, 0, ENXIO, CAPC_ORIGIN_SERVER, "the server has no such object");
	both_stop(&b);
}
END_TEST

static int
page(size_t n)
{
	int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	return fd;
}

/* The pages of an entrypoint, where the entry 1 may call method 7 alone, once. */
static void
send_pages(void)
{
	struct granted_entry entries[2] = {}, *entry = &entries[1];
	struct granted_header header = {
		.magic = PAGES_MAGIC, .version = PAGES_VERSION, .n_entries = PAGES_ENTRIES};
	int fds[2] = {page(PAGES_GRANTED_BYTES), page(PAGES_USED_BYTES)};
	uint8_t message[16];
	int n = wire_pages_encode(message, sizeof(message));

	memcpy(&entries[0], &header, sizeof(header));
	*entry = (struct granted_entry){
		.capability = 31,
		.rights = CAPC_RIGHT_CALL,
		.calls_limit = 1,
		.rate = PAGES_NO_LIMIT,
		.methods = {7 | (uint64_t)8 << 32, 1, 1, 1},
	};
	ck_assert_int_eq(pwrite(fds[0], entries, sizeof(entries), 0), sizeof(entries));
	ck_assert_int_eq(msg_send(channel, message, (size_t)n, fds, 2, MSG_DONTWAIT), n);
	close(fds[0]);
	close(fds[1]);
}

static void
quota(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(capc_reply_error(r, EDQUOT, "the service's own"), 0);
}

/* EDQUOT and EPERM of a limit, and the same of the service. */
START_TEST(P10_a_limit_and_the_service_are_told_apart)
{
	uint8_t message[WIRE_CHANNEL_MAX];
	struct wire_handover m = {.serial = 1, .key = 1, .badge = 0x101, .capability = 31,
		.rights = CAPC_RIGHT_CALL, .label = "init", .n_label = 4, .page_index = 1};
	struct both b = {.channel = &channel};
	int fds[2], n;

	played_add(&d, e, 1, quota, NULL);
	both_start(&b, e, &channel);
	/* That one is counted by nobody: another connection is. */
	b.c = capc_free(b.c);
	send_pages();
	played_pair(SOCK_SEQPACKET, fds);
	m.serial = 2;
	n = wire_handover_encode(&m, message, sizeof(message));
	ck_assert_int_eq(msg_send(channel, message, (size_t)n, &fds[1], 1, MSG_DONTWAIT), n);
	close(fds[1]);
	played_answer(&b.client, WIRE_OPEN, 0, "", fds[0]);
	close(fds[0]);
	ck_assert_int_eq(capc_open(b.client.session, "e", LONG, &b.c), 0);
	call(&b, 9, EPERM, CAPC_ORIGIN_LIMIT, "it may not call that method");
	call(&b, 7, EDQUOT, CAPC_ORIGIN_SERVICE, "the service's own");
	call(&b, 8, EDQUOT, CAPC_ORIGIN_LIMIT, "its calls are used up");
	both_stop(&b);
}
END_TEST

/* What the client's own library finds, and what the daemon says when the slot is opened again. */
START_TEST(P09_the_client_tells_its_library_from_the_daemon)
{
	int service = played_answer_open(&d, SOCK_SEQPACKET);
	struct capc_msg req = {}, reply;
	capc *c;

	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &c), 0);
	ck_assert_int_eq(capc_call(c, &req, &reply, SHORT), -ETIMEDOUT);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_LIBRARY);
	req.n_data = CAPC_PAYLOAD_MAX + 1;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EMSGSIZE);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_LIBRARY);
	close(service);
	played_answer(&d, WIRE_OPEN, EDQUOT, "conns", -1);
	req.n_data = 0;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EDQUOT);
	ck_assert_uint_eq(reply.code, 0);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_DAEMON);
	ck_assert_str_eq(capc_session_reason(d.session), "conns");
	service = played_answer_open(&d, SOCK_SEQPACKET);
	req.n_data = CAPC_PAYLOAD_MAX + 1;
	ck_assert_int_eq(capc_call(c, &req, &reply, LONG), -EMSGSIZE);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_LIBRARY);
	capc_free(c);
	close(service);
}
END_TEST

/* What was sent has no answer, and what was not can no longer be. */
static void
on_end(capc *c, uint64_t serial, int error, struct capc_msg *m, void *data)
{
	ck_assert_uint_eq(m->origin, CAPC_ORIGIN_LIBRARY);
	ck_assert(error == -ECONNRESET || error == -ENOTCONN);
	*(int *)data = error;
}

/* Where there is only one connection ever, nobody is asked for another: least of all a daemon. */
START_TEST(P09_an_end_is_not_the_daemons)
{
	struct capc_msg reply;
	int service, fds[2], last = 0;
	capc *c;

	if (_i == 0) {
		service = played_answer_open(&d, SOCK_SEQPACKET);
		ck_assert_int_eq(capc_open_flags(d.session, "kv", CAPC_ONE_CONNECTION, &c), 0);
		ck_assert_int_eq(capc_call(c, &(struct capc_msg){}, &reply, SHORT), -ETIMEDOUT);
	} else {
		played_pair(SOCK_SEQPACKET, fds);
		service = fds[0];
		ck_assert_int_eq(capc_from_fd(fds[1], &c), 0);
	}
	/* More than may be sent. */
	for (int i = 0; _i == 1 && i < WIRE_CREDIT_MIN + 1; i++)
		ck_assert_int_eq(capc_call_async(c, &(struct capc_msg){}, on_end, &last, NULL), 0);
	close(service);
	ck_assert_int_ge(capc_dispatch(c), 0);
	if (_i == 1)
		ck_assert_int_eq(last, -ENOTCONN);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(capc_call(c, &(struct capc_msg){}, &reply, LONG), -ENOTCONN);
		ck_assert_uint_eq(reply.code, 0);
		ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_LIBRARY);
	}
	capc_free(c);
}
END_TEST

/* Whatever a server writes there, it speaks neither for the daemon nor for the library of its client. */
START_TEST(P09_no_server_speaks_for_others)
{
	char reason[] = {'n', 'o', 0, (char)_i};
	struct wire_call m = {.type = WIRE_RETURN, .code = EPERM, .payload = reason, .n_payload = sizeof(reason)};
	struct capc_msg reply;
	int fds[2], n;
	capc *c;

	played_pair(SOCK_SEQPACKET, fds);
	ck_assert_int_eq(capc_from_fd(fds[1], &c), 0);
	ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){}, &m.serial), 0);
	n = wire_call_encode(&m, buffer, sizeof(buffer));
	ck_assert_int_eq(msg_send(fds[0], buffer, (size_t)n, NULL, 0, MSG_DONTWAIT), n);
	ck_assert_int_eq(capc_call_finish(c, m.serial, &reply, LONG), -EPERM);
	ck_assert_uint_eq(reply.origin,
		_i == 0                          ? CAPC_ORIGIN_SERVICE
			: _i == WIRE_ORIGIN_LIMIT ? CAPC_ORIGIN_LIMIT
						  : CAPC_ORIGIN_SERVER);
	capc_msg_done(&reply);
	capc_free(c);
	close(fds[0]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("origin");
	TCase *t = tcase_create("origin");

	tcase_add_checked_fixture(t, server_setup, server_teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, P09_an_errno_that_is_none_is_refused_where_it_is_given);
	tcase_add_test(t, P09_the_library_and_the_service_are_told_apart);
	tcase_add_test(t, P09_an_object_that_is_not_there_is_refused_by_the_library);
	tcase_add_test(t, P10_a_limit_and_the_service_are_told_apart);
	tcase_add_test(t, P09_the_client_tells_its_library_from_the_daemon);
	tcase_add_loop_test(t, P09_an_end_is_not_the_daemons, 0, 2);
	tcase_add_loop_test(t, P09_no_server_speaks_for_others, 0, 256);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
