/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/programs-world.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/msg.h"

struct session *app;
int control, spawner, init;
int played_room;

static uint64_t serial;

void
played_pair(int ret[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret), 0);
}

struct quota
played_used(void)
{
	return app->used;
}

/* app has a uid and a quota; its control client is there. */
void
played_begin(void)
{
	int c = world_control(&w, root());

	ck_assert_int_eq(world_ask(&w, c, WIRE_CREATE, "sessions/app", "caps=8 sockets=16 threads=3 ram=64K", &a), 0);
	app = session_of(entity_find_name(w.model, root()->entity.id, ENTITY_SESSION, "app", 3));
	control = world_control(&w, app);
	serial = 100;
	spawner = init = -1;
}

/* Again, after a restart. */
void
played_find(void)
{
	app = session_of(entity_find_name(w.model, root()->entity.id, ENTITY_SESSION, "app", 3));
}

void
played_come(void)
{
	int fds[2];

	played_pair(fds);
	spawner = world_own(&w, fds[0]);
	programs_set_spawner(w.programs, fds[1]);
	world_settle(&w);
}

/* What was said at FD; 0: nothing. */
uint32_t
played_said(int fd, struct process_record *ret, struct process_plan *ret_plan)
{
	struct {
		struct process_record record;
		struct process_plan plan;
	} buffer = {};
	ssize_t n = recv(fd, &buffer, sizeof(buffer), MSG_DONTWAIT);

	if (n <= 0)
		return 0;
	ck_assert(n == sizeof(buffer.record) || n == sizeof(buffer));
	*ret = buffer.record;
	if (ret_plan)
		*ret_plan = buffer.plan;
	return buffer.record.type;
}

void
played_tell(int fd, const struct process_record *record, const int *fds, size_t n)
{
	ck_assert_int_eq(msg_send(fd, record, sizeof(*record), fds, n, 0), sizeof(*record));
	world_settle(&w);
}

void
played_report(int fd, enum process_type type, uint64_t thread, int first, int second)
{
	const struct process_record record = {.type = type,
		.thread = thread,
		.step = type == PROCESS_FAILED ? first : 0,
		.error = type == PROCESS_FAILED ? second : 0,
		.status = type == PROCESS_EXITED ? first : 0,
		.flags = type == PROCESS_STATE ? (uint32_t)first : 0};

	played_tell(fd, &record, NULL, 0);
}

/* Has the broker something to read there? The other end of FD is in this process. */
static bool
is_sent(int fd)
{
	int n = 0;

	return ioctl(fd, TIOCOUTQ, &n) == 0 && n > 0;
}

pid_t
played_say(int fd, const struct process_record *record)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (msg_send(fd, record, sizeof(*record), NULL, 0, 0) != sizeof(*record))
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_gt(pid, 0);
	while (!is_sent(fd))
		sched_yield();
	world_settle(&w);
	return pid;
}

void
played_end(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* Gives the first program's ends. Returns: the program's end of the launch pair. */
int
played_launch_first(uint64_t thread)
{
	const struct process_record record = {.type = PROCESS_LAUNCH, .thread = thread};
	int launch[2], r[2];

	played_pair(launch);
	played_pair(r);
	init = world_own(&w, r[0]);
	if (played_room > 0)
		ck_assert_int_eq(setsockopt(r[1], SOL_SOCKET, SO_SNDBUF, &played_room, sizeof(played_room)), 0);
	played_tell(spawner, &record, (int[]){launch[1], r[1]}, 2);
	close(launch[1]);
	close(r[1]);
	played_end(played_say(init, &(struct process_record){.type = PROCESS_INITED}));
	return world_own(&w, launch[0]);
}

int
played_launch_next(uint64_t thread)
{
	const struct process_record record = {.type = PROCESS_LAUNCH, .thread = thread};
	int launch[2];

	played_pair(launch);
	played_tell(init, &record, &launch[1], 1);
	close(launch[1]);
	return world_own(&w, launch[0]);
}

void
played_ask(enum wire_op op, const char *path, uint64_t offset, const char *text)
{
	struct wire_request m = {.op = op, .serial = ++serial, .offset = offset, .path = path,
		.n_path = strlen(path), .text = text, .n_text = strlen(text)};
	uint8_t buffer[8192];
	int n = wire_request_encode(&m, buffer, sizeof(buffer));

	ck_assert_int_eq(send(control, buffer, (size_t)n, 0), n);
	world_settle(&w);
}

bool
played_is_answered(void)
{
	return world_reply(&w, control, &a);
}

const char *
played_info(const char *thread)
{
	static struct answered answer;
	int c = world_control(&w, app);
	char path[64];

	snprintf(path, sizeof(path), "threads/%s/info", thread);
	answer.text[0] = '\0';
	world_ask(&w, c, WIRE_READ, path, "", &answer);
	world_close(&w, c);
	world_settle(&w);
	return answer.text;
}

/* A program that runs; its id is ID. Returns: its name. */
const char *
played_run(const char *words, uint64_t *id)
{
	static char name[32];
	struct process_record record;
	int launch, end;

	played_ask(WIRE_SPAWN, "threads", 0, words);
	if (init < 0) {
		if (spawner < 0)
			played_come();
		ck_assert_uint_eq(played_said(spawner, &record, NULL), PROCESS_START);
		launch = played_launch_first(record.thread);
	} else {
		while (played_said(init, &record, NULL) == PROCESS_ACK)
			continue;
		ck_assert_uint_eq(record.type, PROCESS_START);
		launch = played_launch_next(record.thread);
	}
	*id = record.thread;
	ck_assert(played_is_answered());
	ck_assert_uint_eq(a.m.error, 0);
	ck_assert_int_ge(a.fd, 0);
	ck_assert_int_eq(sscanf(a.text, "thread=%31s", name), 1);
	end = a.fd;
	/* It is the other end of this pair. */
	ck_assert_int_eq(send(end, "x", 1, 0), 1);
	ck_assert_int_eq(recv(launch, &(char){0}, 1, MSG_DONTWAIT), 1);
	played_report(init, PROCESS_RUNNING, *id, 0, 0);
	return name;
}
