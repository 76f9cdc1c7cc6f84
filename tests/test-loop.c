/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P37 */
/* Calls from an event loop, which nothing holds up: the test plays the daemon and the service. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

#define WAKE_MSEC 10000 /* for what must come */
#define HANDLES 500

static struct played d;
static int service = -1;
static capc *c;
static int loop = -1; /* the program's epoll: the handle's descriptor is put there once, and never again */
static const struct capc_msg hello = {.code = 3, .data = "hello", .n_data = 5};

/* What the callbacks were told last. */
static unsigned n_replies, n_changes;
static int result, change_error;
static uint64_t change_generation, reply_serial;
static char text[64];

static void
replied(capc *handle, uint64_t serial, int r, struct capc_msg *m, void *data)
{
	ck_assert_ptr_eq(data, &n_replies);
	n_replies++;
	reply_serial = serial;
	result = r;
	snprintf(text, sizeof(text), "%s", m->data ? (const char *)m->data : "");
}

static void
changed(capc *handle, uint64_t generation, int error, void *data)
{
	n_changes++;
	change_generation = generation;
	change_error = error;
	ck_assert(error || generation == capc_generation(handle));
}

static void
poll_it(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = capc_poll_fd(c);

	ck_assert_int_ge(fd, 0);
	loop = epoll_create1(EPOLL_CLOEXEC);
	ck_assert_int_eq(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event), 0);
	capc_on_connection(c, changed, NULL);
}

static void
open_handle(unsigned flags)
{
	ck_assert_int_eq(capc_open_flags(d.session, "kv", flags, &c), 0);
	poll_it();
}

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
	n_replies = n_changes = 0;
	c = NULL;
}

static void
teardown(void)
{
	c = capc_free(c);
	loop = fd_close(loop);
	service = fd_close(service);
	played_deinit(&d);
	fixture_teardown();
}

/* Rounds of the program's loop until there is nothing to do. */
static void
rounds(void)
{
	struct epoll_event event;

	while (epoll_wait(loop, &event, 1, 50) > 0)
		ck_assert_int_ge(capc_dispatch(c), 0);
}

/* … until *N has come to be MORE. Nothing but the descriptor tells when. */
static void
rounds_until(const unsigned *n, unsigned more)
{
	struct epoll_event event;

	while (*n < more) {
		ck_assert_int_eq(epoll_wait(loop, &event, 1, WAKE_MSEC), 1);
		ck_assert_int_ge(capc_dispatch(c), 0);
	}
	ck_assert_uint_eq(*n, more);
}

static void
call(void)
{
	ck_assert_int_eq(capc_call_async(c, &hello, replied, &n_replies, NULL), 0);
}

static void
serve(uint64_t serial)
{
	rounds();
	played_get_call(service, serial, &hello, NULL);
	played_put_return(service, serial, 0, "world", -1);
}

START_TEST(P37_nothing_waits_for_the_daemon)
{
	open_handle(0);
	call();
	rounds();
	ck_assert_uint_eq(n_replies + n_changes, 0);
	ck_assert_int_eq(capc_fd(c), -ENOTCONN);
	ck_assert_uint_eq(capc_generation(c), 0);
	played_asked(&d, WIRE_OPEN, "caps/kv", "");
	/* Now it answers. */
	service = played_answer_open(&d, SOCK_SEQPACKET);
	rounds_until(&n_changes, 1);
	ck_assert_uint_eq(change_generation, 1);
	ck_assert_int_eq(change_error, 0);
	serve(1);
	rounds_until(&n_replies, 1);
	ck_assert_int_eq(result, 0);
	ck_assert_str_eq(text, "world");
	rounds();
	ck_assert_uint_eq(n_replies + n_changes, 2);
}
END_TEST

/* The program has put one descriptor into its loop, and hears of all connections by it. */
START_TEST(P37_one_descriptor_lasts_as_long_as_the_handle)
{
	int fd;

	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &c), 0);
	poll_it();
	fd = capc_poll_fd(c);
	for (unsigned i = 1; i <= 5; i++) {
		call();
		serve(i);
		rounds_until(&n_replies, i);
		ck_assert_str_eq(text, "world");
		ck_assert_uint_eq(capc_generation(c), i);
		/* The end of one that is idle is told. */
		close(service);
		rounds_until(&n_changes, 2 * i);
		ck_assert_int_eq(change_error, -ECONNRESET);
		ck_assert_uint_eq(change_generation, i);
		service = played_answer_open(&d, SOCK_SEQPACKET);
		ck_assert_int_eq(capc_poll_fd(c), fd);
	}
}
END_TEST

/* The server is another one by the time of the call: it is not known before, and nothing is lost. */
START_TEST(P37_a_reply_after_a_new_connection_wakes_the_loop)
{
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &c), 0);
	poll_it();
	rounds();
	close(service);
	call();
	service = played_answer_open(&d, SOCK_SEQPACKET);
	serve(1);
	rounds_until(&n_replies, 1);
	ck_assert_int_eq(result, 0);
}
END_TEST

START_TEST(P37_a_call_that_was_sent_is_told_of_the_end)
{
	open_handle(0);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	call();
	rounds();
	played_get_call(service, 1, &hello, NULL);
	service = fd_shutdown_close(service);
	rounds_until(&n_replies, 1);
	ck_assert_int_eq(result, -ECONNRESET);
	played_asked(&d, WIRE_OPEN, "caps/kv", "");
	played_quiet(&d);
}
END_TEST

START_TEST(P37_what_the_daemon_refuses_is_told)
{
	open_handle(0);
	call();
	played_answer(&d, WIRE_OPEN, ENOENT, "no slot 'kv'", -1);
	rounds_until(&n_replies, 1);
	ck_assert_int_eq(result, -ENOENT);
	ck_assert_uint_eq(n_changes, 1);
	ck_assert_uint_eq(change_generation, 0);
	ck_assert_int_eq(change_error, -ENOENT);
	ck_assert_str_eq(capc_session_reason(d.session), "no slot 'kv'");
	/* The next call tries again. */
	service = played_answer_open(&d, SOCK_SEQPACKET);
	call();
	serve(2);
	rounds_until(&n_replies, 2);
	ck_assert_int_eq(result, 0);
}
END_TEST

START_TEST(P37_the_end_of_the_session_is_told)
{
	open_handle(0);
	call();
	rounds();
	d.fd = fd_shutdown_close(d.fd);
	rounds_until(&n_replies, 1);
	ck_assert_int_lt(result, 0);
	ck_assert_int_eq(capc_call_async(c, &hello, replied, &n_replies, NULL), -ENOTCONN);
	rounds();
	ck_assert_uint_eq(n_replies, 1);
}
END_TEST

START_TEST(P37_a_connection_can_be_the_only_one)
{
	struct capc_msg reply;

	open_handle(CAPC_ONE_CONNECTION);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	call();
	serve(1);
	rounds_until(&n_replies, 1);
	/* More than are sent at once: what waits is not for anybody else. */
	for (unsigned i = 0; i < 20; i++)
		call();
	ck_assert_int_ge(capc_dispatch(c), 0);
	service = fd_shutdown_close(service);
	rounds_until(&n_replies, 21);
	ck_assert_int_eq(result, -ECONNRESET);
	ck_assert_int_eq(capc_call_async(c, &hello, replied, &n_replies, NULL), -ENOTCONN);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -ENOTCONN);
	ck_assert_uint_eq(capc_generation(c), 1);
	played_asked(&d, WIRE_OPEN, "caps/kv", "");
	played_quiet(&d);
}
END_TEST

/* Whoever reads the session's answers: the handle hears of its own. */
START_TEST(P37_another_request_takes_the_answer)
{
	char *label;

	open_handle(0);
	rounds();
	service = played_answer_open(&d, SOCK_SEQPACKET);
	played_answer(&d, WIRE_READ, 0, "init/app\n", -1);
	ck_assert_int_eq(capc_read(d.session, "label", &label, LONG), 0);
	ck_assert_str_eq(label, "init/app\n");
	free(label);
	rounds_until(&n_changes, 1);
	ck_assert_int_eq(change_error, 0);
}
END_TEST

START_TEST(P37_the_session_s_own_rounds_take_the_answer)
{
	open_handle(0);
	rounds();
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_session_process(d.session), 0);
	rounds_until(&n_changes, 1);
	ck_assert_int_eq(change_error, 0);
}
END_TEST

START_TEST(P37_handles_of_a_session_take_each_other_s_answers)
{
	capc *other;
	int theirs;

	ck_assert_int_eq(capc_open_flags(d.session, "other", 0, &other), 0);
	open_handle(0);
	rounds();
	theirs = played_answer_open(&d, SOCK_SEQPACKET);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_ge(capc_dispatch(other), 0);
	rounds_until(&n_changes, 1);
	ck_assert_int_ge(capc_dispatch(other), 0);
	ck_assert_int_ge(capc_fd(other), 0);
	played_asked(&d, WIRE_OPEN, "caps/other", "");
	played_asked(&d, WIRE_OPEN, "caps/kv", "");
	/* One that has gone has its answer closed. */
	capc_free(other);
	ck_assert(played_at_end(theirs));
	close(theirs);
	ck_assert_int_eq(capc_open_flags(d.session, "gone", 0, &other), 0);
	capc_free(other);
	theirs = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_session_process(d.session), 0);
	ck_assert(played_at_end(theirs));
	close(theirs);
}
END_TEST

/* What comes for it while somebody waits for something else does not make the connection readable again. */
START_TEST(P37_a_reply_that_another_call_took_wakes_the_loop)
{
	struct capc_msg reply;

	open_handle(0);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	rounds();
	call();
	played_put_return(service, 1, 0, "one", -1);
	played_put_return(service, 2, 0, "two", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	ck_assert_str_eq(reply.data, "two");
	capc_msg_done(&reply);
	ck_assert_uint_eq(n_replies, 0);
	rounds_until(&n_replies, 1);
	ck_assert_str_eq(text, "one");
}
END_TEST

/* A blocking call waits for a connection that is being made, as for any. */
START_TEST(P37_a_call_that_blocks_joins_in)
{
	struct capc_msg reply;

	open_handle(0);
	ck_assert_int_eq(capc_call(c, &hello, &reply, SHORT), -ETIMEDOUT);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	played_put_return(service, 2, 0, "two", -1);
	ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
	/* The first was not sent: it was given up before. */
	played_get_call(service, 2, &hello, NULL);
	rounds_until(&n_changes, 1);
}
END_TEST

static void
replied_and_free(capc *handle, uint64_t serial, int r, struct capc_msg *m, void *data)
{
	n_replies++;
	ck_assert_int_eq(capc_dispatch(handle), -EBUSY);
	*(struct capc_msg *)data = *m;
	*m = (struct capc_msg){};
	c = capc_free(handle);
}

START_TEST(P37_a_callback_can_free_its_handle)
{
	struct capc_msg kept = {};
	struct epoll_event event;

	open_handle(0);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_call_async(c, &hello, replied_and_free, &kept, NULL), 0);
	call();
	call();
	rounds();
	for (uint64_t i = 1; i <= 3; i++)
		played_put_return(service, i, 0, "kept", -1);
	while (c) {
		ck_assert_int_eq(epoll_wait(loop, &event, 1, WAKE_MSEC), 1);
		capc_dispatch(c);
	}
	/* The others have none any more; what was taken stays. */
	ck_assert_uint_eq(n_replies, 1);
	ck_assert_str_eq(kept.data, "kept");
	capc_msg_done(&kept);
}
END_TEST

static void
replied_and_call(capc *handle, uint64_t serial, int r, struct capc_msg *m, void *data)
{
	replied(handle, serial, r, m, data);
	if (serial == 1) {
		ck_assert_int_eq(capc_call_cancel(handle, 2), 0);
		ck_assert_int_eq(capc_call_async(handle, &hello, replied, data, NULL), 0);
	}
}

START_TEST(P37_a_callback_can_call_and_give_up)
{
	uint64_t serial;

	open_handle(0);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_call_async(c, &hello, replied_and_call, &n_replies, &serial), 0);
	ck_assert_uint_eq(serial, 1);
	call();
	rounds();
	played_get_call(service, 1, &hello, NULL);
	played_get_call(service, 2, &hello, NULL);
	played_put_return(service, 1, 0, "", -1);
	played_put_return(service, 2, 0, "", -1);
	rounds();
	ck_assert_uint_eq(n_replies, 1);
	played_get_call(service, 3, &hello, NULL);
	played_put_return(service, 3, 0, "", -1);
	rounds_until(&n_replies, 2);
	ck_assert_uint_eq(reply_serial, 3);
}
END_TEST

/* The first connection is answered by the server, who may stand as well. */
START_TEST(P37_another_connection_is_not_waited_for)
{
	int first[2], second[2];
	char byte;

	open_handle(CAPC_DIRECT);
	call();
	played_pair(SOCK_SEQPACKET, first);
	played_pair(SOCK_SEQPACKET, second);
	played_answer(&d, WIRE_OPEN, 0, "aside", first[1]);
	close(first[1]);
	rounds();
	ck_assert_uint_eq(n_changes, 0);
	played_asked(&d, WIRE_OPEN, "caps/kv", "aside");
	ck_assert_int_eq(recv(first[0], &byte, 1, MSG_DONTWAIT | MSG_PEEK), 1);
	ck_assert_int_eq(capc_step_aside(first[0], second[1]), 0);
	close(second[1]);
	service = second[0];
	serve(1);
	rounds_until(&n_replies, 1);
	ck_assert_int_eq(result, 0);
	close(first[0]);
}
END_TEST

/* Also when the daemon does not even read: its socket takes so many requests and no more. */
START_TEST(P37_a_daemon_that_does_not_read_is_not_waited_for)
{
	static capc *all[HANDLES];
	static int services[HANDLES];
	unsigned n = 0, rest = HANDLES;
	char packet[256];

	for (unsigned i = 0; i < HANDLES; i++) {
		ck_assert_int_eq(capc_open_flags(d.session, "kv", 0, &all[i]), 0);
		services[i] = -1;
	}
	for (unsigned i = 0; i < HANDLES; i++) {
		/* Those whose requests have not gone yet go on when there is room. */
		while (n == i) {
			while (recv(d.fd, packet, sizeof(packet), MSG_DONTWAIT) > 0)
				n++;
			for (unsigned j = 0; n == i && j < HANDLES; j++)
				ck_assert_int_ge(capc_dispatch(all[j]), 0);
		}
		services[i] = played_answer_open(&d, SOCK_SEQPACKET);
		ck_assert_int_ge(capc_dispatch(all[i]), 0);
	}
	for (unsigned i = 0; i < HANDLES; i++)
		rest -= capc_fd(all[i]) >= 0;
	ck_assert_uint_eq(rest, 0);
	for (unsigned i = 0; i < HANDLES; i++) {
		capc_free(all[i]);
		close(services[i]);
	}
}
END_TEST

/* Its session is at its end, which another handle has seen: nothing can be read any more. */
START_TEST(P37_the_end_is_told_to_who_could_not_even_ask)
{
	static capc *all[HANDLES];
	struct epoll_event event;

	for (unsigned i = 0; i < HANDLES; i++)
		ck_assert_int_eq(capc_open_flags(d.session, "kv", 0, &all[i]), 0);
	open_handle(0);
	call();
	while (epoll_wait(loop, &event, 1, 0) > 0)
		ck_assert_int_ge(capc_dispatch(c), 0);
	d.fd = fd_close(d.fd);
	ck_assert_int_ge(capc_dispatch(all[0]), 0);
	rounds_until(&n_replies, 1);
	ck_assert_int_lt(result, 0);
	for (unsigned i = 0; i < HANDLES; i++)
		capc_free(all[i]);
}
END_TEST

START_TEST(P37_a_child_of_fork_does_no_harm)
{
	int status;
	pid_t pid;

	open_handle(0);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	call();
	rounds();
	pid = fork();
	if (pid == 0) {
		bool good = capc_dispatch(c) == -ECHILD && capc_poll_fd(c) == -ECHILD &&
			capc_call_async(c, &hello, replied, NULL, NULL) == -ECHILD;

		capc_free(c);
		_exit(good ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	serve(1);
	rounds_until(&n_replies, 1);
}
END_TEST

static Suite *
suite(void)
{
	Suite *suite = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, P37_nothing_waits_for_the_daemon);
	tcase_add_test(t, P37_one_descriptor_lasts_as_long_as_the_handle);
	tcase_add_test(t, P37_a_reply_after_a_new_connection_wakes_the_loop);
	tcase_add_test(t, P37_a_call_that_was_sent_is_told_of_the_end);
	tcase_add_test(t, P37_what_the_daemon_refuses_is_told);
	tcase_add_test(t, P37_the_end_of_the_session_is_told);
	tcase_add_test(t, P37_a_connection_can_be_the_only_one);
	tcase_add_test(t, P37_another_request_takes_the_answer);
	tcase_add_test(t, P37_the_session_s_own_rounds_take_the_answer);
	tcase_add_test(t, P37_handles_of_a_session_take_each_other_s_answers);
	tcase_add_test(t, P37_a_reply_that_another_call_took_wakes_the_loop);
	tcase_add_test(t, P37_a_call_that_blocks_joins_in);
	tcase_add_test(t, P37_a_callback_can_free_its_handle);
	tcase_add_test(t, P37_a_callback_can_call_and_give_up);
	tcase_add_test(t, P37_another_connection_is_not_waited_for);
	tcase_add_test(t, P37_a_daemon_that_does_not_read_is_not_waited_for);
	tcase_add_test(t, P37_the_end_is_told_to_who_could_not_even_ask);
	tcase_add_test(t, P37_a_child_of_fork_does_no_harm);
	suite_add_tcase(suite, t);
	return suite;
}

int
main(void)
{
	return fixture_main(suite());
}
