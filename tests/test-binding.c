/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners come and go: idle ones, held ones, and those who wait at one that goes. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capfsd/listeners/listener.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/connection.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

static unsigned
count_retiring(void)
{
	unsigned n = 0;

	list_for_each (i, &w.sockets->listeners->by_state[LISTENER_RETIRING])
		n++;
	return n;
}

START_TEST(gives_idle_listeners_back)
{
	int control = world_control(&w, root()), client;
	struct entity *e[4];
	unsigned bound;
	char name[32];

	w.sockets->n_idle_max = 2;
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "sessions/s%u", i);
		ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, name, "", &a), 0);
		e[i] = &session_find(w.model, root(), name + 9, 2)->entity;
		ck_assert_int_eq(world_want(&w, e[i]), 0);
	}
	ck_assert_uint_eq(w.n_invalidated, 2);
	ck_assert(!binding_is_ready(w.sockets, e[0]) && !binding_is_ready(w.sockets, e[1]));
	ck_assert(binding_is_ready(w.sockets, e[2]) && binding_is_ready(w.sockets, e[3]));
	/* One is looked up again in time; then the next is the oldest. */
	ck_assert_int_eq(world_want(&w, e[0]), 0);
	ck_assert(binding_is_ready(w.sockets, e[0]));
	ck_assert(!binding_is_ready(w.sockets, e[2]));
	ck_assert_uint_eq(w.n_bound, 5);
	for (unsigned i = 0; i < 300 && listener_find(e[2])->state != LISTENER_CLOSED; i++)
		world_settle_for(&w, 10000);
	ck_assert_uint_eq(w.sockets->listeners->n, 5);
	binding_forgotten(w.sockets, e[1]->id);
	binding_forgotten(w.sockets, e[2]->id);
	ck_assert_uint_eq(w.sockets->listeners->n, 3);
	bound = w.n_bound;
	world_settle_for(&w, 150000);
	ck_assert_uint_eq(w.n_bound, bound);

	/* One that is not forgotten is held: bound again. */
	ck_assert_int_eq(world_want(&w, e[1]), 0);
	client = world_connect(&w, e[0]);
	for (unsigned i = 0; i < 300 && w.n_bound < bound + 2; i++)
		world_settle_for(&w, 10000);
	ck_assert_uint_eq(w.n_bound, bound + 2);
	ck_assert(!world_is_over(client));
}
END_TEST

static bool
comes_to_be_bound(struct entity *e)
{
	for (unsigned i = 0; i < 300 && !binding_is_ready(w.sockets, e); i++)
		world_settle_for(&w, 10000);
	return binding_is_ready(w.sockets, e);
}

/* A name that is held, as by a bind mount, is not looked up when the next server has come. */
START_TEST(P33_a_held_name_is_bound_for_the_next_server)
{
	int control, channel = serve_web(&control), c;
	struct session *app;
	struct entity *held, *other;
	unsigned bound;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "sockets=2", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app as=held", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app as=other", &a), 0);
	held = &world_slot(&w, app, "held")->entity;
	other = &world_slot(&w, app, "other")->entity;
	ck_assert_int_eq(world_want(&w, held), 0);
	world_close(&w, channel);
	world_settle(&w);
	ck_assert(!binding_is_ready(w.sockets, held));
	/* The kernel has neither by now. */
	bound = w.n_bound;
	channel = world_serve(&w, control, "web", "stream");
	world_settle_for(&w, 200000);
	ck_assert_uint_eq(w.n_bound, bound);
	world_close(&w, channel);
	world_settle(&w);

	w.known_id = held->id;
	channel = world_serve(&w, control, "web", "stream");
	ck_assert(comes_to_be_bound(held));
	ck_assert_uint_eq(w.n_bound, bound + 1);
	world_close(&w, channel);
	world_settle(&w);
	/* It is forgotten in time, as what was only looked at. */
	channel = world_serve(&w, control, "web", "stream");
	world_settle(&w);
	binding_forgotten(w.sockets, held->id);
	world_settle_for(&w, 200000);
	ck_assert_ptr_null(listener_find(held));
	world_close(&w, channel);
	world_settle(&w);

	/* Where nothing is left to pay with it is bound as soon as there is. */
	channel = world_serve(&w, control, "web", "stream");
	w.known_id = 0;
	c = world_connect(&w, other);
	world_settle(&w);
	ck_assert(!world_is_over(c));
	world_close(&w, channel);
	world_settle(&w);
	w.known_id = held->id;
	ck_assert_int_eq(world_want(&w, &app->entity), 0);
	c = world_connect(&w, &app->entity);
	world_settle(&w);
	ck_assert_uint_eq(quota_free(app, QUOTA_SOCKETS), 0);
	world_serve(&w, control, "web", "stream");
	world_settle_for(&w, 300000);
	ck_assert_uint_eq(listener_find(held)->state, LISTENER_HELD);
	world_close(&w, c);
	ck_assert(comes_to_be_bound(held));
}
END_TEST

#define CROWD 100

/* As many as the system allows may wait there: nobody else waits until all of them are gone. */
START_TEST(is_emptied_in_turns)
{
	int control, c[CROWD];
	struct session *app;
	struct entity *e;
	uint64_t sockets;

	serve_web(&control);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	for (unsigned round = 0; round < 3; round++) {
		ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app as=s", &a), 0);
		e = &world_slot(&w, app, "s")->entity;
		ck_assert_int_eq(world_want(&w, e), 0);
		for (unsigned i = 0; i < CROWD; i++)
			c[i] = world_connect(&w, e);
		sockets = app->used.n[QUOTA_SOCKETS];
		listener_close(listener_find(e), false);
		ck_assert(!world_is_over(c[1]) && !world_is_over(c[CROWD - 1]));
		/* It is paid for as long. */
		ck_assert_uint_eq(app->used.n[QUOTA_SOCKETS], sockets);
		/* Whoever takes it over meanwhile, and whoever's it was then: they all are told. */
		if (round == 1)
			world_restart(&w);
		app = session_find(w.model, root(), "app", 3);
		control = world_control(&w, root());
		if (round == 2)
			ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/app", "", &a), 0);
		else
			ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/app/caps/s", "", &a), 0);
		world_settle(&w);
		for (unsigned i = 0; i < CROWD; i++) {
			ck_assert(world_is_over(c[i]));
			world_close(&w, c[i]);
		}
		ck_assert(list_empty(&w.sockets->draining));
	}
}
END_TEST

START_TEST(quota_of_sockets)
{
	int control = world_control(&w, root()), c;
	struct session *app;
	int fds[3];

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "sockets=2", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	/* Its control listener takes one, a client the other. */
	c = world_control(&w, app);
	ck_assert(!world_is_over(c));
	fds[0] = world_connect(&w, &app->entity);
	world_settle(&w);
	ck_assert(world_is_over(fds[0]));
	ck_assert(world_has_event(&w, "refused connect session=init/app at=control uid="));
	ck_assert(!world_is_over(c));
	world_close(&w, c);
	world_settle(&w);
	c = world_control(&w, app);
	ck_assert(!world_is_over(c));
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/none", "sockets=0", &a), 0);
	ck_assert_int_eq(world_want(&w, &session_find(w.model, root(), "none", 4)->entity), EDQUOT);
}
END_TEST

START_TEST(idle_listeners_yield_quota)
{
	int control, channel = serve_web(&control), c;
	struct session *app;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "sockets=3", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant",
					 i == 0	  ? "to=app as=s0"
					 : i == 1 ? "to=app as=s1"
						  : "to=app as=s2",
					 &a),
			0);
	}
	ck_assert_int_eq(world_want(&w, &world_slot(&w, app, "s0")->entity), 0);
	ck_assert_int_eq(world_want(&w, &world_slot(&w, app, "s1")->entity), 0);
	ck_assert_int_eq(world_want(&w, &world_slot(&w, app, "s2")->entity), 0);
	ck_assert_uint_eq(quota_free(app, QUOTA_SOCKETS), 0);
	/* All is held by sockets that were only looked at: they give way, but for the last. */
	c = world_connect(&w, &world_slot(&w, app, "s0")->entity);
	world_settle(&w);
	ck_assert(!world_is_over(c));
	/* One slot may not have all of them wait for its server. */
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	c = world_connect(&w, &world_slot(&w, app, "s0")->entity);
	world_settle(&w);
	ck_assert(!world_is_over(c));
	c = world_connect(&w, &world_slot(&w, app, "s0")->entity);
	world_settle(&w);
	ck_assert(world_is_over(c));
	ck_assert(world_has_event(&w, "refused connect session=init/app slot=s0 uid="));
}
END_TEST

/* A look-up as well: those that were only looked at give way to it, and no more than a few go on unpaid. */
START_TEST(P31_an_idle_listener_yields_to_a_look_up)
{
	int control, channel = serve_web(&control), fds[2];
	struct session *app;
	struct entity *e[40];
	struct sockaddr_un address;
	uint64_t refused = w.model->counters->connects_refused[CONNECT_E_SOCKETS];
	char how[32], event[96];

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "sockets=2 caps=64", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(how, sizeof(how), "to=app as=s%u", i);
		ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", how, &a), 0);
		e[i] = &world_slot(&w, app, how + 10)->entity;
		ck_assert_int_eq(world_want(&w, e[i]), 0);
		ck_assert(binding_is_ready(w.sockets, e[i]));
	}
	ck_assert_uint_eq(quota_free(app, QUOTA_SOCKETS), 0);
	for (unsigned i = 0; i < 22; i++)
		ck_assert_msg(!listener_find(e[i]) || listener_find(e[i])->state != LISTENER_BOUND, "%u", i);
	ck_assert_uint_eq(count_retiring(), 16);
	/* Who looked the last but one up is about to connect, and may. */
	fds[0] = world_connect(&w, e[38]);
	world_settle(&w);
	ck_assert(!world_is_over(fds[0]));
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	/* All is in use: that is said, counted, and not what is said where nobody serves. */
	ck_assert_int_eq(world_want(&w, e[3]), EDQUOT);
	world_address(&w, e[3], &address);
	fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	world_own(&w, fds[1]);
	ck_assert_int_eq(connect(fds[1], (struct sockaddr *)&address, sizeof(address)), 0);
	world_settle(&w);
	ck_assert(world_is_over(fds[1]));
	snprintf(event, sizeof(event), "refused connect session=init/app slot=s3 uid=%u EDQUOT: ",
		(unsigned)geteuid());
	ck_assert(world_has_event(&w, event));
	ck_assert_uint_eq(w.model->counters->connects_refused[CONNECT_E_SOCKETS], refused + 1);
	world_close(&w, fds[0]);
	world_close(&w, h.fd);
	world_settle(&w);
	ck_assert_int_eq(world_want(&w, e[3]), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("binding");
	TCase *t = tcase_create("binding");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, gives_idle_listeners_back);
	tcase_add_test(t, P33_a_held_name_is_bound_for_the_next_server);
	tcase_add_test(t, is_emptied_in_turns);
	tcase_add_test(t, quota_of_sockets);
	tcase_add_test(t, idle_listeners_yield_quota);
	tcase_add_test(t, P31_an_idle_listener_yields_to_a_look_up);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
