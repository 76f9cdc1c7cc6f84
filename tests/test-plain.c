/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P09 P11 */
/* Services without a daemon: handlers on a socketpair and on a listener; what a server is told beside its calls. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"

#define KEY 7

static capc_entrypoint *e;
static uint64_t badge;
static struct capc_msg reply;

static void
echo(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_int_eq(capc_reply(r, m), 0);
}

static capc *
client_new(void)
{
	int fds[2];
	capc *c;

	played_pair(SOCK_SEQPACKET, fds);
	ck_assert_int_eq(capc_serve_fd(e, KEY, fds[0]), 0);
	ck_assert_int_eq(capc_from_fd(fds[1], &c), 0);
	return c;
}

static uint64_t
start(capc *c, uint32_t method)
{
	uint64_t serial;

	ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){.code = method, .data = "abc", .n_data = 3}, &serial), 0);
	return serial;
}

static void
setup(void)
{
	fixture_setup();
	ck_assert_int_eq(capc_entrypoint_new(&e), 0);
	ck_assert_int_eq(capc_object_add(e, KEY, echo, NULL, "as=kv", &badge), 0);
}

static void
teardown(void)
{
	e = capc_detach(e);
	fixture_teardown();
}

START_TEST(P11_a_service_is_served_on_a_socketpair)
{
	capc *c = client_new();
	uint64_t again, serial = start(c, 3);

	while (capc_call_finish(c, serial, &reply, 0) == -ETIMEDOUT)
		ck_assert_int_ge(capc_serve(e, 0), 0);
	ck_assert_str_eq(reply.data, "abc");
	capc_msg_done(&reply);
	/* The same key has the same badge, and a call without its object an answer. */
	ck_assert_int_eq(capc_object_add(e, KEY, echo, NULL, NULL, &again), 0);
	ck_assert_uint_eq(again, badge);
	ck_assert_int_eq(capc_object_remove(e, badge), 0);
	ck_assert_int_eq(capc_object_remove(e, badge), -ENOENT);
	ck_assert_int_eq(capc_serve_fd(e, KEY, -1), -ENOENT);
	serial = start(c, 3);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), -ENXIO);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_SERVER);
	capc_msg_done(&reply);
	/* There is nowhere to open it again. */
	e = capc_detach(e);
	ck_assert_int_eq(capc_call(c, &(struct capc_msg){}, &reply, LONG), -ENOTCONN);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_LIBRARY);
	capc_free(c);
}
END_TEST

START_TEST(P11_what_needs_a_daemon_is_refused_without_one)
{
	int fds[2];

	ck_assert_int_eq(capc_listener(e, KEY, 0), -EOPNOTSUPP);
	ck_assert_int_eq(capc_visits(e, NULL, NULL), -EOPNOTSUPP);
	ck_assert_int_eq(capc_visit_answer(e, 1, "yes"), -EOPNOTSUPP);
	played_pair(SOCK_STREAM, fds);
	ck_assert_int_eq(capc_serve_fd(e, KEY, fds[0]), -EPROTOTYPE);
	ck_assert(played_at_end(fds[1]));
	close(fds[1]);
	ck_assert_int_eq(capc_serve_fd(e, KEY, -1), -EBADF);
}
END_TEST

static int
connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void
who(capc_request *r, struct capc_msg *m, void *data)
{
	const struct capc_caller *caller = capc_caller(r);

	ck_assert_uint_eq(caller->key, KEY);
	ck_assert_uint_eq(caller->capability, 0);
	ck_assert_uint_eq(caller->rights, CAPC_RIGHT_CALL | CAPC_RIGHT_FDS);
	ck_assert_str_eq(caller->label, "");
	ck_assert_uint_eq(caller->uid, getuid());
	ck_assert_int_eq(caller->pid, getpid());
	ck_assert_int_eq(capc_reply(r, &(struct capc_msg){.data = &caller->connection, .n_data = 8}), 0);
}

/* Each connection has a number of its own, and none comes again. */
/* Somebody who has it, too, has shut it down. */
START_TEST(P11_a_listener_that_was_shut_down_keeps_nobody_busy)
{
	char directory[] = "/tmp/plain-XXXXXX", path[64];
	struct pollfd p = {.fd = capc_entrypoint_fd(e), .events = POLLIN};
	int listener, other;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/s", directory);
	listener = played_listen(directory, "s", SOCK_SEQPACKET, 8);
	other = dup(listener);
	ck_assert_int_eq(capc_serve_fd(e, KEY, listener), 0);
	ck_assert_int_eq(shutdown(other, SHUT_RDWR), 0);
	played_serve_all(e);
	ck_assert_int_eq(capc_serve(e, 0), 0);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	close(other);
	unlink(path);
	rmdir(directory);
}
END_TEST

START_TEST(P11_a_listener_is_served)
{
	char directory[] = "/tmp/plain-XXXXXX", path[64];
	uint64_t last = 0;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/s", directory);
	ck_assert_int_eq(capc_object_add(e, KEY, who, NULL, NULL, NULL), 0);
	ck_assert_int_eq(capc_serve_fd(e, KEY, played_listen(directory, "s", SOCK_SEQPACKET, 8)), 0);
	for (int i = 0; i < 3; i++) {
		uint64_t serial, number;
		capc *c;

		ck_assert_int_eq(capc_from_fd(connect_to(path), &c), 0);
		serial = start(c, 0);
		ck_assert_int_eq(played_serve_all(e), 2);
		ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), 0);
		memcpy(&number, reply.data, sizeof(number));
		ck_assert_uint_gt(number, last);
		last = number;
		capc_msg_done(&reply);
		capc_free(c);
	}
	unlink(path);
	rmdir(directory);
}
END_TEST

static struct {
	unsigned connected, cancelled, disconnected, exhausted;
	int refuse, error;
	bool answer;
	capc_request *last;
	int of_connection;
} told;

static int
on_connected(const struct capc_caller *caller, void **ret_data, void *data)
{
	ck_assert_ptr_eq(data, &told);
	ck_assert_uint_ne(caller->connection, 0);
	told.connected++;
	*ret_data = &told.of_connection;
	return told.refuse;
}

static void
on_cancelled(capc_request *r, void *data)
{
	ck_assert(capc_cancelled(r));
	told.cancelled++;
	told.last = r;
	if (told.answer)
		capc_reply(r, NULL);
}

static void
on_disconnected(const struct capc_caller *caller, int error, void *data)
{
	ck_assert_ptr_eq(caller->data, &told.of_connection);
	told.disconnected++;
	told.error = error;
}

static void
on_exhausted(int error, void *data)
{
	told.exhausted++;
	told.error = error;
}

static const struct capc_handlers handlers = {
	.size = sizeof(handlers),
	.connected = on_connected,
	.cancelled = on_cancelled,
	.disconnected = on_disconnected,
	.exhausted = on_exhausted,
};

static capc_request *kept[16];
static unsigned n_kept;

static void
keep(capc_request *r, struct capc_msg *m, void *data)
{
	ck_assert_ptr_eq(capc_caller(r)->data, &told.of_connection);
	kept[n_kept++] = r;
}

static void
listen_to(capc_handler *f)
{
	memset(&told, 0, sizeof(told));
	n_kept = 0;
	ck_assert_int_eq(capc_object_add(e, KEY, f, NULL, NULL, NULL), 0);
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &handlers, &told), 0);
}

/* Each request that has no answer is told once to be cancelled: one by its client, the rest by the end. */
START_TEST(P11_a_server_is_told_who_comes_gives_up_and_leaves)
{
	capc *c;
	uint64_t first;

	listen_to(keep);
	c = client_new();
	ck_assert_uint_eq(told.connected, 1);
	first = start(c, 0);
	start(c, 0);
	start(c, 0);
	ck_assert_int_eq(played_serve_all(e), 3);
	ck_assert(!capc_cancelled(kept[0]));
	ck_assert_int_eq(capc_call_cancel(c, first), 0);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_uint_eq(told.cancelled, 1);
	ck_assert_ptr_eq(told.last, kept[0]);
	ck_assert(!capc_cancelled(kept[1]));
	ck_assert_uint_eq(told.disconnected, 0);
	told.answer = _i > 0;
	capc_free(c);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_uint_eq(told.cancelled, 3);
	ck_assert_uint_eq(told.disconnected, 1);
	ck_assert_int_eq(told.error, 0);
	for (int i = 0; i < (_i > 0 ? 1 : 3); i++) {
		ck_assert_ptr_eq(capc_caller(kept[i])->data, &told.of_connection);
		ck_assert_int_eq(capc_reply(kept[i], NULL), -ECONNRESET);
	}
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_uint_eq(told.disconnected, 1);
}
END_TEST

static void
detach(capc_request *r, struct capc_msg *m, void *data)
{
	n_kept++;
	capc_detach(e);
	ck_assert_uint_eq(told.cancelled, 2);
	ck_assert_uint_eq(told.disconnected, 2);
	ck_assert_int_eq(told.error, -ENOTCONN);
	ck_assert_int_eq(capc_reply(r, NULL), -ECONNRESET);
}

/* capc_detach() tells all of it before it returns, in a handler too; requests that are kept outlive it. */
START_TEST(P11_detaching_tells_of_every_connection)
{
	capc *one, *two;

	listen_to(keep);
	one = client_new();
	two = client_new();
	start(one, 0);
	ck_assert_int_eq(played_serve_all(e), 1);
	if (_i > 0) {
		ck_assert_int_eq(capc_object_add(e, KEY, detach, NULL, NULL, NULL), 0);
		start(two, 0);
		ck_assert_int_eq(capc_serve(e, LONG), -ENOTCONN);
		ck_assert_uint_eq(n_kept, 2);
	} else {
		capc_detach(e);
	}
	e = NULL;
	ck_assert_uint_eq(told.cancelled, _i > 0 ? 2 : 1);
	ck_assert_uint_eq(told.disconnected, 2);
	ck_assert(capc_cancelled(kept[0]));
	ck_assert_int_eq(capc_reply(kept[0], NULL), -ECONNRESET);
	capc_free(one);
	capc_free(two);
}
END_TEST

static int
detach_connected(const struct capc_caller *caller, void **ret_data, void *data)
{
	on_connected(caller, ret_data, data);
	if (told.connected == 2)
		e = capc_detach(e);
	return told.refuse;
}

/* It has ended before the server has said whether it may be: whoever said yes is told. */
START_TEST(P11_who_connects_is_told_of_who_detaches_then)
{
	struct capc_handlers on = handlers;
	capc *one, *two;

	listen_to(keep);
	on.connected = detach_connected;
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &on, &told), 0);
	one = client_new();
	told.refuse = _i > 0 ? -EACCES : 0;
	two = client_new();
	ck_assert_uint_eq(told.connected, 2);
	ck_assert_uint_eq(told.disconnected, _i > 0 ? 1 : 2);
	ck_assert_int_eq(told.error, -ENOTCONN);
	capc_free(one);
	capc_free(two);
}
END_TEST

/* The client gets the error that the server has refused it with, whether or not it has called by then. */
START_TEST(P11_a_server_may_refuse_who_connects)
{
	capc *c;

	listen_to(keep);
	told.refuse = -EACCES;
	c = client_new();
	ck_assert_uint_eq(told.connected, 1);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_uint_eq(told.disconnected, 0);
	ck_assert_int_eq(capc_call(c, &(struct capc_msg){}, &reply, LONG), -EACCES);
	ck_assert_uint_eq(reply.code, 0);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_SERVER);
	capc_free(c);
}
END_TEST

START_TEST(P11_handlers_of_other_versions)
{
	struct {
		struct capc_handlers known;
		void *later;
	} longer = {.known = handlers};
	struct capc_handlers shorter = handlers;
	capc *c;

	listen_to(keep);
	longer.known.size = sizeof(longer);
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &longer.known, &told), 0);
	longer.later = &longer;
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &longer.known, &told), -EOPNOTSUPP);
	shorter.size = offsetof(struct capc_handlers, cancelled);
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &shorter, &told), 0);
	c = client_new();
	capc_free(c);
	ck_assert_int_eq(played_serve_all(e), 0);
	ck_assert_uint_eq(told.connected, 1);
	ck_assert_uint_eq(told.disconnected, 0);
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, NULL, NULL), 0);
}
END_TEST

/* ---- objects in handlers ---- */

static void
grow(capc_request *r, struct capc_msg *m, void *data)
{
	uint64_t more;

	if (m->code == 0)
		ck_assert_int_eq(capc_object_remove(e, badge), 0);
	for (uint64_t i = 100; m->code == 1 && i < 200; i++)
		ck_assert_int_eq(capc_object_add(e, i, grow, NULL, NULL, &more), 0);
	if (m->code == 2)
		ck_assert_int_eq(capc_object_add(e, KEY, echo, NULL, NULL, NULL), 0);
	ck_assert_int_eq(capc_serve(e, 0), -EBUSY);
	ck_assert_int_eq(capc_reply(r, NULL), 0);
}

/* Also its own one. */
START_TEST(P11_a_handler_adds_and_removes_objects)
{
	static const int expected[] = {0, 0, 0, 0, -ENXIO};
	static const uint32_t methods[] = {1, 2, 9, 1, 0};
	capc *c = client_new();
	uint64_t serials[5];

	ck_assert_int_eq(capc_object_add(e, KEY, grow, NULL, NULL, NULL), 0);
	for (int i = 0; i < 3; i++)
		serials[i] = start(c, methods[i]);
	ck_assert_int_eq(played_serve_all(e), 3);
	ck_assert_int_eq(capc_object_add(e, KEY, grow, NULL, NULL, NULL), 0);
	serials[3] = start(c, 0);
	serials[4] = start(c, 0);
	ck_assert_int_eq(played_serve_all(e), 2);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(capc_call_finish(c, serials[i], &reply, LONG), expected[i]);
		/* That handler was another one by then. */
		ck_assert_uint_eq(reply.n_data, i == 2 ? 3 : i == 4 ? strlen("the server has no such object") : 0);
		capc_msg_done(&reply);
	}
	capc_free(c);
}
END_TEST

/* ---- without room ---- */

static void
leave_room(int n)
{
	struct rlimit limit;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)(fd + n);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A server without room for a connection says so, to itself and to who connects; others go on. */
START_TEST(P09_a_server_out_of_descriptors_tells_its_callers)
{
	char directory[] = "/tmp/plain-XXXXXX", path[64];
	struct rlimit limit;
	uint64_t serial;
	capc *c, *refused;

	listen_to(echo);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/s", directory);
	c = client_new();
	ck_assert_int_eq(capc_serve_fd(e, KEY, played_listen(directory, "s", SOCK_SEQPACKET, 8)), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(capc_from_fd(connect_to(path), &refused), 0);
		serial = _i > 0 ? start(refused, 0) : 0;
		getrlimit(RLIMIT_NOFILE, &limit);
		leave_room(0);
		ck_assert_int_eq(played_serve_all(e), 1);
		ck_assert_uint_eq(told.exhausted, (unsigned)i + 1);
		ck_assert_int_eq(told.error, -EMFILE);
		setrlimit(RLIMIT_NOFILE, &limit);
		if (_i > 0)
			ck_assert_int_eq(capc_call_finish(refused, serial, &reply, LONG), -EMFILE);
		else
			ck_assert_int_eq(capc_call(refused, &(struct capc_msg){}, &reply, LONG), -EMFILE);
		ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_SERVER);
		capc_free(refused);
	}
	serial = start(c, 0);
	ck_assert_int_eq(played_serve_all(e), 1);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), 0);
	capc_msg_done(&reply);
	capc_free(c);
	unlink(path);
	rmdir(directory);
}
END_TEST

START_TEST(P09_descriptors_without_room_are_an_error_of_the_server)
{
	capc *c;
	struct rlimit limit;
	int fd = STDERR_FILENO;
	uint64_t serial;

	listen_to(echo);
	c = client_new();
	ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){.fds = &fd, .n_fds = 1}, &serial), 0);
	getrlimit(RLIMIT_NOFILE, &limit);
	leave_room(0);
	ck_assert_int_eq(played_serve_all(e), 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_uint_eq(told.exhausted, 1);
	ck_assert_int_eq(capc_call_finish(c, serial, &reply, LONG), -EMFILE);
	ck_assert_uint_eq(reply.origin, CAPC_ORIGIN_SERVER);
	capc_msg_done(&reply);
	capc_free(c);
}
END_TEST

/* ---- the end, and time ---- */

static void
answer_much(capc_request *r, struct capc_msg *m, void *data)
{
	static char much[60000];

	capc_reply(r, &(struct capc_msg){.data = much, .n_data = sizeof(much)});
}

/* Who polls the descriptor of an entrypoint hears that a time is over: here, that of a client that takes nothing. */
START_TEST(P11_the_descriptor_tells_when_a_time_is_over)
{
	struct pollfd p = {.fd = capc_entrypoint_fd(e), .events = POLLIN};
	capc *c;

	listen_to(answer_much);
	capc_entrypoint_set_timeout(e, SHORT);
	c = client_new();
	for (int i = 0; i < 16; i++)
		start(c, 0);
	while (told.disconnected == 0) {
		ck_assert_int_eq(poll(&p, 1, 10000), 1);
		ck_assert_int_ge(capc_serve(e, 0), 0);
	}
	ck_assert_int_eq(told.error, -ETIMEDOUT);
	capc_free(c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("plain");
	TCase *t = tcase_create("plain");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, P11_a_service_is_served_on_a_socketpair);
	tcase_add_test(t, P11_what_needs_a_daemon_is_refused_without_one);
	tcase_add_test(t, P11_a_listener_is_served);
	tcase_add_test(t, P11_a_listener_that_was_shut_down_keeps_nobody_busy);
	tcase_add_loop_test(t, P11_a_server_is_told_who_comes_gives_up_and_leaves, 0, 2);
	tcase_add_loop_test(t, P11_detaching_tells_of_every_connection, 0, 2);
	tcase_add_test(t, P11_a_server_may_refuse_who_connects);
	tcase_add_loop_test(t, P11_who_connects_is_told_of_who_detaches_then, 0, 2);
	tcase_add_test(t, P11_handlers_of_other_versions);
	tcase_add_test(t, P11_a_handler_adds_and_removes_objects);
	tcase_add_loop_test(t, P09_a_server_out_of_descriptors_tells_its_callers, 0, 2);
	tcase_add_test(t, P09_descriptors_without_room_are_an_error_of_the_server);
	tcase_add_test(t, P11_the_descriptor_tells_when_a_time_is_over);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
