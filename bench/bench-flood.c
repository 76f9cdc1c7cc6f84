/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-flood NAME SESSION_DIR COMMAND ARGUMENT…
 *
 * What COMMAND, a client that floods the daemon, costs somebody else: reading the quota of
 * SESSION_DIR, by the file and by the control protocol, beside the flood, against the same beside
 * two busy loops on the same CPUs. COMMAND says a line on stdout when it has begun.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define ROUNDS 20  /* turns of flood and loops, so that both see the same of the machine */
#define SAMPLES 40 /* in each */
#define N_SAMPLES ((size_t)ROUNDS * SAMPLES)
#define PAUSE_USEC 1000	       /* between two operations, as of somebody who does not flood */
#define SETTLE_USEC 20000      /* what was queued before a change of turns is done */
#define LIMIT 3.0	       /* of the medians */
#define ENOUGH_NSEC 10000000.0 /* no 99th percentile need be below that */
#define TIMEOUT_USEC UINT64_C(20000000)

struct victim {
	char file[256];
	capc_session *session;
};

typedef void operation(struct victim *v);

static void
read_file(struct victim *v)
{
	char text[4096];
	cleanup_close int fd = open(v->file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
		bench_die(v->file);
}

static void
ask(struct victim *v)
{
	cleanup_free char *text = NULL;
	int r = capc_read(v->session, "quota", &text, TIMEOUT_USEC);

	if (r < 0) {
		errno = -r;
		bench_die("quota");
	}
}

/* A group of its own, to be stopped as a whole; it ends with this program. */
static pid_t
start(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		bench_die("fork");
	if (pid > 0) {
		setpgid(pid, pid);
		return pid;
	}
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	return 0;
}

static pid_t
start_loop(void)
{
	pid_t pid = start();

	if (pid > 0)
		return pid;
	for (volatile unsigned i = 0;; i++)
		;
}

static pid_t
start_flood(char **command)
{
	int fds[2];
	char line[64];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		bench_die("pipe");
	pid = start();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execv(command[0], command);
		_exit(127);
	}
	close(fds[1]);
	if (read(fds[0], line, sizeof(line)) <= 0) {
		errno = ECHILD;
		bench_die(command[0]);
	}
	close(fds[0]);
	return pid;
}

static void
measure(operation *run, struct victim *v, double *times)
{
	usleep(SETTLE_USEC);
	for (size_t i = 0; i < SAMPLES; i++) {
		uint64_t before = bench_now_nsec();

		run(v);
		times[i] = (double)(bench_now_nsec() - before);
		usleep(PAUSE_USEC);
	}
}

static int
compare_sides(const char *name, operation *run, struct victim *v, const pid_t *loops, pid_t flood)
{
	static double beside_flood[N_SAMPLES], beside_loops[N_SAMPLES];
	char what[128];
	double p99;
	int worse;

	for (size_t i = 0; i < N_SAMPLES; i += SAMPLES) {
		kill(-flood, SIGCONT);
		measure(run, v, beside_flood + i);
		kill(-flood, SIGSTOP);
		kill(-loops[0], SIGCONT);
		kill(-loops[1], SIGCONT);
		measure(run, v, beside_loops + i);
		kill(-loops[0], SIGSTOP);
		kill(-loops[1], SIGSTOP);
	}
	snprintf(what, sizeof(what), "%s: another's median / beside busy loops", name);
	worse = bench_report(what, bench_median(beside_flood, N_SAMPLES),
		bench_median(beside_loops, N_SAMPLES), LIMIT);
	/* Both are sorted now. On a machine that has other work, that is in both. */
	p99 = beside_loops[N_SAMPLES * 99 / 100];
	snprintf(what, sizeof(what), "%s: another's 99th percentile / that, or 10 ms", name);
	return worse | bench_report(what, beside_flood[N_SAMPLES * 99 / 100],
			       p99 < ENOUGH_NSEC ? ENOUGH_NSEC : p99, 1);
}

int
main(int argc, char **argv)
{
	struct victim v = {};
	pid_t loops[2], flood;
	char name[128];
	int r, worse;

	if (argc < 4) {
		fprintf(stderr, "usage: bench-flood NAME SESSION_DIR COMMAND …\n");
		return 2;
	}
	snprintf(v.file, sizeof(v.file), "%s/quota", argv[2]);
	r = capc_session_open(argv[2], TIMEOUT_USEC, &v.session);
	if (r < 0) {
		errno = -r;
		bench_die(argv[2]);
	}
	flood = start_flood(argv + 3);
	kill(-flood, SIGSTOP);
	loops[0] = start_loop();
	loops[1] = start_loop();
	kill(-loops[0], SIGSTOP);
	kill(-loops[1], SIGSTOP);
	snprintf(name, sizeof(name), "%s, read(2)", argv[1]);
	worse = compare_sides(name, read_file, &v, loops, flood);
	snprintf(name, sizeof(name), "%s, capc_read()", argv[1]);
	worse |= compare_sides(name, ask, &v, loops, flood);
	kill(-flood, SIGKILL);
	kill(-loops[0], SIGKILL);
	kill(-loops[1], SIGKILL);
	while (wait(NULL) > 0)
		;
	capc_session_free(v.session);
	return worse;
}
