/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capfs-inetd(8): a process per connection. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/notify.h"
#include "helpers/child.h"
#include "helpers/sockets.h"

#define MAX_DEFAULT 64
#define STATUS_USAGE 2

struct inetd {
	struct loop loop;
	struct service service;
	struct sockets sockets;
	struct children children;
	struct source signals;
};

static const char usage[] =
	"usage: capfs-inetd [--as=SLOT] [--backlog=N] [--fds] [--hold=N] [--once] [--max=N] [--socket=stream|seqpacket] "
	"[--user=[USER][:GROUP,...]] [--wait=S] NAME -- COMMAND [ARGUMENT…]\n";

static void
accepted(int fd, const struct capc_caller *caller, void *data)
{
	struct inetd *d = data;

	children_add(&d->children, fd, caller);
}

static void
signals_run(struct source *source, uint32_t events)
{
	struct inetd *d = container_of(source, struct inetd, signals);
	struct signalfd_siginfo info;

	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			children_reap(&d->children);
		else
			loop_end(&d->loop, 0);
	}
}

/* Returns: 0, -EINVAL, or 1 when there is nothing more to do. */
static int
parse(int argc, char **argv, struct service_options *o, uint64_t *ret_max)
{
	static const struct option options[] = {
		{"fds", no_argument, NULL, 'f'},
		{"hold", required_argument, NULL, 'H'},
		{"max", required_argument, NULL, 'm'},
		SERVICE_OPTIONS,
	};
	int c, e = 0;

	while (e == 0 && (c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'H':
			e = parse_count("hold", optarg, &o->hold);
			break;
		case 'm':
			e = parse_count("max", optarg, ret_max);
			break;
		default:
			e = service_option(c, "capfs-inetd", usage, o);
		}
	}
	return e;
}

static int
start(struct inetd *d, const struct service_options *o, char **command, uint64_t max)
{
	static const int signals[] = {SIGCHLD, SIGTERM, SIGINT};
	int e;

	children_init(&d->children, &d->loop, &d->service, command, max);
	e = loop_init(&d->loop);
	if (e < 0) {
		message("start: %s", error_name(e));
		return e;
	}
	e = service_init(&d->service, &d->loop, o, accepted, d);
	if (e < 0)
		return e;
	d->signals.run = signals_run;
	e = loop_add_signals(&d->loop, &d->signals, signals, 3);
	if (e < 0)
		message("signals: %s", error_name(e));
	return e < 0 ? e : sockets_start(&d->sockets, &d->service, o, max);
}

static int
run(struct inetd *d)
{
	int e = 0;

	while (!d->loop.ended && e == 0) {
		uint64_t timeout = children_timeout(&d->children);

		if (sockets_timeout(&d->sockets) < timeout)
			timeout = sockets_timeout(&d->sockets);
		e = loop_wait(&d->loop, timeout);
		sockets_tend(&d->sockets);
		children_tend(&d->children);
	}
	if (e < 0)
		message("epoll: %s", error_name(e));
	notify("STOPPING=1");
	children_stop(&d->children);
	return e < 0 ? 1 : d->loop.status;
}

int
main(int argc, char **argv)
{
	struct service_options o = {};
	struct inetd d = {.loop = LOOP_NONE};
	uint64_t max = MAX_DEFAULT;
	char **command;
	int status = 1, e;

	e = parse(argc, argv, &o, &max);
	if (e > 0)
		return 0;
	command = e == 0 ? service_command(argc, argv, &o) : NULL;
	if (!command) {
		fputs(usage, stderr);
		return STATUS_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (sockets_take(&d.sockets, o.seqpacket) < 0)
		return STATUS_USAGE;
	if (start(&d, &o, command, max) == 0)
		status = run(&d);
	sockets_deinit(&d.sockets);
	children_deinit(&d.children);
	service_deinit(&d.service);
	loop_deinit(&d.loop);
	return status;
}
