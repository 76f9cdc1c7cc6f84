/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the helpers' loop tells once only, or late: nothing is left behind by who reads no further than a piece
 * that was short, and what comes together is handled in its order.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "helpers/backend.h"
#include "tests/relay-world.h"

#define MANY (2 << 20)

/* --- the loop --- */

struct told {
	struct source source;
	unsigned n, order;
};

static unsigned n_told;

static void
told_run(struct source *source, uint32_t events)
{
	struct told *t = container_of(source, struct told, source);

	t->n++;
	t->order = ++n_told;
}

static void
told_add(struct told *t, bool late, uint32_t events)
{
	*t = (struct told){.source = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .late = late, .run = told_run}};
	ck_assert_int_eq(loop_add(&w.loop, &t->source, events), 0);
}

static void
told_remove(struct told *t)
{
	loop_remove(&w.loop, &t->source);
	close(t->source.fd);
}

static void
make_ready(struct told *t)
{
	ck_assert_int_eq(eventfd_write(t->source.fd, 1), 0);
}

START_TEST(who_is_late_runs_after_the_others)
{
	struct told late, others[2];

	told_add(&late, true, EPOLLIN);
	make_ready(&late);
	for (int i = 0; i < 2; i++) {
		told_add(&others[i], false, EPOLLIN);
		make_ready(&others[i]);
	}
	ck_assert_int_eq(loop_wait(&w.loop, 0), 0);
	ck_assert_uint_eq(late.order, 3);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(others[i].n, 1);
		told_remove(&others[i]);
	}
	told_remove(&late);
}
END_TEST

START_TEST(an_edge_is_told_again_when_asked_for)
{
	struct told t;

	told_add(&t, false, EPOLLIN | EPOLLET);
	make_ready(&t);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(loop_wait(&w.loop, 0), 0);
		ck_assert_uint_eq(t.n, 1);
	}
	ck_assert_int_eq(loop_renew(&w.loop, &t.source), 0);
	ck_assert_int_eq(loop_wait(&w.loop, 0), 0);
	ck_assert_uint_eq(t.n, 2);
	told_remove(&t);
}
END_TEST

/* Rounds, each of which may wait until END_USEC, come to an end then and not before. */
static void
wait_until(uint64_t end_usec)
{
	while (w.loop.now_usec < end_usec)
		ck_assert_int_eq(loop_wait(&w.loop, end_usec - w.loop.now_usec), 0);
	ck_assert_uint_ge(loop_clock_usec(), end_usec);
}

START_TEST(a_round_ends_in_time)
{
	uint64_t start = loop_clock_usec();
	struct told t;

	/* What is due much later holds nothing up. */
	told_add(&t, false, EPOLLIN);
	make_ready(&t);
	ck_assert_int_eq(loop_wait(&w.loop, UINT64_C(3600) * 1000000), 0);
	ck_assert_uint_eq(t.n, 1);
	told_remove(&t);
	wait_until(start + 20000);
	wait_until(start + 40000);
	ck_assert_uint_lt(loop_clock_usec() - start, 3600 * UINT64_C(1000000));
	/* Nor does what was due, and is not any more. */
	ck_assert_int_eq(loop_wait(&w.loop, 0), 0);
}
END_TEST

/* --- relays --- */

static void
assert_reads(int fd, const char *text)
{
	char buffer[64] = "";
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t got;

		ck_assert(turn_until_readable(fd));
		got = recv(fd, buffer + n, sizeof(buffer) - 1 - n, MSG_DONTWAIT);
		ck_assert_int_gt(got, 0);
		n += (size_t)got;
	}
	ck_assert_str_eq(buffer, text);
}

struct ends {
	int client, kept, server;
};

static void
ends_start(struct ends *e)
{
	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	e->client = connect_client(SOCK_STREAM, &e->kept);
	e->server = accept_behind();
	assert_arrives(e->client, e->server, "hello");
	assert_arrives(e->server, e->client, "hello");
}

static void
ends_end(struct ends *e)
{
	close(e->client);
	close(e->kept);
	close(e->server);
	relays_deinit(&w.relays);
}

START_TEST(the_end_comes_with_the_last_bytes)
{
	struct ends e;

	ends_start(&e);
	ck_assert_int_eq(send(e.client, "last", 4, MSG_NOSIGNAL), 4);
	shutdown(e.client, SHUT_WR);
	assert_reads(e.server, "last");
	assert_end(e.server);
	ck_assert_int_eq(send(e.server, "too", 3, MSG_NOSIGNAL), 3);
	shutdown(e.server, SHUT_WR);
	assert_reads(e.client, "too");
	assert_end(e.client);
	ends_end(&e);
}
END_TEST

/* A piece ends before what is urgent, which a relay does not pass on. */
START_TEST(urgent_data_holds_nothing_up)
{
	struct ends e;

	ends_start(&e);
	ck_assert_int_eq(send(e.client, "a", 1, MSG_NOSIGNAL), 1);
	if (send(e.client, "!", 1, MSG_NOSIGNAL | MSG_OOB) < 0)
		ck_assert_int_eq(errno, EOPNOTSUPP);
	ck_assert_int_eq(send(e.client, "b", 1, MSG_NOSIGNAL), 1);
	assert_reads(e.server, "ab");
	ends_end(&e);
}
END_TEST

/* Each writer's bytes would be a piece, where the kernel has to tell who they are from. */
START_TEST(many_writers_hold_nothing_up)
{
	int client[2], on = 1;
	cleanup_close int kept = -1, server = -1;
	pid_t pid;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, client), 0);
	ck_assert_int_eq(setsockopt(client[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	kept = fd_dup(client[1]);
	relays_add(&w.relays, client[1], &(struct capc_caller){.label = "init/app"});
	server = accept_behind();
	assert_arrives(client[0], server, "hello");
	ck_assert_int_eq(send(client[0], "a", 1, MSG_NOSIGNAL), 1);
	pid = fork();
	if (pid == 0)
		_exit(send(client[0], "b", 1, MSG_NOSIGNAL) != 1);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	assert_reads(server, "ab");
	close(client[0]);
	relays_deinit(&w.relays);
}
END_TEST

static int
connect_roomy(void *data, int client_fd, uid_t uid, gid_t gid)
{
	int fd = backend_connect(w.path, SOCK_STREAM), room = 2 * MANY;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)), 0);
	return fd;
}

/* More than a relay moves at once, before it looks after the others. */
START_TEST(what_is_left_for_later_is_not_forgotten)
{
	cleanup_free char *block = calloc(1, MANY);
	int room = 2 * MANY;
	size_t received = 0;
	struct ends e;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){.connect = connect_roomy});
	e.client = connect_client(SOCK_STREAM, &e.kept);
	e.server = accept_behind();
	ck_assert_int_eq(setsockopt(e.client, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)), 0);
	ck_assert_int_eq(send(e.client, block, MANY, MSG_DONTWAIT | MSG_NOSIGNAL), MANY);
	turn();
	while (received < MANY) {
		ssize_t n;

		ck_assert(turn_until_readable(e.server));
		n = recv(e.server, block, MANY, MSG_DONTWAIT);
		ck_assert_int_gt(n, 0);
		received += (size_t)n;
	}
	ends_end(&e);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("relay-edges");
	TCase *c = tcase_create("relay-edges");

	tcase_add_checked_fixture(c, relay_setup, relay_teardown);
	tcase_set_timeout(c, 30);
	tcase_add_test(c, who_is_late_runs_after_the_others);
	tcase_add_test(c, an_edge_is_told_again_when_asked_for);
	tcase_add_test(c, a_round_ends_in_time);
	tcase_add_test(c, the_end_comes_with_the_last_bytes);
	tcase_add_test(c, urgent_data_holds_nothing_up);
	tcase_add_test(c, many_writers_hold_nothing_up);
	if (geteuid() == 0)
		tcase_add_test(c, what_is_left_for_later_is_not_forgotten);
	else
		fixture_skip("what_is_left_for_later_is_not_forgotten", "only root gets a buffer of that size");
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
