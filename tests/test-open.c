/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slots as they are opened: the test plays the daemon and the service. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

static struct played d;
static int service = -1; /* the server's end of the last connection */
static const struct capc_msg hello = {.code = 3, .data = "hello", .n_data = 5};

static void
setup(void)
{
	fixture_setup();
	played_init(&d);
}

static void
teardown(void)
{
	service = fd_close(service);
	played_deinit(&d);
	fixture_teardown();
}

START_TEST(a_service_of_another_protocol_has_its_socket)
{
	struct capc_msg reply;
	char byte;
	capc *plain;

	service = played_answer_open(&d, SOCK_STREAM);
	ck_assert_int_eq(capc_open(d.session, "sessions/app/caps/web", LONG, &plain), 0);
	played_asked(&d, WIRE_OPEN, "sessions/app/caps/web", "");
	ck_assert_int_eq(write(capc_fd(plain), "x", 1), 1);
	ck_assert_int_eq(read(service, &byte, 1), 1);
	ck_assert_int_eq(fcntl(capc_fd(plain), F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(capc_call(plain, &hello, &reply, LONG), -EPROTOTYPE);
	capc_free(plain);
	ck_assert(played_at_end(service));
}
END_TEST

START_TEST(and_may_have_it_for_itself)
{
	int fd;
	capc *plain;

	service = played_answer_open(&d, SOCK_STREAM);
	ck_assert_int_eq(capc_open(d.session, "web", LONG, &plain), 0);
	fd = capc_take_fd(plain);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(read(service, &(char){0}, 1), 1);
	ck_assert(!played_at_end(service));
	capc_raw_close(fd);
	ck_assert(played_at_end(service));
}
END_TEST

/* A daemon that was killed after its answer and before it took the request answers again. */
START_TEST(a_repeated_answer_does_no_harm)
{
	struct capc_msg reply;
	int fds[2];
	capc *twice;

	played_pair(SOCK_SEQPACKET, fds);
	played_answer(&d, WIRE_OPEN, 0, "", fds[1]);
	d.serial--;
	played_answer(&d, WIRE_OPEN, 0, "", fds[1]);
	close(fds[1]);
	service = fds[0];
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &twice), 0);
	if (_i > 0)
		ck_assert_int_eq(capc_session_process(d.session), 0);
	played_answer(&d, WIRE_READ, 0, "init", -1);
	ck_assert_str_eq(capc_session_label(d.session), "init");
	played_put_return(service, 1, 0, "still here", -1);
	ck_assert_int_eq(capc_call(twice, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
	capc_free(twice);
}
END_TEST

START_TEST(refused_opens_tell_why)
{
	capc *none;

	played_answer(&d, WIRE_OPEN, ECONNREFUSED, "nobody serves init/kv", -1);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &none), -ECONNREFUSED);
	ck_assert_str_eq(capc_session_reason(d.session), "nobody serves init/kv");
	/* Done, but without a socket: not what was asked for. */
	played_answer(&d, WIRE_OPEN, 0, "", -1);
	ck_assert_int_eq(capc_open(d.session, "kv", LONG, &none), -EBADMSG);
}
END_TEST

/* A call waits for the connection, and another handle's request takes the answer: to wait then is to send it. */
START_TEST(who_waits_sends_what_another_made_possible)
{
	struct capc_msg reply;
	uint64_t serial;
	char *read;
	capc *c;

	ck_assert_int_eq(capc_open_flags(d.session, "kv", 0, &c), 0);
	ck_assert_int_eq(capc_call_start(c, &hello, &serial), 0);
	service = played_answer_open(&d, SOCK_SEQPACKET);
	played_answer(&d, WIRE_READ, 0, "text", -1);
	ck_assert_int_eq(capc_read(d.session, "label", &read, LONG), 0);
	free(read);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, SHORT), -ETIMEDOUT);
	played_get_call(service, serial, &hello, NULL);
	played_put_return(service, serial, 0, "world", -1);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), 0);
	capc_msg_done(&reply);
	capc_free(c);
}
END_TEST

static int
count_fds(void)
{
	int n = 0;

	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* A relay gives something that is no socket, again and again. */
START_TEST(another_connection_that_is_none_leaves_nothing)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), first[2], n = 0;
	struct capc_msg reply;
	capc *c;

	ck_assert_int_eq(capc_open_flags(d.session, "kv", CAPC_DIRECT, &c), 0);
	for (unsigned i = 0; i < 4; i++) {
		played_pair(SOCK_SEQPACKET, first);
		ck_assert_int_eq(msg_send(first[0], "a", 1, &null, 1, MSG_DONTWAIT), 1);
		played_answer(&d, WIRE_OPEN, 0, "aside", first[1]);
		close(first[1]);
		ck_assert_int_eq(capc_call(c, &hello, &reply, LONG), -ENOTSOCK);
		close(first[0]);
		if (i == 0)
			n = count_fds();
	}
	ck_assert_int_eq(count_fds(), n);
	capc_free(c);
	close(null);
}
END_TEST

/* A directory that looks like that of a slot. */
struct slot {
	char path[FIXTURE_PATH];
	int listener, dir;
};

static void
slot_make(struct slot *slot, int type)
{
	fixture_directory(slot->path);
	slot->listener = played_listen(slot->path, "socket", type, 4);
	slot->dir = open(slot->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void
slot_remove(struct slot *slot)
{
	close(slot->listener);
	close(slot->dir);
	fixture_remove(slot->path);
}

START_TEST(a_slot_is_opened_by_its_directory)
{
	struct capc_msg reply;
	struct slot slot;
	capc *by_dir;

	slot_make(&slot, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open_dir(slot.dir, LONG, &by_dir), 0);
	service = accept4(slot.listener, NULL, NULL, SOCK_CLOEXEC);
	played_put_return(service, 1, 0, "here", -1);
	ck_assert_int_eq(capc_call(by_dir, &hello, &reply, LONG), 0);
	capc_msg_done(&reply);
	played_get_call(service, 1, &hello, NULL);
	/* And again, when that connection ended. */
	close(service);
	ck_assert_int_eq(capc_call(by_dir, &hello, &reply, SHORT), -ETIMEDOUT);
	service = accept4(slot.listener, NULL, NULL, SOCK_CLOEXEC);
	played_get_call(service, 2, &hello, NULL);
	capc_free(by_dir);
	slot_remove(&slot);
}
END_TEST

/* Nobody asks a daemon for it, and nothing but the call itself goes on with what waits. */
START_TEST(a_call_goes_over_the_next_connection)
{
	struct capc_msg reply;
	struct slot slot;
	uint64_t serial;
	capc *by_dir;

	slot_make(&slot, SOCK_SEQPACKET);
	ck_assert_int_eq(capc_open_dir(slot.dir, LONG, &by_dir), 0);
	for (unsigned i = 0; i < 2; i++) {
		service = accept4(slot.listener, NULL, NULL, SOCK_CLOEXEC);
		ck_assert_int_ge(service, 0);
		close(service);
		ck_assert_int_eq(capc_call_start(by_dir, &hello, &serial), 0);
		service = accept4(slot.listener, NULL, NULL, SOCK_CLOEXEC);
		played_get_call(service, serial, &hello, NULL);
		played_put_return(service, serial, 0, "here", -1);
		ck_assert_int_eq(capc_call_finish(by_dir, serial, &reply, LONG), 0);
		capc_msg_done(&reply);
		close(service);
		/* That it has ended is seen before there is a next call, or by that. */
		if (i == 0)
			ck_assert_int_eq(capc_call_done(by_dir, &serial), 0);
		ck_assert_int_eq(capc_call(by_dir, &hello, &reply, SHORT), -ETIMEDOUT);
		service = accept4(slot.listener, NULL, NULL, SOCK_CLOEXEC);
		played_get_call(service, serial + 1, &hello, NULL);
		close(service);
		ck_assert_int_eq(capc_call(by_dir, &hello, &reply, 0), -ETIMEDOUT);
	}
	service = -1;
	capc_free(by_dir);
	slot_remove(&slot);
}
END_TEST

START_TEST(a_stream_slot_is_opened_by_its_directory)
{
	struct slot slot;
	capc *by_dir;

	slot_make(&slot, SOCK_STREAM);
	ck_assert_int_eq(capc_open_dir(slot.dir, LONG, &by_dir), 0);
	ck_assert_int_ge(capc_fd(by_dir), 0);
	capc_free(by_dir);
	close(slot.listener);
	ck_assert_int_eq(capc_open_dir(slot.dir, LONG, &by_dir), -ECONNREFUSED);
	ck_assert_int_eq(capc_open_dir(-1, LONG, &by_dir), -EBADF);
	slot.listener = open("/dev/null", O_RDONLY | O_CLOEXEC);
	slot_remove(&slot);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("open");
	TCase *t = tcase_create("open");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_service_of_another_protocol_has_its_socket);
	tcase_add_test(t, and_may_have_it_for_itself);
	tcase_add_loop_test(t, a_repeated_answer_does_no_harm, 0, 2);
	tcase_add_test(t, refused_opens_tell_why);
	tcase_add_test(t, who_waits_sends_what_another_made_possible);
	tcase_add_test(t, another_connection_that_is_none_leaves_nothing);
	tcase_add_test(t, a_slot_is_opened_by_its_directory);
	tcase_add_test(t, a_call_goes_over_the_next_connection);
	tcase_add_test(t, a_stream_slot_is_opened_by_its_directory);
	suite_add_tcase(suite, t);
	return fixture_main(suite);
}
