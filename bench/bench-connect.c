/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-connect times PATH N			connects so many times, and measures nothing
 *	bench-connect measure LIMIT DIRECT CAPABILITY [WHAT PATH]…
 *
 * What it costs to come to a server: connect, a round trip of 64 bytes, close; at a bus, by the library of
 * systemd: connect, Hello, a call, close. DIRECT and the others are sockets of the same server; PATH of a bus is
 * "bus:NAME", which `bench-call bus NAME` serves. All take turns; five runs, of which each has its median, and the
 * median of these five is what counts. What users would take instead must not be faster.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "bench/bench.h"

#define BYTES 64
#define WAYS_MAX 6
#define RUNS 5
#define ROUNDS 20
#define SAMPLES 150 /* in each round */
#define BUS_PATH "/bench"
#define BUS_INTERFACE "bench.Call" /* bench-call's */

struct way {
	const char *what, *path;
	double samples[ROUNDS * SAMPLES];
	double medians[RUNS], p99s[RUNS], ratios[RUNS];
};

/* --- the bus --- */

static void
call_bus(const char *name)
{
	sd_bus *bus;

	bench_check(sd_bus_open_user(&bus), "bus");
	bench_check(sd_bus_call_method(bus, name, BUS_PATH, BUS_INTERFACE, "Null", NULL, NULL, ""),
		"call");
	sd_bus_close_unref(bus);
}

/* --- sockets --- */

static void
call_socket(const char *path)
{
	char buffer[BYTES] = "";
	int fd = bench_connect(path);

	if (send(fd, buffer, BYTES, MSG_NOSIGNAL) != BYTES || recv(fd, buffer, BYTES, MSG_WAITALL) != BYTES)
		bench_die(path);
	close(fd);
}

static void
call_once(const char *path)
{
	if (strncmp(path, "bus:", 4) == 0)
		call_bus(path + 4);
	else
		call_socket(path);
}

/* --- measuring --- */

static void
round_of(struct way *w, int round)
{
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t start = bench_now_nsec();

		call_once(w->path);
		if (round >= 0)
			w->samples[round * SAMPLES + i] = (double)(bench_now_nsec() - start) / 1000;
	}
}

/* The first round is for what is made once. */
static void
run_of(struct way *ways, size_t n, int run)
{
	const size_t samples = ROUNDS * SAMPLES;

	for (int round = run == 0 ? -1 : 0; round < ROUNDS; round++)
		for (size_t j = 0; j < n; j++)
			round_of(&ways[j], round);
	for (size_t j = 0; j < n; j++) {
		ways[j].medians[run] = bench_median(ways[j].samples, samples); /* sorts them */
		ways[j].p99s[run] = ways[j].samples[samples - 1 - samples / 100];
		ways[j].ratios[run] = ways[j].medians[run] / ways[0].medians[run];
	}
}

static int
measure(int argc, char **argv)
{
	static struct way ways[WAYS_MAX] = {{.what = "direct"}, {.what = "capability"}};
	double limit = strtod(argv[2], NULL), ratios[WAYS_MAX];
	size_t n = 2;
	bool worse;

	ways[0].path = argv[3];
	ways[1].path = argv[4];
	for (int i = 5; i + 1 < argc && n < WAYS_MAX; i += 2) {
		ways[n].what = argv[i];
		ways[n++].path = argv[i + 1];
	}
	for (int run = 0; run < RUNS; run++)
		run_of(ways, n, run);
	for (size_t j = 0; j < n; j++)
		ratios[j] = bench_median(ways[j].ratios, RUNS);
	worse = ratios[1] > limit;
	for (size_t j = 2; j < n; j++)
		worse = worse || ratios[1] > ratios[j];
	printf("connect+call+close / plain server: %.3f (<= %.2f) %s\n", ratios[1], limit,
		worse ? "worse" : "ok");
	for (size_t j = 0; j < n; j++)
		printf("    %-22s %8.1f us, 99 %% %8.1f us, %5.2f x direct\n", ways[j].what,
			bench_median(ways[j].medians, RUNS), bench_median(ways[j].p99s, RUNS), ratios[j]);
	return worse;
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "times") == 0) {
		for (unsigned long i = strtoul(argv[3], NULL, 10); i > 0; i--)
			call_once(argv[2]);
		return 0;
	}
	if (argc >= 5 && strcmp(argv[1], "measure") == 0)
		return measure(argc, argv);
	fprintf(stderr, "usage: bench-connect times PATH N | measure LIMIT DIRECT CAPABILITY [WHAT PATH]...\n");
	return 2;
}
