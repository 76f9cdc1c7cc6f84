/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capfs-http(8): in front of an HTTP server, with HAProxy to see what is asked. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/notify.h"
#include "base/text.h"
#include "helpers/backend.h"
#include "helpers/health.h"
#include "helpers/http/clients.h"
#include "helpers/http/refusals.h"
#include "helpers/http/upgrades.h"
#include "helpers/message.h"

#define STATUS_USAGE 2
#define MAX_DEFAULT 1000
/* Descriptors that are no connection's; and what there are for each, of which HAProxy has two. */
#define FDS_OTHER 64
#define FDS_CLIENT 3 /* while it is upgraded: itself, a duplicate, and the server's */
#define NOFILE_MANY 4096
#define LISTENERS_FEW 64

struct front {
	struct loop loop;
	struct service service;
	struct engine engine;
	struct counts counts;
	struct slots slots;
	struct clients clients;
	struct refusals refusals;
	struct upgrades upgrades;
	struct source signals;
	struct health health;
	int engine_status; /* when it has ended before us */
};

static const char usage[] =
	"usage: capfs-http [--as=SLOT] [--backlog=N] [--hold=N] [--idle=S] [--once] [--max=N] [--wait=S] "
	"[--user=[USER][:GROUP,...]] [--lend-root] [--wait-backend=S] NAME PATH\n";

static void
accepted(int fd, const struct capc_caller *caller, void *data)
{
	struct front *f = data;

	clients_add(&f->clients, fd, caller);
}

static void
signals_run(struct source *source, uint32_t events)
{
	struct front *f = container_of(source, struct front, signals);
	struct signalfd_siginfo info;

	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			loop_end(&f->loop, 0);
	if (engine_has_ended(&f->engine, &f->engine_status)) {
		message("haproxy has ended");
		loop_end(&f->loop, 1);
	}
}

static void
settle(void *data)
{
	struct front *f = data;

	refusals_read(&f->refusals);
}

/* As many connections, and listeners, as there can be descriptors for. */
static void
find_room(struct engine_options *o)
{
	struct rlimit l = {.rlim_cur = NOFILE_MANY};
	uint64_t others;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
		getrlimit(RLIMIT_NOFILE, &l);
	}
	o->n_listeners = l.rlim_cur >= NOFILE_MANY ? ENGINE_LISTENERS_MAX : LISTENERS_FEW;
	/* Twice: both ends are here until HAProxy has its own. */
	others = 2 * o->n_listeners + mover_fds() + FDS_OTHER;
	if (l.rlim_cur < others + FDS_CLIENT * MAX_DEFAULT)
		o->max = l.rlim_cur > others + FDS_CLIENT ? (l.rlim_cur - others) / FDS_CLIENT : 1;
}

static int
parse(int argc, char **argv, struct service_options *o, struct engine_options *engine)
{
	static const struct option options[] = {
		{"idle", required_argument, NULL, 'i'},
		{"hold", required_argument, NULL, 'H'},
		{"max", required_argument, NULL, 'm'},
		{"lend-root", no_argument, NULL, 'l'},
		{"wait-backend", required_argument, NULL, 'B'},
		SERVICE_OPTIONS,
	};
	uint64_t max;
	int c, e = 0;

	while (e == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			e = parse_seconds("idle", optarg, &engine->idle_usec);
			break;
		case 'H':
			e = parse_count("hold", optarg, &o->hold);
			break;
		case 'm':
			e = parse_count("max", optarg, &max);
			if (e == 0 && max < engine->max)
				engine->max = max;
			break;
		case 'l':
			o->identity.lend_root = true;
			break;
		case 'B':
			e = parse_seconds("wait-backend", optarg, &engine->wait_usec);
			break;
		default:
			e = service_option(c, "capfs-http", usage, o);
		}
	}
	if (e == 0 && o->seqpacket) {
		message("--socket: HTTP goes by a stream");
		e = -EINVAL;
	}
	return e;
}

/* HAProxy is started as whom we have become. */
static int
start(struct front *f, const struct service_options *o, const struct engine_options *engine)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGCHLD};
	int e = loop_init(&f->loop);

	if (e == 0) {
		f->signals.run = signals_run;
		e = loop_add_signals(&f->loop, &f->signals, signals, 3);
	}
	if (e < 0) {
		message("start: %s", error_name(e));
		return e;
	}
	backend_warn(engine->server);
	e = service_init(&f->service, &f->loop, o, accepted, f);
	if (e == 0)
		e = engine_start(&f->engine, engine);
	if (e < 0)
		return e;
	counts_init(&f->counts, &f->engine, &f->service.entrypoint);
	slots_init(&f->slots, &f->engine, engine->n_listeners, o->name, &f->counts);
	f->slots.settle = settle;
	f->slots.data = f;
	clients_init(&f->clients, &f->loop, &f->service, &f->slots, engine->max);
	e = refusals_init(&f->refusals, &f->loop, &f->service, &f->slots);
	if (e == 0)
		e = upgrades_init(&f->upgrades, &f->loop, &f->clients, engine->server);
	if (e < 0) {
		message("start: %s", error_name(e));
		return e;
	}
	f->health = (struct health){.path = engine->server, .loop = &f->loop, .service = &f->service,
		.type = SOCK_STREAM, .waits = engine->wait_usec > 0};
	health_start(&f->health);
	service_ready(&f->service);
	return e;
}

static int
run(struct front *f)
{
	int e = 0;

	while (!f->loop.ended && !f->slots.failed && e == 0) {
		uint64_t timeout = clients_timeout(&f->clients);

		if (health_timeout(&f->health) < timeout)
			timeout = health_timeout(&f->health);
		if (upgrades_timeout(&f->upgrades) < timeout)
			timeout = upgrades_timeout(&f->upgrades);
		e = loop_wait(&f->loop, timeout);
		upgrades_tend(&f->upgrades);
		clients_tend(&f->clients);
		health_tend(&f->health);
	}
	if (e < 0)
		message("epoll: %s", error_name(e));
	notify("STOPPING=1");
	return e < 0 || f->slots.failed ? 1 : f->loop.status;
}

/* HAProxy's directory is ours, but what is told of it should not depend on that. */
static char *
absolute(const char *path)
{
	cleanup_text struct text t = {};
	char here[PATH_MAX];

	if (*path != '/' && !getcwd(here, sizeof(here)))
		return NULL;
	if (*path != '/')
		text_addf(&t, "%s/", here);
	text_add(&t, path);
	return text_done(&t) < 0 ? NULL : text_take(&t);
}

/* As if we had been killed in its place: whoever started us then starts another one. */
static void
end_as_engine(int status)
{
	sigset_t set;

	if (!WIFSIGNALED(status))
		return;
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	signal(WTERMSIG(status), SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(WTERMSIG(status));
}

static int
serve(struct front *f, const struct service_options *o, const struct engine_options *engine)
{
	int status = 1;

	if (start(f, o, engine) == 0)
		status = run(f);
	upgrades_deinit(&f->upgrades);
	clients_deinit(&f->clients);
	refusals_deinit(&f->refusals);
	slots_deinit(&f->slots);
	counts_deinit(&f->counts);
	engine_stop(&f->engine);
	service_deinit(&f->service);
	loop_deinit(&f->loop);
	return status;
}

int
main(int argc, char **argv)
{
	struct engine_options engine = {.max = MAX_DEFAULT};
	struct service_options o = {.identity.for_others = true, .caveats = true, .counts = true, .late = true};
	struct front f = {.loop = LOOP_NONE, .engine = {.commands = -1, .log = -1, .pages = -1}};
	cleanup_free char *server = NULL;
	int status, e;

	find_room(&engine);
	e = parse(argc, argv, &o, &engine);
	if (e > 0)
		return 0;
	if (e < 0 || argc - optind != 2) {
		fputs(usage, stderr);
		return STATUS_USAGE;
	}
	o.name = argv[optind];
	server = absolute(argv[optind + 1]);
	e = server ? configuration_check(server) : -ENOMEM;
	if (e < 0) {
		message("%s: %s: no path that HAProxy takes", argv[optind + 1], error_name(e));
		return STATUS_USAGE;
	}
	engine.server = server;
	/* Whom we become may have no way to where it is. */
	engine.preloaded = engine_open_preloaded();
	if (engine.preloaded < 0) {
		message("what is loaded into HAProxy: %s", error_name(engine.preloaded));
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	status = serve(&f, &o, &engine);
	end_as_engine(f.engine_status);
	return status;
}
