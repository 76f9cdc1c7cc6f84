/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl(1): the tree from the command line. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capctl/command.h"

static const struct command *const commands[] = {
	&command_tree,
	&command_show,
	&command_holders,
	&command_grant,
	&command_replicate,
	&command_share,
	&command_split,
	&command_transfer,
	&command_reduce,
	&command_adjust,
	&command_revoke,
	&command_drop,
	&command_visit,
	&command_upgrade,
	&command_answer,
	&command_request,
	&command_requests,
	&command_approve,
	&command_refuse,
	&command_policy,
	&command_yield,
	&command_alias,
	&command_unalias,
	&command_originate,
	&command_signal_raise,
	&command_signal_wait,
	&command_post,
	&command_fetch,
	&command_dataspace_create,
	&command_dataspace_cat,
	&command_thread_ctl,
	&command_thread_wait,
	&command_session_create,
	&command_session_close,
	&command_transfer_quota,
	&command_run,
	&command_apply,
	&command_checkpoint,
	&command_restore,
	&command_shell,
	&command_serve,
	&command_args_get,
	&command_args_list,
	&command_args_show,
	&command_args_encode,
	&command_events,
	&command_faults,
	&command_graph,
	&command_why,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int
print_help(void)
{
	fputs("usage: capctl [--cap=DIR] [--via=SLOT] [--session=SESSION] COMMAND …\n\n", stdout);
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %s %s\n      %s\n", commands[i]->name, commands[i]->arguments,
			commands[i]->summary);
	fputs("\n"
	      "SLOT is a name (kv), SESSION:SLOT (app:kv) or a path (sessions/app/caps/kv).\n"
	      "SESSION is the path of a descendant (app, app/db). REDUCTIONS are "
	      "rights=call,grant\n"
	      "methods=LO-HI,... calls=N conns=N rate=N/s expires=SECONDS|TIME immutable; KIND is caps,\n"
	      "sockets, threads, ram or inflight. The tree is at --cap=DIR, else $CAPFS, else /cap.\n"
	      "See capctl(1).\n",
		stdout);
	return output_done(STATUS_DONE);
}

/* How many words of ARGV are the command's name; 0: it is another one. */
static int
match(const struct command *c, int argc, char **argv)
{
	const char *blank = strchr(c->name, ' ');
	size_t n = blank ? (size_t)(blank - c->name) : strlen(c->name);

	if (strlen(argv[0]) != n || memcmp(argv[0], c->name, n) != 0)
		return 0;
	if (!blank)
		return 1;
	return argc > 1 && strcmp(argv[1], blank + 1) == 0 ? 2 : 0;
}

/* The commands whose first of two words it is. Returns: whether there are any. */
static bool
print_usage_of(const char *word)
{
	size_t n = strlen(word);
	bool found = false;

	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strncmp(commands[i]->name, word, n) == 0 && commands[i]->name[n] == ' ') {
			command_usage(commands[i], stderr);
			found = true;
		}
	return found;
}

static void
set_place(struct context *x)
{
	x->place.root = x->options.cap ? x->options.cap : getenv("CAPFS");
	if (!x->place.root || !*x->place.root)
		x->place.root = "/cap";
	x->place.session = x->options.session;
}

static int
run(const struct command *c, struct context *x, int argc, char **argv)
{
	int status, first = 0;

	/* ARGV[0] is the last word of the command's name: getopt_long skips it. */
	if (!c->own_options)
		first = options_parse(&x->options, argc, argv, OPTIONS_GLOBAL | c->options, false);
	if (first < 0)
		return command_usage(c, stderr);
	if (options_have(&x->options, OPTION_HELP)) {
		command_usage(c, stdout);
		return output_done(STATUS_DONE);
	}
	if (options_have(&x->options, OPTION_VERSION))
		return command_version();
	if (argc - first < c->n_min || (c->n_max >= 0 && argc - first > c->n_max))
		return command_usage(c, stderr);
	if (c->by_path && x->options.via)
		return complain_usage("%s does not go through a slot", c->name);
	set_place(x);
	status = c->run(x, argc - first, argv + first);
	context_deinit(x);
	return output_done(status);
}

int
main(int argc, char **argv)
{
	struct context x = {};
	int first = options_parse(&x.options, argc, argv, OPTIONS_GLOBAL, true);

	if (first < 0)
		return STATUS_USAGE;
	if (options_have(&x.options, OPTION_HELP) && first == argc)
		return print_help();
	if (options_have(&x.options, OPTION_VERSION))
		return command_version();
	if (first == argc)
		return complain_usage("no command; capctl --help lists them");
	for (size_t i = 0; i < N_COMMANDS; i++) {
		int n = match(commands[i], argc - first, argv + first);

		if (n > 0)
			return run(commands[i], &x, argc - first - n + 1, argv + first + n - 1);
	}
	if (strcmp(argv[first], "help") == 0)
		return print_help();
	if (print_usage_of(argv[first]))
		return STATUS_USAGE;
	return complain_usage("there is no command '%s'; capctl --help lists them", argv[first]);
}
