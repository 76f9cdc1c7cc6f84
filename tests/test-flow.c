/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P36 */
/* What a client sends, and what it keeps: the test plays the daemon and the service. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

#define UNASKED 8 /* calls that are sent before it is asked how many there may be */
#define OLD 256	  /* that are sent to a service that does not say */
#define QUEUE 256 /* that wait in the client */
#define MANY 290  /* calls; so many replies without the first 20 fit into a socket, and are more than a round takes */

static struct played d;
static int service = -1;
static capc *c;
static uint8_t buffer[WIRE_CALL_MAX];
static const struct capc_msg hello = {.code = 3, .data = "hello", .n_data = 5};
static uint64_t next_call; /* its serial */

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &c), 0);
	next_call = 1;
}

static void
teardown(void)
{
	c = capc_free(c);
	service = fd_close(service);
	played_deinit(&d);
	fixture_teardown();
}

static void
start(unsigned n)
{
	uint64_t serial;

	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(capc_call_start(c, &hello, &serial), 0);
}

/* The packet that is next for the service, which has N_FDS descriptors. Returns: whether there is one. */
static bool
next(struct wire_call *ret, size_t *ret_n_fds)
{
	int fds[MSG_FDS_MAX];
	ssize_t n = msg_receive(service, buffer, sizeof(buffer), fds, MSG_FDS_MAX, ret_n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return false;
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, ret), 0);
	for (size_t i = 0; i < *ret_n_fds; i++)
		close(fds[i]);
	return true;
}

static void
expect(enum wire_call_type type, uint64_t serial)
{
	struct wire_call m;
	size_t n_fds;

	ck_assert(next(&m, &n_fds));
	ck_assert_uint_eq(m.type, type);
	ck_assert_uint_eq(m.serial, serial);
}

/* So many calls, the next ones. */
static void
expect_calls(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		expect(WIRE_CALL, next_call++);
}

static void
expect_questions(void)
{
	expect(WIRE_CANCEL, WIRE_CREDIT_SERIAL);
	expect(WIRE_CANCEL, WIRE_CREDIT_SERIAL);
}

static void
expect_nothing(void)
{
	struct wire_call m;
	size_t n_fds;

	ck_assert(!next(&m, &n_fds));
}

static void
tell(unsigned calls, unsigned fds)
{
	struct wire_call m = {.type = WIRE_CREDIT, .code = calls, .serial = WIRE_CREDIT_SERIAL, .n_payload = fds};
	int n = wire_call_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(service, buffer, (size_t)n, NULL, 0, MSG_DONTWAIT), n);
}

/* The client goes on. */
static void
go_on(void)
{
	uint64_t serial;

	capc_call_done(c, &serial);
}

START_TEST(P36_a_few_calls_ask_nothing)
{
	start(UNASKED);
	expect_calls(UNASKED);
	expect_nothing();
}
END_TEST

START_TEST(P36_more_calls_wait_for_what_they_may)
{
	struct capc_msg reply;

	start(40);
	expect_calls(UNASKED);
	expect_questions();
	expect_calls(WIRE_CREDIT_MIN - UNASKED);
	expect_nothing();
	tell(30, 10);
	tell(30, 10);
	go_on();
	expect_calls(14);
	expect_nothing();
	/* Each that is answered is the place of another one. */
	played_put_return(service, 3, 0, "three", -1);
	ck_assert_int_eq(capc_call_finish(c, 3, &reply, LONG), 0);
	capc_msg_done(&reply);
	expect_calls(1);
	expect_nothing();
	/* One that waits here takes all the time that is given to it, and no more. */
	ck_assert_int_eq(capc_call_finish(c, 40, &reply, SHORT), -ETIMEDOUT);
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	expect_nothing();
}
END_TEST

START_TEST(P36_a_call_is_given_up_at_once)
{
	start(60);
	expect_calls(UNASKED);
	expect_questions();
	tell(20, 10);
	go_on();
	expect_calls(12);
	/* Of one that waits here nobody hears, … */
	ck_assert_int_eq(capc_call_cancel(c, 21), 0);
	expect_nothing();
	/* … of one that was sent the service does, but it counts until its reply has come. */
	ck_assert_int_eq(capc_call_cancel(c, 5), 0);
	expect(WIRE_CANCEL, 5);
	expect_nothing();
	played_put_return(service, 5, ECANCELED, "", service);
	go_on();
	next_call = 22;
	expect_calls(1);
	expect_nothing();
	ck_assert_int_eq(capc_call_cancel(c, 5), -ENOENT);
}
END_TEST

/* A service that has read all, and has not said how many it takes, does not know. */
START_TEST(P36_a_service_that_does_not_say_is_sent_all)
{
	uint64_t serial;
	struct capc_msg reply;

	start(20);
	expect_calls(UNASKED);
	expect_questions();
	expect_calls(WIRE_CREDIT_MIN - UNASKED);
	/* Also when it answers nothing that would wake anybody up. */
	ck_assert_int_eq(capc_call_finish(c, 20, &reply, SHORT), -ETIMEDOUT);
	expect_calls(4);
	for (unsigned i = 20; i < OLD; i++) {
		start(1);
		expect_calls(1);
	}
	start(QUEUE);
	expect_nothing();
	ck_assert_int_eq(capc_call_start(c, &hello, &serial), -EBUSY);
	for (uint64_t i = 1; i <= OLD; i++) {
		played_put_return(service, i, 0, "", -1);
		go_on();
	}
	expect_calls(QUEUE);
}
END_TEST

/* … and that is soon seen, however many steps there were before in which nothing waited. */
START_TEST(P36_a_wait_begins_short)
{
	struct pollfd p = {.fd = capc_poll_fd(c), .events = POLLIN};

	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_ge(capc_dispatch(c), 0);
	start(20);
	expect_calls(UNASKED);
	expect_questions();
	expect_calls(WIRE_CREDIT_MIN - UNASKED);
	ck_assert_int_eq(poll(&p, 1, 500), 1);
	ck_assert_int_ge(capc_dispatch(c), 0);
	expect_calls(4);
}
END_TEST

/* While it has not read all that can be said of none. */
START_TEST(P36_a_service_that_does_not_read_is_waited_for)
{
	start(20);
	expect_calls(UNASKED);
	expect_questions();
	expect_calls(WIRE_CREDIT_MIN - UNASKED - 1);
	go_on();
	expect_calls(1);
	expect_nothing();
	tell(17, 0);
	go_on();
	expect_calls(1);
	expect_nothing();
}
END_TEST

static void
start_with(int fd, size_t n_fds)
{
	int fds[8];
	struct capc_msg m = {.fds = fds, .n_fds = n_fds};
	uint64_t serial;

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fd;
	ck_assert_int_eq(capc_call_start(c, &m, &serial), 0);
}

/* The service counts them in the same way: it would read nothing more, also not that one is given up. */
START_TEST(P36_descriptors_have_a_bound_of_their_own)
{
	struct wire_call m;
	size_t n_fds;

	for (unsigned i = 0; i < 4; i++)
		start_with(service, 2);
	ck_assert(next(&m, &n_fds));
	ck_assert_uint_eq(n_fds, 2);
	expect_questions();
	expect_nothing();
	tell(64, 5);
	go_on();
	ck_assert(next(&m, &n_fds));
	ck_assert_uint_eq(m.serial, 2);
	ck_assert_uint_eq(n_fds, 2);
	expect_nothing();
	/* One that is alone is the service's to refuse. */
	played_put_return(service, 1, 0, "", -1);
	played_put_return(service, 2, 0, "", -1);
	start_with(service, 6);
	go_on();
	ck_assert(next(&m, &n_fds));
	ck_assert(next(&m, &n_fds));
	ck_assert_uint_eq(m.serial, 4);
	expect_nothing();
	played_put_return(service, 3, 0, "", -1);
	played_put_return(service, 4, 0, "", -1);
	go_on();
	ck_assert(next(&m, &n_fds));
	ck_assert_uint_eq(n_fds, 6);
}
END_TEST

/* What waits is a copy, and has not been sent: it goes over the next connection. */
START_TEST(P36_calls_that_wait_outlast_a_connection)
{
	char text[] = "first";
	struct capc_msg m = {.code = 7, .data = text, .n_data = 5}, reply;
	uint64_t serial;
	int pipes[2], got;

	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	start(WIRE_CREDIT_MIN);
	m.fds = &pipes[0];
	m.n_fds = 1;
	ck_assert_int_eq(capc_call_start(c, &m, &serial), 0);
	close(pipes[0]);
	memset(text, 'x', 5);
	close(service);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	go_on();
	go_on();
	memcpy(text, "first", 5);
	played_get_call(service, serial, &m, &got);
	ck_assert_int_ge(got, 0);
	close(got);
	close(pipes[1]);
	for (uint64_t i = 1; i <= WIRE_CREDIT_MIN; i++)
		ck_assert_int_eq(capc_call_finish(c, i, &reply, 0), -ECONNRESET);
	played_put_return(service, serial, 0, "there", -1);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), 0);
	capc_msg_done(&reply);
}
END_TEST

/* Large payloads, more than the socket takes, each as it was when it was given. */
START_TEST(P36_payloads_that_wait_are_as_they_were)
{
	static char large[60000];
	struct capc_msg m = {.data = large, .n_data = sizeof(large)};
	struct wire_call got;
	uint64_t serial;
	size_t n_fds;

	for (unsigned i = 0; i < UNASKED; i++) {
		memset(large, 'a' + (int)i, sizeof(large));
		ck_assert_int_eq(capc_call_start(c, &m, &serial), 0);
	}
	for (unsigned i = 0; i < UNASKED; i++) {
		ck_assert(next(&got, &n_fds));
		ck_assert_uint_eq(got.serial, i + 1);
		ck_assert_int_eq(((const char *)got.payload)[sizeof(large) - 1], 'a' + (int)i);
		go_on();
	}
	expect_nothing();
}
END_TEST

/* Calls that the socket has no room for, and one that waits, which has this serial. */
static uint64_t
fill(void)
{
	static const char large[60000];
	struct capc_msg m = {.data = large, .n_data = sizeof(large)};
	uint64_t serial;
	int n = 0, before;

	do {
		before = n;
		ck_assert_int_eq(capc_call_start(c, &m, &serial), 0);
		ck_assert_int_eq(ioctl(capc_fd(c), SIOCOUTQ, &n), 0);
	} while (n > before);
	return serial;
}

static void
drain(void)
{
	struct wire_call m;
	size_t n_fds;

	while (next(&m, &n_fds))
		;
}

/* What could not be sent was given up: that there is room is of no use, and nobody is to be woken up by it. */
START_TEST(P36_room_for_nothing_is_not_waited_for)
{
	struct timespec before, after;
	struct capc_msg reply;
	uint64_t serial;

	start(1);
	serial = fill();
	ck_assert_int_eq(capc_call_cancel(c, serial), 0);
	drain();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	ck_assert_int_eq(capc_call_finish(c, 1, &reply, 20 * SHORT), -ETIMEDOUT);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 20);
}
END_TEST

/* A service takes credit back, and then reads: what waits is credit, and not room. */
START_TEST(P36_credit_that_shrinks_keeps_nobody_busy)
{
	struct pollfd p = {.fd = capc_poll_fd(c), .events = POLLIN};

	start(WIRE_CREDIT_MIN);
	start(1);
	drain();
	tell(64, 10);
	go_on();
	drain();
	fill();
	tell(WIRE_CREDIT_MIN, 10);
	drain();
	ck_assert_int_ge(capc_dispatch(c), 0);
	drain();
	ck_assert_int_eq(poll(&p, 1, 0), 0);
}
END_TEST

/* However many a service would have: what waits for it takes memory. */
START_TEST(P36_credit_without_end_is_bounded)
{
	unsigned n = 20;
	uint64_t serial;
	int r;

	start(n);
	drain();
	tell(UINT32_MAX, 10);
	go_on();
	do {
		drain();
		r = capc_call_start(c, &hello, &serial);
	} while (r == 0 && n++ < 2 * CAPC_CALLS_MAX);
	ck_assert_int_eq(r, -EBUSY);
	ck_assert_uint_eq(n, CAPC_CALLS_MAX + QUEUE);
}
END_TEST

static void
count(capc *handle, uint64_t serial, int r, struct capc_msg *m, void *data)
{
	unsigned *n = data;

	ck_assert_int_eq(r, 0);
	++*n;
}

/* More replies than one round takes; … and then the end, which a call that is sent would find first. */
START_TEST(P36_many_replies_are_taken_in_some_rounds)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	unsigned n = 0, n_sent;
	int loop = epoll_create1(EPOLL_CLOEXEC);

	ck_assert_int_eq(epoll_ctl(loop, EPOLL_CTL_ADD, capc_poll_fd(c), &event), 0);
	start(20);
	drain();
	tell(1000, 10);
	go_on();
	drain();
	for (n_sent = 20; n_sent < MANY; n_sent++) {
		ck_assert_int_eq(capc_call_async(c, &hello, count, &n, NULL), 0);
		drain();
	}
	while (epoll_wait(loop, &event, 1, 0) > 0)
		capc_dispatch(c);
	for (uint64_t i = 21; i <= MANY; i++)
		played_put_return(service, i, 0, "", -1);
	if (_i == 1) {
		close(service);
		service = played_answer_open(&d, SOCK_SEQPACKET);
		start(1);
	}
	/* An edge that was seen is not shown again. */
	while (n < MANY - 20) {
		ck_assert_int_eq(epoll_wait(loop, &event, 1, 10000), 1);
		ck_assert_int_ge(capc_dispatch(c), 0);
	}
	close(loop);
}
END_TEST

START_TEST(P36_credit_that_was_not_asked_for_is_malformed)
{
	struct capc_msg reply;

	tell(100, 100);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -EBADMSG);
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("flow");
	TCase *t = tcase_create("flow");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, P36_a_few_calls_ask_nothing);
	tcase_add_test(t, P36_more_calls_wait_for_what_they_may);
	tcase_add_test(t, P36_a_call_is_given_up_at_once);
	tcase_add_test(t, P36_a_service_that_does_not_say_is_sent_all);
	tcase_add_test(t, P36_a_wait_begins_short);
	tcase_add_test(t, P36_a_service_that_does_not_read_is_waited_for);
	tcase_add_test(t, P36_descriptors_have_a_bound_of_their_own);
	tcase_add_test(t, P36_calls_that_wait_outlast_a_connection);
	tcase_add_test(t, P36_payloads_that_wait_are_as_they_were);
	tcase_add_test(t, P36_room_for_nothing_is_not_waited_for);
	tcase_add_test(t, P36_credit_that_shrinks_keeps_nobody_busy);
	tcase_add_test(t, P36_credit_without_end_is_bounded);
	tcase_add_loop_test(t, P36_many_replies_are_taken_in_some_rounds, 0, 2);
	tcase_add_test(t, P36_credit_that_was_not_asked_for_is_malformed);
	suite_add_tcase(suite, t);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
