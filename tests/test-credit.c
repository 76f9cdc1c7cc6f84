/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P36 */
/* How much a client may have unanswered, and that it is heard then: the test plays the daemon and the client. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-server.h"
#include "wire/wire.h"

#define MANY 2000
#define HOST 32768
#define DEFAULT 64

static capc_request *kept[HOST];
static unsigned n_kept;

static void
keep(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_uint_lt(n_kept, HOST);
	kept[n_kept++] = r;
}

static void
keep_setup(void)
{
	server_setup();
	n_kept = 0;
	played_add(&d, e, 1, keep, NULL);
}

static void
answer_all(void)
{
	while (n_kept > 0)
		capc_reply(kept[--n_kept], NULL);
}

static void
keep_teardown(void)
{
	answer_all();
	server_teardown();
}

static void
give_up(int client, uint64_t serial)
{
	struct wire_call m = {.type = WIRE_CANCEL, .serial = serial};
	int n = wire_call_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(client, buffer, (size_t)n, NULL, 0, MSG_DONTWAIT), n);
}

static struct wire_call
next(int client)
{
	struct wire_call m;
	ssize_t n = recv(client, buffer, sizeof(buffer), MSG_DONTWAIT);

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, &m), 0);
	return m;
}

static void
expect_credit(int client, unsigned calls, unsigned fds)
{
	struct wire_call m = next(client);

	ck_assert_uint_eq(m.type, WIRE_CREDIT);
	ck_assert_uint_eq(m.code, calls);
	ck_assert_uint_eq(m.n_payload, fds);
	ck_assert_uint_eq(m.serial, WIRE_CREDIT_SERIAL);
}

/* N calls in so many pieces as the socket takes. */
static void
call_many(int client, uint64_t first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		played_call(client, first + i, 0, "", 0, -1);
		if (i % 32 == 31)
			played_serve_all(e);
	}
	played_serve_all(e);
}

START_TEST(P36_credit_is_told_to_who_asks)
{
	int client = played_client(e, channel, 1, 1);

	give_up(client, WIRE_CREDIT_SERIAL);
	played_serve_all(e);
	expect_credit(client, DEFAULT, 253);
	ck_assert_int_eq(capc_entrypoint_set_calls(e, WIRE_CREDIT_MIN - 1), -EINVAL);
	ck_assert_int_eq(capc_entrypoint_set_calls(e, CAPC_CALLS_MAX + 1), -EINVAL);
	ck_assert_int_eq(capc_entrypoint_set_calls(e, MANY), 0);
	capc_entrypoint_set_max(e, CAPC_PAYLOAD_MAX, CAPC_FDS_MAX);
	give_up(client, WIRE_CREDIT_SERIAL);
	played_serve_all(e);
	expect_credit(client, MANY, CAPC_FDS_MAX);
	close(client);
	played_serve_all(e);
}
END_TEST

/* All that it may keep is kept: each that is given up is heard at once, and can be answered. */
START_TEST(P36_who_keeps_to_it_is_always_heard)
{
	static const unsigned credits[] = {WIRE_CREDIT_MIN, DEFAULT, MANY};
	unsigned credit = credits[_i];
	int client = played_client(e, channel, 1, 1);

	ck_assert_int_eq(capc_entrypoint_set_calls(e, credit), 0);
	call_many(client, 1, credit);
	ck_assert_uint_eq(n_kept, credit);
	/* Its handler has them since the last round: nothing has been looked at since. */
	for (unsigned i = 0; i < credit; i++) {
		ck_assert(!capc_cancelled(kept[i]));
		give_up(client, i + 1);
		played_serve_all(e);
		ck_assert(capc_cancelled(kept[i]));
	}
	capc_reply(kept[--n_kept], NULL);
	ck_assert_uint_eq(next(client).type, WIRE_RETURN);
	call_many(client, credit + 1, 1);
	ck_assert_uint_eq(n_kept, credit);
	close(client);
	played_serve_all(e);
}
END_TEST

/* One that does not keep to it is not read from, but hears of what is answered. */
START_TEST(P36_who_does_not_keep_to_it_waits)
{
	int client = played_client(e, channel, 1, 1);

	call_many(client, 1, DEFAULT + 3);
	ck_assert_uint_eq(n_kept, DEFAULT);
	give_up(client, 1);
	played_serve_all(e);
	ck_assert(!capc_cancelled(kept[0]));
	for (unsigned i = DEFAULT; i > DEFAULT - 3; i--)
		capc_reply(kept[i - 1], NULL);
	n_kept -= 3;
	played_serve_all(e);
	ck_assert_uint_eq(n_kept, DEFAULT);
	ck_assert(capc_cancelled(kept[0]));
	/* Its end is seen, too, however much is kept. */
	close(client);
	played_serve_all(e);
	ck_assert_int_eq(capc_reply(kept[--n_kept], NULL), -ECONNRESET);
}
END_TEST

/* Where the answer does not fit, nothing is read before it does: a client would else believe that there is none. */
START_TEST(P36_nothing_is_read_before_credit_was_told)
{
	static const char big[60000];
	int client = played_client(e, channel, 1, 1);
	struct wire_call m;
	unsigned n = 0;

	call_many(client, 1, 10);
	for (; n < 10; n++)
		capc_reply(kept[n], &(struct capc_msg){.data = big, .n_data = sizeof(big)});
	n_kept = 0;
	give_up(client, WIRE_CREDIT_SERIAL);
	give_up(client, WIRE_CREDIT_SERIAL);
	played_call(client, 11, 0, "", 0, -1);
	played_serve_all(e);
	ck_assert_uint_eq(n_kept, 0);
	for (n = 0; n < 12; n++) {
		m = next(client);
		ck_assert_uint_eq(m.type, n < 10 ? WIRE_RETURN : WIRE_CREDIT);
		played_serve_all(e);
	}
	ck_assert_uint_eq(n_kept, 1);
	close(client);
	played_serve_all(e);
}
END_TEST

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static unsigned n_told;

static void
on_cancelled(capc_request *r, void *data)
{
	ck_assert_ptr_eq(r, *(capc_request **)data);
	n_told++;
}

/* The first that came is given up first, or the last: neither has the server look at all the others. */
static double
give_up_all(int client, bool last_first)
{
	capc_request *expected;
	struct capc_handlers on = {.size = sizeof(on), .cancelled = on_cancelled};
	double start;

	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &on, &expected), 0);
	n_told = 0;
	start = seconds();
	for (unsigned i = 0; i < HOST; i++) {
		unsigned which = last_first ? HOST - 1 - i : i;

		expected = kept[which];
		give_up(client, which + 1);
		ck_assert_int_ge(capc_serve(e, LONG), 0);
	}
	ck_assert_uint_eq(n_told, HOST);
	return seconds() - start;
}

START_TEST(P36_giving_up_costs_the_same_in_any_order)
{
	double took[2];

	ck_assert_int_eq(capc_entrypoint_set_calls(e, HOST), 0);
	for (unsigned i = 0; i < 2; i++) {
		int client = played_client(e, channel, 1 + i, 1);

		call_many(client, 1, HOST);
		ck_assert_uint_eq(n_kept, HOST);
		took[i] = give_up_all(client, i > 0);
		close(client);
		played_serve_all(e);
		answer_all();
	}
	ck_assert_msg(took[1] < 4 * took[0], "%f s, %f s where the last was the first", took[0], took[1]);
}
END_TEST

/* Nobody could tell the replies of two that have the same serial. */
START_TEST(P36_a_serial_that_is_in_use_ends_the_connection)
{
	int client = played_client(e, channel, 1, 1);
	struct wire_call reply;

	call_many(client, 7, 1);
	capc_reply(kept[--n_kept], NULL);
	ck_assert(played_return(client, buffer, &reply, NULL));
	call_many(client, 7, 1);
	ck_assert_uint_eq(n_kept, 1);
	call_many(client, 7, 1);
	ck_assert_uint_eq(n_kept, 1);
	ck_assert(played_at_end(client));
	close(client);
}
END_TEST

static int ended;

static void
on_disconnected(const struct capc_caller *caller, int error, void *data)
{
	ended = error;
}

static int
on_connected(const struct capc_caller *caller, void **ret_data, void *data)
{
	return 0;
}

/* Nothing was wrong with it: it is as for any other client that has left. */
START_TEST(P36_who_leaves_before_credit_was_told_has_left)
{
	struct capc_handlers on = {.size = sizeof(on), .connected = on_connected, .disconnected = on_disconnected};
	int client;

	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &on, NULL), 0);
	ended = 1;
	client = played_client(e, channel, 1, 1);
	give_up(client, WIRE_CREDIT_SERIAL);
	close(client);
	played_serve_all(e);
	ck_assert_int_eq(ended, 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("credit");
	TCase *t = tcase_create("credit");

	tcase_add_checked_fixture(t, keep_setup, keep_teardown);
	tcase_add_test(t, P36_credit_is_told_to_who_asks);
	tcase_add_loop_test(t, P36_who_keeps_to_it_is_always_heard, 0, 3);
	tcase_add_test(t, P36_who_does_not_keep_to_it_waits);
	tcase_add_test(t, P36_nothing_is_read_before_credit_was_told);
	tcase_add_test(t, P36_giving_up_costs_the_same_in_any_order);
	tcase_add_test(t, P36_a_serial_that_is_in_use_ends_the_connection);
	tcase_add_test(t, P36_who_leaves_before_credit_was_told_has_left);
	tcase_set_timeout(t, 60);
	suite_add_tcase(suite, t);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
