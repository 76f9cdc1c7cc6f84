/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the benchmarks share. Absolute times drift on every machine, so a figure is the ratio of the
 * medians of two sides that take turns in the same run: A B A B …
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t bench_now_nsec(void);

/* One measured operation; ends the program with a word when it fails. */
typedef void bench_operation(void *data);

struct bench_side {
	bench_operation *run;
	void *data;
	bench_operation *after; /* not measured: puts things back; may be NULL */
};

struct bench_plan {
	size_t rounds;  /* turns of each side */
	size_t samples; /* in each turn; all samples of all turns have one median */
	size_t repeat;  /* operations in a sample: more than one where the clock itself would count */
};

/* Runs both sides in turns and gives the median time of one operation of each. */
void bench_pair(const struct bench_side *a, const struct bench_side *b, const struct bench_plan *plan,
	double *ret_a_nsec, double *ret_b_nsec);

/* Prints "NAME RATIO (<= LIMIT) ok|worse" and both medians. Returns: 0, or 1 when it is worse. */
int bench_report(const char *name, double a_nsec, double b_nsec, double limit);

double bench_median(double *values, size_t n);

/* Ends the program: "bench: WHAT: errno". */
void bench_die(const char *what) __attribute__((noreturn));

/* R < 0 is a -errno: ends the program so. */
void bench_check(int r, const char *what);

/* Of the words at DATA: whoever gets a payload looks at all of it. */
uint64_t bench_sum(const void *data, size_t n);

/* A connected stream socket to the node or socket at PATH. */
int bench_connect(const char *path);

/* The broker among the children of HOLDER, 0: none now. */
pid_t bench_broker(pid_t holder);
