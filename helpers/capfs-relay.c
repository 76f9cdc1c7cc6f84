/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capfs-relay(8): in front of a server with a socket of its own. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/notify.h"
#include "helpers/backend.h"
#include "helpers/health.h"
#include "helpers/message.h"
#include "helpers/relay.h"
#include "helpers/sockets.h"

#define STATUS_USAGE 2
/* Descriptors that are no relay's, and room for connections that are under way. */
#define FDS_OTHER 64

struct front {
	struct loop loop;
	struct service service;
	struct relays relays;
	struct sockets sockets;
	struct source signals;
	struct health health;
};

static const char usage[] =
	"usage: capfs-relay [--stream|--seqpacket] [--as=SLOT] [--backlog=N] [--hold=N] [--idle=S] [--once] "
	"[--max=N] [--wait=S] [--user=[USER][:GROUP,...]] [--as-caller] [--lend-root] [--send-proxy] [--caveats] [--step-aside] "
	"[--wait-backend=S] NAME PATH\n";

static void
accepted(int fd, const struct capc_caller *caller, void *data)
{
	struct front *f = data;
	const char *why = identity_refuses(&f->service.identity, caller);

	if (!why) {
		relays_add(&f->relays, fd, caller);
		return;
	}
	message_limited(&f->relays.limit, f->loop.now_usec, "%s: refused: %s", caller->label, why);
	capc_raw_close(fd);
}

static int
connect_server(void *data, int client_fd, uid_t uid, gid_t gid)
{
	struct front *f = data;
	const struct relays_options *o = &f->relays.options;
	int fd = identity_enter(&f->service.identity, client_fd, uid, gid);

	if (fd < 0)
		return fd;
	fd = backend_connect(o->path, o->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM);
	identity_leave(&f->service.identity);
	health_saw(&f->health, fd < 0 ? fd : 0);
	return fd;
}

static void
signals_run(struct source *source, uint32_t events)
{
	struct front *f = container_of(source, struct front, signals);

	loop_end(&f->loop, 0);
}

/* As many relays as there can be descriptors for. */
static uint64_t
default_max(void)
{
	struct rlimit l;
	unsigned others;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return 1;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	getrlimit(RLIMIT_NOFILE, &l);
	others = FDS_OTHER + mover_fds();
	return l.rlim_cur > others + 2 ? (l.rlim_cur - others) / 2 : 1;
}

static int
parse(int argc, char **argv, struct service_options *o, struct relays_options *r)
{
	static const struct option options[] = {
		{"stream", no_argument, NULL, 'S'},
		{"seqpacket", no_argument, NULL, 'P'},
		{"idle", required_argument, NULL, 'i'},
		{"hold", required_argument, NULL, 'H'},
		{"max", required_argument, NULL, 'm'},
		{"as-caller", no_argument, NULL, 'c'},
		{"lend-root", no_argument, NULL, 'l'},
		{"send-proxy", no_argument, NULL, 'x'},
		{"caveats", no_argument, NULL, 'v'},
		{"step-aside", no_argument, NULL, 'A'},
		{"wait-backend", required_argument, NULL, 'B'},
		SERVICE_OPTIONS,
	};
	uint64_t max;
	int c, e = 0;

	while (e == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'S':
		case 'P':
			o->seqpacket = c == 'P';
			break;
		case 'i':
			e = parse_seconds("idle", optarg, &r->idle_usec);
			break;
		case 'H':
			e = parse_count("hold", optarg, &o->hold);
			break;
		case 'm':
			e = parse_count("max", optarg, &max);
			if (e == 0 && max < r->max)
				r->max = max;
			break;
		case 'c':
			o->identity.as_caller = true;
			break;
		case 'l':
			o->identity.lend_root = true;
			break;
		case 'A':
			o->aside = true;
			break;
		case 'B':
			e = parse_seconds("wait-backend", optarg, &r->wait_usec);
			break;
		case 'x':
			r->send_proxy = true;
			break;
		case 'v':
			o->caveats = true;
			break;
		default:
			e = service_option(c, "capfs-relay", usage, o);
		}
	}
	return e;
}

static int
start(struct front *f, const struct service_options *o, const struct relays_options *r)
{
	static const int signals[] = {SIGTERM, SIGINT};
	int e = relays_init(&f->relays, &f->loop, &f->service, r);

	if (e == 0)
		e = loop_init(&f->loop);
	if (e < 0) {
		message("start: %s", error_name(e));
		return e;
	}
	/* Before it is served, if the server is there already; else with its first connection. */
	if (access(r->path, F_OK) == 0)
		relays_check(&f->relays);
	e = service_init(&f->service, &f->loop, o, accepted, f);
	if (e < 0)
		return e;
	f->health = (struct health){
		.path = r->path,
		.loop = &f->loop,
		.service = &f->service,
		.type = r->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM,
		.as_caller = o->identity.as_caller,
		.waits = r->wait_usec > 0,
	};
	health_start(&f->health);
	f->signals.run = signals_run;
	e = loop_add_signals(&f->loop, &f->signals, signals, 2);
	if (e < 0)
		message("signals: %s", error_name(e));
	return e < 0 ? e : sockets_start(&f->sockets, &f->service, o, r->max);
}

static int
run(struct front *f)
{
	int e = 0;

	while (!f->loop.ended && e == 0) {
		uint64_t timeout = relays_timeout(&f->relays);

		if (sockets_timeout(&f->sockets) < timeout)
			timeout = sockets_timeout(&f->sockets);
		if (health_timeout(&f->health) < timeout)
			timeout = health_timeout(&f->health);
		e = loop_wait(&f->loop, timeout);
		sockets_tend(&f->sockets);
		relays_tend(&f->relays);
		health_tend(&f->health);
	}
	if (e < 0)
		message("epoll: %s", error_name(e));
	notify("STOPPING=1");
	return e < 0 ? 1 : f->loop.status;
}

int
main(int argc, char **argv)
{
	struct relays_options r = {.max = default_max()};
	struct service_options o = {.identity.for_others = true};
	struct front f = {.loop = LOOP_NONE};
	int status = 1, e;

	e = parse(argc, argv, &o, &r);
	if (e > 0)
		return 0;
	if (e < 0 || argc - optind != 2) {
		fputs(usage, stderr);
		return STATUS_USAGE;
	}
	o.name = argv[optind];
	r.path = argv[optind + 1];
	r.seqpacket = o.seqpacket;
	if (r.send_proxy && r.seqpacket) {
		message("--send-proxy: a PROXY header is the begin of a stream, and does not go with packets");
		return STATUS_USAGE;
	}
	if (o.caveats && !r.send_proxy) {
		message("--caveats: only by a PROXY header, --send-proxy, can the server be told of them");
		return STATUS_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (sockets_take(&f.sockets, o.seqpacket) < 0)
		return STATUS_USAGE;
	if (o.identity.as_caller && f.sockets.n > 0) {
		message("--as-caller: who comes by a socket of the service manager is not known");
		return STATUS_USAGE;
	}
	r.connect = connect_server;
	r.data = &f;
	/* Whoever comes by these takes two descriptors more on the way to where all come. */
	if (f.sockets.n > 0 && r.max > 1)
		r.max /= 2;
	if (start(&f, &o, &r) == 0)
		status = run(&f);
	sockets_deinit(&f.sockets);
	relays_deinit(&f.relays);
	service_deinit(&f.service);
	loop_deinit(&f.loop);
	return status;
}
