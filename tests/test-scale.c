/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P17 P18 */
/* What many capabilities cost: to load them, and to let some of them expire. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <time.h>

#include "tests/fixture.h"
#include "tests/populated.h"

static struct world w;

static void
setup(void)
{
	fixture_setup();
	populated_init(&w);
}

static void
teardown(void)
{
	world_reap(&w);
	world_deinit(&w);
	fixture_teardown();
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
load_timed(void *data, uint64_t key, const void *record, size_t n)
{
	double start = seconds();
	int r = model_load(w.model, key, record, n);

	*(double *)data += seconds() - start;
	return r;
}

START_TEST(P17_many_capabilities_load_fast)
{
	struct capability *c = slot_in(&w, w.model->root, "web");
	double spent = 0, start;

	for (int i = 0; i < 1 << 17; i++)
		make_grant(&w, c, w.model->root, NULL, NULL);
	/* With a name and what malloc() needs that is what one pays for it. */
	ck_assert_uint_le(sizeof(struct capability), QUOTA_RAM_SLOT - 40);
	ck_assert_int_eq(world_restart(&w), 0);
	world_restart(&w);
	w.model = model_free(w.model);
	ck_assert_int_eq(model_new(&stub_store_ops, w.store, &w.model), 0);
	ck_assert_int_eq(stub_scan(w.store, load_timed, &spent), 0);
	start = seconds();
	ck_assert_int_eq(model_load_done(w.model), 0);
	spent += seconds() - start;
	fprintf(stderr, "# 2^17 capabilities loaded in %.0f ms\n", spent * 1000);
	/* Far above what it takes, since machines differ; a quadratic one would be far slower. */
	ck_assert_double_lt(spent, 5.0);
}
END_TEST

#define N_LEASES 400

/* What it takes to end leases one after the other, beside N that last. */
static double
time_expiries(uint64_t n)
{
	struct reductions how = {.has_expires = true};
	struct capability *c = slot_in(&w, w.model->root, "web");
	double start;
	uint64_t next;

	for (uint64_t i = 0; i < n; i++) {
		how.expires_usec = world_now() + (1000 + i * 7919 % n) * MINUTE_USEC;
		make_grant(&w, c, w.model->root, NULL, &how);
	}
	for (uint64_t i = 1; i <= N_LEASES; i++) {
		how.expires_usec = world_now() + i;
		make_grant(&w, c, w.model->root, NULL, &how);
	}
	start = seconds();
	for (uint64_t i = 1; i <= N_LEASES; i++) {
		world_set_now(world_now() + 1);
		ck_assert_int_eq(expiry_run(w.model, &next), 0);
		ck_assert_uint_gt(next, world_now());
	}
	return seconds() - start;
}

START_TEST(P17_an_expiry_costs_nothing_to_other_leases)
{
	uint64_t n = w.model->n[ENTITY_CAPABILITY];
	double few = time_expiries(1 << 7), many = time_expiries(1 << 17);

	fprintf(stderr, "# 400 expiries: %.3f ms beside 2^7, %.3f ms beside 2^17\n", few * 1000,
		many * 1000);
	/* Twenty times as long, and a little for a machine that is busy: a walk takes far longer. */
	ck_assert_double_lt(many, 20 * few + 0.05);
	world_reap(&w);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], n + (1 << 7) + (1 << 17));
}
END_TEST

/* What it takes to go on 10000 times behind C, which has gone from the slots of the root. */
static double
time_next(struct capability *c)
{
	struct list *slots = &w.model->root->owned[ENTITY_CAPABILITY];
	uint64_t id = c->entity.id;
	double start;

	end_capability(&w, c);
	world_reap(&w);
	ck_assert_ptr_null(entity_find(w.model, id));
	start = seconds();
	for (int i = 0; i < 10000; i++)
		ck_assert_uint_gt(entity_next(w.model, slots, id)->id, id);
	return seconds() - start;
}

/* Whoever has listed all but a few of them. */
START_TEST(P18_a_list_goes_on_near_its_end)
{
	struct capability *c = slot_in(&w, w.model->root, "web"), *first = NULL, *last = NULL;
	double few, many;

	for (int i = 0; i < 1 << 15; i++) {
		last = make_grant(&w, c, w.model->root, NULL, NULL);
		first = first ? first : last;
	}
	make_grant(&w, c, w.model->root, NULL, NULL);
	few = time_next(first);
	many = time_next(last);
	fprintf(stderr, "# 10000 times behind what has gone: %.3f ms of the first, %.3f ms of the last\n", few * 1000,
		many * 1000);
	ck_assert_double_lt(many, 20 * few + 0.05);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("scale");
	TCase *t = tcase_create("scale");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, P17_an_expiry_costs_nothing_to_other_leases);
	tcase_add_test(t, P17_many_capabilities_load_fast);
	tcase_add_test(t, P18_a_list_goes_on_near_its_end);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
