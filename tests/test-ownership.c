/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has a connection to a session that gets another owner or mode. Clients connect with the
 * effective user of their name, which is what the kernel remembers of them; the test is root for that.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capfsd/ops/request.h"
#include "capfsd/tree/tree.h"
#include "tests/fixture.h"
#include "tests/sockets-web.h"

#define OLD 12345
#define NEW 54321
#define MEMBER 33333
#define GROUP 777
#define LATECOMERS_USEC 1100000 /* how long who connected by the old mode may be on his way */

static bool
may_be_others(void)
{
	return geteuid() == 0;
}

static struct session *
app(void)
{
	return session_find(w.model, root(), "app", 3);
}

static void
set_owner(uid_t uid, gid_t gid, mode_t mode)
{
	struct request r = {.model = w.model};

	ck_assert_int_eq(tree_set_owner(&r, tree_session(app()), uid, gid, mode), 0);
	ck_assert_int_eq(r.error, 0);
	request_deinit(&r);
}

/* A session of OLD's, whose socket here everybody may connect to: the kernel is not what is tested. */
static void
make_app(void)
{
	int control = world_control(&w, root());

	umask(0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_CREATE, "sessions/app", "", &a), 0);
	ck_assert_int_eq(world_want(&w, &app()->entity), 0);
	set_owner(OLD, OLD, 0700);
	world_settle(&w);
}

/* Not looked at by the broker yet. */
static int
connect_as(uid_t uid, gid_t supplementary)
{
	int fd;

	/* Where the sockets are, and the store, which must be nobody else's when it is opened. */
	ck_assert_int_eq(chmod(w.dir, 0711), 0);
	ck_assert_int_eq(setgroups(1, &supplementary), 0);
	ck_assert_int_eq(setegid(uid), 0);
	ck_assert_int_eq(seteuid(uid), 0);
	fd = world_connect(&w, &app()->entity);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	ck_assert_int_eq(chmod(w.dir, 0700), 0);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static int
client_of(uid_t uid, gid_t supplementary)
{
	int fd = connect_as(uid, supplementary);

	ck_assert_int_eq(world_ask(&w, fd, WIRE_READ, "label", "", &a), 0);
	return fd;
}

static bool
has_ended(int fd)
{
	if (!world_is_over(fd))
		return false;
	/* It is told why. */
	ck_assert(world_reply(&w, fd, &a));
	ck_assert_uint_eq(a.m.error, EACCES);
	ck_assert_uint_eq(a.m.serial, 0);
	return true;
}

START_TEST(P29_after_chown_the_old_owner_has_no_connection)
{
	int old, waiting, of_root, new;
	uint64_t sockets;

	make_app();
	sockets = app()->used.n[QUOTA_SOCKETS];
	old = client_of(OLD, OLD);
	of_root = client_of(0, 0);
	/* It has connected, and asked, and was not accepted yet. */
	waiting = connect_as(OLD, OLD);
	world_send(waiting, WIRE_CREATE, 1, "sessions/mine", "");
	/* A change of nothing is none. */
	set_owner(OLD, (gid_t)-1, 0700);
	ck_assert(!world_is_over(old));
	set_owner(NEW, (gid_t)-1, (mode_t)-1);
	/* Before the caller of chown(2) goes on, and without a round of the loop. */
	ck_assert(has_ended(old));
	world_settle(&w);
	ck_assert(has_ended(waiting));
	ck_assert_ptr_null(session_find(w.model, root(), "app/mine", 8));
	ck_assert_int_eq(world_ask(&w, of_root, WIRE_READ, "label", "", &a), 0);
	new = client_of(NEW, NEW);
	ck_assert(!world_is_over(new));
	ck_assert_uint_eq(app()->used.n[QUOTA_SOCKETS], sockets + 2);
	/* Nobody can be on his way any more: from here on the kernel alone decides. */
	ck_assert_uint_ne(app()->record.owner_changed, 0);
	/* Whatever else the session does meanwhile. */
	for (unsigned i = 0; i < 11; i++) {
		world_settle_for(&w, LATECOMERS_USEC / 10);
		ck_assert_int_eq(world_ask(&w, new, WIRE_CREATE, "sessions/x", "caps=1", &a), 0);
		ck_assert_int_eq(world_ask(&w, new, WIRE_REMOVE, "sessions/x", "", &a), 0);
	}
	world_settle(&w);
	ck_assert_uint_eq(app()->record.owner_changed, 0);
	old = client_of(OLD, OLD);
	world_settle_for(&w, 30000);
	world_restart(&w);
	ck_assert(!world_is_over(old) && !world_is_over(new));
}
END_TEST

/* The kernel has let it in by the old mode, and it arrives after the change. */
START_TEST(P29_who_comes_late_is_not_let_in)
{
	int late;

	make_app();
	set_owner(NEW, (gid_t)-1, (mode_t)-1);
	world_settle_for(&w, LATECOMERS_USEC / 4);
	late = connect_as(OLD, OLD);
	world_send(late, WIRE_CREATE, 1, "sessions/mine", "");
	world_settle(&w);
	ck_assert(has_ended(late));
	ck_assert_ptr_null(session_find(w.model, root(), "app/mine", 8));
}
END_TEST

START_TEST(P29_chmod_ends_those_whom_it_shuts_out)
{
	int owner, member, other;

	make_app();
	set_owner((uid_t)-1, GROUP, 0777);
	world_settle(&w);
	owner = client_of(OLD, OLD);
	member = client_of(MEMBER, GROUP);
	other = client_of(NEW, NEW);
	set_owner((uid_t)-1, (gid_t)-1, 0773);
	ck_assert(!world_is_over(owner) && !world_is_over(member) && !world_is_over(other));
	/* To read is not enough, and to find the way without being let in neither. */
	set_owner((uid_t)-1, (gid_t)-1, 0775);
	ck_assert(has_ended(other));
	ck_assert(!world_is_over(member));
	set_owner((uid_t)-1, GROUP + 1, (mode_t)-1);
	ck_assert(has_ended(member));
	/* Of the first class that somebody is of, as the kernel has it. */
	set_owner((uid_t)-1, (gid_t)-1, 0477);
	ck_assert(has_ended(owner));
}
END_TEST

START_TEST(P29_it_holds_over_a_broker_s_death)
{
	int old, waiting, new;

	make_app();
	old = client_of(OLD, OLD);
	world_settle_for(&w, 30000);
	waiting = connect_as(OLD, OLD);
	world_send(waiting, WIRE_CREATE, 1, "sessions/mine", "");
	/* The broker dies of the change, with nothing done but what it stored. */
	w.deaf = true;
	set_owner(NEW, (gid_t)-1, (mode_t)-1);
	w.deaf = false;
	ck_assert(!world_is_over(old));
	world_restart(&w);
	ck_assert(world_is_over(old));
	ck_assert(has_ended(waiting));
	ck_assert_ptr_null(session_find(w.model, root(), "app/mine", 8));
	world_settle_for(&w, LATECOMERS_USEC);
	ck_assert_uint_eq(app()->record.owner_changed, 0);
	new = client_of(NEW, NEW);
	world_settle_for(&w, 30000);
	world_restart(&w);
	ck_assert(!world_is_over(new));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ownership");
	TCase *t = tcase_create("ownership");

	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_set_timeout(t, 60);
	if (!may_be_others()) {
		puts("1..0 # SKIP only root can be others");
		return 77;
	}
	tcase_add_test(t, P29_after_chown_the_old_owner_has_no_connection);
	tcase_add_test(t, P29_who_comes_late_is_not_let_in);
	tcase_add_test(t, P29_chmod_ends_those_whom_it_shuts_out);
	tcase_add_test(t, P29_it_holds_over_a_broker_s_death);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
