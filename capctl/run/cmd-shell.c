/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl shell: `capctl run` of the user's shell, for which sockets' nodes can be opened. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "capctl/command.h"
#include "capctl/run/run.h"
#include "capctl/run/start.h"

static int
place_of_session(struct context *x, struct text *ret)
{
	cleanup_text struct text node = {};
	int r;

	if (context_session(x, &node) != 0)
		return STATUS_USAGE;
	if (node.data && node_kind(node.data) != NODE_SESSION)
		return complain_usage("'%s' is not a session", node.data);
	if (context_open(x) != 0)
		return STATUS_CANNOT;
	text_add(ret, "--env=");
	r = start_place(x, node.data ? node.data : "", ret);
	if (r == 0)
		return 0;
	complain(r, NULL, "shell");
	return STATUS_CANNOT;
}

static int
run_shell(struct context *x, int argc, char **argv)
{
	cleanup_text struct text place = {};
	const char *shell = getenv("SHELL");
	char open_sockets[] = "--open-sockets", end[] = "--", fallback[] = "/bin/sh",
	     name[] = "shell";
	char *words[] = {name, open_sockets, NULL, end, fallback, NULL};
	int status;

	if (argc > 0)
		x->place.session = argv[0];
	status = place_of_session(x, &place);
	/* The other command makes a connection of its own. */
	context_deinit(x);
	if (status != 0)
		return status;
	words[2] = place.data;
	if (shell && *shell == '/')
		words[4] = (char *)(uintptr_t)shell;
	return command_run.run(x, sizeof(words) / sizeof(words[0]) - 1, words);
}

const struct command command_shell = {
	.name = "shell",
	.by_path = true,
	.arguments = "[SESSION]",
	.summary = "run a shell in a session, for which a slot's socket can be opened",
	.n_max = 1,
	.run = run_shell,
};
