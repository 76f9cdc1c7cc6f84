/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs from START to the acknowledged end, by the built spawner, its inits and whoever plays the rest. */
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

START_TEST(program_starts_and_its_end_is_told)
{
	struct process_record r;

	begin(_i);
	played_run(&s, WORDS("exit", "7"), NULL, 0);
	r = broker_await(s.fd, PROCESS_EXITED);
	ck_assert_uint_eq(r.thread, s.thread);
	ck_assert(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 7);
	ck_assert_uint_gt(r.maxrss_kib, 0);
	r.thread = played_run_more(&s, WORDS("signal", "15"), NULL, 0);
	ck_assert_uint_eq(broker_await(s.fd, PROCESS_EXITED).status, SIGTERM);
	world_over(&s);
}
END_TEST

#ifndef HAVE_SANITIZERS /* which see to it that there is none */
/* As the kernel says it of a child of our own that has ended in the same way. */
START_TEST(core_flag_is_told)
{
	const struct rlimit core = {1 << 20, 1 << 20};
	int status, own;
	pid_t pid;

	world_prepare(&w, &plan, _i);
	chmod(w.directory, 0777);
	snprintf(plan.cwd, sizeof(plan.cwd), "%s", w.directory);
	plan.rlimits_set = 1U << RLIMIT_CORE;
	plan.rlimits[RLIMIT_CORE][0] = core.rlim_cur;
	plan.rlimits[RLIMIT_CORE][1] = core.rlim_max;
	pid = fork();
	if (pid == 0) {
		if (chdir(w.directory) == 0 && setrlimit(RLIMIT_CORE, &core) == 0)
			abort();
		_exit(99);
	}
	ck_assert_int_eq(waitpid(pid, &own, 0), pid);
	world_session(&w, &plan, &s);
	played_run(&s, WORDS("signal", "6"), NULL, 0);
	status = broker_await(s.fd, PROCESS_EXITED).status;
	ck_assert_int_eq(status, own);
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
	world_over(&s);
}
END_TEST
#endif

START_TEST(program_leads_its_session_as_its_user)
{
	char path[100], text[100], wanted[100];
	char *argv[] = {path, (char[]){"self"}, NULL}, *env[] = {(char[]){"LISTEN_PID="}, NULL};
	int pair[2], pid, leader, listen_pid, uid, gid;

	begin(_i);
	snprintf(path, sizeof(path), "%s/spawned", w.directory);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	ck_assert_int_eq(client_send(&w, s.launch, argv, env, &pair[1], 1, HELLO_LISTEN_PID), 0);
	await_text(pair[0], text, sizeof(text));
	ck_assert_int_eq(sscanf(text, "%d %d %d %d %d", &pid, &leader, &listen_pid, &uid, &gid), 5);
	snprintf(wanted, sizeof(wanted), "%d %d %d %u %u\n", pid, pid, pid, (unsigned)w.uid, (unsigned)w.gid);
	ck_assert_str_eq(text, wanted);
	close(pair[0]);
	close(pair[1]);
	world_over(&s);
}
END_TEST

static size_t
random_table(int *fds, size_t max)
{
	size_t n = (size_t)rand() % max;

	for (size_t i = 0; i < n; i++)
		fds[i] = -1;
	/* In an order of their own, so that none is where it is to be. */
	for (size_t left = n; left > 0;) {
		size_t i = (size_t)rand() % n;
		int number;

		while (fds[i] >= 0)
			i = (i + 1) % n;
		number = (int)i;
		fds[i] = memfd_create("number", MFD_CLOEXEC);
		ck_assert_int_ge(fds[i], 0);
		ck_assert_int_eq(write(fds[i], &number, sizeof(number)), sizeof(number));
		left--;
	}
	return n;
}

START_TEST(C01_C09_program_has_exactly_its_descriptors)
{
	int fds[700];
	char number[16];
	unsigned n_big = 0;

	begin(_i);
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	srand(17);
	for (int i = 0; i < 300; i++) {
		size_t n = random_table(fds, i % 10 == 0 ? 700 : 40);
		uint64_t thread;

		n_big += n > HELLO_PACKET_FDS;
		snprintf(number, sizeof(number), "%zu", n);
		thread = played_run_more(&s, WORDS("table", number), fds, n);
		ck_assert_msg(broker_await(s.fd, PROCESS_EXITED).status == 0, "table %d of %zu", i, n);
		ack(thread);
		close_all(fds, n);
	}
	ck_assert_uint_gt(n_big, 5);
	world_over(&s);
}
END_TEST

/* One that is not exact is noticed by the program: a descriptor too many, or another number. */
START_TEST(program_notices_a_wrong_table)
{
	int fds[2] = {memfd_create("number", MFD_CLOEXEC), memfd_create("number", MFD_CLOEXEC)};

	begin(_i);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(write(fds[i], &i, sizeof(i)), sizeof(i));
	played_run(&s, WORDS("table", "1"), fds, 2);
	ck_assert_int_ne(broker_await(s.fd, PROCESS_EXITED).status, 0);
	close_all(fds, 2);
	world_over(&s);
}
END_TEST

START_TEST(program_can_be_a_descriptor)
{
	char path[128], number[] = "1";
	char *argv[] = {(char[]){"anything"}, (char[]){"table"}, number, NULL};
	int zero = 0, fds[2] = {memfd_create("number", MFD_CLOEXEC), -1};

	begin(_i);
	ck_assert_int_eq(write(fds[0], &zero, sizeof(zero)), sizeof(zero));
	snprintf(path, sizeof(path), "%s/spawned", w.directory);
	fds[1] = open(path, O_PATH | O_CLOEXEC);
	ck_assert_int_eq(client_send(&w, s.launch, argv, NULL, fds, 2, HELLO_EXEC_FD), 0);
	broker_await(s.fd, PROCESS_INITED);
	broker_await(s.fd, PROCESS_RUNNING);
	ck_assert_int_eq(broker_await(s.fd, PROCESS_EXITED).status, 0);
	close_all(fds, 2);
	world_over(&s);
}
END_TEST

START_TEST(limits_are_set_or_the_start_fails)
{
	char text[64];
	int pair[2];

	world_prepare(&w, &plan, _i);
	plan.rlimits_set = 1U << RLIMIT_NOFILE | 1U << RLIMIT_CORE;
	plan.rlimits[RLIMIT_NOFILE][0] = 100;
	plan.rlimits[RLIMIT_NOFILE][1] = 200;
	world_session(&w, &plan, &s);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("limit", "7"), &pair[1], 1);
	ck_assert_str_eq(await_text(pair[0], text, sizeof(text)), "100 200\n");
	close_all(pair, 2);
	world_over(&s);
}
END_TEST

START_TEST(working_directory_is_the_plans)
{
	int pair[2];

	world_prepare(&w, &plan, _i);
	snprintf(plan.cwd, sizeof(plan.cwd), "%s", w.directory);
	world_session(&w, &plan, &s);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&s, WORDS("cat", "cap/label"), &pair[1], 1);
	ck_assert_int_eq(broker_await(s.fd, PROCESS_EXITED).status, 0);
	close_all(pair, 2);
	world_over(&s);
}
END_TEST

/* Of the spawner and its children, which only root may know. */
static size_t
count_descriptors(void)
{
	char path[64];
	size_t n = 0;
	int child = 0;
	cleanup_fclose FILE *children = NULL;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)w.pid, (int)w.pid);
	children = fopen(path, "re");
	ck_assert_ptr_nonnull(children);
	for (int pid = w.pid; pid > 0; pid = fscanf(children, "%d", &child) == 1 ? child : 0) {
		cleanup_closedir DIR *dir = NULL;

		snprintf(path, sizeof(path), "/proc/%d/fd", pid);
		dir = opendir(path);
		while (dir && readdir(dir))
			n++;
	}
	ck_assert_int_gt(child, 0);
	return n;
}

START_TEST(thousand_starts_leave_nothing)
{
	struct process_record r;
	uint64_t thread;
	size_t n_before;

	begin(_i);
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	ack(s.thread);
	n_before = count_descriptors();
	for (int i = 0; i < 1000; i++) {
		thread = played_run_more(&s, WORDS("exit", "0"), NULL, 0);
		ck_assert_int_eq(broker_await(s.fd, PROCESS_EXITED).status, 0);
		ack(thread);
	}
	broker_ask(s.fd, PROCESS_SYNC, s.session, 0);
	broker_await(s.fd, PROCESS_SYNCED);
	ck_assert_uint_eq(count_descriptors(), n_before);
	thread = played_run_more(&s, WORDS("exit", "0"), NULL, 0);
	r = broker_await(s.fd, PROCESS_EXITED);
	ck_assert_uint_eq(r.thread, thread);
	world_over(&s);
}
END_TEST

/* --- starts that fail -------------------------------------------------------------------------------- */

static struct process_record
fail_to_start(char *const *argv, const int *fds, size_t n_fds, uint32_t flags)
{
	struct process_answer a;
	struct process_record r;
	uint64_t thread;
	int launch = played_launch(&s, &thread);
	bool announced = false;
	int with[2];

	client_send(&w, launch, argv, NULL, fds, n_fds, flags);
	do
		a = client_receive(launch);
	while (a.step == 0);
	do {
		ck_assert(broker_receive(s.fd, &r, with));
		announced = announced || r.type == PROCESS_RUNNING;
	} while (r.type == PROCESS_RUNNING);
	ck_assert_uint_eq(r.type, PROCESS_FAILED);
	ck_assert_uint_eq(r.thread, thread);
	ck_assert_int_eq(a.step, r.step);
	ck_assert_int_eq(a.error, r.error);
	ck_assert_int_eq(announced, r.step == STEP_EXEC);
	close(launch);
	ack(thread);
	return r;
}

static int
script_at(const char *name, mode_t mode, char path[static 128])
{
	int fd;

	snprintf(path, 128, "%s/%s", w.directory, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, mode);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(dprintf(fd, "#!/bin/sh\nexit 0\n"), 0);
	close(fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

START_TEST(C04_failed_start_says_where_and_why)
{
	char path[128];
	char *argv[] = {path, NULL};
	int script, directory, binary;

	begin(_i);
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	snprintf(path, sizeof(path), "%s/none", w.directory);
	check_failure(fail_to_start(argv, NULL, 0, 0), STEP_EXEC, ENOENT);
	close(script_at("forbidden", 0644, path));
	check_failure(fail_to_start(argv, NULL, 0, 0), STEP_EXEC, EACCES);
	script = script_at("script", 0755, path);
	check_failure(fail_to_start(argv, &script, 1, HELLO_EXEC_FD), STEP_EXEC, ENOEXEC);
	close(script);
	directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_failure(fail_to_start(argv, &directory, 1, 0), STEP_FDS, EISDIR);
	close(directory);
	/* The client's own call says EBADF, and the program sees it go. */
	binary = 999;
	ck_assert_int_eq(fcntl(binary, F_GETFD), -1);
	{
		uint64_t thread;
		int launch = played_launch(&s, &thread);

		ck_assert_int_eq(client_send(&w, launch, argv, NULL, &binary, 1, 0), -EBADF);
		close(launch);
		check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_FDS, ECONNRESET);
	}
	world_over(&s);
}
END_TEST

START_TEST(S18_failed_start_leaves_the_callers_table)
{
	cleanup_free int *before = NULL, *after = NULL;
	size_t n_before, n_after;
	char path[128];
	char *argv[] = {path, NULL};
	int fds[3] = {memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC), 2};

	begin(_i);
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	snprintf(path, sizeof(path), "%s/none", w.directory);
	ck_assert_int_eq(fd_list(&before, &n_before), 0);
	check_failure(fail_to_start(argv, fds, 3, 0), STEP_EXEC, ENOENT);
	ck_assert_int_eq(fd_list(&after, &n_after), 0);
	ck_assert_uint_eq(n_after, n_before);
	ck_assert_mem_eq(after, before, n_before * sizeof(*before));
	close_all(fds, 2);
	world_over(&s);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("spawner");
	TCase *t = fixture_case(suite, "programs", 120);
	int n = world_kinds();

	tcase_add_loop_test(t, program_starts_and_its_end_is_told, 0, n);
#ifndef HAVE_SANITIZERS
	tcase_add_loop_test(t, core_flag_is_told, 0, n);
#endif
	tcase_add_loop_test(t, program_leads_its_session_as_its_user, 0, n);
	tcase_add_loop_test(t, C01_C09_program_has_exactly_its_descriptors, 0, n);
	tcase_add_loop_test(t, program_notices_a_wrong_table, 0, n);
	tcase_add_loop_test(t, program_can_be_a_descriptor, 0, n);
	tcase_add_loop_test(t, limits_are_set_or_the_start_fails, 0, n);
	tcase_add_loop_test(t, working_directory_is_the_plans, 0, n);
	tcase_add_loop_test(t, thousand_starts_leave_nothing, 0, n);
	t = fixture_case(suite, "failures", 120);
	tcase_add_loop_test(t, C04_failed_start_says_where_and_why, 0, n);
	tcase_add_loop_test(t, S18_failed_start_leaves_the_callers_table, 0, n);
	return fixture_main(suite);
}
