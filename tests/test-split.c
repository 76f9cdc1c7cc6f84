/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: S16 Z30 Z31 Z32 Z33 Z34 */
/* split: two slots of one, by rights, calls or methods, which have together what it had. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;

/* kv, without counted calls, and rpc with them, of app; neither can be replicated there. */
static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=16 ram=200K"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call,reduce,transfer calls=10"), 0);
	ck_assert_int_eq(put(&w, "caps/rpc/grant", "to=app rights=call,reduce"), 0);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

static int
split(const char *name, const char *how)
{
	char path[64];

	snprintf(path, sizeof(path), "sessions/app/caps/%s/split", name);
	return put(&w, path, how);
}

static void
expect_slot(const char *name, const char *line)
{
	char path[64];

	snprintf(path, sizeof(path), "sessions/app/caps/%s/info", name);
	expect_line(&w, path, line);
}

static struct capability *
slot(const char *path)
{
	return capability_of(walk(&w, path).entity);
}

static void
use(const char *name, unsigned n)
{
	char path[64];

	snprintf(path, sizeof(path), "sessions/app/caps/%s", name);
	for (unsigned i = 0; i < n; i++) {
		struct change *ch = change_begin(w.model);

		ck_assert_int_eq(capability_connect(ch, slot(path)), 0);
		ck_assert_int_eq(change_commit(ch), 0);
		capability_connected(slot(path));
	}
}

/* Z33: what is refused leaves the record as it was, bit for bit. */
static void
Z33_expect_refusal(int error, const char *name, const char *how, const char *reason)
{
	uint64_t n = w.model->n[ENTITY_CAPABILITY];
	struct capability_record before;
	char path[64];

	snprintf(path, sizeof(path), "sessions/app/caps/%s", name);
	before = slot(path)->record;
	ck_assert_msg(split(name, how) == error, "%s: %d %s", how, w.request.error,
		w.request.text.data);
	ck_assert_msg(strstr(w.request.text.data, reason) != NULL, "%s: %s", how,
		w.request.text.data);
	ck_assert_mem_eq(&slot(path)->record, &before, sizeof(before));
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], n);
}

START_TEST(Z30_by_rights)
{
	use("kv", 2);
	ck_assert_int_eq(split("kv", "as=use rights=call"), 0);
	ck_assert_int_eq(strncmp(w.request.text.data, "slot=use id=", 12), 0);
	expect_slot("use", "rights=call\ncalls limit=10 used=0 left=10\n");
	expect_slot("kv", "rights=reduce,transfer\ncalls limit=10 used=2 left=8\n");
	/* Its parent is the source's, and its name one that is free. */
	expect_slot("use", "parent=init/caps/kv id=");
	ck_assert_int_eq(split("kv", "rights=transfer"), 0);
	expect_slot("kv-2", "rights=transfer\n");
	expect_slot("kv", "rights=reduce\n");
	/* Nor may the last right go otherwise. */
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/reduce", "immutable"), EINVAL);
	expect_event(&w, "split session=init/app slot=use id=");
}
END_TEST

START_TEST(Z30_the_original_keeps_one)
{
	Z33_expect_refusal(EINVAL, "kv", "rights=call,reduce,transfer", "no part of kv");
}
END_TEST

START_TEST(Z30_only_what_it_has)
{
	Z33_expect_refusal(EPERM, "kv", "rights=call,grant", "init/app holds only 'call,reduce,transfer' on kv");
}
END_TEST

START_TEST(Z30_something_at_all)
{
	Z33_expect_refusal(EINVAL, "kv", "rights=", "needs a value");
	Z33_expect_refusal(EPERM, "kv", "rights=fds", "holds only");
}
END_TEST

START_TEST(Z31_by_calls)
{
	use("kv", 3);
	ck_assert_int_eq(split("kv", "as=part calls=6"), 0);
	expect_slot("part", "calls limit=6 used=0 left=6\n");
	expect_slot("kv", "calls limit=4 used=3 left=1\n");
}
END_TEST

START_TEST(Z31_less_than_the_whole)
{
	Z33_expect_refusal(EINVAL, "kv", "calls=10", "no part of kv");
	Z33_expect_refusal(EINVAL, "kv", "calls=none", "no part of kv");
}
END_TEST

START_TEST(Z31_more_than_nothing)
{
	Z33_expect_refusal(EINVAL, "kv", "calls=0", "a limit is a number above 0");
}
END_TEST

START_TEST(Z31_only_what_is_unused)
{
	use("kv", 3);
	Z33_expect_refusal(EBUSY, "kv", "calls=8", "more than that of kv is in use");
	/* And something is left on the other side. */
	Z33_expect_refusal(EBUSY, "kv", "calls=7", "more than that of kv is in use");
	ck_assert_int_eq(split("kv", "calls=6"), 0);
}
END_TEST

START_TEST(Z31_a_quantity_there_must_be)
{
	Z33_expect_refusal(EINVAL, "rpc", "calls=5", "no part of rpc");
}
END_TEST

START_TEST(Z32_by_methods_that_are_disjoint)
{
	ck_assert_int_eq(split("rpc", "as=low methods=0-9,20"), 0);
	expect_slot("low", "methods=0-9,20\n");
	expect_slot("rpc", "methods=10-19,21-4294967295\n");
	ck_assert_int_eq(split("rpc", "as=last methods=4294967295"), 0);
	expect_slot("rpc", "methods=10-19,21-4294967294\n");
	ck_assert_int_eq(split("low", "as=one methods=20"), 0);
	expect_slot("low", "methods=0-9\n");
}
END_TEST

START_TEST(Z32_neither_side_empty)
{
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=1-4,8"), 0);
	Z33_expect_refusal(EINVAL, "rpc", "methods=1-4,8", "no part of rpc");
	Z33_expect_refusal(EINVAL, "rpc", "methods=0-9", "no part of rpc");
	Z33_expect_refusal(EINVAL, "rpc", "methods=4-8", "no part of rpc");
	Z33_expect_refusal(EINVAL, "rpc", "methods=all", "no part of rpc");
	ck_assert_int_eq(split("rpc", "methods=2-3"), 0);
	expect_slot("rpc", "methods=1,4,8\n");
}
END_TEST

START_TEST(Z32_what_an_ancestor_lacks_is_no_part)
{
	ck_assert_int_eq(put(&w, "caps/rpc/reduce", "methods=1-4"), 0);
	Z33_expect_refusal(EINVAL, "rpc", "methods=1-4", "no part of rpc");
	Z33_expect_refusal(EINVAL, "rpc", "methods=4-5", "no part of rpc");
	ck_assert_int_eq(split("rpc", "methods=1-3"), 0);
	expect_slot("rpc", "methods=4\n");
}
END_TEST

/* A record has four ranges, so that what is left must not be more. */
START_TEST(Z32_as_many_ranges_as_there_may_be)
{
	Z33_expect_refusal(EINVAL, "rpc", "methods=1,3,5,7", "no part of rpc");
	ck_assert_int_eq(split("rpc", "methods=1,3,5"), 0);
	expect_slot("rpc", "methods=0,2,4,6-4294967295\n");
}
END_TEST

START_TEST(Z32_where_the_type_has_them)
{
	Z33_expect_refusal(EOPNOTSUPP, "kv", "methods=1", "cannot be kept for kv");
	expect_line(&w, "sessions/app/caps/kv/split", "rights=call,reduce,transfer|calls=N [as=NAME]\n");
	expect_line(&w, "sessions/app/caps/rpc/split", "rights=call,reduce|methods=LO-HI,...|calls=N [as=NAME]\n");
}
END_TEST

/* Without `replicate` there are never two of what there was one: limits are halved with the rest. */
START_TEST(Z34_no_way_round_replicate)
{
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "as=twin"), EPERM);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/reduce", "conns=5 rate=7/s"), 0);
	use("kv", 2);
	ck_assert_int_eq(split("kv", "as=part calls=4"), 0);
	expect_slot("part", "calls limit=4 used=0 left=4\nconns limit=1 used=0 left=1\nrate limit=3/s\n");
	expect_slot("kv", "calls limit=6 used=2 left=4\nconns limit=4 used=2 left=2\nrate limit=4/s\n");
	Z33_expect_refusal(EBUSY, "part", "calls=2", "nothing left to be halved");
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "calls=9"), 0);
	ck_assert_int_eq(split("rpc", "as=half methods=1-4"), 0);
	expect_slot("half", "calls limit=4 used=0 left=4\n");
	expect_slot("rpc", "calls limit=5 used=0 left=5\n");
}
END_TEST

START_TEST(Z34_what_is_shared_below_is_not_doubled)
{
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "db", "caps=4"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=more rights=call,grant,reduce"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/more/grant", "to=db"), 0);
	ck_assert_int_eq(split("more", "as=use rights=call"), 0);
	/* What was derived stays below the source, and has no more than that. */
	expect_line(&w, "sessions/app/sessions/db/caps/more/info", "rights=-\n");
	expect_slot("use", "children=0\n");
	expect_slot("more", "children=1\n");
}
END_TEST

START_TEST(S16_it_needs_the_right)
{
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=fixed"), 0);
	Z33_expect_refusal(EPERM, "fixed", "rights=call", "init/app does not hold right 'reduce' on fixed");
}
END_TEST

START_TEST(S16_one_thing_at_a_time)
{
	Z33_expect_refusal(EINVAL, "kv", "as=x", "one of rights=, methods=LO-HI,..., calls=N");
	Z33_expect_refusal(EINVAL, "kv", "rights=call calls=5", "one of rights=");
	Z33_expect_refusal(EINVAL, "kv", "calls=5 conns=1", "conns");
	Z33_expect_refusal(EEXIST, "kv", "as=rpc calls=5", "init/app has a slot 'rpc'");
	Z33_expect_refusal(EINVAL, "kv", "as=.x calls=5", "not a valid name");
}
END_TEST

START_TEST(Z33_neither_quota_nor_store_refuse_by_halves)
{
	w.store.full = true;
	Z33_expect_refusal(ENOSPC, "kv", "calls=5", "");
	w.store.full = false;
	for (int i = 0; i < 14; i++)
		ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	Z33_expect_refusal(EDQUOT, "kv", "calls=5", "init/app caps limit=16");
}
END_TEST

/* An origin is split as well: what its server made is two then, without a parent. */
START_TEST(Z30_an_origin)
{
	ck_assert_int_eq(put(&w, "caps/kv/split", "as=giver rights=grant"), 0);
	expect_line(&w, "caps/giver/info", "rights=grant\n");
	expect_line(&w, "caps/giver/info", "parent=none");
	ck_assert_int_eq(removed(&w, "caps", "kv"), 0);
	ck_assert(exists(&w, "caps/giver"));
	ck_assert(!exists(&w, "sessions/app/caps/kv"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("split");
	TCase *t = tcase_create("split");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, Z30_by_rights);
	tcase_add_test(t, Z30_the_original_keeps_one);
	tcase_add_test(t, Z30_only_what_it_has);
	tcase_add_test(t, Z30_something_at_all);
	tcase_add_test(t, Z31_by_calls);
	tcase_add_test(t, Z31_less_than_the_whole);
	tcase_add_test(t, Z31_more_than_nothing);
	tcase_add_test(t, Z31_only_what_is_unused);
	tcase_add_test(t, Z31_a_quantity_there_must_be);
	tcase_add_test(t, Z32_by_methods_that_are_disjoint);
	tcase_add_test(t, Z32_neither_side_empty);
	tcase_add_test(t, Z32_what_an_ancestor_lacks_is_no_part);
	tcase_add_test(t, Z32_as_many_ranges_as_there_may_be);
	tcase_add_test(t, Z32_where_the_type_has_them);
	tcase_add_test(t, Z34_no_way_round_replicate);
	tcase_add_test(t, Z34_what_is_shared_below_is_not_doubled);
	tcase_add_test(t, S16_it_needs_the_right);
	tcase_add_test(t, S16_one_thing_at_a_time);
	tcase_add_test(t, Z33_neither_quota_nor_store_refuse_by_halves);
	tcase_add_test(t, Z30_an_origin);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
