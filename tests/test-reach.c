/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G20 Z34 */
/*
 * `@SLOT`: sessions that a command names by a slot which refers to them, with the right for what is done.
 *
 * init has kv, and serves it. Its children a and b hold nothing of each other but what init gives them: a has kv,
 * and `b`, a capability to that session. a/in is below a.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/kinds.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;

static struct session *
session(const char *path)
{
	struct session *s = session_find(w.model, w.model->root, path, strlen(path));

	ck_assert_ptr_nonnull(s);
	return s;
}

static void
give(const char *how)
{
	ck_assert_int_eq(put(&w, "caps/b/grant", how), 0);
}

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", "caps=32 ram=200K"), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", "caps=8 ram=100K"), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "in", "caps=4"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a rights=call,grant,replicate,reduce,transfer,share"), 0);
	ck_assert_int_eq(put(&w, "originate", "type=session as=b of=b"), 0);
	give("to=a rights=accept,account,call,spawn,grant,replicate");
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static int
of_a(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "sessions/a/caps/kv/%s", file);
	return put(&w, path, text);
}

static void
refused(int error, const char *reason, int got)
{
	ck_assert_msg(got == error, "%d: %s", got, w.request.text.data);
	ck_assert_msg(strstr(w.request.text.data, reason) != NULL, "%s", w.request.text.data);
}

START_TEST(a_slot_names_who_is_elsewhere)
{
	ck_assert_int_eq(of_a("grant", "to=@b as=from-a conns=3"), 0);
	ck_assert(exists(&w, "sessions/b/caps/from-a"));
	expect_line(&w, "sessions/b/caps/from-a/info", "parent=init/a/caps/kv id=");
	expect_event(&w, "grant session=init/b slot=from-a id=");
	ck_assert_int_eq(of_a("adjust", "to=@b conns=5"), 0);
	expect_line(&w, "sessions/b/caps/from-a/info", "conns limit=5 used=0 left=5\n");
	ck_assert_int_eq(of_a("revoke", "to=@b"), 0);
	ck_assert(!exists(&w, "sessions/b/caps/from-a"));
	ck_assert_int_eq(of_a("replicate", "as=two"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/two/transfer", "to=@b as=moved"), 0);
	ck_assert(exists(&w, "sessions/b/caps/moved") && !exists(&w, "sessions/a/caps/two"));
}
END_TEST

START_TEST(it_is_a_capability_to_a_session_or_nothing)
{
	refused(ENOENT, "there is no slot 'c' here", of_a("grant", "to=@c"));
	refused(ENOENT, "there is no slot '' here", of_a("grant", "to=@"));
	refused(ENOENT, "there is no slot 'b/in' here", of_a("grant", "to=@b/in"));
	refused(EINVAL, "kv is no capability to a session", of_a("grant", "to=@kv"));
	/* That of init is not a's. */
	ck_assert_int_eq(put(&w, "originate", "type=session as=only-init of=b"), 0);
	refused(ENOENT, "there is no slot 'only-init' here", of_a("grant", "to=@only-init"));
	/* What is originated is never somebody else's. */
	refused(ENOENT, "there is no session '@b' here",
		put(&w, "sessions/a/originate", "type=session as=more of=@b"));
	ck_assert(!exists(&w, "sessions/b/caps/kv"));
}
END_TEST

/* With `grant` alone a slot would else be there twice. */
START_TEST(Z34_it_is_nobody_itself)
{
	ck_assert_int_eq(put(&w, "sessions/a/originate", "type=session as=me"), 0);
	refused(EINVAL, "me refers to this session itself", of_a("grant", "to=@me as=twice"));
	refused(EINVAL, "me refers to this session itself", of_a("share", "with=@me"));
	refused(EINVAL, "me refers to this session itself", put(&w, "sessions/a/transfer_quota", "to=@me caps=1"));
	ck_assert(!exists(&w, "sessions/a/caps/twice"));
}
END_TEST

START_TEST(each_thing_needs_its_right)
{
	ck_assert_int_eq(of_a("grant", "to=@b as=before"), 0);
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a rights=spawn,call"), 0);
	refused(EPERM, "init/a does not hold right 'accept' on b", of_a("grant", "to=@b"));
	refused(EPERM, "init/a does not hold right 'accept' on b", of_a("transfer", "to=@b"));
	refused(EPERM, "init/a does not hold right 'accept' on b", of_a("share", "with=@b"));
	refused(EPERM, "init/a does not hold right 'account' on b",
		put(&w, "sessions/a/transfer_quota", "to=@b caps=1"));
	/* What it gave it may take, also from who accepts no more. */
	ck_assert_int_eq(of_a("adjust", "to=@b conns=2"), 0);
	ck_assert_int_eq(of_a("revoke", "to=@b"), 0);
	ck_assert(!exists(&w, "sessions/b/caps/before"));
	/* The rights that count are those that all have from which it came. */
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a rights=accept,account"), 0);
	ck_assert_int_eq(put(&w, "caps/b/reduce", "rights=account,grant"), 0);
	refused(EPERM, "init/a does not hold right 'accept' on b", of_a("grant", "to=@b"));
	ck_assert_int_eq(put(&w, "transfer_quota", "to=a caps=10"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/transfer_quota", "to=@b caps=1"), 0);
}
END_TEST

static struct capability *
visit(const char *source, const char *to, const char *as)
{
	struct change *ch = change_begin(w.model);
	struct capability *from = capability_of(walk(&w, source).entity), *made;
	const struct quota amount = {{[QUOTA_RAM] = 4096}};
	enum quota_kind kind;

	ck_assert_int_eq(capability_visit(ch, from, session(to), as, strlen(as), 0, &made), 0);
	ck_assert_int_eq(visit_open(ch, made, from->session, NULL, &amount, "", 0, &kind), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	return made;
}

/* Who has a slot to a session cannot fill that with what its own session cannot end. */
START_TEST(what_is_visited_for_it_is_its_own_to_drop)
{
	const struct session *a = session("a");
	uint64_t lent = a->lent.n[QUOTA_RAM];

	visit("sessions/a/caps/kv", "b", "one");
	visit("sessions/a/caps/kv", "b", "two");
	visit("sessions/a/caps/kv", "a/in", "below");
	ck_assert_uint_eq(a->lent.n[QUOTA_RAM], lent + 3 * 4096);
	ck_assert_int_eq(removed(&w, "sessions/b/caps", "one"), 0);
	ck_assert_int_eq(put(&w, "sessions/b/caps/two/revoke", "self"), 0);
	refused(EPERM, "of the session above", removed(&w, "sessions/a/sessions/in/caps", "below"));
	refused(EPERM, "of the session above", put(&w, "sessions/a/sessions/in/caps/below/revoke", "self"));
	ck_assert_uint_eq(a->lent.n[QUOTA_RAM], lent + 4096);
	ck_assert_int_eq(of_a("revoke", "to=in"), 0);
	ck_assert_uint_eq(a->lent.n[QUOTA_RAM], lent);
	model_check(w.model);
}
END_TEST

/* Who is below a session is nothing that a slot to it says. */
START_TEST(what_it_lacks_names_nobody_below_it)
{
	ck_assert_int_eq(make(&w, "sessions/b/sessions", "in", "caps=7 ram=0"), 0);
	refused(EDQUOT, "init/b caps limit=8 used=1 lent=7", of_a("grant", "to=@b"));
	ck_assert_ptr_null(strstr(w.request.text.data, "largest"));
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "more", "caps=24 ram=0"), 0);
	refused(EDQUOT, "largest: init/a", of_a("replicate", "as=two"));
}
END_TEST

START_TEST(a_name_ends_with_its_slot_and_its_session)
{
	ck_assert_int_eq(put_only(&w, "caps/b/revoke", "to=a"), 0);
	refused(ENOENT, "there is no slot 'b' here", put_only(&w, "sessions/a/caps/kv/grant", "to=@b"));
	give("to=a as=b2 rights=accept");
	ck_assert_int_eq(removed(&w, "sessions", "b"), 0);
	refused(ENOENT, "there is no slot 'b2' here", of_a("grant", "to=@b2"));
}
END_TEST

static uint64_t now;

static uint64_t
clock_usec(void)
{
	return now;
}

START_TEST(to_name_it_is_a_call)
{
	ck_assert_int_eq(put(&w, "transfer_quota", "to=a caps=10"), 0);
	now = w.model->now_usec();
	w.model->now_usec = clock_usec;
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a calls=2 rate=1/s expires=100"), 0);
	ck_assert_int_eq(of_a("grant", "to=@b as=one"), 0);
	expect_line(&w, "sessions/a/caps/b/info", "calls limit=2 used=1 left=1\n");
	refused(EAGAIN, "the rate of b is reached", of_a("grant", "to=@b as=two"));
	now += 2000000;
	/* What is refused was no use of it, and what takes back is none. */
	refused(EEXIST, "init/b has a slot 'one'", of_a("grant", "to=@b as=one"));
	ck_assert_int_eq(of_a("adjust", "to=@b conns=2"), 0);
	expect_line(&w, "sessions/a/caps/b/info", "calls limit=2 used=1 left=1\n");
	ck_assert_int_eq(put(&w, "sessions/a/transfer_quota", "to=@b caps=1"), 0);
	now += 2000000;
	refused(EDQUOT, "no calls are left of b", of_a("grant", "to=@b as=two"));
	now += 100000000;
	refused(ENOENT, "there is no slot 'b' here", of_a("revoke", "to=@b"));
}
END_TEST

START_TEST(what_is_shared_says_whose_it_is)
{
	ck_assert_int_eq(of_a("share", "with=@b conns=2"), 0);
	ck_assert(exists(&w, "sessions/b/caps/a.kv"));
	expect_line(&w, "sessions/a/caps/kv/info", "shared=init/b\n");
	ck_assert(!exists(&w, "sessions/a/sessions/in/caps/kv"));
	ck_assert_int_eq(of_a("share", "with=none"), 0);
	ck_assert(!exists(&w, "sessions/b/caps/a.kv"));
	ck_assert_int_eq(of_a("share", "with=@b"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "b"), 0);
}
END_TEST

static uint64_t
limit(const char *path)
{
	return session(path)->record.limit.n[QUOTA_CAPS];
}

static int
quota(const char *path, const char *text)
{
	char file[128];

	snprintf(file, sizeof(file), "%s/transfer_quota", path);
	return put(&w, file, text);
}

START_TEST(G20_quota_moves_between_those_of_one_parent)
{
	refused(EDQUOT, "init/a caps would fall below its first donation of 32", quota("sessions/a", "to=@b caps=1"));
	ck_assert_int_eq(put(&w, "transfer_quota", "to=a caps=10"), 0);
	ck_assert_int_eq(quota("sessions/a", "to=@b caps=6"), 0);
	ck_assert(limit("a") == 36 && limit("b") == 14);
	/* Whoever may take takes what is free, but what it was given first. */
	refused(EDQUOT, "init/b caps would fall below its first donation of 8", quota("sessions/a", "from=@b caps=7"));
	refused(EDQUOT, "init/b caps", quota("sessions/a", "from=@b caps=100"));
	ck_assert_ptr_null(strstr(w.request.text.data, "largest"));
	ck_assert_int_eq(quota("sessions/a", "from=@b caps=6"), 0);
	ck_assert(limit("a") == 42 && limit("b") == 8);
}
END_TEST

/* It goes down through who is between them, and not up: that one has lent it. */
START_TEST(G20_quota_leaves_nobody_who_has_lent_it)
{
	ck_assert_int_eq(put(&w, "caps/b/revoke", "1"), 0);
	ck_assert_int_eq(put(&w, "originate", "type=session as=in of=a/in"), 0);
	ck_assert_int_eq(put(&w, "transfer_quota", "to=b caps=20"), 0);
	ck_assert_int_eq(put(&w, "caps/in/grant", "to=b rights=account"), 0);
	ck_assert_int_eq(quota("sessions/b", "to=@in caps=20"), 0);
	ck_assert(limit("a") == 52 && limit("a/in") == 24 && limit("b") == 8);
	refused(EINVAL, "quota does not leave the session that has lent it", quota("sessions/b", "from=@in caps=1"));
	ck_assert_int_eq(quota("sessions/a", "from=in caps=20"), 0);
	ck_assert(limit("a") == 52 && limit("a/in") == 4);
	/* init is above all of them, and gives from what is its own. */
	ck_assert_int_eq(put(&w, "transfer_quota", "to=@in caps=3"), 0);
	ck_assert(limit("a") == 55 && limit("a/in") == 7);
	refused(EINVAL, "between a session and its child only", put(&w, "transfer_quota", "to=a/in caps=3"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reach");
	TCase *t = tcase_create("reach");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_slot_names_who_is_elsewhere);
	tcase_add_test(t, it_is_a_capability_to_a_session_or_nothing);
	tcase_add_test(t, Z34_it_is_nobody_itself);
	tcase_add_test(t, each_thing_needs_its_right);
	tcase_add_test(t, what_is_visited_for_it_is_its_own_to_drop);
	tcase_add_test(t, what_it_lacks_names_nobody_below_it);
	tcase_add_test(t, a_name_ends_with_its_slot_and_its_session);
	tcase_add_test(t, to_name_it_is_a_call);
	tcase_add_test(t, what_is_shared_says_whose_it_is);
	tcase_add_test(t, G20_quota_moves_between_those_of_one_parent);
	tcase_add_test(t, G20_quota_leaves_nobody_who_has_lent_it);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
