/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/clients.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"

#define TIMES_MAX (1 << 17) /* of one client, in one turn */
#define WARM_UP 20

/* What a client tells; shared by all. */
struct told {
	uint64_t n, cpu_nsec;
	uint32_t nsec[TIMES_MAX];
};

struct turn {
	volatile bool over;
	unsigned ready;
	struct told told[CLIENTS_MAX];
};

cpu_set_t
clients_cpus(void)
{
	static cpu_set_t all;

	if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof(all), &all) < 0)
		bench_die("affinity");
	return all;
}

cpu_set_t
clients_cpu(int n)
{
	cpu_set_t all = clients_cpus(), one;

	CPU_ZERO(&one);
	n = n < 0 ? CPU_COUNT(&all) + n : n;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all) && n-- == 0)
			CPU_SET(i, &one);
	return one;
}

/* That all threads of PID have used. */
static uint64_t
cpu_nsec(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		bench_die("time of a server");
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static _Noreturn void
client(const struct way *way, struct turn *turn, struct told *told, int start)
{
	void *data;
	uint64_t cpu;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	data = way->connect(way);
	for (int i = 0; i < WARM_UP; i++)
		way->operation(data);
	__atomic_add_fetch(&turn->ready, 1, __ATOMIC_RELEASE);
	if (read(start, &byte, 1) != 0)
		_exit(2);
	cpu = cpu_nsec(getpid());
	while (!turn->over) {
		uint64_t from = bench_now_nsec(), took;

		way->operation(data);
		took = bench_now_nsec() - from;
		told->nsec[told->n++ % TIMES_MAX] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	}
	told->cpu_nsec = cpu_nsec(getpid()) - cpu;
	_exit(0);
}

static int
compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
sum_up(struct turn *turn, size_t n_clients, double sec, uint64_t server_nsec, struct seen *ret)
{
	uint64_t all = 0, most = 0, least = UINT64_MAX, cpu = server_nsec;
	uint32_t *times;
	size_t n = 0;

	for (size_t i = 0; i < n_clients; i++)
		all += turn->told[i].n;
	times = malloc((all + 1) * sizeof(*times));
	if (!times || all == 0)
		bench_die("no operation was done");
	for (size_t i = 0; i < n_clients; i++) {
		const struct told *t = &turn->told[i];
		size_t kept = t->n < TIMES_MAX ? t->n : TIMES_MAX;

		memcpy(times + n, t->nsec, kept * sizeof(*times));
		n += kept;
		cpu += t->cpu_nsec;
		most = t->n > most ? t->n : most;
		least = t->n < least ? t->n : least;
	}
	qsort(times, n, sizeof(*times), compare_times);
	*ret = (struct seen){
		.p50_usec = times[n / 2] / 1e3,
		.p99_usec = times[n * 99 / 100] / 1e3,
		.rate = (double)all / sec,
		.cpu_usec = (double)cpu / 1e3 / (double)all,
		.fairness = (double)most / (double)(least > 0 ? least : 1),
	};
	free(times);
}

static void
one_turn(const struct way *way, struct turn *turn, size_t n_clients, unsigned msec, const cpu_set_t *cpus,
	struct seen *ret)
{
	int start[2], status;
	uint64_t from, cpu;

	turn->over = false;
	turn->ready = 0;
	if (pipe(start) < 0)
		bench_die("pipe");
	for (size_t i = 0; i < n_clients; i++) {
		pid_t pid;

		turn->told[i].n = 0;
		pid = fork();
		if (pid < 0)
			bench_die("fork");
		if (pid == 0) {
			close(start[1]);
			sched_setaffinity(0, sizeof(*cpus), cpus);
			client(way, turn, &turn->told[i], start[0]);
		}
	}
	while (__atomic_load_n(&turn->ready, __ATOMIC_ACQUIRE) < n_clients) {
		usleep(1000);
		if (waitpid(-1, &status, WNOHANG) > 0)
			bench_die(way->name);
	}
	cpu = cpu_nsec(way->server);
	from = bench_now_nsec();
	close(start[1]);
	usleep(msec * 1000);
	turn->over = true;
	cpu = cpu_nsec(way->server) - cpu;
	from = bench_now_nsec() - from;
	for (size_t i = 0; i < n_clients; i++)
		if (wait(&status) < 0 || status != 0)
			bench_die(way->name);
	close(start[0]);
	sum_up(turn, n_clients, (double)from / 1e9, cpu, ret);
}

static double
median_of(const struct seen *all, size_t n, size_t offset)
{
	double values[64];

	for (size_t i = 0; i < n; i++)
		memcpy(&values[i], (const char *)&all[i] + offset, sizeof(double));
	return bench_median(values, n);
}

void
clients_compare(const struct way *ways, size_t n_ways, size_t n_clients, size_t rounds, unsigned msec,
	const cpu_set_t *servers, const cpu_set_t *clients, struct seen *ret)
{
	struct turn *turn = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct seen all[WAYS_MAX][64];

	if (turn == MAP_FAILED || n_ways > WAYS_MAX || rounds > 64 || n_clients > CLIENTS_MAX)
		bench_die("memory");
	for (size_t i = 0; i < n_ways; i++)
		sched_setaffinity(ways[i].server, sizeof(*servers), servers);
	for (size_t round = 0; round < rounds; round++)
		for (size_t i = 0; i < n_ways; i++)
			one_turn(&ways[i], turn, n_clients, msec, clients, &all[i][round]);
	for (size_t i = 0; i < n_ways; i++)
		ret[i] = (struct seen){
			.p50_usec = median_of(all[i], rounds, offsetof(struct seen, p50_usec)),
			.p99_usec = median_of(all[i], rounds, offsetof(struct seen, p99_usec)),
			.rate = median_of(all[i], rounds, offsetof(struct seen, rate)),
			.cpu_usec = median_of(all[i], rounds, offsetof(struct seen, cpu_usec)),
			.fairness = median_of(all[i], rounds, offsetof(struct seen, fairness)),
		};
	munmap(turn, sizeof(*turn));
}
