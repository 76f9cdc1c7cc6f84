/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passes an open file to the service behind a slot, and prints the answer: pass SLOT FILE */
#include <cap-client.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1, r;
	struct capc_msg m = {.fds = &fd, .n_fds = 1};
	capc_session *s = NULL;
	capc *c = NULL;

	if (fd < 0) {
		fprintf(stderr, "usage: pass SLOT FILE\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_open(s, argv[1], CAPC_TIMEOUT_USEC, &c);
	if (r == 0)
		r = capc_call(c, &m, &m, CAPC_TIMEOUT_USEC);
	if (m.owned)
		printf("%.*s\n", (int)m.n_data, (const char *)m.data);
	if (r < 0)
		fprintf(stderr, "pass: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_msg_clear(&m);
	close(fd);
	capc_free(c);
	capc_session_free(s);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
