/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that register themselves: who they are, how their end is told, and what a later broker knows of them. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/model/event.h"
#include "tests/fixture.h"
#include "tests/programs-world.h"
#include "wire/register.h"

static char name[32]; /* of the thread that was asked for last */

/* Returns: the end of its pair. */
static int
ask(void)
{
	played_ask(WIRE_REGISTER, "threads", 0, "name=web");
	ck_assert(played_is_answered());
	ck_assert_msg(a.m.error == 0, "%u: %s", a.m.error, a.text);
	ck_assert_int_eq(sscanf(a.text, "thread=%31s", name), 1);
	ck_assert_int_ge(a.fd, 0);
	return a.fd;
}

static bool
shows(const char *line)
{
	return strstr(played_info(name), line);
}

/* Says it as a process of its own, which lasts until it is ended. */
static pid_t
speak(int fd, uint32_t magic)
{
	const struct register_hello hello = {.magic = magic};
	int said[2];
	pid_t pid;

	ck_assert_int_eq(pipe(said), 0);
	pid = fork();
	if (pid == 0) {
		if (send(fd, &hello, sizeof(hello), 0) != sizeof(hello) || write(said[1], "", 1) != 1)
			_exit(99);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(said[0], &(char){0}, 1), 1);
	close(said[0]);
	close(said[1]);
	world_settle(&w);
	return pid;
}

static int
answered(int fd)
{
	struct register_answer answer = {-1, 0};

	return recv(fd, &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer) ? answer.error : -1;
}

static pid_t
begin(int *ret_fd)
{
	pid_t pid;

	played_begin();
	*ret_fd = ask();
	ck_assert(shows("state=starting\n"));
	pid = speak(*ret_fd, REGISTER_MAGIC);
	ck_assert_int_eq(answered(*ret_fd), 0);
	return pid;
}

static void
end_process(pid_t pid, int signal)
{
	ck_assert_int_eq(kill(pid, signal), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* It is gone, and FIELDS of its event say how. */
static void
is_over(const char *verb, const char *fields)
{
	char line[128];

	world_settle(&w);
	ck_assert_uint_eq(app->n_owned[ENTITY_PROGRAM], 0);
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 0);
	ck_assert_int_eq(world_ask(&w, world_control(&w, app), WIRE_READ, "events", "", &a), 0);
	snprintf(line, sizeof(line), " %s session=init/app thread=%s ", verb, name);
	ck_assert_msg(strstr(a.text, line), "no '%s' in %s", line, a.text);
	ck_assert_msg(strstr(a.text, fields), "no '%s' in %s", fields, a.text);
}

START_TEST(S11_it_is_who_speaks_by_the_kernels_word)
{
	char text[64];
	int fd;
	pid_t pid = begin(&fd);
	uint64_t sockets = played_used().n[QUOTA_SOCKETS];

	snprintf(text, sizeof(text), "pid=%d\n", (int)pid);
	ck_assert(shows(text));
	ck_assert(shows("state=running\n"));
	ck_assert(shows("kind=registered\n"));
	ck_assert(shows("name=web\n"));
	snprintf(text, sizeof(text), "uid=%u\n", (unsigned)geteuid());
	ck_assert(shows(text));
	ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 1);
	end_process(pid, SIGABRT);
	world_settle(&w);
	/* Its descriptors were paid for. */
	ck_assert_uint_eq(played_used().n[QUOTA_SOCKETS] + 2, sockets);
	is_over("fault", " signal=ABRT core=");
	ck_assert(world_is_over(fd));
	world_close(&w, fd);
}
END_TEST

START_TEST(S07_who_never_speaks_is_none)
{
	int fd;

	played_begin();
	fd = ask();
	world_close(&w, fd);
	is_over("exit", " status=left\n");
}
END_TEST

START_TEST(S07_nonsense_is_none)
{
	int fd;
	pid_t pid;

	played_begin();
	fd = ask();
	pid = speak(fd, REGISTER_MAGIC + 1);
	ck_assert_int_eq(answered(fd), EBADMSG);
	is_over("exit", " status=left\n");
	end_process(pid, SIGKILL);
	world_close(&w, fd);
}
END_TEST

START_TEST(it_may_leave_while_its_process_goes_on)
{
	int fd;
	pid_t pid = begin(&fd);

	ck_assert_int_eq(send(fd, "", REGISTER_LEAVES_BYTES, 0), REGISTER_LEAVES_BYTES);
	is_over("exit", " status=left\n");
	end_process(pid, SIGKILL);
	world_close(&w, fd);
}
END_TEST

/* That nobody has the pair is no word of its process. */
START_TEST(a_closed_pair_is_no_end)
{
	int fd;
	pid_t pid = begin(&fd);

	kill(pid, SIGSTOP);
	world_close(&w, fd);
	world_settle(&w);
	ck_assert(shows("state=running\n"));
	end_process(pid, SIGKILL);
	is_over("fault", " signal=KILL core=no\n");
}
END_TEST

/* By the word that stays in the pair; also of a process that has ended meanwhile. */
START_TEST(R01_a_later_broker_knows_it)
{
	char text[64];
	int fd;
	pid_t pid = begin(&fd);

	snprintf(text, sizeof(text), "pid=%d\n", (int)pid);
	for (int i = 0; i < 3; i++) {
		world_restart(&w);
		played_find();
		ck_assert(shows("state=running\n"));
		ck_assert(shows(text));
		ck_assert_uint_eq(played_used().n[QUOTA_THREADS], 1);
	}
	if (_i == 0) {
		end_process(pid, SIGUSR1);
	} else {
		world_kill(&w);
		end_process(pid, SIGUSR1);
		/* With answers that it has never read. */
		fd = world_close(&w, fd);
		world_start(&w);
		world_settle(&w);
		played_find();
	}
	is_over("fault", " signal=USR1 core=no\n");
	if (fd >= 0)
		world_close(&w, fd);
}
END_TEST

/* Before it was heard, or was told that it was. */
START_TEST(what_it_says_is_heard_by_the_next_broker)
{
	pid_t pid;
	int fd;

	played_begin();
	fd = ask();
	world_restart(&w);
	played_find();
	ck_assert(shows("state=starting\n"));
	world_kill(&w);
	{
		const struct register_hello hello = {.magic = REGISTER_MAGIC};

		pid = fork();
		if (pid == 0)
			_exit(send(fd, &hello, sizeof(hello), 0) != sizeof(hello));
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	}
	world_start(&w);
	world_settle(&w);
	played_find();
	ck_assert_int_eq(answered(fd), 0);
	is_over("exit", " code=0\n");
	world_close(&w, fd);
}
END_TEST

/* Whoever lost it with a daemon says that nobody knows. */
START_TEST(without_its_pair_nobody_knows_how_it_ended)
{
	int fd;
	pid_t pid = begin(&fd);

	world_kill(&w);
	/* As when there is nothing that keeps descriptors: of that one alone is looked behind what comes first. */
	for (int i = 3; i < 1024; i++) {
		socklen_t n = sizeof(int);
		int at;

		if (getsockopt(i, SOL_SOCKET, SO_PEEK_OFF, &at, &n) == 0 && at > 0)
			close(i);
	}
	world_start(&w);
	world_settle(&w);
	played_find();
	is_over("exit", " status=unknown\n");
	end_process(pid, SIGKILL);
	world_close(&w, fd);
}
END_TEST

START_TEST(G62_its_session_ends_without_it)
{
	int fd, c;
	pid_t pid = begin(&fd);

	c = world_control(&w, root());
	ck_assert_int_eq(world_ask(&w, c, WIRE_REMOVE, "sessions/app", "", &a), 0);
	world_settle(&w);
	ck_assert_ptr_null(entity_find_name(w.model, root()->entity.id, ENTITY_SESSION, "app", 3));
	ck_assert(world_is_over(fd));
	ck_assert_int_eq(kill(pid, 0), 0);
	end_process(pid, SIGKILL);
	world_close(&w, fd);
}
END_TEST

START_TEST(nobody_has_power_over_it)
{
	char path[64];
	int fd, c;
	pid_t pid = begin(&fd);

	c = world_control(&w, app);
	snprintf(path, sizeof(path), "threads/%s/ctl", name);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, path, "kill", &a), EOPNOTSUPP);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WRITE, path, "pause", &a), EOPNOTSUPP);
	snprintf(path, sizeof(path), "threads/%s", name);
	ck_assert_int_eq(world_ask(&w, c, WIRE_WAIT, path, "", &a), EOPNOTSUPP);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REGISTER, "caps", "", &a), EINVAL);
	ck_assert_int_eq(world_ask(&w, c, WIRE_REGISTER, "threads", "name=a/b", &a), EINVAL);
	end_process(pid, SIGKILL);
	world_close(&w, fd);
	world_settle(&w);
}
END_TEST

START_TEST(Z80_each_counts)
{
	int fds[3];

	played_begin();
	for (int i = 0; i < 3; i++)
		fds[i] = ask();
	played_ask(WIRE_REGISTER, "threads", 0, "");
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, EDQUOT);
	for (int i = 0; i < 3; i++)
		world_close(&w, fds[i]);
	is_over("exit", " status=left\n");
}
END_TEST

/* A process that nobody waits for has ended all the same. */
START_TEST(one_that_is_not_waited_for)
{
	int fd;
	pid_t pid = begin(&fd);

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	for (int i = 0; i < 20 && app->n_owned[ENTITY_PROGRAM] > 0; i++)
		world_settle_for(&w, 500000);
	is_over("exit", " status=unknown\n");
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	world_close(&w, fd);
}
END_TEST

/* From Linux 6.16 on. */
static bool
can_register(void)
{
	int pair[2];
	bool can = fd_socketpair(SOCK_SEQPACKET, pair) == 0 && fd_refuse_descriptors(pair[0]) == 0;

	close(pair[0]);
	close(pair[1]);
	return can;
}

int
main(void)
{
	Suite *s = suite_create("registered");
	TCase *t = tcase_create("registered");

	if (!can_register())
		return 77;
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, web_setup, web_teardown);
	tcase_add_test(t, S11_it_is_who_speaks_by_the_kernels_word);
	tcase_add_test(t, S07_who_never_speaks_is_none);
	tcase_add_test(t, S07_nonsense_is_none);
	tcase_add_test(t, it_may_leave_while_its_process_goes_on);
	tcase_add_test(t, a_closed_pair_is_no_end);
	tcase_add_loop_test(t, R01_a_later_broker_knows_it, 0, 2);
	tcase_add_test(t, what_it_says_is_heard_by_the_next_broker);
	tcase_add_test(t, without_its_pair_nobody_knows_how_it_ended);
	tcase_add_test(t, G62_its_session_ends_without_it);
	tcase_add_test(t, nobody_has_power_over_it);
	tcase_add_test(t, Z80_each_counts);
	tcase_add_test(t, one_that_is_not_waited_for);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
