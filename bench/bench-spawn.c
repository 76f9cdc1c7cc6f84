/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-spawn measure NAME LIMIT ROOT PROGRAM WAY PEER
 *	bench-spawn times N ROOT PROGRAM WAY		does it so many times, and measures nothing
 *	bench-spawn hold ROOT N				has N control connections until its input
 *ends
 *
 * What it costs to start PROGRAM and to hear how it has ended. A WAY is one of
 *
 *	posix		posix_spawn(3), waitpid(2)
 *	bwrap		bwrap, with namespaces of its own and BINDS
 *	in:NAME		in the session of that name
 *	new:COMMANDS	in a new session, whose making is not measured; COMMANDS are for its
 *confinement, or none made:COMMANDS	likewise, with making and removing it
 *
 * Both take turns, one start each, so that all else on the machine comes to both alike. LIMIT 0
 *says that there is none.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(30000000)
#define WARM_UP 20
#define SAMPLES 600
#define SAMPLES_LONG 120 /* of those that make a session */
#define OWNER 12345	 /* as whom root has programs run */

extern char **environ;

struct way {
	const char *text;
	const char *argument; /* behind the ':' */
	void (*before)(struct way *w);
	void (*run)(struct way *w);
	void (*after)(struct way *w);
	double samples[SAMPLES];
};

static const char *root, *program;
static capc_session *session;
static unsigned n_made;
static char made[32];

static void
die(int r, const char *what, const char *reason)
{
	fprintf(stderr, "bench-spawn: %s: %s: %s\n", what, reason ? reason : "", strerror(-r));
	exit(2);
}

/* --- ways
 * ------------------------------------------------------------------------------------------ */

static void
wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		die(-ECHILD, "a program", "has not ended well");
}

static void
run_posix(struct way *w)
{
	char *argv[] = {(char *)(uintptr_t)program, NULL};
	pid_t pid;
	int e = posix_spawn(&pid, program, NULL, NULL, argv, environ);

	if (e)
		die(-e, "posix_spawn", NULL);
	wait_for(pid);
}

/* What a confined session has, and its binds. */
static void
run_bwrap(struct way *w)
{
	static const char *const words[] = {"bwrap", "--unshare-all", "--unshare-user",
		"--new-session", "--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr", "--ro-bind",
		"/bin", "/bin", "--ro-bind", "/lib", "/lib", "--ro-bind", "/lib64", "/lib64",
		"--proc", "/proc", "--dev", "/dev", NULL};
	char *argv[sizeof(words) / sizeof(words[0]) + 4];
	size_t n = 0;
	pid_t pid;
	int e;

	for (; words[n]; n++)
		argv[n] = (char *)(uintptr_t)words[n];
	argv[n++] = (char *)(uintptr_t)program;
	argv[n] = NULL;
	e = posix_spawnp(&pid, "bwrap", NULL, NULL, argv, environ);
	if (e)
		die(-e, "bwrap", NULL);
	wait_for(pid);
}

static void
run_in(const char *name)
{
	char *argv[] = {(char *)(uintptr_t)program, NULL};
	const int fds[] = {0, 1, 2};
	const struct capc_spawn p = {.size = sizeof(p),
		.session = name,
		.argv = argv,
		.envp = environ,
		.fds = fds,
		.n_fds = 3};
	struct capc_exit end;
	capc_thread *t;
	char *reason;
	int r = capc_spawn(session, &p, TIMEOUT_USEC, &t, &reason);

	if (r < 0)
		die(r, name, reason);
	free(reason);
	r = capc_thread_wait(t, TIMEOUT_USEC, &end);
	if (r < 0 || end.error || end.status)
		die(r < 0 ? r : -end.error, name, "has not ended well");
	capc_thread_free(t);
}

static void
run_existing(struct way *w)
{
	run_in(w->argument);
}

static void
command(const char *node, const char *text)
{
	int r = capc_write(session, node, text, NULL, TIMEOUT_USEC);

	if (r < 0)
		die(r, node, capc_session_reason(session));
}

static void
make(struct way *w)
{
	char path[512], node[64], text[64];

	snprintf(made, sizeof(made), "new%d-%u", (int)getpid(), n_made++);
	snprintf(path, sizeof(path), "%s/sessions/%s", root, made);
	if (mkdir(path, 0755) < 0 || (geteuid() == 0 && chown(path, OWNER, OWNER) < 0))
		die(-errno, path, NULL);
	snprintf(text, sizeof(text), "to=%s threads=4 ram=256K", made);
	command("transfer_quota", text);
	snprintf(node, sizeof(node), "sessions/%s/confine", made);
	if (*w->argument)
		command(node, w->argument);
}

static void
unmake(struct way *w)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/sessions/%s", root, made);
	if (rmdir(path) < 0)
		die(-errno, path, NULL);
}

static void
run_new(struct way *w)
{
	run_in(made);
}

static void
run_made(struct way *w)
{
	make(w);
	run_in(made);
	unmake(w);
}

static void
do_nothing(struct way *w)
{
}

static struct way
parse_way(const char *text)
{
	static const struct way ways[] = {
		{"posix", NULL, do_nothing, run_posix, do_nothing, {0}},
		{"bwrap", NULL, do_nothing, run_bwrap, do_nothing, {0}},
		{"in", NULL, do_nothing, run_existing, do_nothing, {0}},
		{"new", NULL, make, run_new, unmake, {0}},
		{"made", NULL, do_nothing, run_made, do_nothing, {0}},
	};
	size_t n = strcspn(text, ":");

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strlen(ways[i].text) == n && strncmp(text, ways[i].text, n) == 0) {
			struct way w = ways[i];

			w.text = text;
			w.argument = text[n] ? text + n + 1 : "";
			return w;
		}
	die(-EINVAL, text, "no way");
	return ways[0];
}

/* --- measuring
 * ------------------------------------------------------------------------------------- */

static double
sample(struct way *w)
{
	uint64_t start, end;

	w->before(w);
	start = bench_now_nsec();
	w->run(w);
	end = bench_now_nsec();
	w->after(w);
	return (double)(end - start) / 1000;
}

static void
open_session(void)
{
	int r = capc_session_open(root, TIMEOUT_USEC, &session);

	if (r < 0)
		die(r, root, NULL);
	capc_session_set_timeout(session, TIMEOUT_USEC);
}

static bool
is_long(const struct way *w)
{
	return w->before != do_nothing || w->run == run_made || w->run == run_bwrap;
}

static int
measure(char **argv)
{
	const char *name = argv[2];
	double limit = strtod(argv[3], NULL), a, b;
	static struct way ways[2];
	size_t n;
	bool worse;

	root = argv[4];
	program = argv[5];
	ways[0] = parse_way(argv[6]);
	ways[1] = parse_way(argv[7]);
	n = is_long(&ways[0]) ? SAMPLES_LONG : SAMPLES;
	open_session();
	for (size_t i = 0; i < WARM_UP; i++) {
		sample(&ways[0]);
		sample(&ways[1]);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < 2; k++)
			ways[(i + k) % 2].samples[i] = sample(&ways[(i + k) % 2]);
	a = bench_median(ways[0].samples, n); /* sorts them */
	b = bench_median(ways[1].samples, n);
	worse = limit > 0 && a / b > limit;
	printf("start and exit, %s: %.3f ", name, a / b);
	if (limit > 0)
		printf("(<= %.2f) %s ", limit, worse ? "worse" : "ok");
	printf("[%.1f us / %.1f us, 99 %% %.1f us / %.1f us]\n", a, b,
		ways[0].samples[n - 1 - n / 100], ways[1].samples[n - 1 - n / 100]);
	capc_session_free(session);
	return worse;
}

static int
times(char **argv)
{
	static struct way w;

	root = argv[3];
	program = argv[4];
	w = parse_way(argv[5]);
	open_session();
	for (unsigned long i = strtoul(argv[2], NULL, 10); i > 0; i--)
		sample(&w);
	capc_session_free(session);
	return 0;
}

static int
hold(char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct rlimit all;
	char byte;

	getrlimit(RLIMIT_NOFILE, &all);
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", argv[2]);
	for (unsigned long i = strtoul(argv[3], NULL, 10); i > 0; i--) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			die(-errno, "hold", NULL);
	}
	puts("held");
	fflush(stdout);
	return read(0, &byte, 1) < 0;
}

int
main(int argc, char **argv)
{
	if (argc == 8 && strcmp(argv[1], "measure") == 0)
		return measure(argv);
	if (argc == 6 && strcmp(argv[1], "times") == 0)
		return times(argv);
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		return hold(argv);
	fprintf(stderr, "usage: bench-spawn measure NAME LIMIT ROOT PROGRAM WAY PEER | times N "
			"ROOT PROGRAM WAY |\n"
			"       hold ROOT N\n");
	return 2;
}
