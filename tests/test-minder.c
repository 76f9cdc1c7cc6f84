/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The minder and the keeper's part in it: who asks for a connection to the spawner gets one, with the
 * mount point said; who asks without pause, a spawner that does not listen, does not take, dies, is not
 * installed or is replaced, and the ends of all of them. The keeper is the daemon's own loop in a process
 * of its own, the broker is this test, the spawner is tests/played-spawner.
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/keeper/keeper.h"
#include "capfsd/keeper/state.h"
#include "capfsd/minder/minder.h"
#include "tests/fixture.h"
#include "wire/process.h"

#define LATE_MSEC 30000
#define MOUNTPOINT "/a/mount point"

/* What the keeper's process lets the test know. */
static struct shared {
	struct succession held;
} *shared;

static char directory[FIXTURE_PATH], program[FIXTURE_PATH + 32];
static pid_t keeper;
static int broker = -1;

/* --- the played spawner --- */

static void
install(void)
{
	char from[PATH_MAX], to[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", from, sizeof(from) - 32);
	cleanup_close int in = -1, out = -1;

	ck_assert_int_gt(n, 0);
	from[n] = '\0';
	strcpy(strrchr(from, '/'), "/played-spawner");
	snprintf(to, sizeof(to), "%s.new", program);
	in = open(from, O_RDONLY | O_CLOEXEC);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	ck_assert(in >= 0 && out >= 0);
	/* From one file system to another, too. */
	while ((n = sendfile(out, in, NULL, 1 << 20)) > 0)
		;
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(rename(to, program), 0);
}

static bool
runs_the_installed(pid_t pid)
{
	struct stat installed, running;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	ck_assert_int_eq(stat(program, &installed), 0);
	ck_assert_int_eq(stat(path, &running), 0);
	return installed.st_ino == running.st_ino;
}

static void
set_mode(const char *mode)
{
	char path[PATH_MAX];
	cleanup_fclose FILE *f = NULL;

	snprintf(path, sizeof(path), "%s.mode", program);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(mode, f);
}

/* How many of its lines begin so; *RET_LAST is the rest of the last one. */
static int
saw(const char *what, char ret_last[256])
{
	char path[PATH_MAX], line[256];
	cleanup_fclose FILE *f = NULL;
	int n = 0;

	snprintf(path, sizeof(path), "%s.saw", program);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, what, strlen(what)) != 0)
			continue;
		n++;
		if (ret_last)
			snprintf(ret_last, 256, "%s", line + strlen(what));
	}
	return n;
}

static bool
is_there(pid_t pid)
{
	char path[32], state = 'Z';
	cleanup_fclose FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state != 'Z';
}

static void
wait_gone(pid_t pid)
{
	for (uint64_t end = clock_msec(CLOCK_MONOTONIC) + LATE_MSEC; is_there(pid);) {
		ck_assert_uint_lt(clock_msec(CLOCK_MONOTONIC), end);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
}

/* --- the keeper --- */

/* A holder that is there, so that the keeper listens to its broker. */
static pid_t
play_holder(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	closefrom(STDERR_FILENO + 1);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static void __attribute__((noreturn))
run_keeper(int fd)
{
	char name[] = "keeper", *argv[] = {name, NULL};
	struct keeper_config config = {.held = {SUCCESSION_NO_FDS}, .argv = argv};
	cleanup_close int run = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct keeper k;

	snprintf(config.held.mountpoint, sizeof(config.held.mountpoint), MOUNTPOINT);
	if (minder_start(run, &(const struct minder_config){.path = program}, 1, argv, &config.held) < 0)
		_exit(90);
	keeper_init(&k, &config);
	k.held.peer_fd = fd;
	if (keeper_watch(&k) < 0)
		_exit(91);
	shared->held = k.held;
	child_started(&k.children[CHILD_HOLDER], play_holder());
	keeper_say_ready(&k);
	(void)keeper_tell(&k, KEEPER_GO_ON, -1);
	_exit(keeper_loop(&k) < 0 ? 92 : 0);
}

/* Returns: the record's type, with *RET_FD, which may be -1; 0: there was none in time. */
static uint32_t
hear(int msec, int *ret_fd)
{
	struct pollfd p = {.fd = broker, .events = POLLIN};
	struct keeper_record record;
	size_t n_fds = 0;

	*ret_fd = -1;
	if (poll(&p, 1, msec) <= 0)
		return 0;
	ck_assert_int_eq(msg_receive(broker, &record, sizeof(record), ret_fd, 1, &n_fds, 0), sizeof(record));
	return record.type;
}

static void
start_keeper(void)
{
	int pair[2], fd;

	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET | SOCK_NONBLOCK, pair), 0);
	keeper = fork();
	if (keeper == 0) {
		close(pair[1]);
		run_keeper(pair[0]);
	}
	close(pair[0]);
	broker = pair[1];
	ck_assert_uint_eq(hear(LATE_MSEC, &fd), KEEPER_GO_ON);
}

static void
end_keeper(void)
{
	if (keeper <= 0)
		return;
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
	keeper = 0;
}

static void
setup(void)
{
	fixture_setup();
	fixture_directory(directory);
	setenv("XDG_RUNTIME_DIR", directory, 1);
	snprintf(program, sizeof(program), "%s/capfs-spawner", directory);
	install();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(shared != MAP_FAILED);
}

/* Whatever the case was: with the keeper all ends. */
static void
teardown(void)
{
	char pid[256];

	end_keeper();
	if (shared->held.minder)
		wait_gone(shared->held.minder);
	if (saw("start ", pid))
		wait_gone(atoi(pid));
	munmap(shared, sizeof(*shared));
	broker = fd_close(broker);
	fixture_remove(directory);
	fixture_teardown();
}

static int
want(void)
{
	const struct keeper_record record = {.type = KEEPER_WANT_SPAWNER};

	return (int)msg_send(broker, &record, sizeof(record), NULL, 0, MSG_DONTWAIT);
}

/* Returns: what came with the answer. */
static int
want_and_hear(void)
{
	int fd;

	ck_assert_int_gt(want(), 0);
	ck_assert_uint_eq(hear(LATE_MSEC, &fd), KEEPER_SPAWNER);
	return fd;
}

/* Returns: the pid that the greeting says; it brings a descriptor. */
static pid_t
greeted(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct process_record record;
	cleanup_close int gift = -1;
	size_t n_fds = 0;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(poll(&p, 1, LATE_MSEC), 1);
	ck_assert_int_eq(msg_receive(fd, &record, sizeof(record), &gift, 1, &n_fds, 0), sizeof(record));
	ck_assert_uint_eq(record.type, PROCESS_SYNCED);
	ck_assert_uint_eq(n_fds, 1);
	return (pid_t)record.pid;
}

static void
wait_end(int fd)
{
	struct pollfd p = {.fd = fd};

	ck_assert_int_eq(poll(&p, 1, LATE_MSEC), 1);
	ck_assert_int_ne(p.revents & POLLHUP, 0);
}

/* --- cases --- */

START_TEST(who_asks_gets_a_connection)
{
	cleanup_close int fd = -1, again = -1;
	char last[256];
	pid_t pid;

	start_keeper();
	ck_assert_int_eq(saw("start ", NULL), 0);
	fd = want_and_hear();
	pid = greeted(fd);
	ck_assert_int_eq(saw("attach ", last), 1);
	ck_assert_str_eq(last, MOUNTPOINT "\n");
	/* Another one is of the same spawner, and the first goes on. */
	again = want_and_hear();
	ck_assert_int_eq(greeted(again), pid);
	ck_assert_int_eq(saw("end", NULL), 0);
	ck_assert_int_eq(saw("bad", NULL), 0);
}
END_TEST

START_TEST(it_has_what_it_needs_and_no_more)
{
	char last[256], wanted[256];
	cleanup_close int fd = -1;
	pid_t pid;

	start_keeper();
	fd = want_and_hear();
	pid = greeted(fd);
	snprintf(wanted, sizeof(wanted), "%d 0 1 2 3\n", (int)pid);
	ck_assert_int_eq(saw("start ", last), 1);
	ck_assert_str_eq(last, wanted);
	saw("environment ", last);
	snprintf(wanted, sizeof(wanted), "LISTEN_PID=%d LISTEN_FDS=1\n", (int)pid);
	ck_assert_str_eq(last, wanted);
}
END_TEST

/* From Linux 6.16 on; before, the spawner itself takes none. */
START_TEST(it_can_be_sent_no_descriptor)
{
	cleanup_close int fd = -1, probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const int in = STDIN_FILENO;

	if (fd_refuse_descriptors(probe) < 0)
		return fixture_skip("it_can_be_sent_no_descriptor", "Linux before 6.16");
	start_keeper();
	fd = want_and_hear();
	/* Also before it is accepted. */
	ck_assert_int_eq(msg_send(fd, "x", 1, &in, 1, MSG_DONTWAIT), -EPERM);
	greeted(fd);
	ck_assert_int_eq(msg_send(fd, "x", 1, &in, 1, MSG_DONTWAIT), -EPERM);
}
END_TEST

/* All the time, and for two seconds: so many answers as pauses of 50, 100, 200 … ms let through. */
START_TEST(who_asks_without_pause_is_made_wait)
{
	uint64_t begin = clock_msec(CLOCK_MONOTONIC), took;
	int answers = 0, asked = 0, fd;
	char last[256];

	start_keeper();
	do {
		if (want() > 0)
			asked++;
		if (hear(0, &fd) == KEEPER_SPAWNER) {
			ck_assert_int_ge(fd, 0);
			close(fd);
			answers++;
		}
		took = clock_msec(CLOCK_MONOTONIC) - begin;
	} while (took < 2000);
	ck_assert_int_gt(asked, 100);
	ck_assert_int_ge(answers, 2);
	ck_assert_int_le(answers, 8);
	ck_assert_int_le(saw("attach ", last), answers + 1);
	/* It hears others meanwhile, which is how it is told to stop. */
	kill(keeper, SIGTERM);
	for (uint32_t type = 0; type != KEEPER_STOP;) {
		want();
		type = hear(LATE_MSEC, &fd);
		ck_assert_uint_ne(type, 0);
		fd_close(fd);
	}
}
END_TEST

/* A record that says more is no such record. */
START_TEST(only_the_type_is_believed)
{
	struct {
		struct keeper_record record;
		char more[64];
	} longer = {.record = {.type = KEEPER_WANT_SPAWNER}};
	cleanup_close int fd = -1;

	start_keeper();
	ck_assert_int_gt(msg_send(broker, &longer, sizeof(longer), NULL, 0, 0), 0);
	ck_assert_int_gt(msg_send(broker, &longer, sizeof(longer.record) - 1, NULL, 0, 0), 0);
	longer.record.type = KEEPER_SPAWNER;
	ck_assert_int_gt(msg_send(broker, &longer, sizeof(longer.record), NULL, 0, 0), 0);
	ck_assert_uint_eq(hear(300, &fd), 0);
	ck_assert_int_eq(saw("start ", NULL), 0);
	longer.record = (struct keeper_record){.type = KEEPER_WANT_SPAWNER, .generation = 77};
	ck_assert_int_gt(msg_send(broker, &longer, sizeof(longer.record), NULL, 0, 0), 0);
	ck_assert_uint_eq(hear(LATE_MSEC, &fd), KEEPER_SPAWNER);
}
END_TEST

/* Full, stopped, deaf: the keeper has an answer at once, and serves others. */
START_TEST(nobody_is_waited_for)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int waiting[64], n = 0, fd = -1, r;

	set_mode("deaf");
	start_keeper();
	kill(shared->held.minder, SIGSTOP);
	fd = want_and_hear();
	ck_assert_int_ge(fd, 0);
	close(fd);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/%d/fd/%d", (int)keeper,
		shared->held.spawner_fd);
	do {
		waiting[n] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		r = connect(waiting[n], (struct sockaddr *)&address, sizeof(address));
	} while (r == 0 && ++n < 64);
	ck_assert_int_lt(r, 0);
	ck_assert_int_eq(errno, EAGAIN);
	close(waiting[n]);
	ck_assert_int_eq(want_and_hear(), -1);
	while (n > 0)
		close(waiting[--n]);
	kill(shared->held.minder, SIGCONT);
}
END_TEST

START_TEST(another_comes_when_it_has_died)
{
	pid_t pid = 0;

	start_keeper();
	for (int i = 0; i < 3; i++) {
		cleanup_close int fd = want_and_hear();
		pid_t next = greeted(fd);

		ck_assert_int_ne(next, pid);
		pid = next;
		kill(pid, SIGKILL);
		wait_end(fd);
	}
	ck_assert_int_eq(saw("start ", NULL), 3);
}
END_TEST

/* One that dies before it accepts anybody is tried ever more slowly: at 0, 0.1, 0.3, 0.7, 1.5 s … */
START_TEST(one_that_cannot_live_costs_little)
{
	cleanup_close int fd = -1;
	int n;

	set_mode("dies");
	start_keeper();
	fd = want_and_hear();
	ck_assert_int_ge(fd, 0);
	nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
	n = saw("start ", NULL);
	ck_assert_int_ge(n, 2);
	ck_assert_int_le(n, 6);
	/* Who waits is served once it can live. */
	set_mode("");
	ck_assert_int_gt(greeted(fd), 0);
}
END_TEST

START_TEST(where_it_is_not_installed_all_else_works)
{
	int fd;

	ck_assert_int_eq(unlink(program), 0);
	start_keeper();
	ck_assert_int_eq(shared->held.minder, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(want_and_hear(), -1);
	kill(keeper, SIGTERM);
	ck_assert_uint_eq(hear(LATE_MSEC, &fd), KEEPER_STOP);
}
END_TEST

/* Root's minder would execute it as root. */
START_TEST(what_others_can_write_is_not_executed)
{
	ck_assert_int_eq(chmod(program, 0757), 0);
	start_keeper();
	ck_assert_int_eq(want_and_hear(), -1);
	ck_assert_int_eq(saw("start ", NULL), 0);
}
END_TEST

/* In this process, so that the pair is ours. */
START_TEST(renewed_and_ended)
{
	char name[] = "keeper", *argv[] = {name, NULL}, last[256];
	struct succession held = {SUCCESSION_NO_FDS, .mountpoint = MOUNTPOINT};
	cleanup_close int run = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, again = -1;
	pid_t pid, next, minder;
	struct stat st;

	ck_assert_int_eq(minder_start(run, &(const struct minder_config){.path = program}, 1, argv, &held), 0);
	minder = held.minder;
	ck_assert_int_gt(minder, 0);
	/* Nobody finds the listener by a name. */
	ck_assert_int_lt(fstatat(run, "spawner.new", &st, 0), 0);
	ck_assert_int_eq(fstat(held.spawner_fd, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
	ck_assert_uint_eq(st.st_nlink, 0);
	fd = minder_connect(&held);
	pid = greeted(fd);
	ck_assert(runs_the_installed(pid));
	install();
	ck_assert(!runs_the_installed(pid));
	minder_renew(&held);
	wait_end(fd);
	wait_gone(pid);
	again = minder_connect(&held);
	next = greeted(again);
	ck_assert_int_ne(next, pid);
	ck_assert(runs_the_installed(next));
	/* One that does not mind SIGTERM is ended as well. */
	set_mode("stays");
	minder_renew(&held);
	wait_end(again);
	close(again);
	again = minder_connect(&held);
	next = greeted(again);
	minder_end(&held);
	ck_assert_int_eq(held.minder, 0);
	ck_assert_int_eq(held.minder_fd, -1);
	ck_assert(!is_there(minder));
	ck_assert(!is_there(next));
	ck_assert_int_eq(saw("start ", last), 3);
	/* Again, and without one. */
	minder_end(&held);
	minder_renew(&held);
	ck_assert_int_lt(minder_connect(&held), 0);
	ck_assert_uint_eq(held.spawner_missed, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("minder");
	TCase *t = tcase_create("all");

	/* The system's own would be asked first. */
	if (geteuid() == 0 && access("/run/capfsd/spawner", F_OK) == 0)
		return 77;
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, who_asks_gets_a_connection);
	tcase_add_test(t, it_has_what_it_needs_and_no_more);
	tcase_add_test(t, it_can_be_sent_no_descriptor);
	tcase_add_test(t, who_asks_without_pause_is_made_wait);
	tcase_add_test(t, only_the_type_is_believed);
	tcase_add_test(t, nobody_is_waited_for);
	tcase_add_test(t, another_comes_when_it_has_died);
	tcase_add_test(t, one_that_cannot_live_costs_little);
	tcase_add_test(t, where_it_is_not_installed_all_else_works);
	tcase_add_test(t, what_others_can_write_is_not_executed);
	tcase_add_test(t, renewed_and_ended);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
