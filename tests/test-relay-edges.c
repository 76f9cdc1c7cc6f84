/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The helpers' loop: when a round ends, and in which order it does what there is. */
#include "config.h"

#include <check.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"
#include "tests/relay-world.h"

struct told {
	struct source source;
	unsigned n, order;
};

static unsigned n_told;

static void
told_run(struct source *source, uint32_t events)
{
	struct told *t = container_of(source, struct told, source);

	t->n++;
	t->order = ++n_told;
}

static void
told_add(struct told *t, bool late, uint32_t events)
{
	*t = (struct told){.source = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .late = late, .run = told_run}};
	ck_assert_int_eq(loop_add(&w.loop, &t->source, events), 0);
}

static void
told_remove(struct told *t)
{
	loop_remove(&w.loop, &t->source);
	close(t->source.fd);
}

static void
make_ready(struct told *t)
{
	ck_assert_int_eq(eventfd_write(t->source.fd, 1), 0);
}

START_TEST(who_is_late_runs_after_the_others)
{
	struct told late, others[2];

	told_add(&late, true, EPOLLIN);
	make_ready(&late);
	for (int i = 0; i < 2; i++) {
		told_add(&others[i], false, EPOLLIN);
		make_ready(&others[i]);
	}
	ck_assert_int_eq(loop_wait(&w.loop, 0), 0);
	ck_assert_uint_eq(late.order, 3);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(others[i].n, 1);
		told_remove(&others[i]);
	}
	told_remove(&late);
}
END_TEST

/* Rounds, each of which may wait until END_USEC, come to an end then and not before. */
static void
wait_until(uint64_t end_usec)
{
	while (w.loop.now_usec < end_usec)
		ck_assert_int_eq(loop_wait(&w.loop, end_usec - w.loop.now_usec), 0);
	ck_assert_uint_ge(loop_clock_usec(), end_usec);
}

START_TEST(a_round_ends_in_time)
{
	uint64_t start = loop_clock_usec();
	struct told t;

	/* What is due much later holds nothing up. */
	told_add(&t, false, EPOLLIN);
	make_ready(&t);
	ck_assert_int_eq(loop_wait(&w.loop, UINT64_C(3600) * 1000000), 0);
	ck_assert_uint_eq(t.n, 1);
	told_remove(&t);
	wait_until(start + 20000);
	wait_until(start + 40000);
	ck_assert_uint_lt(loop_clock_usec() - start, 3600 * UINT64_C(1000000));
	/* Nor does what was due, and is not any more. */
	ck_assert_int_eq(loop_wait(&w.loop, 0), 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("relay-edges");
	TCase *c = tcase_create("relay-edges");

	tcase_add_checked_fixture(c, relay_setup, relay_teardown);
	tcase_set_timeout(c, 30);
	tcase_add_test(c, who_is_late_runs_after_the_others);
	tcase_add_test(c, a_round_ends_in_time);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
