/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: Z10 Z11 Z12 Z20 Z40 Z50 */
/* Passing capabilities on: grant, reduce, replicate, transfer, revoke. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture.h"
#include "tests/ops-world.h"

START_TEST(grant_defaults_to_call_and_limits_are_shown)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=8"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app conns=4\n"), 0);
	ck_assert_int_eq(strncmp(w.request.text.data, "slot=kv id=", 11), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "rights=call\nconns limit=4 used=0 left=4\n");
	expect_line(&w, "caps/kv/holders", "init/app/caps/kv rights=call conns=0/4");
	expect_event(&w, " session=init/app slot=kv id=");
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/grant", "to=x"), EPERM);
	expect_event(&w, "refused grant session=init/app slot=kv uid=1000 EPERM: init/app does not hold right 'grant'");
	world_deinit(&w);
}
END_TEST

START_TEST(a_limit_that_nobody_counts_is_not_granted)
{
	struct world w;
	char *usage;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=raw"), 0);
	ck_assert_int_eq(put(&w, "caps/raw/grant", "to=app methods=1-2"), EOPNOTSUPP);
	ck_assert_int_eq(put(&w, "caps/raw/replicate", "as=two methods=1-2"), EOPNOTSUPP);
	ck_assert_int_eq(put(&w, "caps/raw/reduce", "methods=1"), EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "'methods' cannot be kept for raw"));
	usage = text_of(&w, "caps/raw/grant");
	ck_assert_ptr_null(strstr(usage, "methods="));
	free(usage);
	/* A connection is a call there. */
	expect_line(&w, "caps/raw/grant", "[calls=N]");
	ck_assert_int_eq(put(&w, "caps/raw/grant", "to=app calls=3 rate=5/s"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app calls=3"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "calls=3"), 0);
	world_deinit(&w);
}
END_TEST

/* A set of methods only gets smaller, by whatever operation, also behind an ancestor's back. */
START_TEST(Z42_methods_only_shrink)
{
	static const char *const not_smaller[] = {"0-9", "9", "0-5", "4-6", "3-4,7-8", "0-4294967295"};
	static const char *const malformed[] = {"", "x", "1-", "-1", "3-1", "1,", ",1", "4294967296",
		"1,3,5,7,9", "1--2", "0x1"};
	struct world w;
	char text[128];

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		snprintf(text, sizeof(text), "to=app methods=%s", malformed[i]);
		ck_assert_msg(put(&w, "caps/rpc/grant", text) == EINVAL, "%s", text);
	}
	ck_assert_int_eq(
		put(&w, "caps/rpc/grant", "to=app rights=call,grant,reduce,replicate methods=2,1,8,3-4"),
		0);
	expect_line(&w, "sessions/app/caps/rpc/info", "rights=call,grant,replicate,reduce\nmethods=1-4,8\n");
	for (size_t i = 0; i < sizeof(not_smaller) / sizeof(not_smaller[0]); i++) {
		snprintf(text, sizeof(text), "methods=%s", not_smaller[i]);
		ck_assert_msg(put(&w, "sessions/app/caps/rpc/reduce", text) == EINVAL, "%s", text);
		snprintf(text, sizeof(text), "as=two methods=%s", not_smaller[i]);
		ck_assert_msg(put(&w, "sessions/app/caps/rpc/replicate", text) == EINVAL, "%s", text);
	}
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=1-4,8"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/replicate", "as=two methods=3,8"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/replicate", "as=three"), 0);
	expect_line(&w, "sessions/app/caps/three/info", "methods=1-4,8\n");
	expect_line(&w, "caps/rpc/holders", " methods=1-4,8 ");
	/* What the parent loses is lost below it, too. */
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=4-4,8"), 0);
	expect_line(&w, "sessions/app/caps/two/info", "methods=8\n");
	ck_assert_int_eq(put(&w, "sessions/app/caps/two/reduce", "methods=3"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/three/reduce", "methods=3"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/replicate", "as=four methods=3"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=4"), 0);
	expect_line(&w, "sessions/app/caps/two/info", "methods=none\n");
	world_deinit(&w);
}
END_TEST

START_TEST(Z40_reduce_shrinks_in_place)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=5"), 0);
	expect_line(&w, "caps/kv/info", "conns limit=5 used=0");
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=6"), EINVAL);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "rights=call"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=1"), EPERM);
	expect_line(&w, "caps/kv/info", "rights=call\n");
	world_deinit(&w);
}
END_TEST

/* Who still has a file of it open learns that it is gone, not which right it would have lacked. */
START_TEST(what_has_ended_says_so_first)
{
	static const char *const verbs[][2] = {
		{"reduce", "conns=1"}, {"replicate", "as=two"}, {"grant", "to=x"}, {"transfer", "to=x"}};
	struct node nodes[4];
	struct world w;
	char path[64];

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call"), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "x", ""), 0);
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "sessions/app/caps/kv/%s", verbs[i][0]);
		nodes[i] = walk(&w, path);
		ck_assert_int_eq(put(&w, path, verbs[i][1]), EPERM);
	}
	ck_assert_int_eq(put_only(&w, "caps/kv/revoke", "1"), 0);
	for (size_t i = 0; i < 4; i++) {
		ck_assert_int_eq(tree_write(ask(&w), nodes[i], verbs[i][1], strlen(verbs[i][1])), 0);
		ck_assert_int_eq(w.request.error, ENOENT);
	}
	world_deinit(&w);
}
END_TEST

START_TEST(Z20_replicate_is_a_derivation_here)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=3"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call,replicate calls=3"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "as=two rights=call"), 0);
	expect_line(&w, "sessions/app/caps/two/info", "parent=init/app/caps/kv id=");
	expect_line(&w, "sessions/app/caps/two/info", "rights=call\n");
	/* The quantity is not there twice: what is used counts against the source. */
	expect_line(&w, "sessions/app/caps/two/info", "calls limit=3 used=0 left=3\n");
	expect_event(&w, "replicate session=init/app slot=two id=");
	expect_event(&w, " uid=1000 from=init/app/caps/kv");
	ck_assert_int_eq(put(&w, "sessions/app/caps/two/replicate", "as=three"), EPERM);
	expect_event(&w, "refused replicate session=init/app slot=two uid=1000 EPERM: init/app does not hold right "
			 "'replicate'");
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "conns=2"), 0);
	ck_assert(exists(&w, "sessions/app/caps/kv-2"));
	/* The pool is empty. */
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "as=four"), EDQUOT);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/two") && !exists(&w, "sessions/app/caps/kv-2"));
	world_deinit(&w);
}
END_TEST

START_TEST(Z10_Z11_Z12_transfer_moves)
{
	struct world w;
	char *before, *after;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "b", "caps=1"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a as=stays rights=call,grant"), 0);
	ck_assert_int_eq(
		put(&w, "caps/kv/grant", "to=a as=moves rights=call,grant,transfer conns=2"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/stays/transfer", "to=b"), EPERM);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/transfer", "to=c"), ENOENT);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/grant", "to=b"), 0);
	before = text_of(&w, "sessions/a/caps/moves/info");
	/* In use; the refusal says so and leaves it as it is. */
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/transfer", "to=b"), EBUSY);
	after = text_of(&w, "sessions/a/caps/moves/info");
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/revoke", "1"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/transfer", "to=b as=here"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/moves"));
	expect_line(&w, "sessions/a/sessions/b/caps/here/info", "parent=init/caps/kv id=");
	expect_line(&w, "sessions/a/sessions/b/caps/here/info", "rights=call,grant,transfer\n");
	expect_line(&w, "sessions/a/sessions/b/caps/here/info", "conns limit=2 used=0 left=2\n");
	expect_event(&w, " transfer session=init/a/b slot=here id=");
	/* Its pool is empty, also for one that would be moved. */
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a as=more rights=call,transfer"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/more/transfer", "to=b"), EDQUOT);
	ck_assert(exists(&w, "sessions/a/caps/more"));
	/* An origin, too. */
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/transfer", "to=a"), 0);
	expect_line(&w, "sessions/a/caps/kv/info", "parent=none id=");
	ck_assert(!exists(&w, "caps/kv"));
	world_deinit(&w);
}
END_TEST

START_TEST(Z10_immutable_is_the_end_of_passing_on)
{
	static const char *const verbs[][2] = {{"grant", "to=b"}, {"replicate", "as=x"},
		{"transfer", "to=b"}, {"reduce", "conns=1"}};
	char path[64];
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "b", ""), 0);
	ck_assert_int_eq(
		put(&w, "caps/kv/grant", "to=a rights=call,grant,replicate,transfer immutable"),
		0);
	expect_line(&w, "sessions/a/caps/kv/info", "rights=call\n");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		snprintf(path, sizeof(path), "sessions/a/caps/kv/%s", verbs[i][0]);
		ck_assert_int_eq(put(&w, path, verbs[i][1]), EPERM);
	}
	world_deinit(&w);
}
END_TEST

START_TEST(revoke_ends_what_was_derived_and_only_that)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=b"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "to=a"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/kv"));
	ck_assert(exists(&w, "sessions/b/caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/kv") && !exists(&w, "sessions/b/caps/kv"));
	ck_assert(exists(&w, "caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert(exists(&w, "sessions/a/caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "self"), 0);
	ck_assert(!exists(&w, "caps/kv") && !exists(&w, "sessions/a/caps/kv"));
	world_deinit(&w);
}
END_TEST

START_TEST(revoke_by_id_reaches_down_only)
{
	struct world w;
	char text[32];
	struct entity *kv, *below;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a rights=call,grant"), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "b", ""), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/grant", "to=b"), 0);
	kv = walk(&w, "caps/kv").entity;
	below = walk(&w, "sessions/a/sessions/b/caps/kv").entity;
	snprintf(text, sizeof(text), "id=%u", (unsigned)kv->id);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/revoke", text), ENOENT);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), ENOENT);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "id=1"), ENOENT);
	snprintf(text, sizeof(text), "id=%u", (unsigned)below->id);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), 0);
	ck_assert(!exists(&w, "sessions/a/sessions/b/caps/kv") && exists(&w, "sessions/a/caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), ENOENT);
	world_deinit(&w);
}
END_TEST

/*
 * Z50: to end needs ownership. Codezero asks for a changeable capability as well; here to give up what one holds is
 * no power over anybody, so it needs no right, and ends nothing that others have not derived from it.
 */
START_TEST(Z50_one_ends_ones_own)
{
	char other[64];
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", "caps=4 ram=100K"), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", "caps=4 ram=100K"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=b"), 0);
	snprintf(other, sizeof(other), "id=%llu",
		(unsigned long long)walk(&w, "sessions/b/caps/kv").entity->id);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/revoke", other), ENOENT);
	snprintf(other, sizeof(other), "id=%llu", (unsigned long long)walk(&w, "caps/kv").entity->id);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/revoke", other), ENOENT);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/revoke", "to=b"), ENOENT);
	ck_assert_int_eq(removed(&w, "sessions/a/entrypoints", "kv"), ENOENT);
	ck_assert(exists(&w, "sessions/b/caps/kv"));
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/revoke", "self"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/kv"));
	ck_assert(exists(&w, "sessions/b/caps/kv") && exists(&w, "caps/kv"));
	world_deinit(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("delegate");
	TCase *t = tcase_create("delegate");

	tcase_add_checked_fixture(t, fixture_setup, fixture_teardown);
	tcase_add_test(t, grant_defaults_to_call_and_limits_are_shown);
	tcase_add_test(t, a_limit_that_nobody_counts_is_not_granted);
	tcase_add_test(t, Z42_methods_only_shrink);
	tcase_add_test(t, Z40_reduce_shrinks_in_place);
	tcase_add_test(t, what_has_ended_says_so_first);
	tcase_add_test(t, Z20_replicate_is_a_derivation_here);
	tcase_add_test(t, Z10_Z11_Z12_transfer_moves);
	tcase_add_test(t, Z10_immutable_is_the_end_of_passing_on);
	tcase_add_test(t, revoke_ends_what_was_derived_and_only_that);
	tcase_add_test(t, revoke_by_id_reaches_down_only);
	tcase_add_test(t, Z50_one_ends_ones_own);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
