/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Turns. The clock is moved by the test: by a real one who lost the CPU in the midst of a turn would owe for
 * it, and be served later.
 */
#include "config.h"

#include <check.h>

#include "base/turns.h"
#include "tests/fixture.h"

#define CROWD 60

static uint64_t now_nsec;

static uint64_t
read_clock(void)
{
	return now_nsec;
}

/* One who has work: so many pieces, each of which takes so long. */
struct worker {
	struct turn turn;
	uint64_t cost_nsec;
	unsigned left, done;
	struct worker *ends;  /* leaves with the next piece of this one */
	struct worker *calls; /* has work from the next piece of this one on */
	struct worker *tells; /* is to be told before all others, from the next piece of this one on */
};

static struct turns turns;
static struct payer crowd, single;
static struct worker workers[CROWD], one;

static bool
work(struct turn *turn)
{
	struct worker *w = container_of(turn, struct worker, turn);

	if (w->left == 0)
		return false;
	w->left--;
	w->done++;
	now_nsec += w->cost_nsec;
	if (w->ends)
		turn_leave(&w->ends->turn);
	if (w->calls)
		turn_ready(&turns, &w->calls->turn);
	if (w->tells)
		turn_first(&turns, &w->tells->turn);
	return w->left > 0;
}

static void
worker_init(struct worker *w, struct payer *payer, unsigned left, uint64_t cost_nsec)
{
	*w = (struct worker){.left = left, .cost_nsec = cost_nsec};
	turn_init(&w->turn, payer, work);
}

static unsigned
crowd_done(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CROWD; i++)
		n += workers[i].done;
	return n;
}

static void
setup(void)
{
	fixture_setup();
	now_nsec = 1;
	turns_init(&turns, read_clock);
	for (unsigned i = 0; i < CROWD; i++)
		worker_init(&workers[i], &crowd, 1000000, 10000);
	worker_init(&one, &single, 1000000, 10000);
}

static void
crowd_ready(void)
{
	for (unsigned i = 0; i < CROWD; i++)
		turn_ready(&turns, &workers[i].turn);
}

START_TEST(P21_who_comes_is_next)
{
	crowd_ready();
	for (unsigned i = 0; i < 100; i++) {
		unsigned before;

		turns_take(&turns);
		one.left = 1;
		turn_ready(&turns, &one.turn);
		before = crowd_done();
		turns_take(&turns);
		ck_assert_uint_eq(one.done, i + 1);
		ck_assert_uint_eq(crowd_done(), before);
	}
}
END_TEST

START_TEST(P21_a_turn_is_over_when_its_time_is)
{
	crowd_ready();
	turns_take(&turns);
	ck_assert_uint_eq(crowd_done(), TURN_NSEC / 10000);
	/* Within the payer all had the same, in order. */
	for (unsigned i = 0; i < 1000; i++)
		turns_take(&turns);
	for (unsigned i = 1; i < CROWD; i++)
		ck_assert_uint_le(workers[0].done - workers[i].done, 1);
}
END_TEST

START_TEST(P21_however_many_they_share_one_share)
{
	uint64_t start = now_nsec;

	one.cost_nsec = 7000;
	crowd_ready();
	turn_ready(&turns, &one.turn);
	while (now_nsec - start < 1000 * (uint64_t)TURN_NSEC)
		turns_take(&turns);
	ck_assert_uint_ge(one.done * one.cost_nsec, 490 * (uint64_t)TURN_NSEC);
	ck_assert_uint_le(one.done * one.cost_nsec, 510 * (uint64_t)TURN_NSEC);
}
END_TEST

START_TEST(P21_long_pieces_are_paid_back)
{
	uint64_t start = now_nsec;
	unsigned i;

	for (i = 0; i < CROWD; i++)
		workers[i].cost_nsec = 20 * (uint64_t)TURN_NSEC;
	crowd_ready();
	turn_ready(&turns, &one.turn);
	while (now_nsec - start < 10000 * (uint64_t)TURN_NSEC)
		turns_take(&turns);
	ck_assert_uint_ge(one.done * one.cost_nsec, 4900 * (uint64_t)TURN_NSEC);
	/* And nobody is left without: they are served as well. */
	ck_assert_uint_ge(crowd_done() * workers[0].cost_nsec, 4900 * (uint64_t)TURN_NSEC);
}
END_TEST

START_TEST(P21_going_away_pays_no_debt)
{
	uint64_t start = now_nsec;

	workers[0].cost_nsec = 20 * (uint64_t)TURN_NSEC;
	turn_ready(&turns, &one.turn);
	/* It has never more to do than one piece, and comes again as soon as that is done. */
	while (now_nsec - start < 10000 * (uint64_t)TURN_NSEC) {
		workers[0].left = 1;
		turn_ready(&turns, &workers[0].turn);
		turns_take(&turns);
	}
	ck_assert_uint_ge(one.done * one.cost_nsec, 4900 * (uint64_t)TURN_NSEC);
}
END_TEST

/* As if the process had stood still in the midst of it: nobody else is to wait as long again. */
START_TEST(P21_no_debt_is_for_ever)
{
	uint64_t start;

	workers[0].cost_nsec = 1000000 * (uint64_t)TURN_NSEC;
	turn_ready(&turns, &workers[0].turn);
	turns_take(&turns);
	workers[0].cost_nsec = 1000;
	turn_ready(&turns, &one.turn);
	start = now_nsec;
	while (workers[0].done == 1)
		turns_take(&turns);
	ck_assert_uint_le(now_nsec - start, TURN_DEBT_NSEC + 2 * (uint64_t)TURN_NSEC);
}
END_TEST

START_TEST(alone_nobody_waits)
{
	one.cost_nsec = 1000 * (uint64_t)TURN_NSEC;
	turn_ready(&turns, &one.turn);
	for (unsigned i = 0; i < 100; i++) {
		turns_take(&turns);
		ck_assert_uint_eq(one.done, i + 1);
	}
}
END_TEST

START_TEST(nobody_is_left_in_line_without_work)
{
	ck_assert(payer_is_idle(&single));
	turns_take(&turns);
	one.left = 1;
	turn_ready(&turns, &one.turn);
	turn_ready(&turns, &one.turn);
	ck_assert(!payer_is_idle(&single));
	turns_take(&turns);
	ck_assert(payer_is_idle(&single));
	ck_assert(turns_empty(&turns));
	ck_assert_uint_eq(one.done, 1);
	turn_leave(&one.turn);
	turn_ready(&turns, &one.turn);
	turn_leave(&one.turn);
	turn_leave(&one.turn);
	ck_assert(turns_empty(&turns));
}
END_TEST

START_TEST(one_may_end_another)
{
	workers[0].left = workers[1].left = 1;
	workers[0].ends = &workers[1];
	turn_ready(&turns, &workers[0].turn);
	turn_ready(&turns, &workers[1].turn);
	turns_take(&turns);
	ck_assert_uint_eq(workers[0].done, 1);
	ck_assert_uint_eq(workers[1].done, 0);
	ck_assert(turns_empty(&turns));
}
END_TEST

START_TEST(one_may_call_another_or_itself)
{
	one.left = 1;
	one.calls = &workers[0];
	turn_ready(&turns, &one.turn);
	turns_take(&turns);
	ck_assert(payer_is_idle(&single));
	workers[0].left = 2;
	workers[0].calls = &workers[0];
	turns_take(&turns);
	/* The last piece calls as well: it is asked once more, and has nothing. */
	ck_assert_uint_eq(workers[0].done, 2);
	ck_assert(turns_empty(&turns));
}
END_TEST

/* Not even the payer itself goes on, and who was in line already stands there no more. */
START_TEST(who_is_told_first_goes_before_all)
{
	crowd_ready();
	turn_ready(&turns, &one.turn);
	workers[0].tells = &workers[7];
	turns_take(&turns);
	ck_assert_uint_eq(crowd_done(), 1);
	workers[7].left = 1;
	turn_first(&turns, &one.turn);
	one.left = 1;
	turns_take(&turns);
	ck_assert_uint_eq(workers[7].done, 1);
	ck_assert_uint_eq(one.done, 0);
	turns_take(&turns);
	ck_assert_uint_eq(one.done, 1);
	ck_assert_uint_eq(crowd_done(), 2);
	ck_assert(payer_is_idle(&single));
	turns_take(&turns);
	ck_assert_uint_ge(crowd_done(), 2 + TURN_NSEC / 10000 - 2);
}
END_TEST

/* It is no way to have more than a share. */
START_TEST(P21_who_is_told_first_owes_it)
{
	workers[0].cost_nsec = 10 * (uint64_t)TURN_NSEC;
	workers[0].left = 1;
	crowd_ready();
	turn_ready(&turns, &one.turn);
	turn_first(&turns, &workers[0].turn);
	turns_take(&turns);
	ck_assert_uint_eq(workers[0].done, 1);
	while (crowd_done() == 1)
		turns_take(&turns);
	ck_assert_uint_ge(one.done * one.cost_nsec, 9 * (uint64_t)TURN_NSEC);
}
END_TEST

START_TEST(who_is_told_first_may_leave)
{
	turn_first(&turns, &one.turn);
	turn_first(&turns, &one.turn);
	ck_assert(!turns_empty(&turns));
	turn_leave(&one.turn);
	ck_assert(turns_empty(&turns));
	ck_assert_uint_eq(turns_take(&turns), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("turns");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, setup, fixture_teardown);
	tcase_add_test(tc, P21_who_comes_is_next);
	tcase_add_test(tc, P21_a_turn_is_over_when_its_time_is);
	tcase_add_test(tc, P21_however_many_they_share_one_share);
	tcase_add_test(tc, P21_long_pieces_are_paid_back);
	tcase_add_test(tc, P21_going_away_pays_no_debt);
	tcase_add_test(tc, P21_no_debt_is_for_ever);
	tcase_add_test(tc, alone_nobody_waits);
	tcase_add_test(tc, nobody_is_left_in_line_without_work);
	tcase_add_test(tc, one_may_end_another);
	tcase_add_test(tc, one_may_call_another_or_itself);
	tcase_add_test(tc, who_is_told_first_goes_before_all);
	tcase_add_test(tc, P21_who_is_told_first_owes_it);
	tcase_add_test(tc, who_is_told_first_may_leave);
	suite_add_tcase(s, tc);
	return fixture_main(s);
}
