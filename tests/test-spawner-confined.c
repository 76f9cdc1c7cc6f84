/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is confined reaches no more than its session has, and its session's parts no more than that. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/spawner-world.h"

static struct world w;
static struct process_plan plan;
static struct played s;

/* KIND: 0 a user's spawner, 1 root's. */
static void
prepare(int kind, uint32_t flags)
{
	world_begin(&w, kind, NULL);
	world_plan(&w, &plan, flags);
	world_bind(&w, &plan);
}

/* Something outside for each way to lead to. */
struct outside {
	char abstract[32], pid[16], file[FIXTURE_PATH + 16];
	int listener, terminal, read_only;
	pid_t owner; /* of the terminal */
};

/* A terminal that is nobody's is there for the taking. */
static void
give_terminal(struct outside *o)
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	o->owner = fork();
	if (o->owner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setsid() < 0 || open(ptsname(o->terminal), O_RDWR) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

static void
make_outside(struct outside *o)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t n = (socklen_t)snprintf(o->abstract, sizeof(o->abstract), "capfs-test-%d", (int)getpid());

	memcpy(a.sun_path + 1, o->abstract, n);
	o->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(o->listener, (struct sockaddr *)&a,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)),
		0);
	ck_assert_int_eq(listen(o->listener, 1), 0);
	snprintf(o->pid, sizeof(o->pid), "%d", (int)getpid());
	snprintf(o->file, sizeof(o->file), "%s/outside", w.directory);
	close(open(o->file, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
	chmod(o->file, 0666);
	o->read_only = open(o->file, O_RDONLY | O_CLOEXEC);
	o->terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(o->terminal, 0);
	ck_assert_int_eq(grantpt(o->terminal), 0);
	ck_assert_int_eq(unlockpt(o->terminal), 0);
	give_terminal(o);
}

/* The program comes by a descriptor: nothing of its directory is inside. */
static int
try_ways_out(const struct outside *o, char *text, size_t size)
{
	char path[512];
	char *argv[] = {(char[]){"ways-out"}, (char *)(uintptr_t)o->pid, (char *)(uintptr_t)o->abstract,
		(char *)(uintptr_t)o->file, NULL};
	cleanup_close int program = open(world_built("tests/ways-out", path), O_RDONLY | O_CLOEXEC);
	cleanup_close int terminal = open(ptsname(o->terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	int pair[2], fds[4], status;
	ssize_t n;

	ck_assert_int_ge(program, 0);
	ck_assert_int_ge(terminal, 0);
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	fds[0] = pair[1];
	fds[1] = terminal;
	fds[2] = o->read_only;
	fds[3] = program;
	ck_assert_int_eq(client_send(&w, s.launch, argv, NULL, fds, 4, HELLO_EXEC_FD), 0);
	close(pair[1]);
	broker_await(s.fd, PROCESS_INITED);
	broker_await(s.fd, PROCESS_RUNNING);
	status = broker_await(s.fd, PROCESS_EXITED).status;
	n = read(pair[0], text, size - 1);
	text[n < 0 ? 0 : n] = '\0';
	close(pair[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
close_outside(struct outside *o)
{
	kill(o->owner, SIGKILL);
	waitpid(o->owner, NULL, 0);
	close(o->listener);
	close(o->terminal);
	close(o->read_only);
}

START_TEST(all_ways_out_are_closed)
{
	struct outside o;
	char text[4096];
	int n_open;

	prepare(_i, WORLD_CONFINED);
	plan.n_binds = 2;
	make_outside(&o);
	world_session(&w, &plan, &s);
	n_open = try_ways_out(&o, text, sizeof(text));
	ck_assert_msg(n_open == 0, "open: %s", text);
	close_outside(&o);
	world_over(&s);
}
END_TEST

/* The network is the host's, and so are its abstract sockets, but for Landlock; the rest is as it was. */
START_TEST(network_opens_no_more_than_that)
{
	struct outside o;
	char text[4096];
	int n_open;

	prepare(_i, WORLD_CONFINED | PLAN_NET);
	plan.n_binds = 2;
	make_outside(&o);
	world_session(&w, &plan, &s);
	n_open = try_ways_out(&o, text, sizeof(text));
	ck_assert_str_eq(text, "network of the host\n");
	ck_assert_int_eq(n_open, 1);
	close_outside(&o);
	world_over(&s);
}
END_TEST

/* The test itself can fail: without a filter and Landlock some are open. */
START_TEST(ways_out_are_found)
{
	struct outside o;
	char text[4096];

	prepare(_i, PLAN_CONFINED | PLAN_PROC | PLAN_DEV);
	plan.n_binds = 2;
	make_outside(&o);
	world_session(&w, &plan, &s);
	ck_assert_int_gt(try_ways_out(&o, text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(strstr(text, "user namespace by unshare\n"));
	close_outside(&o);
	world_over(&s);
}
END_TEST

/* --- what is there ----------------------------------------------------------------------------------- */

static int
cat(struct played *p, const char *path, char *text, size_t size)
{
	int pair[2], status;
	ssize_t n;

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	if (p->launch >= 0)
		played_run(p, WORDS("cat", path), &pair[1], 1);
	else
		played_run_more(p, WORDS("cat", path), &pair[1], 1);
	status = broker_await(p->fd, PROCESS_EXITED).status;
	n = recv(pair[0], text, size - 1, MSG_DONTWAIT);
	text[n < 0 ? 0 : n] = '\0';
	close_all(pair, 2);
	return status;
}

START_TEST(one_user_is_mapped_and_no_capability_left)
{
	char text[8192], wanted[64];
	unsigned inside, outside, count;

	prepare(_i, WORLD_CONFINED);
	world_session(&w, &plan, &s);
	ck_assert_int_eq(cat(&s, "/proc/self/uid_map", text, sizeof(text)), 0);
	ck_assert_int_eq(sscanf(text, "%u %u %u", &inside, &outside, &count), 3);
	ck_assert_uint_eq(inside, w.uid);
	ck_assert_uint_eq(outside, w.uid);
	ck_assert_uint_eq(count, 1);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(cat(&s, i ? "/proc/1/status" : "/proc/self/status", text, sizeof(text)), 0);
		snprintf(wanted, sizeof(wanted), "Uid:\t%u\t%u\t%u\t%u\n", w.uid, w.uid, w.uid, w.uid);
		ck_assert_ptr_nonnull(strstr(text, wanted));
		ck_assert_ptr_nonnull(strstr(text, "CapPrm:\t0000000000000000\n"));
		ck_assert_ptr_nonnull(strstr(text, "CapBnd:\t0000000000000000\n"));
		ck_assert_ptr_nonnull(strstr(text, "CapAmb:\t0000000000000000\n"));
		ck_assert_ptr_nonnull(strstr(text, "NoNewPrivs:\t1\n"));
	}
	world_over(&s);
}
END_TEST

static void
refused_at(int step, int error)
{
	char *argv[] = {(char[]){"/bin/true"}, NULL};
	struct process_record r;
	int with[2];

	world_session(&w, &plan, &s);
	/* A user's does not wait for it, and may have failed already. */
	client_send(&w, s.launch, argv, NULL, NULL, 0, 0);
	ck_assert(broker_receive(s.fd, &r, with));
	check_failure(r, step, error);
	/* It was the only word, and nobody is left who could say another one. */
	ck_assert(!broker_receive(s.fd, &r, with));
	played_end(&s);
	ck_assert_uint_eq(broker_await(w.fd, PROCESS_ENDED).session, s.session);
}

START_TEST(failed_confinement_says_where)
{
	prepare(_i, WORLD_CONFINED);
	snprintf(plan.binds[1].path, sizeof(plan.binds[1].path), "/there/is/none");
	refused_at(STEP_BIND, ENOENT);
	world_bind(&w, &plan);
	snprintf(plan.session, sizeof(plan.session), "sessions/none");
	refused_at(STEP_CAP, ENOENT);
	world_plan(&w, &plan, WORLD_CONFINED);
	snprintf(plan.root, sizeof(plan.root), "/there/is/none");
	refused_at(STEP_ROOT, ENOENT);
	world_end(&w);
}
END_TEST

START_TEST(root_can_be_a_directory)
{
	static const char *const places[] = {
		"root", "root/tmp", "root/usr", "root/etc", "root/proc", "root/dev", "root/cap"};
	char path[512], text[64];

	prepare(_i, WORLD_CONFINED);
	snprintf(plan.root, sizeof(plan.root), "%s/root", w.directory);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", w.directory, places[i]);
		ck_assert_int_eq(mkdir(path, 0755), 0);
	}
	/* What is to be mounted needs a place, which is not made: the directory is its owner's. */
	snprintf(plan.binds[1].path, sizeof(plan.binds[1].path), "/var");
	refused_at(STEP_BIND, EROFS);
	snprintf(plan.binds[1].path, sizeof(plan.binds[1].path), "/etc");
	snprintf(path, sizeof(path), "%s/root/lib", w.directory);
	ck_assert_int_eq(symlink("usr/lib", path), 0);
	snprintf(path, sizeof(path), "%s/root/lib64", w.directory);
	ck_assert_int_eq(symlink("usr/lib64", path), 0);
	world_session(&w, &plan, &s);
	ck_assert_int_eq(cat(&s, "/cap/label", text, sizeof(text)), 0);
	world_over(&s);
}
END_TEST

START_TEST(session_below_is_at_least_as_confined)
{
	struct process_record failed;
	struct process_plan below;
	struct played b;
	char text[8192];
	int fd, pair[2];

	prepare(_i, WORLD_CONFINED);
	plan.rlimits_set = 1U << 7;
	plan.rlimits[7][0] = plan.rlimits[7][1] = 500;
	world_session(&w, &plan, &s);
	ck_assert_int_eq(cat(&s, "/cap/label", text, sizeof(text)), 0);
	below = plan;
	snprintf(below.session, sizeof(below.session), "sessions/a/sessions/b");
	/* Bare, it is in the namespaces of the one above, with its filter and its limits. */
	below.flags = 0;
	below.n_binds = 0;
	below.rlimits[7][0] = below.rlimits[7][1] = 900;
	ck_assert(world_make(&w, s.fd, &below, &b, &failed));
	ck_assert_int_eq(cat(&b, "/proc/self/status", text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(strstr(text, "Seccomp:\t2\n"));
	ck_assert_ptr_nonnull(strstr(text, "NoNewPrivs:\t1\n"));
	ck_assert_int_eq(cat(&b, "/proc/self/limits", text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(strstr(text, "Max open files            500                  500 "));
	played_end(&b);
	broker_await(s.fd, PROCESS_ENDED);
	/* Confined, it has its own, and only its own directory. */
	below = plan;
	snprintf(below.session, sizeof(below.session), "sessions/a/sessions/b");
	ck_assert(world_make(&w, s.fd, &below, &b, &failed));
	ck_assert_int_eq(cat(&b, "/cap/label", text, sizeof(text)), 0);
	ck_assert_int_ne(cat(&b, "/cap/sessions/b/label", text, sizeof(text)), 0);
	/* It ends with the one above. */
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run_more(&b, WORDS("daemon"), &pair[1], 1);
	close(pair[1]);
	fd = pair[0];
	ck_assert_int_eq(await_byte(fd), 's');
	broker_ask(w.fd, PROCESS_END, s.session, 0);
	ck_assert_int_eq(await_byte(fd), -1);
	await_end(b.pidfd);
	close(fd);
	played_end(&b);
	world_over(&s);
}
END_TEST

#ifndef HAVE_SANITIZERS /* programs made with them need it */
/* Without a /proc of its own, too, where the maps of the next one have to be written. */
START_TEST(sessions_nest_without_proc)
{
	struct process_record failed;
	struct process_plan below;
	struct played b;
	char text[64];
	int pair[2];

	prepare(_i, PLAN_CONFINED);
	world_session(&w, &plan, &s);
	ck_assert_int_eq(cat(&s, "/cap/label", text, sizeof(text)), 0);
	below = plan;
	snprintf(below.session, sizeof(below.session), "sessions/a/sessions/b");
	ck_assert(world_make(&w, s.fd, &below, &b, &failed));
	ck_assert_int_eq(cat(&b, "/cap/label", text, sizeof(text)), 0);
	ck_assert_int_ne(cat(&b, "/proc/self/status", text, sizeof(text)), 0);
	played_end(&b);
	broker_await(s.fd, PROCESS_ENDED);
	/* A bare one finds its children there. */
	below.flags = 0;
	below.n_binds = 0;
	ck_assert(world_make(&w, s.fd, &below, &b, &failed));
	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	played_run(&b, WORDS("daemon"), &pair[1], 1);
	close(pair[1]);
	ck_assert_int_eq(await_byte(pair[0]), 's');
	played_end(&b);
	ck_assert_int_eq(await_byte(pair[0]), -1);
	close(pair[0]);
	broker_await(s.fd, PROCESS_ENDED);
	world_over(&s);
}
END_TEST
#endif

int
main(void)
{
	Suite *suite = suite_create("spawner-confined");
	TCase *t = fixture_case(suite, "ways-out", 120);
	int n = geteuid() == 0 ? 2 : 1;

	tcase_add_loop_test(t, all_ways_out_are_closed, 0, n);
	tcase_add_loop_test(t, network_opens_no_more_than_that, 0, n);
	tcase_add_loop_test(t, ways_out_are_found, 0, n);
	t = fixture_case(suite, "inside", 120);
	tcase_add_loop_test(t, one_user_is_mapped_and_no_capability_left, 0, n);
	tcase_add_loop_test(t, failed_confinement_says_where, 0, n);
	tcase_add_loop_test(t, root_can_be_a_directory, 0, n);
	tcase_add_loop_test(t, session_below_is_at_least_as_confined, 0, n);
#ifndef HAVE_SANITIZERS
	tcase_add_loop_test(t, sessions_nest_without_proc, 0, n);
#endif
	return fixture_main(suite);
}
