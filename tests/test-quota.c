/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G20 G21 G22 G23 G24 G25 P02 P10 */
/* Quota and sessions: what is moved, what is refused, and that nothing is made or lost. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/model-world.h"

static struct world w;
static struct session *root, *app, *inner;

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	root = w.model->root;
	app = make_session(&w, root, "app", NULL);
	inner = make_session(&w, app, "inner", NULL);
}

static void
teardown(void)
{
	world_reap(&w);
	world_deinit(&w);
	fixture_teardown();
}

static struct quota
amount(enum quota_kind kind, uint64_t n)
{
	struct quota q = {};

	q.n[kind] = n;
	return q;
}

static void
refused_transfer(struct session *from, struct session *to, struct quota q, int answer)
{
	cleanup_free char *before = world_describe(&w), *after = NULL;
	enum quota_kind kind;

	ck_assert_int_eq(try_transfer(&w, from, to, &q, &kind), answer);
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
}

START_TEST(G20_G25_only_between_parent_and_child)
{
	struct quota q = amount(QUOTA_CAPS, 1);
	enum quota_kind kind;

	refused_transfer(root, inner, q, -EINVAL);
	refused_transfer(inner, root, q, -EINVAL);
	refused_transfer(inner, make_session(&w, app, "other", NULL), q, -EINVAL);
	ck_assert_int_eq(try_transfer(&w, root, app, &q, &kind), 0);
	ck_assert_int_eq(try_transfer(&w, app, inner, &q, &kind), 0);
	ck_assert_int_eq(try_transfer(&w, inner, app, &q, &kind), 0);
	ck_assert_int_eq(try_transfer(&w, app, root, &q, &kind), 0);
	model_check(w.model);
}
END_TEST

START_TEST(G21_more_than_is_there_moves_nothing)
{
	struct quota q = amount(QUOTA_CAPS, 1);

	q.n[QUOTA_RAM] = quota_free(app, QUOTA_RAM) + 1;
	refused_transfer(app, inner, q, QUOTA_E_EXCEEDED);
	refused_transfer(app, inner, amount(QUOTA_SOCKETS, quota_free(app, QUOTA_SOCKETS) + 1),
		QUOTA_E_EXCEEDED);
}
END_TEST

START_TEST(G22_never_below_the_first_donation)
{
	struct quota q = amount(QUOTA_CAPS, 5);
	enum quota_kind kind;

	refused_transfer(app, root, amount(QUOTA_CAPS, 1), QUOTA_E_DONATION);
	ck_assert_int_eq(try_transfer(&w, root, app, &q, &kind), 0);
	refused_transfer(app, root, amount(QUOTA_CAPS, 6), QUOTA_E_DONATION);
	ck_assert_int_eq(try_transfer(&w, app, root, &q, &kind), 0);
}
END_TEST

START_TEST(G23_P10_arithmetic_at_the_edge)
{
	struct quota q = amount(QUOTA_RAM, UINT64_MAX);
	struct session *s;
	enum quota_kind kind;

	refused_transfer(root, app, q, QUOTA_E_EXCEEDED);
	refused_transfer(app, root, q, QUOTA_E_EXCEEDED);
	ck_assert_int_eq(try_session(&w, app, "s", &q, &s, &kind), SESSION_E_QUOTA);
	ck_assert_int_eq(kind, QUOTA_RAM);
	q = amount(QUOTA_RAM, UINT64_MAX - QUOTA_RAM_SESSION + 1);
	ck_assert_int_eq(try_session(&w, app, "s", &q, &s, &kind), SESSION_E_QUOTA);
	/* A root that has all there can be. */
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		q.n[i] = UINT64_MAX;
	ck_assert_int_eq(model_set_root_limit(w.model, &q), 0);
	q = amount(QUOTA_INFLIGHT, quota_free(root, QUOTA_INFLIGHT));
	ck_assert_int_eq(try_transfer(&w, root, app, &q, &kind), 0);
	ck_assert_uint_eq(quota_free(root, QUOTA_INFLIGHT), 0);
	refused_transfer(root, app, amount(QUOTA_INFLIGHT, 1), QUOTA_E_EXCEEDED);
	model_check(w.model);
	ck_assert_int_eq(world_restart(&w), 0);
	root = w.model->root;
}
END_TEST

START_TEST(G24_to_itself_is_nothing)
{
	refused_transfer(app, app, amount(QUOTA_CAPS, UINT64_MAX), 0);
}
END_TEST

START_TEST(one_change_adds_up)
{
	struct quota q = amount(QUOTA_CAPS, quota_free(app, QUOTA_CAPS));
	struct change *ch = change_begin(w.model);
	struct session *s;
	enum quota_kind kind;

	ck_assert_int_eq(session_transfer_quota(ch, app, inner, &q, &kind), 0);
	ck_assert_uint_eq(change_charged(ch, app, QUOTA_CAPS), q.n[QUOTA_CAPS]);
	q = amount(QUOTA_CAPS, 0);
	ck_assert_int_eq(session_create(ch, app, "s", 1, 0, 0, &q, &s, &kind), SESSION_E_QUOTA);
	q = amount(QUOTA_CAPS, 1);
	ck_assert_int_eq(session_transfer_quota(ch, inner, app, &q, &kind), 0);
	q = amount(QUOTA_CAPS, 0);
	ck_assert_int_eq(session_create(ch, app, "s", 1, 0, 0, &q, &s, &kind), 0);
	ck_assert_int_eq(session_create(ch, app, "s", 1, 0, 0, &q, &s, &kind), SESSION_E_EXISTS);
	ck_assert_int_eq(session_create(ch, app, "t", 1, 0, 0, &q, &s, &kind), SESSION_E_QUOTA);
	ck_assert_int_eq(finish(ch, 0), 0);
	ck_assert_uint_eq(quota_free(app, QUOTA_CAPS), 0);
}
END_TEST

START_TEST(default_donation_is_at_most_half)
{
	struct session *s = app;
	char name[16];

	for (int i = 0; i < 12; i++) {
		struct quota q, before;

		for (int k = 0; k < QUOTA_N_KINDS; k++)
			before.n[k] = quota_free(s, k);
		session_default_donation(s, &q);
		for (int k = 0; k < QUOTA_N_KINDS; k++)
			ck_assert_uint_le(q.n[k], before.n[k] / 2);
		if (before.n[QUOTA_CAPS] < 1 || before.n[QUOTA_RAM] < QUOTA_RAM_SESSION)
			break;
		snprintf(name, sizeof(name), "s%d", i);
		s = make_session(&w, s, name, NULL);
	}
	ck_assert_uint_lt(quota_free(s, QUOTA_CAPS), 1);
}
END_TEST

START_TEST(P02_the_largest_consumer_is_found)
{
	struct capability *c;

	ck_assert_ptr_eq(quota_largest(root, QUOTA_THREADS), root);
	c = make_origin(&w, make_entrypoint(&w, inner, "web"), 1, "web");
	ck_assert_ptr_eq(quota_largest(root, QUOTA_THREADS), inner);
	for (int i = 0; i < 5; i++)
		make_grant(&w, c, app, NULL, NULL);
	ck_assert_ptr_eq(quota_largest(root, QUOTA_CAPS), app);
	ck_assert_ptr_eq(quota_largest(inner, QUOTA_CAPS), inner);
}
END_TEST

START_TEST(P02_who_asks_is_refused)
{
	struct capability *c = make_origin(&w, make_entrypoint(&w, root, "web"), 1, "web"), *d;
	uint64_t n = quota_free(inner, QUOTA_CAPS);

	for (uint64_t i = 0; i < n; i++)
		d = make_grant(&w, c, inner, NULL, NULL);
	ck_assert_int_eq(try_grant(&w, c, inner, NULL, NULL, &d), CAPABILITY_E_QUOTA_CAPS);
	ck_assert_int_eq(try_grant(&w, c, app, NULL, NULL, &d), 0);
	ck_assert_uint_eq(inner->n_owned[ENTITY_CAPABILITY], n);
}
END_TEST

START_TEST(charges_are_given_back_once)
{
	struct charge a = {}, b = {};
	uint64_t n = quota_free(app, QUOTA_SOCKETS);

	charge_deinit(&a);
	ck_assert_int_eq(charge_init(&a, app, QUOTA_SOCKETS, (uint32_t)n), 0);
	ck_assert_int_eq(charge_init(&b, app, QUOTA_SOCKETS, 1), QUOTA_E_EXCEEDED);
	charge_deinit(&b);
	refused_transfer(app, inner, amount(QUOTA_SOCKETS, 1), QUOTA_E_EXCEEDED);
	model_check(w.model);
	charge_deinit(&a);
	charge_deinit(&a);
	ck_assert_uint_eq(quota_free(app, QUOTA_SOCKETS), n);
}
END_TEST

START_TEST(the_search_for_the_largest_is_bounded)
{
	const struct quota q = {{0, 8, 0, 0, 0}};
	struct session *first = NULL, *last = NULL;
	struct charge little = {}, much = {};
	enum quota_kind kind;
	char name[16];

	for (unsigned i = 0; i < QUOTA_SEARCHED; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		ck_assert_int_eq(try_session(&w, root, name, &q, &last, &kind), 0);
		first = first ? first : last;
	}
	ck_assert_int_eq(charge_init(&little, first, QUOTA_SOCKETS, 1), 0);
	ck_assert_int_eq(charge_init(&much, last, QUOTA_SOCKETS, 8), 0);
	ck_assert_ptr_eq(quota_largest(root, QUOTA_SOCKETS), first);
	ck_assert_ptr_eq(quota_largest(last, QUOTA_SOCKETS), last);
	charge_deinit(&little);
	charge_deinit(&much);
}
END_TEST

/* Events give way to everything else, so they make no child poorer. */
START_TEST(events_do_not_shrink_the_usual_donation)
{
	struct quota q = {{100, 0, 0, 64 << 10, 0}}, before, after;
	struct session *s = NULL;
	enum quota_kind kind;

	ck_assert_int_eq(try_session(&w, root, "noisy", &q, &s, &kind), 0);
	session_default_donation(s, &before);
	for (int i = 0; i < 2 * EVENTS_LINES_MAX; i++)
		log_text(w.model, s, "a line of some length that is charged to ram");
	ck_assert_uint_gt(s->event_bytes, 32 << 10);
	session_default_donation(s, &after);
	ck_assert_mem_eq(&after, &before, sizeof(after));
	ck_assert_int_eq(try_session(&w, s, "child", &after, &s, &kind), 0);
}
END_TEST

START_TEST(sessions_have_limits)
{
	struct quota q = {{4, 0, 0, 40960, 0}};
	char name[NAME_BYTES_MAX + 1] = "";
	struct session *s = root, *next = NULL;
	enum quota_kind kind;
	int r;

	ck_assert_int_eq(try_session(&w, root, "app", &q, &s, &kind), SESSION_E_EXISTS);
	ck_assert_int_eq(try_session(&w, root, "a b", &q, &s, &kind), SESSION_E_NAME);
	ck_assert_int_eq(try_session(&w, root, "", &q, &s, &kind), SESSION_E_NAME);
	/* Labels end before depths do when names are long. */
	memset(name, 'n', NAME_BYTES_MAX);
	for (q = (struct quota){{100, 0, 0, 1 << 20, 0}};; s = next) {
		cleanup_text struct text label = {};

		session_label(s, &label);
		ck_assert_uint_le(label.n, LABEL_BYTES_MAX);
		r = try_session(&w, s, name, &q, &next, &kind);
		if (r)
			break;
		q.n[QUOTA_CAPS]--;
		q.n[QUOTA_RAM] -= QUOTA_RAM_SESSION;
	}
	ck_assert_int_eq(r, SESSION_E_LABEL);
	ck_assert_uint_eq(s->entity.depth, 15);
	q = (struct quota){{200, 0, 0, 1 << 20, 0}};
	for (s = root; (r = try_session(&w, s, "d", &q, &next, &kind)) == 0; s = next) {
		q.n[QUOTA_CAPS]--;
		q.n[QUOTA_RAM] -= QUOTA_RAM_SESSION;
	}
	ck_assert_int_eq(r, SESSION_E_DEPTH);
	ck_assert_uint_eq(s->entity.depth, SESSION_DEPTH_MAX);
	ck_assert(session_is_within(s, root) && !session_is_within(app, s));
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

START_TEST(root_limit_stays_above_what_is_used)
{
	struct quota small = {{1, 1, 1, 1, 1}};

	ck_assert_int_eq(model_set_root_limit(w.model, &small), 0);
	for (int i = 0; i < QUOTA_N_KINDS; i++)
		ck_assert_uint_eq(root->record.limit.n[i],
			root->used.n[i] + root->lent.n[i] > 1 ? root->used.n[i] + root->lent.n[i]
							      : 1);
	model_check(w.model);
	ck_assert_int_eq(model_set_root_limit(w.model, &w.limit), 0);
	ck_assert_uint_eq(root->record.limit.n[QUOTA_RAM], w.limit.n[QUOTA_RAM]);
}
END_TEST

START_TEST(kinds_have_names)
{
	for (enum quota_kind i = 0; i < QUOTA_N_KINDS; i++)
		ck_assert_int_eq(
			quota_kind_find(quota_kind_name(i), strlen(quota_kind_name(i))), i);
	ck_assert_int_eq(quota_kind_find("cap", 3), QUOTA_N_KINDS);
	ck_assert_int_eq(quota_kind_find("capsx", 5), QUOTA_N_KINDS);
	ck_assert_int_eq(quota_kind_find("", 0), QUOTA_N_KINDS);
}
END_TEST

static void
add_cases(TCase *t)
{
	tcase_add_test(t, G20_G25_only_between_parent_and_child);
	tcase_add_test(t, G21_more_than_is_there_moves_nothing);
	tcase_add_test(t, G22_never_below_the_first_donation);
	tcase_add_test(t, G23_P10_arithmetic_at_the_edge);
	tcase_add_test(t, G24_to_itself_is_nothing);
	tcase_add_test(t, one_change_adds_up);
	tcase_add_test(t, default_donation_is_at_most_half);
	tcase_add_test(t, P02_the_largest_consumer_is_found);
	tcase_add_test(t, P02_who_asks_is_refused);
	tcase_add_test(t, charges_are_given_back_once);
	tcase_add_test(t, events_do_not_shrink_the_usual_donation);
	tcase_add_test(t, the_search_for_the_largest_is_bounded);
	tcase_add_test(t, sessions_have_limits);
	tcase_add_test(t, root_limit_stays_above_what_is_used);
	tcase_add_test(t, kinds_have_names);
}

int
main(void)
{
	Suite *s = suite_create("quota");
	TCase *t = tcase_create("quota");

	tcase_add_checked_fixture(t, setup, teardown);
	add_cases(t);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
