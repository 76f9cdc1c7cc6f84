/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Supplementary groups: who may have them started, who has them then, and that nobody gets any by it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/spawner-world.h"

static const gid_t groups[] = {12400, 12500}, others[] = {12400, 12501};

static struct world w;
static struct process_plan plan;
static struct played s;

static void
set_groups(struct process_plan *p, const gid_t *list, uint32_t n)
{
	memcpy(p->groups, list, n * sizeof(*list));
	p->n_groups = n;
}

static void
name_groups(const gid_t *list, uint32_t n)
{
	w.groups = list;
	w.n_groups = n;
}

/* By root's spawner alone, bare or confined. */
static void
prepare(int kind)
{
	world_prepare(&w, &plan, kind);
	set_groups(&plan, groups, 2);
}

/* What WORDS say at LAUNCH, or the first of the session. */
static void
run(const char *const *words, char *text, size_t size)
{
	int pair[2];

	ck_assert_int_eq(fd_socketpair(SOCK_STREAM, pair), 0);
	if (s.launch >= 0)
		played_run(&s, words, &pair[1], 1);
	else
		played_run_more(&s, words, &pair[1], 1);
	close(pair[1]);
	await_text(pair[0], text, size);
	close(pair[0]);
	broker_await(s.fd, PROCESS_EXITED);
}

/* In a directory that is there inside as well, and for its owner and that group alone. */
static void
make_file(char path[static FIXTURE_PATH + 16], gid_t group)
{
	int fd;

	snprintf(path, FIXTURE_PATH + 16, "%s/of-%u", w.directory, (unsigned)group);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "kept\n", 5), 5);
	ck_assert_int_eq(fchown(fd, 0, group), 0);
	ck_assert_int_eq(fchmod(fd, 0040), 0);
	close(fd);
}

/* By the first program of a session and by later ones. */
START_TEST(a_program_has_the_groups_of_its_session)
{
	char text[256], mine[FIXTURE_PATH + 16], foreign[FIXTURE_PATH + 16];

	prepare(_i);
	name_groups(groups, 2);
	make_file(mine, groups[1]);
	make_file(foreign, others[1]);
	world_session(&w, &plan, &s);
	for (int later = 0; later < 2; later++) {
		run(WORDS("groups"), text, sizeof(text));
		ck_assert_str_eq(text, _i == 2 ? "12400 12500 drop=1 root=1 inside=1\n"
					       : "12400 12500 drop=1 root=22\n");
		run(WORDS("cat", mine), text, sizeof(text));
		ck_assert_str_eq(text, "kept\n");
		run(WORDS("cat", foreign), text, sizeof(text));
		ck_assert_str_eq(text, "");
	}
	world_over(&s);
}
END_TEST

/* Where nothing else keeps a program from it, it makes a namespace in which it has all privilege but that. */
START_TEST(nobody_inside_changes_groups)
{
	char text[256];

	prepare(3);
	plan.flags &= ~(uint32_t)PLAN_SECCOMP;
	name_groups(groups, 2);
	world_session(&w, &plan, &s);
	run(WORDS("groups"), text, sizeof(text));
	ck_assert_str_eq(text, "12400 12500 drop=1 root=22 inside=1\n");
	run(WORDS("cat", "/proc/self/setgroups"), text, sizeof(text));
	ck_assert_str_eq(text, "deny\n");
	world_over(&s);
}
END_TEST

START_TEST(without_any_it_has_none)
{
	char text[256];

	world_prepare(&w, &plan, _i);
	world_session(&w, &plan, &s);
	run(WORDS("groups"), text, sizeof(text));
	ck_assert_int_eq(strncmp(text, "drop=1 root=", strlen("drop=1 root=")), 0);
	world_over(&s);
}
END_TEST

struct client {
	const gid_t *groups;
	uint32_t n;
};

/* What a client names is what there is, or nothing is started. The first are none. */
static const struct client wrong[] = {
	{NULL, 0}, {groups, 1}, {groups + 1, 1}, {others, 2}, {(const gid_t[]){12500, 12400}, 2},
	{(const gid_t[]){12400, 12500, 12501}, 3}};

/* Whoever hears it may not wait for all of it. */
static void
say_in_vain(int launch)
{
	char *argv[] = {(char[]){"/bin/true"}, NULL};

	(void)client_send(&w, launch, argv, NULL, NULL, 0, 0);
	close(launch);
}

START_TEST(who_names_others_starts_nothing)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		prepare(_i);
		name_groups(wrong[i].groups, wrong[i].n);
		world_session(&w, &plan, &s);
		say_in_vain(s.launch);
		s.launch = -1;
		check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_CREDS, EPERM);
		world_over(&s);
	}
}
END_TEST

START_TEST(nor_when_the_session_runs)
{
	uint64_t thread;
	char text[256];

	prepare(_i);
	name_groups(groups, 2);
	world_session(&w, &plan, &s);
	run(WORDS("groups"), text, sizeof(text));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		name_groups(wrong[i].groups, wrong[i].n);
		say_in_vain(played_launch(&s, &thread));
		check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_CREDS, EPERM);
	}
	world_over(&s);
}
END_TEST

/*
 * The user of the session, who is of the first group and only that, says it, and then of the other one nothing: what
 * he is the kernel adds. Returns: the errno of saying more.
 */
static int
say_as_user(int launch, const struct process_hello *h)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int r = setgroups(1, groups) < 0 || setresgid(groups[0], w.gid, groups[0]) < 0 ||
				setresuid(w.uid, w.uid, w.uid) < 0
			? -1
			: client_hello(launch, h, w.uid, w.gid);

		if (r == 0)
			r = client_group(launch, w.uid, groups[0]);
		if (r < 0)
			_exit(255);
		r = client_group(launch, w.uid, groups[1]);
		_exit(send(launch, "", 1, 0) == 1 ? -r : 255);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(nobody_gets_a_group_that_he_is_not_of)
{
	char *argv[] = {(char[]){"/bin/true"}, NULL};
	cleanup_free char *bytes = NULL;
	struct process_hello h;

	prepare(_i);
	world_session(&w, &plan, &s);
	client_fill(&h, argv, NULL, 0, &bytes);
	h.n_groups = 2;
	ck_assert_int_eq(say_as_user(s.launch, &h), EPERM);
	check_failure(broker_await(s.fd, PROCESS_FAILED), STEP_CREDS, EPERM);
	world_over(&s);
}
END_TEST

static void
check_refusal(int above, int step, int error)
{
	struct process_record r;
	struct played none;

	ck_assert(!world_make(&w, above, &plan, &none, &r));
	check_failure(r, step, error);
}

START_TEST(a_users_spawner_gives_none)
{
	world_prepare(&w, &plan, _i);
	set_groups(&plan, groups, 1);
	check_refusal(-1, STEP_CREDS, EOPNOTSUPP);
	world_end(&w);
}
END_TEST

/* Inside they can neither be given to nor taken from anybody. */
START_TEST(below_a_session_that_has_some_nothing_is_made)
{
	char text[256];

	prepare(3);
	name_groups(groups, 2);
	world_session(&w, &plan, &s);
	run(WORDS("groups"), text, sizeof(text));
	snprintf(plan.session, sizeof(plan.session), "sessions/a/sessions/b");
	check_refusal(s.fd, STEP_CREDS, EOPNOTSUPP);
	plan.n_groups = 0;
	check_refusal(s.fd, STEP_CREDS, EOPNOTSUPP);
	world_over(&s);
}
END_TEST

START_TEST(a_broker_cannot_name_any)
{
	static const struct {
		gid_t groups[2];
		uint32_t n;
		int error;
	} bad[] = {{{0}, 1, EPERM}, {{12500, 12400}, 2, EINVAL}, {{12400, 12400}, 2, EINVAL},
		{{12400, (gid_t)-1}, 2, EINVAL}, {{12400}, PLAN_GROUPS_MAX + 1, EINVAL}, {{12400}, UINT32_MAX, EINVAL}};

	world_prepare(&w, &plan, _i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_groups(&plan, bad[i].groups, 2);
		plan.n_groups = bad[i].n;
		check_refusal(-1, STEP_NONE, bad[i].error);
	}
	world_end(&w);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("spawner-groups");
	TCase *t = fixture_case(suite, "groups", 120);

	tcase_add_loop_test(t, a_users_spawner_gives_none, 0, 2);
	if (geteuid() != 0)
		return fixture_main(suite);
	tcase_add_loop_test(t, a_program_has_the_groups_of_its_session, 2, 4);
	tcase_add_test(t, nobody_inside_changes_groups);
	tcase_add_loop_test(t, without_any_it_has_none, 2, 4);
	tcase_add_loop_test(t, who_names_others_starts_nothing, 2, 4);
	tcase_add_loop_test(t, nor_when_the_session_runs, 2, 4);
	tcase_add_loop_test(t, nobody_gets_a_group_that_he_is_not_of, 2, 4);
	tcase_add_test(t, below_a_session_that_has_some_nothing_is_made);
	tcase_add_loop_test(t, a_broker_cannot_name_any, 2, 4);
	return fixture_main(suite);
}
