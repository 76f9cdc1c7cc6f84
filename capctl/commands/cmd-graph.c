/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl graph: the daemon's picture of a session and what is below it, in DOT as `graph.dot` has it; or
 * drawn by graphviz's dot, as SVG; or that in a page which a browser shows by itself. Names reach the page in
 * one way only, as text of the SVG, which dot escapes; the page's own script makes no markup of anything.
 */
#include "config.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capctl/command.h"
#include "capctl/commands/graph-page.h" /* made of graph.html */

extern char **environ;

#define PLACE_OF_PICTURE "<!-- the picture -->"

/* A file in memory that begins with N bytes of DATA, read from its start. Returns: a descriptor, or -errno. */
static int
memory_file(const char *data, size_t n)
{
	cleanup_close int fd = memfd_create("graph", MFD_CLOEXEC);

	while (fd >= 0 && n > 0) {
		ssize_t r = write(fd, data, n);

		if (r < 0)
			return -errno;
		data += r;
		n -= (size_t)r;
	}
	if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return take_fd(fd);
}

/* Runs dot with these for its standard input and output. Returns: an exit status, having said why. */
static int
run_dot(int in, int out)
{
	char *argv[] = {(char *)"dot", (char *)"-Tsvg", NULL};
	posix_spawn_file_actions_t actions;
	int status = 0;
	pid_t pid;
	int e;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	e = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (e == ENOENT)
		return complain(-e, "graphviz is not installed, whose program dot draws the picture", "graph");
	if (e)
		return complain(-e, NULL, "graph: dot");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return complain(-errno, NULL, "graph: dot");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return STATUS_DONE;
	return complain(-EIO, "dot has not drawn the picture", "graph");
}

static int
read_all(int fd, struct text *t)
{
	char buffer[65536];
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		text_add_n(t, buffer, (size_t)n);
	return n < 0 ? -errno : text_done(t);
}

/* Without what only a file of its own begins with. */
static int
print_page(const struct text *svg)
{
	const char *picture = svg->data ? strstr(svg->data, "<svg") : NULL;
	const char *place = strstr(graph_page, PLACE_OF_PICTURE);

	if (!picture || !place)
		return complain(-EIO, "dot has not drawn the picture", "graph");
	printf("%.*s%s%s", (int)(place - graph_page), graph_page, picture, place + strlen(PLACE_OF_PICTURE));
	return STATUS_DONE;
}

static int
draw(const struct text *dot, bool page)
{
	cleanup_close int in = memory_file(dot->data, dot->n);
	cleanup_close int out = page ? memory_file(NULL, 0) : -1;
	cleanup_text struct text svg = {};
	int e, status;

	if (in < 0 || (page && out < 0))
		return complain(in < 0 ? in : out, NULL, "graph");
	fflush(stdout);
	status = run_dot(in, page ? out : STDOUT_FILENO);
	if (status != STATUS_DONE || !page)
		return status;
	e = read_all(out, &svg);
	return e < 0 ? complain(e, NULL, "graph") : print_page(&svg);
}

static int
run_graph(struct context *x, int argc, char **argv)
{
	bool svg = options_have(&x->options, OPTION_SVG), html = options_have(&x->options, OPTION_HTML);
	cleanup_text struct text node = {};
	cleanup_text struct text dot = {};
	int e, status;

	if (svg && html)
		return complain_usage("graph draws --svg or --html");
	status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	e = context_read(x, node.data ? node.data : "", "graph.dot", &dot);
	if (e < 0)
		return complain(e, capc_session_reason(x->session), "graph");
	if (svg || html)
		return draw(&dot, html);
	fputs(dot.data, stdout);
	return STATUS_DONE;
}

const struct command command_graph = {
	.name = "graph",
	.arguments = "[--svg | --html]",
	.summary = "print who may call whom: in DOT, or as a picture, or as a page for a browser",
	.options = OPTION_SVG | OPTION_HTML,
	.run = run_graph,
};
