/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-verbs ROOT SLOT SESSION CPU PEER_FILE
 *
 * What is done with a capability, over the control socket against a ping-pong of messages of the same size
 * between two processes over a plain socket of the same kind, of which the one that answers runs on CPU; and by
 * files, against the same system calls on a minimal file system under libfuse (bench-peer-fs).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(10000000)
#define MESSAGE_BYTES 64

/* In texts and nodes %s is the session that something is done to, and %n the number of the time. */
struct verb {
	const char *name, *node, *text;
	const char *undo_node, *undo_text; /* what puts things back, not measured; NULL: nothing */
};

static const struct verb verbs[] = {
	{"grant", "caps/bench/grant", "to=%s as=g%n", "caps/bench/revoke", "to=%s"},
	{"adjust", "caps/bench/adjust", "to=%s conns=%n", NULL, NULL},
	{"split", "caps/parts/split", "calls=1 as=p%n", "caps/p%n/revoke", "self"},
	{"share", "caps/bench/share", "with=%s", "caps/bench/share", "with=none"},
};

struct bench {
	capc_session *session;
	const struct verb *verb;
	const char *root, *to, *peer;
	uint64_t n;
};

static void
fill(const struct bench *b, const char *pattern, char text[128])
{
	size_t n = 0;

	for (const char *p = pattern; *p && n < 100; p++) {
		if (*p != '%')
			text[n++] = *p;
		else if (*++p == 's')
			n += (size_t)snprintf(text + n, 128 - n, "%s", b->to);
		else
			n += (size_t)snprintf(text + n, 128 - n, "%" PRIu64, b->n);
	}
	text[n] = '\0';
}

static void
ask(struct bench *b, const char *node_pattern, const char *text_pattern)
{
	char node[128], text[128];
	int r;

	fill(b, node_pattern, node);
	fill(b, text_pattern, text);
	r = capc_write(b->session, node, text, NULL, TIMEOUT_USEC);
	if (r < 0) {
		errno = -r;
		bench_die(text);
	}
}

static void
run_control(void *data)
{
	struct bench *b = data;

	b->n++;
	ask(b, b->verb->node, b->verb->text);
}

static void
undo(void *data)
{
	struct bench *b = data;

	if (b->verb->undo_node)
		ask(b, b->verb->undo_node, b->verb->undo_text);
}

static void
write_and_read(const char *path, const char *text)
{
	char answer[256];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || read(fd, answer, sizeof(answer)) < 0)
		bench_die(path);
	close(fd);
}

static void
run_file(void *data)
{
	struct bench *b = data;
	char node[128], text[128], path[512];

	b->n++;
	fill(b, b->verb->node, node);
	fill(b, b->verb->text, text);
	strcat(text, "\n");
	snprintf(path, sizeof(path), "%s/%s", b->root, node);
	write_and_read(path, text);
}

static void
run_peer_file(void *data)
{
	write_and_read(((struct bench *)data)->peer, "to=app conns=100\n");
}

static void
run_ping(void *data)
{
	char buffer[MESSAGE_BYTES] = "";
	int fd = *(int *)data;

	if (send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL) < 0 ||
		recv(fd, buffer, sizeof(buffer), 0) <= 0)
		bench_die("ping");
}

static void
pong(int fd, int cpu)
{
	char buffer[MESSAGE_BYTES];
	cpu_set_t cpus;
	ssize_t n;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		bench_die("sched_setaffinity");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		if (send(fd, buffer, (size_t)n, MSG_NOSIGNAL) < 0)
			break;
	_exit(0);
}

/* Slots of their own: one to derive from, one to be split, and what is adjusted in between. */
static void
prepare(struct bench *b, const char *slot)
{
	char node[128];

	snprintf(node, sizeof(node), "caps/%s/replicate", slot);
	ask(b, node, "as=bench");
	ask(b, node, "as=parts");
	ask(b, "caps/parts/reduce", "calls=1000000000");
}

static int
measure(struct bench *b, const struct verb *verb, int *ping)
{
	char name[128];
	double a, peer;
	int worse;

	b->verb = verb;
	if (strcmp(verb->name, "adjust") == 0)
		ask(b, "caps/bench/grant", "to=%s");
	bench_pair(&(struct bench_side){run_control, b, undo}, &(struct bench_side){run_ping, ping, NULL},
		&(struct bench_plan){201, 20, 1}, &a, &peer);
	snprintf(name, sizeof(name), "%s over the control socket / ping-pong", verb->name);
	worse = bench_report(name, a, peer, 2.0);
	bench_pair(&(struct bench_side){run_file, b, undo}, &(struct bench_side){run_peer_file, b, NULL},
		&(struct bench_plan){101, 20, 1}, &a, &peer);
	snprintf(name, sizeof(name), "%s by its file / write and read under libfuse", verb->name);
	worse |= bench_report(name, a, peer, 1.5);
	if (strcmp(verb->name, "adjust") == 0)
		ask(b, "caps/bench/revoke", "1");
	return worse;
}

int
main(int argc, char **argv)
{
	struct bench b = {};
	int pair[2], r, worse = 0;

	if (argc != 6) {
		fprintf(stderr, "usage: bench-verbs ROOT SLOT SESSION CPU PEER_FILE\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		bench_die("socketpair");
	if (fork() == 0)
		pong(pair[1], atoi(argv[4]));
	b.root = argv[1];
	b.to = argv[3];
	b.peer = argv[5];
	r = capc_session_open(argv[1], TIMEOUT_USEC, &b.session);
	if (r < 0) {
		errno = -r;
		bench_die(argv[1]);
	}
	prepare(&b, argv[2]);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		worse |= measure(&b, &verbs[i], &pair[0]);
	capc_session_free(b.session);
	return worse;
}
