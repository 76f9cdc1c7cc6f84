/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Callers that wait for a server to come. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "capfsd/listeners/endpoint.h"
#include "capfsd/process/watch.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

/* entrypoints/web, for whose server N callers may wait. */
static int
serve_holding(int control, const char *how)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", how, &a), 0);
	return a.fd;
}

START_TEST(C24_callers_wait_for_a_server)
{
	int control = world_control(&w, root()), channel, clients[104], late;
	struct entrypoint *e;
	uint64_t last = 0;
	char byte;

	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "once hold=1", &a),
		EINVAL);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web",
				 "mode=listen hold=1", &a),
		EINVAL);
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "hold=4097", &a), EINVAL);
	root()->record.limit.n[QUOTA_INFLIGHT] = 500;
	channel = serve_holding(control, "hold=102");
	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	e = capability_entrypoint(web());
	world_close(&w, channel);
	world_settle(&w);
	for (unsigned i = 0; i < 102; i++) {
		byte = (char)i;
		clients[i] = world_connect(&w, &web()->entity);
		ck_assert_int_ge(clients[i], 0);
		ck_assert_int_eq(send(clients[i], &byte, 1, 0), 1);
		world_settle(&w);
	}
	ck_assert(world_has_event(&w, "wait session=init entrypoint=web waiting=1 hold=102"));
	ck_assert_uint_eq(endpoint_n_queued(e), 102);
	ck_assert_uint_eq(e->n_waiting, 102);
	/* One more is told so at once; one that leaves makes room. */
	late = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert(world_is_over(late));
	ck_assert(world_has_event(&w, "EDQUOT: as many as may wait for its server already do"));
	recv(clients[50], &byte, 1, MSG_DONTWAIT);
	late = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert(world_is_over(late));

	/* The broker dies, twice; then a server comes, and gets them in their order. */
	world_settle_for(&w, 30000);
	world_restart(&w);
	world_restart(&w);
	e = capability_entrypoint(web());
	ck_assert_uint_eq(endpoint_n_queued(e), 102);
	channel = serve_holding(control, "hold=200");
	ck_assert_uint_eq(endpoint_n_queued(e), 0);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_uint_gt(h.m.serial, last);
		last = h.m.serial;
		ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
		ck_assert_int_eq(byte, (char)i);
		world_take(&w, channel, last);
	}
	/* It dies: whom it has, or may have, goes with it; the others wait on, behind them new ones. */
	clients[102] = world_connect(&w, &web()->entity);
	world_settle(&w);
	world_close(&w, channel);
	world_settle(&w);
	for (unsigned i = 0; i < 28; i++)
		ck_assert(world_is_over(clients[i]));
	for (unsigned i = 28; i < 103; i++)
		ck_assert(!world_is_over(clients[i]));
	ck_assert_uint_eq(endpoint_n_queued(e), 75);
	clients[103] = world_connect(&w, &web()->entity);
	byte = 103;
	ck_assert_int_eq(send(clients[102], "f", 1, 0), 1);
	ck_assert_int_eq(send(clients[103], &byte, 1, 0), 1);
	world_settle_for(&w, 30000);
	world_restart(&w);
	e = capability_entrypoint(web());
	ck_assert_uint_eq(endpoint_n_queued(e), 76);
	channel = serve_holding(control, "");
	last = 0;
	for (unsigned i = 28; i < 104; i++) {
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_uint_gt(h.m.serial, last);
		last = h.m.serial;
		ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
		ck_assert_int_eq(byte, i == 102 ? 'f' : (char)i);
		world_take(&w, channel, last);
		world_close(&w, h.fd);
	}
	ck_assert_uint_eq(e->n_waiting, 0);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
	/* That one did not say that they may wait. */
	world_close(&w, channel);
	world_settle(&w);
	ck_assert(world_is_over(clients[103]));
	ck_assert_int_eq(world_want(&w, &web()->entity), ECONNREFUSED);
}
END_TEST

/* As many wait as may, of whom one has left who has not been looked at since. */
START_TEST(who_has_left_makes_room_for_who_waits)
{
	int control = world_control(&w, root()), channel = serve_holding(control, "hold=1"), client;

	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	world_close(&w, channel);
	world_settle(&w);
	for (unsigned i = 0; i < 20; i++) {
		client = world_connect(&w, &web()->entity);
		ck_assert_int_ge(client, 0);
		world_settle(&w);
		ck_assert_uint_eq(endpoint_n_queued(capability_entrypoint(web())), 1);
		/* As when others are served: what may be late wakes nobody. */
		watches_delay(w.sockets->watches);
		watches_delay(w.sockets->watches);
		world_close(&w, client);
	}
	ck_assert(!world_has_event(&w, "refused connect"));
}
END_TEST

START_TEST(who_waits_can_be_revoked)
{
	int control = world_control(&w, root()), channel = serve_holding(control, "hold=4"), client;
	struct session *app;

	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app conns=1", &a),
		0);
	app = session_find(w.model, root(), "app", 3);
	world_close(&w, channel);
	world_settle(&w);
	client = world_connect(&w, &world_slot(&w, app, "web")->entity);
	world_settle(&w);
	/* Limits count while one waits, and over the control socket as well. */
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/web", "", &a), EDQUOT);
	ck_assert(!world_is_over(client));
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/revoke", "1", &a), 0);
	ck_assert(world_is_over(client));
	ck_assert_uint_eq(endpoint_n_queued(capability_entrypoint(web())), 0);
	/* One that leaves without a word is forgotten. */
	client = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert_uint_eq(endpoint_n_queued(capability_entrypoint(web())), 1);
	world_close(&w, client);
	world_settle(&w);
	ck_assert_uint_eq(endpoint_n_queued(capability_entrypoint(web())), 0);
	/* The end of the entrypoint is that of the waiting. */
	client = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "entrypoints/web", "", &a), 0);
	ck_assert(world_is_over(client));
}
END_TEST

START_TEST(served_once_or_not_at_all)
{
	int control = world_control(&w, root()), channel = serve_holding(control, "hold=9"), client;
	char byte;

	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	client = world_connect(&w, &web()->entity);
	ck_assert_int_eq(send(client, "xy", 2, 0), 2);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
	/* The server has read of it, and dies with the broker before it could say so. */
	world_kill(&w);
	world_close(&w, h.fd);
	world_close(&w, channel);
	world_start(&w);
	world_settle(&w);
	ck_assert(world_is_over(client));
	channel = serve_holding(control, "hold=9");
	ck_assert(!world_handed(&w, channel, &h));
}
END_TEST

/* The session `app`, that has so much, with the slots of these names. */
static struct session *
client_of(int control, const char *quota, const char *const *slots)
{
	char path[64];

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", quota, &a), 0);
	for (; *slots; slots++) {
		snprintf(path, sizeof(path), "caps/%s/grant", *slots);
		ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, path, "to=app", &a), 0);
	}
	return session_find(w.model, root(), "app", 3);
}

static int
connect_to(struct session *s, const char *slot)
{
	int fd = world_connect(&w, &world_slot(&w, s, slot)->entity);

	ck_assert_int_ge(fd, 0);
	world_settle(&w);
	return fd;
}

/* Somebody who connects to SLOT of S now is served by the server of CHANNEL. */
static void
is_served(struct session *s, const char *slot, int channel)
{
	int client = connect_to(s, slot);

	ck_assert(!world_is_over(client));
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	world_close(&w, h.fd);
	world_close(&w, client);
	world_settle(&w);
}

START_TEST(P24_clients_that_left_a_hung_service_cost_nothing)
{
	int control = world_control(&w, root()), client;
	int hung = world_serve(&w, control, "hung", "stream");
	int kv = world_serve(&w, control, "kv", "stream");
	struct session *app = client_of(control,
		"caps=16 sockets=64 threads=1 ram=128K inflight=64",
		(const char *const[]){"hung", "kv", NULL});
	char text[4];

	for (unsigned i = 0; i < 100; i++) {
		client = connect_to(app, "hung");
		(void)send(client, "GET", 3, MSG_NOSIGNAL);
		world_close(&w, client);
		world_settle(&w);
	}
	/* What is in flight has nobody who could be charged for it. */
	ck_assert_uint_eq(app->used.n[QUOTA_INFLIGHT], 0);
	ck_assert_uint_le(app->used.n[QUOTA_SOCKETS], 64 / 4 + 1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "sessions/app/events", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "refused connect session=init/app slot=hung"));
	is_served(app, "kv", kv);
	/* Over the death of a broker too. */
	world_settle_for(&w, 30000);
	world_restart(&w);
	app = session_find(w.model, root(), "app", 3);
	is_served(app, "kv", kv);
	/* What was kept is what a server that wakes reads. */
	ck_assert(world_handed(&w, hung, &h));
	ck_assert_int_eq(recv(h.fd, text, sizeof(text), MSG_DONTWAIT), 3);
	ck_assert_int_eq(recv(h.fd, text, sizeof(text), MSG_DONTWAIT), 0);
}
END_TEST

START_TEST(P24_clients_that_wait_for_hung_services_leave_room)
{
	static const char *const slots[] = {"h0", "h1", "h2", "kv", NULL};
	int control = world_control(&w, root()), kv = -1;
	struct session *app;

	for (unsigned i = 0; slots[i]; i++)
		kv = world_serve(&w, control, slots[i], "stream");
	app = client_of(control, "caps=16 sockets=64 threads=1 ram=128K inflight=64", slots);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 0; n < 40; n++)
			(void)connect_to(app, slots[i]);
	ck_assert_uint_le(app->used.n[QUOTA_INFLIGHT], 62);
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "sessions/app/events", "", &a), 0);
	ck_assert_ptr_nonnull(
		strstr(a.text, "EDQUOT: as many as may wait for its server already do"));
	is_served(app, "kv", kv);
	world_settle_for(&w, 30000);
	world_restart(&w);
	is_served(session_find(w.model, root(), "app", 3), "kv", kv);
}
END_TEST

/* So many of 40 that connect to "hung" of S get in. */
static unsigned
crowd(struct session *s)
{
	int clients[40];
	unsigned n = 0;

	for (unsigned i = 0; i < 40; i++)
		clients[i] = connect_to(s, "hung");
	for (unsigned i = 0; i < 40; i++)
		n += !world_is_over(clients[i]);
	return n;
}

START_TEST(P24_what_was_only_looked_at_takes_no_room)
{
	static const char *const hung[] = {"hung", NULL};
	int control = world_control(&w, root()), kv;
	struct session *one, *two;
	unsigned n;

	world_serve(&w, control, "hung", "stream");
	kv = world_serve(&w, control, "kv", "stream");
	one = client_of(control, "caps=32 sockets=48 threads=1 ram=128K inflight=64", hung);
	n = crowd(one);
	ck_assert_uint_ge(n, 16);
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/app", "", &a), 0);
	world_settle(&w);
	two = client_of(control, "caps=32 sockets=48 threads=1 ram=128K inflight=64", hung);
	for (unsigned i = 0; i < 20; i++) {
		char command[32];

		snprintf(command, sizeof(command), "to=app as=k%u", i);
		ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/kv/grant", command, &a), 0);
		snprintf(command, sizeof(command), "k%u", i);
		is_served(two, command, kv);
	}
	ck_assert_uint_ge(two->used.n[QUOTA_SOCKETS], 20);
	ck_assert_uint_eq(crowd(two), n);
}
END_TEST

START_TEST(P24_who_cannot_pay_holds_nobody_up)
{
	int control = world_control(&w, root()), poor, behind;
	int hung = world_serve(&w, control, "hung", "stream");
	int kv = world_serve(&w, control, "kv", "stream");
	struct session *app = client_of(control, "caps=8 sockets=16 threads=1 ram=128K inflight=2",
		(const char *const[]){"hung", "kv", NULL});
	uint64_t first;

	(void)hung;
	for (unsigned i = 0; i < 8; i++)
		(void)connect_to(root(), "kv");
	poor = connect_to(app, "kv");
	behind = connect_to(root(), "kv");
	(void)connect_to(app, "hung");
	ck_assert_uint_eq(app->used.n[QUOTA_INFLIGHT], 2);
	/* Its turn comes, and all that its session may have in flight is at a service that hangs. */
	ck_assert(world_handed(&w, kv, &h));
	first = h.m.serial;
	world_take(&w, kv, first);
	world_settle_for(&w, 30000);
	ck_assert(world_is_over(poor));
	ck_assert(!world_is_over(behind));
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "sessions/app/events", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "refused connect session=init/app slot=kv"));
	for (unsigned i = 1; i < 8; i++)
		ck_assert(world_handed(&w, kv, &h));
	ck_assert(world_handed(&w, kv, &h));
	ck_assert_uint_eq(h.m.serial, first + 9);
	/* Over the control socket the reason comes at once, with the account. */
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/kv", "", &a), EDQUOT);
	ck_assert_ptr_nonnull(strstr(a.text, "inflight"));
	/* One in flight through the same slot is waited for. */
	poor = connect_to(app, "hung");
	ck_assert(!world_is_over(poor));
	ck_assert(world_handed(&w, hung, &h));
	ck_assert(!world_handed(&w, hung, &h));
	world_take(&w, hung, h.m.serial);
	ck_assert(world_handed(&w, hung, &h));
	ck_assert(!world_is_over(poor));
}
END_TEST

/* What it waits for another server does not know of, and would take what it says for a client's words. */
START_TEST(who_waits_for_another_connection_waits_for_one_server)
{
	int control = world_control(&w, root()), channel, clients[9], other;
	char byte;

	root()->record.limit.n[QUOTA_INFLIGHT] = 500;
	channel = serve_holding(control, "aside hold=10");
	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	for (unsigned i = 0; i < 9; i++) {
		ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "aside", &a), 0);
		ck_assert_str_eq(a.text, "aside");
		clients[i] = a.fd;
	}
	/* All others are as ever. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), 0);
	ck_assert_str_eq(a.text, "");
	other = a.fd;
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "besides", &a), EINVAL);
	ck_assert(world_handed(&w, channel, &h));
	ck_assert(h.m.aside && h.m.rights == capability_rights(web()));
	if (_i > 0)
		world_restart(&w);
	/* Eight were sent, the ninth waits, and goes back to where it waits for the next. */
	world_close(&w, channel);
	world_settle(&w);
	ck_assert(world_is_over(clients[0]));
	channel = serve_holding(control, "hold=10");
	world_settle(&w);
	ck_assert(world_is_over(clients[8]));
	if (_i == 0) {
		ck_assert(world_handed(&w, channel, &h));
		ck_assert(!h.m.aside);
		ck_assert_int_eq(send(other, "x", 1, 0), 1);
		ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
	}
	/* Where nobody can step aside nobody is promised it. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "aside", &a), 0);
	ck_assert_str_eq(a.text, "");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("queue");
	TCase *t = tcase_create("queue");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, C24_callers_wait_for_a_server);
	tcase_add_test(t, who_has_left_makes_room_for_who_waits);
	tcase_add_test(t, who_waits_can_be_revoked);
	tcase_add_test(t, served_once_or_not_at_all);
	tcase_add_test(t, P24_clients_that_left_a_hung_service_cost_nothing);
	tcase_add_test(t, P24_clients_that_wait_for_hung_services_leave_room);
	tcase_add_test(t, P24_what_was_only_looked_at_takes_no_room);
	tcase_add_test(t, P24_who_cannot_pay_holds_nobody_up);
	tcase_add_loop_test(t, who_waits_for_another_connection_waits_for_one_server, 0, 2);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
