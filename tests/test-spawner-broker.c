/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What brokers ask of inits and of the spawner, and the ends of both. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/spawner-world.h"

static struct world w;
static struct process_plan plan;
static struct played s;

static void
begin(int kind)
{
	world_prepare(&w, &plan, kind);
	world_session(&w, &plan, &s);
}

static void
ack(uint64_t thread)
{
	broker_ask(s.fd, PROCESS_ACK, s.session, thread);
}

/* The daemon's byte comes when it is there, and its end of the socket goes with it. */
static void
leave_a_daemon(int *ret_fd)
{
	int pair[2];

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("daemon"), &pair[1], 1);
	close(pair[1]);
	broker_await(s.fd, PROCESS_EXITED);
	ck_assert_int_eq(await_byte(pair[0]), 's');
	*ret_fd = pair[0];
}

START_TEST(end_is_kept_until_it_is_acknowledged)
{
	struct process_record r;

	begin(_i);
	played_run(&s, WORDS("exit", "5"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	for (int i = 0; i < 3; i++) {
		broker_ask(s.fd, PROCESS_SYNC, s.session, 0);
		r = broker_await(s.fd, PROCESS_STATE);
		ck_assert_uint_eq(r.thread, s.thread);
		ck_assert_uint_eq(r.flags, PHASE_EXITED);
		ck_assert_int_eq(WEXITSTATUS(r.status), 5);
		broker_await(s.fd, PROCESS_SYNCED);
	}
	ack(s.thread);
	r = (struct process_record){.type = PROCESS_SYNC, .serial = 77};
	broker_send(s.fd, &r, NULL);
	ck_assert_uint_eq(broker_await(s.fd, PROCESS_SYNCED).serial, 77);
	world_over(&s);
}
END_TEST

/* The next broker has the same pair, and knows nothing of what the last one has read. */
START_TEST(sync_tells_each_phase)
{
	struct process_record r;
	unsigned seen = 0;
	uint64_t starting, sleeping;
	int launch, pair[2];

	begin(_i);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("exit", "5"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	sleeping = played_run_more(&s, WORDS("sleep"), &pair[1], 1);
	launch = played_launch(&s, &starting);
	broker_ask(s.fd, PROCESS_SYNC, s.session, 0);
	for (int i = 0; i < 3; i++) {
		r = broker_await(s.fd, PROCESS_STATE);
		ck_assert_uint_eq(r.flags, r.thread == s.thread	  ? PHASE_EXITED
					   : r.thread == sleeping ? PHASE_RUNNING
								  : PHASE_STARTING);
		seen |= r.thread == s.thread ? 1 : r.thread == sleeping ? 2 : r.thread == starting ? 4 : 8;
	}
	ck_assert_uint_eq(seen, 7);
	broker_await(s.fd, PROCESS_SYNCED);
	close(launch);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_HELLO, ECONNRESET);
	close_all(pair, 2);
	world_over(&s);
}
END_TEST

/* Nothing is lost, and programs go on, while nobody reads what the init says. */
START_TEST(broker_that_does_not_read_loses_nothing)
{
	struct process_record r = {.type = PROCESS_SYNC};
	uint64_t n_sent = 0, thread;
	int launch, fd, pair[2];

	begin(_i);
	leave_a_daemon(&fd);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	launch = played_launch(&s, &thread);
	/* Until there is room neither way. */
	for (struct pollfd p = {.fd = s.fd, .events = POLLOUT}; poll(&p, 1, 500) == 1; n_sent++) {
		r.serial = n_sent;
		if (send(s.fd, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
	}
	ck_assert_uint_gt(n_sent, 100);
	for (uint64_t n = 0; n < n_sent; n++) {
		ck_assert_uint_eq(broker_await(s.fd, PROCESS_STATE).type, PROCESS_STATE);
		broker_await(s.fd, PROCESS_STATE);
		ck_assert_uint_eq(broker_await(s.fd, PROCESS_SYNCED).serial, n);
	}
	client_run(&w, launch, WORDS("sleep"), &pair[1], 1);
	broker_await(s.fd, PROCESS_RUNNING);
	close(fd);
	close_all(pair, 2);
	world_over(&s);
}
END_TEST

START_TEST(start_twice_starts_once)
{
	struct process_record r = {.type = PROCESS_START};
	uint64_t thread;
	int launch;

	begin(_i);
	/* Of a session: the same is on its way, another thread has to wait. */
	r.session = s.session;
	r.thread = s.thread;
	broker_send(w.fd, &r, &plan);
	r.thread = 999;
	broker_send(w.fd, &r, &plan);
	r = broker_await(w.fd, PROCESS_FAILED);
	ck_assert_uint_eq(r.thread, 999);
	ck_assert_int_eq(r.error, EBUSY);
	/* Of a thread: its state is said. */
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	launch = played_launch(&s, &thread);
	broker_ask(s.fd, PROCESS_START, s.session, thread);
	r = broker_await(s.fd, PROCESS_STATE);
	ck_assert_uint_eq(r.thread, thread);
	ck_assert_uint_eq(r.flags, PHASE_STARTING);
	client_run(&w, launch, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_RUNNING);
	broker_await(s.fd, PROCESS_EXITED);
	world_over(&s);
}
END_TEST

/*
 * The signal was sent when the next answer comes, but may not have been taken yet. PID is as the init sees
 * it.
 */
static void
await_stopped(uint32_t pid)
{
	char path[40], text[512];

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	do {
		cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

		ck_assert_int_ge(fd, 0);
		await_text(fd, text, sizeof(text));
	} while (!strstr(text, ") T "));
}

START_TEST(kill_pause_and_resume_reach_the_program)
{
	struct process_record r = {.type = PROCESS_KILL, .signal = SIGUSR1}, state;
	int pair[2];

	begin(2 * _i);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("sleep"), &pair[1], 1);
	ck_assert_int_eq(await_byte(pair[0]), 's');
	broker_ask(s.fd, PROCESS_PAUSE, s.session, s.thread);
	broker_ask(s.fd, PROCESS_SYNC, s.session, 0);
	state = broker_await(s.fd, PROCESS_STATE);
	broker_await(s.fd, PROCESS_SYNCED);
	await_stopped(state.pid);
	/* It waits for SIGCONT. */
	r.thread = s.thread;
	broker_send(s.fd, &r, NULL);
	broker_ask(s.fd, PROCESS_SYNC, s.session, 0);
	ck_assert_uint_eq(broker_await(s.fd, PROCESS_STATE).flags, PHASE_RUNNING);
	broker_await(s.fd, PROCESS_SYNCED);
	broker_ask(s.fd, PROCESS_RESUME, s.session, s.thread);
	ck_assert_int_eq(broker_await(s.fd, PROCESS_EXITED).status, SIGUSR1);
	/* All of the session; and a number that is no signal does nothing. */
	r.thread = played_run_more(&s, WORDS("sleep"), &pair[1], 1);
	ck_assert_int_eq(await_byte(pair[0]), 's');
	r.signal = 0;
	broker_send(s.fd, &r, NULL);
	r.signal = 1000;
	broker_send(s.fd, &r, NULL);
	r = (struct process_record){.type = PROCESS_KILL, .signal = SIGKILL};
	broker_send(s.fd, &r, NULL);
	ck_assert_int_eq(broker_await(s.fd, PROCESS_EXITED).status, SIGKILL);
	close_all(pair, 2);
	world_over(&s);
}
END_TEST

START_TEST(affinity_is_set)
{
	struct process_record r = {.type = PROCESS_AFFINITY, .cookie = 1};
	char path[64], text[4096];
	cleanup_close int fd = -1;
	int pair[2];

	begin(2 * _i);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("sleep"), &pair[1], 1);
	ck_assert_int_eq(await_byte(pair[0]), 's');
	r.thread = s.thread;
	broker_send(s.fd, &r, NULL);
	broker_ask(s.fd, PROCESS_SYNC, s.session, 0);
	r = broker_await(s.fd, PROCESS_STATE);
	snprintf(path, sizeof(path), "/proc/%u/status", r.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(strstr(await_text(fd, text, sizeof(text)), "Cpus_allowed_list:\t0\n"));
	close_all(pair, 2);
	world_over(&s);
}
END_TEST

START_TEST(end_takes_those_that_have_forked_twice)
{
	int fd;

	begin(_i);
	leave_a_daemon(&fd);
	broker_ask(s.fd, PROCESS_END, s.session, 0);
	ck_assert_int_eq(await_byte(fd), -1);
	await_end(s.pidfd);
	close(fd);
	world_over(&s);
}
END_TEST

START_TEST(lost_pair_is_the_end)
{
	int fd;

	begin(_i);
	leave_a_daemon(&fd);
	played_end(&s);
	ck_assert_int_eq(await_byte(fd), -1);
	close(fd);
	world_over(&s);
}
END_TEST

START_TEST(spawner_ends_a_session)
{
	int fd;

	begin(_i);
	leave_a_daemon(&fd);
	broker_ask(w.fd, PROCESS_END, s.session, 0);
	ck_assert_int_eq(await_byte(fd), -1);
	close(fd);
	world_over(&s);
}
END_TEST

/* Whoever has lost its init is killed by the spawner. */
START_TEST(killed_init_takes_all_with_it)
{
	struct process_record r;
	int fd;

	begin(_i);
	leave_a_daemon(&fd);
	broker_ask(w.fd, PROCESS_SYNC, 0, 0);
	r = broker_await(w.fd, PROCESS_STATE);
	ck_assert_uint_eq(r.session, s.session);
	broker_await(w.fd, PROCESS_SYNCED);
	ck_assert_int_eq(kill((pid_t)r.pid, SIGKILL), 0);
	ck_assert_int_eq(await_byte(fd), -1);
	close(fd);
	played_end(&s);
	ck_assert_int_eq(broker_await(w.fd, PROCESS_ENDED).status, SIGKILL);
	world_end(&w);
}
END_TEST

/* As long as there is a process of its session; then 5 seconds, for the next start. */
START_TEST(init_ends_when_it_has_nothing_to_do)
{
	struct pollfd p;
	int fd;

	begin(_i);
	leave_a_daemon(&fd);
	ack(s.thread);
	p = (struct pollfd){.fd = s.pidfd, .events = POLLIN};
	ck_assert_int_eq(poll(&p, 1, 6000), 0);
	broker_send(s.fd, &(struct process_record){.type = PROCESS_KILL, .signal = SIGKILL}, NULL);
	broker_await(s.fd, PROCESS_ORPHAN);
	ck_assert_int_eq(poll(&p, 1, 1000), 0);
	await_end(s.pidfd);
	close(fd);
	played_end(&s);
	ck_assert_int_eq(broker_await(w.fd, PROCESS_ENDED).status, 0);
	world_end(&w);
}
END_TEST

START_TEST(init_goes_on_without_its_spawner)
{
	int fd, status;

	begin(_i);
	leave_a_daemon(&fd);
	kill(w.pid, SIGKILL);
	waitpid(w.pid, &status, 0);
	ck_assert_int_eq(played_run_more(&s, WORDS("exit", "3"), NULL, 0) != 0, 1);
	ck_assert_int_eq(WEXITSTATUS(broker_await(s.fd, PROCESS_EXITED).status), 3);
	played_end(&s);
	ck_assert_int_eq(await_byte(fd), -1);
	close(fd);
	close(w.fd);
	fixture_remove(w.directory);
}
END_TEST

START_TEST(session_below_is_made_by_the_init)
{
	struct process_record failed;
	struct process_plan below;
	struct played b;

	begin(_i);
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	below = plan;
	/* Only below, and only of the same user. */
	ck_assert(!world_make(&w, s.fd, &below, &b, &failed));
	ck_assert_int_eq(failed.error, EINVAL);
	snprintf(below.session, sizeof(below.session), "sessions/a/sessions/b");
	below.uid++;
	ck_assert(!world_make(&w, s.fd, &below, &b, &failed));
	ck_assert_int_eq(failed.error, EPERM);
	below.uid--;
	ck_assert(world_make(&w, s.fd, &below, &b, &failed));
	played_run(&b, WORDS("exit", "9"), NULL, 0);
	ck_assert_int_eq(WEXITSTATUS(broker_await(b.fd, PROCESS_EXITED).status), 9);
	played_end(&b);
	ck_assert_uint_eq(broker_await(s.fd, PROCESS_ENDED).session, b.session);
	world_over(&s);
}
END_TEST

/* Its client has thirty seconds; nobody else is to wait for that. */
START_TEST(whose_broker_leaves_waits_for_no_client)
{
	struct process_record failed;
	int launch;

	world_prepare(&w, &plan, _i);
	ck_assert(world_make(&w, -1, &plan, &s, &failed));
	launch = s.launch;
	s.launch = -1;
	world_over(&s);
	close(launch);
}
END_TEST

/* --- the spare pair --- */

static void
ask_with(uint64_t thread, uint32_t flags)
{
	const struct process_record r = {
		.type = PROCESS_START, .session = s.session, .thread = thread, .flags = flags};

	broker_send(s.fd, &r, NULL);
}

/* What the init says next of pairs. Returns: the descriptor that came along; -1. */
static int
await_pair(uint64_t thread)
{
	struct process_record r;
	int fds[2];

	do
		ck_assert(broker_receive(s.fd, &r, fds));
	while (r.type == PROCESS_ORPHAN);
	ck_assert_uint_eq(r.type, PROCESS_LAUNCH);
	ck_assert_uint_eq(r.thread, thread);
	ck_assert_int_lt(fds[1], 0);
	return fds[0];
}

/* A program runs, by an init that has offered a pair for the next one, which is returned. */
static int
begin_with_spare(int kind, int *ret_keep)
{
	uint64_t thread = 1000;
	int pair[2], launch, spare;

	begin(kind);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("sleep"), &pair[1], 1);
	close(pair[1]);
	*ret_keep = pair[0];
	ask_with(thread, START_WANT_SPARE);
	launch = await_pair(thread);
	ck_assert_int_ge(launch, 0);
	spare = await_pair(0);
	ck_assert_int_ge(spare, 0);
	client_run(&w, launch, WORDS("exit", "0"), NULL, 0);
	ck_assert_uint_eq(broker_await(s.fd, PROCESS_RUNNING).thread, thread);
	ck_assert_uint_eq(broker_await(s.fd, PROCESS_EXITED).thread, thread);
	ack(thread);
	return spare;
}

/* EARLY: the client speaks before its program is asked for. */
static void
run_with(int launch, uint64_t thread, bool early)
{
	struct process_record r;

	if (early)
		client_run(&w, launch, WORDS("exit", "6"), NULL, 0);
	ask_with(thread, START_SPARE);
	if (!early)
		client_run(&w, launch, WORDS("exit", "6"), NULL, 0);
	/* No LAUNCH comes before it. */
	r = broker_await(s.fd, PROCESS_RUNNING);
	ck_assert_uint_eq(r.thread, thread);
	r = broker_await(s.fd, PROCESS_EXITED);
	ck_assert_uint_eq(r.thread, thread);
	ck_assert_int_eq(WEXITSTATUS(r.status), 6);
	ack(thread);
}

START_TEST(S18_a_program_has_the_spare_pair)
{
	int keep, launch = begin_with_spare(_i / 2, &keep);

	run_with(launch, 1001, _i % 2);
	/* It was one, and no more was wanted. */
	ask_with(1002, START_SPARE);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_HELLO, ECONNRESET);
	close(keep);
	world_over(&s);
}
END_TEST

/* Its broker has lost it: where the next one wants one there is another. */
START_TEST(a_lost_spare_pair_is_replaced)
{
	int keep, launch = begin_with_spare(_i, &keep);

	close(launch);
	ask_with(1003, START_WANT_SPARE);
	close(await_pair(1003));
	launch = await_pair(0);
	ck_assert_int_ge(launch, 0);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_HELLO, ECONNRESET);
	run_with(launch, 1004, false);
	close(keep);
	world_over(&s);
}
END_TEST

#define WAITING 256 /* programs of an init that may wait for their clients */

/*
 * There is no room for a program whose client has sent all already: he is told, and the init does not close what he has
 * sent, which might take for ever.
 */
START_TEST(S18_what_was_sent_to_no_program_is_left)
{
	int keep, launch = begin_with_spare(_i, &keep), pair[2], waiting[WAITING];
	struct process_answer answer;
	char *argv[] = {(char[]){"/bin/true"}, NULL};
	char byte;

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	ck_assert_int_eq(client_send(&w, launch, argv, NULL, &pair[1], 1, 0), 0);
	close(pair[1]);
	for (int i = 0; i < WAITING; i++) {
		ask_with(2000 + (uint64_t)i, 0);
		waiting[i] = await_pair(2000 + (uint64_t)i);
	}
	ask_with(1006, START_SPARE);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_FORK, EAGAIN);
	answer = client_receive(launch);
	ck_assert_int_eq(answer.step, STEP_FORK);
	ck_assert_int_eq(answer.error, EAGAIN);
	close(launch);
	ck_assert_int_eq(recv(pair[0], &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(pair[0]);
	close_all(waiting, WAITING);
	close(keep);
	world_over(&s);
}
END_TEST

/* It is there for whoever is given the pair, until the broker says by closing it that nobody is. */
START_TEST(an_init_does_not_go_while_its_spare_pair_may_be_used)
{
	int keep, launch = begin_with_spare(_i, &keep);

	broker_send(s.fd, &(struct process_record){.type = PROCESS_KILL, .thread = s.thread, .signal = SIGKILL}, NULL);
	broker_await(s.fd, PROCESS_EXITED);
	close(keep);
	ack(s.thread);
	ck_assert_int_lt(await_pair(0), 0);
	run_with(launch, 1005, false);
	await_end(s.pidfd);
	broker_await(w.fd, PROCESS_ENDED);
	played_end(&s);
	world_end(&w);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("spawner-broker");
	TCase *t = fixture_case(suite, "broker", 120);
	int n = world_kinds();

	tcase_add_loop_test(t, end_is_kept_until_it_is_acknowledged, 0, n);
	tcase_add_loop_test(t, sync_tells_each_phase, 0, n);
	tcase_add_loop_test(t, broker_that_does_not_read_loses_nothing, 0, n);
	tcase_add_loop_test(t, start_twice_starts_once, 0, n);
	tcase_add_loop_test(t, kill_pause_and_resume_reach_the_program, 0, n / 2);
	tcase_add_loop_test(t, affinity_is_set, 0, n / 2);
	t = fixture_case(suite, "ends", 120);
	tcase_add_loop_test(t, end_takes_those_that_have_forked_twice, 0, n);
	tcase_add_loop_test(t, lost_pair_is_the_end, 0, n);
	tcase_add_loop_test(t, spawner_ends_a_session, 0, n);
	tcase_add_loop_test(t, killed_init_takes_all_with_it, 0, n);
	tcase_add_loop_test(t, init_ends_when_it_has_nothing_to_do, 0, n);
	tcase_add_loop_test(t, init_goes_on_without_its_spawner, 0, n);
	tcase_add_loop_test(t, session_below_is_made_by_the_init, 0, n);
	tcase_add_loop_test(t, whose_broker_leaves_waits_for_no_client, 0, n);
	t = fixture_case(suite, "spare", 120);
	tcase_add_loop_test(t, S18_a_program_has_the_spare_pair, 0, 2 * n);
	tcase_add_loop_test(t, a_lost_spare_pair_is_replaced, 0, n);
	tcase_add_loop_test(t, S18_what_was_sent_to_no_program_is_left, 0, n);
	tcase_add_loop_test(t, an_init_does_not_go_while_its_spare_pair_may_be_used, 0, n / 2);
	return fixture_main(suite);
}
