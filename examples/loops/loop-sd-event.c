/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls from sd-event(3): loop-sd-event SLOT <LINES. What a program needs of it is capc_attach_event(). */
#include "lines.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>
#include <unistd.h>

static int
dispatch(sd_event_source *source, int fd, uint32_t events, void *data)
{
	(void)source;
	(void)fd;
	(void)events;
	capc_dispatch(data);
	return 0;
}

/* The source, to be freed before C; or a floating one for NULL. */
static int
capc_attach_event(capc *c, sd_event *event, sd_event_source **ret)
{
	int fd = capc_poll_fd(c);

	return fd < 0 ? fd : sd_event_add_io(event, ret, fd, EPOLLIN, dispatch, c);
}

static int
readable(sd_event_source *source, int fd, uint32_t events, void *data)
{
	(void)fd;
	(void)events;
	if (!lines_read(data))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static void
over(void *loop)
{
	sd_event_exit(loop, 0);
}

int
main(int argc, char **argv)
{
	struct lines l = {.over = over};
	sd_event_source *source = NULL;
	sd_event *event = NULL;
	int r = sd_event_new(&event);

	l.loop = event;
	if (r >= 0)
		r = lines_open(&l, argc > 1 ? argv[1] : "echo");
	if (r >= 0)
		r = capc_attach_event(l.c, event, &source);
	if (r >= 0)
		r = sd_event_add_io(event, NULL, STDIN_FILENO, EPOLLIN, readable, &l);
	if (r >= 0)
		r = sd_event_loop(event);
	if (r < 0)
		errx(EXIT_FAILURE, "%s", strerror(-r));
	sd_event_source_unref(source);
	lines_close(&l);
	sd_event_unref(event);
	return 0;
}
