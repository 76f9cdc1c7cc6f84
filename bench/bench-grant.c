/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-grant ROOT SLOT SESSION CPU
 *
 * A grant over the control socket against a ping-pong of messages of the same size between two
 * processes over a plain socket of the same kind; the one that answers runs on CPU.
 */
#include "config.h"

#include <errno.h>
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

#define GRANT_TIMEOUT_USEC UINT64_C(10000000)
#define MESSAGE_BYTES 64

struct granter {
	capc_session *session;
	char node[128], drop[128];
	const char *to;
	uint64_t n;
};

static void
run_grant(void *data)
{
	struct granter *g = data;
	char how[128];
	int r;

	snprintf(how, sizeof(how), "to=%s as=g%" PRIu64, g->to, ++g->n);
	r = capc_write(g->session, g->node, how, NULL, GRANT_TIMEOUT_USEC);
	if (r < 0) {
		errno = -r;
		bench_die(how);
	}
}

static void
run_drop(void *data)
{
	struct granter *g = data;
	char what[128];
	int r;

	snprintf(what, sizeof(what), "to=%s", g->to);
	r = capc_write(g->session, g->drop, what, NULL, GRANT_TIMEOUT_USEC);
	if (r < 0) {
		errno = -r;
		bench_die("revoke");
	}
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

int
main(int argc, char **argv)
{
	struct granter g = {};
	int pair[2], r;
	double a, b;

	if (argc != 5) {
		fprintf(stderr, "usage: bench-grant ROOT SLOT SESSION CPU\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		bench_die("socketpair");
	if (fork() == 0)
		pong(pair[1], atoi(argv[4]));
	r = capc_session_open(argv[1], GRANT_TIMEOUT_USEC, &g.session);
	if (r < 0) {
		errno = -r;
		bench_die(argv[1]);
	}
	snprintf(g.node, sizeof(g.node), "caps/%s/grant", argv[2]);
	snprintf(g.drop, sizeof(g.drop), "caps/%s/revoke", argv[2]);
	g.to = argv[3];
	bench_pair(&(struct bench_side){run_grant, &g, run_drop},
		&(struct bench_side){run_ping, &pair[0], NULL}, &(struct bench_plan){201, 20, 1}, &a, &b);
	capc_session_free(g.session);
	return bench_report("grant over the control socket / ping-pong", a, b, 2.0);
}
