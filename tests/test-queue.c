/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Callers that wait for a server to come. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <sys/socket.h>

#include "capfsd/sockets/endpoint.h"
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

int
main(void)
{
	Suite *s = suite_create("queue");
	TCase *t = tcase_create("queue");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, C24_callers_wait_for_a_server);
	tcase_add_test(t, who_waits_can_be_revoked);
	tcase_add_test(t, served_once_or_not_at_all);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
