/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Relays whose clients have left: what is still delivered, and what is not. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/peers.h"
#include "tests/relay-world.h"

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

static Suite *
suite(void)
{
	Suite *s = suite_create("relay-ends");
	TCase *c = tcase_create("relay");

	tcase_add_checked_fixture(c, relay_setup, relay_teardown);
	tcase_set_timeout(c, 30);
	tcase_add_test(c, relay_delivers_what_a_client_left);
	tcase_add_test(c, relay_delivers_when_both_sides_have_ended);
	tcase_add_test(c, relay_delivers_what_a_client_shut_down_and_left);
	tcase_add_test(c, relay_tells_a_server_that_its_client_left);
	tcase_add_test(c, relays_of_clients_that_left_are_bounded);
	if (peers_are_known())
		tcase_add_test(c, relay_keeps_nothing_of_a_revoked_client);
	else
		fixture_skip("relay_keeps_nothing_of_a_revoked_client", "no sock_diag");
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
