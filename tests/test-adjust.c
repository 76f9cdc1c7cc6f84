/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P39 */
/* adjust: what was derived is changed in place, up and down within what the source has. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;

/* kv of init, derived with conns=16 for app, and there with conns=8 for db. */
static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=16 ram=200K"), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "db", "caps=4"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call,grant,reduce conns=16"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/grant", "to=db conns=8"), 0);
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
adjust(const char *how)
{
	return put(&w, "caps/kv/adjust", how);
}

static void
expect_refusal(int error, const char *how, const char *reason)
{
	char *before = text_of(&w, "sessions/app/caps/kv/info"), *after;

	ck_assert_msg(adjust(how) == error, "%s: %d %s", how, w.request.error, w.request.text.data);
	ck_assert_msg(strstr(w.request.text.data, reason) != NULL, "%s: %s", how,
		w.request.text.data);
	after = text_of(&w, "sessions/app/caps/kv/info");
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
}

START_TEST(P39_up_and_down_in_place)
{
	uint64_t id = slot("sessions/app/caps/kv")->entity.id;
	char text[128];

	for (int i = 0; i < 3; i++)
		capability_connected(slot("sessions/app/caps/kv"));
	ck_assert_int_eq(adjust("to=app conns=64"), 0);
	snprintf(text, sizeof(text), "slot=kv id=%" PRIu64 " connections=3 conns=16->64", id);
	ck_assert_str_eq(w.request.text.data, text);
	expect_line(&w, "sessions/app/caps/kv/info", "conns limit=64 used=3 left=61\n");
	expect_event(&w, "adjust session=init/app slot=kv id=");
	expect_event(&w, " uid=1000 from=init/caps/kv conns=16->64");
	ck_assert_int_eq(adjust("to=app conns=3 rate=5/s calls=100"), 0);
	ck_assert_ptr_nonnull(strstr(w.request.text.data,
		" connections=3 calls=none->100 conns=64->3 rate=none->5/s"));
	expect_line(&w, "sessions/app/caps/kv/info", "conns limit=3 used=3 left=0\n");
	ck_assert_int_eq(adjust("to=app conns=none rate=none calls=none"), 0);
	snprintf(text, sizeof(text), "id=%" PRIu64 " conns=16", id);
	ck_assert_int_eq(adjust(text), 0);
	ck_assert_uint_eq(slot("sessions/app/caps/kv")->entity.id, id);
	/* Twice is as once. */
	ck_assert_int_eq(adjust(text), 0);
	ck_assert_ptr_null(strstr(w.request.text.data, "->"));
	ck_assert_uint_eq(slot("sessions/app/caps/kv")->conns_used, 3);
}
END_TEST

START_TEST(P39_rights_and_methods_and_time)
{
	ck_assert_int_eq(adjust("to=app rights=call,grant,transfer"), 0);
	ck_assert_ptr_nonnull(strstr(
		w.request.text.data, "rights=call,grant,reduce->call,grant,transfer"));
	expect_line(&w, "sessions/app/caps/kv/info", "rights=call,grant,transfer\n");
	ck_assert_int_eq(adjust("to=app immutable"), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "rights=call\n");
	ck_assert_int_eq(adjust("to=app expires=2099-01-01T00:00:00Z"), 0);
	expect_line(&w, "sessions/app/sessions/db/caps/kv/info", "expires=2099-01-01T00:00:00Z\n");
	ck_assert_int_eq(adjust("to=app expires=never"), 0);
	expect_line(&w, "sessions/app/sessions/db/caps/kv/info", "expires=never\n");
	ck_assert_int_eq(put(&w, "caps/rpc/grant", "to=app methods=1-4"), 0);
	ck_assert_int_eq(put(&w, "caps/rpc/adjust", "to=app methods=3-9"), 0);
	expect_line(&w, "sessions/app/caps/rpc/info", "methods=3-9\n");
	ck_assert_int_eq(put(&w, "caps/rpc/adjust", "to=app methods=all"), 0);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "methods=3-9->all"));
}
END_TEST

/* What app has passed on is bounded by app's, and is as it was when that is more again. */
START_TEST(P39_what_is_below_follows)
{
	ck_assert_int_eq(adjust("to=app conns=4 rights=grant,reduce"), 0);
	expect_line(&w, "sessions/app/sessions/db/caps/kv/info",
		"rights=-\nconns limit=8 used=0 left=4\n");
	ck_assert_int_eq(adjust("to=app conns=32 rights=call,grant"), 0);
	expect_line(&w, "sessions/app/sessions/db/caps/kv/info",
		"rights=call\nconns limit=8 used=0 left=8\n");
	/* And app's holder may give no more than that. */
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/adjust", "to=db conns=32"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/adjust", "to=db conns=33"), EPERM);
	ck_assert_str_eq(w.request.text.data, "init/app itself has less than that on kv");
}
END_TEST

START_TEST(P39_never_above_the_source)
{
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=20 calls=50 rate=9/s "
		"rights=call,grant,reduce expires=2090-01-01T00:00:00Z"), 0);
	expect_refusal(EPERM, "to=app conns=21", "init itself has less than that on kv");
	expect_refusal(EPERM, "to=app conns=none", "init itself has less than that on kv");
	expect_refusal(EPERM, "to=app calls=51", "init itself has less than that on kv");
	expect_refusal(EPERM, "to=app rate=10/s", "init itself has less than that on kv");
	expect_refusal(EPERM, "to=app expires=2090-01-01T00:00:01Z",
		"init itself has less than that on kv");
	expect_refusal(EPERM, "to=app expires=never", "init itself has less than that on kv");
	expect_refusal(EPERM, "to=app rights=call,transfer",
		"init holds only 'call,grant,reduce' on kv");
	expect_refusal(EPERM, "to=app conns=2 calls=51", "init itself has less than that on kv");
	ck_assert_int_eq(put(&w, "caps/rpc/reduce", "methods=1-4"), 0);
	ck_assert_int_eq(put(&w, "caps/rpc/grant", "to=app"), 0);
	ck_assert_int_eq(put(&w, "caps/rpc/adjust", "to=app methods=1-5"), EPERM);
	ck_assert_int_eq(put(&w, "caps/rpc/adjust", "to=app methods=all"), EPERM);
	ck_assert_int_eq(put(&w, "caps/rpc/adjust", "to=app methods=2-3"), 0);
}
END_TEST

START_TEST(P39_never_below_what_is_in_use)
{
	struct capability *c = slot("sessions/app/caps/kv");

	ck_assert_int_eq(adjust("to=app calls=10"), 0);
	for (int i = 0; i < 3; i++) {
		struct change *ch = change_begin(w.model);

		ck_assert_int_eq(capability_connect(ch, c), 0);
		ck_assert_int_eq(change_commit(ch), 0);
		capability_connected(c);
	}
	expect_refusal(EBUSY, "to=app conns=2", "more than that of kv is in use");
	expect_refusal(EBUSY, "to=app calls=2", "more than that of kv is in use");
	ck_assert_int_eq(adjust("to=app conns=3 calls=3"), 0);
	/* What was used stays used. */
	ck_assert_int_eq(adjust("to=app calls=5"), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "calls limit=5 used=3 left=2\n");
}
END_TEST

START_TEST(P39_which_one_is_meant)
{
	char text[128], only[128];
	uint64_t first, second, below;

	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=two"), 0);
	first = slot("sessions/app/caps/kv")->entity.id;
	second = slot("sessions/app/caps/two")->entity.id;
	below = slot("sessions/app/sessions/db/caps/kv")->entity.id;
	snprintf(text, sizeof(text), "several of kv are held there: id=%" PRIu64 ", id=%" PRIu64,
		first, second);
	expect_refusal(EINVAL, "to=app conns=2", text);
	snprintf(only, sizeof(only), "id=%" PRIu64 " conns=2", second);
	ck_assert_int_eq(adjust(only), 0);
	expect_line(&w, "sessions/app/caps/two/info", "conns limit=2 ");
	expect_line(&w, "sessions/app/caps/kv/info", "conns limit=16 ");
	/* One that has ended is none of them. */
	ck_assert_int_eq(removed(&w, "sessions/app/caps", "two"), 0);
	expect_refusal(ENOENT, only, "nothing derived from kv itself has that id");
	ck_assert_int_eq(adjust("to=app conns=8"), 0);
	/* What app has derived is app's to adjust. */
	snprintf(only, sizeof(only), "id=%" PRIu64 " conns=2", below);
	expect_refusal(ENOENT, only, "nothing derived from kv itself has that id");
	expect_refusal(ENOENT, "to=app/db conns=2", "nothing derived from kv itself is held there");
	expect_refusal(ENOENT, "to=web conns=2", "there is no session 'web' here");
	snprintf(only, sizeof(only), "id=%" PRIu64 " conns=2", slot("caps/kv")->entity.id);
	expect_refusal(ENOENT, only, "nothing derived from kv itself has that id");
}
END_TEST

START_TEST(P39_what_is_no_command)
{
	expect_refusal(EINVAL, "to=app", "nothing is given that would change");
	expect_refusal(EINVAL, "conns=4", "one of to=SESSION, id=N");
	expect_refusal(EINVAL, "to=app id=4 conns=4", "one of to=SESSION, id=N");
	expect_refusal(EINVAL, "to=app conns=0", "a limit is a number above 0");
	expect_refusal(EINVAL, "to=app as=x conns=1", "as");
	expect_refusal(EOPNOTSUPP, "to=app methods=1", "'methods' cannot be kept for kv");
	ck_assert_int_eq(put(&w, "sessions/app/sessions/db/caps/kv/adjust", "id=1 conns=1"), EPERM);
	ck_assert_str_eq(w.request.text.data, "init/app/db does not hold right 'grant' on kv");
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "rights=call,reduce"), 0);
	expect_refusal(EPERM, "to=app conns=1", "init does not hold right 'grant' on kv");
}
END_TEST

/* The store that is full changes nothing, and what expires does so by the new time. */
START_TEST(P39_a_full_store_and_expiry)
{
	uint64_t next;

	w.store.full = true;
	expect_refusal(ENOSPC, "to=app conns=4", "");
	w.store.full = false;
	ck_assert_int_eq(adjust("to=app expires=3600"), 0);
	ck_assert_int_eq(expiry_run(w.model, &next), 0);
	ck_assert_uint_eq(next, slot("sessions/app/caps/kv")->record.expires_usec);
	ck_assert_int_eq(adjust("to=app expires=never"), 0);
	model_check(w.model);
	w.model->next_expiry_usec = 0;
	ck_assert_int_eq(expiry_run(w.model, &next), 0);
	ck_assert_uint_eq(next, LIMIT_NONE);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("adjust");
	TCase *t = tcase_create("adjust");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, P39_up_and_down_in_place);
	tcase_add_test(t, P39_rights_and_methods_and_time);
	tcase_add_test(t, P39_what_is_below_follows);
	tcase_add_test(t, P39_never_above_the_source);
	tcase_add_test(t, P39_never_below_what_is_in_use);
	tcase_add_test(t, P39_which_one_is_meant);
	tcase_add_test(t, P39_what_is_no_command);
	tcase_add_test(t, P39_a_full_store_and_expiry);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
