/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control protocol at the socket of a slot to a session, or to a thread: by which rights, for how long, who pays. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "capfsd/model/change.h"
#include "capfsd/model/event.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

static int control;
static struct session *app, *holder;
static struct program *program;

static int
tell(const char *node, const char *text)
{
	return world_ask(&w, control, WIRE_WRITE, node, text, &a);
}

static void
make_program(void)
{
	const struct program_record record = {.phase = PHASE_RUNNING};
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(change_finish(ch, program_add(ch, app, &record, &program)), 0);
}

static void
setup(void)
{
	web_setup();
	control = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "caps=16 sockets=16 threads=8 ram=1M", &a), 0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/holder", "caps=16 sockets=8 ram=1M", &a), 0);
	app = session_find(w.model, root(), "app", 3);
	holder = session_find(w.model, root(), "holder", 6);
	ck_assert_int_eq(tell("originate", "type=session as=app of=app"), 0);
}

static struct capability *
grant(const char *slot, const char *how)
{
	char node[64];

	snprintf(node, sizeof(node), "caps/%s/grant", slot);
	ck_assert_int_eq(tell(node, how), 0);
	return world_slot(&w, holder, "it");
}

static int
reach(struct capability *c)
{
	int fd;

	ck_assert_int_eq(world_want(&w, &c->entity), 0);
	fd = world_connect(&w, &c->entity);
	ck_assert_int_ge(fd, 0);
	world_settle(&w);
	return fd;
}

START_TEST(S25_it_is_spoken_to_as_at_its_own)
{
	struct capability *c = grant("app", "to=holder as=it rights=control conns=4");
	uint64_t theirs = app->used.n[QUOTA_SOCKETS];
	int fd = reach(c);

	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "label", "", &a), 0);
	ck_assert_str_eq(a.text, "init/app\n");
	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "../label", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_CREATE, "sessions/below", "caps=1", &a), 0);
	ck_assert_ptr_nonnull(session_find(w.model, app, "below", 5));
	ck_assert_uint_eq(c->conns_used, 1);
	ck_assert_uint_eq(app->used.n[QUOTA_SOCKETS], theirs);
	/* The listener, and the connection. */
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 2);
	close(fd);
	world_settle(&w);
	ck_assert_uint_eq(c->conns_used, 0);
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 1);
}
END_TEST

START_TEST(S25_what_has_a_right_of_its_own_needs_it)
{
	int fd = reach(grant("app", "to=holder as=it rights=control,grant"));

	ck_assert_int_eq(world_ask(&w, fd, WIRE_SPAWN, "threads", "descriptors=0", &a), EPERM);
	ck_assert_ptr_nonnull(strstr(a.text, "'spawn'"));
	ck_assert_int_eq(world_ask(&w, fd, WIRE_REGISTER, "threads", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_OPEN, "caps/none", "", &a), EPERM);
	ck_assert_ptr_nonnull(strstr(a.text, "'call'"));
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
	fd = reach(grant("app", "to=holder as=more rights=control,call,spawn"));
	fd = reach(world_slot(&w, holder, "more"));
	ck_assert_int_eq(world_ask(&w, fd, WIRE_OPEN, "caps/none", "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_SPAWN, "threads", "nonsense", &a), EINVAL);
}
END_TEST

/* Else who has `control` would pass on all others to itself. */
START_TEST(S25_it_makes_nothing_that_may_more)
{
	int fd = reach(grant("app", "to=holder as=it rights=control,accept"));

	ck_assert_int_eq(world_ask(&w, fd, WIRE_CREATE, "sessions/below", "caps=4", &a), 0);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "originate", "type=session as=self", &a), 0);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "originate", "type=session as=below of=below", &a), 0);
	ck_assert_uint_eq(capability_rights(world_slot(&w, app, "self")) & ~(uint32_t)RIGHTS_COMMON,
		RIGHT_CONTROL | RIGHT_ACCEPT);
	ck_assert_uint_eq(capability_rights(world_slot(&w, app, "below")) & ~(uint32_t)RIGHTS_COMMON,
		RIGHT_CONTROL | RIGHT_ACCEPT);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "caps/self/grant", "to=below rights=spawn", &a), EPERM);
}
END_TEST

/* Who is not let in is told, and counted nowhere. */
static bool
log_has(const struct session *s, const char *part)
{
	cleanup_text struct text log = {};
	uint64_t at = events_start(s);
	char buffer[4096];

	while (events_has_more(s, EVENTS_ALL, at))
		text_add_n(&log, buffer, events_read(s, EVENTS_ALL, &at, buffer, sizeof(buffer)));
	ck_assert_int_eq(text_done(&log), 0);
	return strstr(log.data, part);
}

/* Refusals go first from a log: those of who has come in a share of their own. */
START_TEST(P23_it_pushes_out_nobody_elses_lines)
{
	int fd = reach(grant("app", "to=holder as=it rights=control"));
	char word[32];

	event_log(w.model, app, &(struct event){.verb = "own", .error = EPERM});
	event_log(w.model, root(), &(struct event){.verb = "above", .error = EPERM});
	for (int i = 0; i < 1500; i++) {
		snprintf(word, sizeof(word), "to=none%d caps=1", i);
		ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "transfer_quota", word, &a), ENOENT);
	}
	for (int i = 0; i < 2; i++) {
		app = session_find(w.model, root(), "app", 3);
		ck_assert(log_has(app, "refused own"));
		ck_assert(log_has(app, "none1499"));
		ck_assert(log_has(root(), "refused above"));
		ck_assert_int_eq(events_store(w.model), 0);
		world_restart(&w);
	}
}
END_TEST

START_TEST(limits_count)
{
	struct capability *c = grant("app", "to=holder as=it rights=control conns=1 calls=2");
	int fd = reach(c), other;

	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "label", "", &a), 0);
	other = reach(c);
	ck_assert(world_reply(&w, other, &a));
	ck_assert_uint_eq(a.m.error, EDQUOT);
	ck_assert_uint_eq(a.m.serial, 0);
	ck_assert_str_eq(a.text, "its conns are in use");
	ck_assert(world_is_over(other));
	ck_assert(world_has_event(&w, "refused connect session=init/holder slot=it uid="));
	ck_assert_uint_eq(c->record.calls_used, 1);
	close(fd);
	world_settle(&w);
	fd = reach(c);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "label", "", &a), 0);
	close(fd);
	world_settle(&w);
	ck_assert_uint_eq(c->record.calls_used, 2);
	other = reach(c);
	ck_assert(world_reply(&w, other, &a));
	ck_assert_str_eq(a.text, "its calls are used up");
	ck_assert_uint_eq(c->conns_used, 0);
}
END_TEST

START_TEST(it_pays_who_holds_it)
{
	struct capability *c = grant("app", "to=holder as=it rights=control");
	int fds[8];

	for (int i = 0; i < 7; i++)
		fds[i] = reach(c);
	fds[7] = reach(c);
	ck_assert(world_reply(&w, fds[7], &a));
	ck_assert_uint_eq(a.m.error, EDQUOT);
	ck_assert_ptr_nonnull(strstr(a.text, "init/holder sockets"));
	ck_assert_int_eq(world_ask(&w, fds[6], WIRE_READ, "label", "", &a), 0);
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 8);
}
END_TEST

START_TEST(without_control_nobody_connects)
{
	struct capability *c = grant("app", "to=holder as=it rights=accept,account,call,spawn");

	ck_assert_int_eq(world_want(&w, &c->entity), ECONNREFUSED);
}
END_TEST

START_TEST(it_is_not_opened_otherwise)
{
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/app", "", &a), EOPNOTSUPP);
}
END_TEST

static void
ends_by(const char *node, const char *text)
{
	struct capability *c = grant("app", "to=holder as=it rights=control,reduce,accept");
	int fd = reach(c);

	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "label", "", &a), 0);
	ck_assert_int_eq(tell(node, text), 0);
	ck_assert(world_is_over(fd));
	ck_assert_uint_le(holder->used.n[QUOTA_SOCKETS], 1);
	close(fd);
}

START_TEST(revocation_ends_it)
{
	ends_by("caps/app/revoke", "1");
	ends_by("sessions/holder/caps/it/reduce", "rights=accept");
	ck_assert_int_eq(tell("caps/app/revoke", "1"), 0);
	ends_by("caps/app/revoke", "self");
}
END_TEST

START_TEST(the_end_of_either_session_does)
{
	int fd = reach(grant("app", "to=holder as=it rights=control"));

	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/app", "", &a), 0);
	ck_assert(world_is_over(fd));
	ck_assert_ptr_null(world_slot(&w, holder, "it"));
	ck_assert_int_eq(tell("originate", "type=session as=self"), 0);
	fd = reach(grant("self", "to=holder as=it rights=control"));
	ck_assert_int_eq(world_ask(&w, control, WIRE_REMOVE, "sessions/holder", "", &a), 0);
	ck_assert(world_is_over(fd));
}
END_TEST

#define MANY 24 /* more than end at once */

/* Those whose turn to end comes later have ended, too, and what they had asked for is not done any more. */
START_TEST(what_was_asked_before_its_end_is_not_done_after_it)
{
	int fds[MANY];
	struct change *ch;
	char text[64];

	ck_assert_int_eq(tell("transfer_quota", "to=holder caps=32 sockets=64"), 0);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "to=holder as=it%d rights=control", i);
		grant("app", text);
		snprintf(text, sizeof(text), "it%d", i);
		fds[i] = reach(world_slot(&w, holder, text));
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "sessions/made%d", i);
		world_send(fds[i], WIRE_CREATE, 1, text, "caps=0 ram=0");
	}
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, capability_end_children(ch, world_slot(&w, root(), "app"))), 0);
	world_settle(&w);
	for (int i = 0; i < MANY; i++) {
		ck_assert(world_is_over(fds[i]));
		close(fds[i]);
	}
	ck_assert_uint_eq(app->n_owned[ENTITY_SESSION], 0);
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 0);
}
END_TEST

/* By what it asks it ends the session that holds its slot, and that pays for it: it has its reply, and goes. */
START_TEST(who_ends_itself_is_told)
{
	int fd;

	ck_assert_int_eq(tell("originate", "type=session as=self"), 0);
	fd = reach(grant("self", "to=holder as=it rights=control"));
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "caps/self/revoke", "1", &a), 0);
	ck_assert(world_is_over(fd));
	fd = reach(grant("self", "to=holder as=it rights=control"));
	ck_assert_int_eq(world_ask(&w, fd, WIRE_REMOVE, "sessions/holder", "", &a), 0);
	ck_assert(world_is_over(fd));
	ck_assert_ptr_null(session_find(w.model, root(), "holder", 6));
}
END_TEST

START_TEST(hostile_bytes_end_it_alone)
{
	static const char bad[][4] = {"", "\x01\xff", "\xff\xff\xff", "\x01\x01\x01"};
	struct capability *c = grant("app", "to=holder as=it rights=control");
	int good = reach(c), fd;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fd = reach(c);
		ck_assert_int_eq(send(fd, bad[i], sizeof(bad[i]) - 1, 0), sizeof(bad[i]) - 1);
		world_settle(&w);
		ck_assert(world_reply(&w, fd, &a));
		ck_assert_uint_ne(a.m.error, 0);
		ck_assert(world_is_over(fd));
		close(fd);
	}
	ck_assert_int_eq(world_ask(&w, good, WIRE_READ, "label", "", &a), 0);
	ck_assert_uint_eq(c->conns_used, 1);
}
END_TEST

static void
find_again(void)
{
	app = session_find(w.model, root(), "app", 3);
	holder = session_find(w.model, root(), "holder", 6);
}

/* One that has asked nothing yet, one whose request waits, and one whose reply was not read. */
START_TEST(P14_it_goes_on_over_a_brokers_death)
{
	struct capability *c = grant("app", "to=holder as=it rights=control calls=3");
	int idle = reach(c), asks = reach(c), told = reach(c);

	world_send(told, WIRE_CREATE, 1, "sessions/one", "caps=1");
	world_settle(&w);
	world_send(asks, WIRE_CREATE, 1, "sessions/two", "caps=1");
	world_restart(&w);
	find_again();
	world_settle(&w);
	c = world_slot(&w, holder, "it");
	ck_assert_uint_eq(c->conns_used, 3);
	ck_assert_uint_eq(c->record.calls_used, 3);
	ck_assert(world_reply(&w, told, &a) && a.m.error == 0);
	ck_assert(world_reply(&w, asks, &a) && a.m.error == 0);
	ck_assert_ptr_nonnull(session_find(w.model, app, "two", 3));
	ck_assert_int_eq(world_ask(&w, idle, WIRE_READ, "label", "", &a), 0);
	ck_assert_str_eq(a.text, "init/app\n");
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 4);
}
END_TEST

/* A broker that dies of the commit has ended nobody. */
START_TEST(a_later_broker_takes_up_nobody_who_may_not)
{
	struct capability *c = grant("app", "to=holder as=it rights=control,reduce,accept");
	const struct reductions how = {.has_rights = true, .rights = RIGHT_ACCEPT};
	int fd = reach(c);
	struct change *ch;

	w.deaf = true;
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, capability_reduce(ch, c, &how)), 0);
	world_restart(&w);
	world_settle(&w);
	find_again();
	ck_assert(world_is_over(fd));
	ck_assert_uint_eq(world_slot(&w, holder, "it")->conns_used, 0);
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 0);
}
END_TEST

/* --- threads --- */

static struct capability *
grant_thread(const char *rights)
{
	char text[128];

	make_program();
	snprintf(text, sizeof(text), "type=thread as=thread thread=%s", program->entity.name);
	ck_assert_int_eq(tell("originate", text), 0);
	snprintf(text, sizeof(text), "to=holder as=it rights=%s", rights);
	return grant("thread", text);
}

START_TEST(S14_of_a_thread_there_is_what_the_rights_say)
{
	int fd = reach(grant_thread("pause,grant"));

	/* It has no init that it could be asked at, and is stored. */
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "pause", &a), EAGAIN);
	ck_assert(program->record.paused);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "resume", &a), EAGAIN);
	ck_assert(!program->record.paused);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "kill", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "signal=1", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "affinity=0", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "ok", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "restart=no", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "info", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WAIT, "", "", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "nonsense", &a), EINVAL);
}
END_TEST

START_TEST(S14_and_nothing_else)
{
	static const struct {
		enum wire_op op;
		const char *path;
	} others[] = {
		{WIRE_LIST, ""}, {WIRE_READ, "fds"}, {WIRE_READ, "../../label"}, {WIRE_READ, "label"},
		{WIRE_CREATE, "sessions/x"}, {WIRE_REMOVE, "ctl"}, {WIRE_ATTACH, "entrypoints/x"}, {WIRE_OPEN, "caps/x"},
		{WIRE_CHALLENGE, ""}, {WIRE_IMPORT, ""}, {WIRE_IDENTIFY, ""}, {WIRE_INSPECT, ""},
		{WIRE_SPAWN, "threads"}, {WIRE_REGISTER, "threads"},
	};
	int fd = reach(grant_thread("wait,kill,pause,affinity,signal"));

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ck_assert_int_eq(world_ask(&w, fd, others[i].op, others[i].path, "", &a), ENOENT);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "info", "", &a), 0);
	ck_assert_ptr_nonnull(strstr(a.text, "state=running"));
	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "", "", &a), EISDIR);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "info", "x", &a), EACCES);
}
END_TEST

/* What no program can catch is no way round the right that has its name. */
START_TEST(a_signal_may_need_more)
{
	int fd = reach(grant_thread("signal"));

	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "signal=9", &a), EPERM);
	ck_assert_ptr_nonnull(strstr(a.text, "'kill'"));
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "signal=19", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "signal=18", &a), EPERM);
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "signal=x", &a), EINVAL);
	/* Its init would be asked, of which there is none here. */
	ck_assert_int_eq(world_ask(&w, fd, WIRE_WRITE, "ctl", "signal=1", &a), EAGAIN);
}
END_TEST

START_TEST(it_ends_with_its_thread)
{
	int fd = reach(grant_thread("wait"));
	struct change *ch;

	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "info", "", &a), 0);
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, program_drop(ch, program)), 0);
	world_settle(&w);
	ck_assert(world_is_over(fd));
	ck_assert_ptr_null(world_slot(&w, holder, "it"));
	ck_assert_ptr_null(world_slot(&w, root(), "thread"));
	ck_assert_uint_eq(holder->used.n[QUOTA_SOCKETS], 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("delegated");
	TCase *t = tcase_create("delegated");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, web_teardown);
	tcase_add_test(t, S25_it_is_spoken_to_as_at_its_own);
	tcase_add_test(t, S25_what_has_a_right_of_its_own_needs_it);
	tcase_add_test(t, S25_it_makes_nothing_that_may_more);
	tcase_add_test(t, P23_it_pushes_out_nobody_elses_lines);
	tcase_add_test(t, limits_count);
	tcase_add_test(t, it_pays_who_holds_it);
	tcase_add_test(t, without_control_nobody_connects);
	tcase_add_test(t, it_is_not_opened_otherwise);
	tcase_add_test(t, revocation_ends_it);
	tcase_add_test(t, the_end_of_either_session_does);
	tcase_add_test(t, what_was_asked_before_its_end_is_not_done_after_it);
	tcase_add_test(t, who_ends_itself_is_told);
	tcase_add_test(t, hostile_bytes_end_it_alone);
	tcase_add_test(t, P14_it_goes_on_over_a_brokers_death);
	tcase_add_test(t, a_later_broker_takes_up_nobody_who_may_not);
	tcase_add_test(t, S14_of_a_thread_there_is_what_the_rights_say);
	tcase_add_test(t, S14_and_nothing_else);
	tcase_add_test(t, a_signal_may_need_more);
	tcase_add_test(t, it_ends_with_its_thread);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
