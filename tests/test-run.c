/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C04 C09 G65 S17 S27 */
/*
 * capctl run: its words; and the program itself, whose daemon the test is, by a socket in a directory, and whose
 * half-started programs are played by a thread.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capctl/run/forward.h"
#include "capctl/run/run.h"
#include "capctl/run/words.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "tests/played-program.h"
#include "wire/wire.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define LONG_MSEC 30000
#define STARTED "thread=7.3 uid=%u gid=%u"
#define ENDED "thread=7.3 state=exited status=%d utime_usec=1 stime_usec=2 maxrss_kib=3"

#define WORDS(...) ((char *const[]){__VA_ARGS__, NULL})
#define W(s) ((char[]){s})

static char directory[FIXTURE_PATH];
static int listener, control, out, err;
static pid_t capctl;
static struct played_program program;

static void
setup(void)
{
	fixture_setup();
	fixture_directory(directory);
	listener = played_listen(directory, "control", SOCK_SEQPACKET, 8);
	control = -1;
	out = memfd_create("stdout", MFD_CLOEXEC);
	err = memfd_create("stderr", MFD_CLOEXEC);
	program = (struct played_program){.takes = PROGRAM_TAKES_ALL, .n_answers = 1};
}

static void
teardown(void)
{
	fd_close(control);
	close(listener);
	close(out);
	close(err);
	fixture_remove(directory);
	fixture_teardown();
}

/* Descriptor 50 of it is /dev/zero. */
static void __attribute__((noreturn))
execute(char *const *words, int ignored)
{
	const char *top = getenv("top_builddir");
	char path[4096], option[FIXTURE_PATH + 8];
	char *argv[32] = {(char[]){"capctl"}, option, (char[]){"run"}};
	int zero = open("/dev/zero", O_RDONLY);

	for (size_t i = 0; words[i]; i++)
		argv[i + 3] = words[i];
	snprintf(path, sizeof(path), "%s/capctl/capctl", top ? top : ".");
	snprintf(option, sizeof(option), "--cap=%s", directory);
	setenv("PATH", "/nonexistent:/bin:/usr/bin", 1);
	if (ignored)
		signal(ignored, SIG_IGN);
	dup2(out, 1);
	dup2(err, 2);
	dup2(zero, 50);
	execv(path, argv);
	_exit(99);
}

static void
begin_ignoring(char *const *words, int ignored)
{
	capctl = fork();
	if (capctl == 0)
		execute(words, ignored);
	ck_assert_int_gt(capctl, 0);
}

static void
await(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	ck_assert_int_eq(poll(&p, 1, LONG_MSEC), 1);
}

static int
accept_control(void)
{
	int fd;

	await(listener);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* The next request over FD is this one. */
static struct wire_request
asked(int fd, enum wire_op op, const char *node, const char *text)
{
	uint8_t buffer[WIRE_CONTROL_MAX];
	struct wire_request q;
	size_t n_fds;
	ssize_t n;

	await(fd);
	n = msg_receive(fd, buffer, sizeof(buffer), NULL, 0, &n_fds, 0);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(wire_request_decode(buffer, (size_t)n, &q), 0);
	ck_assert_uint_eq(q.op, op);
	ck_assert_msg(q.n_path == strlen(node) && memcmp(q.path, node, q.n_path) == 0, "%.*s", (int)q.n_path,
		q.path);
	ck_assert_msg(q.n_text == strlen(text) && memcmp(q.text, text, q.n_text) == 0, "%.*s", (int)q.n_text,
		q.text);
	return q;
}

/* PASSED stays the caller's. */
static void
answer(int fd, const struct wire_request *q, int error, const char *text, int passed)
{
	const struct wire_reply reply = {
		.op = q->op,
		.error = (uint32_t)error,
		.serial = q->serial,
		.text = text,
		.n_text = strlen(text),
	};
	uint8_t buffer[WIRE_CONTROL_MAX];
	int n = wire_reply_encode(&reply, buffer, sizeof(buffer));

	ck_assert_int_eq(msg_send(fd, buffer, (size_t)n, &passed, passed >= 0, 0), n);
}

/* Returns its offset. */
static uint64_t
serve(int fd, enum wire_op op, const char *node, const char *text, int error, const char *reply, int passed)
{
	struct wire_request q = asked(fd, op, node, text);

	answer(fd, &q, error, reply, passed);
	return q.offset;
}

static void
begin(char *const *words)
{
	begin_ignoring(words, 0);
	control = accept_control();
	serve(control, WIRE_READ, "label", "", 0, "init\n", -1);
}

static ino_t
serve_open(const char *node)
{
	struct stat st;
	int fds[2];

	played_pair(SOCK_SEQPACKET, fds);
	ck_assert_int_eq(fstat(fds[1], &st), 0);
	serve(control, WIRE_OPEN, node, "", 0, "", fds[1]);
	close(fds[0]);
	close(fds[1]);
	return st.st_ino;
}

static void
serve_spawn(const char *node, const char *text)
{
	int fd = played_program_start(&program);
	char answer[64];

	snprintf(answer, sizeof(answer), STARTED, geteuid(), getegid());
	serve(control, WIRE_SPAWN, node, text, 0, answer, fd);
	close(fd);
	played_program_end(&program);
}

static void
serve_wait(int status)
{
	char answer[128];

	snprintf(answer, sizeof(answer), ENDED, status);
	ck_assert_uint_eq(serve(control, WIRE_WAIT, "threads/7.3", WIRE_WAIT_YIELDS, 0, answer, -1), UINT64_MAX);
}

/* From here on it has blocked what is the program's. */
static void
begin_and_wait(void)
{
	begin(WORDS(W("true")));
	serve_spawn("threads", "descriptors=3 labels=stdin,stdout,stderr keep");
	await(control);
}

/* It exits with STATUS, and has said so much. */
static void
ends(int status, const char *wanted_out, const char *wanted_err)
{
	char said[1024] = {};
	int got;

	ck_assert_int_eq(waitpid(capctl, &got, 0), capctl);
	ck_assert_int_ge(pread(err, said, sizeof(said) - 1, 0), 0);
	ck_assert_msg(WIFEXITED(got) && WEXITSTATUS(got) == status, "status %x: %s", got, said);
	ck_assert_str_eq(said, wanted_err);
	memset(said, 0, sizeof(said));
	ck_assert_int_ge(pread(out, said, sizeof(said) - 1, 0), 0);
	ck_assert_str_eq(said, wanted_out);
}

START_TEST(S17_S27_C09_a_program_gets_what_it_is_to_have_and_nothing_else)
{
	static const char bytes[] = "/bin/true\0-x\0A=4\0B=3\0LISTEN_FDS=3\0LISTEN_FDNAMES=store:log:cache\0"
				    "LISTEN_PID=";
	struct stat zero;
	ino_t store, cache;

	begin(WORDS(W("--session=app/db"), W("--cap"), W("kv=store"), W("--fd=log=50"), W("--cap=cache"), W("--env"),
		W("A=2"), W("--env=B=3"), W("--env=A=4"), W("--clear-env"), W("--name=nn"), W("--timeout=25"),
		W("--"), W("/bin/true"), W("-x")));
	store = serve_open("sessions/app/sessions/db/caps/kv");
	cache = serve_open("sessions/app/sessions/db/caps/cache");
	serve_spawn("sessions/app/sessions/db/threads", "descriptors=6 name=nn labels=stdin,stdout,stderr,store,log,cache keep");
	ck_assert_int_eq(stat("/dev/zero", &zero), 0);
	ck_assert_uint_eq(program.hello.n_fds, 6);
	ck_assert_uint_eq(program.hello.flags, HELLO_LISTEN_PID);
	ck_assert_uint_eq(program.n_bytes, sizeof(bytes));
	ck_assert_mem_eq(program.bytes, bytes, sizeof(bytes));
	ck_assert(program.files[3] == store && program.files[4] == zero.st_ino && program.files[5] == cache);
	ck_assert_uint_eq(serve(control, WIRE_WAIT, "sessions/app/sessions/db/threads/7.3", WIRE_WAIT_YIELDS, 0,
				  "thread=7.3 state=exited status=1792 utime_usec=1 stime_usec=2 maxrss_kib=3", -1),
		UINT64_MAX);
	ends(7, "", "");
}
END_TEST

static const struct {
	const char *end;
	int status;
	const char *err;
} ended[] = {
	{"state=exited status=0 utime_usec=1 stime_usec=2 maxrss_kib=3", 0, ""},
	{"state=exited status=768 utime_usec=1 stime_usec=2 maxrss_kib=3", 3, ""},
	{"state=exited status=9 utime_usec=1 stime_usec=2 maxrss_kib=3", 137, ""},
	{"state=exited status=139 utime_usec=1 stime_usec=2 maxrss_kib=3", 139, ""},
	{"state=failed step=exec errno=ENOENT", 127,
		"capctl: /bin/true: step exec: ENOENT: No such file or directory\n"},
	{"state=failed step=ns errno=ENOSPC", 126, "capctl: /bin/true: step ns: ENOSPC: No space left on device\n"},
};

START_TEST(G65_its_status_is_that_of_the_program)
{
	char answer[128];

	begin(WORDS(W("true")));
	serve_spawn("threads", "descriptors=3 labels=stdin,stdout,stderr keep");
	/* It is the path that was found. */
	ck_assert_str_eq(program.bytes, "/bin/true");
	ck_assert_uint_eq(program.hello.argc, 1);
	snprintf(answer, sizeof(answer), "thread=7.3 %s", ended[_i].end);
	serve(control, WIRE_WAIT, "threads/7.3", WIRE_WAIT_YIELDS, 0, answer, -1);
	ends(ended[_i].status, "", ended[_i].err);
}
END_TEST

static const struct {
	int step, error, status;
	const char *err;
} failed[] = {
	{STEP_EXEC, ENOENT, 127,
		"capctl: /no: step exec: ENOENT: there is no such program in its session, or not what interprets it\n"},
	{STEP_EXEC, EACCES, 126, "capctl: /no: step exec: EACCES: it may not be executed there\n"},
	{STEP_CAPS, ENOENT, 126, "capctl: /no: step caps: ENOENT: No such file or directory\n"},
};

START_TEST(C04_a_failed_start_names_the_step)
{
	begin(WORDS(W("/no")));
	program.answers[0] = (struct process_answer){.step = failed[_i].step, .error = failed[_i].error};
	serve_spawn("threads", "descriptors=3 labels=stdin,stdout,stderr keep");
	ends(failed[_i].status, "", failed[_i].err);
}
END_TEST

static const struct {
	int error;
	const char *reason, *err;
} refused[] = {
	{ECONNREFUSED, "there is no spawner", "capctl: /no: ECONNREFUSED: there is no spawner\n"},
	{EBUSY, "step cgroup: not now", "capctl: /no: step cgroup: EBUSY: not now\n"},
	{ENOENT, "there is no session", "capctl: /no: ENOENT: there is no session\n"},
};

START_TEST(C04_a_refused_start_has_the_daemons_reason)
{
	begin(WORDS(W("/no")));
	serve(control, WIRE_SPAWN, "threads", "descriptors=3 labels=stdin,stdout,stderr keep", refused[_i].error, refused[_i].reason, -1);
	ends(126, "", refused[_i].err);
}
END_TEST

START_TEST(a_slot_that_cannot_be_opened_is_named)
{
	begin(WORDS(W("--cap=kv"), W("/no")));
	serve(control, WIRE_OPEN, "caps/kv", "", EPERM, "without call", -1);
	ends(126, "", "capctl: kv: EPERM: without call\n");
}
END_TEST

START_TEST(one_that_is_detached_is_not_waited_for)
{
	begin(WORDS(W("--detach"), W("true")));
	serve_spawn("threads", "descriptors=3 labels=stdin,stdout,stderr");
	ends(0, "7.3\n", "");
}
END_TEST

START_TEST(one_that_is_to_die_with_it_is_asked_for_so)
{
	begin(WORDS(W("--die-with"), W("true")));
	serve_spawn("threads", "descriptors=3 labels=stdin,stdout,stderr die keep");
	serve_wait(0);
	ends(0, "", "");
}
END_TEST

START_TEST(a_daemon_may_go_while_it_runs)
{
	begin_and_wait();
	control = fd_close(control);
	ends(125, "", "capctl: /bin/true: it was started, how it ended is not known: ENOTCONN: "
		      "Transport endpoint is not connected\n");
}
END_TEST

/* --- signals --- */

/* What capctl writes to the thread's ctl, to which what it waits for gives way. */
static void
commands(const char *command, int error)
{
	struct wire_request wait = asked(control, WIRE_WAIT, "threads/7.3", WIRE_WAIT_YIELDS);

	await(control);
	answer(control, &wait, EAGAIN, "there is another request", -1);
	serve(control, WIRE_WRITE, "threads/7.3/ctl", command, error, "", -1);
}

static const struct {
	int signal;
	const char *command;
} signals[] = {{SIGINT, "signal=2"}, {SIGTERM, "signal=15"}, {SIGQUIT, "signal=3"}, {SIGHUP, "signal=1"},
	{SIGUSR1, "signal=10"}, {SIGUSR2, "signal=12"}, {SIGWINCH, "signal=28"}};

START_TEST(signals_are_the_programs)
{
	begin_and_wait();
	ck_assert_int_eq(kill(capctl, signals[_i].signal), 0);
	commands(signals[_i].command, 0);
	/* One that comes when it has ended is of no interest. */
	ck_assert_int_eq(kill(capctl, signals[_i].signal), 0);
	commands(signals[_i].command, ESRCH);
	serve_wait(signals[_i].signal);
	ends(128 + signals[_i].signal, "", "");
}
END_TEST

START_TEST(to_stop_it_is_to_stop_the_program)
{
	int status;

	begin_and_wait();
	ck_assert_int_eq(kill(capctl, SIGTSTP), 0);
	commands("pause", 0);
	ck_assert_int_eq(waitpid(capctl, &status, WUNTRACED), capctl);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(kill(capctl, SIGCONT), 0);
	commands("resume", 0);
	serve_wait(0);
	ends(0, "", "");
}
END_TEST

START_TEST(what_is_ignored_is_not_passed_on)
{
	begin_ignoring(WORDS(W("true")), SIGHUP);
	control = accept_control();
	serve(control, WIRE_READ, "label", "", 0, "init\n", -1);
	serve_spawn("threads", "descriptors=3 labels=stdin,stdout,stderr keep");
	await(control);
	ck_assert_int_eq(kill(capctl, SIGHUP), 0);
	ck_assert_int_eq(kill(capctl, SIGUSR1), 0);
	commands("signal=10", 0);
	serve_wait(0);
	ends(0, "", "");
}
END_TEST

START_TEST(one_that_cannot_be_passed_on_ends_capctl)
{
	begin_and_wait();
	ck_assert_int_eq(kill(capctl, SIGTERM), 0);
	commands("signal=15", EACCES);
	ends(128 + SIGTERM, "", "capctl: signal 15: EACCES: Permission denied\n");
}
END_TEST

START_TEST(one_that_cannot_be_passed_on_for_a_moment_ends_nothing)
{
	begin_and_wait();
	ck_assert_int_eq(kill(capctl, SIGTERM), 0);
	commands("signal=15", EAGAIN);
	serve_wait(0);
	ends(0, "", "capctl: signal 15: EAGAIN: Resource temporarily unavailable\n");
}
END_TEST

/* --- words --- */

static const struct {
	int status;
	const char *word, *err;
} wrong[] = {
	{2, "--fd=in", "capctl: --fd takes NAME=N, a number of a descriptor\n"},
	{2, "--fd=in=x", "capctl: --fd takes NAME=N, a number of a descriptor\n"},
	{2, "--fd=a:b=0", "capctl: 'a:b' cannot be the name of a descriptor\n"},
	{2, "--cap=kv=", "capctl: '' cannot be the name of a descriptor\n"},
	{2, "--env=A", "capctl: --env takes KEY=VALUE, not 'A'\n"},
	{2, "--env==A", "capctl: --env takes KEY=VALUE, not '=A'\n"},
	{2, "--timeout=0", "capctl: --timeout takes a number of seconds, not '0'\n"},
	{2, "--timeout=1x", "capctl: --timeout takes a number of seconds, not '1x'\n"},
	{2, "--name=a b", "capctl: 'a b' cannot be the name of a program\n"},
	{2, "--session=a b", "capctl: 'a b' is not the name of a session\n"},
	{2, "--session=sessions/a/caps/b", "capctl: 'sessions/a/caps/b' is not a session\n"},
	{126, "--fd=in=77", "capctl: in: 77: EBADF: there is no such descriptor\n"},
};

/* Nobody is even asked. */
START_TEST(wrong_words_are_refused)
{
	char said[512] = {};
	int status;

	begin_ignoring(WORDS((char *)(uintptr_t)wrong[_i].word, W("true")), 0);
	ck_assert_int_eq(waitpid(capctl, &status, 0), capctl);
	ck_assert_int_eq(WEXITSTATUS(status), wrong[_i].status);
	ck_assert_int_ge(pread(err, said, sizeof(said) - 1, 0), 0);
	ck_assert_msg(strncmp(said, wrong[_i].err, strlen(wrong[_i].err)) == 0, "%s", said);
	ck_assert_int_eq(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 0), 0);
}
END_TEST

START_TEST(a_directory_is_refused_by_its_name)
{
	cleanup_close int fd = open("/", O_RDONLY | O_DIRECTORY);
	char word[32];

	snprintf(word, sizeof(word), "--fd=top=%d", fd);
	begin_ignoring(WORDS(word, W("true")), 0);
	ends(126, "", "capctl: top: EISDIR: a directory is not given to a program: it leads to all that is around it\n");
}
END_TEST

START_TEST(a_program_that_is_not_there_is_not_started)
{
	begin_ignoring(WORDS(W("no-such-program")), 0);
	ends(127, "", "capctl: no-such-program: ENOENT: it is in no directory of PATH\n");
}
END_TEST

static void
is_found(const char *name, const char *path, int r, const char *wanted)
{
	cleanup_text struct text t = {};

	ck_assert_int_eq(run_find(name, path, &t), r);
	if (wanted)
		ck_assert_str_eq(t.data, wanted);
}

START_TEST(programs_are_found_as_a_shell_does)
{
	char path[2 * FIXTURE_PATH], here[FIXTURE_PATH + 16];
	int fd;

	snprintf(here, sizeof(here), "%s/p", directory);
	snprintf(path, sizeof(path), "/nonexistent:%s:/bin", directory);
	is_found("p", path, -ENOENT, NULL);
	fd = open(here, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	close(fd);
	is_found("p", path, -EACCES, NULL);
	ck_assert_int_eq(chmod(here, 0755), 0);
	is_found("p", path, 0, here);
	is_found("p", NULL, -ENOENT, NULL);
	is_found("", path, -ENOENT, NULL);
	ck_assert_int_eq(chdir(directory), 0);
	is_found("p", "/nonexistent:", 0, here);
	is_found("p", ":/nonexistent", 0, here);
	is_found("./q", NULL, 0, NULL);
	is_found("/no/such", NULL, 0, "/no/such");
	ck_assert_int_eq(chdir("/"), 0);
	is_found("bin/x", NULL, 0, "/bin/x");
}
END_TEST

START_TEST(the_environment_has_each_key_once)
{
	char *inherited[] = {W("PATH=/bin"), W("CAP_ARGS_FD=3"), W("A=1"), W("AA=1"), NULL};
	char *argv[] = {W("run"), W("--env"), W("A=2"), W("--env=C="), W("-s"), W("app"), W("ls"), W("--env=D=1"),
		NULL};
	cleanup(run_words_deinit) struct run_words w;
	cleanup_free char **env = NULL;

	ck_assert_int_eq(run_words_parse(&w, 8, argv), 6);
	ck_assert_str_eq(w.session, "app");
	ck_assert_uint_eq(w.timeout_usec, CAPC_TIMEOUT_USEC);
	env = run_words_environment(&w, inherited);
	ck_assert_str_eq(env[0], "PATH=/bin");
	ck_assert_str_eq(env[1], "A=2");
	ck_assert_str_eq(env[2], "AA=1");
	ck_assert_str_eq(env[3], "C=");
	ck_assert_ptr_null(env[4]);
}
END_TEST

START_TEST(signals_are_commands)
{
	char buffer[24];

	ck_assert_str_eq(forward_command(SIGTERM, buffer), "signal=15");
	ck_assert_str_eq(forward_command(SIGTSTP, buffer), "pause");
	ck_assert_str_eq(forward_command(SIGCONT, buffer), "resume");
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("run");
	TCase *c = tcase_create("run");

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, S17_S27_C09_a_program_gets_what_it_is_to_have_and_nothing_else);
	tcase_add_loop_test(c, G65_its_status_is_that_of_the_program, 0, N(ended));
	tcase_add_loop_test(c, C04_a_failed_start_names_the_step, 0, N(failed));
	tcase_add_loop_test(c, C04_a_refused_start_has_the_daemons_reason, 0, N(refused));
	tcase_add_test(c, a_slot_that_cannot_be_opened_is_named);
	tcase_add_test(c, one_that_is_detached_is_not_waited_for);
	tcase_add_test(c, one_that_is_to_die_with_it_is_asked_for_so);
	tcase_add_test(c, a_daemon_may_go_while_it_runs);
	tcase_add_loop_test(c, signals_are_the_programs, 0, N(signals));
	tcase_add_test(c, to_stop_it_is_to_stop_the_program);
	tcase_add_test(c, what_is_ignored_is_not_passed_on);
	tcase_add_test(c, one_that_cannot_be_passed_on_ends_capctl);
	tcase_add_test(c, one_that_cannot_be_passed_on_for_a_moment_ends_nothing);
	tcase_add_loop_test(c, wrong_words_are_refused, 0, N(wrong));
	tcase_add_test(c, a_directory_is_refused_by_its_name);
	tcase_add_test(c, a_program_that_is_not_there_is_not_started);
	tcase_add_test(c, programs_are_found_as_a_shell_does);
	tcase_add_test(c, the_environment_has_each_key_once);
	tcase_add_test(c, signals_are_commands);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
