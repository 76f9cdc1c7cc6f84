/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients and brokers that do not keep to the protocol, or go away in the middle of it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "tests/spawner-world.h"

#define N_RECORDS 3000

static struct world w;
static struct process_plan plan;
static struct played s;

static void
begin(int kind)
{
	world_prepare(&w, &plan, kind);
	world_session(&w, &plan, &s);
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
}

/* --- clients --------------------------------------------------------------------------------------- */

static char *const some_argv[] = {(char[]){"/bin/true"}, NULL};

static void
check_refused(int launch, int step, int error)
{
	struct process_answer a = client_receive(launch);

	ck_assert_msg(a.step == step && a.error == error, "answer: step %d, error %d", a.step, a.error);
	check_failure(broker_await(s.fd, PROCESS_FAILED), step, error);
	close(launch);
}

START_TEST(client_that_goes_away_is_a_failed_start)
{
	cleanup_free char *bytes = NULL;
	struct process_hello h;
	uint64_t thread;
	int launch;

	begin(_i);
	client_fill(&h, some_argv, NULL, 2, &bytes);
	close(played_launch(&s, &thread));
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_HELLO, ECONNRESET);
	launch = played_launch(&s, &thread);
	ck_assert_int_eq(client_hello(launch, &h, w.uid, w.gid), 0);
	close(launch);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_FDS, ECONNRESET);
	launch = played_launch(&s, &thread);
	ck_assert_int_eq(client_hello(launch, &h, w.uid, w.gid), 0);
	ck_assert_int_gt(msg_send(launch, bytes, h.n_bytes, (int[]){0}, 1, 0), 0);
	close(launch);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_FDS, ECONNRESET);
	world_over(&s);
}
END_TEST

static void
spoil(struct process_hello *h, int how)
{
	switch (how) {
	case 0:
		h->magic++;
		break;
	case 1:
		h->n_fds = HELLO_FDS_MAX + 1;
		break;
	case 2:
		h->n_bytes = HELLO_BYTES_MAX + 1;
		break;
	case 3:
		h->argc = 0;
		break;
	case 4:
		h->argc = HELLO_STRINGS_MAX + 1;
		break;
	case 5:
		h->envc = UINT32_MAX;
		break;
	case 6:
		h->flags = 1U << 31;
		break;
	case 7:
		h->flags = HELLO_EXEC_FD;
		break;
	default:
		h->n_bytes = 0;
	}
}

START_TEST(malformed_hello_is_refused)
{
	cleanup_free char *bytes = NULL;
	struct process_hello h;
	uint64_t thread;
	int launch;

	begin(_i);
	for (int how = 0; how < 9; how++) {
		free(bytes);
		client_fill(&h, some_argv, NULL, 0, &bytes);
		spoil(&h, how);
		launch = played_launch(&s, &thread);
		ck_assert_int_eq(client_hello(launch, &h, w.uid, w.gid), 0);
		check_refused(launch, STEP_HELLO, EBADMSG);
	}
	for (size_t n = 1; n < 40; n += 19) {
		launch = played_launch(&s, &thread);
		ck_assert_int_eq(send(launch, bytes, n, MSG_NOSIGNAL), n);
		check_refused(launch, STEP_HELLO, EBADMSG);
	}
	launch = played_launch(&s, &thread);
	ck_assert_int_gt(msg_send(launch, &h, sizeof(h), (int[]){0, 1}, 2, 0), 0);
	check_refused(launch, STEP_HELLO, EBADMSG);
	world_over(&s);
}
END_TEST

static void
send_parts(int n_fds, int n_fds_sent, int n_more, const char *words, uint32_t argc)
{
	static char many[HELLO_PACKET_BYTES];
	struct process_hello h = {.magic = HELLO_MAGIC, .n_fds = (uint32_t)n_fds, .argc = argc};
	uint64_t thread;
	int launch = played_launch(&s, &thread), fds[8] = {};

	memcpy(many, words, 10);
	h.n_bytes = 10;
	ck_assert_int_eq(client_hello(launch, &h, w.uid, w.gid), 0);
	ck_assert_int_gt(msg_send(launch, many, (size_t)(10 + n_more), fds, (size_t)n_fds_sent, 0), 0);
	check_refused(launch, STEP_FDS, EBADMSG);
}

START_TEST(more_than_was_said_is_refused)
{
	begin(_i);
	send_parts(1, 3, 0, "/bin/true", 1);
	send_parts(0, 0, 1, "/bin/true", 1);
	send_parts(0, 0, HELLO_PACKET_BYTES - 10, "/bin/true", 1);
	/* Words that are not as many, or do not end. */
	send_parts(0, 0, 0, "/bin/true", 2);
	send_parts(0, 0, 0, "/bin\0true", 1);
	send_parts(0, 0, 0, "/bin/true!", 1);
	world_over(&s);
}
END_TEST

START_TEST(hello_of_another_user_is_refused)
{
	cleanup_free char *bytes = NULL;
	struct process_record r;
	struct process_hello h;
	int with[2];
	uint64_t thread;

	if (geteuid() != 0)
		return;
	begin(_i);
	client_fill(&h, some_argv, NULL, 0, &bytes);
	for (int i = 0; i < 4; i++) {
		/* In a user namespace there is no other number than that of its user. */
		static const int difference[4][2] = {
			{1, 0}, {0, 1}, {-WORLD_USER, -WORLD_USER}, {-WORLD_USER, 0}};
		int launch = played_launch(&s, &thread);

		ck_assert_int_eq(
			client_hello(launch, &h, w.uid + difference[i][0], w.gid + difference[i][1]), 0);
		check_refused(launch, STEP_CREDS, EPERM);
	}
	played_end(&s);
	broker_await(w.fd, PROCESS_ENDED);
	/* The first one of all, whom root's spawner asks before anything else. */
	world_session(&w, &plan, &s);
	ck_assert_int_eq(client_hello(s.launch, &h, w.uid + 1, w.gid), 0);
	do
		ck_assert(broker_receive(s.fd, &r, with));
	while (r.type == PROCESS_INITED && (fd_close(with[0]), true));
	check_failure(r, STEP_CREDS, EPERM);
	world_over(&s);
}
END_TEST

/* Nobody waits for a client that says nothing, for longer than a deadline. */
START_TEST(silent_client_is_not_waited_for)
{
	struct process_record r;
	uint64_t thread;
	struct pollfd p;
	int launch, with[2];

	begin(_i);
	launch = played_launch(&s, &thread);
	p = (struct pollfd){.fd = s.fd, .events = POLLIN};
	ck_assert_int_eq(poll(&p, 1, 25000), 0);
	ck_assert(broker_receive(s.fd, &r, with));
	check_failure(r, STEP_HELLO, ETIMEDOUT);
	close(launch);
	world_over(&s);
}
END_TEST

/* --- plans ----------------------------------------------------------------------------------------- */

/* Returns: the errno with which it is refused; 0: there is no such case. */
static int
spoil_plan(struct process_plan *p, int how)
{
	static const char *const sessions[] = {"..", "/etc", "sessions", "sessions/", "sessions/..",
		"sessions/a/", "sessions/.a", "sessions/a/b", "sessions/a/sessions", "sessions/a//sessions/b",
		"sessions/a b", "sessions//a"};
	static const char *const paths[] = {
		"usr", "/usr/..", "/usr/../etc", "/", "/usr/", "//usr", "/./usr", "/proc", "/cap/x", ""};

	if (how < 12) {
		snprintf(p->session, sizeof(p->session), "%s", sessions[how]);
		return EINVAL;
	}
	p->flags = PLAN_CONFINED;
	p->n_binds = 1;
	snprintf(p->binds[0].path, sizeof(p->binds[0].path), "/usr");
	if (how < 22) {
		snprintf(p->binds[0].path, sizeof(p->binds[0].path), "%s", paths[how - 12]);
		return EINVAL;
	}
	switch (how) {
	case 22:
		memset(p->session, 'a', sizeof(p->session));
		return EINVAL;
	case 23:
		memset(p->binds[PLAN_BINDS_MAX - 1].path, 'a', sizeof(p->binds[0].path));
		return EINVAL;
	case 24:
		p->n_binds = PLAN_BINDS_MAX + 1;
		return EINVAL;
	case 25:
		p->n_groups = PLAN_GROUPS_MAX + 1;
		return EINVAL;
	case 26:
		p->uid = UINT32_MAX;
		return EINVAL;
	case 27:
		p->uid = 0;
		return EPERM;
	case 28:
		p->gid = 0;
		return EPERM;
	case 29:
		p->flags = 1U << 30;
		return EINVAL;
	case 30:
		p->flags = PLAN_CONFINED | 64;
		return EINVAL;
	case 31:
		p->flags = PLAN_CONFINED | PLAN_NET;
		return EOPNOTSUPP;
	case 32:
		p->flags = PLAN_SECCOMP;
		return EINVAL;
	case 33:
		p->rlimits_set = 1U << 20;
		return EINVAL;
	case 34:
		p->rlimits_set = 1;
		p->rlimits[0][0] = 2;
		return EINVAL;
	case 35:
		snprintf(p->cwd, sizeof(p->cwd), "relative");
		return EINVAL;
	case 36:
		snprintf(p->root, sizeof(p->root), "/a/../b");
		return EINVAL;
	case 37:
		p->memory_max = 1 << 20;
		return EOPNOTSUPP;
	default:
		return 0;
	}
}

START_TEST(bad_plans_are_refused)
{
	struct process_record failed;
	int error;

	world_prepare(&w, &plan, _i * 2);
	for (int how = 0;; how++) {
		world_plan(&w, &plan, 0);
		error = spoil_plan(&plan, how);
		if (error == 0)
			break;
		ck_assert_msg(!world_make(&w, -1, &plan, &s, &failed), "case %d", how);
		ck_assert_msg(failed.error == error, "case %d: error %d", how, failed.error);
	}
	/* Of another user, when the spawner is a user's. */
	world_plan(&w, &plan, 0);
	plan.uid++;
	if (!w.privileged)
		ck_assert(!world_make(&w, -1, &plan, &s, &failed));
	/* Too short for one. */
	{
		struct process_record r = {.type = PROCESS_START, .session = 5, .thread = 6};
		char bytes[sizeof(r) + 100] = {};

		memcpy(bytes, &r, sizeof(r));
		ck_assert_int_gt(send(w.fd, bytes, sizeof(bytes), 0), 0);
		check_failure(broker_await(w.fd, PROCESS_FAILED), STEP_NONE, EINVAL);
	}
	world_end(&w);
}
END_TEST

/* --- the broker ------------------------------------------------------------------------------------ */

static void
randomize(void *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)data)[i] = (unsigned char)rand();
}

/* Of all that was ever valid a few bytes are something else; or nothing is valid. */
static size_t
random_packet(char *bytes)
{
	struct process_record r = {
		.type = PROCESS_START, .session = (uint64_t)rand() % 50 + 1, .thread = (uint64_t)rand()};
	struct process_plan p;
	size_t n = sizeof(r) + sizeof(p);

	world_plan(&w, &p, rand() % 2 ? 0 : (uint32_t)rand() & 0xff);
	spoil_plan(&p, rand() % 60);
	if (rand() % 3 == 0)
		r.type = (uint32_t)rand() % 40;
	memcpy(bytes, &r, sizeof(r));
	memcpy(bytes + sizeof(r), &p, sizeof(p));
	if (rand() % 8 == 0)
		randomize(bytes, n);
	for (int i = rand() % 4; i > 0; i--)
		bytes[(size_t)rand() % n] = (char)rand();
	return rand() % 4 ? n : (size_t)rand() % n + 1;
}

/* Whoever has taken over a broker has the broker's user, not the client's. */
static void
pretend_to_be_client(int launch)
{
	char path[512];
	char *argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, path, NULL};
	cleanup_free char *bytes = NULL;
	struct process_hello h;

	snprintf(path, sizeof(path), "echo >%s/owned", w.directory);
	client_fill(&h, argv, NULL, 0, &bytes);
	if (rand() % 4 == 0)
		randomize(&h, sizeof(h));
	if (rand() % 2)
		client_hello(launch, &h, w.uid, w.gid);
	send(launch, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT);
	send(launch, bytes, h.n_bytes < 4096 ? h.n_bytes : 4096, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The pairs of sessions are kept: an init that has lost its own starts nothing. */
struct pairs {
	int fds[N_RECORDS];
	size_t n;
	bool are_kept;
};

static void
take_answers(int fd, struct pairs *pairs)
{
	struct process_record r;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, 0) == 1) {
		int fds[2];

		if (!broker_receive(fd, &r, fds))
			_exit(2);
		if (fds[0] >= 0)
			pretend_to_be_client(fds[0]);
		fd_close(fds[0]);
		if (fds[1] >= 0 && pairs->are_kept)
			pairs->fds[pairs->n++] = fds[1];
		else
			fd_close(fds[1]);
	}
}

/* Until all are at their ends, or one says that it runs. */
static bool
any_runs(const struct pairs *pairs)
{
	struct process_record r;
	int fds[2];

	for (size_t i = 0; i < pairs->n; i++)
		while (broker_receive(pairs->fds[i], &r, fds))
			if (r.type == PROCESS_RUNNING || r.type == PROCESS_EXITED)
				return true;
	return false;
}

static void __attribute__((noreturn))
be_hostile(int fd, bool becomes_other)
{
	static char bytes[sizeof(struct process_record) + sizeof(struct process_plan)];
	static struct pairs pairs;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	pairs.are_kept = becomes_other;
	if (becomes_other &&
		(setgroups(0, NULL) < 0 || setresgid(999, 999, 999) < 0 || setresuid(999, 999, 999) < 0))
		_exit(3);
	srand(7);
	for (int i = 0; i < N_RECORDS; i++) {
		size_t n = random_packet(bytes);
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		poll(&p, 1, WORLD_MSEC);
		msg_send(fd, bytes, n, &null, rand() % 4 == 0, MSG_DONTWAIT);
		take_answers(fd, &pairs);
	}
	if (becomes_other && pairs.n < 20)
		_exit(4);
	_exit(any_runs(&pairs));
}

/* Behind all that is still to be read. */
static void
serve_as_before(void)
{
	struct process_record r = {.type = PROCESS_START, .session = UINT64_C(1) << 62, .thread = 1};
	int fds[2];

	world_plan(&w, &plan, 0);
	broker_send(w.fd, &r, &plan);
	while (broker_receive(w.fd, &r, fds) &&
		!(r.type == PROCESS_LAUNCH && r.session == UINT64_C(1) << 62)) {
		fd_close(fds[0]);
		fd_close(fds[1]);
	}
	ck_assert_uint_eq(r.type, PROCESS_LAUNCH);
	s = (struct played){.world = &w,
		.launch = fds[0],
		.fd = fds[1],
		.pidfd = -1,
		.session = r.session,
		.thread = r.thread};
}

START_TEST(S07_hostile_broker_starts_nothing)
{
	char path[512];
	int status;
	pid_t pid;

	world_prepare(&w, &plan, _i * 2);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	/* A user's broker is that user's, and may start what it likes: the spawner is to outlive it. */
	if (pid == 0)
		be_hostile(w.fd, w.privileged);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	snprintf(path, sizeof(path), "%s/owned", w.directory);
	if (w.privileged)
		ck_assert_int_ne(access(path, F_OK), 0);
	serve_as_before();
	played_run(&s, WORDS("exit", "0"), NULL, 0);
	broker_await(s.fd, PROCESS_EXITED);
	played_end(&s);
	world_end(&w);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("spawner-hostile");
	TCase *t = fixture_case(suite, "clients", 120);
	int n = world_kinds();

	tcase_add_loop_test(t, client_that_goes_away_is_a_failed_start, 0, n);
	tcase_add_loop_test(t, malformed_hello_is_refused, 0, n);
	tcase_add_loop_test(t, more_than_was_said_is_refused, 0, n);
	tcase_add_loop_test(t, hello_of_another_user_is_refused, 0, n);
	tcase_add_loop_test(t, silent_client_is_not_waited_for, 0, 1);
	t = fixture_case(suite, "brokers", 120);
	tcase_add_loop_test(t, bad_plans_are_refused, 0, n / 2);
	tcase_add_loop_test(t, S07_hostile_broker_starts_nothing, 0, n / 2);
	return fixture_main(suite);
}
