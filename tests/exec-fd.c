/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	exec-fd CAP SESSION N PROGRAM OTHER
 *
 * Starts PROGRAM by a descriptor of it, with N descriptors of OTHER, and prints "true:N" when it exits with 0.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcap-client/cap-client.h"

#define FDS_MAX 4096
#define TIMEOUT_USEC 30000000

int
main(int argc, char **argv)
{
	static int fds[FDS_MAX];
	char *words[] = {(char[]){"program"}, NULL};
	struct capc_spawn p = {.size = sizeof(p), .argv = words, .fds = fds, .flags = CAPC_SPAWN_EXEC_FD};
	struct capc_exit end;
	capc_session *session;
	capc_thread *thread;
	char *reason;
	int r;

	if (argc != 6)
		return 2;
	p.session = argv[2];
	p.n_fds = (size_t)atoi(argv[3]);
	for (size_t i = 0; i < p.n_fds && i < FDS_MAX; i++)
		fds[i] = open(argv[5], O_RDONLY | O_CLOEXEC);
	p.exec_fd = open(argv[4], O_RDONLY | O_CLOEXEC);
	r = capc_session_open(argv[1], TIMEOUT_USEC, &session);
	if (r < 0) {
		printf("session: %s\n", strerror(-r));
		return 1;
	}
	r = capc_spawn(session, &p, TIMEOUT_USEC, &thread, &reason);
	if (r < 0) {
		printf("spawn: %s: %s\n", strerror(-r), reason ? reason : "");
		return 1;
	}
	r = capc_thread_wait(thread, TIMEOUT_USEC, &end);
	if (r == 0 && end.status == 0)
		printf("true:%s\n", argv[3]);
	else
		printf("wait: %d, status: %d\n", r, end.status);
	capc_thread_free(thread);
	capc_session_free(session);
	return 0;
}
