/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P40 */
/*
 * What `why` says is what is enforced: for each rule it is made to refuse, the last line is compared with what a
 * connection over the control socket is answered at that moment, and again when it was made so.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/listener.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"
#include "wire/pages.h"

static int control, channel;
static struct session *app;

/* What WORDS are written to FILE of the root, which must do. */
static void
tell(const char *file, const char *words)
{
	ck_assert_msg(world_ask(&w, control, WIRE_WRITE, file, words, &a) == 0, "%s < %s: %s", file, words, a.text);
}

/* Is there a line of it that begins so? */
static bool
says(const char *line)
{
	const char *at = a.text;

	while ((at = strstr(at, line)) && at > a.text && at[-1] != '\n')
		at++;
	return at;
}

static void
read_why(const char *slot)
{
	char file[80];

	snprintf(file, sizeof(file), "%s/why", slot);
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, file, "", &a), 0);
}

/* Takes what the server was handed until there is nothing more. */
static void
serve_all(void)
{
	while (channel >= 0 && world_handed(&w, channel, &h)) {
		world_take(&w, channel, h.m.serial);
		world_close(&w, h.fd);
	}
	world_settle(&w);
}

/* What a server is told of visits is no hand-over. */
static void
pass_words(void)
{
	char word[WIRE_CHANNEL_MAX];

	while (recv(channel, word, sizeof(word), MSG_DONTWAIT) > 0)
		;
}

/* SLOT is open: it says so, and a connection gets through. */
static void
is_open(const char *slot)
{
	read_why(slot);
	ck_assert_msg(says("open\n"), "%s", a.text);
	ck_assert_msg(!strstr(a.text, " refused "), "%s", a.text);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, slot, "", &a), 0);
	serve_all();
	world_close(&w, a.fd);
	world_settle(&w);
}

/* It is not: by RULE, with LINE, and a connection is refused with the same errno. */
static void
is_refused(const char *slot, const char *rule, const char *line)
{
	char last[64];
	int error = world_ask(&w, control, WIRE_OPEN, slot, "", &a);

	ck_assert_int_ne(error, 0);
	snprintf(last, sizeof(last), "refused %s %s\n", rule, error_name(error));
	read_why(slot);
	ck_assert_msg(says(last), "%s is not in\n%s", last, a.text);
	ck_assert_msg(says(line), "%s is not in\n%s", line, a.text);
}

static void
setup(void)
{
	web_setup();
	channel = serve_web(&control);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app/sessions/db", "", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	tell("caps/web/grant", "to=app rights=call,grant,reduce");
	tell("sessions/app/caps/web/grant", "to=db rights=call,reduce");
}

#define APP "sessions/app/caps/web"
#define POOR "sessions/poor/caps/web"
#define DB "sessions/app/sessions/db/caps/web"

/* "calls refused limit=2 used=2 left=0 at=7", with the id of the slot of S. */
static const char *
at(const char *line, struct session *s)
{
	static char text[160];

	snprintf(text, sizeof(text), "%s at=%llu\n", line,
		(unsigned long long)world_slot(&w, s, "web")->entity.id);
	return text;
}

static struct session *
db(void)
{
	return session_find(w.model, app, "db", 2);
}

START_TEST(P40_every_rule_has_a_line)
{
	const char *line;

	is_open("caps/web");
	is_open(DB);
	read_why(DB);
	line = a.text;
	for (enum passage_rule i = 0; i < N_PASSAGE_RULES; i++) {
		size_t n = strlen(passage_rule_name(i));

		ck_assert_msg(strncmp(line, passage_rule_name(i), n) == 0 && strncmp(line + n, " ok", 3) == 0,
			"%s: %s", passage_rule_name(i), line);
		line += strcspn(line, "\n") + 1;
	}
	ck_assert_str_eq(line, "open\n");
}
END_TEST

START_TEST(P40_right)
{
	struct entity *e = &world_slot(&w, db(), "web")->entity;
	unsigned n;

	tell(DB "/reduce", "rights=reduce");
	is_refused(DB, "right", at("right refused needs=call", db()));
	tell(APP "/adjust", "to=db rights=call,reduce");
	is_open(DB);
	/* What the kernel has of a name goes with its listener; who holds it is listened to again. */
	ck_assert_int_eq(world_want(&w, e), 0);
	n = w.n_invalidated;
	tell(APP "/adjust", "to=db rights=reduce");
	ck_assert_uint_gt(w.n_invalidated, n);
	ck_assert_ptr_null(listener_find(e));
	w.known_id = e->id;
	tell(APP "/adjust", "to=db rights=call,reduce");
	ck_assert_ptr_nonnull(listener_find(e));
	/* An ancestor's, of which the slot itself has nothing. */
	tell("caps/web/adjust", "to=app rights=grant");
	is_refused(DB, "right", at("right refused needs=call", app));
	tell("caps/web/adjust", "to=app rights=call,grant");
	is_open(DB);
}
END_TEST

START_TEST(P40_calls_and_those_of_an_ancestor)
{
	tell(APP "/adjust", "to=db calls=1");
	is_open(DB);
	is_refused(DB, "calls", at("calls refused limit=1 used=1 left=0", db()));
	tell(APP "/adjust", "to=db calls=9");
	tell("caps/web/adjust", "to=app calls=1");
	is_open(DB);
	is_refused(DB, "calls", at("calls refused limit=9 used=2 left=0", app));
	tell("caps/web/adjust", "to=app calls=10");
	is_open(DB);
}
END_TEST

START_TEST(P40_conns)
{
	int fd;

	tell("caps/web/adjust", "to=app conns=1");
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, APP, "", &a), 0);
	fd = a.fd;
	is_refused(APP, "conns", at("conns refused limit=1 used=1 left=0", app));
	is_refused(DB, "conns", at("conns refused limit=none used=0 left=0", app));
	world_close(&w, fd);
	world_settle(&w);
	serve_all();
	is_open(DB);
}
END_TEST

START_TEST(P40_rate)
{
	tell("caps/web/adjust", "to=app rate=1/s");
	is_open(APP);
	is_refused(DB, "rate", at("rate refused limit=1/s", app));
	tell("caps/web/adjust", "to=app rate=none");
	is_open(DB);
}
END_TEST

START_TEST(P40_expires)
{
	char slot[] = APP;

	tell("caps/web/adjust", "to=app expires=2038-01-01T00:00:00Z");
	is_open(DB);
	read_why(DB);
	ck_assert_msg(says("expires ok 2038-01-01T00:00:00Z\n"), "%s", a.text);
	/* What has ended is not there any more, with all its files. */
	tell("caps/web/revoke", "to=app");
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, APP "/why", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, slot, "", &a), ENOENT);
}
END_TEST

/* Whoever had it open when it ended: nobody reads these by a path. */
START_TEST(P40_what_has_ended_says_so)
{
	struct capability *c = world_slot(&w, db(), "web");
	struct passage p;
	enum passage_rule rule = N_PASSAGE_RULES;

	passage_init(&p, c);
	p.attached = true;
	ck_assert_int_eq(passage_check(&p, PASSAGE_ALL, &rule), 0);
	c->record.expires_usec = p.now_usec;
	ck_assert_int_eq(passage_check(&p, PASSAGE_LISTEN, &rule), CONNECT_E_ENDED);
	ck_assert_int_eq(rule, PASSAGE_EXPIRES);
	ck_assert(passage_stops_at(&p, rule, c) && !passage_stops_at(&p, rule, c->parent));
	c->record.expires_usec = LIMIT_NONE;
	c->parent->record.flags |= CAPABILITY_DEAD;
	ck_assert_int_eq(passage_check(&p, PASSAGE_OWN, &rule), CONNECT_E_ENDED);
	ck_assert_int_eq(rule, PASSAGE_ENDED);
	c->parent->record.flags &= ~CAPABILITY_DEAD;
	app->record.state = SESSION_CLOSING;
	ck_assert_int_eq(passage_check(&p, PASSAGE_ALL, &rule), CONNECT_E_ENDED);
	app->record.state = SESSION_RUNNING;
	ck_assert_int_eq(passage_check(&p, PASSAGE_ALL, &rule), 0);
}
END_TEST

START_TEST(P40_nobody_serves_and_as_many_wait_as_may)
{
	channel = world_close(&w, channel);
	world_settle(&w);
	is_refused(DB, "served", "served refused no\n");
	ck_assert_int_eq(world_want(&w, &world_slot(&w, db(), "web")->entity), ECONNREFUSED);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "hold=1", &a), 0);
	channel = a.fd;
	is_open(DB);
	channel = world_close(&w, channel);
	world_settle(&w);
	/* One may wait, and does. */
	read_why(DB);
	ck_assert_msg(says("waiting ok waiting=0 hold=1\n"), "%s", a.text);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, DB, "", &a), 0);
	is_refused(DB, "waiting", "waiting refused waiting=1 hold=1\n");
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), 0);
	channel = a.fd;
	is_open(DB);
}
END_TEST

START_TEST(P40_only_and_visit)
{
	char file[64];

	channel = world_close(&w, channel);
	world_settle(&w);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "caveats=yes visits", &a), 0);
	channel = a.fd;
	pass_words();
	tell(APP "/grant", "to=db as=less only=\"GET /x\"");
	is_open("sessions/app/sessions/db/caps/less");
	read_why("sessions/app/sessions/db/caps/less");
	ck_assert_msg(says("only ok only=\"GET /x\"\n"), "%s", a.text);
	tell(DB "/visit", "as=v");
	is_refused("sessions/app/sessions/db/caps/v", "visit", "visit refused pending\n");
	snprintf(file, sizeof(file), "visits/%llu/answer",
		(unsigned long long)world_slot(&w, db(), "v")->entity.id);
	tell(file, "accept");
	pass_words();
	is_open("sessions/app/sessions/db/caps/v");
	/* The next server asks for no caveats. */
	channel = world_close(&w, channel);
	world_settle(&w);
	ck_assert_int_eq(world_ask(&w, control, WIRE_ATTACH, "entrypoints/web", "", &a), 0);
	channel = a.fd;
	is_refused("sessions/app/sessions/db/caps/less", "only", "only refused only=\"GET /x\"\n");
	is_open(DB);
}
END_TEST

/* By connect(2), which needs a listener as well. */
START_TEST(P40_sockets)
{
	int fd;

	tell("transfer_quota", "to=app sockets=32");
	tell("sessions/app/transfer_quota", "to=db sockets=2");
	read_why(DB);
	ck_assert_msg(strstr(a.text, "sockets ok needs=2 free="), "%s", a.text);
	is_open(DB);
	for (; quota_free(db(), QUOTA_SOCKETS) > 1; serve_all())
		ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, DB, "", &a), 0);
	read_why(DB);
	ck_assert_msg(says("sockets refused needs=2 free=1\n"), "%s", a.text);
	ck_assert_msg(says("refused sockets EDQUOT\n"), "%s", a.text);
	fd = world_connect(&w, &world_slot(&w, db(), "web")->entity);
	world_settle(&w);
	ck_assert(world_is_over(fd));
	ck_assert(world_has_event(&w, "slot=web uid="));
	is_refused(DB, "sockets", "sockets refused needs=1 free=0\n");
	tell("sessions/app/transfer_quota", "to=db sockets=2");
	fd = world_connect(&w, &world_slot(&w, db(), "web")->entity);
	world_settle(&w);
	ck_assert(!world_is_over(fd));
	is_open(DB);
}
END_TEST

START_TEST(P40_inflight_and_a_crowd)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/poor",
				 "caps=8 sockets=16 ram=64K inflight=1", &a), 0);
	tell("caps/web/grant", "to=poor");
	is_refused(POOR, "inflight", "inflight refused free=1\n");
	tell("transfer_quota", "to=poor inflight=63");
	is_open(POOR);
	/* Its server takes nothing. */
	while (world_ask(&w, control, WIRE_OPEN, POOR, "", &a) == 0)
		;
	is_refused(POOR, "crowd", "crowd refused\n");
	serve_all();
	is_open(POOR);
}
END_TEST

START_TEST(P40_what_a_server_counts)
{
	struct charge all = {};
	struct used_entry used = {};
	uint32_t n;
	int fds[2];

	channel = world_close(&w, channel);
	world_settle(&w);
	channel = world_serve_calls(&w, control, "rpc");
	n = (uint32_t)quota_free(root(), QUOTA_RAM) - 100;
	ck_assert_int_eq(charge_init(&all, root(), QUOTA_RAM, n), 0);
	is_refused("caps/rpc", "pages", "pages refused\n");
	charge_deinit(&all);
	tell("caps/rpc/reduce", "methods=1-4 calls=5");
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/rpc", "", &a), 0);
	ck_assert(world_pages(&w, channel, fds));
	read_why("caps/rpc");
	ck_assert_msg(says("methods ok 1-4\n"), "%s", a.text);
	ck_assert_msg(says("calls ok limit=5 used=0 left=5\n"), "%s", a.text);
	/* A connection is no call: it is let in, and what is called over it is refused by the server's library. */
	ck_assert(world_handed(&w, channel, &h));
	used.calls = 5;
	ck_assert_int_eq(pwrite(fds[1], &used, sizeof(used), h.m.page_index * sizeof(used)), sizeof(used));
	read_why("caps/rpc");
	ck_assert_msg(says("calls refused limit=5 used=5 left=0 at="), "%s", a.text);
	ck_assert_msg(says("refused calls EDQUOT\n"), "%s", a.text);
	/* Two a second: the second of them is there again in half of one. */
	tell("caps/rpc/reduce", "rate=2/s");
	used.rate_at = clock_usec(CLOCK_MONOTONIC) + 1000000;
	ck_assert_int_eq(pwrite(fds[1], &used, sizeof(used), h.m.page_index * sizeof(used)), sizeof(used));
	read_why("caps/rpc");
	ck_assert_msg(says("rate refused limit=2/s at="), "%s", a.text);
	used.rate_at -= 600000;
	ck_assert_int_eq(pwrite(fds[1], &used, sizeof(used), h.m.page_index * sizeof(used)), sizeof(used));
	read_why("caps/rpc");
	ck_assert_msg(says("rate ok limit=2/s\n"), "%s", a.text);
}
END_TEST

START_TEST(P40_what_the_daemon_answers)
{
	const uint8_t word = WIRE_FETCH;
	int32_t answer;

	tell("originate", "as=bell type=signal");
	tell("caps/bell/grant", "to=app rights=raise calls=1");
	channel = -1;
	is_open("caps/bell");
	read_why("caps/bell");
	ck_assert_msg(says("served ok daemon\n"), "%s", a.text);
	is_open("sessions/app/caps/bell");
	is_refused("sessions/app/caps/bell", "calls", "calls refused limit=1 used=1 left=0 at=");
	tell("caps/bell/adjust", "to=app rights=grant calls=2");
	is_refused("sessions/app/caps/bell", "right", "right refused needs=raise,wait at=");
	/* Who may post is let in; others are told so by what is fetched. */
	tell("originate", "as=box type=fd");
	tell("caps/box/grant", "to=app rights=open");
	is_open("caps/box");
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "sessions/app/caps/box", "", &a), 0);
	ck_assert_int_eq(send(a.fd, &word, sizeof(word), 0), sizeof(word));
	world_settle(&w);
	ck_assert_int_eq(recv(a.fd, &answer, sizeof(answer), MSG_DONTWAIT), sizeof(answer));
	ck_assert_int_eq(answer, ECONNREFUSED);
	read_why("sessions/app/caps/box");
	ck_assert_msg(says("served refused daemon posted=no\n") && says("refused served ECONNREFUSED\n"), "%s", a.text);
	ck_assert_msg(says("inflight ok "), "%s", a.text);
	tell("caps/box/reduce", "rights=open,grant");
	read_why("caps/box");
	ck_assert_msg(says("served refused daemon posted=no\n") && says("refused served ECONNREFUSED\n"), "%s", a.text);
	/* What is fetched is in flight. */
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/poor", "caps=8 sockets=16 ram=64K inflight=0",
				 &a), 0);
	tell("caps/box/grant", "to=poor");
	read_why("sessions/poor/caps/box");
	ck_assert_msg(says("inflight refused free=0\n"), "%s", a.text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("why");
	TCase *t = tcase_create("why");

	tcase_add_checked_fixture(t, setup, web_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, P40_every_rule_has_a_line);
	tcase_add_test(t, P40_right);
	tcase_add_test(t, P40_calls_and_those_of_an_ancestor);
	tcase_add_test(t, P40_conns);
	tcase_add_test(t, P40_rate);
	tcase_add_test(t, P40_expires);
	tcase_add_test(t, P40_what_has_ended_says_so);
	tcase_add_test(t, P40_nobody_serves_and_as_many_wait_as_may);
	tcase_add_test(t, P40_only_and_visit);
	tcase_add_test(t, P40_sockets);
	tcase_add_test(t, P40_inflight_and_a_crowd);
	tcase_add_test(t, P40_what_a_server_counts);
	tcase_add_test(t, P40_what_the_daemon_answers);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
