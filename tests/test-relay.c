/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P08 */
/* Relays: what they carry, what they wait for, how many there may be. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "helpers/backend.h"
#include "tests/relay-world.h"

START_TEST(relay_passes_bytes_and_ends)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_client(SOCK_STREAM, &kept);
	server = accept_behind();
	assert_arrives(client, server, "request");
	shutdown(client, SHUT_WR);
	assert_end(server);
	assert_arrives(server, client, "reply");
	shutdown(server, SHUT_RDWR);
	assert_end(client);
	turn();
	ck_assert_uint_eq(w.relays.n, 0);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(relay_ends_with_a_revocation)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_client(SOCK_STREAM, &kept);
	server = accept_behind();
	assert_arrives(client, server, "request");
	shutdown(kept, SHUT_RDWR);
	assert_end(server);
	assert_end(client);
	ck_assert_uint_eq(w.relays.n, 0);
	relays_deinit(&w.relays);
}
END_TEST

/* Sends more of a known sequence, as far as it goes. */
static void
send_more(int fd, char *block, size_t total, size_t *sent)
{
	size_t n = total - *sent < BLOCK_BYTES ? total - *sent : BLOCK_BYTES;
	ssize_t moved;

	for (size_t i = 0; i < n; i++)
		block[i] = (char)((*sent + i) * 31 / 7);
	moved = n > 0 ? send(fd, block, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	*sent += moved > 0 ? (size_t)moved : 0;
	if (*sent == total)
		shutdown(fd, SHUT_WR);
}

/* Receives some of it. Returns: whether it is what was sent. */
static bool
receive_some(int fd, char *block, size_t *received)
{
	ssize_t n = recv(fd, block, BLOCK_BYTES / 4, MSG_DONTWAIT);
	bool same = true;

	for (ssize_t i = 0; i < n; i++)
		same = same && block[i] == (char)((*received + (size_t)i) * 31 / 7);
	*received += n > 0 ? (size_t)n : 0;
	return same;
}

/*
 * Neither side's slowness makes the relay hold more than a buffer, and nothing is lost: where its end may get
 * descriptors with what comes, where it may not, and in the other direction.
 */
START_TEST(relay_holds_back)
{
	const size_t total = 2 << 20;
	cleanup_free char *block = malloc(BLOCK_BYTES);
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;
	size_t sent = 0, received = 0;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_client(SOCK_STREAM, &kept);
	if (_i > 0)
		(void)fd_refuse_descriptors(kept);
	server = accept_behind();
	if (_i == 2) {
		int was = client;

		client = server;
		server = was;
	}
	while (received < total) {
		send_more(client, block, total, &sent);
		turn();
		/* What lies in the sockets' buffers and in one of the relay's. */
		ck_assert_uint_lt(sent - received, 1 << 20);
		ck_assert(receive_some(server, block, &received));
	}
	assert_end(server);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(P08_relay_refuses_descriptors)
{
	int type = _i ? SOCK_SEQPACKET : SOCK_STREAM;

	for (int i = 0; i < 2; i++) {
		cleanup_close int kept = -1;
		cleanup_close int client = -1;
		cleanup_close int server = -1;

		if (i == 0)
			listen_behind(type, 5);
		start_relays(&(struct relays_options){.seqpacket = _i});
		client = connect_client(type, &kept);
		server = accept_behind();
		/* Where the kernel has them refused, the server is told. */
		if (i && msg_send(server, "x", 1, &w.listener, 1, 0) == -EPERM) {
			assert_arrives(server, client, "y");
		} else {
			if (!i)
				ck_assert_int_eq(msg_send(client, "x", 1, &w.listener, 1, 0), 1);
			assert_end(i ? client : server);
			ck_assert_uint_eq(w.relays.n, 0);
		}
		relays_deinit(&w.relays);
	}
}
END_TEST

START_TEST(relay_without_a_server_ends)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;

	start_relays(&(struct relays_options){});
	client = connect_client(SOCK_STREAM, &kept);
	assert_end(client);
	turn();
	ck_assert(list_empty(&w.relays.dead));
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(relay_waits_for_a_full_backlog)
{
	enum { N = 4 };
	int kept[N], clients[N], servers[N];

	listen_behind(SOCK_STREAM, 0);
	start_relays(&(struct relays_options){});
	for (int i = 0; i < N; i++)
		clients[i] = connect_client(SOCK_STREAM, &kept[i]);
	turn();
	ck_assert(!list_empty(&w.relays.connecting));
	for (int i = 0; i < N; i++)
		servers[i] = accept_behind();
	for (int i = 0; i < N; i++)
		assert_arrives(clients[i], servers[i], "hello");
	relays_deinit(&w.relays);
	for (int i = 0; i < N; i++) {
		assert_end(clients[i]);
		close(clients[i]);
		close(kept[i]);
		close(servers[i]);
	}
}
END_TEST

START_TEST(relay_ends_when_idle)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){.idle_usec = 200000});
	client = connect_client(SOCK_STREAM, &kept);
	server = accept_behind();
	assert_arrives(client, server, "request");
	ck_assert_uint_eq(w.relays.n, 1);
	assert_end(client);
	assert_end(server);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(relay_keeps_packets)
{
	cleanup_free char *block = calloc(1, 150000);
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	listen_behind(SOCK_SEQPACKET, 5);
	start_relays(&(struct relays_options){.seqpacket = true});
	client = connect_client(SOCK_SEQPACKET, &kept);
	server = accept_behind();
	ck_assert_int_eq(send(client, "", 0, MSG_NOSIGNAL), 0);
	ck_assert_int_eq(send(client, block, 150000, MSG_NOSIGNAL), 150000);
	ck_assert(turn_until_readable(server));
	ck_assert_int_eq(recv(server, block, 150000, MSG_DONTWAIT), 0);
	ck_assert(turn_until_readable(server));
	ck_assert_int_eq(recv(server, block, 150000, MSG_DONTWAIT), 150000);
	shutdown(client, SHUT_WR);
	assert_end(server);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(relay_keeps_packets_behind_empty_ones)
{
	static const char *const packets[] = {"a", "", "b"};
	cleanup_close int server = -1;
	char buffer[8];
	int kept, client;

	listen_behind(SOCK_SEQPACKET, 5);
	start_relays(&(struct relays_options){.seqpacket = true});
	client = connect_client(SOCK_SEQPACKET, &kept);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(send(client, packets[i], strlen(packets[i]), MSG_NOSIGNAL),
			(ssize_t)strlen(packets[i]));
	close(client);
	close(kept);
	server = accept_behind();
	for (int i = 0; i < 3; i++) {
		ck_assert(turn_until_readable(server));
		ck_assert_int_eq(recv(server, buffer, sizeof(buffer), MSG_DONTWAIT),
			(ssize_t)strlen(packets[i]));
	}
	turn();
	ck_assert_uint_eq(w.relays.n, 0);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(relays_are_limited)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){.max = 1});
	client = connect_client(SOCK_STREAM, &kept);
	ck_assert(!w.service.source.added);
	shutdown(client, SHUT_RDWR);
	for (int i = 0; i < TURNS_MAX && w.relays.n > 0; i++)
		turn();
	ck_assert(w.service.source.added);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(a_look_at_the_server_disturbs_nobody)
{
	struct pollfd p = {.events = POLLIN};

	ck_assert_int_eq(backend_look("/none/there", SOCK_STREAM), -ENOENT);
	listen_behind(SOCK_STREAM, 5);
	ck_assert_int_eq(backend_look(w.path, SOCK_STREAM), 0);
	p.fd = w.listener;
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	ck_assert_int_eq(backend_look(w.path, SOCK_SEQPACKET), -EPROTOTYPE);
	w.listener = fd_close(w.listener);
	ck_assert_int_eq(backend_look(w.path, SOCK_STREAM), -ECONNREFUSED);
}
END_TEST

START_TEST(exposure_goes_by_modes)
{
	listen_behind(SOCK_STREAM, 5);
	ck_assert(!backend_is_exposed(w.path));
	chmod(w.path, 0666);
	ck_assert(!backend_is_exposed(w.path)); /* mkdtemp(3) makes a directory of mode 0700 */
	chmod(w.directory, 0711);
	ck_assert(backend_is_exposed(w.path));
	ck_assert(!backend_is_exposed("/nonexistent/socket"));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("relay");
	TCase *c = tcase_create("relay");

	tcase_add_checked_fixture(c, relay_setup, relay_teardown);
	tcase_set_timeout(c, 30);
	tcase_add_test(c, relay_passes_bytes_and_ends);
	tcase_add_test(c, relay_ends_with_a_revocation);
	tcase_add_loop_test(c, relay_holds_back, 0, 3);
	tcase_add_loop_test(c, P08_relay_refuses_descriptors, 0, 2);
	tcase_add_test(c, relay_without_a_server_ends);
	tcase_add_test(c, relay_waits_for_a_full_backlog);
	tcase_add_test(c, relay_ends_when_idle);
	tcase_add_test(c, relay_keeps_packets);
	tcase_add_test(c, relay_keeps_packets_behind_empty_ones);
	tcase_add_test(c, relays_are_limited);
	tcase_add_test(c, a_look_at_the_server_disturbs_nobody);
	tcase_add_test(c, exposure_goes_by_modes);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
