/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	kill-points ROOT HOLDER OPERATION [STEP]	kills the broker at each of its system calls
 *	kill-points ROOT HOLDER takeover STEP		the next broker, from its first one on
 *
 * The broker is traced while a client does one OPERATION, and killed at its Nth entry to or exit from a
 * system call: N = 1, 1 + STEP, … until the operation ends before. Each time the client must succeed
 * within CLIENT_SECONDS, and what it did must be there exactly once.
 *
 * Prints what happened; the status is 0 when nothing failed. Needs the right to trace.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ptrace.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "libcap-client/cap-client.h"

#define CLIENT_SECONDS 10
#define CALL_USEC UINT64_C(8000000)
#define POINTS_MAX 4000

static const char *root;
static pid_t holder;

static void
die(const char *what)
{
	fprintf(stderr, "kill-points: %s: %s\n", what, error_name(errno));
	exit(2);
}

static char *
at(const char *path)
{
	static char buffers[4][256];
	static unsigned turn;
	char *buffer = buffers[turn++ % 4];

	snprintf(buffer, 256, "%s/%s", root, path);
	return buffer;
}

/* One write(2) of one command; the client's descriptors may be CLOEXEC or not, it does not exec. */
static int
command(const char *node, const char *text)
{
	cleanup_close int fd = open(at(node), O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The figure behind KEY in the text of NODE, in the line that begins with LINE; -1: none. */
static long
figure(const char *node, const char *line, const char *key)
{
	char text[8192], *p;
	cleanup_close int fd = open(at(node), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return -1;
	text[n] = '\0';
	p = strstr(text, line);
	p = p ? strstr(p, key) : NULL;
	return p ? atol(p + strlen(key)) : -1;
}

/* --- operations: what the client does, and what must be so afterwards --- */

static int
do_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte = 'x';

	strcpy(address.sun_path, at("sessions/kill/caps/way/socket"));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
		return -errno;
	byte = 0;
	errno = ECONNRESET;
	return recv(fd, &byte, 1, 0) == 1 && byte == 'x' ? 0 : -errno;
}

/* A slot that nobody has looked up: its listener is made during the first look. */
static int
prepare_connect(void)
{
	command("caps/echo/revoke", "to=kill\n");
	return command("caps/echo/grant", "to=kill as=way calls=1\n");
}

static int
check_connect(void)
{
	return figure("sessions/kill/caps/way/info", "calls", "used=") == 1 ? 0 : -EBADMSG;
}

static int
do_grant(void)
{
	return command("caps/echo/grant", "to=kill as=way\n");
}

static int
prepare_grant(void)
{
	command("caps/echo/revoke", "to=kill\n");
	return figure("caps/echo/info", "children", "children=") == 0 ? 0 : -EBADMSG;
}

static int
check_grant(void)
{
	return figure("caps/echo/info", "children", "children=") == 1 ? 0 : -EBADMSG;
}

static int
do_drop(void)
{
	return rmdir(at("sessions/kill/caps/way")) < 0 ? -errno : 0;
}

static int
prepare_drop(void)
{
	command("caps/echo/revoke", "to=kill\n");
	return do_grant();
}

static int
check_drop(void)
{
	return figure("caps/echo/info", "children", "children=") == 0 ? 0 : -EBADMSG;
}

static long limit_before;

static int
do_transfer(void)
{
	capc_session *s;
	int r = capc_session_open(root, CALL_USEC, &s);

	if (r < 0)
		return r;
	r = capc_write(s, "transfer_quota", "to=kill caps=1", NULL, CALL_USEC);
	capc_session_free(s);
	return r;
}

static int
prepare_transfer(void)
{
	limit_before = figure("sessions/kill/quota", "caps", "limit=");
	return limit_before > 0 ? 0 : -EBADMSG;
}

static int
check_transfer(void)
{
	return figure("sessions/kill/quota", "caps", "limit=") == limit_before + 1 ? 0 : -EBADMSG;
}

static int
do_mkdir(void)
{
	return mkdir(at("sessions/made"), 0755) < 0 ? -errno : 0;
}

static int
prepare_mkdir(void)
{
	if (rmdir(at("sessions/made")) < 0 && errno != ENOENT)
		return -errno;
	limit_before = figure("quota", "caps", "used=");
	return 0;
}

static int
check_mkdir(void)
{
	return figure("quota", "caps", "used=") == limit_before + 1 ? 0 : -EBADMSG;
}

/* One request of call-service, on a `call` that is open. Returns: its count, -errno. */
static long
ask_count(int fd)
{
	char text[32], end;
	ssize_t n;

	if (write(fd, "count", 5) < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (read(fd, &end, 1) != 0)
		return -EBADMSG;
	return atol(text);
}

static long count_before;

static int
prepare_call(const char *node)
{
	cleanup_close int fd = open(at(node), O_RDWR | O_CLOEXEC);

	count_before = fd < 0 ? -errno : ask_count(fd);
	return count_before < 0 ? (int)count_before : 0;
}

/* Each request is served once, or it is said that nobody knows: then once or not at all. */
static int
do_call(const char *node)
{
	cleanup_close int fd = open(at(node), O_RDWR | O_CLOEXEC);
	long least = count_before, most = count_before;

	if (fd < 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		long count = ask_count(fd);

		most++;
		if (count == -ECONNABORTED)
			continue;
		if (count < 0)
			return (int)count;
		if (count <= least || count > most)
			return -EBADMSG;
		least = most = count;
	}
	return 0;
}

static int
prepare_calls(void)
{
	return prepare_call("caps/calls/call");
}

static int
do_calls(void)
{
	return do_call("caps/calls/call");
}

static int
prepare_stream(void)
{
	return prepare_call("caps/stream/call");
}

static int
do_stream(void)
{
	return do_call("caps/stream/call");
}

/* The client has seen to it. */
static int
check_call(void)
{
	return 0;
}

static const struct operation {
	const char *name;
	int (*prepare)(void), (*run)(void), (*check)(void);
} operations[] = {
	{"connect", prepare_connect, do_connect, check_connect},
	{"grant", prepare_grant, do_grant, check_grant},
	{"drop", prepare_drop, do_drop, check_drop},
	{"transfer", prepare_transfer, do_transfer, check_transfer},
	{"mkdir", prepare_mkdir, do_mkdir, check_mkdir},
	{"calls", prepare_calls, do_calls, check_call},
	{"stream", prepare_stream, do_stream, check_call},
	{"takeover", prepare_connect, do_connect, check_connect},
};

/* --- the broker and its tracer --- */

static pid_t
broker_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)holder, (int)holder);
	f = fopen(path, "re");
	if (!f)
		die("the holder is gone");
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

static pid_t
wait_broker(pid_t old)
{
	for (int i = 0; i < 5000; i++) {
		pid_t pid = broker_pid();

		if (pid && pid != old)
			return pid;
		usleep(1000);
	}
	errno = ETIMEDOUT;
	die("no broker");
	return 0;
}

/* What is called all the time by a loop that waits for more says nothing about a request. */
static bool
is_idle_call(uint64_t nr)
{
	return nr == SYS_sched_yield || nr == SYS_epoll_wait || nr == SYS_epoll_pwait ||
		nr == SYS_clock_gettime;
}

struct trace {
	pid_t target; /* 0: the next child of the holder */
	long kill_at, seen;
	uint64_t call;
	bool killed, reaped;
	int client_status;
};

/* At a stop of the target. Returns: true, when that was the point. */
static bool
reached(struct trace *t, pid_t pid)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
		return false;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		t->call = info.entry.nr;
	return !is_idle_call(t->call) && ++t->seen == t->kill_at;
}

static void
release(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, &status, __WALL) == pid &&
		WIFSTOPPED(status))
		ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void
on_stop(struct trace *t, pid_t pid, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	if (pid == holder) {
		ptrace(PTRACE_CONT, pid, 0, event || signal == SIGTRAP ? 0 : signal);
		return;
	}
	if (!t->target) {
		t->target = pid;
		/* Its next child is not ours. */
		release(holder);
	}
	if (signal == (SIGTRAP | 0x80) && !t->killed && reached(t, pid)) {
		t->killed = true;
		kill(pid, SIGKILL);
		return;
	}
	ptrace(PTRACE_SYSCALL, pid, 0, event || signal == (SIGTRAP | 0x80) ? 0 : signal);
}

static void
seize(pid_t pid, long options)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, options | PTRACE_O_TRACESYSGOOD) < 0)
		die("PTRACE_SEIZE");
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
}

static pid_t
start_client(const struct operation *op)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(CLIENT_SECONDS);
		_exit(-op->run());
	}
	return pid;
}

/* Serves the traced until the client has ended. */
static void
follow(struct trace *t, pid_t client)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno != EINTR)
			die("waitpid");
		if (pid == client && !WIFSTOPPED(status)) {
			t->client_status = status;
			return;
		}
		if (pid > 0 && WIFSTOPPED(status))
			on_stop(t, pid, status);
		else if (pid == t->target)
			t->reaped = true;
	}
}

/* One round. Returns: 1 when the broker was killed, 0 when the operation ended before; -1 failed. */
static int
run_round(const struct operation *op, bool takeover, long point)
{
	struct trace t = {.kill_at = point};
	pid_t broker = wait_broker(0), client;
	int r = op->prepare();

	if (r < 0) {
		printf("%s: point %ld: cannot prepare: %s\n", op->name, point, error_name(-r));
		return -1;
	}
	if (takeover) {
		seize(holder, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK);
		kill(broker, SIGKILL);
		ptrace(PTRACE_CONT, holder, 0, 0);
	} else {
		t.target = broker;
		seize(broker, 0);
		ptrace(PTRACE_SYSCALL, broker, 0, 0);
	}
	client = start_client(op);
	follow(&t, client);
	if (t.target && !t.killed)
		release(t.target);
	/* The holder learns of its end only after the tracer. */
	if (t.killed && !t.reaped)
		waitpid(t.target, NULL, __WALL);
	if (t.killed)
		wait_broker(t.target);
	r = op->check();
	if (t.client_status || r < 0) {
		printf("%s: point %ld (system call %" PRIu64 "): client %s, state %s\n", op->name, point,
			t.call,
			WIFSIGNALED(t.client_status) ? "hangs" : error_name(WEXITSTATUS(t.client_status)),
			r < 0 ? "wrong" : "right");
		return -1;
	}
	return t.killed;
}

int
main(int argc, char **argv)
{
	const struct operation *op = NULL;
	long step = argc > 4 ? atol(argv[4]) : 1, point, kills = 0, failed = 0;
	bool takeover;

	if (argc < 4 || argc > 5 || step < 1) {
		fprintf(stderr, "usage: kill-points ROOT HOLDER OPERATION [STEP]\n");
		return 2;
	}
	root = argv[1];
	holder = atoi(argv[2]);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (!strcmp(argv[3], operations[i].name))
			op = &operations[i];
	if (!op)
		return 2;
	takeover = !strcmp(op->name, "takeover");
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (point = 1; point < POINTS_MAX && failed < 10; point += step) {
		int r = run_round(op, takeover, point);

		if (r == 0)
			break;
		kills += r > 0;
		failed += r < 0;
	}
	printf("%s: %ld kills, %ld failed\n", op->name, kills, failed);
	return failed || !kills || point >= POINTS_MAX;
}
