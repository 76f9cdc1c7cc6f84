/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners, connections and channels, and what is left of them by a crash. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/ipc/private.h"
#include "tests/fixture.h"
#include "tests/ipc-world.h"

static struct world w;
static struct answered a;
static struct handed h;

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static struct session *
root(void)
{
	return w.model->root;
}

/* entrypoints/web with the slot caps/web, and the root's control connection. */
static int
serve_web(int *ret_control)
{
	*ret_control = world_control(&w, root());
	return world_serve(&w, *ret_control, "web", "stream");
}

static struct capability *
web(void)
{
	return world_slot(&w, root(), "web");
}

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
	ck_assert_uint_eq(h.m.badge, c->object->record.badge);
	ck_assert_uint_eq(h.m.pid, (unsigned)getpid());
	ck_assert_str_eq(h.label, "init");
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 2);
	world_take(&w, channel, h.m.serial);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
	ck_assert_uint_eq(c->conns_used, 1);
	ck_assert_uint_eq(c->object->entrypoint->n_connections, 1);
	ck_assert_uint_eq(c->object->entrypoint->n_waiting, 0);

	ck_assert_int_eq(send(client, "x", 1, 0), 1);
	ck_assert_int_eq(recv(h.fd, &byte, 1, 0), 1);
	/* What the client wrote last is the server's, although the client has gone. */
	ck_assert_int_eq(send(client, "y", 1, 0), 1);
	world_close(&w, client);
	world_settle(&w);
	ck_assert_uint_eq(c->conns_used, 0);
	ck_assert_uint_eq(c->object->entrypoint->n_connections, 0);
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
	ck_assert_uint_eq(web()->object->entrypoint->n_waiting, 20);
	/* One that waits and leaves is not offered; one that leaves after writing is. */
	ck_assert_int_eq(send(clients[18], "x", 1, 0), 1);
	world_close(&w, clients[18]);
	world_close(&w, clients[19]);
	world_settle(&w);
	ck_assert_uint_eq(web()->object->entrypoint->n_waiting, 19);
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
	ck_assert(world_has_event(&w, "refused connect caps/web uid="));
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

START_TEST(revokes)
{
	int control, channel = serve_web(&control), client, waiting, null;
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
	/* Read by nobody, with a descriptor behind it: discarded. */
	null = world_own(&w, open("/dev/null", O_RDONLY | O_CLOEXEC));
	ck_assert_int_eq(msg_send(client, "secret", 6, &null, 1, 0), 6);
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
	ck_assert_ptr_null(c->object->entrypoint->thread);
	ck_assert(!ipc_socket_ready(w.ipc, &c->entity));
	ck_assert_int_eq(world_want(&w, &c->entity), ECONNREFUSED);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), ECONNREFUSED);
	ck_assert(world_has_event(&w, "detach entrypoints/web"));

	c->entity.cached = 1;
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
add_web(int control, const char *text)
{
	return world_ask(&w, control, WIRE_WRITE, "entrypoints/web/objects", text, &a);
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
	ck_assert_uint_eq(m.badge, web()->object->record.badge);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], sockets + 1);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 1);
	world_take(&w, channel, m.badge);
	ck_assert_uint_eq(root()->used.n[QUOTA_INFLIGHT], 0);
	ck_assert_uint_eq(w.ipc->n_inflight, 0);
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
	ck_assert_int_eq(world_want(&w, &web()->object->entity), ECONNREFUSED);
	ck_assert_uint_eq(root()->used.n[QUOTA_SOCKETS], sockets - 1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), EEXIST);
	/* The next one gets another, for what is there already. */
	channel = serve_listening(&(int){0});
	world_settle_for(&w, 20000);
	ck_assert_int_ge(lent(channel, &m), 0);
	ck_assert_uint_eq(m.badge, web()->object->record.badge);
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
		ck_assert_uint_eq(m.badge, web()->object->record.badge);
		world_close(&w, again);
		ck_assert_int_eq(lent(channel, &m), -1);
		m.badge = web()->object->record.badge;
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
	ck_assert(world_has_event(&w, "refused listen entrypoints/web key=1 EDQUOT"));
	ck_assert_uint_eq(quota_free(app, QUOTA_SOCKETS), 0);
}
END_TEST

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
	e = web()->object->entrypoint;
	world_close(&w, channel);
	world_settle(&w);
	for (unsigned i = 0; i < 102; i++) {
		byte = (char)i;
		clients[i] = world_connect(&w, &web()->entity);
		ck_assert_int_ge(clients[i], 0);
		ck_assert_int_eq(send(clients[i], &byte, 1, 0), 1);
		world_settle(&w);
	}
	ck_assert(world_has_event(&w, "wait entrypoints/web waiting=1 hold=102"));
	ck_assert_uint_eq(e->n_held, 102);
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
	e = web()->object->entrypoint;
	ck_assert_uint_eq(e->n_held, 102);
	channel = serve_holding(control, "hold=200");
	ck_assert_uint_eq(e->n_held, 0);
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
	ck_assert_uint_eq(e->n_held, 75);
	clients[103] = world_connect(&w, &web()->entity);
	byte = 103;
	ck_assert_int_eq(send(clients[102], "f", 1, 0), 1);
	ck_assert_int_eq(send(clients[103], &byte, 1, 0), 1);
	world_settle_for(&w, 30000);
	world_restart(&w);
	e = web()->object->entrypoint;
	ck_assert_uint_eq(e->n_held, 76);
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
	ck_assert_uint_eq(web()->object->entrypoint->n_held, 0);
	/* One that leaves without a word is forgotten. */
	client = world_connect(&w, &web()->entity);
	world_settle(&w);
	ck_assert_uint_eq(web()->object->entrypoint->n_held, 1);
	world_close(&w, client);
	world_settle(&w);
	ck_assert_uint_eq(web()->object->entrypoint->n_held, 0);
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

START_TEST(G41_a_badge_that_does_not_match_is_ignored)
{
	int control, channel = serve_web(&control), other, client;
	struct object *o = web()->object;
	char text[64];

	other = world_serve(&w, control, "log", "stream");
	(void)other;
	/* Another entrypoint's badge, and one that there never was. */
	snprintf(text, sizeof(text), "remove=%llu",
		(unsigned long long)world_slot(&w, root(), "log")->object->record.badge);
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
	ck_assert_ptr_null(web()->object->entrypoint->thread);
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
	ck_assert(ipc_socket_ready(w.ipc, &web()->entity));
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
	ck_assert_ptr_null(web()->object->entrypoint->thread);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), 0);
}
END_TEST

START_TEST(binder_dies)
{
	int control, channel = serve_web(&control);

	(void)channel;
	w.binder_lazy = true;
	ipc_socket_want(w.ipc, &web()->entity);
	world_settle(&w);
	ck_assert(!ipc_socket_ready(w.ipc, &web()->entity));
	w.binder_lazy = false;
	world_binder(&w);
	world_settle(&w);
	ck_assert(ipc_socket_ready(w.ipc, &web()->entity));
	ck_assert_int_eq(w.done_error, 0);
	/* One whose job a dead broker gave: the listener comes all the same. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	w.binder_lazy = true;
	ipc_socket_want(w.ipc, &session_find(w.model, root(), "app", 3)->entity);
	w.binder_lazy = false;
	world_settle(&w);
	ck_assert(ipc_socket_ready(w.ipc, &session_find(w.model, root(), "app", 3)->entity));
}
END_TEST

START_TEST(gives_idle_listeners_back)
{
	int control = world_control(&w, root()), client;
	struct entity *e[4];
	unsigned bound;
	char name[32];

	w.ipc->n_idle_max = 2;
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "sessions/s%u", i);
		ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, name, "", &a), 0);
		e[i] = &session_find(w.model, root(), name + 9, 2)->entity;
		ck_assert_int_eq(world_want(&w, e[i]), 0);
	}
	ck_assert_uint_eq(w.n_invalidated, 2);
	ck_assert(!ipc_socket_ready(w.ipc, e[0]) && !ipc_socket_ready(w.ipc, e[1]));
	ck_assert(ipc_socket_ready(w.ipc, e[2]) && ipc_socket_ready(w.ipc, e[3]));
	/* One is looked up again in time; then the next is the oldest. */
	ck_assert_int_eq(world_want(&w, e[0]), 0);
	ck_assert(ipc_socket_ready(w.ipc, e[0]));
	ck_assert(!ipc_socket_ready(w.ipc, e[2]));
	ck_assert_uint_eq(w.n_bound, 5);
	for (unsigned i = 0; i < 300 && listener_find(e[2])->state != LISTENER_CLOSED; i++)
		world_settle_for(&w, 10000);
	ck_assert_uint_eq(w.ipc->n_listeners, 5);
	ipc_socket_forgotten(w.ipc, e[1]->id);
	ipc_socket_forgotten(w.ipc, e[2]->id);
	ck_assert_uint_eq(w.ipc->n_listeners, 3);
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
	ck_assert(world_has_event(&w, "refused connect control uid="));
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

	(void)channel;
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
	c = world_connect(&w, &world_slot(&w, app, "s0")->entity);
	world_settle(&w);
	ck_assert(!world_is_over(c));
	c = world_connect(&w, &world_slot(&w, app, "s0")->entity);
	world_settle(&w);
	ck_assert(world_is_over(c));
	ck_assert(world_has_event(&w, "refused connect caps/s0 uid="));
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
	second = world_connect(&w, &web()->entity);
	world_settle_for(&w, 50000);
	ck_assert(world_is_over(second));
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/web", "", &a), ENOSPC);
	ck_assert_int_eq(a.fd, -1);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/other", "", &a), ENOSPC);
	ck_assert_int_eq(a.fd, -1);
	ck_assert_uint_eq(root()->n_entrypoints, 1);
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

START_TEST(budget_in_flight)
{
	int control = world_control(&w, root());
	int one = world_serve(&w, control, "one", "seqpacket");
	int two = world_serve(&w, control, "two", "stream");

	w.ipc->n_inflight_max = 2;
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
	ck_assert_uint_le(w.ipc->n_inflight, 2);
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

int
main(void)
{
	Suite *s = suite_create("ipc");
	TCase *t = tcase_create("ipc");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, hands_over);
	tcase_add_test(t, keeps_to_credit);
	tcase_add_test(t, refuses_beyond_limits);
	tcase_add_test(t, revokes);
	tcase_add_test(t, server_dies);
	tcase_add_test(t, lends_listeners);
	tcase_add_test(t, lent_listeners_survive);
	tcase_add_test(t, lends_within_quota);
	tcase_add_test(t, C24_callers_wait_for_a_server);
	tcase_add_test(t, who_waits_can_be_revoked);
	tcase_add_test(t, served_once_or_not_at_all);
	tcase_add_test(t, G41_a_badge_that_does_not_match_is_ignored);
	tcase_add_test(t, bad_server);
	tcase_add_test(t, survives);
	tcase_add_test(t, accepted_while_dead);
	tcase_add_test(t, binder_dies);
	tcase_add_test(t, gives_idle_listeners_back);
	tcase_add_test(t, quota_of_sockets);
	tcase_add_test(t, idle_listeners_yield_quota);
	tcase_add_test(t, losing_the_right_ends);
	tcase_add_test(t, full_store);
	tcase_add_test(t, budget_in_flight);
	tcase_add_test(t, without_descriptors);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
