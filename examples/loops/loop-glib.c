/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls from the main loop of GLib: loop-glib SLOT <LINES. What a program needs of it is capc_source_new(). */
#include "lines.h"

#include <err.h>
#include <glib-unix.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gboolean
dispatch(gint fd, GIOCondition condition, gpointer data)
{
	(void)fd;
	(void)condition;
	capc_dispatch(data);
	return G_SOURCE_CONTINUE;
}

/* A source for g_source_attach(), to be destroyed before C; NULL: there are no descriptors left. */
static GSource *
capc_source_new(capc *c)
{
	int fd = capc_poll_fd(c);
	GSource *source = fd < 0 ? NULL : g_unix_fd_source_new(fd, G_IO_IN);

	if (source)
		g_source_set_callback(source, (GSourceFunc)(void (*)(void))dispatch, c, NULL);
	return source;
}

static gboolean
readable(gint fd, GIOCondition condition, gpointer data)
{
	(void)fd;
	(void)condition;
	return lines_read(data) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void
over(void *loop)
{
	g_main_loop_quit(loop);
}

int
main(int argc, char **argv)
{
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	struct lines l = {.over = over, .loop = loop};
	GSource *source;
	int r = lines_open(&l, argc > 1 ? argv[1] : "echo");

	if (r < 0)
		errx(EXIT_FAILURE, "%s", strerror(-r));
	source = capc_source_new(l.c);
	if (!source)
		errx(EXIT_FAILURE, "no descriptors");
	g_source_attach(source, NULL);
	g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP, readable, &l);
	g_main_loop_run(loop);
	g_source_destroy(source);
	g_source_unref(source);
	lines_close(&l);
	g_main_loop_unref(loop);
	return 0;
}
