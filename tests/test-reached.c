/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: Z34 */
/*
 * `target=`: whoever has a capability to a session, with `call`, reaches by it what that session has.
 *
 * init has kv, and serves it. Of its children b has kv, which it may pass on, and plain, which it may not, and a has
 * `b`, a capability to that session. a/in is below a, and b/in below b.
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

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", "caps=32 ram=400K"), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", "caps=16 ram=200K"), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "in", "caps=4"), 0);
	ck_assert_int_eq(make(&w, "sessions/b/sessions", "in", "caps=4"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=b rights=call,grant,replicate,transfer,reduce conns=9"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=b as=plain"), 0);
	ck_assert_int_eq(put(&w, "originate", "type=session as=b of=b"), 0);
	ck_assert_int_eq(put(&w, "caps/b/grant", "to=a rights=call,grant,replicate,transfer,reduce"), 0);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static void
refused(int error, const char *reason, int got)
{
	ck_assert_msg(got == error, "%d: %s", got, w.request.text.data);
	ck_assert_msg(strstr(w.request.text.data, reason) != NULL, "%s", w.request.text.data);
}

static int
replicate(const char *how)
{
	return put(&w, "sessions/a/caps/b/replicate", how);
}

static int
grant(const char *how)
{
	return put(&w, "sessions/a/caps/b/grant", how);
}

static const struct capability *
slot(const char *path)
{
	return capability_of(walk(&w, path).entity);
}

START_TEST(a_slot_of_that_session_is_reached)
{
	ck_assert_int_eq(replicate("target=kv as=theirs conns=4"), 0);
	expect_line(&w, "sessions/a/caps/theirs/info", "type=object\n");
	expect_line(&w, "sessions/a/caps/theirs/info", "parent=init/b/caps/kv id=");
	expect_line(&w, "sessions/a/caps/theirs/info", "through=init/a/caps/b\n");
	expect_line(&w, "sessions/a/caps/theirs/info", "conns limit=4 used=0 left=4\n");
	expect_line(&w, "sessions/a/caps/theirs/info", "rights=call,grant,replicate,reduce,transfer\n");
	expect_line(&w, "sessions/b/caps/kv/holders", "init/a/caps/theirs");
	expect_event(&w, "replicate session=init/a slot=theirs id=");
	/* It is granted to those below, and may be used there, and not passed on. */
	ck_assert_int_eq(grant("to=in target=kv"), 0);
	expect_line(&w, "sessions/a/sessions/in/caps/kv/info", "rights=call\n");
	/* What a session below it has is named by its path. */
	ck_assert_int_eq(put(&w, "sessions/b/caps/kv/grant", "to=in as=deep rights=call,replicate"), 0);
	ck_assert_int_eq(replicate("target=in/deep as=deep"), 0);
	expect_line(&w, "sessions/a/caps/deep/info", "parent=init/b/in/caps/deep id=");
}
END_TEST

START_TEST(it_is_there_and_is_below_that_session)
{
	refused(ENOENT, "there is no slot 'none' in the session of b", replicate("target=none as=x"));
	refused(ENOENT, "there is no slot 'in/none' in", replicate("target=in/none as=x"));
	refused(ENOENT, "there is no slot '../kv' in", replicate("target=../kv as=x"));
	refused(ENOENT, "there is no slot '@b/kv' in", replicate("target=@b/kv as=x"));
	refused(ENOENT, "there is no slot 'kv/' in", replicate("target=kv/ as=x"));
	refused(EINVAL, "kv is no capability to a session", put(&w, "sessions/b/caps/kv/replicate", "target=kv as=x"));
	refused(EINVAL, "unknown key 'target'", put(&w, "sessions/a/caps/b/transfer", "to=in target=kv"));
	refused(EEXIST, "init/a has a slot 'b'", replicate("target=kv as=b"));
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
}
END_TEST

/* As a split is none, so `call` is no way round what a slot may not. */
START_TEST(Z34_both_may_pass_it_on)
{
	refused(EPERM, "init/b does not hold right 'replicate' on plain", replicate("target=plain as=x"));
	refused(EPERM, "init/b does not hold right 'grant' on plain", grant("to=in target=plain"));
	ck_assert_int_eq(put(&w, "caps/b/grant", "to=a as=may-grant rights=call,grant"), 0);
	refused(EPERM, "init/a does not hold right 'replicate' on may-grant",
		put(&w, "sessions/a/caps/may-grant/replicate", "target=kv as=x"));
	refused(EPERM, "init/a holds only 'call,grant' on may-grant",
		put(&w, "sessions/a/caps/may-grant/grant", "to=in target=kv rights=call,replicate"));
	ck_assert_int_eq(put(&w, "sessions/a/caps/may-grant/grant", "to=in target=kv rights=call,grant"), 0);
	refused(EPERM, "init/b holds only", replicate("target=kv as=x rights=call,share"));
	refused(EINVAL, "that is not a reduction of kv", replicate("target=kv as=x conns=10"));
	ck_assert_int_eq(put(&w, "caps/b/grant", "to=a as=no-call rights=accept,replicate"), 0);
	refused(EPERM, "init/a does not hold right 'call' on no-call",
		put(&w, "sessions/a/caps/no-call/replicate", "target=kv as=x"));
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 1);
}
END_TEST

START_TEST(it_ends_with_each_of_both)
{
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(grant("to=in target=kv as=two rights=call,grant"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/one/replicate", "as=three"), 0);
	/* Dead at once, and gone when it is removed. */
	ck_assert_int_eq(put_only(&w, "caps/b/revoke", "to=a"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/one") && !exists(&w, "sessions/a/caps/three"));
	ck_assert(!exists(&w, "sessions/a/sessions/in/caps/two"));
	while (model_reap(w.model, 1) > 0)
		model_check(w.model);
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
	ck_assert_uint_eq(slot("sessions/b/caps/kv")->n_children, 0);
	ck_assert_int_eq(put(&w, "caps/b/grant", "to=a rights=call,replicate"), 0);
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(put(&w, "sessions/b/caps/kv/revoke", "1"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/one"));
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(removed(&w, "sessions/b/sessions", "in"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "b"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/one") && !exists(&w, "sessions/a/caps/b"));
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
}
END_TEST

/* What the one may not any more, the other may not. */
START_TEST(it_may_what_is_let_through)
{
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a rights=grant,call"), 0);
	expect_line(&w, "sessions/a/caps/one/info", "rights=call,grant\n");
	ck_assert_int_eq(put(&w, "sessions/a/caps/one/grant", "to=in rights=call"), 0);
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a rights=grant"), 0);
	expect_line(&w, "sessions/a/caps/one/info", "rights=grant\n");
	expect_line(&w, "sessions/a/caps/one/why", "right refused");
	ck_assert_uint_eq(capability_connects(slot("sessions/a/sessions/in/caps/one")), 0);
	refused(EPERM, "init/a holds only 'grant' on one", put(&w, "sessions/a/caps/one/grant", "to=in as=x rights=call"));
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a rights=grant,call"), 0);
	ck_assert_uint_eq(capability_connects(slot("sessions/a/sessions/in/caps/one")), RIGHT_CALL);
}
END_TEST

static uint64_t now;

static uint64_t
clock_usec(void)
{
	return now;
}

START_TEST(it_expires_with_it_and_is_a_call_of_it)
{
	now = w.model->now_usec();
	w.model->now_usec = clock_usec;
	ck_assert_int_eq(put(&w, "caps/b/adjust", "to=a expires=100 calls=2"), 0);
	refused(EINVAL, "that is not a reduction of b", replicate("target=kv as=x expires=101"));
	refused(EPERM, "does not hold right 'replicate' on plain", replicate("target=plain as=x"));
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(grant("to=in target=kv as=two expires=50"), 0);
	refused(EDQUOT, "no calls are left of b", replicate("target=kv as=x"));
	ck_assert_uint_eq(capability_expires(slot("sessions/a/caps/one")), now + 100000000);
	ck_assert_uint_eq(capability_expires(slot("sessions/a/sessions/in/caps/two")), now + 50000000);
	now += 100000000;
	ck_assert(!exists(&w, "sessions/a/caps/one") && !exists(&w, "sessions/a/caps/b"));
}
END_TEST

/* Nothing that is beside it is without what it is tied to. */
START_TEST(what_it_becomes_is_tied)
{
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/one/split", "rights=call as=half"), 0);
	expect_line(&w, "sessions/a/caps/half/info", "through=init/a/caps/b\n");
	ck_assert_int_eq(replicate("target=kv as=moving"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moving/transfer", "to=in"), 0);
	expect_line(&w, "sessions/a/sessions/in/caps/moving/info", "through=init/a/caps/b\n");
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 3);
	ck_assert_int_eq(removed(&w, "sessions/a/caps", "b"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/half") && !exists(&w, "sessions/a/sessions/in/caps/moving"));
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
}
END_TEST

/* Else it would end what was reached, which is not told by a command that moves a slot. */
START_TEST(Z31_it_stays_where_something_was_reached_by_it)
{
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	refused(EBUSY, "was reached by it", put(&w, "sessions/a/caps/b/transfer", "to=in"));
	ck_assert(exists(&w, "sessions/a/caps/one"));
	ck_assert_int_eq(removed(&w, "sessions/a/caps", "one"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/b/transfer", "to=in"), 0);
}
END_TEST

/* A session reaches its own slots, as it could anyhow. Each is a way further from what it was. */
START_TEST(few_follow_each_other)
{
	static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};

	ck_assert_int_eq(put(&w, "sessions/a/originate", "type=session as=n0"), 0);
	for (size_t i = 0; i < 4; i++) {
		char path[64], how[64];

		snprintf(path, sizeof(path), "sessions/a/caps/n%zu/replicate", i);
		snprintf(how, sizeof(how), "target=n%zu as=%s", i, names[i]);
		ck_assert_int_eq(put(&w, path, how), 0);
	}
	refused(EMLINK, "more than 4 would be reached through each other", put(&w, "sessions/a/caps/n4/replicate", "target=n4 as=n5"));
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 4);
	ck_assert_int_eq(put_only(&w, "sessions/a/caps/n0/revoke", "self"), 0);
	while (model_reap(w.model, 1) > 0)
		model_check(w.model);
	ck_assert_uint_eq(w.model->n[ENTITY_TIE], 0);
}
END_TEST

/* What is asked of a slot goes up all ways that there are, which are no more steps than one alone may have. */
START_TEST(all_ways_together_are_as_long_as_one)
{
	char path[64] = "sessions/a/caps/n0/replicate", how[64] = "";
	unsigned n = 1;

	ck_assert_int_eq(put(&w, "transfer_quota", "to=a caps=600 ram=4M"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/originate", "type=session as=n0"), 0);
	for (; n < 512; n++) {
		snprintf(how, sizeof(how), "as=n%u", n);
		ck_assert_int_eq(put(&w, path, how), 0);
		snprintf(path, sizeof(path), "sessions/a/caps/n%u/replicate", n);
	}
	ck_assert_int_eq(put(&w, path, "target=n511 as=both"), 0);
	refused(EMLINK, "derived more than 1024 times", put(&w, "sessions/a/caps/both/replicate", "target=n0"));
	ck_assert_int_eq(put(&w, path, "as=n512"), 0);
	refused(EMLINK, "derived more than 1024 times", put(&w, "sessions/a/caps/n512/replicate", "target=n511"));
	model_check(w.model);
}
END_TEST

START_TEST(who_gets_it_pays)
{
	struct session *in = session_find(w.model, w.model->root, "a/in", 4);
	const struct quota before = in->used;
	uint64_t events = in->event_bytes;

	ck_assert_int_eq(grant("to=in target=kv as=two"), 0);
	events = in->event_bytes - events;
	ck_assert_uint_eq(in->used.n[QUOTA_CAPS] - before.n[QUOTA_CAPS], 1);
	ck_assert_uint_eq(in->used.n[QUOTA_RAM] - before.n[QUOTA_RAM] - events, 2 * QUOTA_RAM_SLOT);
	ck_assert_int_eq(put(&w, "sessions/a/caps/b/revoke", "self"), 0);
	ck_assert_uint_eq(in->used.n[QUOTA_CAPS], before.n[QUOTA_CAPS]);
}
END_TEST

START_TEST(a_checkpoint_says_what_it_leaves)
{
	ck_assert_int_eq(replicate("target=kv as=one"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/one/grant", "to=in as=under"), 0);
	expect_line(&w, "checkpoint", "left path=a what=reached name=one n=1\n");
	expect_line(&w, "checkpoint", "left path=a/in what=reached name=under n=1\n");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reached");
	TCase *t = tcase_create("reached");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_slot_of_that_session_is_reached);
	tcase_add_test(t, it_is_there_and_is_below_that_session);
	tcase_add_test(t, Z34_both_may_pass_it_on);
	tcase_add_test(t, it_ends_with_each_of_both);
	tcase_add_test(t, it_may_what_is_let_through);
	tcase_add_test(t, it_expires_with_it_and_is_a_call_of_it);
	tcase_add_test(t, what_it_becomes_is_tied);
	tcase_add_test(t, Z31_it_stays_where_something_was_reached_by_it);
	tcase_add_test(t, few_follow_each_other);
	tcase_add_test(t, all_ways_together_are_as_long_as_one);
	tcase_add_test(t, who_gets_it_pays);
	tcase_add_test(t, a_checkpoint_says_what_it_leaves);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
