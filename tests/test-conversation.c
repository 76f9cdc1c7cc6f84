/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P08 P14 */
/* Conversations for open files, and what is left of them by a crash. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/conversation/call.h"
#include "capfsd/tree/conversations.h"
#include "capfsd/tree/tree.h"
#include "capfsd/ops/request.h"
#include "tests/fixture.h"
#include "tests/sockets-world.h"

#define HANDLE 77

static struct world w;
static struct handed h;
static int control, channel;
static uint64_t unique; /* of the last READ */
static uint64_t last_serial; /* of a hand-over */
static char got[CALL_BYTES_MAX + 1];

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	control = world_control(&w, w.model->root);
	unique = 1000;
	last_serial = 0;
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static void
serve(const char *how)
{
	channel = world_serve(&w, control, "web", how);
}

static struct capability *
web(void)
{
	return world_slot(&w, w.model->root, "web");
}

static struct node
web_node(void)
{
	return tree_entity(&web()->entity);
}

/* One WRITE. Returns: its errno. */
static int
put(uint64_t handle, const char *text)
{
	struct request r = {.model = w.model};
	int error;

	ck_assert_int_eq(conversation_calls.write(w.conversations, &r, web_node(), handle, text, strlen(text)), 0);
	error = r.error;
	request_deinit(&r);
	world_settle(&w);
	return error;
}

/*
 * One READ of up to SIZE bytes, or that of before, sent again.
 * Returns: the number of bytes, which are in GOT; -errno, -EAGAIN: it waits.
 */
static int
get_some(uint64_t handle, size_t size, bool resent)
{
	struct request r = {.model = w.model};
	struct call_read read = {.handle = handle,
		.unique = resent ? unique : ++unique,
		.resent = resent,
		.buffer = got,
		.size = size};
	int e = conversation_calls.read(w.conversations, &r, web_node(), &read), error = r.error;

	request_deinit(&r);
	got[read.n] = '\0';
	if (error)
		return -error;
	return e == 0 ? (int)read.n : -EAGAIN;
}

static int
get(uint64_t handle)
{
	return get_some(handle, CALL_BYTES_MAX, false);
}

/* The server gets the connection that was made last. */
static void
take(void)
{
	int pages[2];

	while (world_pages(&w, channel, pages)) {
		world_close(&w, pages[0]);
		world_close(&w, pages[1]);
	}
	ck_assert(world_handed(&w, channel, &h));
	/* Offered again by who came after a crash. */
	while (h.m.serial <= last_serial) {
		world_close(&w, h.fd);
		world_take(&w, channel, h.m.serial);
		ck_assert(world_handed(&w, channel, &h));
	}
	last_serial = h.m.serial;
	world_take(&w, channel, h.m.serial);
}

/* What the server reads. */
static void
expect(const char *text)
{
	char buffer[256] = {};

	ck_assert_int_eq(recv(h.fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT), (ssize_t)strlen(text));
	ck_assert_str_eq(buffer, text);
}

static void
expect_nothing(void)
{
	char byte;

	ck_assert_int_eq(recv(h.fd, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

static void
say(const char *text)
{
	ck_assert_int_eq(send(h.fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void
die(void)
{
	world_restart(&w);
	w.n_ready = 0;
}

START_TEST(packets)
{
	serve("seqpacket");
	ck_assert_int_eq(conversation_calls.read(w.conversations, &(struct request){}, web_node(),
				 &(struct call_read){.handle = HANDLE}),
		CALL_E_NONE);
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	ck_assert_int_eq(put(HANDLE, "two"), EBUSY);
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	take();
	expect("one");
	say("reply");
	world_settle(&w);
	ck_assert_uint_eq(w.n_ready, 1);
	ck_assert_int_eq(get_some(HANDLE, 2, false), 2);
	ck_assert_str_eq(got, "re");
	ck_assert_int_eq(put(HANDLE, "two"), EBUSY);
	ck_assert_int_eq(get(HANDLE), 3);
	ck_assert_str_eq(got, "ply");
	ck_assert_int_eq(get(HANDLE), 0);
	ck_assert_int_eq(get(HANDLE), 0);
	/* What comes unasked is nobody's reply; an empty one is. */
	say("unasked");
	ck_assert_int_eq(put(HANDLE, "two"), 0);
	expect("two");
	ck_assert_int_eq(send(h.fd, "", 0, MSG_NOSIGNAL), 0);
	ck_assert_int_eq(put(HANDLE, "three"), EBUSY);
	ck_assert_int_eq(get(HANDLE), 0);
	ck_assert_int_eq(put(HANDLE, "three"), 0);
	expect("three");
	shutdown(h.fd, SHUT_RDWR);
	ck_assert_int_eq(get(HANDLE), -EPIPE);
	ck_assert_int_eq(get(HANDLE), -EPIPE);
	/* On another connection. */
	ck_assert_int_eq(put(HANDLE, "four"), 0);
	take();
	expect("four");
}
END_TEST

START_TEST(P08_a_reply_with_descriptors_is_refused)
{
	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	if (world_bars_descriptors()) {
		/* The server is told. */
		ck_assert_int_eq(msg_send(h.fd, "x", 1, &h.fd, 1, 0), -EPERM);
		return;
	}
	ck_assert_int_eq(msg_send(h.fd, "x", 1, &h.fd, 1, 0), 1);
	ck_assert_int_eq(get(HANDLE), -EOPNOTSUPP);
	ck_assert_int_eq(get(HANDLE), -EOPNOTSUPP);
}
END_TEST

/* A RETURN, as a server might make it up. */
static void
say_return(uint32_t code, uint64_t serial, const char *text)
{
	const struct wire_call m = {.type = WIRE_RETURN,
		.code = code,
		.serial = serial,
		.payload = text,
		.n_payload = strlen(text)};
	uint8_t buffer[256];
	int n = wire_call_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(send(h.fd, buffer, (size_t)n, MSG_NOSIGNAL), n);
}

static void
expect_call(uint64_t serial, const char *text)
{
	uint8_t buffer[256];
	struct wire_call m;
	ssize_t n = recv(h.fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	ck_assert_int_eq(wire_call_decode(buffer, (size_t)n, &m), 0);
	ck_assert_int_eq(m.type, WIRE_CALL);
	ck_assert_uint_eq(m.code, 0);
	ck_assert_uint_eq(m.serial, serial);
	ck_assert_uint_eq(m.n_payload, strlen(text));
	ck_assert_mem_eq(m.payload, text, strlen(text));
}

START_TEST(calls)
{
	serve("seqpacket protocol=calls");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	expect_call(1, "one");
	/* Returns of what was never asked are no reply. */
	for (uint64_t serial = 2; serial < 60; serial++)
		say_return(0, serial, "other");
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	say_return(0, 1, "reply");
	for (int i = 0; i < 10 && get(HANDLE) == -EAGAIN; i++)
		world_settle(&w);
	ck_assert_str_eq(got, "reply");
	ck_assert_int_eq(put(HANDLE, "two"), 0);
	expect_call(2, "two");
	say_return(EPERM, 2, "not today");
	ck_assert_int_eq(put(HANDLE, "three"), EBUSY);
	ck_assert_int_eq(get(HANDLE), -EPERM);
	ck_assert_int_eq(get_some(HANDLE, 4, false), 4);
	die();
	ck_assert_int_eq(get(HANDLE), 6);
	ck_assert_str_eq(got, "today\n");
	ck_assert_int_eq(get(HANDLE), 0);
	ck_assert_int_eq(put(HANDLE, "three"), 0);
	expect_call(3, "three");
	say_return(4000, 3, "");
	ck_assert_int_eq(get(HANDLE), -EREMOTEIO);
	ck_assert_int_eq(put(HANDLE, "four"), 0);
	expect_call(4, "four");
	ck_assert_int_eq(send(h.fd, "garbage", 7, MSG_NOSIGNAL), 7);
	ck_assert_int_eq(get(HANDLE), -EPROTO);
	/* Such a connection is not used again. */
	ck_assert_int_eq(put(HANDLE, "five"), 0);
	take();
	expect_call(1, "five");
}
END_TEST

START_TEST(P14_a_request_is_there_once)
{
	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	die();
	die();
	ck_assert_int_eq(put(HANDLE, "two"), EBUSY);
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	take();
	expect("one");
	expect_nothing();
	die();
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	say("reply");
	world_settle(&w);
	ck_assert_uint_eq(w.n_ready, 1);
	ck_assert_int_eq(get(HANDLE), 5);
	die();
	ck_assert_int_eq(put(HANDLE, "two"), 0);
	expect("two");
}
END_TEST

/* A broker died over the second request, somewhere between its commit and the end of sending it. */
START_TEST(P14_what_cannot_be_known_is_an_error)
{
	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	expect("one");
	say("reply");
	ck_assert_int_eq(get(HANDLE), 5);
	ck_assert_int_eq(put(HANDLE, "two"), 0);
	/* It can be seen in the socket. */
	w.page.sending = HANDLE;
	die();
	ck_assert_uint_eq(w.page.sending, 0);
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	expect("two");
	/* So can the reply. */
	say("reply");
	w.page.sending = HANDLE;
	die();
	ck_assert_int_eq(get(HANDLE), 5);
	ck_assert_int_eq(put(HANDLE, "three"), 0);
	expect("three");
	w.page.sending = HANDLE;
	die();
	ck_assert_int_eq(get(HANDLE), -ECONNABORTED);
	die();
	ck_assert_int_eq(get(HANDLE), -ECONNABORTED);
	/* A late reply is not taken for that to the next request. */
	say("late");
	ck_assert_int_eq(put(HANDLE, "four"), 0);
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	take();
	expect("four");
	expect_nothing();
}
END_TEST

/* The same READ gets the same, again and again, and the next what comes then. */
static void
expect_repeats(void)
{
	for (size_t at = 0; at < 12; at += 3) {
		char text[4] = {};

		memcpy(text, &"abcdefghijkl"[at], 3);
		ck_assert_int_eq(get_some(HANDLE, 3, false), 3);
		ck_assert_str_eq(got, text);
		die();
		ck_assert_int_eq(get_some(HANDLE, 3, true), 3);
		ck_assert_str_eq(got, text);
		die();
		ck_assert_int_eq(get_some(HANDLE, 3, true), 3);
		ck_assert_str_eq(got, text);
		if (at % 2)
			die();
	}
}

START_TEST(P14_a_repeated_read_gets_the_same_packet)
{
	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	say("abcdefghijkl");
	expect_repeats();
	ck_assert_int_eq(get(HANDLE), 0);
	die();
	ck_assert_int_eq(get_some(HANDLE, 3, true), 0);
	ck_assert_int_eq(get(HANDLE), 0);
}
END_TEST

START_TEST(P14_a_repeated_read_gets_the_same_of_a_stream)
{
	serve("stream");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	expect("one");
	ck_assert_int_eq(recv(h.fd, got, 1, MSG_DONTWAIT), 0);
	say("abcdefghijkl");
	expect_repeats();
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	ck_assert_int_eq(put(HANDLE, "two"), EBUSY);
	say("xyz");
	shutdown(h.fd, SHUT_RDWR);
	world_settle(&w);
	ck_assert_int_eq(get(HANDLE), 3);
	ck_assert_str_eq(got, "xyz");
	ck_assert_int_eq(get(HANDLE), 0);
	die();
	ck_assert_int_eq(get_some(HANDLE, 3, true), 0);
	ck_assert_int_eq(get(HANDLE), 0);
	ck_assert_int_eq(put(HANDLE, "two"), 0);
	take();
	expect("two");
}
END_TEST

/* A predecessor had taken a part of what a READ got, and one was peeking again. */
START_TEST(P14_what_was_taken_of_a_stream_is_known)
{
	struct call *call;
	int zero = 0;

	serve("stream");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	say("abcdefghijkl");
	ck_assert_int_eq(get_some(HANDLE, 6, false), 6);
	call = call_find(w.conversations, HANDLE);
	ck_assert_uint_eq(call->untaken, 6);
	ck_assert_int_eq(recv(call->fd, got, 2, MSG_DONTWAIT), 2);
	die();
	ck_assert_uint_eq(call_find(w.conversations, HANDLE)->untaken, 4);
	ck_assert_int_eq(get_some(HANDLE, 3, false), 3);
	ck_assert_str_eq(got, "ghi");
	call = call_find(w.conversations, HANDLE);
	ck_assert_int_eq(setsockopt(call->fd, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)), 0);
	die();
	ck_assert_int_eq(get_some(HANDLE, 3, true), 3);
	ck_assert_str_eq(got, "ghi");
	ck_assert_int_eq(get(HANDLE), 3);
	ck_assert_str_eq(got, "jkl");
}
END_TEST

START_TEST(a_wait_is_as_long_after_a_crash)
{
	struct call_read read = {.handle = HANDLE, .unique = 5};

	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	ck_assert_uint_eq(conversation_calls.wait(w.conversations, &read, 3000), 3000);
	die();
	read.resent = true;
	ck_assert_uint_eq(conversation_calls.wait(w.conversations, &read, 9000), 3000);
	read.unique = 6;
	ck_assert_uint_eq(conversation_calls.wait(w.conversations, &read, 9000), 9000);
}
END_TEST

START_TEST(who_gave_up_may_ask_again)
{
	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	take();
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	conversation_calls.give_up(w.conversations, HANDLE);
	die();
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	ck_assert_int_eq(put(HANDLE, "two"), 0);
	ck_assert_uint_eq(web()->conns_used, 1);
	ck_assert(world_is_over(h.fd));
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	take();
	expect("two");
}
END_TEST

START_TEST(what_it_costs_is_given_back)
{
	uint64_t sockets, ram;

	serve("seqpacket");
	sockets = w.model->root->used.n[QUOTA_SOCKETS];
	ram = w.model->root->used.n[QUOTA_RAM];
	conversation_calls.end(w.conversations, HANDLE);
	for (uint64_t i = 0; i < 50; i++)
		ck_assert_int_eq(put(HANDLE + i, "one"), 0);
	ck_assert_uint_eq(w.model->root->used.n[QUOTA_SOCKETS], sockets + 100);
	die();
	ck_assert_uint_eq(w.model->root->used.n[QUOTA_SOCKETS], sockets + 100);
	for (uint64_t i = 0; i < 50; i++)
		conversation_calls.end(w.conversations, HANDLE + i);
	/* Those that are queued are served all the same. */
	for (unsigned i = 0; i < 50; i++) {
		take();
		expect("one");
		ck_assert(world_is_over(h.fd));
		world_close(&w, h.fd);
	}
	world_settle(&w);
	ck_assert_uint_eq(w.model->root->used.n[QUOTA_SOCKETS], sockets);
	ck_assert_uint_eq(w.model->root->used.n[QUOTA_RAM], ram);
	ck_assert_uint_eq(w.model->root->used.n[QUOTA_INFLIGHT], 0);
	ck_assert_uint_eq(web()->conns_used, 0);
}
END_TEST

START_TEST(refusals_of_the_connection)
{
	struct quota *limit;

	serve("seqpacket");
	limit = &w.model->root->record.limit;
	limit->n[QUOTA_SOCKETS] = w.model->root->used.n[QUOTA_SOCKETS] + 1;
	ck_assert_int_eq(put(HANDLE, "one"), EDQUOT);
	limit->n[QUOTA_SOCKETS]++;
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	ck_assert_int_eq(put(HANDLE + 1, "one"), EDQUOT);
	limit->n[QUOTA_SOCKETS] = 500;
	/* The server goes, and nobody has heard of it yet. */
	channel = world_close(&w, channel);
	{
		struct request r = {.model = w.model};

		ck_assert_int_eq(conversation_calls.write(w.conversations, &r, web_node(), HANDLE + 1, "x", 1), 0);
		ck_assert_int_eq(r.error, ECONNREFUSED);
		request_deinit(&r);
	}
	world_settle(&w);
	ck_assert_int_eq(get(HANDLE), -EPIPE);
	ck_assert_int_eq(put(HANDLE, "two"), ECONNREFUSED);
}
END_TEST

START_TEST(a_server_that_accepts_by_itself_has_none)
{
	static struct answered a;

	ck_assert_int_eq(
		world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "mode=listen", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "entrypoints/web/objects",
				 "key=7 as=web socket=stream", &a),
		0);
	ck_assert_int_eq(put(HANDLE, "one"), EOPNOTSUPP);
}
END_TEST

START_TEST(the_end_of_the_capability_ends_it)
{
	serve("seqpacket");
	ck_assert_int_eq(put(HANDLE, "one"), 0);
	ck_assert_int_eq(put(HANDLE + 1, "one"), 0);
	ck_assert_int_eq(get(HANDLE), -EAGAIN);
	w.n_ready = 0;
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "caps/web", "", &(struct answered){}), 0);
	world_settle(&w);
	ck_assert_uint_eq(w.n_ready, 2);
	ck_assert_ptr_null(call_find(w.conversations, HANDLE));
	ck_assert_ptr_null(call_find(w.conversations, HANDLE + 1));
	/* Of the loop, of the store, of the quota: nothing is left. */
	die();
	ck_assert_uint_eq(w.model->root->used.n[QUOTA_INFLIGHT], 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conversation");
	TCase *t = tcase_create("conversation");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, packets);
	tcase_add_test(t, P08_a_reply_with_descriptors_is_refused);
	tcase_add_test(t, calls);
	tcase_add_test(t, P14_a_request_is_there_once);
	tcase_add_test(t, P14_what_cannot_be_known_is_an_error);
	tcase_add_test(t, P14_a_repeated_read_gets_the_same_packet);
	tcase_add_test(t, P14_a_repeated_read_gets_the_same_of_a_stream);
	tcase_add_test(t, P14_what_was_taken_of_a_stream_is_known);
	tcase_add_test(t, a_wait_is_as_long_after_a_crash);
	tcase_add_test(t, who_gave_up_may_ask_again);
	tcase_add_test(t, what_it_costs_is_given_back);
	tcase_add_test(t, refusals_of_the_connection);
	tcase_add_test(t, a_server_that_accepts_by_itself_has_none);
	tcase_add_test(t, the_end_of_the_capability_ends_it);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
