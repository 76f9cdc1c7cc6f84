/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	direct ROOT SLOT WORD…
 *
 * Opens the slot by capc_open_direct() and says whether it has the server's own connection: "aside", "relayed".
 * Each WORD goes to the server with a line feed, and what comes back is printed; "-" waits for a line of input
 * first, and "+" for the end of the connection.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(30000000)

static int
ask(int fd, const char *word)
{
	char line[256];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s\n", word), got = 0;

	if (send(fd, line, n, MSG_NOSIGNAL) != (ssize_t)n)
		return -errno;
	while (got == 0 || line[got - 1] != '\n') {
		ssize_t r = recv(fd, line + got, sizeof(line) - got, 0);

		if (r <= 0)
			return r == 0 ? -ECONNRESET : -errno;
		got += (size_t)r;
	}
	fwrite(line, 1, got, stdout);
	return 0;
}

static int
wait_for(int fd, const char *word)
{
	char line[256];

	if (*word == '-')
		return fgets(line, sizeof(line), stdin) ? 0 : -EPIPE;
	while (recv(fd, line, sizeof(line), 0) > 0)
		;
	puts("ended");
	return 0;
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	capc *c = NULL;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		return 2;
	r = capc_session_open(argv[1], TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_open_direct(s, argv[2], TIMEOUT_USEC, &c);
	for (int i = 3; r == 0 && i < argc; i++)
		r = strchr("-+", *argv[i]) ? wait_for(capc_fd(c), argv[i]) : ask(capc_fd(c), argv[i]);
	if (r < 0)
		printf("%s\n", strerror(-r));
	else
		puts(capc_take_fd(c) == -EOPNOTSUPP ? "aside" : "relayed");
	capc_session_free(s);
	return r < 0;
}
