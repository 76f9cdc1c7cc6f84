/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each of the processes is killed, or its connection lost, at any time: nothing is left of the others. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/spawner-world.h"

#define N_KILLS 300

static struct world w;
static struct process_plan plan;
static struct played s;

static char *const some_argv[] = {(char[]){"/bin/true"}, NULL};

enum victim { SPAWNER, INIT, PROGRAM, CLIENT, BROKER, N_VICTIMS };

static void
wait_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = rand() % 3000000}, NULL);
}

/* All that the session has, the daemon too, holds ALIVE. */
static void
run_something(int alive, enum victim victim)
{
	struct process_record r;
	uint64_t thread;
	int launch, with[2];

	client_run(&w, s.launch, WORDS(rand() % 2 ? "daemon" : "sleep"), &alive, 1);
	s.launch = -1;
	ck_assert(broker_receive(s.fd, &r, with));
	s.pidfd = with[0];
	r = (struct process_record){.type = PROCESS_KILL, .signal = SIGKILL, .thread = s.thread};
	broker_ask(s.fd, PROCESS_START, s.session, thread = ++w.last_id);
	if (victim == PROGRAM) {
		wait_a_little();
		broker_send(s.fd, &r, NULL);
	}
	do {
		if (!broker_receive(s.fd, &r, with))
			return;
		launch = with[0];
	} while (launch < 0);
	if (victim == CLIENT)
		wait_a_little();
	else
		client_send(&w, launch, some_argv, NULL, &alive, 1, 0);
	close(launch);
}

static void
kill_one(enum victim victim)
{
	struct process_record r = {};

	if (victim == SPAWNER)
		kill(w.pid, SIGKILL);
	if (victim != INIT)
		return;
	broker_ask(w.fd, PROCESS_SYNC, 0, 0);
	r = broker_await(w.fd, PROCESS_STATE);
	ck_assert_int_gt((pid_t)r.pid, 1);
	kill((pid_t)r.pid, SIGKILL);
}

/* Nobody is left who was ever below us: those would be ours to wait for. */
static void
await_nobody(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(kills_at_any_time_leave_nothing)
{
	int n = N_KILLS / (geteuid() == 0 ? 4 : 2);

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	srand((unsigned)_i + 1);
	for (int i = 0; i < n; i++) {
		enum victim victim = (enum victim)(rand() % N_VICTIMS);
		int alive[2];

		world_prepare(&w, &plan, _i);
		ck_assert_int_eq(fd_socketpair(SOCK_STREAM, alive), 0);
		world_session(&w, &plan, &s);
		run_something(alive[1], victim);
		close(alive[1]);
		wait_a_little();
		kill_one(victim);
		wait_a_little();
		s.launch = fd_close(s.launch);
		s.fd = fd_close(s.fd);
		w.fd = fd_close(w.fd);
		while (await_byte(alive[0]) >= 0)
			;
		close(alive[0]);
		await_nobody();
		s.pidfd = fd_close(s.pidfd);
		fixture_remove(w.directory);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("spawner-kills");
	TCase *t = fixture_case(suite, "kills", 240);

	tcase_add_loop_test(t, kills_at_any_time_leave_nothing, 0, world_kinds());
	return fixture_main(suite);
}
