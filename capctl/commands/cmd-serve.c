/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl serve: the helper that serves, and this process above it, which starts it again when it was killed
 * (supervisor.h). One that gives its listener away (--listen) is executed in place of capctl: its command
 * would have to be started anew as well. With --detach the daemon is what stands above it: it starts the helper when
 * somebody calls, and it needs nobody else.
 *
 * Callers wait for the next helper: the entrypoint is attached with hold=N. That is over when we end.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capctl/command.h"
#include "capctl/run/start.h"
#include "capctl/supervisor.h"

#define HOLD "1024" /* callers may wait while a helper is started again */
/* Until the daemon knows that the helper of before has gone, or is there again itself. */
#define WAIT_AGAIN 10
#define WAIT_AGAIN_TEXT "10"
#define END_SECONDS 10
#define END_TRY_USEC (UINT64_C(2) * 1000000)
#define END_TRIES 40
#define END_PAUSE_USEC 50000

struct arguments {
	char **v;
	int n;
	bool failed;
	char **owned; /* those that were made here */
	int n_owned;
};

static void
arguments_deinit(struct arguments *a)
{
	for (int i = 0; i < a->n_owned; i++)
		free(a->owned[i]);
	free(a->owned);
	free(a->v);
}

static void
add(struct arguments *a, char *word)
{
	a->v[a->n++] = word;
}

/* --NAME=VALUE, or --NAME without a value. */
static void
add_option(struct arguments *a, const char *name, const char *value)
{
	cleanup_text struct text t = {};
	char *word;

	text_addf(&t, value ? "--%s=%s" : "--%s", name, value);
	word = text_done(&t) < 0 ? NULL : text_take(&t);
	if (!word) {
		a->failed = true;
		return;
	}
	a->owned[a->n_owned++] = word;
	add(a, word);
}

/* The root of the session that serves: a session's directory is a complete root of its own. */
static int
set_root(struct context *x)
{
	cleanup_text struct text root = {};
	cleanup_text struct text node = {};
	int status = context_session(x, &node);
	struct stat st;

	if (status != STATUS_DONE)
		return status;
	text_add(&root, x->place.root);
	if (node.n > 0)
		text_addf(&root, "/%s", node.data);
	if (text_done(&root) < 0 || setenv("CAPFS", root.data, 1) < 0)
		return complain(ENOMEM, NULL, "serve");
	/* Without --wait a wrong root is refused at once; with it, the tree may come later. */
	if (!x->options.wait && stat(root.data, &st) < 0)
		return complain(errno, NULL, "%s", root.data);
	return STATUS_DONE;
}

#define WAYS (OPTION_PROXY | OPTION_INETD | OPTION_LISTEN)

/* What the helpers are told, and which of them take it. */
static const struct passed {
	enum option_bit bit;
	uint32_t ways;
	const char *why_not; /* do the others not take it; NULL: that goes without saying */
} passed[] = {
	{OPTION_ONCE, WAYS, NULL},
	{OPTION_FDS, OPTION_INETD | OPTION_LISTEN, ", which passes on bytes"},
	{OPTION_AS, WAYS, NULL},
	{OPTION_HOLD, OPTION_PROXY | OPTION_INETD, NULL},
	{OPTION_BACKLOG, WAYS, NULL},
	{OPTION_WAIT, WAYS, NULL},
	{OPTION_MAX, OPTION_PROXY | OPTION_INETD, ": the command accepts by itself"},
	{OPTION_SOCKET, WAYS, NULL},
	{OPTION_IDLE, OPTION_PROXY, NULL},
	{OPTION_USER, WAYS, NULL},
	{OPTION_AS_CALLER, OPTION_PROXY, NULL},
	{OPTION_LEND_ROOT, OPTION_PROXY, NULL},
	{OPTION_WAIT_BACKEND, OPTION_PROXY, NULL},
	{OPTION_STEP_ASIDE, OPTION_PROXY, NULL},
	{OPTION_SEND_PROXY, OPTION_PROXY, ": it is for servers that know no capabilities"},
	{OPTION_CAVEATS, OPTION_PROXY, ": it is for servers that are told of them by --send-proxy"},
};
#define N_PASSED (sizeof(passed) / sizeof(passed[0]))

/* What a relay may be told, and HAProxy cannot do. */
#define NOT_HTTP (OPTION_AS_CALLER | OPTION_SEND_PROXY | OPTION_SOCKET | OPTION_STEP_ASIDE)

static int
check_http(const struct options *o)
{
	uint64_t wrong = o->given & NOT_HTTP;
	const char *value;

	if (!options_have(o, OPTION_HTTP))
		return STATUS_DONE;
	if (!options_have(o, OPTION_PROXY))
		return complain_usage("serve --http is in front of a server: --proxy=PATH");
	if (wrong)
		return complain_usage("--%s does not go with --http", options_name(o, wrong & -wrong, &value));
	return STATUS_DONE;
}

static int
check(const struct context *x, int argc, char **argv)
{
	const struct options *o = &x->options;
	uint64_t way = o->given & WAYS;
	const char *way_name, *value;

	if (way != OPTION_PROXY && way != OPTION_INETD && way != OPTION_LISTEN)
		return complain_usage("serve takes one of --proxy=PATH, --inetd, --listen");
	way_name = options_name(o, way, &value);
	if (way != OPTION_PROXY && argc < 2)
		return complain_usage("serve %s --%s needs a command behind --", argv[0], way_name);
	if (way == OPTION_PROXY && argc > 1)
		return complain_usage("serve --proxy takes no command");
	if (check_http(o) != STATUS_DONE)
		return STATUS_USAGE;
	for (size_t i = 0; i < N_PASSED; i++)
		if (options_have(o, passed[i].bit) && !(way & passed[i].ways))
			return complain_usage("--%s does not go with --%s%s",
				options_name(o, passed[i].bit, &value), way_name,
				passed[i].why_not ? passed[i].why_not : "");
	if (options_have(o, OPTION_DETACH) && (o->given & (OPTION_ONCE | OPTION_USER | OPTION_LEND_ROOT)))
		return complain_usage("--once, --user and --lend-root do not go with --detach: it stays, as its session's user");
	if (!name_is_valid(argv[0], strlen(argv[0])))
		return complain_usage("'%s' cannot be the name of an entrypoint", argv[0]);
	return STATUS_DONE;
}

/* Do callers wait while a helper is started again? Not where the entrypoint ends with its server. */
static bool
holds_for_next(const struct options *o)
{
	return !o->hold && !options_have(o, OPTION_ONCE) && !options_have(o, OPTION_LISTEN);
}

static void
make_arguments(struct arguments *a, const struct options *o, char *helper, int argc, char **argv)
{
	a->v = calloc(N_PASSED + (size_t)argc + 4, sizeof(char *));
	a->owned = calloc(N_PASSED, sizeof(char *));
	a->failed = !a->v || !a->owned;
	if (a->failed)
		return;
	add(a, helper);
	for (size_t i = 0; i < N_PASSED; i++) {
		const char *value, *name = options_name(o, passed[i].bit, &value);

		if (options_have(o, passed[i].bit))
			add_option(a, name, value);
	}
	add(a, (char *)"--");
	add(a, argv[0]);
	if (o->proxy)
		add(a, (char *)(size_t)o->proxy);
	for (int i = 1; i < argc; i++)
		add(a, argv[i]);
}

/* The helper is not known to have gone, or the daemon itself is just being started again. */
static bool
is_passing(int r)
{
	return r == -EBUSY || r == -ETIMEDOUT || r == -EPIPE || r == -ECONNRESET ||
		r == -ECONNREFUSED || r == -ENOTCONN;
}

/*
 * Nobody comes any more: who waits is told, and who comes is refused. Whoever attaches says how many may
 * wait, so that is done by attaching once without. Where the daemon has gone, or somebody else serves
 * already, nothing is left to do.
 */
static void
end_hold(const char *name)
{
	const char *root = getenv("CAPFS");
	capc_session *session = NULL;
	capc_entrypoint *e = NULL;
	cleanup_text struct text node = {};
	int r;

	/* Whatever the tree is like by now, this is not what we wait for. */
	signal(SIGALRM, SIG_DFL);
	alarm(END_SECONDS);
	/* It may have been removed, and must not come back; and that the helper has gone may not be known. */
	text_addf(&node, "entrypoints/%s/info", name);
	r = !root || text_done(&node) < 0 ? -ENOMEM : -EBUSY;
	for (int i = 0; is_passing(r) && i < END_TRIES; i++) {
		cleanup_free char *info = NULL;

		if (i > 0)
			usleep(END_PAUSE_USEC);
		/* Anew each time: one that was cut off is of no use any more. */
		session = capc_session_free(session);
		r = capc_session_open(root, END_TRY_USEC, &session);
		if (r == 0)
			r = capc_read(session, node.data, &info, END_TRY_USEC);
		if (r == 0)
			r = capc_attach_how(session, name, NULL, &e);
	}
	capc_detach(e);
	capc_session_free(session);
}

static int
execute(struct context *x, char *helper, int argc, char **argv)
{
	struct options *o = &x->options, o_again;
	cleanup(arguments_deinit) struct arguments first = {}, again = {};
	struct supervised s = {.name = argv[0]};
	bool holds = holds_for_next(o), served = false;
	int status;

	if (holds)
		options_set(o, OPTION_HOLD, HOLD);
	make_arguments(&first, o, helper, argc, argv);
	o_again = *o;
	if (!o->wait || atol(o->wait) < WAIT_AGAIN)
		options_set(&o_again, OPTION_WAIT, WAIT_AGAIN_TEXT);
	make_arguments(&again, &o_again, helper, argc, argv);
	if (first.failed || again.failed)
		return complain(ENOMEM, NULL, "serve");
	if (options_have(o, OPTION_LISTEN)) {
		execv(helper, first.v);
		return complain(errno, NULL, "%s", helper);
	}
	s.first = first.v;
	s.again = again.v;
	status = supervise(&s, &served);
	/* Also where the helper saw the daemon's connection end: nobody is started again for those who wait. */
	if (served && holds)
		end_hold(argv[0]);
	return status;
}

/* NAME and what the daemon is to know before the helper is there. */
static void
add_entrypoint(const struct options *o, const char *name, struct text *t)
{
	text_addf(t, "--serve=%s,socket=%s", name, o->socket ? o->socket : "stream");
	if (o->as)
		text_addf(t, ",as=%s", o->as);
	if (o->hold)
		text_addf(t, ",hold=%s", o->hold);
	if (options_have(o, OPTION_FDS))
		text_add(t, ",fds=yes");
	if (options_have(o, OPTION_HTTP) || options_have(o, OPTION_CAVEATS))
		text_add(t, ",caveats=yes");
	if (options_have(o, OPTION_HTTP))
		text_add(t, ",counts=yes");
}

/* As by `capctl run`. Nobody can wait for one who accepts by himself: such a one runs at once. */
static int
serve_detached(struct context *x, char *helper, int argc, char **argv)
{
	char command[] = "run", detach[] = "--detach", always[] = "--restart=always", end[] = "--";
	cleanup(arguments_deinit) struct arguments a = {};
	cleanup_text struct text node = {}, place = {}, serve = {};
	cleanup_free char **words = NULL;
	int n = 0, r;

	if (context_session(x, &node) != 0 || context_open(x) != 0)
		return STATUS_FAILED;
	text_add(&place, "--env=");
	r = start_place(x, node.data ? node.data : "", &place);
	if (r < 0)
		return complain(r, capc_session_reason(x->session), "serve");
	/* The other command makes a connection of its own. */
	context_deinit(x);
	if (!x->options.wait || atol(x->options.wait) < WAIT_AGAIN)
		options_set(&x->options, OPTION_WAIT, WAIT_AGAIN_TEXT);
	make_arguments(&a, &x->options, helper, argc, argv);
	add_entrypoint(&x->options, argv[0], &serve);
	words = a.failed ? NULL : calloc((size_t)a.n + 6, sizeof(*words));
	if (!words || text_done(&serve) < 0)
		return complain(ENOMEM, NULL, "serve");
	words[n++] = command;
	words[n++] = detach;
	words[n++] = place.data;
	words[n++] = options_have(&x->options, OPTION_LISTEN) ? always : serve.data;
	words[n++] = end;
	memcpy(words + n, a.v, (size_t)a.n * sizeof(*words));
	return command_run.run(x, n + a.n, words);
}

static const char *
helper_name(const struct options *o)
{
	if (options_have(o, OPTION_HTTP))
		return "capfs-http";
	if (options_have(o, OPTION_PROXY))
		return "capfs-relay";
	return options_have(o, OPTION_LISTEN) ? "capfs-listen" : "capfs-inetd";
}

static int
run_serve(struct context *x, int argc, char **argv)
{
	const char *libexec = getenv("CAPFS_LIBEXEC");
	cleanup_text struct text helper = {};
	int status = check(x, argc, argv);

	if (status == STATUS_DONE && !options_have(&x->options, OPTION_DETACH))
		status = set_root(x);
	if (status != STATUS_DONE)
		return status;
	text_addf(&helper, "%s/%s", libexec && *libexec ? libexec : LIBEXECDIR,
		helper_name(&x->options));
	if (text_done(&helper) < 0)
		return complain(ENOMEM, NULL, "serve");
	return options_have(&x->options, OPTION_DETACH) ? serve_detached(x, helper.data, argc, argv)
							: execute(x, helper.data, argc, argv);
}

const struct command command_serve = {
	.name = "serve",
	.by_path = true,
	.arguments = "NAME --proxy=PATH [--http] | --inetd|--listen [OPTION…] -- COMMAND [ARGUMENT…]",
	.summary = "serve an entrypoint in front of a socket, by a process per connection, or "
		   "by one that accepts",
	.options = OPTION_PROXY | OPTION_INETD | OPTION_ONCE | OPTION_WAIT | OPTION_IDLE |
		   OPTION_MAX | OPTION_SOCKET | OPTION_LISTEN | OPTION_AS |
		   OPTION_HOLD | OPTION_BACKLOG | OPTION_FDS | OPTION_USER | OPTION_AS_CALLER |
		   OPTION_LEND_ROOT | OPTION_SEND_PROXY | OPTION_CAVEATS | OPTION_STEP_ASIDE |
		   OPTION_WAIT_BACKEND | OPTION_DETACH | OPTION_HTTP,
	.n_min = 1,
	.n_max = -1,
	.run = run_serve,
};
