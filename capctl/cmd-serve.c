/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl serve: becomes the helper that serves. It is executed in place of capctl, so that a
 * service manager sees one process, whose exit status and READY=1 are the helper's own.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capctl/command.h"

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

static int
check(const struct context *x, int argc, char **argv)
{
	bool inetd = options_have(&x->options, OPTION_INETD);
	bool listen = options_have(&x->options, OPTION_LISTEN);
	bool proxy = x->options.proxy;

	if (proxy + inetd + listen != 1)
		return complain_usage("serve takes one of --proxy=PATH, --inetd, --listen");
	if (!proxy && argc < 2)
		return complain_usage("serve %s --%s needs a command behind --", argv[0],
			inetd ? "inetd" : "listen");
	if (!proxy && x->options.idle)
		return complain_usage("--idle goes with --proxy");
	if (listen && x->options.max)
		return complain_usage("--max does not go with --listen: the command accepts by itself");
	if (listen && x->options.hold)
		return complain_usage("--hold does not go with --listen");
	if (proxy && options_have(&x->options, OPTION_FDS))
		return complain_usage("--fds does not go with --proxy, which passes on bytes");
	if (proxy && argc > 1)
		return complain_usage("serve --proxy takes no command");
	if (!name_is_valid(argv[0], strlen(argv[0])))
		return complain_usage("'%s' cannot be the name of an entrypoint", argv[0]);
	return STATUS_DONE;
}

static int
execute(struct context *x, char *helper, int argc, char **argv)
{
	const struct options *o = &x->options;
	cleanup(arguments_deinit) struct arguments a = {
		.v = calloc((size_t)argc + 11, sizeof(char *)),
		.owned = calloc(9, sizeof(char *)), /* as there are options below */
	};

	if (!a.v || !a.owned)
		return complain(ENOMEM, NULL, "serve");
	add(&a, helper);
	if (options_have(o, OPTION_ONCE))
		add_option(&a, "once", NULL);
	if (options_have(o, OPTION_FDS))
		add_option(&a, "fds", NULL);
	if (o->as)
		add_option(&a, "as", o->as);
	if (o->hold)
		add_option(&a, "hold", o->hold);
	if (o->wait)
		add_option(&a, "wait", o->wait);
	if (o->max)
		add_option(&a, "max", o->max);
	if (o->socket)
		add_option(&a, "socket", o->socket);
	if (o->idle)
		add_option(&a, "idle", o->idle);
	add(&a, (char *)"--");
	add(&a, argv[0]);
	if (o->proxy)
		add(&a, (char *)(size_t)o->proxy);
	for (int i = 1; i < argc; i++)
		add(&a, argv[i]);
	if (a.failed)
		return complain(ENOMEM, NULL, "serve");
	execv(helper, a.v);
	return complain(errno, NULL, "%s", helper);
}

static int
run_serve(struct context *x, int argc, char **argv)
{
	const char *libexec = getenv("CAPFS_LIBEXEC");
	cleanup_text struct text helper = {};
	int status = check(x, argc, argv);

	if (status == STATUS_DONE)
		status = set_root(x);
	if (status != STATUS_DONE)
		return status;
	text_addf(&helper, "%s/%s", libexec && *libexec ? libexec : LIBEXECDIR,
		x->options.proxy
			? "capfs-relay"
			: options_have(&x->options, OPTION_LISTEN) ? "capfs-listen"
								   : "capfs-inetd");
	if (text_done(&helper) < 0)
		return complain(ENOMEM, NULL, "serve");
	return execute(x, helper.data, argc, argv);
}

const struct command command_serve = {
	.name = "serve",
	.arguments = "NAME --proxy=PATH | --inetd|--listen [OPTION…] -- COMMAND [ARGUMENT…]",
	.summary = "serve an entrypoint in front of a socket, by a process per connection, or "
		   "by one that accepts",
	.options = OPTION_PROXY | OPTION_INETD | OPTION_ONCE | OPTION_WAIT | OPTION_IDLE |
		   OPTION_MAX | OPTION_SOCKET | OPTION_LISTEN | OPTION_AS |
		   OPTION_HOLD | OPTION_FDS,
	.n_min = 1,
	.n_max = -1,
	.run = run_serve,
};
