/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P08 */
/*
 * Relays without a daemon: the tests hand over one end of a socket pair, keep a duplicate of it as
 * the daemon does, and run the rounds of the loop.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "helpers/backend.h"
#include "helpers/peer.h"
#include "helpers/relay.h"
#include "tests/fixture.h"
#include "tests/peers.h"

#define TURN_USEC 10000
#define TURNS_MAX 300
#define BLOCK_BYTES 65536

struct world {
	char directory[FIXTURE_PATH];
	char path[FIXTURE_PATH + 16]; /* of the server behind */
	int listener;
	struct loop loop;
	struct service service; /* attached to nothing */
	struct relays relays;
};

static struct world w;

static void
setup(void)
{
	fixture_setup();
	w = (struct world){.listener = -1};
	fixture_directory(w.directory);
	snprintf(w.path, sizeof(w.path), "%s/socket", w.directory);
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
	fd_close(w.listener);
	fixture_remove(w.directory);
	fixture_teardown();
}

static void
listen_behind(int type, int backlog)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	strcpy(a.sun_path, w.path);
	w.listener = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(w.listener, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(chmod(w.path, 0600), 0);
	ck_assert_int_eq(listen(w.listener, backlog), 0);
}

static void
start_relays(const struct relays_options *o)
{
	struct relays_options options = *o;

	options.path = w.path;
	options.max = o->max ? o->max : 100;
	ck_assert_int_eq(relays_init(&w.relays, &w.loop, &w.service, &options), 0);
}

static void
turn(void)
{
	uint64_t timeout = relays_timeout(&w.relays);

	ck_assert_int_eq(loop_wait(&w.loop, timeout < TURN_USEC ? timeout : TURN_USEC), 0);
	relays_tend(&w.relays);
}

/* Runs rounds until FD has something to read, or its end. */
static bool
turn_until_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (int i = 0; i < TURNS_MAX; i++) {
		if (poll(&p, 1, 0) == 1)
			return true;
		turn();
	}
	return false;
}

/* A client's end; *RET_KEPT is the daemon's duplicate of the other one. */
static int
connect_client(int type, int *ret_kept)
{
	int fds[2];

	ck_assert_int_eq(fd_socketpair(type, fds), 0);
	*ret_kept = fd_dup(fds[1]);
	relays_add(&w.relays, fds[1], "init/app");
	return fds[0];
}

static int
accept_behind(void)
{
	int fd;

	ck_assert(turn_until_readable(w.listener));
	fd = accept4(w.listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void
assert_end(int fd)
{
	char byte;

	ck_assert(turn_until_readable(fd));
	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

static void
assert_arrives(int from, int to, const char *text)
{
	char buffer[64] = "";

	ck_assert_int_eq(send(from, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	ck_assert(turn_until_readable(to));
	ck_assert_int_eq(recv(to, buffer, sizeof(buffer) - 1, MSG_DONTWAIT), (ssize_t)strlen(text));
	ck_assert_str_eq(buffer, text);
}

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

/* Neither side's slowness makes the relay hold more than a buffer, and nothing is lost. */
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
	server = accept_behind();
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

START_TEST(relay_delivers_what_a_client_left)
{
	cleanup_free char *block = calloc(1, 150000);
	int kept, client;
	cleanup_close int server = -1;
	size_t received = 0;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_client(SOCK_STREAM, &kept);
	ck_assert_int_eq(send(client, block, 150000, MSG_NOSIGNAL), 150000);
	close(client);
	close(kept);
	server = accept_behind();
	while (turn_until_readable(server)) {
		ssize_t n = recv(server, block, 150000, MSG_DONTWAIT);

		if (n <= 0)
			break;
		received += (size_t)n;
	}
	ck_assert_uint_eq(received, 150000);
	turn();
	ck_assert_uint_eq(w.relays.n, 0);
	relays_deinit(&w.relays);
}
END_TEST

/* Both have said all they have to say; the client is there, and its words are under way. */
START_TEST(relay_delivers_when_both_sides_have_ended)
{
	cleanup_free char *block = calloc(1, 400000);
	int kept, client;
	cleanup_close int server = -1;
	size_t sent = 0, received = 0;
	ssize_t n;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_client(SOCK_STREAM, &kept);
	server = accept_behind();
	shutdown(server, SHUT_WR);
	turn();
	while (sent < 400000) {
		n = send(client, block, 400000 - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		else if ((n = recv(server, block, 4096, MSG_DONTWAIT)) > 0)
			received += (size_t)n;
		turn();
	}
	shutdown(client, SHUT_WR);
	turn();
	while (turn_until_readable(server) && (n = recv(server, block, 4096, MSG_DONTWAIT)) > 0)
		received += (size_t)n;
	ck_assert_uint_eq(received, 400000);
	close(client);
	close(kept);
	relays_deinit(&w.relays);
}
END_TEST

/* A client that sends until nothing goes any more to a server that reads nothing. */
static int
connect_full_client(int *ret_kept, int *ret_server)
{
	static char block[BLOCK_BYTES];
	int client = connect_client(SOCK_STREAM, ret_kept), n_full = 0;

	*ret_server = accept_behind();
	while (n_full < 3) {
		n_full = send(client, block, sizeof(block), MSG_DONTWAIT) < 0 ? n_full + 1 : 0;
		turn();
	}
	return client;
}

START_TEST(relay_tells_a_server_that_its_client_left)
{
	cleanup_close int server = -1;
	int kept, client;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_full_client(&kept, &server);
	close(client);
	close(kept);
	for (int i = 0; i < 3; i++)
		turn();
	ck_assert_uint_eq(w.relays.n, 1);
	ck_assert_int_eq(send(server, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	relays_deinit(&w.relays);
}
END_TEST

START_TEST(relays_of_clients_that_left_are_bounded)
{
	enum { N = 20 };
	int servers[N];

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	for (int i = 0; i < N; i++) {
		int kept, client = connect_full_client(&kept, &servers[i]);

		close(client);
		close(kept);
		for (int j = 0; j < 3; j++)
			turn();
		ck_assert_uint_le(w.relays.n, 8);
	}
	ck_assert_uint_eq(w.relays.n, 8);
	relays_deinit(&w.relays);
	for (int i = 0; i < N; i++)
		close(servers[i]);
}
END_TEST

START_TEST(relay_keeps_nothing_of_a_revoked_client)
{
	cleanup_close int kept = -1;
	cleanup_close int client = -1;
	cleanup_close int server = -1;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_full_client(&kept, &server);
	shutdown(kept, SHUT_RDWR);
	for (int i = 0; i < TURNS_MAX && w.relays.n > 0; i++)
		turn();
	ck_assert_uint_eq(w.relays.n, 0);
	relays_deinit(&w.relays);
}
END_TEST

/* Which for a moment looks like a revocation. */
START_TEST(relay_delivers_what_a_client_shut_down_and_left)
{
	static char block[BLOCK_BYTES];
	cleanup_close int server = -1;
	int kept, client;
	ssize_t n;

	listen_behind(SOCK_STREAM, 5);
	start_relays(&(struct relays_options){});
	client = connect_full_client(&kept, &server);
	shutdown(client, SHUT_RDWR);
	for (int i = 0; i < 3; i++)
		turn();
	close(client);
	close(kept);
	/* All of it, and then the end: the rest of the relay's own buffer came last. */
	while (recv(server, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	ck_assert(turn_until_readable(server));
	ck_assert_int_gt(recv(server, block, sizeof(block), MSG_DONTWAIT), 0);
	do {
		ck_assert(turn_until_readable(server));
		n = recv(server, block, sizeof(block), MSG_DONTWAIT);
	} while (n > 0);
	ck_assert_int_eq(n, 0);
	turn();
	ck_assert_uint_eq(w.relays.n, 0);
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
		ck_assert_int_eq(msg_send(i ? server : client, "x", 1, &w.listener, 1, 0), 1);
		assert_end(i ? client : server);
		ck_assert_uint_eq(w.relays.n, 0);
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

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 30);
	tcase_add_test(c, relay_passes_bytes_and_ends);
	tcase_add_test(c, relay_ends_with_a_revocation);
	tcase_add_test(c, relay_holds_back);
	tcase_add_test(c, relay_delivers_what_a_client_left);
	tcase_add_test(c, relay_delivers_when_both_sides_have_ended);
	tcase_add_test(c, relay_delivers_what_a_client_shut_down_and_left);
	tcase_add_test(c, relay_tells_a_server_that_its_client_left);
	tcase_add_test(c, relays_of_clients_that_left_are_bounded);
	if (peers_are_known())
		tcase_add_test(c, relay_keeps_nothing_of_a_revoked_client);
	else
		fixture_skip("relay_keeps_nothing_of_a_revoked_client", "no sock_diag");
	tcase_add_loop_test(c, P08_relay_refuses_descriptors, 0, 2);
	tcase_add_test(c, relay_without_a_server_ends);
	tcase_add_test(c, relay_waits_for_a_full_backlog);
	tcase_add_test(c, relay_ends_when_idle);
	tcase_add_test(c, relay_keeps_packets);
	tcase_add_test(c, relay_keeps_packets_behind_empty_ones);
	tcase_add_test(c, relays_are_limited);
	tcase_add_test(c, exposure_goes_by_modes);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
