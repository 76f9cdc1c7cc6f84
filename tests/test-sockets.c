/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections and channels, and what is left of them by a crash. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/listener.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

START_TEST(hands_over)
{
	int control, channel = serve_web(&control), client;
	struct capability *c = web();
	char byte;

	client = world_connect(&w, &c->entity);
	ck_assert_int_ge(client, 0);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	ck_assert_uint_eq(h.m.key, 7);
	ck_assert_uint_eq(h.m.capability, c->entity.id);
	ck_assert_uint_eq(h.m.badge, capability_object(c)->record.badge);
	ck_assert_uint_eq(h.m.pid, (unsigned)getpid());
	ck_assert_str_eq(h.label, "init");
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 2);
	world_take(&w, channel, h.m.serial);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
	ck_assert_uint_eq(c->conns_used, 1);
	ck_assert_uint_eq(capability_entrypoint(c)->n_connections, 1);
	ck_assert_uint_eq(capability_entrypoint(c)->n_waiting, 0);

	ck_assert_int_eq(send(client, "x", 1, 0), 1);
	ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
	/* What the client wrote last is the server's, although the client has gone. */
	ck_assert_int_eq(send(client, "y", 1, 0), 1);
	world_close(&w, client);
	world_settle(&w);
	ck_assert_uint_eq(c->conns_used, 0);
	ck_assert_uint_eq(capability_entrypoint(c)->n_connections, 0);
	ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
	ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 0);
}
END_TEST

START_TEST(keeps_to_credit)
{
	int control, channel = serve_web(&control), clients[20];
	uint64_t last = 0;
	unsigned n = 0;

	for (size_t i = 0; i < 20; i++)
		clients[i] = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert_uint_eq(capability_entrypoint(web())->n_waiting, 20);
	/* One that waits and leaves is not offered; one that leaves after writing is. */
	ck_assert_int_eq(send(clients[18], "x", 1, 0), 1);
	world_close(&w, clients[18]);
	world_close(&w, clients[19]);
	world_settle(&w);
	ck_assert_uint_eq(capability_entrypoint(web())->n_waiting, 19);
	for (; n < 8; n++) {
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_uint_gt(h.m.serial, last);
		last = h.m.serial;
	}
	ck_assert(!world_handed(&w, channel, &h));
	for (; n < 19; n++) {
		world_take(&w, channel, last - 7);
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_uint_eq(h.m.serial, last + 1);
		last = h.m.serial;
	}
	ck_assert(!world_handed(&w, channel, &h));
}
END_TEST

START_TEST(refuses_beyond_limits)
{
	int control, channel = serve_web(&control), first, second;
	struct capability *c;
	char byte;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant",
				 "to=app rights=call conns=1", &a),
		0);
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_READ, "sessions/app/caps/web/info", "", &a), 0);
	c = (struct capability *)(void *)entity_find_name(w.model,
		session_find(w.model, root(), "app", 3)->entity.id, ENTITY_CAPABILITY, "web", 3);
	first = world_connect(&w, &c->entity);
	second = world_connect(&w, &c->entity);
	ck_assert_int_ge(second, 0);
	world_settle(&w);
	ck_assert(!world_is_over(first));
	ck_assert_int_eq(recv(second, &byte, 1, MSG_DONTWAIT), 0);
	ck_assert(world_has_event(&w, "refused connect session=init/app slot=web uid="));
	ck_assert(world_handed(&w, channel, &h));
	ck_assert_str_eq(h.label, "init/app");
	ck_assert(!world_handed(&w, channel, &h));
	/* Over the control socket the same limit is an errno. */
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/web", "", &a), EDQUOT);
	world_close(&w, first);
	world_take(&w, channel, h.m.serial);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/web", "", &a), 0);
}
END_TEST

/*
 * Who connects comes before the end of others that is told with it, unless that is what makes room: of a limit, of
 * what the session has of sockets, of what it may have in flight.
 */
START_TEST(who_has_left_makes_room)
{
	static const char *const limits[][2] = {
		{"sockets=8 inflight=8", "to=app rights=call conns=1"},
		{"sockets=2 inflight=8", "to=app rights=call"},
		{"sockets=8 inflight=2", "to=app rights=call"},
	};
	int control, channel = serve_web(&control);
	struct session *app;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", limits[_i][0], &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", limits[_i][1], &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app rights=call as=other", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	for (unsigned i = 0; i < 100; i++) {
		/* What one slot has in flight is no reason to refuse another connection through that. */
		const char *slot = _i == 2 && i % 2 ? "other" : "web";
		int client = world_connect(&w, &world_slot(&w, app, slot)->entity);
		uint8_t taken[WIRE_CHANNEL_MAX];
		ssize_t n;

		ck_assert_int_ge(client, 0);
		world_settle(&w);
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_str_eq(h.label, "init/app");
		/* As when many come one after the other: what may be late wakes nobody. */
		watches_delay(w.sockets->watches);
		watches_delay(w.sockets->watches);
		n = wire_taken_encode(h.m.serial, taken, sizeof(taken));
		ck_assert_int_eq(msg_send(channel, taken, (size_t)n, NULL, 0, 0), n);
		world_close(&w, h.fd);
		world_close(&w, client);
	}
	ck_assert(!world_has_event(&w, "refused connect"));
	world_settle_for(&w, 2 * WATCH_LATE_USEC);
	ck_assert_uint_eq(world_slot(&w, app, "web")->conns_used, 0);
}
END_TEST

START_TEST(revokes)
{
	int control, channel = serve_web(&control), client, waiting;
	struct capability *c;
	char byte;

	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app rights=call", &a), 0);
	c = (struct capability *)(void *)entity_find_name(w.model,
		session_find(w.model, root(), "app", 3)->entity.id, ENTITY_CAPABILITY, "web", 3);
	client = world_connect(&w, &c->entity);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	waiting = world_connect(&w, &c->entity);
	world_settle(&w);
	/* Read by nobody: discarded. */
	ck_assert_int_eq(send(client, "secret", 6, 0), 6);
	ck_assert_int_eq(send(h.fd, "answer", 6, 0), 6);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/revoke", "1", &a), 0);
	ck_assert(world_is_over(client));
	ck_assert(world_is_over(waiting));
	ck_assert(world_is_over(h.fd));
	ck_assert_int_eq(recv(h.fd, &byte, 1, MSG_DONTWAIT), 0);
	/* What the server had sent before is the client's. */
	ck_assert_int_eq(recv(client, &byte, 1, MSG_DONTWAIT), 1);
	ck_assert_int_eq(send(client, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_uint_eq(web()->conns_used, 0);
	/* The one that was in flight when it ended frees its credit when it is taken. */
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
}
END_TEST

START_TEST(server_dies)
{
	int control, channel = serve_web(&control), client, again;
	struct capability *c = web();
	unsigned before;
	char byte;

	client = world_connect(&w, &c->entity);
	world_settle(&w);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), EBUSY);
	before = w.n_invalidated;
	world_close(&w, channel);
	world_settle(&w);
	ck_assert_uint_gt(w.n_invalidated, before);
	ck_assert_int_eq(recv(client, &byte, 1, MSG_DONTWAIT), 0);
	ck_assert_ptr_eq(web(), c);
	ck_assert_ptr_null(capability_entrypoint(c)->thread);
	ck_assert(!binding_is_ready(w.sockets, &c->entity));
	ck_assert_int_eq(world_want(&w, &c->entity), ECONNREFUSED);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), ECONNREFUSED);
	ck_assert(world_has_event(&w, "detach session=init entrypoint=web"));

	before = w.n_invalidated;
	again = world_serve(&w, control, "web", "stream");
	ck_assert_uint_gt(w.n_invalidated, before);
	ck_assert_int_ge(world_connect(&w, &c->entity), 0);
	world_settle(&w);
	ck_assert(world_handed(&w, again, &h));
	/* Gone and back before the loop looked: no EBUSY. */
	world_close(&w, again);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "once", &a), 0);
	world_close(&w, a.fd);
	world_settle(&w);
	ck_assert_ptr_null(web());
}
END_TEST

START_TEST(G41_a_badge_that_does_not_match_is_ignored)
{
	int control, channel = serve_web(&control), other, client;
	struct object *o = capability_object(web());
	char text[64];

	other = world_serve(&w, control, "log", "stream");
	(void)other;
	/* Another entrypoint's badge, and one that there never was. */
	snprintf(text, sizeof(text), "remove=%llu",
		(unsigned long long)capability_object(world_slot(&w, root(), "log"))->record.badge);
	ck_assert_int_eq(add_web(control, text), ENOENT);
	ck_assert_int_eq(add_web(control, "remove=4711"), ENOENT);
	ck_assert_ptr_nonnull(world_slot(&w, root(), "log"));
	/* An acknowledgement of what it was not given, or of another server's. */
	client = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial + 1);
	world_take(&w, channel, UINT64_MAX);
	world_take(&w, channel, o->record.badge);
	world_take(&w, other, h.m.serial);
	ck_assert_uint_eq(o->entrypoint->n_waiting, 1);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 2);
	ck_assert(!world_is_over(channel) && !world_is_over(client));
	world_take(&w, channel, h.m.serial);
	ck_assert_uint_eq(o->entrypoint->n_waiting, 0);
	/* Twice is once. */
	world_take(&w, channel, h.m.serial);
	ck_assert_uint_eq(o->entrypoint->n_waiting, 0);
	ck_assert_uint_eq(o->entrypoint->n_connections, 1);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
}
END_TEST

START_TEST(bad_server)
{
	int control, channel = serve_web(&control);

	ck_assert_int_eq(send(channel, "junk", 4, 0), 4);
	world_settle(&w);
	ck_assert(world_is_over(channel));
	ck_assert_ptr_null(capability_entrypoint(web())->thread);
}
END_TEST

START_TEST(survives)
{
	int control, channel = serve_web(&control), taken, offered, third;
	uint64_t serial, badge;
	char byte;

	taken = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	world_close(&w, h.fd);
	offered = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_close(&w, h.fd);
	serial = h.m.serial;
	badge = h.m.badge;
	for (unsigned i = 0; i < 3; i++) {
		world_settle_for(&w, 30000);
		world_restart(&w);
		ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 2);
		ck_assert_uint_eq(web()->conns_used, 2);
		/* Offered again as it was; what was taken is not. */
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_uint_eq(h.m.serial, serial);
		ck_assert_uint_eq(h.m.badge, badge);
		ck_assert(!world_handed(&w, channel, &h));
		ck_assert(!world_is_over(taken) && !world_is_over(offered));
	}
	world_take(&w, channel, serial);
	ck_assert(binding_is_ready(w.sockets, &web()->entity));
	third = world_connect(&w, &web()->entity);
	ck_assert_int_ge(third, 0);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	ck_assert_uint_gt(h.m.serial, serial);
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/revoke", "self", &a), 0);
	ck_assert_int_eq(recv(taken, &byte, 1, MSG_DONTWAIT), 0);
	ck_assert_int_eq(recv(third, &byte, 1, MSG_DONTWAIT), 0);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], 3);
}
END_TEST

START_TEST(accepted_while_dead)
{
	int control, channel = serve_web(&control), client;

	ck_assert_int_eq(world_want(&w, &web()->entity), 0);
	/* The broker is not there: the backlog takes it. */
	client = world_connect(&w, &web()->entity);
	ck_assert_int_ge(client, 0);
	world_restart(&w);
	ck_assert(world_handed(&w, channel, &h));
	/* The server dies together with the broker. */
	world_kill(&w);
	world_close(&w, channel);
	world_start(&w);
	world_settle(&w);
	ck_assert(world_is_over(client));
	ck_assert_ptr_null(capability_entrypoint(web())->thread);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), 0);
}
END_TEST

START_TEST(losing_the_right_ends)
{
	int control, channel = serve_web(&control), client;
	struct session *app;

	(void)channel;
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_WRITE, "caps/web/grant", "to=app as=x", &a), 0);
	client = world_connect(&w, &world_slot(&w, app, "x")->entity);
	world_settle(&w);
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/reduce", "conns=1", &a), 0);
	ck_assert(!world_is_over(client));
	ck_assert_int_eq(
		world_ask(&w, control, WIRE_WRITE, "caps/web/reduce", "rights=grant", &a), 0);
	ck_assert(world_is_over(client));
	ck_assert_int_eq(world_want(&w, &world_slot(&w, app, "x")->entity), ECONNREFUSED);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web/socket", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/none", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps", "", &a), EINVAL);
}
END_TEST

static int
refuse_commit(void *store)
{
	(void)store;
	return -ENOSPC;
}

START_TEST(full_store)
{
	int control, channel = serve_web(&control), client, second;
	const struct store_ops *good = w.model->store;
	struct store_ops full = *good;

	full.commit = refuse_commit;
	client = world_connect(&w, &web()->entity);
	world_settle(&w);
	w.model->store = &full;
	/* Nothing has to be stored of one of them, unless it counts against something. */
	second = world_connect(&w, &web()->entity);
	world_settle_for(&w, 50000);
	ck_assert(!world_is_over(second));
	w.model->store = good;
	ck_assert_int_eq(world_ask(&w, control, WIRE_WRITE, "caps/web/reduce", "calls=10", &a), 0);
	w.model->store = &full;
	second = world_connect(&w, &web()->entity);
	world_settle_for(&w, 50000);
	ck_assert(world_is_over(second));
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), ENOSPC);
	ck_assert_int_eq(a.fd, -1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/other", "", &a), ENOSPC);
	ck_assert_int_eq(a.fd, -1);
	ck_assert_uint_eq(root()->n_owned[ENTITY_ENTRYPOINT], 1);
	/* The server's end cannot be written down, but it is the end; later it is written too. */
	world_close(&w, channel);
	world_settle(&w);
	ck_assert(world_is_over(client));
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), EBUSY);
	w.model->store = good;
	world_settle_for(&w, 1100000);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), 0);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
}
END_TEST

/* It must not fill up, or the server stands there with its next word. */
START_TEST(what_a_server_says_too_often_is_read)
{
	int control, channel = serve_web(&control), n;
	uint8_t buffer[64];

	n = wire_taken_encode(77, buffer, sizeof(buffer));
	/* A queue has room for fewer. */
	for (unsigned i = 0; i < 1000; i++) {
		ck_assert_int_eq(send(channel, buffer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT), n);
		if (i % 100 == 99)
			world_settle(&w);
	}
	ck_assert_int_ge(world_connect(&w, &web()->entity), 0);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	ck_assert_uint_eq(capability_entrypoint(web())->n_waiting, 0);
}
END_TEST

/* A new broker knows it, too. Servers of 0.1.0 say nothing, and have one. */
START_TEST(a_pidfd_is_for_who_wants_it)
{
	static const char *const words[] = {"", "pidfd=yes", "pidfd=no"};
	int control = world_control(&w, root()), channel;

	ck_assert_int_eq(
		world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "pidfd=perhaps", &a), EINVAL);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", words[_i], &a), 0);
	channel = a.fd;
	ck_assert_int_eq(add_web(control, "key=7 as=web socket=stream"), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_ge(world_connect(&w, &web()->entity), 0);
		world_settle(&w);
		ck_assert(world_handed(&w, channel, &h));
		ck_assert_uint_eq(h.n_fds, _i == 2 ? 1 : 2);
		world_take(&w, channel, h.m.serial);
		world_restart(&w);
	}
}
END_TEST

START_TEST(budget_in_flight)
{
	int control = world_control(&w, root());
	int one = world_serve(&w, control, "one", "seqpacket");
	int two = world_serve(&w, control, "two", "stream");

	w.sockets->n_inflight_max = 2;
	ck_assert_int_ge(world_connect(&w, &world_slot(&w, root(), "one")->entity), 0);
	world_settle(&w);
	ck_assert_int_ge(world_connect(&w, &world_slot(&w, root(), "two")->entity), 0);
	world_settle_for(&w, 30000);
	ck_assert(world_handed(&w, one, &h));
	{
		struct handed other;

		ck_assert(!world_handed(&w, two, &other));
		world_take(&w, one, h.m.serial);
		ck_assert(world_handed(&w, two, &other));
	}
	ck_assert_uint_le(w.sockets->n_inflight, 2);
}
END_TEST

START_TEST(late_records_go_along_with_any_change)
{
	int control, channel = serve_web(&control);

	ck_assert_int_ge(world_connect(&w, &web()->entity), 0);
	world_settle(&w);
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	/* That it was taken waits to be written; a session is made, which has nothing to do with it. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	world_restart(&w);
	ck_assert(!world_handed(&w, channel, &h));
}
END_TEST

START_TEST(without_descriptors)
{
	int control, channel = serve_web(&control), client;
	struct rlimit old, none;

	client = world_connect(&w, &web()->entity);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	world_settle(&w);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert(!world_handed(&w, channel, &h));
	ck_assert(!world_is_over(client));
	world_settle_for(&w, 150000);
	ck_assert(world_handed(&w, channel, &h));
}
END_TEST

/*
 * What nobody wants cannot be sent: to a channel, to a control connection, and to one that is not
 * accepted yet. Whoever emptied these queues would close the files of a stranger.
 */
START_TEST(P20_descriptors_that_nobody_wants_cannot_be_sent)
{
	int control, channel = serve_web(&control), early;

	if (!world_bars_descriptors())
		return;
	ck_assert_int_eq(msg_send(channel, "x", 1, &channel, 1, 0), -EPERM);
	ck_assert_int_eq(msg_send(control, "x", 1, &control, 1, 0), -EPERM);
	ck_assert_int_eq(world_want(&w, &root()->entity), 0);
	early = world_connect(&w, &root()->entity);
	ck_assert_int_ge(early, 0);
	ck_assert_int_eq(msg_send(early, "x", 1, &early, 1, 0), -EPERM);
	/* All three go on, also with the next broker. */
	world_restart(&w);
	ck_assert_int_eq(msg_send(early, "x", 1, &early, 1, 0), -EPERM);
	ck_assert_int_eq(world_ask(&w, early, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(msg_send(channel, "x", 1, &channel, 1, 0), -EPERM);
	ck_assert(!world_is_over(channel));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sockets");
	TCase *t = tcase_create("sockets");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, hands_over);
	tcase_add_test(t, P20_descriptors_that_nobody_wants_cannot_be_sent);
	tcase_add_test(t, keeps_to_credit);
	tcase_add_test(t, refuses_beyond_limits);
	tcase_add_loop_test(t, who_has_left_makes_room, 0, 3);
	tcase_add_test(t, revokes);
	tcase_add_test(t, server_dies);
	tcase_add_test(t, G41_a_badge_that_does_not_match_is_ignored);
	tcase_add_test(t, bad_server);
	tcase_add_test(t, survives);
	tcase_add_test(t, accepted_while_dead);
	tcase_add_test(t, losing_the_right_ends);
	tcase_add_test(t, full_store);
	tcase_add_test(t, what_a_server_says_too_often_is_read);
	tcase_add_loop_test(t, a_pidfd_is_for_who_wants_it, 0, 3);
	tcase_add_test(t, budget_in_flight);
	tcase_add_test(t, late_records_go_along_with_any_change);
	tcase_add_test(t, without_descriptors);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
