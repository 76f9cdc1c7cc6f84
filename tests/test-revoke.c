/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A slot with many connections is revoked: they end one after the other, and others are served between them. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <sys/resource.h>

#include "capfsd/listeners/doomed.h"
#include "capfsd/listeners/listener.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

#define MANY 1000
#define SLOTS 700 /* more than twice what is looked at at once */
#define AT_ONCE 2 /* ends in one round of the broker's loop */

static int clients[MANY];
static int slots[SLOTS];

/* caps/many, below caps/web, with N connections: some were its server's, which has gone, and the others wait for the next. */
static struct capability *
fill(int control, int *ret_channel, int n)
{
	struct rlimit limit;
	struct capability *c;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	root()->record.limit.n[QUOTA_SOCKETS] = root()->record.limit.n[QUOTA_INFLIGHT] = 3 * MANY;
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "hold=1000", &a), 0);
	*ret_channel = a.fd;
	ck_assert_int_eq(add_web(control, "key=7 as=web"), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/replicate", "as=many", &a), 0);
	c = world_slot(&w, root(), "many");
	for (int i = 0; i < n; i++) {
		clients[i] = world_connect(&w, &c->entity);
		ck_assert_int_ge(clients[i], 0);
		if (i == n / 2) {
			*ret_channel = world_close(&w, *ret_channel);
			world_settle(&w);
		}
		if (i % 20 == 0 || i == n - 1)
			world_settle(&w);
	}
	return c;
}

static int
count_over(int n)
{
	int over = 0;

	for (int i = 0; i < n; i++)
		over += world_is_over(clients[i]);
	return over;
}

/* What the broker's loop does in a round, but for the removal. */
static void
turn_round(void)
{
	ck_assert_int_ge(sd_event_run(w.event, 0), 0);
	for (int n = 0; n < AT_ONCE && listeners_are_doomed(w.sockets); n++)
		listeners_end_one(w.sockets);
}

/* Whoever asks in each round has his answer soon, and the one who revokes when the last has ended. */
START_TEST(many_connections_end_between_the_requests_of_others)
{
	int control = world_control(&w, root()), other = world_control(&w, root()), channel, n_alive, n_rounds = 0;
	int n_answered = 0;
	uint64_t serial = 2000000;
	struct capability *c = fill(control, &channel, MANY);
	uint32_t before;

	n_alive = MANY - count_over(MANY);
	ck_assert_int_ge(n_alive, MANY / 3);
	ck_assert_uint_eq(c->conns_used, (uint32_t)n_alive);
	world_send(control, WIRE_WRITE, 1000001, "caps/web/revoke", "1");
	for (int i = 0; i < 100 && !listeners_are_doomed(w.sockets); i++)
		ck_assert_int_ge(sd_event_run(w.event, 10000), 0);
	ck_assert(listeners_are_doomed(w.sockets));
	ck_assert(listeners_are_crowded(w.sockets));
	/* None has ended by that alone, and who comes is refused. */
	ck_assert_uint_eq(c->conns_used, (uint32_t)n_alive);
	world_send(other, WIRE_READ, serial++, "caps/web/info", "");
	for (; listeners_are_doomed(w.sockets); n_rounds++) {
		before = c->conns_used;
		turn_round();
		if (!listeners_are_doomed(w.sockets))
			break;
		ck_assert_uint_le(before - c->conns_used, AT_ONCE);
		ck_assert_uint_ge(c->conns_used, 1);
		ck_assert(!world_reply(&w, control, &a));
		if (world_reply(&w, other, &a)) {
			n_answered++;
			ck_assert_uint_eq(a.m.error, 0);
			world_send(other, WIRE_READ, serial++, "caps/web/info", "");
		}
	}
	ck_assert_int_ge(n_rounds, n_alive / AT_ONCE - 1);
	ck_assert_int_ge(n_answered, n_rounds / 4);
	ck_assert(!listeners_are_crowded(w.sockets));
	ck_assert_int_eq(count_over(MANY), MANY);
	world_settle(&w);
	ck_assert(world_reply(&w, control, &a));
	ck_assert_uint_eq(a.m.serial, 1000001);
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_ptr_null(world_slot(&w, root(), "many"));
}
END_TEST

/* Most of a crowd, and it is none any more: what is left may end with the slot. */
START_TEST(a_crowd_ends_before_its_slot)
{
	int control = world_control(&w, root()), channel;
	struct capability *c = fill(control, &channel, 12);
	struct change *ch = change_begin(w.model);

	ck_assert_uint_ge(c->conns_used, 5);
	ck_assert_int_eq(capability_end(ch, c), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	while (listeners_are_crowded(w.sockets))
		listeners_end_one(w.sockets);
	ck_assert(listeners_are_doomed(w.sockets));
	ck_assert_uint_le(c->conns_used, 4);
	while (model_reap(w.model, 64) > 0)
		;
	ck_assert(!listeners_are_doomed(w.sockets));
	ck_assert_int_eq(count_over(12), 12);
	ck_assert_ptr_null(world_slot(&w, root(), "many"));
}
END_TEST

/* Clients leave by themselves, the slot goes while there is a crowd, the broker dies: nothing is left of any of it. */
START_TEST(a_crowd_that_goes_otherwise)
{
	int control = world_control(&w, root()), channel;
	struct capability *c = fill(control, &channel, 12);
	struct change *ch = change_begin(w.model);
	uint64_t used = root()->used.n[QUOTA_SOCKETS];

	ck_assert_uint_ge(c->conns_used, 5);
	ck_assert_int_eq(capability_end(ch, c), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	for (int i = 0; i < 3; i++)
		listeners_end_one(w.sockets);
	ck_assert(listeners_are_crowded(w.sockets));
	if (_i == 0)
		while (model_reap(w.model, 64) > 0)
			;
	if (_i == 1)
		for (int i = 0; i < 12; i++)
			clients[i] = world_close(&w, clients[i]);
	if (_i == 2)
		world_restart(&w);
	world_settle(&w);
	ck_assert(!listeners_are_doomed(w.sockets));
	ck_assert(!listeners_are_crowded(w.sockets));
	ck_assert_ptr_null(world_slot(&w, root(), "many"));
	ck_assert(_i == 1 || count_over(12) == 12);
	ck_assert_uint_lt(root()->used.n[QUOTA_SOCKETS], used);
	model_check(w.model);
}
END_TEST

/* How many listeners are known to end. */
static int
count_doomed(void)
{
	int n = 0;

	list_for_each (i, &w.sockets->listeners->doomed)
		n++;
	return n;
}

/*
 * More slots than are looked at by whoever revokes: who has listeners is found a few at a time, and nothing is removed
 * before that. What they were derived from goes on.
 */
START_TEST(many_listeners_are_found_between_the_requests_of_others)
{
	int control = world_control(&w, root()), channel, before;
	struct capability *c = fill(control, &channel, 1);
	struct change *ch;

	root()->record.limit.n[QUOTA_CAPS] += SLOTS;
	for (int i = 0; i < SLOTS; i++) {
		char text[32];

		snprintf(text, sizeof(text), "as=s%d", i);
		ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/many/replicate", text, &a), 0);
		slots[i] = world_connect(&w, &world_slot(&w, root(), text + 3)->entity);
		ck_assert_int_ge(slots[i], 0);
		if (i % 20 == 0)
			world_settle(&w);
	}
	world_settle(&w);
	ch = change_begin(w.model);
	ck_assert_int_eq(capability_end_children(ch, c), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	before = count_doomed();
	ck_assert_int_lt(before, SLOTS / 2);
	while (listeners_are_crowded(w.sockets)) {
		int doomed;

		turn_round();
		doomed = count_doomed();
		ck_assert_int_le(doomed - before, 32 * AT_ONCE);
		before = doomed;
	}
	while (listeners_are_doomed(w.sockets))
		turn_round();
	for (int i = 0; i < SLOTS; i++)
		ck_assert(world_is_over(slots[i]));
	world_settle(&w);
	ck_assert(!world_is_over(clients[0]));
	ck_assert_ptr_null(world_slot(&w, root(), "s0"));
	model_check(w.model);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("revoke");
	TCase *t = tcase_create("revoke");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, many_connections_end_between_the_requests_of_others);
	tcase_add_test(t, a_crowd_ends_before_its_slot);
	tcase_add_test(t, many_listeners_are_found_between_the_requests_of_others);
	tcase_add_loop_test(t, a_crowd_that_goes_otherwise, 0, 3);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
