/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls from a loop of one's own: loop-epoll SLOT <LINES */
#include "lines.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void
over(void *loop)
{
	*(bool *)loop = true;
}

static void
watch(int epoll, int fd)
{
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd}) < 0)
		err(EXIT_FAILURE, "epoll");
}

int
main(int argc, char **argv)
{
	bool is_over = false;
	struct lines l = {.over = over, .loop = &is_over};
	int epoll = epoll_create1(EPOLL_CLOEXEC), r = lines_open(&l, argc > 1 ? argv[1] : "echo");
	struct epoll_event event;

	if (r < 0)
		errx(EXIT_FAILURE, "%s", strerror(-r));
	watch(epoll, capc_poll_fd(l.c));
	watch(epoll, STDIN_FILENO);
	while (!is_over) {
		if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR)
			err(EXIT_FAILURE, "epoll");
		if (event.data.fd != STDIN_FILENO)
			capc_dispatch(l.c);
		else if (!lines_read(&l))
			epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
	}
	lines_close(&l);
	close(epoll);
	return 0;
}
