/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bomb N		forks as fast as it can, and so does each of its children, in sessions of their own
 *
 * At most N processes of the user are there at a time; the first one writes a line when it has begun.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	const rlim_t n = argc > 1 ? (rlim_t)atoi(argv[1]) : 0;
	const struct rlimit limit = {n, n};

	if (n == 0 || n > 1000 || setrlimit(RLIMIT_NPROC, &limit) < 0 || getuid() == 0)
		return EXIT_FAILURE;
	puts("there");
	fflush(stdout);
	for (;;) {
		pid_t pid = fork();

		/* Each is the parent of its next ones for a moment only: whoever looks for a parent finds it gone. */
		if (pid > 0)
			_exit(0);
		if (pid == 0) {
			setsid();
			if (fork() < 0)
				sched_yield();
		} else {
			sched_yield();
		}
	}
}
