/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The phases of a live upgrade, with a keeper that only notes what it is asked for: no daemon, and a
 * program that does nothing for the installed one. What the trial would have said is said for it.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capfsd/process/boot.h"
#include "capfsd/process/succession.h"
#include "capfsd/upgrade/upgrade.h"
#include "tests/fixture.h"

#define OLD_PROGRAM 1000 /* never used as a descriptor here */

struct keeper {
	enum keeper_type told;
	int fd, signal, n_told, n_become, n_stop;
	bool deaf; /* nobody listens */
};

static struct keeper keeper;
static struct boot boot;
static struct succession held;
static struct upgrade u;

static int
note_tell(struct keeper *k, enum keeper_type type, int fd)
{
	k->told = type;
	k->fd = fd;
	k->n_told++;
	return k->deaf ? -EPIPE : 0;
}

static void
note_press(struct keeper *k, int signal)
{
	k->signal = signal;
}

static void
note_become(struct keeper *k, int binary)
{
	ck_assert_int_eq(binary, u.binary_fd);
	k->n_become++;
}

static void
note_stop(struct keeper *k)
{
	ck_assert_int_eq(u.phase, UPGRADE_NONE);
	k->n_stop++;
}

static const struct upgrade_host host = {
	.tell = note_tell,
	.press = note_press,
	.become = note_become,
	.stop = note_stop,
};

static void
setup(void)
{
	fixture_setup();
	keeper = (struct keeper){};
	boot = (struct boot){.generation = 7, .daemon_uid = geteuid(), .daemon_gid = getegid()};
	held = (struct succession){.program_fd = OLD_PROGRAM};
	snprintf(held.binary, sizeof(held.binary), "/bin/true");
	upgrade_init(&u, &host, &keeper, &boot, &held);
}

/* Ends as it began: nothing is open, nobody is left, and no time is set. */
static void
teardown(void)
{
	ck_assert_int_eq(u.phase, UPGRADE_NONE);
	ck_assert_int_eq(u.binary_fd, -1);
	ck_assert_int_eq(u.trial.pid, 0);
	ck_assert(u.deadline_msec == UINT64_MAX);
	ck_assert(upgrade_lets_speak(&u));
	while (waitpid(-1, NULL, 0) > 0)
		;
	fixture_teardown();
}

/* The trial has ended, with a status of the test's choice. */
static void
end_trial(int status)
{
	ck_assert_int_gt(u.trial.pid, 0);
	upgrade_on_child_end(&u, u.trial.pid, W_EXITCODE(status, 0));
}

static void
begin(void)
{
	upgrade_begin(&u, true);
	ck_assert_int_eq(u.phase, UPGRADE_TRYING);
	ck_assert_int_eq(keeper.told, KEEPER_COPY);
	ck_assert_int_ge(keeper.fd, 0);
	ck_assert(upgrade_lets_speak(&u));
}

static void
go_to_pause(void)
{
	begin();
	end_trial(TRY_EXIT_GOOD);
	ck_assert_int_eq(keeper.told, KEEPER_PAUSE);
	ck_assert(!upgrade_lets_speak(&u));
}

static void
go_to_start(void)
{
	go_to_pause();
	upgrade_on_alone(&u, 7);
	ck_assert_int_eq(keeper.told, KEEPER_BECOME);
	ck_assert_int_eq(keeper.fd, u.binary_fd);
	ck_assert_uint_eq(boot.generation, 8);
}

START_TEST(all_become_the_new_binary)
{
	go_to_start();
	upgrade_on_ready(&u, 8);
	ck_assert_int_eq(keeper.n_become, 1);
}
END_TEST

START_TEST(nobody_is_upgraded_who_does_not_serve)
{
	upgrade_begin(&u, false);
	ck_assert_int_eq(keeper.n_told, 0);
}
END_TEST

START_TEST(a_second_one_does_not_begin)
{
	begin();
	upgrade_begin(&u, true);
	ck_assert_int_eq(keeper.n_told, 1);
	end_trial(EXIT_FAILURE);
}
END_TEST

START_TEST(what_fails_its_trial_is_refused)
{
	begin();
	upgrade_on_child_end(&u, u.trial.pid + 1, W_EXITCODE(TRY_EXIT_GOOD, 0));
	ck_assert_int_eq(u.phase, UPGRADE_TRYING);
	end_trial(EXIT_SUCCESS);
	ck_assert_int_eq(keeper.told, KEEPER_COPY);
}
END_TEST

START_TEST(what_is_not_there_is_refused)
{
	snprintf(held.binary, sizeof(held.binary), "/nonexistent");
	upgrade_begin(&u, true);
	ck_assert_int_eq(keeper.n_told, 0);
}
END_TEST

START_TEST(a_broker_that_does_not_listen_ends_it)
{
	keeper.deaf = true;
	upgrade_begin(&u, true);
	ck_assert_int_eq(keeper.n_told, 1);
}
END_TEST

/* Its first broker has not come up: the holder has the old one back. */
START_TEST(what_does_not_serve_is_left_again)
{
	go_to_start();
	upgrade_on_alone(&u, 8);
	ck_assert_int_eq(keeper.told, KEEPER_BECOME);
	ck_assert_int_eq(keeper.fd, OLD_PROGRAM);
	upgrade_on_ready(&u, 9);
	ck_assert_int_eq(keeper.n_become, 0);
}
END_TEST

START_TEST(a_holder_that_stays_what_it_was_goes_on)
{
	go_to_start();
	upgrade_on_alone(&u, 7);
	ck_assert_int_eq(keeper.told, KEEPER_GO_ON);
	upgrade_on_ready(&u, 7);
	ck_assert_int_eq(keeper.n_become, 0);
}
END_TEST

/* It has died of something else than the pause, and the next one does not know of that. */
START_TEST(the_next_broker_is_told_to_pause_too)
{
	go_to_pause();
	upgrade_on_ready(&u, 7);
	ck_assert_int_eq(keeper.told, KEEPER_PAUSE);
	ck_assert_int_eq(keeper.n_told, 3);
	upgrade_on_holder_end(&u);
}
END_TEST

/* First the broker, then the holder; not before it is time. */
START_TEST(who_does_not_reply_is_pressed)
{
	go_to_pause();
	upgrade_on_time(&u);
	ck_assert_int_eq(keeper.signal, 0);
	u.deadline_msec = 1;
	upgrade_on_time(&u);
	ck_assert_int_eq(keeper.signal, HOLDER_SIGNAL_HANGS);
	ck_assert_uint_gt(u.deadline_msec, 1);
	u.deadline_msec = 1;
	upgrade_on_time(&u);
	ck_assert_int_eq(keeper.signal, SIGKILL);
	upgrade_on_holder_end(&u);
}
END_TEST

START_TEST(a_trial_that_takes_too_long_is_given_up)
{
	begin();
	u.deadline_msec = 1;
	upgrade_on_time(&u);
	ck_assert_int_eq(keeper.signal, 0);
}
END_TEST

START_TEST(the_end_does_not_wait_for_a_trial)
{
	begin();
	ck_assert(!upgrade_defers_stop(&u));
	ck_assert(!upgrade_defers_stop(&u));
	ck_assert_int_eq(keeper.n_stop, 0);
}
END_TEST

START_TEST(the_end_waits_for_a_broker)
{
	go_to_pause();
	ck_assert(upgrade_defers_stop(&u));
	upgrade_on_alone(&u, 7);
	ck_assert_int_eq(keeper.told, KEEPER_GO_ON);
	ck_assert_int_eq(keeper.n_stop, 0);
	upgrade_on_ready(&u, 7);
	ck_assert_int_eq(keeper.n_stop, 1);
}
END_TEST

START_TEST(who_asks_without_reason_goes_on)
{
	upgrade_on_ready(&u, 7);
	upgrade_on_time(&u);
	upgrade_on_holder_end(&u);
	ck_assert_int_eq(keeper.n_told, 0);
	upgrade_on_alone(&u, 7);
	ck_assert_int_eq(keeper.told, KEEPER_GO_ON);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("upgrade");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, all_become_the_new_binary);
	tcase_add_test(t, nobody_is_upgraded_who_does_not_serve);
	tcase_add_test(t, a_second_one_does_not_begin);
	tcase_add_test(t, what_fails_its_trial_is_refused);
	tcase_add_test(t, what_is_not_there_is_refused);
	tcase_add_test(t, a_broker_that_does_not_listen_ends_it);
	tcase_add_test(t, what_does_not_serve_is_left_again);
	tcase_add_test(t, a_holder_that_stays_what_it_was_goes_on);
	tcase_add_test(t, the_next_broker_is_told_to_pause_too);
	tcase_add_test(t, who_does_not_reply_is_pressed);
	tcase_add_test(t, a_trial_that_takes_too_long_is_given_up);
	tcase_add_test(t, the_end_does_not_wait_for_a_trial);
	tcase_add_test(t, the_end_waits_for_a_broker);
	tcase_add_test(t, who_asks_without_reason_goes_on);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
