/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	loop NAME
 *
 * A service in an event loop of one's own, here of epoll(7): callers of caps/NAME get the last line of the standard
 * input. It ends with that, by SIGTERM, or with its entrypoint.
 */
#include <cap-client.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static char line[4096];
static size_t n_line;

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	(void)m;
	(void)data;
	capc_reply(r, &(struct capc_msg){.data = line, .n_data = n_line});
}

static int
add(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return fd < 0 ? fd : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Returns: 0 at the end of the input. */
static int
read_line(void)
{
	ssize_t n = read(STDIN_FILENO, line, sizeof(line));

	if (n <= 0)
		return 0;
	n_line = (size_t)n - (line[n - 1] == '\n');
	return 1;
}

/*
 * capc_entrypoint_fd() is one descriptor for all: new connections, calls, replies that can be sent, time-outs, and
 * the end. What the service has to do besides is of no concern to it. A round with the timeout 0 never waits.
 */
static int
run(capc_entrypoint *e)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), signals = open_signals(), entrypoint = capc_entrypoint_fd(e);
	struct epoll_event event;
	int r = add(epoll, entrypoint);

	if (r == 0)
		r = add(epoll, signals);
	if (r == 0)
		r = add(epoll, STDIN_FILENO);
	while (r >= 0) {
		if (epoll_wait(epoll, &event, 1, -1) < 1)
			continue;
		if (event.data.fd == signals || (event.data.fd == STDIN_FILENO && !read_line()))
			break;
		if (event.data.fd == entrypoint)
			r = capc_serve(e, 0);
	}
	close(signals);
	close(epoll);
	return r < 0 ? r : 0;
}

int
main(int argc, char **argv)
{
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	capc_how *how = NULL;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: loop NAME\n");
		return 2;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, argv[1], 0, &e);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", argv[1]);
	if (r == 0)
		r = capc_object_add(e, 1, answer, NULL, capc_how_text(how), NULL);
	if (r == 0)
		r = run(e);
	if (r < 0)
		fprintf(stderr, "loop: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_how_free(how);
	capc_detach(e);
	capc_session_free(s);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
