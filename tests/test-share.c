/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: S15 S16 Z60 */
/* share: a slot appears, immutable, in other sessions, those of now and those to come. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;

/* init has kv; a and b are its children, and a/db is a's. */
static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", "caps=32 ram=200K"), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", "caps=8 ram=100K"), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "db", "caps=4"), 0);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static struct capability *
slot(const char *path)
{
	return capability_of(walk(&w, path).entity);
}

static int
share(const char *how)
{
	return put(&w, "caps/kv/share", how);
}

/* Who has it: "a", "b" and "db", a letter each. */
static void
expect_with(const char *who)
{
	ck_assert_int_eq(exists(&w, "sessions/a/caps/kv"), strchr(who, 'a') != NULL);
	ck_assert_int_eq(exists(&w, "sessions/b/caps/kv"), strchr(who, 'b') != NULL);
	ck_assert_int_eq(exists(&w, "sessions/a/sessions/db/caps/kv"), strchr(who, 'd') != NULL);
}

static void
expect_refusal(int error, const char *path, const char *how, const char *reason)
{
	uint64_t n = w.model->n[ENTITY_CAPABILITY] + w.model->n[ENTITY_SHARE];

	ck_assert_msg(put(&w, path, how) == error, "%s: %d %s", how, w.request.error,
		w.request.text.data);
	ck_assert_msg(strstr(w.request.text.data, reason) != NULL, "%s: %s", how, w.request.text.data);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY] + w.model->n[ENTITY_SHARE], n);
}

START_TEST(S15_with_children_now_and_later)
{
	ck_assert_int_eq(share("with=children"), 0);
	expect_with("ab");
	expect_line(&w, "sessions/a/caps/kv/info", "rights=call\n");
	expect_line(&w, "sessions/a/caps/kv/info", "parent=init/caps/kv id=");
	expect_line(&w, "sessions/a/caps/kv/info", " by=share\n");
	expect_line(&w, "caps/kv/info", "shared=children\n");
	expect_line(&w, "caps/kv/holders", "init/a/caps/kv rights=call by=share since=");
	expect_event(&w, "share session=init slot=kv id=");
	expect_event(&w, " uid=1000 with=children");
	ck_assert_int_eq(make(&w, "sessions", "later", "caps=4"), 0);
	ck_assert(exists(&w, "sessions/later/caps/kv"));
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "other", "caps=2"), 0);
	ck_assert(!exists(&w, "sessions/a/sessions/other/caps/kv"));
}
END_TEST

START_TEST(S15_with_all_below)
{
	ck_assert_int_eq(share("with=subtree conns=3"), 0);
	expect_with("abd");
	expect_line(&w, "sessions/a/sessions/db/caps/kv/info", "conns limit=3 used=0 left=3\n");
	ck_assert_int_eq(make(&w, "sessions/a/sessions/db/sessions", "deep", "caps=1 ram=9K"), 0);
	ck_assert(exists(&w, "sessions/a/sessions/db/sessions/deep/caps/kv"));
}
END_TEST

/* They have the same pager, their parent. The name tells whose it is, so that it is not taken for the parent's. */
START_TEST(S15_with_siblings)
{
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a as=web rights=call,share"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/web/share", "with=siblings"), 0);
	ck_assert(exists(&w, "sessions/b/caps/a.web"));
	ck_assert(!exists(&w, "sessions/a/sessions/db/caps/a.web"));
	ck_assert(!exists(&w, "sessions/a/caps/a.web"));
	ck_assert_int_eq(make(&w, "sessions", "c", "caps=4"), 0);
	ck_assert(exists(&w, "sessions/c/caps/a.web"));
	/* With the sharer it goes. */
	ck_assert_int_eq(removed(&w, "sessions/a/sessions", "db"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "a"), 0);
	ck_assert(!exists(&w, "sessions/b/caps/a.web"));
	ck_assert(!exists(&w, "sessions/c/caps/a.web"));
}
END_TEST

/* Whatever siblings share, half of one's slots stay one's own. */
START_TEST(S15_siblings_leave_room)
{
	char how[64];

	ck_assert_int_eq(put(&w, "transfer_quota", "to=a ram=100K"), 0);
	for (int i = 0; i < 8; i++) {
		snprintf(how, sizeof(how), "to=a as=s%d rights=call,share", i);
		ck_assert_int_eq(put(&w, "caps/kv/grant", how), 0);
	}
	ck_assert_int_eq(put(&w, "sessions/a/share", "with=siblings"), 0);
	ck_assert_str_eq(w.request.text.data, "shared=8");
	ck_assert(exists(&w, "sessions/b/caps/a.s3"));
	ck_assert(!exists(&w, "sessions/b/caps/a.s4"));
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(put(&w, "caps/kv/grant", "to=b"), 0);
}
END_TEST

START_TEST(S16_with_one_session_and_with_less)
{
	ck_assert_int_eq(share("with=a/db rights=call calls=5 expires=2099-01-01T00:00:00Z"), 0);
	expect_with("d");
	expect_line(&w, "sessions/a/sessions/db/caps/kv/info", "calls limit=5 used=0 left=5\n");
	expect_line(&w, "caps/kv/info", "shared=init/a/db\n");
	/* That session goes, and the share has nobody any more. */
	ck_assert_int_eq(removed(&w, "sessions/a/sessions", "db"), 0);
	ck_assert_int_eq(share("with=none"), 0);
	ck_assert_uint_eq(w.model->n[ENTITY_SHARE], 0);
}
END_TEST

START_TEST(S15_narrowing_withdraws)
{
	uint64_t id;

	ck_assert_int_eq(share("with=subtree"), 0);
	id = slot("sessions/a/caps/kv")->entity.id;
	ck_assert_int_eq(share("with=children"), 0);
	expect_with("ab");
	ck_assert_uint_eq(slot("sessions/a/caps/kv")->entity.id, id);
	ck_assert_int_eq(share("with=b"), 0);
	expect_with("b");
	ck_assert_int_eq(share("with=subtree"), 0);
	expect_with("abd");
	ck_assert_int_eq(share("with=none"), 0);
	expect_with("");
	expect_line(&w, "caps/kv/info", "children=0\n");
	ck_assert_uint_eq(w.model->n[ENTITY_SHARE], 0);
	ck_assert_int_eq(make(&w, "sessions", "later", ""), 0);
	ck_assert(!exists(&w, "sessions/later/caps/kv"));
}
END_TEST

/* Other reductions change what is there in place, but for what is in the way of them. */
START_TEST(S16_other_reductions)
{
	uint64_t a, b;

	ck_assert_int_eq(share("with=children conns=8"), 0);
	a = slot("sessions/a/caps/kv")->entity.id;
	b = slot("sessions/b/caps/kv")->entity.id;
	for (int i = 0; i < 3; i++)
		capability_connected(slot("sessions/b/caps/kv"));
	ck_assert_int_eq(share("with=children conns=2"), 0);
	ck_assert_uint_eq(slot("sessions/a/caps/kv")->entity.id, a);
	expect_line(&w, "sessions/a/caps/kv/info", "conns limit=2 ");
	ck_assert_uint_ne(slot("sessions/b/caps/kv")->entity.id, b);
	ck_assert_int_eq(share("with=children"), 0);
	expect_line(&w, "sessions/b/caps/kv/info", "rights=call\nexpires");
	/* One that has more than the others now is as they are. */
	ck_assert_int_eq(share("with=children calls=7"), 0);
	expect_line(&w, "sessions/a/caps/kv/info", "calls limit=7 ");
}
END_TEST

/* It is paid by who gets it; who has no room is told, and gets it when there is some. */
START_TEST(S15_without_room)
{
	ck_assert_int_eq(make(&w, "sessions", "poor", "caps=0"), 0);
	ck_assert_int_eq(share("with=children"), 0);
	expect_with("ab");
	ck_assert(!exists(&w, "sessions/poor/caps/kv"));
	expect_event(&w, "wait session=init/poor slot=kv error=EDQUOT from=init/caps/kv");
	ck_assert_int_eq(put(&w, "transfer_quota", "to=poor caps=1"), 0);
	ck_assert(exists(&w, "sessions/poor/caps/kv"));
	expect_line(&w, "sessions/poor/quota", "caps limit=1 used=1 ");
	/* Also by a slot that goes. */
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=two"), 0);
	ck_assert_int_eq(put(&w, "caps/two/share", "with=children"), 0);
	ck_assert(!exists(&w, "sessions/poor/caps/two"));
	ck_assert_int_eq(share("with=none"), 0);
	ck_assert(exists(&w, "sessions/poor/caps/two"));
}
END_TEST

START_TEST(S15_names_that_collide)
{
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert_int_eq(share("with=children"), 0);
	ck_assert(exists(&w, "sessions/a/caps/kv-2"));
	ck_assert(exists(&w, "sessions/b/caps/kv"));
	/* What was granted is no affair of the share's. */
	ck_assert_int_eq(share("with=none"), 0);
	expect_with("a");
}
END_TEST

/* What was ended by anybody is not made again; all that was derived goes with the share. */
START_TEST(S15_what_is_revoked_stays_so)
{
	ck_assert_int_eq(share("with=children"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "to=a"), 0);
	expect_with("b");
	ck_assert_int_eq(removed(&w, "sessions/b/caps", "kv"), 0);
	ck_assert_int_eq(put(&w, "transfer_quota", "to=a caps=1"), 0);
	expect_with("");
	ck_assert_int_eq(make(&w, "sessions", "later", ""), 0);
	ck_assert(exists(&w, "sessions/later/caps/kv"));
	ck_assert_int_eq(share("with=children"), 0);
	expect_with("ab");
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	expect_with("");
	ck_assert_int_eq(make(&w, "sessions", "last", ""), 0);
	ck_assert(!exists(&w, "sessions/last/caps/kv"));
	ck_assert_uint_eq(w.model->n[ENTITY_SHARE], 0);
}
END_TEST

/* Without its log. */
static uint64_t
used_by_b(void)
{
	const struct session *b = session_of(walk(&w, "sessions/b").entity);

	return b->used.n[QUOTA_RAM] - b->event_bytes;
}

/* Who does not want it, and whoever it is revoked for, says nothing for those who wait until they have room. */
START_TEST(S15_one_that_drops_it_is_one)
{
	uint64_t ram;

	ck_assert_int_eq(make(&w, "sessions", "poor", "caps=0"), 0);
	ck_assert_int_eq(make(&w, "sessions", "late", "caps=0"), 0);
	ck_assert_int_eq(share("with=children"), 0);
	ram = used_by_b();
	ck_assert_int_eq(removed(&w, "sessions/b/caps", "kv"), 0);
	ck_assert_uint_eq(used_by_b(), ram);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "to=a"), 0);
	expect_with("");
	ck_assert_int_eq(put(&w, "transfer_quota", "to=poor caps=1"), 0);
	ck_assert(exists(&w, "sessions/poor/caps/kv"));
	/* It was no want of room. */
	ck_assert_int_eq(put(&w, "transfer_quota", "to=b caps=1"), 0);
	ck_assert_int_eq(put(&w, "transfer_quota", "to=a caps=1"), 0);
	expect_with("");
	ck_assert_int_eq(put(&w, "transfer_quota", "to=late caps=1"), 0);
	ck_assert(exists(&w, "sessions/late/caps/kv"));
	/* Written anew it is for all, and costs nobody what was declined. */
	ck_assert_int_eq(share("with=children"), 0);
	expect_with("ab");
	ck_assert_uint_eq(used_by_b(), ram);
	ck_assert_uint_eq(w.model->n[ENTITY_DECLINED], 0);
	ck_assert_int_eq(removed(&w, "sessions/b/caps", "kv"), 0);
	ck_assert_int_eq(share("with=none"), 0);
	ck_assert_uint_eq(used_by_b(), ram - 512);
	ck_assert_uint_eq(w.model->n[ENTITY_DECLINED], 0);
}
END_TEST

START_TEST(Z60_all_of_a_session)
{
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=two"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=mine rights=call"), 0);
	ck_assert_int_eq(put(&w, "share", "with=children"), 0);
	ck_assert_str_eq(w.request.text.data, "shared=2");
	expect_with("ab");
	ck_assert(exists(&w, "sessions/b/caps/two"));
	ck_assert(!exists(&w, "sessions/b/caps/mine"));
	ck_assert_int_eq(put(&w, "caps/two/share", "with=a"), 0);
	ck_assert(!exists(&w, "sessions/b/caps/two"));
	ck_assert_int_eq(put(&w, "share", "with=none"), 0);
	expect_with("");
	ck_assert(!exists(&w, "sessions/a/caps/two"));
}
END_TEST

START_TEST(Z60_only_with_the_right)
{
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a rights=call,grant"), 0);
	expect_refusal(EPERM, "sessions/a/caps/kv/share", "with=children",
		"init/a does not hold right 'share' on kv");
	expect_refusal(ENOENT, "sessions/a/share", "with=children", "there is no slot that may be shared");
}
END_TEST

START_TEST(Z60_what_one_got_is_immutable)
{
	ck_assert_int_eq(share("with=children rights=call,grant,share"), 0);
	expect_line(&w, "sessions/a/caps/kv/info", "rights=call\n");
	expect_refusal(EPERM, "sessions/a/caps/kv/share", "with=db", "does not hold right 'share'");
}
END_TEST

START_TEST(Z60_only_with_those_one_can_name)
{
	expect_refusal(ENOENT, "caps/kv/share", "with=nobody", "there is no session 'nobody' here");
	expect_refusal(EINVAL, "caps/kv/share", "with=siblings", "init has no siblings");
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a rights=call,share"), 0);
	expect_refusal(ENOENT, "sessions/a/caps/kv/share", "with=b", "there is no session 'b' here");
	expect_refusal(ENOENT, "sessions/a/caps/kv/share", "with=..", "there is no session");
}
END_TEST

START_TEST(Z60_what_is_not_shared)
{
	expect_refusal(ENOENT, "caps/kv/share", "with=none", "kv is not shared");
	expect_refusal(ENOENT, "share", "with=none", "there is no slot that is shared");
}
END_TEST

START_TEST(Z60_what_is_no_command)
{
	expect_refusal(EINVAL, "caps/kv/share", "conns=4", "'with=");
	expect_refusal(EINVAL, "caps/kv/share", "with=", "with");
	expect_refusal(EINVAL, "caps/kv/share", "with=children as=x", "as");
	expect_refusal(EOPNOTSUPP, "caps/kv/share", "with=children methods=1", "cannot be kept");
	expect_refusal(EINVAL, "share", "with=children conns=2", "conns");
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=4"), 0);
	expect_refusal(EINVAL, "caps/kv/share", "with=children conns=5", "not a reduction of kv");
	expect_refusal(EPERM, "caps/kv/share", "with=children rights=fds", "holds only");
}
END_TEST

START_TEST(Z60_a_full_store)
{
	w.store.full = true;
	expect_refusal(ENOSPC, "caps/kv/share", "with=children", "");
	w.store.full = false;
	/* One that is written again is stored, and its slots when there is room. */
	ck_assert_int_eq(put_only(&w, "caps/kv/share", "with=a"), 0);
	ck_assert_int_eq(put_only(&w, "caps/kv/share", "with=children"), 0);
	w.store.full = true;
	ck_assert_int_eq(share_run(w.model, 8), -ENOSPC);
	expect_with("a");
	w.store.full = false;
	while (share_run(w.model, 1) > 0)
		model_check(w.model);
	expect_with("ab");
}
END_TEST

/* A slice at a time, whatever is in the way: who is made and who goes meanwhile is no matter. */
START_TEST(S15_in_slices)
{
	char name[32];

	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		ck_assert_int_eq(make(&w, "sessions", name, "caps=1 ram=5K"), 0);
	}
	ck_assert_int_eq(put_only(&w, "caps/kv/share", "with=a"), 0);
	ck_assert_int_eq(put_only(&w, "caps/kv/share", "with=subtree"), 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(share_run(w.model, 1), 1);
		model_check(w.model);
	}
	ck_assert_int_eq(removed(&w, "sessions", "s3"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "s30"), 0);
	while (share_run(w.model, 1) > 0)
		model_check(w.model);
	expect_with("abd");
	ck_assert(exists(&w, "sessions/s39/caps/kv"));
	ck_assert_uint_eq(slot("caps/kv")->n_children, 41);
	ck_assert_int_eq(put_only(&w, "caps/kv/share", "with=none"), 0);
	for (int i = 0; i < 10; i++) {
		share_run(w.model, 3);
		model_reap(w.model, 2);
		model_check(w.model);
	}
	while (model_reap(w.model, 2) > 0 || share_run(w.model, 3) > 0)
		model_check(w.model);
	ck_assert_uint_eq(slot("caps/kv")->n_children, 0);
	ck_assert_uint_eq(w.model->n[ENTITY_SHARE], 0);
}
END_TEST

/* More than a slice has room for, a session without room for them among those who get it: nobody waits for ever. */
START_TEST(S15_more_than_a_slice)
{
	unsigned n = 0;
	char name[32];

	ck_assert_int_eq(make(&w, "sessions", "many", "caps=20 ram=1M"), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "as=kv%d", i);
		ck_assert_int_eq(put(&w, "caps/kv/replicate", name), 0);
	}
	ck_assert_int_eq(put_only(&w, "share", "with=children"), 0);
	while (n < 2000 && (model_reap(w.model, 32) > 0 || share_run(w.model, 32) > 0))
		n++;
	ck_assert_uint_lt(n, 2000);
	ck_assert_int_eq(make(&w, "sessions", "later", "caps=200 ram=1M"), 0);
	for (n = 0; n < 2000 && share_run(w.model, 32) > 0; n++)
		model_check(w.model);
	ck_assert_uint_lt(n, 2000);
	ck_assert_uint_eq(session_of(walk(&w, "sessions/later").entity)->n_owned[ENTITY_CAPABILITY], 101);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("share");
	TCase *t = tcase_create("share");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, S15_with_children_now_and_later);
	tcase_add_test(t, S15_with_all_below);
	tcase_add_test(t, S15_with_siblings);
	tcase_add_test(t, S15_siblings_leave_room);
	tcase_add_test(t, S16_with_one_session_and_with_less);
	tcase_add_test(t, S15_narrowing_withdraws);
	tcase_add_test(t, S16_other_reductions);
	tcase_add_test(t, S15_without_room);
	tcase_add_test(t, S15_names_that_collide);
	tcase_add_test(t, S15_what_is_revoked_stays_so);
	tcase_add_test(t, S15_one_that_drops_it_is_one);
	tcase_add_test(t, Z60_all_of_a_session);
	tcase_add_test(t, Z60_only_with_the_right);
	tcase_add_test(t, Z60_what_one_got_is_immutable);
	tcase_add_test(t, Z60_only_with_those_one_can_name);
	tcase_add_test(t, Z60_what_is_not_shared);
	tcase_add_test(t, Z60_what_is_no_command);
	tcase_add_test(t, Z60_a_full_store);
	tcase_add_test(t, S15_in_slices);
	tcase_add_test(t, S15_more_than_a_slice);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
