/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C14 G28 G29 G30 S12 S13 S23 Z70 */
/* What sessions ask of their parent, and what that gives: `request`, `requests`. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/verbs/verbs.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

static struct world w;
static uint64_t handle;

/* As who has an open file: each has a handle. Returns: the errno of the refusal. */
static int
request_of(const char *path, const char *text, uint64_t file)
{
	const struct asker asker = {.handle = file};
	struct request *r = ask(&w);

	r->asker = &asker;
	ck_assert_int_eq(tree_write(r, walk(&w, path), text, strlen(text)), 0);
	r->asker = NULL;
	model_check(w.model);
	return r->error;
}

static struct ask *
last_ask(void)
{
	struct ask *a = ask_find_file(w.model, handle);

	ck_assert_ptr_nonnull(a);
	return a;
}

static int
request_by(const char *path, const char *text)
{
	return request_of(path, text, ++handle);
}

/* "id=N" and WHAT, written to `requests` at PATH, for what was asked last. */
static int
decide(const char *path, const char *what)
{
	char text[256];

	snprintf(text, sizeof(text), "id=%llu %s", (unsigned long long)last_ask()->entity.id, what);
	return put(&w, path, text);
}

static void
expect_answer(uint32_t error, const char *text)
{
	const struct ask_record *r = &last_ask()->record;

	ck_assert_int_eq(r->state, ASK_ANSWERED);
	ck_assert_uint_eq(r->error, error);
	ck_assert_msg(r->n_text >= strlen(text) && memcmp(r->text, text, strlen(text)) == 0, "'%.*s' instead of '%s'",
		r->n_text, r->text, text);
}

static void
setup(void)
{
	fixture_setup();
	handle = 0;
	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=16 ram=64K"), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", ""), 0);
}

static void
teardown(void)
{
	world_deinit(&w);
	fixture_teardown();
}

START_TEST(S23_after_the_request_exactly_what_was_asked_for)
{
	ck_assert(!exists(&w, "sessions/app/caps/net"));
	ck_assert_int_eq(request_by("sessions/app/request", "type=object name=net rights=call calls=9"), 0);
	expect_line(&w, "requests", "from=init/app type=object name=net rights=call calls=9 waiting=0");
	expect_event(&w, "request session=init/app id=");
	ck_assert(!exists(&w, "sessions/app/caps/net"));
	ck_assert_int_eq(decide("requests", "slot=kv"), 0);
	expect_answer(0, "slot=net id=");
	expect_event(&w, "grant session=init/app slot=net id=");
	expect_line(&w, "sessions/app/caps/net/info", "rights=call");
	expect_line(&w, "sessions/app/caps/net/info", "calls limit=9 used=0 left=9");
	expect_line(&w, "sessions/app/caps/net/info", "parent=init/caps/kv");
	ck_assert(!exists(&w, "sessions/app/caps/kv") && !exists(&w, "sessions/b/caps/net"));
	/* It is in no list any more. */
	{
		char *text = text_of(&w, "requests");

		ck_assert_str_eq(text, "");
		free(text);
	}
}
END_TEST

/* It is not the number that stands for it in records, which no decider could give. */
START_TEST(no_limit_is_asked_for_by_none)
{
	ck_assert_int_eq(request_by("sessions/app/request", "name=net calls=none conns=2 rate=none expires=never"), 0);
	expect_line(&w, "requests", "from=init/app type=object name=net conns=2 waiting=0");
}
END_TEST

START_TEST(S12_what_is_given_is_immutable_and_never_more_than_either_says)
{
	ck_assert_int_eq(request_by("sessions/app/request", "name=net calls=50 conns=3"), 0);
	ck_assert_int_eq(decide("requests", "slot=kv calls=20 rate=5/s"), 0);
	expect_line(&w, "sessions/app/caps/net/info", "calls limit=20");
	expect_line(&w, "sessions/app/caps/net/info", "conns limit=3");
	expect_line(&w, "sessions/app/caps/net/info", "rate limit=5/s");
	expect_line(&w, "sessions/app/caps/net/info", "rights=call");
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "c", "caps=2 ram=4K"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/net/grant", "to=c"), EPERM);
}
END_TEST

START_TEST(a_refusal_has_its_reason)
{
	ck_assert_int_eq(request_by("sessions/app/request", "name=net"), 0);
	ck_assert_int_eq(decide("requests", "refuse not for you, slot=kv"), 0);
	expect_answer(EACCES, "not for you, slot=kv");
	expect_event(&w, "refuse session=init/app request=");
	ck_assert_int_eq(decide("requests", "slot=kv"), ESRCH);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net"), 0);
	ck_assert_int_eq(decide("requests", "refuse"), 0);
	expect_answer(EACCES, "refused");
	ck_assert_int_eq(request_by("sessions/app/request", "name=net"), 0);
	ck_assert_int_eq(decide("requests", "refuse bell\a"), EINVAL);
	ck_assert_int_eq(decide("requests", "slot=kv refuse"), EINVAL);
}
END_TEST

/* Asking for more rights than are held, or than are given: refused, and the right is named. */
START_TEST(C14_more_rights_than_held_are_refused_by_name)
{
	ck_assert_int_eq(put(&w, "caps/rpc/replicate", "as=weak rights=call,grant"), 0);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net rights=call,fds"), 0);
	ck_assert_int_eq(decide("requests", "slot=weak"), EPERM);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "call"));
	ck_assert_int_eq(decide("requests", "slot=kv rights=call"), EPERM);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "'fds' is asked for"));
	/* It still waits, for somebody who has it. */
	ck_assert_int_eq(last_ask()->record.state, ASK_WAITING);
}
END_TEST

START_TEST(S13_who_is_not_strong_enough_is_refused_and_the_next_is_tried)
{
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=plain rights=call"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/replicate", "as=few rights=call,grant,reduce"), 0);
	ck_assert_int_eq(put(&w, "caps/few/reduce", "calls=5"), 0);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net calls=10"), 0);
	ck_assert_int_eq(decide("requests", "slot=plain"), EPERM);
	ck_assert_int_eq(decide("requests", "slot=few"), EINVAL);
	ck_assert_int_eq(decide("requests", "slot=none"), ENOENT);
	ck_assert_int_eq(decide("requests", "slot=kv"), 0);
	expect_answer(0, "slot=net");
}
END_TEST

START_TEST(G28_quota_is_asked_for_and_moved)
{
	struct session *app = session_of(walk(&w, "sessions/app").entity);
	uint64_t caps = app->record.limit.n[QUOTA_CAPS], ram = app->record.limit.n[QUOTA_RAM];

	ck_assert_int_eq(request_by("sessions/app/request", "quota caps=16 ram=4K"), 0);
	expect_line(&w, "requests", "from=init/app quota caps=16 ram=4096 waiting=0");
	ck_assert_int_eq(decide("requests", "caps=16 ram=4K"), 0);
	expect_answer(0, "caps=16 ram=4096");
	ck_assert_uint_eq(app->record.limit.n[QUOTA_CAPS], caps + 16);
	ck_assert_uint_eq(app->record.limit.n[QUOTA_RAM], ram + 4096);
	expect_event(&w, "transfer_quota session=init/app request=");
}
END_TEST

/* Less than what was asked is an answer too: nothing is asked again by itself. */
START_TEST(G29_what_is_short_is_no_endless_loop)
{
	ck_assert_int_eq(request_by("sessions/app/request", "quota caps=100000"), 0);
	ck_assert_int_eq(decide("requests", "caps=100000"), EDQUOT);
	ck_assert_int_eq(last_ask()->record.state, ASK_WAITING);
	ck_assert_int_eq(decide("requests", "slot=kv"), EINVAL);
	ck_assert_int_eq(decide("requests", "caps=2"), 0);
	expect_answer(0, "caps=2");
	ck_assert(list_empty(&w.model->root->asked));
	ck_assert_int_eq(request_by("sessions/app/request", "quota"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "quota caps=0"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "quota caps=1 rights=call"), EINVAL);
}
END_TEST

/* Rule 1: only types that there are, and a slot of the type that is asked for. */
START_TEST(Z70_1_only_types_that_are_served)
{
	ck_assert_int_eq(request_by("sessions/app/request", "type=nothing name=net"), EINVAL);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "object"));
}
END_TEST

/* Rules 2 and 3: for one session, not a group; and that is who asks. */
START_TEST(Z70_2_3_only_for_oneself)
{
	ck_assert_int_eq(request_by("sessions/app/request", "name=net to=children"), EPERM);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net to=b"), EPERM);
}
END_TEST

/* Rule 4: what it cannot know. */
START_TEST(Z70_4_nothing_that_it_cannot_know)
{
	ck_assert_int_eq(request_by("sessions/app/request", "name=net used=5"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net calls=0"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net id=7"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "name=.net"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net caps=4"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net timeout=0"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net timeout=86401"), EINVAL);
	ck_assert_int_eq(request_by("sessions/app/request", "rights=call"), EINVAL);
}
END_TEST

START_TEST(Z70_5_only_immutable)
{
	static const char *const rights[] = {"grant", "replicate", "reduce", "transfer", "share"};
	char text[64];

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		snprintf(text, sizeof(text), "name=net rights=call,%s", rights[i]);
		ck_assert_int_eq(request_by("sessions/app/request", text), EPERM);
	}
	ck_assert_int_eq(request_by("sessions/app/request", "name=net"), 0);
	ck_assert_int_eq(decide("requests", "slot=kv rights=call,grant"), 0);
	expect_line(&w, "sessions/app/caps/net/info", "rights=call\n");
}
END_TEST

/* Rule 6: what was asked of somebody else is not one's to answer; the root has nobody to ask. */
START_TEST(Z70_6_only_of_ones_own_children)
{
	ck_assert_int_eq(request_by("request", "name=net"), ESRCH);
	ck_assert_int_eq(request_by("sessions/app/request", "name=net"), 0);
	ck_assert_int_eq(decide("sessions/b/requests", "refuse"), ESRCH);
	ck_assert_int_eq(decide("sessions/app/requests", "refuse"), ESRCH);
	ck_assert_int_eq(put(&w, "requests", "id=1 refuse"), ESRCH);
	ck_assert_int_eq(put(&w, "requests", "id=999999 refuse"), ESRCH);
	ck_assert_int_eq(decide("requests", "refuse"), 0);
	ck_assert_int_eq(decide("requests", "refuse"), ESRCH);
}
END_TEST

/* What is asked back is freed first, four times, and each time the child has less. */
START_TEST(G30_asked_back_in_rounds)
{
	struct session *b = session_of(walk(&w, "sessions/b").entity);
	uint64_t limit;

	ck_assert_int_eq(put(&w, "transfer_quota", "to=b ram=5M"), 0);
	limit = b->record.limit.n[QUOTA_RAM];
	for (int i = 1; i <= 4; i++) {
		ck_assert_int_eq(request_by("sessions/b/yield", "ram=1M"), 0);
		expect_event(&w, "yield session=init/b id=");
		expect_line(&w, "sessions/b/yield", "yield ram=1048576 waiting=0");
		ck_assert_int_eq(last_ask()->record.state, ASK_WAITING);
		ck_assert_int_eq(decide("sessions/b/yield", "ram=1M"), 0);
		expect_answer(0, "ram=1048576");
		ck_assert_uint_eq(b->record.limit.n[QUOTA_RAM], limit - (uint64_t)i * 1048576);
	}
}
END_TEST

START_TEST(G30_what_is_no_answer)
{
	ck_assert_int_eq(put(&w, "transfer_quota", "to=b caps=8"), 0);
	ck_assert_int_eq(request_by("yield", "caps=8"), ESRCH);
	ck_assert_int_eq(request_by("sessions/b/yield", "caps=0"), EINVAL);
	ck_assert_int_eq(request_by("sessions/b/yield", "refuse"), EINVAL);
	ck_assert_int_eq(request_by("sessions/b/yield", "caps=8"), 0);
	ck_assert_int_eq(decide("sessions/b/yield", "caps=9"), EINVAL);
	ck_assert_int_eq(decide("sessions/b/yield", "caps=1 refuse"), EINVAL);
	ck_assert_int_eq(decide("sessions/b/yield", ""), EINVAL);
	ck_assert_int_eq(decide("sessions/app/yield", "caps=8"), ESRCH);
	ck_assert_int_eq(decide("requests", "refuse"), ESRCH);
	ck_assert_int_eq(decide("sessions/b/yield", "caps=3"), 0);
	expect_answer(0, "caps=3");
	ck_assert_int_eq(request_by("sessions/b/yield", "caps=1"), 0);
	ck_assert_int_eq(decide("sessions/b/yield", "refuse all of it is in use"), 0);
	expect_answer(EACCES, "all of it is in use");
}
END_TEST

static uint32_t
answer_of(uint64_t file)
{
	const struct ask *a = ask_find_file(w.model, file);

	ck_assert_ptr_nonnull(a);
	return a->record.state == ASK_WAITING ? 0 : a->record.error;
}

/* Who does not answer keeps nobody from asking anew, however often, and from whatever file. */
START_TEST(G30_the_newest_counts)
{
	ck_assert_int_eq(request_by("sessions/b/yield", "caps=8 timeout=86400"), 0);
	ck_assert_int_eq(request_by("sessions/b/yield", "caps=4"), 0);
	ck_assert_uint_eq(answer_of(handle - 1), ECANCELED);
	expect_line(&w, "sessions/b/yield", "yield caps=4 waiting=0");
	/* In the place of its own one of before. */
	ck_assert_int_eq(request_of("sessions/b/yield", "caps=2", handle), 0);
	expect_line(&w, "sessions/b/yield", "yield caps=2 waiting=0");
	for (int i = 0; i < 3 * ASKS_MAX; i++)
		ck_assert_int_eq(request_by("sessions/b/yield", "caps=1"), 0);
	ck_assert_int_eq(last_ask()->record.state, ASK_WAITING);
	ck_assert_uint_eq(ask_count(session_of(walk(&w, "sessions/b").entity), true), ASKS_MAX);
	ck_assert_ptr_null(ask_find_file(w.model, 1));
}
END_TEST

/* A child that has used up all can be asked for some of it: who asks pays. */
START_TEST(G30_of_a_child_that_is_full)
{
	struct session *b = session_of(walk(&w, "sessions/b").entity);
	char text[64];

	for (int i = 0; i < ASKS_MAX; i++) {
		snprintf(text, sizeof(text), "name=n%d", i);
		ck_assert_int_eq(request_by("sessions/b/request", text), 0);
	}
	ck_assert_int_eq(request_by("sessions/b/yield", "caps=8"), 0);
	ck_assert_int_eq(decide("sessions/b/yield", "refuse"), 0);
	b->record.limit.n[QUOTA_RAM] = b->used.n[QUOTA_RAM] - b->event_bytes + b->lent.n[QUOTA_RAM];
	{
		const struct asker asker = {.handle = ++handle};
		struct request *r = ask(&w);

		r->asker = &asker;
		ck_assert_int_eq(tree_write(r, walk(&w, "sessions/b/yield"), "ram=4K", 6), 0);
		ck_assert_int_eq(r->error, 0);
		r->asker = NULL;
	}
}
END_TEST

/* A flood pays for itself, and there is an end to it. */
START_TEST(asks_are_charged_and_bounded)
{
	struct session *app = session_of(walk(&w, "sessions/app").entity);
	uint64_t used = app->used.n[QUOTA_RAM] - app->event_bytes;

	for (int i = 0; i < ASKS_MAX; i++) {
		char text[64];

		snprintf(text, sizeof(text), "name=n%d", i);
		ck_assert_int_eq(request_by("sessions/app/request", text), 0);
	}
	ck_assert_uint_eq(app->used.n[QUOTA_RAM] - app->event_bytes, used + ASKS_MAX * 2 * QUOTA_RAM_SLOT);
	ck_assert_int_eq(request_by("sessions/app/request", "name=more"), EBUSY);
	handle--;
	ck_assert_int_eq(request_of("sessions/app/request", "name=other", handle), EBUSY);
	ck_assert_int_eq(decide("requests", "refuse"), 0);
	ck_assert_int_eq(request_of("sessions/app/request", "name=other", handle), 0);
	/* With its session all of them go. */
	ck_assert_int_eq(removed(&w, "sessions", "app"), 0);
	ck_assert(list_empty(&w.model->asks) && list_empty(&w.model->root->asked));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("asking");
	TCase *t = tcase_create("asking");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	suite_add_tcase(s, t);
	tcase_add_test(t, S23_after_the_request_exactly_what_was_asked_for);
	tcase_add_test(t, no_limit_is_asked_for_by_none);
	tcase_add_test(t, S12_what_is_given_is_immutable_and_never_more_than_either_says);
	tcase_add_test(t, a_refusal_has_its_reason);
	tcase_add_test(t, C14_more_rights_than_held_are_refused_by_name);
	tcase_add_test(t, S13_who_is_not_strong_enough_is_refused_and_the_next_is_tried);
	tcase_add_test(t, G28_quota_is_asked_for_and_moved);
	tcase_add_test(t, G29_what_is_short_is_no_endless_loop);
	tcase_add_test(t, Z70_1_only_types_that_are_served);
	tcase_add_test(t, Z70_2_3_only_for_oneself);
	tcase_add_test(t, Z70_4_nothing_that_it_cannot_know);
	tcase_add_test(t, Z70_5_only_immutable);
	tcase_add_test(t, Z70_6_only_of_ones_own_children);
	tcase_add_test(t, G30_asked_back_in_rounds);
	tcase_add_test(t, G30_what_is_no_answer);
	tcase_add_test(t, G30_the_newest_counts);
	tcase_add_test(t, G30_of_a_child_that_is_full);
	tcase_add_test(t, asks_are_charged_and_bounded);
	return fixture_main(s);
}
