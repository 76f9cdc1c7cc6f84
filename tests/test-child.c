/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process per connection, without a daemon: the tests hand over one end of a socket pair, keep a
 * duplicate of it as the daemon does, and run the rounds of the loop.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "helpers/child.h"
#include "helpers/peer.h"
#include "tests/fixture.h"
#include "tests/peers.h"

#define TURN_USEC 10000
#define WAIT_MSEC 30000 /* a process is slow to begin where many others do */

/* Rounds until it is so; a test looks afterwards whether it is. */
#define TURN_UNTIL(condition)                                                                      \
	for (uint64_t end = clock_msec(CLOCK_MONOTONIC) + WAIT_MSEC;                               \
		!(condition) && clock_msec(CLOCK_MONOTONIC) < end;)                                \
	turn_children()

struct world {
	struct loop loop;
	struct service service; /* attached to nothing */
	struct children children;
	struct source signals;
};

static struct world w;

static void
setup(void)
{
	fixture_setup();
	w = (struct world){};
	ck_assert_int_eq(loop_init(&w.loop), 0);
	w.service = (struct service){.loop = &w.loop, .name = "test"};
	w.service.source.fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(loop_add(&w.loop, &w.service.source, EPOLLIN), 0);
}

static void
teardown(void)
{
	loop_remove(&w.loop, &w.service.source);
	close(w.service.source.fd);
	loop_deinit(&w.loop);
	fixture_teardown();
}

static const struct capc_caller caller = {
	.badge = 0x4c,
	.uid = 1000,
	.pidfd = -1,
	.label = "init/app",
};

static void
reap(struct source *source, uint32_t events)
{
	struct signalfd_siginfo info;

	while (read(source->fd, &info, sizeof(info)) > 0)
		children_reap(&w.children);
}

static void
start_children(char **command, uint64_t max)
{
	children_init(&w.children, &w.loop, &w.service, command, max);
	w.signals.run = reap;
	ck_assert_int_eq(loop_add_signals(&w.loop, &w.signals, &(int){SIGCHLD}, 1), 0);
}

static int
connect_child(int *ret_kept)
{
	int fds[2];

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, fds), 0);
	*ret_kept = fd_dup(fds[1]);
	children_add(&w.children, fds[1], &caller);
	return fds[0];
}

static void
turn_children(void)
{
	ck_assert_int_eq(loop_wait(&w.loop, TURN_USEC), 0);
	children_tend(&w.children);
}

static bool
is_hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

/* A process that was just forked has the client's end, too, until it runs its program. */
static void
leave(int client, int kept)
{
	close(client);
	TURN_UNTIL(is_hung_up(kept));
	ck_assert(is_hung_up(kept));
	turn_children();
	close(kept);
}

static ssize_t
read_all(int fd, char *buffer, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;

	for (uint64_t end = clock_msec(CLOCK_MONOTONIC) + WAIT_MSEC;
		n < size && clock_msec(CLOCK_MONOTONIC) < end;) {
		ssize_t got;

		turn_children();
		if (poll(&p, 1, 0) != 1)
			continue;
		got = recv(fd, buffer + n, size - n, MSG_DONTWAIT);
		if (got <= 0) {
			buffer[n] = '\0';
			return (ssize_t)n;
		}
		n += (size_t)got;
	}
	return -1;
}

START_TEST(child_has_the_connection_and_is_told_who)
{
	char *command[] = {(char[]){"/bin/sh"}, (char[]){"-c"},
		(char[]){"echo $CAPFS_PEER_UID $CAPFS_PEER_LABEL $CAPFS_BADGE; ls /proc/self/fd; "
			 "cat"},
		NULL};
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	char buffer[256];

	start_children(command, 4);
	client = connect_child(&kept);
	send(client, "data\n", 5, MSG_NOSIGNAL);
	shutdown(client, SHUT_WR);
	ck_assert_int_gt(read_all(client, buffer, sizeof(buffer) - 1), 0);
	/* The 3 is the directory that ls(1) reads. */
	ck_assert_str_eq(buffer, "1000 init/app 0x4c\n0\n1\n2\n3\ndata\n");
	ck_assert_uint_eq(w.children.n, 0);
	children_deinit(&w.children);
}
END_TEST

START_TEST(child_that_is_not_there_ends_the_connection)
{
	char *command[] = {(char[]){"/nonexistent/program"}, NULL};
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	char buffer[16];

	start_children(command, 4);
	client = connect_child(&kept);
	ck_assert_int_eq(read_all(client, buffer, sizeof(buffer) - 1), 0);
	children_deinit(&w.children);
}
END_TEST

START_TEST(children_are_limited)
{
	char *command[] = {(char[]){"/bin/cat"}, NULL};
	int kept[3], clients[3];
	char buffer[16];

	start_children(command, 2);
	for (int i = 0; i < 3; i++) {
		clients[i] = connect_child(&kept[i]);
		send(clients[i], "x", 1, MSG_NOSIGNAL);
	}
	ck_assert_uint_eq(w.children.n, 2);
	ck_assert(!list_empty(&w.children.waiting));
	ck_assert(!w.service.source.added);
	for (int i = 0; i < 3; i++) {
		shutdown(clients[i], SHUT_WR);
		ck_assert_int_eq(read_all(clients[i], buffer, sizeof(buffer) - 1), 1);
	}
	ck_assert_uint_eq(w.children.n, 0);
	ck_assert(w.service.source.added);
	for (int i = 0; i < 3; i++) {
		close(clients[i]);
		close(kept[i]);
	}
	children_deinit(&w.children);
}
END_TEST

START_TEST(child_of_a_revoked_connection_is_ended)
{
	char *command[] = {(char[]){"/bin/sleep"}, (char[]){"60"}, NULL};
	cleanup_close int kept = -1;
	cleanup_close int client = -1;

	start_children(command, 2);
	client = connect_child(&kept);
	turn_children();
	shutdown(kept, SHUT_RDWR);
	TURN_UNTIL(w.children.n == 0);
	ck_assert_uint_eq(w.children.n, 0);
	children_deinit(&w.children);
}
END_TEST

START_TEST(child_whose_client_left_finishes)
{
	char *command[] = {(char[]){"/bin/sleep"}, (char[]){"60"}, NULL};
	int kept, client;

	start_children(command, 2);
	client = connect_child(&kept);
	turn_children();
	close(client);
	for (int i = 0; i < 20; i++)
		turn_children();
	ck_assert_uint_eq(w.children.n, 1);
	close(kept);
	children_stop(&w.children);
	ck_assert_uint_eq(w.children.n, 0);
	children_deinit(&w.children);
}
END_TEST

START_TEST(child_whose_client_shut_down_and_left_finishes)
{
	char *command[] = {(char[]){"/bin/sleep"}, (char[]){"60"}, NULL};
	int kept, client;

	start_children(command, 2);
	client = connect_child(&kept);
	turn_children();
	shutdown(client, SHUT_RDWR);
	for (int i = 0; i < 3; i++)
		turn_children();
	close(client);
	close(kept);
	for (int i = 0; i < 20; i++)
		turn_children();
	ck_assert_uint_eq(w.children.n, 1);
	ck_assert_uint_eq(w.children.n_suspects, 0);
	ck_assert(list_empty(&w.children.ending));
	children_stop(&w.children);
	children_deinit(&w.children);
}
END_TEST

/* The pid that a child has written. */
static pid_t
read_pid(int fd)
{
	char buffer[32] = "";

	TURN_UNTIL(recv(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT) > 0);
	return atoi(buffer);
}

START_TEST(all_of_a_group_is_ended)
{
	char *command[] = {(char[]){"/bin/sh"}, (char[]){"-c"},
		(char[]){"trap '' HUP; sleep 60 & trap - HUP; echo $!; sleep 60"}, NULL};
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	pid_t pid;

	start_children(command, 2);
	client = connect_child(&kept);
	pid = read_pid(client);
	ck_assert_int_gt(pid, 0);
	shutdown(kept, SHUT_RDWR);
	for (int i = 0; i < 20; i++)
		turn_children();
	ck_assert_int_eq(kill(pid, 0), 0);
	ck_assert_uint_eq(w.children.n, 1);
	for (int i = 0; i < 600 && w.children.n > 0; i++)
		turn_children();
	ck_assert_uint_eq(w.children.n, 0);
	for (int i = 0; i < 20; i++)
		turn_children();
	ck_assert_int_eq(kill(pid, 0), -1);
	children_deinit(&w.children);
}
END_TEST

START_TEST(processes_without_clients_are_bounded)
{
	char *command[] = {(char[]){"/bin/sh"}, (char[]){"-c"},
		(char[]){"trap '' PIPE; echo $$ 2>/dev/null; exec sleep 60"}, NULL};
	int kept, client;
	pid_t pid = 0;

	start_children(command, 64);
	for (int i = 0; i < 20; i++) {
		client = connect_child(&kept);
		if (i == 0)
			pid = read_pid(client);
		leave(client, kept);
		ck_assert_uint_le(w.children.n, 4);
	}
	ck_assert_uint_eq(w.children.n, 4);
	ck_assert(w.service.source.added);
	/* One that stays has its turn. */
	client = connect_child(&kept);
	turn_children();
	ck_assert_uint_eq(w.children.n_held, 1);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	TURN_UNTIL(w.children.n_held == 0);
	ck_assert_uint_eq(w.children.n, 4);
	ck_assert_uint_eq(w.children.n_held, 0);
	close(client);
	close(kept);
	children_stop(&w.children);
	children_deinit(&w.children);
}
END_TEST

/* What its client has sent is not lost because it did not wait; but there is an end to it. */
START_TEST(clients_that_only_send_are_served)
{
	char *command[] = {(char[]){"/bin/sh"}, (char[]){"-c"},
		(char[]){"read path; until [ -e $path ]; do sleep 0.05; done; echo >>$path"}, NULL};
	char directory[FIXTURE_PATH], path[FIXTURE_PATH + 8], text[FIXTURE_PATH + 16];
	int fd, kept, client;
	struct stat st;

	fixture_directory(directory);
	snprintf(path, sizeof(path), "%s/go", directory);
	snprintf(text, sizeof(text), "%s\n", path);
	start_children(command, 64);
	for (int i = 0; i < 30; i++) {
		client = connect_child(&kept);
		ck_assert_int_eq(send(client, text, strlen(text), 0), (ssize_t)strlen(text));
		leave(client, kept);
	}
	ck_assert_uint_eq(w.children.n, 4);
	ck_assert_uint_eq(w.children.n_held, 16);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	TURN_UNTIL(fstat(fd, &st) < 0 || st.st_size >= 20);
	ck_assert_int_eq(st.st_size, 20);
	close(fd);
	fixture_remove(directory);
	children_stop(&w.children);
	children_deinit(&w.children);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("child");
	TCase *c = tcase_create("child");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 4 * WAIT_MSEC / 1000);
	tcase_add_test(c, child_has_the_connection_and_is_told_who);
	tcase_add_test(c, child_that_is_not_there_ends_the_connection);
	tcase_add_test(c, children_are_limited);
	if (peers_are_known())
		tcase_add_test(c, child_of_a_revoked_connection_is_ended);
	else
		fixture_skip("child_of_a_revoked_connection_is_ended", "no sock_diag");
	if (peers_are_known())
		tcase_add_test(c, all_of_a_group_is_ended);
	else
		fixture_skip("all_of_a_group_is_ended", "no sock_diag");
	tcase_add_test(c, child_whose_client_left_finishes);
	tcase_add_test(c, child_whose_client_shut_down_and_left_finishes);
	tcase_add_test(c, processes_without_clients_are_bounded);
	tcase_add_test(c, clients_that_only_send_are_served);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
