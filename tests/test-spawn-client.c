/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C01 C03 C09 S17 S18 S27 */
/* Starting programs: the test plays the daemon, and a thread of it the half-started program. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "tests/fixture.h"
#include "tests/spawn-world.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* --- what it gets --- */

static const size_t counts[] = {0, 1, 3, 253, 254, 1000, HELLO_FDS_MAX};

START_TEST(S17_C01_C09_a_program_gets_its_descriptors_in_order)
{
	char *const argv[] = {(char[]){"/bin/x"}, (char[]){""}, (char[]){"b c"}, NULL};
	char *const envp[] = {(char[]){"A=1"}, (char[]){"LISTEN_PID=4711"}, NULL};
	static const char bytes[] = "/bin/x\0\0b c\0A=1\0LISTEN_PID=4711";
	const size_t n = counts[_i];

	make_files();
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = argv, .envp = envp,
		.fds = table, .n_fds = n});
	has_bytes(bytes, sizeof(bytes));
	has_files(n);
	ck_assert_uint_eq(program.hello.argc, 3);
	ck_assert_uint_eq(program.hello.envc, 2);
	ck_assert_uint_eq(program.hello.n_fds, n);
	ck_assert_uint_eq(program.hello.flags, 0);
	ck_assert_uint_eq(program.n_packets, n <= 253 ? 1 : (n + 252) / 253);
	close_files();
}
END_TEST

START_TEST(C09_a_long_environment_goes_in_packets)
{
	const size_t n = _i == 0 ? 2 : 1000, n_long = 50000;
	cleanup_free char *all = malloc(5 * n_long + 64);
	char *envp[6] = {}, *at;

	make_files();
	at = stpcpy(all, "/bin/true") + 1;
	for (size_t i = 0; i < 5; i++) {
		envp[i] = at;
		memset(at, 'a' + (int)i, n_long);
		at[n_long] = '\0';
		at += n_long + 1;
	}
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv, .envp = envp,
		.fds = table, .n_fds = n});
	has_bytes(all, (size_t)(at - all));
	has_files(n);
	ck_assert_uint_eq(program.packet_bytes_max, HELLO_PACKET_BYTES);
	ck_assert_uint_le(program.packet_fds_max, HELLO_PACKET_FDS);
	ck_assert_uint_eq(program.n_packets, 4);
	close_files();
}
END_TEST

START_TEST(the_program_itself_goes_last)
{
	make_files();
	table[3] = files[49];
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv, .fds = table,
		.n_fds = 3, .flags = CAPC_SPAWN_EXEC_FD, .exec_fd = table[3]});
	ck_assert_uint_eq(program.hello.n_fds, 4);
	ck_assert_uint_eq(program.hello.flags, HELLO_EXEC_FD);
	has_files(4);
	close_files();
}
END_TEST

START_TEST(S27_a_program_is_told_what_its_descriptors_are_called)
{
	char *const envp[] = {(char[]){"LISTEN_FDS=9"}, (char[]){"A=LISTEN_PID="}, (char[]){"LISTEN_PID=1"},
		(char[]){"LISTEN_FDNAMES=x"}, (char[]){"LISTEN_PIDFDID=7"}, NULL};
	const char *const labels[] = {"in", "out", "err", "kv", NULL, "a log"};
	struct capc_spawn p = {.size = sizeof(p), .argv = true_argv, .envp = envp, .fds = table,
		.labels = labels, .n_fds = 6, .flags = CAPC_SPAWN_LISTEN};
	static const char told[] = "/bin/true\0A=LISTEN_PID=\0LISTEN_FDS=3\0LISTEN_FDNAMES=kv:unknown:a log\0"
				   "LISTEN_PID=";
	static const char nothing[] = "/bin/true\0A=LISTEN_PID=";

	make_files();
	starts(&p);
	has_bytes(told, sizeof(told));
	ck_assert_uint_eq(program.hello.envc, 4);
	ck_assert_uint_eq(program.hello.flags, HELLO_LISTEN_PID);
	/* Nor of those that somebody else had. */
	next_program();
	p.n_fds = 3;
	starts(&p);
	has_bytes(nothing, sizeof(nothing));
	ck_assert_uint_eq(program.hello.envc, 1);
	ck_assert_uint_eq(program.hello.flags, 0);
	close_files();
}
END_TEST

START_TEST(the_daemon_is_told_where_and_how)
{
	struct capc_spawn p = {.size = sizeof(p), .argv = true_argv, .session = "app/db", .name = "kv",
		.flags = CAPC_SPAWN_DIE_WITH};

	starts(&p);
	played_asked(&d, WIRE_SPAWN, "sessions/app/sessions/db/threads", "descriptors=0 name=kv die keep");
	played_answer(&d, WIRE_WRITE, 0, "", -1);
	ck_assert_int_eq(capc_thread_ctl(thread, "pause", NULL), 0);
	played_asked(&d, WIRE_WRITE, "sessions/app/sessions/db/threads/7.3/ctl", "pause");
	next_program();
	p = (struct capc_spawn){.size = sizeof(p), .argv = true_argv, .flags = CAPC_SPAWN_DETACHED};
	starts(&p);
	played_asked(&d, WIRE_SPAWN, "threads", "descriptors=0");
}
END_TEST

/* --- whose it is --- */

START_TEST(root_says_for_whom)
{
	if (geteuid() != 0)
		return;
	answer_as(65534, 65533);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv}, LONG),
		0);
	played_program_end(&program);
	ck_assert_int_eq(program.who.pid, getpid());
	ck_assert_uint_eq(program.who.uid, 65534);
	ck_assert_uint_eq(program.who.gid, 65533);
}
END_TEST

START_TEST(others_start_their_own_programs)
{
	become_nobody();
	starts(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv});
}
END_TEST

START_TEST(S18_others_do_not_start_the_programs_of_others)
{
	become_nobody();
	make_files();
	remember_table();
	answer_as(_i == 0 ? 0 : geteuid(), 0);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .fds = table, .n_fds = 10}, LONG), -EPERM);
	played_program_end(&program);
	ck_assert(program.end_came && !program.hello_came);
	ck_assert_ptr_nonnull(reason);
	ck_assert_ptr_nonnull(strstr(reason, _i == 0 ? "uid 0, gid 0" : ", gid 0"));
	table_is_as_before();
	was_given_up(true);
	close_files();
}
END_TEST

/* --- what the daemon says --- */

static const int errors[] = {ECONNREFUSED, EDQUOT, EACCES, EBUSY, EOPNOTSUPP, EPERM};

START_TEST(a_refusal_has_the_daemons_reason)
{
	played_answer(&d, WIRE_SPAWN, errors[_i], "step ns: because", -1);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv}, LONG),
		-errors[_i]);
	ck_assert_str_eq(reason, "step ns: because");
	played_asked(&d, WIRE_SPAWN, "threads", "descriptors=0 keep");
	played_quiet(&d);
}
END_TEST

START_TEST(S18_a_daemon_may_not_answer)
{
	make_files();
	remember_table();
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .fds = table, .n_fds = 3}, SHORT), -ETIMEDOUT);
	ck_assert_ptr_null(reason);
	table_is_as_before();
	close_files();
}
END_TEST

static const char *const bad_replies[] = {
	"", "thread=7.3", "thread=7.3 uid=0", "uid=0 gid=0", "thread=7 uid=0 gid=0", "thread=../1.1 uid=0 gid=0",
	"thread= uid=0 gid=0", "thread=7.3 uid=4294967295 gid=0", "thread=7.3 uid=0 gid=x", "thread=7.3 uid=-1 gid=0",
};

START_TEST(S18_a_reply_may_be_nonsense)
{
	int fds[2];

	make_files();
	remember_table();
	played_pair(SOCK_SEQPACKET, fds);
	played_answer(&d, WIRE_SPAWN, 0, bad_replies[_i], fds[1]);
	close(fds[1]);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .fds = table, .n_fds = 3}, LONG), -EBADMSG);
	ck_assert(played_at_end(fds[0]));
	close(fds[0]);
	table_is_as_before();
	close_files();
}
END_TEST

START_TEST(S18_a_reply_brings_the_end_of_a_pair)
{
	int fd = _i == 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	played_answer(&d, WIRE_SPAWN, 0, "thread=7.3 uid=0 gid=0", fd);
	fd_close(fd);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv}, LONG),
		-EBADMSG);
}
END_TEST

/* --- what is not asked for --- */

static void
is_refused(const struct capc_spawn *p, int error)
{
	ck_assert_int_eq(spawn(p, LONG), error);
	ck_assert_ptr_null(reason);
	played_quiet(&d);
}

START_TEST(S18_what_is_too_much_is_not_asked_for)
{
	static const gid_t too_many_groups[PLAN_GROUPS_MAX + 1];
	static char *many[HELLO_STRINGS_MAX + 2];
	cleanup_free char *big = malloc(HELLO_BYTES_MAX + 1);
	char *const one[] = {big, NULL};
	struct capc_spawn p = {.size = sizeof(p), .argv = true_argv};

	for (size_t i = 0; i <= HELLO_STRINGS_MAX; i++)
		many[i] = (char *)(uintptr_t)"";
	memset(big, 'x', HELLO_BYTES_MAX);
	big[HELLO_BYTES_MAX - 10] = '\0';
	p.envp = one;
	is_refused(&p, -E2BIG);
	p.envp = NULL;
	p.argv = many;
	is_refused(&p, -E2BIG);
	p.argv = true_argv;
	p.envp = many;
	is_refused(&p, -E2BIG);
	p.envp = NULL;
	p.groups = too_many_groups;
	p.n_groups = N(too_many_groups);
	is_refused(&p, -E2BIG);
	make_files();
	remember_table();
	p = (struct capc_spawn){.size = sizeof(p), .argv = true_argv, .fds = table, .n_fds = HELLO_FDS_MAX + 1};
	is_refused(&p, -E2BIG);
	/* Three variables are three of them. */
	many[HELLO_STRINGS_MAX - 2] = NULL;
	p.envp = many;
	p.n_fds = 4;
	p.flags = CAPC_SPAWN_LISTEN;
	is_refused(&p, -E2BIG);
	table_is_as_before();
	/* All that may be can be. */
	many[HELLO_STRINGS_MAX - 3] = NULL;
	starts(&p);
	ck_assert_uint_eq(program.hello.envc, HELLO_STRINGS_MAX);
	close_files();
	next_program();
	big[HELLO_BYTES_MAX - 11] = '\0';
	p = (struct capc_spawn){.size = sizeof(p), .argv = true_argv, .envp = one};
	starts(&p);
	ck_assert_uint_eq(program.n_bytes, HELLO_BYTES_MAX);
}
END_TEST

START_TEST(C03_S18_what_cannot_be_is_not_asked_for)
{
	static const char *const labels[] = {"", "a:b", "a\nb"};
	struct capc_spawn p = {.size = sizeof(p), .argv = true_argv, .fds = table, .n_fds = 3};
	struct {
		struct capc_spawn p;
		char more[8];
	} later = {.p = {.size = sizeof(later), .argv = true_argv}, .more = "x"};

	make_files();
	table[1] = 987654;
	is_refused(&p, -EBADF);
	p.n_fds = 1;
	p.flags = CAPC_SPAWN_EXEC_FD;
	p.exec_fd = -1;
	is_refused(&p, -EBADF);
	p.flags = 1u << 31;
	is_refused(&p, -EINVAL);
	p.flags = 0;
	p.name = "two words";
	is_refused(&p, -EINVAL);
	p.name = NULL;
	for (size_t i = 0; i < N(labels); i++) {
		p.labels = &labels[i];
		is_refused(&p, -EINVAL);
	}
	p.labels = NULL;
	p.argv = &true_argv[1];
	is_refused(&p, -EINVAL);
	p.argv = NULL;
	is_refused(&p, -EINVAL);
	p.argv = true_argv;
	p.size = 8;
	is_refused(&p, -EINVAL);
	is_refused(&later.p, -EOPNOTSUPP);
	later.more[0] = '\0';
	starts(&later.p);
	close_files();
}
END_TEST

/* --- descriptors in flight --- */

/* So many of this user are in flight that no more may be, until the two ends of FULL are closed. */
static void
fill(int full[2])
{
	struct rlimit limit;
	int many[200];

	become_nobody();
	make_files();
	for (size_t i = 0; i < N(many); i++)
		many[i] = files[0];
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 128;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	played_pair(SOCK_SEQPACKET, full);
	memcpy(program.full, full, sizeof(program.full));
	answer();
	ck_assert_int_eq(msg_send(full[0], "", 1, many, N(many), 0), 1);
}

START_TEST(S18_too_many_in_flight_are_sent_later)
{
	int full[2];

	fill(full);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .fds = table, .n_fds = 3}, LONG), 0);
	played_program_end(&program);
	has_files(3);
	close_files();
}
END_TEST

START_TEST(S18_but_not_for_ever)
{
	int full[2];

	program.takes = PROGRAM_TAKES_NOTHING;
	program.n_answers = 0;
	program.waits = true;
	fill(full);
	ck_assert_int_eq(spawn(&(struct capc_spawn){.size = sizeof(struct capc_spawn), .argv = true_argv,
				       .fds = table, .n_fds = 3}, SHORT), -ETIMEDOUT);
	played_program_end(&program);
	ck_assert(program.end_came);
	was_given_up(true);
	close(full[0]);
	close(full[1]);
	close_files();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("spawn-client");
	TCase *c = tcase_create("start");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, spawn_setup, spawn_teardown);
	tcase_add_loop_test(c, S17_C01_C09_a_program_gets_its_descriptors_in_order, 0, N(counts));
	tcase_add_loop_test(c, C09_a_long_environment_goes_in_packets, 0, 2);
	tcase_add_test(c, the_program_itself_goes_last);
	tcase_add_test(c, S27_a_program_is_told_what_its_descriptors_are_called);
	tcase_add_test(c, the_daemon_is_told_where_and_how);
	tcase_add_test(c, root_says_for_whom);
	tcase_add_test(c, others_start_their_own_programs);
	tcase_add_loop_test(c, S18_others_do_not_start_the_programs_of_others, 0, 2);
	tcase_add_loop_test(c, a_refusal_has_the_daemons_reason, 0, N(errors));
	tcase_add_test(c, S18_a_daemon_may_not_answer);
	tcase_add_loop_test(c, S18_a_reply_may_be_nonsense, 0, N(bad_replies));
	tcase_add_loop_test(c, S18_a_reply_brings_the_end_of_a_pair, 0, 2);
	tcase_add_test(c, S18_what_is_too_much_is_not_asked_for);
	tcase_add_test(c, C03_S18_what_cannot_be_is_not_asked_for);
	tcase_add_test(c, S18_too_many_in_flight_are_sent_later);
	tcase_add_test(c, S18_but_not_for_ever);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
