/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conformance: R01 R02 R03 P21
 *
 * What the daemon tells of a session, and that it is the state of one moment though it is told in pieces; and what
 * those who restore it write: calls that are used up, badges that were others.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/tree/lists.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;
static struct text text;
static struct reading at;

static void
setup(void)
{
	const struct quota plenty = {.n = {1 << 20, 1 << 20, 1 << 20, UINT64_C(1) << 34, 1 << 20}};

	world_init(&w);
	at = (struct reading){};
	ck_assert_int_eq(model_set_root_limit(w.model, &plenty), 0);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=10000 sockets=10 threads=10 ram=64M inflight=8"), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "sub", "caps=10 sockets=10 threads=1 ram=8M inflight=4"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call,grant,reduce calls=10 conns=9"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/grant", "to=sub as=mine calls=4 rate=7/s"), 0);
}

static void
teardown(void)
{
	text_deinit(&text);
	text = (struct text){};
	world_deinit(&w);
}

static bool
piece(const char *path)
{
	return tree_read_piece(ask(&w), walk(&w, path), &at, &text);
}

static void
expect_part(const char *whole, const char *part)
{
	ck_assert_msg(strstr(whole, part) != NULL, "no '%s' in:\n%.2000s", part, whole);
}

static void
fill(unsigned n)
{
	char command[64];

	for (unsigned i = 0; i < n; i++) {
		snprintf(command, sizeof(command), "to=app as=s%u", i);
		ck_assert_int_eq(put_only(&w, "caps/kv/grant", command), 0);
	}
}

static unsigned
count_slots(const char *t)
{
	unsigned n = 0;

	for (; (t = strstr(t, "\nslot ")); t++)
		n++;
	return n;
}

START_TEST(R01_what_is_told)
{
	char *t;

	ck_assert_int_eq(put(&w, "sessions/app/confine", "net=none"), 0);
	t = text_of(&w, "sessions/app/checkpoint");
	expect_part(t, "capfs-checkpoint 1\nof=init/app made=");
	expect_part(t, "\nsession path=. uid=1000 gid=1000 mode=0700 caps=10000 sockets=10 threads=10 ram=67108864 inflight=8\n");
	expect_part(t, "\nconfine path=. net=none ");
	expect_part(t, " from=init/caps/kv rights=call,grant,reduce calls=10 used=0 conns=9\n");
	expect_part(t, "\nsession path=sub ");
	expect_part(t, " rights=call calls=4 used=0 conns=9 rate=7\n");
	expect_part(t, "\nend sum=");
	free(t);
	t = text_of(&w, "checkpoint");
	expect_part(t, "\nobject path=. entrypoint=kv ");
	expect_part(t, " socket=stream protocol=plain badge=0x1\n");
	expect_part(t, "\nslot path=app name=kv ");
	free(t);
}
END_TEST

/* What a share has made it makes again; of what was asked or is open nobody can. */
START_TEST(R01_shares_and_policies_are_told)
{
	char *t;

	ck_assert_int_eq(put(&w, "sessions/app/policy", "# a comment"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/policy", "init/app/sub log kv calls=2\n\n*/x log deny"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=all rights=call,share,grant"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/all/share", "with=sub conns=2 rate=5/s rights=call"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/share", "with=children"), 0);
	t = text_of(&w, "sessions/app/checkpoint");
	expect_part(t, "\npolicy path=. init/app/sub log kv calls=2\npolicy path=. */x log deny\n");
	expect_part(t, " with=sub rights=call conns=2 rate=5/s\n");
	expect_part(t, "\nleft path=. what=shared name=kv-2 n=1\n");
	ck_assert_ptr_null(strstr(t, "path=sub name=all "));
	ck_assert_uint_eq(count_slots(t), 3);
	free(t);
	/* Who has the same from above, with something of its own. */
	ck_assert_int_eq(make(&w, "sessions/app/sessions/sub/caps/all/as", "mail", ""), 0);
	t = text_of(&w, "checkpoint");
	expect_part(t, "\nleft path=app/sub what=shared name=all n=1\n");
	expect_part(t, " with=children\n");
	ck_assert_ptr_null(strstr(t, "path=app name=kv-2"));
	free(t);
}
END_TEST

START_TEST(R01_what_cannot_be_made_again_is_listed)
{
	struct change *ch = change_begin(w.model);
	struct capability *c = capability_of(walk(&w, "sessions/app/caps/kv").entity), *made;
	const struct quota lent = {};
	enum quota_kind kind;
	char *t;

	ck_assert_int_eq(capability_visit(ch, c, c->session, "open", 4, 0, &made), 0);
	ck_assert_int_eq(visit_open(ch, made, c->session, NULL, &lent, "", 0, &kind), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	put(&w, "sessions/app/sessions/sub/request", "type=object name=log");
	t = text_of(&w, "checkpoint");
	expect_part(t, "\nleft path=. what=visits n=1\n");
	expect_part(t, "\nleft path=app what=visit name=open n=1\n");
	expect_part(t, "\nleft path=app/sub what=requests n=1\n");
	ck_assert_ptr_null(strstr(t, "slot path=app name=open"));
	free(t);
}
END_TEST

/* A change of something else is none of this. */
START_TEST(R01_pieces_of_one_moment)
{
	char *whole;

	fill(100);
	whole = text_of(&w, "sessions/app/checkpoint");
	ck_assert(piece("sessions/app/checkpoint"));
	ck_assert_int_eq(make(&w, "sessions", "other", "caps=1 ram=8K"), 0);
	while (piece("sessions/app/checkpoint"))
		continue;
	ck_assert_uint_eq(at.n_restarts, 0);
	ck_assert_str_eq(text.data, whole);
	free(whole);
}
END_TEST

static void
change_something(unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "to=sub as=x%u", i % 4);
	if (put(&w, "sessions/app/caps/kv/grant", name) != 0) {
		snprintf(name, sizeof(name), "x%u", i % 4);
		ck_assert_int_eq(removed(&w, "sessions/app/sessions/sub/caps", name), 0);
	}
}

START_TEST(R01_what_changes_is_told_anew)
{
	char *now;

	fill(100);
	ck_assert(piece("sessions/app/checkpoint"));
	change_something(0);
	while (piece("sessions/app/checkpoint"))
		continue;
	ck_assert_uint_eq(at.n_restarts, 1);
	now = text_of(&w, "sessions/app/checkpoint");
	ck_assert_str_eq(text.data, now);
	free(now);
}
END_TEST

START_TEST(R01_what_changes_all_the_time_is_told_in_one_piece)
{
	unsigned n = 0;

	fill(100);
	while (piece("sessions/app/checkpoint"))
		change_something(n++);
	expect_part(text.data, "\nend sum=");
	ck_assert_uint_gt(n, 4);
	ck_assert_uint_ge(count_slots(text.data), 102);
}
END_TEST

START_TEST(R01_or_is_torn_and_says_so)
{
	unsigned n = 0;

	fill(LISTS_LINES_MAX + 100);
	while (piece("sessions/app/checkpoint"))
		change_something(n++);
	ck_assert_str_eq(text.data + text.n - 5, "torn\n");
	ck_assert_ptr_null(strstr(text.data, "end sum="));
}
END_TEST

START_TEST(R01_the_lowest_is_told)
{
	char path[16 * SESSION_DEPTH_MAX] = "sessions", quota[64], *t;
	const char *line;
	unsigned n = 0;

	for (unsigned i = 0; i < SESSION_DEPTH_MAX; i++) {
		snprintf(quota, sizeof(quota), "caps=%u ram=%uK", 1000 - 10 * i, 1000 - 10 * i);
		ck_assert_int_eq(make(&w, path, "d", quota), 0);
		strcat(path, "/d/sessions");
	}
	t = text_of(&w, "sessions/d/checkpoint");
	for (line = t; (line = strstr(line, "\nsession ")); line++)
		n++;
	ck_assert_uint_eq(n, SESSION_DEPTH_MAX);
	free(t);
	t = text_of(&w, "checkpoint");
	for (line = t, n = 0; (line = strstr(line, "\nsession ")); line++)
		n++;
	ck_assert_uint_eq(n, SESSION_DEPTH_MAX + 3);
	free(t);
}
END_TEST

START_TEST(R03_calls_that_are_used_up)
{
	const char *reduce = "sessions/app/caps/kv/reduce";

	ck_assert_int_eq(put(&w, reduce, "used=3"), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "calls limit=10 used=3 left=7\n");
	expect_line(&w, "sessions/app/sessions/sub/caps/mine/info", "calls limit=4 used=0 left=4\n");
	ck_assert_int_eq(put(&w, reduce, "used=8"), 0);
	/* What was derived from it has no more than that. */
	expect_line(&w, "sessions/app/sessions/sub/caps/mine/info", "calls limit=4 used=0 left=2\n");
	/* It is never undone, and never more than there is. */
	ck_assert_int_eq(put(&w, reduce, "used=7"), EINVAL);
	ck_assert_int_eq(put(&w, reduce, "used=11"), EINVAL);
	ck_assert_int_eq(put(&w, reduce, "used=9 conns=1"), EINVAL);
	ck_assert_int_eq(put(&w, reduce, "used=-1"), EINVAL);
	expect_line(&w, "sessions/app/caps/kv/info", "calls limit=10 used=8 left=2\n");
	/* Without a limit there is nothing to use up, and without the right nobody does. */
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "used=1"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/sessions/sub/caps/mine/reduce", "used=1"), EPERM);
}
END_TEST

START_TEST(R02_a_badge_that_was_another)
{
	char *t;

	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=7 as=new was=0x1234"), 0);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, " was=0x1234"));
	expect_line(&w, "entrypoints/kv/objects", " was=0x1234 slot=init/caps/new\n");
	/* A server that adds it again is told, and changes nothing by that. */
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=7"), 0);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "badge=0x2 was=0x1234"));
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=0 socket=stream"), 0);
	ck_assert_ptr_null(strstr(w.request.text.data, "was="));
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=8 was=0x10000000000"), EINVAL);
	t = text_of(&w, "entrypoints/kv/objects");
	ck_assert_ptr_null(strstr(t, "key=8"));
	free(t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("checkpoint");
	TCase *t = fixture_case(s, "checkpoint", 60);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, R01_what_is_told);
	tcase_add_test(t, R01_shares_and_policies_are_told);
	tcase_add_test(t, R01_what_cannot_be_made_again_is_listed);
	tcase_add_test(t, R01_pieces_of_one_moment);
	tcase_add_test(t, R01_what_changes_is_told_anew);
	tcase_add_test(t, R01_what_changes_all_the_time_is_told_in_one_piece);
	tcase_add_test(t, R01_or_is_torn_and_says_so);
	tcase_add_test(t, R01_the_lowest_is_told);
	tcase_add_test(t, R03_calls_that_are_used_up);
	tcase_add_test(t, R02_a_badge_that_was_another);
	return fixture_main(s);
}
