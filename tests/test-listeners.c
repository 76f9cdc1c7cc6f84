/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners: those lent to servers, and those that are given back when idle. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/msg.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/connect.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

/* The listener of LISTENER, or -1; the refusal is in *ret_error. */
static int
lent(int channel, struct wire_listener *ret)
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	size_t n_fds;
	int fd = -1;
	ssize_t n = msg_receive(channel, buffer, sizeof(buffer), &fd, 1, &n_fds, MSG_DONTWAIT);

	*ret = (struct wire_listener){};
	if (n <= 0)
		return -1;
	ck_assert_int_eq(wire_listener_decode(buffer, (size_t)n, ret), 0);
	return n_fds > 0 ? world_own(&w, fd) : -1;
}

static int
serve_listening(int *ret_control)
{
	*ret_control = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, *ret_control, WIRE_ATTACH, "entrypoints/web", "mode=listen",
				 &a),
		0);
	return a.fd;
}

static int
connect_listener(int listener)
{
	struct sockaddr_un address;
	socklen_t n = sizeof(address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &n), 0);
	if (connect(fd, (struct sockaddr *)&address, n) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return world_own(&w, fd);
}

START_TEST(lends_listeners)
{
	int control, channel = serve_listening(&control), listener, client, served;
	unsigned sockets = (unsigned)root()->used.n[QUOTA_SOCKETS];
	struct wire_listener m;

	ck_assert_int_eq(lent(channel, &m), -1);
	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	world_settle_for(&w, 20000);
	listener = lent(channel, &m);
	ck_assert_int_ge(listener, 0);
	ck_assert_uint_eq(m.key, 7);
	ck_assert_uint_eq(m.badge, capability_object(web())->record.badge);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], sockets + 1);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 1);
	world_take(&w, channel, m.badge);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
	ck_assert_uint_eq(w.sockets->n_inflight, 0);
	/* Whoever adds it again gets no second one. */
	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	world_settle_for(&w, 20000);
	ck_assert_int_eq(lent(channel, &m), -1);

	client = connect_listener(listener);
	ck_assert_int_ge(client, 0);
	world_settle(&w);
	served = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(served, 0);
	world_own(&w, served);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), EOPNOTSUPP);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), EBUSY);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/x", "mode=no", &a), EINVAL);

	/* Its server goes, and keeps the listener: that is good for nothing, and who waited knows. */
	client = connect_listener(listener);
	world_close(&w, channel);
	world_settle(&w);
	ck_assert(world_is_over(client));
	ck_assert_int_eq(connect_listener(listener), -ECONNREFUSED);
	ck_assert_int_eq(world_want(&w, &capability_object(web())->entity), ECONNREFUSED);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], sockets - 1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), EEXIST);
	/* The next one gets another, for what is there already. */
	channel = serve_listening(&(int){0});
	world_settle_for(&w, 20000);
	ck_assert_int_ge(lent(channel, &m), 0);
	ck_assert_uint_eq(m.badge, capability_object(web())->record.badge);
}
END_TEST

START_TEST(lent_listeners_survive)
{
	int control, channel = serve_listening(&control), listener, again;
	struct wire_listener m;

	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	world_settle_for(&w, 20000);
	listener = lent(channel, &m);
	for (unsigned i = 0; i < 3; i++) {
		unsigned bound = w.n_bound;

		if (i < 2)
			world_take(&w, channel, m.badge);
		world_restart(&w);
		world_settle_for(&w, 20000);
		ck_assert_uint_eq(w.n_bound, bound);
		/* The same one, offered again. */
		again = lent(channel, &m);
		ck_assert_int_ge(again, 0);
		ck_assert_uint_eq(m.badge, capability_object(web())->record.badge);
		world_close(&w, again);
		ck_assert_int_eq(lent(channel, &m), -1);
		m.badge = capability_object(web())->record.badge;
		ck_assert_int_ge(connect_listener(listener), 0);
	}
	/* One that was never bound, since its broker died. */
	w.binder_lazy = true;
	ck_assert_int_eq(add_web(control, "key=8 as=two socket=stream"), 0);
	world_take(&w, channel, m.badge);
	world_kill(&w);
	w.binder_lazy = false;
	world_start(&w);
	world_settle_for(&w, 20000);
	while ((again = lent(channel, &m)) >= 0 && m.key != 8)
		;
	ck_assert_int_ge(again, 0);
	/* The end of an object is that of its listener, whoever has it. */
	ck_assert_int_eq(add_web(control, "remove=1"), 0);
	ck_assert_int_eq(connect_listener(listener), -ECONNREFUSED);
	ck_assert_int_ge(connect_listener(again), 0);
}
END_TEST

START_TEST(lends_within_quota)
{
	int control = world_control(&w, root()), app_control, channel;
	struct wire_listener m;
	struct session *app;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app",
				 "sockets=3 threads=1 ram=64K inflight=1 caps=4", &a),
		0);
	app = session_find(w.model, root(), "app", 3);
	app_control = world_control(&w, app);
	/* Its control listener, its client, the channel: no socket is left. */
	ck_assert_int_eq(
		world_ask(&w, app_control, WIRE_ATTACH, "entrypoints/web", "mode=listen", &a), 0);
	channel = a.fd;
	ck_assert_int_eq(world_ask(&w, app_control, WIRE_WRITE, "entrypoints/web/objects",
				 "key=1 as=web socket=stream", &a),
		0);
	world_settle_for(&w, 20000);
	ck_assert_int_eq(lent(channel, &m), -1);
	ck_assert_uint_eq(m.error, EDQUOT);
	ck_assert_uint_eq(m.key, 1);
	ck_assert(world_has_event(&w, "refused listen session=init/app entrypoint=web key=1 EDQUOT"));
	ck_assert_uint_eq(quota_free(app, QUOTA_SOCKETS), 0);
}
END_TEST

START_TEST(binder_dies)
{
	int control, channel = serve_web(&control);

	(void)channel;
	w.binder_lazy = true;
	binding_want(w.sockets, &web()->entity);
	world_settle(&w);
	ck_assert(!binding_is_ready(w.sockets, &web()->entity));
	w.binder_lazy = false;
	world_binder(&w);
	world_settle(&w);
	ck_assert(binding_is_ready(w.sockets, &web()->entity));
	ck_assert_int_eq(w.done_error, 0);
	/* One whose job a dead broker gave: the listener comes all the same. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	w.binder_lazy = true;
	binding_want(w.sockets, &session_find(w.model, root(), "app", 3)->entity);
	w.binder_lazy = false;
	world_settle(&w);
	ck_assert(binding_is_ready(w.sockets, &session_find(w.model, root(), "app", 3)->entity));
}
END_TEST

/*
 * What a broker asked of the binder, which outlives it, is not asked again by the next one: of two
 * listeners on one inode the second is for a moment bound without listening, and refuses who comes.
 */
START_TEST(P14_jobs_of_a_dead_broker_are_done_first)
{
	int control, channel = serve_web(&control);
	unsigned bound = w.n_bound;

	(void)channel;
	w.binder_lazy = true;
	binding_want(w.sockets, &web()->entity);
	world_settle(&w);
	world_restart(&w);
	/* The kernel sends the look-up again. */
	binding_want(w.sockets, &web()->entity);
	world_settle(&w);
	w.binder_lazy = false;
	world_settle(&w);
	ck_assert(binding_is_ready(w.sockets, &web()->entity));
	ck_assert_int_eq(w.done_error, 0);
	ck_assert_uint_eq(w.n_bound, bound + 1);
	/* From here on it is asked again. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_want(&w, &session_find(w.model, root(), "app", 3)->entity), 0);
	ck_assert_uint_eq(w.n_bound, bound + 2);
}
END_TEST

/* The next one does not take a listener for one that its predecessor had shut down already. */
START_TEST(P14_killed_while_a_listener_is_closed)
{
	int control, channel = serve_web(&control), client;

	ck_assert_int_eq(world_want(&w, &web()->entity), 0);
	client = world_connect(&w, &web()->entity);
	shutdown(listener_find(&web()->entity)->fd, SHUT_RDWR);
	world_kill(&w);
	world_start(&w);
	ck_assert(!binding_is_ready(w.sockets, &web()->entity));
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	ck_assert(!world_is_over(client));
	ck_assert_int_eq(world_want(&w, &web()->entity), 0);
	ck_assert_int_ge(world_connect(&w, &web()->entity), 0);
}
END_TEST

/* A job that the old binder OLD has not done yet; the new one is there already, and is RET. */
static int
replace_binder_at_work(int *ret_old)
{
	w.binder_lazy = true;
	binding_want(w.sockets, &web()->entity);
	world_settle(&w);
	*ret_old = w.binder;
	w.binder = -1;
	world_binder(&w);
	world_settle(&w);
	return w.binder;
}

static bool
has_job(int binder)
{
	struct binder_job job;

	return recv(binder, &job, sizeof(job), MSG_DONTWAIT | MSG_PEEK) == sizeof(job);
}

/* Two binders at one job: clients would come to the listener of the one that nobody listens to. */
START_TEST(P14_a_binder_that_is_replaced_ends_its_jobs)
{
	int control, channel = serve_web(&control), old, new = replace_binder_at_work(&old);

	(void)channel;
	ck_assert(has_job(old) && !has_job(new));
	w.binder_lazy = false;
	w.binder = old;
	world_settle(&w);
	ck_assert(binding_is_ready(w.sockets, &web()->entity));
	/* Told that no more comes, it ends. */
	ck_assert_int_eq(recv(old, &(char){0}, 1, MSG_DONTWAIT), 0);
	world_close(&w, old);
	w.binder = new;
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	binding_want(w.sockets, &session_find(w.model, root(), "app", 3)->entity);
	world_settle(&w);
	ck_assert(binding_is_ready(w.sockets, &session_find(w.model, root(), "app", 3)->entity));
}
END_TEST

START_TEST(P14_a_binder_that_does_not_end_is_left)
{
	int control, channel = serve_web(&control), old, new = replace_binder_at_work(&old);

	(void)channel;
	world_settle_for(&w, 2500000);
	ck_assert(has_job(new));
	w.binder_lazy = false;
	world_settle(&w);
	ck_assert(binding_is_ready(w.sockets, &web()->entity));
	world_close(&w, old);
}
END_TEST

static int going; /* a server's channel; -1: none, or it has gone */
static uint64_t (*clock_of_turns)(void);

static uint64_t
go_meanwhile(void)
{
	if (going >= 0)
		going = world_close(&w, going);
	return clock_of_turns();
}

/* Somebody connects, and finds no room; when it is looked for what others have left the server has gone, too. */
START_TEST(a_server_goes_while_room_is_made)
{
	int control, channel = serve_web(&control);
	struct capability *slot;
	int clients[2];
	char byte;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "sockets=8 inflight=8", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app rights=call conns=1", &a), 0);
	slot = world_slot(&w, session_find(w.model, root(), "app", 3), "web");
	clients[0] = world_connect(&w, &slot->entity);
	ck_assert_int_ge(clients[0], 0);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	watches_delay(w.sockets->watches);
	watches_delay(w.sockets->watches);
	clients[1] = world_connect(&w, &slot->entity);
	ck_assert_int_ge(clients[1], 0);
	going = channel;
	clock_of_turns = w.sockets->turns->now_nsec;
	w.sockets->turns->now_nsec = go_meanwhile;
	world_settle(&w);
	w.sockets->turns->now_nsec = clock_of_turns;
	ck_assert_int_lt(going, 0);
	ck_assert_ptr_null(listener_find(&slot->entity));
	ck_assert_int_eq(recv(clients[1], &byte, 1, MSG_DONTWAIT), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("listeners");
	TCase *t = tcase_create("listeners");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, lends_listeners);
	tcase_add_test(t, lent_listeners_survive);
	tcase_add_test(t, lends_within_quota);
	tcase_add_test(t, binder_dies);
	tcase_add_test(t, a_server_goes_while_room_is_made);
	tcase_add_test(t, P14_jobs_of_a_dead_broker_are_done_first);
	tcase_add_test(t, P14_killed_while_a_listener_is_closed);
	tcase_add_test(t, P14_a_binder_that_is_replaced_ends_its_jobs);
	tcase_add_test(t, P14_a_binder_that_does_not_end_is_left);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
