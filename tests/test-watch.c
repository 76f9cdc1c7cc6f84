/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors that are watched in turns: real ones, but the clock is moved by the test, as in test-turns. */
#include "config.h"

#include <check.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/turns.h"
#include "capfsd/process/watch.h"
#include "tests/fixture.h"

#define CROWD 60

static uint64_t now_nsec;
static struct turns turns;
static struct payer crowd, single;

static uint64_t
read_clock(void)
{
	return now_nsec;
}

struct reader {
	struct watch watch;
	int fds[2]; /* the first is watched */
	unsigned n, ends;
	struct reader *removes;
	const struct reader *looks_at;
	unsigned n_seen; /* what the other one had read then */
	bool hurries, settles;
};

static sd_event *event;
static struct watches *watches;

/* A packet each time, as the daemon's clients are served. */
static bool
read_one(void *data)
{
	struct reader *r = data;
	char c;
	ssize_t n = recv(r->fds[0], &c, 1, MSG_DONTWAIT);

	now_nsec += 10000;
	if (r->hurries)
		watches_hurry(watches);
	if (r->settles)
		watches_settle(watches);
	if (r->looks_at)
		r->n_seen = r->looks_at->n;
	if (r->removes)
		watch_remove(&r->removes->watch);
	if (n < 0)
		return false;
	if (n == 0) {
		r->ends++;
		return false;
	}
	r->n++;
	return true;
}

static void
reader_init(struct reader *r, struct payer *payer, uint32_t events)
{
	*r = (struct reader){};
	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET, r->fds), 0);
	ck_assert_int_eq(watch_add(watches, &r->watch, payer, r->fds[0], events, read_one, r), 0);
}

static void
reader_deinit(struct reader *r)
{
	watch_remove(&r->watch);
	watch_remove(&r->watch);
	fd_close(r->fds[0]);
	fd_close(r->fds[1]);
}

static void
put(struct reader *r, unsigned n)
{
	while (n-- > 0)
		ck_assert_int_eq(send(r->fds[1], "x", 1, MSG_DONTWAIT), 1);
}

/* Until nobody has anything to do. Returns: in how many turns of the loop. */
static unsigned
settle(void)
{
	unsigned n = 0;

	while (sd_event_run(event, 0) > 0)
		ck_assert_uint_lt(n++, 10000);
	return n;
}

static void
setup_watches(void)
{
	fixture_setup();
	now_nsec = 1;
	ck_assert_int_ge(sd_event_new(&event), 0);
	turns_init(&turns, read_clock);
	ck_assert_int_eq(watches_new(event, &turns, &watches), 0);
}

static void
teardown_watches(void)
{
	ck_assert(payer_is_idle(&crowd) && payer_is_idle(&single));
	watches = watches_free(watches);
	event = sd_event_unref(event);
	fixture_teardown();
}

START_TEST(all_that_is_queued_is_read)
{
	struct reader r;

	reader_init(&r, &single, EPOLLIN);
	for (unsigned i = 1; i <= 100; i++) {
		put(&r, 5);
		settle();
		ck_assert_uint_eq(r.n, 5 * i);
	}
	/* What came before it was watched is told, too. */
	watch_remove(&r.watch);
	put(&r, 1);
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(watch_add(watches, &r.watch, &single, r.fds[0], EPOLLIN, read_one, &r), 0);
	settle();
	ck_assert_uint_eq(r.n, 501);
	reader_deinit(&r);
}
END_TEST

static bool
works_for_ever(void *data)
{
	now_nsec += TURN_NSEC;
	return true;
}

#define N_TOLD 3

static struct reader told[N_TOLD];

static bool
tells_all(void *data)
{
	now_nsec += TURN_NSEC;
	for (unsigned i = 0; i < N_TOLD; i++)
		watch_first(&told[i].watch);
	return false;
}

static bool
is_told(void *data)
{
	struct reader *r = data;

	now_nsec += TURN_NSEC;
	r->n++;
	return false;
}

/* The kernel's requests are served between two rounds, and may be of somebody who looks for what these are told. */
START_TEST(who_is_told_first_is_told_in_the_same_round)
{
	struct reader r;

	for (unsigned i = 0; i < N_TOLD; i++) {
		reader_init(&told[i], &crowd, EPOLLIN);
		told[i].watch.f = is_told;
	}
	reader_init(&r, &single, EPOLLIN);
	r.watch.f = tells_all;
	put(&r, 1);
	ck_assert_int_gt(sd_event_run(event, 0), 0);
	for (unsigned i = 0; i < N_TOLD; i++)
		ck_assert_uint_eq(told[i].n, 1);
	r.watch.f = read_one;
	reader_deinit(&r);
	for (unsigned i = 0; i < N_TOLD; i++) {
		told[i].watch.f = read_one;
		reader_deinit(&told[i]);
	}
}
END_TEST

static int
heard(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	++*(unsigned *)data;
	return 0;
}

/* What is in the loop itself, such as the binder, waits no longer than for a few turns. */
START_TEST(P21_the_line_is_no_more_than_one_source)
{
	sd_event_source *source;
	struct reader r;
	unsigned n = 0;
	int fds[2];

	reader_init(&r, &single, EPOLLIN);
	r.watch.f = works_for_ever;
	put(&r, 1);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, fds), 0);
	ck_assert_int_ge(sd_event_add_io(event, &source, fds[0], EPOLLIN, heard, &n), 0);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_gt(sd_event_run(event, 0), 0);
	ck_assert_int_eq(send(fds[1], "x", 1, 0), 1);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_gt(sd_event_run(event, 0), 0);
	ck_assert_uint_gt(n, 0);
	sd_event_source_disable_unref(source);
	close(fds[0]);
	close(fds[1]);
	r.watch.f = read_one;
	settle();
	reader_deinit(&r);
}
END_TEST

START_TEST(who_is_not_asked_is_silent)
{
	struct reader r;

	reader_init(&r, &single, 0);
	put(&r, 3);
	ck_assert_uint_eq(settle(), 0);
	watch_set(&r.watch, EPOLLIN);
	settle();
	ck_assert_uint_eq(r.n, 3);
	watch_set(&r.watch, 0);
	put(&r, 1);
	settle();
	ck_assert_uint_eq(r.n, 3);
	watch_again(&r.watch);
	settle();
	ck_assert_uint_eq(r.n, 4);
	/* The end is always told, once. */
	fd_close(r.fds[1]);
	r.fds[1] = -1;
	settle();
	ck_assert_uint_eq(r.ends, 1);
	reader_deinit(&r);
}
END_TEST

START_TEST(one_that_another_removes_is_not_called)
{
	struct reader a, b;

	reader_init(&a, &single, EPOLLIN);
	reader_init(&b, &single, EPOLLIN);
	a.removes = &b;
	b.removes = &a;
	put(&a, 1);
	put(&b, 1);
	settle();
	ck_assert_uint_eq(a.n + b.n, 1);
	reader_deinit(&a);
	reader_deinit(&b);
}
END_TEST

static bool
read_one_and_wait(void *data)
{
	(void)read_one(data);
	return false;
}

START_TEST(a_level_is_told_until_it_is_gone)
{
	struct reader r;

	reader_init(&r, &single, EPOLLIN | (_i > 0 ? WATCH_LEVEL : 0));
	r.watch.f = read_one_and_wait;
	put(&r, 5);
	settle();
	ck_assert_uint_eq(r.n, _i > 0 ? 5 : 1);
	watch_set(&r.watch, 0);
	put(&r, 1);
	settle();
	watch_set(&r.watch, EPOLLIN);
	settle();
	ck_assert_uint_eq(r.n, _i > 0 ? 6 : 2);
	reader_deinit(&r);
}
END_TEST

static void
delay(void)
{
	watches_delay(watches);
	watches_delay(watches);
}

START_TEST(what_may_be_late_wakes_nobody)
{
	struct reader late, r;

	reader_init(&late, &crowd, EPOLLIN | WATCH_LATE);
	reader_init(&r, &single, EPOLLIN);
	put(&late, 1);
	settle();
	ck_assert_uint_eq(late.n, 1);
	/* A machine that is slow has let the time pass: once more. */
	do {
		settle();
		late.n = 0;
		delay();
		put(&late, 1);
	} while (sd_event_run(event, 0) > 0);
	ck_assert_uint_eq(late.n, 0);
	/* It comes before what it is taken along with. */
	r.removes = &late;
	put(&r, 1);
	settle();
	ck_assert_uint_eq(r.n, 1);
	ck_assert_uint_eq(late.n, 1);
	reader_deinit(&late);
	reader_deinit(&r);
}
END_TEST

/*
 * Nothing of what is late is done yet when it is its turn, unless it asks for that, also after somebody has hurried, or
 * somebody else comes too.
 */
START_TEST(who_is_new_comes_before_what_is_late)
{
	struct reader late, new, old;
	unsigned n_before[4];

	for (int i = 0; i < 4; i++) {
		reader_init(&late, &crowd, EPOLLIN | WATCH_LATE);
		reader_init(&new, &single, EPOLLIN | WATCH_LEVEL | WATCH_NEW);
		reader_init(&old, &single, EPOLLIN);
		new.looks_at = &late;
		new.settles = i % 2 == 1;
		new.hurries = i == 3;
		do {
			settle();
			late.n = new.n = 0;
			delay();
			put(&late, 1);
			put(&new, 1);
			if (i == 2)
				put(&old, 1);
			ck_assert_int_gt(sd_event_run(event, 0), 0);
		} while (new.n == 0); /* too late: it was told by the timer */
		n_before[i] = new.n_seen;
		settle();
		ck_assert_uint_eq(late.n, 1);
		reader_deinit(&late);
		reader_deinit(&new);
		reader_deinit(&old);
	}
	ck_assert_uint_eq(n_before[0], 0);
	ck_assert_uint_eq(n_before[1], 1);
	ck_assert_uint_eq(n_before[2], 1);
	ck_assert_uint_eq(n_before[3], 1);
}
END_TEST

START_TEST(what_is_late_comes_by_itself)
{
	struct reader late;

	reader_init(&late, &crowd, EPOLLIN | WATCH_LATE);
	delay();
	put(&late, 1);
	/* Somebody waits for it, or takes turns of the same line, or nobody comes for a while. */
	if (_i == 1)
		watches_hurry(watches);
	if (_i == 2) {
		ck_assert_int_eq(watches_catch_up(watches), 0);
		turns_take(&turns);
	}
	while (late.n == 0)
		ck_assert_int_gt(sd_event_run(event, 10 * 1000 * 1000), 0);
	settle();
	ck_assert_uint_eq(late.n, 1);
	reader_deinit(&late);
}
END_TEST

START_TEST(who_comes_now_and_then_is_not_waited_for)
{
	struct reader late;

	reader_init(&late, &crowd, EPOLLIN | WATCH_LATE);
	watches_delay(watches);
	put(&late, 1);
	settle();
	ck_assert_uint_eq(late.n, 1);
	reader_deinit(&late);
}
END_TEST

START_TEST(P21_sixty_connections_have_one_share)
{
	struct reader many[CROWD], r;

	for (unsigned i = 0; i < CROWD; i++) {
		reader_init(&many[i], &crowd, EPOLLIN);
		put(&many[i], 1);
	}
	reader_init(&r, &single, EPOLLIN);
	/* A packet that the crowd has read is followed by another one: it is never done. */
	for (unsigned i = 1; i <= 100; i++) {
		put(&r, 1);
		/* What was in line before it, and its own: it is told with the first of them. */
		for (unsigned turn = 0; r.n < i; turn++) {
			ck_assert_uint_lt(turn, 2);
			ck_assert_int_gt(sd_event_run(event, 0), 0);
			for (unsigned j = 0; j < CROWD; j++) {
				put(&many[j], many[j].n);
				many[j].n = 0;
			}
		}
	}
	settle();
	for (unsigned i = 0; i < CROWD; i++)
		reader_deinit(&many[i]);
	reader_deinit(&r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("watch");
	TCase *tc = tcase_create("watch");

	tcase_add_checked_fixture(tc, setup_watches, teardown_watches);
	tcase_add_test(tc, who_is_told_first_is_told_in_the_same_round);
	tcase_add_test(tc, all_that_is_queued_is_read);
	tcase_add_test(tc, P21_the_line_is_no_more_than_one_source);
	tcase_add_test(tc, who_is_not_asked_is_silent);
	tcase_add_test(tc, one_that_another_removes_is_not_called);
	tcase_add_loop_test(tc, a_level_is_told_until_it_is_gone, 0, 2);
	tcase_add_test(tc, what_may_be_late_wakes_nobody);
	tcase_add_test(tc, who_is_new_comes_before_what_is_late);
	tcase_add_loop_test(tc, what_is_late_comes_by_itself, 0, 3);
	tcase_add_test(tc, who_comes_now_and_then_is_not_waited_for);
	tcase_add_test(tc, P21_sixty_connections_have_one_share);
	suite_add_tcase(s, tc);
	return fixture_main(s);
}
