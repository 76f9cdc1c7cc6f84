/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control protocol, and what is left of its requests by a crash. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/control/control.h"
#include "capfsd/listeners/listener.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

START_TEST(reads_and_lists)
{
	int c = world_control(&w, root());

	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "label", "", &a), 0);
	ck_assert_str_eq(a.text, "init\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "caps\n"));
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "label", "", &a), ENOTDIR);
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "caps", "", &a), EISDIR);
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "control", "", &a), ENXIO);
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "nothing", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app", "caps=8", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "sessions", "", &a), 0);
	ck_assert_str_eq(a.text, "app\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "sessions/app/label", "", &a), 0);
	ck_assert_str_eq(a.text, "init/app\n");
	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "caps/x", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, c, WIRE_LIST, "sessions", "", &a), 0);
	ck_assert_str_eq(a.text, "");
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "events", "", &a), 0);
	ck_assert_uint_gt(a.m.n_text, 0);
	ck_assert_uint_eq(a.m.value, events_end(root()));
}
END_TEST

/* Who has read a line finds it again after a crash; and no other with its number. */
START_TEST(what_was_read_of_a_log_is_stored)
{
	int c = world_control(&w, root());
	uint64_t n;

	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "transfer_quota", "to=nobody caps=1", &a),
		ENOENT);
	n = w.model->header.next_event;
	ck_assert_int_eq(world_ask(&w, c, WIRE_READ, "events", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "refused transfer_quota"));
	ck_assert_uint_eq(w.model->stored_header.next_event, n);
	ck_assert(list_empty(&w.model->event_queue));
}
END_TEST

START_TEST(lists_and_reads_in_pieces)
{
	int c = world_control(&w, root());
	size_t n = 0, n_lines = 0;
	char name[64];
	uint64_t cookie = 0;

	for (unsigned i = 0; i < 900; i++) {
		snprintf(name, sizeof(name), "sessions/a-name-that-is-long-enough-to-need-%03u", i);
		ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, name,
					 "caps=0 sockets=0 threads=0 ram=0 inflight=0", &a),
			0);
	}
	do {
		struct wire_request m = {.op = WIRE_LIST,
			.serial = 10000 + n,
			.offset = cookie,
			.path = "sessions",
			.n_path = 8,
			.text = ""};
		uint8_t buffer[256];
		int size = wire_request_encode(&m, buffer, sizeof(buffer));

		ck_assert_int_eq(send(c, buffer, (size_t)size, 0), size);
		world_settle(&w);
		ck_assert(world_reply(&w, c, &a));
		for (const char *p = a.text; (p = strchr(p, '\n')); p++)
			n_lines++;
		cookie = a.m.value;
		n++;
	} while (a.m.flags & WIRE_MORE);
	ck_assert_uint_gt(n, 1);
	ck_assert_uint_eq(n_lines, 900);
}
END_TEST

START_TEST(bad_messages)
{
	static char big[WIRE_CONTROL_MAX + 100], text[5000];
	const bool bars = world_bars_descriptors();
	int c, null;

	c = world_control(&w, root());
	ck_assert_int_eq(send(c, "\x01\xff\x00", 3, 0), 3);
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert(a.m.error == EBADMSG || a.m.error == EPROTO);
	ck_assert(world_is_over(c));

	c = world_control(&w, root());
	ck_assert_int_eq(send(c, big, sizeof(big), 0), sizeof(big));
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.error, EMSGSIZE);
	ck_assert(world_is_over(c));

	c = world_control(&w, root());
	memset(text, 'x', sizeof(text) - 1);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "transfer_quota", text, &a), EMSGSIZE);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "transfer_quota", "to=", &a), EINVAL);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, "label", "x", &a), EACCES);

	/* A descriptor cannot be sent; or the request is refused, and the descriptor is left nowhere. */
	null = world_own(&w, open("/dev/null", O_RDONLY | O_CLOEXEC));
	{
		struct wire_request m = {
			.op = WIRE_READ, .serial = 5000, .path = "label", .n_path = 5, .text = ""};
		uint8_t buffer[256];
		int n = wire_request_encode(&m, buffer, sizeof(buffer));

		ck_assert_int_eq(msg_send(c, buffer, (size_t)n, &null, 1, 0), bars ? -EPERM : n);
	}
	if (bars)
		world_send(c, WIRE_READ, 5000, "label", "");
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.serial, 5000);
	ck_assert_uint_eq(a.m.error, bars ? 0 : EINVAL);
	/* Serials ascend: an older one is no request. */
	world_send(c, WIRE_READ, 4999, "label", "");
	world_send(c, WIRE_READ, 5001, "label", "");
	world_settle(&w);
	ck_assert(world_reply(&w, c, &a));
	ck_assert_uint_eq(a.m.serial, 5001);
	ck_assert(!world_reply(&w, c, &a));
}
END_TEST

/* Sends requests whose replies nobody reads, until they have no room. Returns: the next serial. */
static uint64_t
fill(int control, uint64_t serial)
{
	static const unsigned n = 400;

	for (unsigned i = 0; i < n; i++) {
		world_send(control, WIRE_READ, serial++, "caps/web/info", "");
		world_settle(&w);
	}
	return serial;
}

START_TEST(reply_outlives_broker)
{
	int control, channel = serve_web(&control), pipe_control;
	uint64_t first = 1000, last;
	unsigned n = 0, n_created = 0;

	pipe_control = world_control(&w, root());
	last = fill(pipe_control, first);
	world_send(pipe_control, WIRE_OPEN, last, "caps/web", "");
	world_send(pipe_control, WIRE_CREATE, last + 1, "sessions/app", "");
	world_settle(&w);
	while (n < last + 2 - first) {
		ck_assert(world_reply(&w, pipe_control, &a));
		/* A reply that had gone out may come again after a crash. */
		if (a.m.serial < first + n)
			continue;
		ck_assert_uint_eq(a.m.serial, first + n);
		ck_assert_uint_eq(a.m.error, 0);
		n++;
		if (n % 50 == 0 || n + 2 > last - first)
			world_restart(&w);
		else
			world_settle(&w);
		if (a.fd >= 0) {
			ck_assert(world_handed(&w, channel, &h));
			ck_assert_int_eq(send(a.fd, "x", 1, MSG_NOSIGNAL), 1);
		}
		n_created += a.m.op == WIRE_CREATE;
	}
	ck_assert_uint_eq(n_created, 1);
	ck_assert_uint_eq(root()->n_owned[ENTITY_SESSION], 1);
	ck_assert_uint_eq(web()->conns_used, 1);
}
END_TEST


/* The broker's end of the only control connection. */
static uint64_t
find_cookie(void)
{
	uint64_t cookie = 0;

	list_for_each (i, &w.sockets->listeners->all) {
		struct listener *l = list_entry(i, struct listener, link);

		ck_assert_uint_eq(l->n_clients, 1);
		fd_socket_cookie(
			list_entry(list_first(&l->clients), struct control, listener_link)->fd,
			&cookie);
	}
	return cookie;
}

START_TEST(poison)
{
	int control = world_control(&w, root());

	world_send(control, WIRE_CREATE, 76, "sessions/app", "");
	world_send(control, WIRE_CREATE, 77, "sessions/bad", "");
	w.page.poisoned = BOOT_REQUEST_CONTROL(find_cookie(), 77);
	world_settle(&w);
	ck_assert(world_reply(&w, control, &a));
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert(world_reply(&w, control, &a));
	ck_assert_uint_eq(a.m.error, EIO);
	ck_assert_uint_eq(root()->n_owned[ENTITY_SESSION], 1);
	ck_assert_uint_eq(w.page.executing, 0);
	ck_assert_uint_eq(w.page.answered, 1);
}
END_TEST

static struct sockaddr_un activation = {.sun_family = AF_UNIX};

/* What a service manager does: it listens, and keeps the open file. Returns: its descriptor. */
static int
activation_listen(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(activation.sun_path, sizeof(activation.sun_path), "%s/control", w.dir);
	strcpy(w.boot.activation, activation.sun_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&activation, sizeof(activation)), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return world_own(&w, fd);
}

static int
activation_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&activation, sizeof(activation)), 0);
	return world_own(&w, fd);
}

START_TEST(activation_is_the_roots_control)
{
	int manager = activation_listen(), early, accepted, late;

	/* Somebody is there before the daemon is. */
	early = activation_connect();
	world_kill(&w);
	ck_assert_int_ge(fd_dup(manager), 0);
	world_start(&w);
	ck_assert_int_eq(world_ask(&w, early, WIRE_READ, "label", "", &a), 0);
	ck_assert_str_eq(a.text, "init\n");
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], 1);
	/* One broker dies after it has accepted, the next listens again. */
	accepted = activation_connect();
	world_kill(&w);
	ck_assert_int_ge(accept4(manager, NULL, NULL, SOCK_CLOEXEC), 0);
	world_start(&w);
	ck_assert_int_eq(world_ask(&w, accepted, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, early, WIRE_READ, "label", "", &a), 0);
	late = activation_connect();
	ck_assert_int_eq(world_ask(&w, late, WIRE_READ, "label", "", &a), 0);
	/* The end of the daemon is not the manager's. */
	world_stop(&w);
	ck_assert(world_is_over(late));
	late = activation_connect();
	world_own(&w, accept4(manager, NULL, NULL, SOCK_CLOEXEC));
	ck_assert(!world_is_over(late));
}
END_TEST

START_TEST(activation_waits_for_descriptors)
{
	int manager = activation_listen(), client;
	struct rlimit old, none;

	world_kill(&w);
	ck_assert_int_ge(fd_dup(manager), 0);
	world_start(&w);
	client = activation_connect();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	world_settle(&w);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert(!world_is_over(client));
	world_settle_for(&w, 150000);
	ck_assert_int_eq(world_ask(&w, client, WIRE_READ, "label", "", &a), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control");
	TCase *t = tcase_create("control");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, reads_and_lists);
	tcase_add_test(t, what_was_read_of_a_log_is_stored);
	tcase_add_test(t, lists_and_reads_in_pieces);
	tcase_add_test(t, bad_messages);
	tcase_add_test(t, reply_outlives_broker);
	tcase_add_test(t, poison);
	tcase_add_test(t, activation_is_the_roots_control);
	tcase_add_test(t, activation_waits_for_descriptors);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
