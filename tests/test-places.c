/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections of which no file is written: their records have places in the page that outlives brokers
 * (listeners/memos.h).
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/record.h"
#include "capfsd/sockets/sockets.h"
#include "capfsd/state/state.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

static int
count_connection(void *data, uint64_t key, const void *record, size_t n)
{
	struct connection_record copy;

	if (STORE_KEY_SPACE(key) != STORE_CONNECTION || n < sizeof(copy))
		return 0;
	memcpy(&copy, record, sizeof(copy));
	*(unsigned *)data += copy.kind == SOCKET_CONNECTION;
	return 0;
}

static unsigned
n_stored(void)
{
	char *reason;
	unsigned n = 0;

	ck_assert_int_eq(state_scan(w.state, count_connection, &n, &reason), 0);
	return n;
}

static unsigned
n_placed(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BOOT_PLACES; i++)
		n += w.page.places[i][0] != 0;
	return n;
}

/* Their time comes when it does: all that is waited for is that it has come. */
static void
wait_for_stored(unsigned n)
{
	for (int i = 0; i < 1000 && n_stored() != n; i++)
		world_settle_for(&w, 10000);
	ck_assert_uint_eq(n_stored(), n);
}

static int
connect_web(void)
{
	int client = world_connect(&w, &web()->entity);

	ck_assert_int_ge(client, 0);
	world_settle(&w);
	return client;
}

static void
take(int channel)
{
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	world_settle(&w);
}

START_TEST(a_connection_is_not_stored)
{
	int control, channel = serve_web(&control), client, other;
	struct handed again;
	char byte = 'x';
	int server;

	client = connect_web();
	take(channel);
	server = h.fd;
	ck_assert_int_eq(fcntl(server, F_GETFL) & O_NONBLOCK, 0);
	other = connect_web();
	world_settle_for(&w, 30000);
	ck_assert_uint_eq(n_stored(), 0);
	ck_assert_uint_eq(n_placed(), 2);
	/* Two brokers later the one is its server's still, and the other is offered by the same serial. */
	world_restart(&w);
	world_restart(&w);
	ck_assert_uint_eq(capability_entrypoint(web())->n_connections, 2);
	ck_assert(world_handed(&w, channel, &again));
	ck_assert_uint_gt(again.m.serial, h.m.serial);
	ck_assert_int_eq(send(server, &byte, 1, 0), 1);
	ck_assert_int_eq(recv(client, &byte, 1, MSG_DONTWAIT), 1);
	/* With their ends the places are free, once it is heard of them. */
	world_close(&w, client);
	world_close(&w, other);
	world_take(&w, channel, again.m.serial);
	world_settle_for(&w, 30000);
	ck_assert_uint_eq(n_placed(), 0);
	ck_assert_uint_eq(n_stored(), 0);
	ck_assert_uint_eq(capability_entrypoint(web())->n_connections, 0);
}
END_TEST

START_TEST(without_a_free_place_it_is_stored)
{
	int control, channel, client, stored;

	for (unsigned i = 1; i < BOOT_PLACES; i++)
		w.page.places[i][0] = UINT64_C(1) << 40 | i;
	world_kill(&w);
	world_start(&w);
	/* Records without a socket are nothing. */
	ck_assert_uint_eq(n_placed(), 0);
	world_kill(&w);
	memset(w.page.places, 0, sizeof(w.page.places));
	world_start(&w);
	channel = serve_web(&control);
	client = connect_web();
	take(channel);
	ck_assert_uint_eq(n_placed(), 1);
	while (n_placed() < BOOT_PLACES) {
		int fd = connect_web();

		ck_assert(!world_is_over(fd));
		take(channel);
	}
	ck_assert_uint_eq(n_stored(), 0);
	stored = connect_web();
	take(channel);
	wait_for_stored(1);
	world_restart(&w);
	ck_assert_uint_eq(capability_entrypoint(web())->n_connections, BOOT_PLACES + 1);
	world_close(&w, stored);
	world_close(&w, client);
	wait_for_stored(0);
	ck_assert_uint_eq(n_placed(), BOOT_PLACES - 1);
}
END_TEST

/* What a later binary finds that knows of no places, or one that comes in the midst of it. */
START_TEST(before_an_upgrade_all_are_stored)
{
	struct boot_page before;
	int control, channel = serve_web(&control), client = connect_web(), other;

	take(channel);
	other = connect_web();
	ck_assert_uint_eq(n_placed(), 2);
	before = w.page;
	sockets_pause(w.sockets);
	ck_assert_uint_eq(n_placed(), 0);
	ck_assert_uint_eq(n_stored(), 2);
	if (_i > 0)
		w.page = before;
	world_restart(&w);
	ck_assert_uint_eq(capability_entrypoint(web())->n_connections, 2);
	ck_assert_uint_eq(n_placed(), 0);
	ck_assert(world_handed(&w, channel, &h));
	world_close(&w, client);
	world_close(&w, other);
	world_take(&w, channel, h.m.serial);
	wait_for_stored(0);
	ck_assert_uint_eq(capability_entrypoint(web())->n_connections, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("places");
	TCase *t = tcase_create("places");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_connection_is_not_stored);
	tcase_add_test(t, without_a_free_place_it_is_stored);
	tcase_add_loop_test(t, before_an_upgrade_all_are_stored, 0, 2);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
