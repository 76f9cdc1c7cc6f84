/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	it-recovery KILLS SECONDS
 *
 * Runs the eight clients of it-work.c against the daemon at $CAPFS, and kills the broker, found by
 * its name as a child of $HOLDER, KILLS times, at least for SECONDS: at random moments, but for a burst of
 * BURST_KILLS, one every BURST_MSEC, in the middle of each BURST_EVERY. Prints what each client did. Its
 * status is 0 when no call failed that must not, and none stood still.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "tests/it-work.h"

#define RESTART_MSEC_MAX 30000
#define PROGRESS_MSEC_MAX 30000
#define UNSERVED_KILLS_MAX 4 /* in a row, before anybody was served */
#define KILL_PAUSE_MSEC_MAX 300
#define ROUNDS_MIN 20
#define BURST_EVERY 200
#define BURST_KILLS 50
#define BURST_MSEC 20
/* A machine may need a second for each, but brokers that are started ever later need three minutes for all. */
#define BURST_MSEC_MAX 60000

/* Is PID a process called capfs-broker whose parent is HOLDER, and not a zombie? */
static bool
is_broker(const char *pid, pid_t holder)
{
	char path[64], name[64] = "", state = 'Z';
	cleanup_fclose FILE *f = NULL;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d (%63[^)]) %c %d", name, &state, &parent) != 3)
		return false;
	return parent == holder && state != 'Z' && state != 'X' && !strcmp(name, "capfs-broker");
}

static pid_t
broker_find(pid_t holder)
{
	cleanup_closedir DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_broker(e->d_name, holder))
			return (pid_t)atoi(e->d_name);
	return 0;
}

/* Waits for a broker that is not BEFORE. Returns: it, or 0. */
static pid_t
broker_wait(pid_t holder, pid_t before)
{
	int64_t deadline = work_now_msec() + RESTART_MSEC_MAX;

	while (work_now_msec() < deadline) {
		pid_t pid = broker_find(holder);

		if (pid && pid != before)
			return pid;
		usleep(1000);
	}
	return 0;
}

static int
write_command(const char *path, const char *text)
{
	cleanup_fclose FILE *f = fopen(path, "we");

	return f && fputs(text, f) >= 0 && fflush(f) == 0 ? 0 : -1;
}

/* A session with a capability for each worker, unless an earlier run has left them. */
static int
prepare(const char *root)
{
	for (unsigned i = 0; i < WORK_N; i++) {
		char path[256], text[64];

		snprintf(path, sizeof(path), "%s/sessions/w%u", root, i);
		if (mkdir(path, 0777) < 0) {
			if (errno == EEXIST)
				continue;
			perror(path);
			return -1;
		}
		snprintf(path, sizeof(path), "%s/caps/echo/grant", root);
		snprintf(text, sizeof(text), "to=w%u rights=call,grant,reduce", i);
		if (write_command(path, text) < 0) {
			perror(path);
			return -1;
		}
	}
	return 0;
}

static pid_t
start(const struct work *work, struct worker *w, unsigned number)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		work_run(work, w, number);
	_exit(0);
}

/* What needs a broker; data on an open connection does not. */
static uint64_t
count_served(const struct worker *workers)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WORK_N; i++)
		if (strcmp(work_table[i].name, "data") != 0)
			n += workers[i].rounds;
	return n;
}

/*
 * On a slow machine a broker may need longer to begin than the pause between two kills. If all of them were
 * killed before that, nobody would ever be served, and the next ones would be started ever later.
 */
static void
wait_until_served(const struct worker *workers, uint64_t before)
{
	int64_t deadline = work_now_msec() + RESTART_MSEC_MAX;

	while (count_served(workers) == before && work_now_msec() < deadline)
		usleep(1000);
}

/*
 * Whoever is there, one every BURST_MSEC, whether anybody has been served or not, until N were killed or
 * there are too few. Returns: how many were.
 */
static unsigned
kill_burst(pid_t holder, unsigned n, pid_t *before)
{
	int64_t deadline = work_now_msec() + BURST_MSEC_MAX;
	unsigned killed = 0;

	for (; killed < n && work_now_msec() < deadline; usleep(BURST_MSEC * 1000)) {
		pid_t broker = broker_find(holder);

		if (!broker || broker == *before || kill(broker, SIGKILL) < 0)
			continue;
		*before = broker;
		killed++;
	}
	printf("burst=%u in %jd ms\n", killed, (intmax_t)(work_now_msec() - deadline + BURST_MSEC_MAX));
	return killed;
}

/* Kills N brokers. Returns: how many it found. */
static unsigned
kill_brokers(pid_t holder, unsigned n, const struct worker *workers)
{
	uint64_t served = 0;
	unsigned killed = 0, burst_at = BURST_EVERY / 2;
	pid_t before = 0;

	for (; killed < n; killed++) {
		pid_t broker;

		if (killed == burst_at) {
			burst_at += BURST_EVERY;
			killed += kill_burst(holder, n - killed < BURST_KILLS ? n - killed : BURST_KILLS,
				&before);
			if (killed == n)
				break;
		}
		broker = broker_wait(holder, before);
		if (!broker)
			break;
		usleep((useconds_t)(random() % (KILL_PAUSE_MSEC_MAX * 1000)));
		if (killed % UNSERVED_KILLS_MAX == 0) {
			wait_until_served(workers, served);
			served = count_served(workers);
		}
		/* It may have ended by itself, for an upgrade. */
		if (kill(broker, SIGKILL) < 0 && errno != ESRCH)
			break;
		before = broker;
	}
	return killed;
}

/* Tells the workers to stop and kills who does not within the bound. Returns: how many did not. */
static int
stop(struct worker *workers, const pid_t *pids)
{
	int64_t deadline = work_now_msec() + 3 * PROGRESS_MSEC_MAX;
	int stuck = 0;

	for (unsigned i = 0; i < WORK_N; i++)
		workers[i].stop = true;
	for (unsigned i = 0; i < WORK_N; i++) {
		int status;

		while (waitpid(pids[i], &status, WNOHANG) == 0 && work_now_msec() < deadline)
			usleep(10000);
		if (work_now_msec() >= deadline) {
			printf("%s: does not end\n", work_table[i].name);
			kill(pids[i], SIGKILL);
			stuck++;
		}
	}
	return stuck;
}

static int
report(const struct worker *workers, const bool *alive)
{
	int bad = 0;

	for (unsigned i = 0; i < WORK_N; i++) {
		const struct worker *w = &workers[i];

		printf("%-8s rounds=%" PRIu64 " failures=%" PRIu64 "%s%s%s\n", work_table[i].name,
			w->rounds, w->failures, w->failures ? " first: " : "", w->first_failure,
			alive[i] ? "" : " STOOD STILL");
		bad += w->failures > 0 || w->rounds < ROUNDS_MIN || !alive[i];
	}
	return bad;
}

int
main(int argc, char **argv)
{
	const char *root = getenv("CAPFS"), *holder = getenv("HOLDER");
	unsigned n_kills, killed;
	struct worker *workers;
	pid_t pids[WORK_N];
	bool alive[WORK_N];
	int64_t end;
	int bad;

	if (argc != 3 || !root || !holder) {
		fprintf(stderr, "usage: CAPFS=DIR HOLDER=PID it-recovery KILLS SECONDS\n");
		return 2;
	}
	n_kills = (unsigned)atoi(argv[1]);
	end = work_now_msec() + atoi(argv[2]) * 1000;
	workers = mmap(NULL, WORK_N * sizeof(*workers), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (workers == MAP_FAILED || prepare(root) < 0)
		return 2;
	srandom((unsigned)getpid());
	for (unsigned i = 0; i < WORK_N; i++)
		pids[i] = start(&work_table[i], &workers[i], i);
	killed = kill_brokers((pid_t)atoi(holder), n_kills, workers);
	while (work_now_msec() < end)
		usleep(100000);
	for (int64_t until = work_now_msec() + 1000; work_now_msec() < until;)
		usleep(100000);
	for (unsigned i = 0; i < WORK_N; i++)
		alive[i] = workers[i].last_msec > work_now_msec() - PROGRESS_MSEC_MAX;
	bad = stop(workers, pids);
	printf("killed=%u of %u\n", killed, n_kills);
	return report(workers, alive) + bad > 0 || killed < n_kills;
}
