/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

#define WARM_UP_ROUNDS 3

uint64_t
bench_now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void
bench_die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, error_name(errno));
	exit(2);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Nanoseconds of one operation. */
static double
sample(const struct bench_side *side, size_t repeat)
{
	uint64_t start = bench_now_nsec(), end;

	for (size_t i = 0; i < repeat; i++)
		side->run(side->data);
	end = bench_now_nsec();
	if (side->after)
		side->after(side->data);
	return (double)(end - start) / (double)repeat;
}

void
bench_pair(const struct bench_side *a, const struct bench_side *b, const struct bench_plan *plan,
	double *ret_a_nsec, double *ret_b_nsec)
{
	const size_t n = plan->rounds * plan->samples;
	cleanup_free double *times_a = calloc(n, sizeof(double));
	cleanup_free double *times_b = calloc(n, sizeof(double));

	if (!times_a || !times_b)
		bench_die("memory");
	for (size_t i = 0; i < WARM_UP_ROUNDS * plan->samples; i++) {
		sample(a, plan->repeat);
		sample(b, plan->repeat);
	}
	for (size_t i = 0; i < n; i += plan->samples) {
		for (size_t j = 0; j < plan->samples; j++)
			times_a[i + j] = sample(a, plan->repeat);
		for (size_t j = 0; j < plan->samples; j++)
			times_b[i + j] = sample(b, plan->repeat);
	}
	*ret_a_nsec = bench_median(times_a, n);
	*ret_b_nsec = bench_median(times_b, n);
}

int
bench_report(const char *name, double a_nsec, double b_nsec, double limit)
{
	double ratio = a_nsec / b_nsec;
	int worse = ratio > limit;

	printf("%s %.3f (<= %.2f) %s [%.2f us / %.2f us]\n", name, ratio, limit,
		worse ? "worse" : "ok", a_nsec / 1000, b_nsec / 1000);
	fflush(stdout);
	return worse;
}

void
bench_check(int r, const char *what)
{
	if (r < 0) {
		errno = -r;
		bench_die(what);
	}
}

uint64_t
bench_sum(const void *data, size_t n)
{
	const uint64_t *words = data;
	uint64_t all = 0;

	for (size_t i = 0; i < n / sizeof(*words); i++)
		all += words[i];
	return all;
}

int
bench_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		bench_die("socket");
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		bench_die(path);
	}
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die(path);
	return fd;
}

pid_t
bench_broker(pid_t holder)
{
	char command[64];
	FILE *f;
	int pid = 0;

	snprintf(command, sizeof(command), "pgrep -P %d -x capfs-broker", (int)holder);
	f = popen(command, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	pclose(f);
	return pid;
}
