/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-tree INFO_NODE TMPFS_FILE PEER_FILE
 *
 * stat(2) of a node against the same on tmpfs; open, read, close of an info file against the same on
 * a minimal file system under libfuse's own threads (bench-peer-fs).
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"

static void
run_stat(void *data)
{
	struct stat st;

	if (stat(data, &st) < 0)
		bench_die(data);
}

static void
run_read(void *data)
{
	char buffer[4096];
	int fd = open(data, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, buffer, sizeof(buffer)) <= 0)
		bench_die(data);
	close(fd);
}

int
main(int argc, char **argv)
{
	double a, b;
	int worse;

	if (argc != 4) {
		fprintf(stderr, "usage: bench-tree INFO_NODE TMPFS_FILE PEER_FILE\n");
		return 2;
	}
	bench_pair(&(struct bench_side){run_stat, argv[1], NULL},
		&(struct bench_side){run_stat, argv[2], NULL},
		&(struct bench_plan){301, 1, 500}, &a, &b);
	worse = bench_report("stat of a node / tmpfs", a, b, 1.3);
	bench_pair(&(struct bench_side){run_read, argv[1], NULL},
		&(struct bench_side){run_read, argv[3], NULL},
		&(struct bench_plan){101, 50, 1}, &a, &b);
	worse |= bench_report("open+read+close of info / libfuse's threads", a, b, 0.8);
	return worse;
}
