/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P37 */
/* What the library tells of itself: counters and steps, of a client and a server in one process; sizes that are kept. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "libcap-client/cap-client.h"
#include "tests/both.h"
#include "tests/fixture.h"
#include "tests/played-server.h"

/* What a program was built with stays: cap-client(3), COMPATIBILITY. */
#if __SIZEOF_POINTER__ == 8
_Static_assert(sizeof(struct capc_msg) == 48, "as of 0.2");
_Static_assert(sizeof(struct capc_identity) == 2304, "as of 0.2");
_Static_assert(sizeof(struct capc_exit) == 80, "as of 0.2");
_Static_assert(sizeof(struct capc_place) == 48, "as of 0.2");
_Static_assert(sizeof(struct capc_value) == 32, "as of 0.2");
#endif
_Static_assert(offsetof(struct capc_spawn, size) == 0, "what may grow begins with its size");

#define FAILS 99 /* the method that is refused */

static void
mirror(capc_request *r, struct capc_msg *m, void *data)
{
	if (m->code == FAILS)
		ck_assert_int_eq(capc_reply_error(r, EDOM, "no"), 0);
	else
		ck_assert_int_eq(capc_reply(r, m), 0);
}

static void
make_calls(struct both *b)
{
	static char big[100000];
	struct capc_msg reply;

	ck_assert_int_eq(capc_call(b->c, &(struct capc_msg){.data = "hello", .n_data = 5}, &reply, CAPC_TIMEOUT_USEC), 0);
	capc_msg_clear(&reply);
	ck_assert_int_eq(capc_call(b->c, &(struct capc_msg){.data = big, .n_data = sizeof(big), .fds = (int[]){0, 1},
		.n_fds = 2}, &reply, CAPC_TIMEOUT_USEC), 0);
	ck_assert_uint_eq(reply.n_fds, 2);
	capc_msg_clear(&reply);
	ck_assert_ptr_null(reply.owned);
	ck_assert_int_eq(capc_call(b->c, &(struct capc_msg){.code = FAILS}, &reply, CAPC_TIMEOUT_USEC), -EDOM);
	capc_msg_clear(&reply);
}

START_TEST(P37_counters_count_both_sides)
{
	struct capc_counters c;
	struct both b;

	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	make_calls(&b);
	both_stop(&b);
	capc_counters(&c, sizeof(c));
	ck_assert_uint_eq(c.calls_sent, 3);
	ck_assert_uint_eq(c.calls_received, 3);
	ck_assert_uint_eq(c.replies_sent, 3);
	ck_assert_uint_eq(c.replies_received, 3);
	ck_assert_uint_eq(c.refusals_sent, 1);
	ck_assert_uint_eq(c.refusals_received, 1);
	ck_assert_uint_eq(c.bytes_sent, 2 * (5 + 100000) + 2);
	ck_assert_uint_eq(c.bytes_received, c.bytes_sent);
	/* The one of the large payload is not among them. */
	ck_assert_uint_eq(c.fds_sent, 4);
	ck_assert_uint_eq(c.fds_received, 4);
	ck_assert_uint_eq(c.connections, 1);
	ck_assert_uint_eq(c.reconnections, 0);
	ck_assert_uint_eq(c.clients, 1);
}
END_TEST

/* Of an earlier version, and of a later one. */
START_TEST(P37_counters_have_the_size_of_the_caller)
{
	struct {
		struct capc_counters c;
		uint64_t later;
	} large = {.later = 7};
	struct capc_counters c = {.calls_received = 7};
	struct both b;

	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	make_calls(&b);
	both_stop(&b);
	capc_counters(&c, sizeof(c.calls_sent));
	ck_assert_uint_eq(c.calls_sent, 3);
	ck_assert_uint_eq(c.calls_received, 7);
	capc_counters(&large.c, sizeof(large));
	ck_assert_uint_eq(large.c.clients, 1);
	ck_assert_uint_eq(large.later, 0);
}
END_TEST

#define STEPS_MAX 32

/* Two threads tell. */
static struct {
	pthread_mutex_t mutex;
	struct capc_trace step[STEPS_MAX];
	unsigned n;
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void
note(const struct capc_trace *t, void *data)
{
	ck_assert_ptr_eq(data, &told);
	pthread_mutex_lock(&told.mutex);
	if (told.n < STEPS_MAX)
		told.step[told.n++] = *t;
	pthread_mutex_unlock(&told.mutex);
}

static unsigned
n_told(void)
{
	unsigned n;

	pthread_mutex_lock(&told.mutex);
	n = told.n;
	pthread_mutex_unlock(&told.mutex);
	return n;
}

/* Is there one, and with these? */
static bool
was_told(enum capc_trace_what what, uint64_t serial, uint32_t code, size_t n_data, size_t n_fds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < told.n; i++) {
		const struct capc_trace *t = &told.step[i];

		n += t->what == what && t->serial == serial && t->code == code && t->n_data == n_data &&
			t->n_fds == n_fds && t->fd >= 0;
	}
	return n == 1;
}

START_TEST(P37_each_step_is_told_once)
{
	struct both b;
	unsigned n;

	played_add(&d, e, 1, mirror, NULL);
	capc_set_trace(note, &told);
	both_start(&b, e, &channel);
	make_calls(&b);
	/* The client has its reply before the other thread has told that it was sent. */
	while (n_told() < 2 + 3 * 4)
		sched_yield();
	capc_set_trace(NULL, NULL);
	n = n_told();
	make_calls(&b);
	both_stop(&b);
	ck_assert_uint_eq(told.n, n);
	ck_assert_uint_eq(n, 2 + 3 * 4);
	ck_assert(was_told(CAPC_TRACE_CONNECTED, 0, 0, 0, 0));
	ck_assert(was_told(CAPC_TRACE_CLIENT, 0, 0, 0, 0));
	ck_assert(was_told(CAPC_TRACE_CALL_SENT, 2, 0, 100000, 2));
	ck_assert(was_told(CAPC_TRACE_CALL_RECEIVED, 2, 0, 100000, 2));
	ck_assert(was_told(CAPC_TRACE_REPLY_SENT, 3, EDOM, 2, 0));
	ck_assert(was_told(CAPC_TRACE_REPLY_RECEIVED, 3, EDOM, 2, 0));
}
END_TEST

START_TEST(a_call_is_ready_by_its_new_name)
{
	struct capc_msg reply;
	uint64_t serial, ready;
	struct both b;

	played_add(&d, e, 1, mirror, NULL);
	both_start(&b, e, &channel);
	ck_assert_int_eq(capc_call_ready(b.c, &ready), 0);
	ck_assert_int_eq(capc_call_start(b.c, &(struct capc_msg){.code = 1}, &serial), 0);
	while (capc_call_ready(b.c, &ready) == 0)
		continue;
	ck_assert_uint_eq(ready, serial);
	ck_assert_int_eq(capc_call_finish(b.c, serial, &reply, 0), 0);
	capc_msg_clear(&reply);
	both_stop(&b);
}
END_TEST

START_TEST(the_version_is_the_header_s)
{
	ck_assert_uint_eq(capc_version(), CAPC_VERSION);
	ck_assert_uint_ge(capc_version(), CAPC_VERSION_NUMBER(0, 2, 0));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("observe");
	TCase *t = tcase_create("observe");

	tcase_add_checked_fixture(t, server_setup, server_teardown);
	tcase_add_test(t, P37_counters_count_both_sides);
	tcase_add_test(t, P37_counters_have_the_size_of_the_caller);
	tcase_add_test(t, P37_each_step_is_told_once);
	tcase_add_test(t, a_call_is_ready_by_its_new_name);
	tcase_add_test(t, the_version_is_the_header_s);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
