/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	kill-early HOLDER N SECONDS
 *
 * Kills each broker as soon as it is there, before it can have answered anybody, until it has killed N
 * of them and SECONDS have passed; then lets the next one live. Prints how many it has killed. Its status
 * is 0 then, and 1 when none came for a while, as when the daemon has given up.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define PATIENCE_USEC UINT64_C(10000000)
#define LOOK_USEC 500

/* Returns: the holder's child, or 0. */
static pid_t
broker_find(const char *holder)
{
	char path[64];
	cleanup_fclose FILE *f = NULL;
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/task/%.20s/children", holder, holder);
	f = fopen(path, "re");
	return f && fscanf(f, "%d", &pid) == 1 ? (pid_t)pid : 0;
}

int
main(int argc, char **argv)
{
	uint64_t until, last;
	pid_t before = 0;
	int killed = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: kill-early HOLDER N SECONDS\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	last = clock_usec(CLOCK_MONOTONIC);
	until = last + strtoull(argv[3], NULL, 10) * 1000000;
	while (killed < atoi(argv[2]) || clock_usec(CLOCK_MONOTONIC) < until) {
		pid_t broker = broker_find(argv[1]);

		if (broker && broker != before && kill(broker, SIGKILL) == 0) {
			before = broker;
			last = clock_usec(CLOCK_MONOTONIC);
			printf("killed %d\n", ++killed);
		} else if (clock_usec(CLOCK_MONOTONIC) - last > PATIENCE_USEC) {
			return 1;
		} else {
			usleep(LOOK_USEC);
		}
	}
	return 0;
}
