/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-open ROOT SESSION WORKER FILE
 *
 * What open(2) costs a program of the session that can open sockets, against one that cannot. WORKER, which is
 * bench/opener, runs as both; they take turns.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(30000000)
#define SAMPLES 400
#define WARM_UP 20
#define LIMIT 1.15

static int
start(capc_session *s, char **argv, unsigned flags)
{
	char number[] = "200", *words[] = {argv[3], argv[4], number, NULL};
	capc_thread *t;
	char *reason;
	int pair[2], r;
	struct capc_spawn p = {.size = sizeof(p),
		.session = argv[2],
		.argv = words,
		.fds = &pair[1],
		.n_fds = 1,
		.flags = CAPC_SPAWN_DETACHED | flags};

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		bench_die("socketpair");
	r = capc_spawn(s, &p, TIMEOUT_USEC, &t, &reason);
	if (r < 0) {
		fprintf(stderr, "bench-open: %s: %s\n", strerror(-r), reason ? reason : "");
		exit(2);
	}
	capc_thread_free(t);
	free(reason);
	close(pair[1]);
	return pair[0];
}

static double
ask(int fd, char letter)
{
	double nsec;

	if (write(fd, &letter, 1) != 1 || read(fd, &nsec, sizeof(nsec)) != sizeof(nsec))
		bench_die("a program");
	return nsec;
}

static void
measure(const int fds[2], char letter, double *ret_with, double *ret_without)
{
	static double samples[2][SAMPLES];

	for (int i = -WARM_UP; i < SAMPLES; i++)
		for (int k = 0; k < 2; k++)
			samples[k][i < 0 ? 0 : i] = ask(fds[k], letter);
	*ret_with = bench_median(samples[0], SAMPLES);
	*ret_without = bench_median(samples[1], SAMPLES);
}

int
main(int argc, char **argv)
{
	capc_session *s;
	double with, without;
	int fds[2], r, worse;

	if (argc != 5) {
		fprintf(stderr, "usage: bench-open ROOT SESSION WORKER FILE\n");
		return 2;
	}
	r = capc_session_open(argv[1], TIMEOUT_USEC, &s);
	if (r < 0) {
		errno = -r;
		bench_die(argv[1]);
	}
	fds[0] = start(s, argv, CAPC_SPAWN_OPEN_SOCKETS);
	fds[1] = start(s, argv, 0);
	measure(fds, 'r', &with, &without);
	worse = bench_report("open for reading, with open-sockets / without", with, without, LIMIT);
	measure(fds, 'w', &with, &without);
	printf("open for both, with open-sockets / without: %.1f [%.1f us / %.1f us]\n", with / without, with / 1000,
		without / 1000);
	capc_session_free(s);
	return worse;
}
