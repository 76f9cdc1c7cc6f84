/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl events, capctl faults: the log of a session, and what of it are faults. Following asks again
 * and again for what is behind the last byte that was read: it works wherever the control protocol does,
 * also without the mount in sight.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "capctl/command.h"

#define FOLLOW_PAUSE_NSEC 200000000L

static int
print_log(struct context *x, const char *name)
{
	const struct timespec pause = {.tv_nsec = FOLLOW_PAUSE_NSEC};
	bool follow = options_have(&x->options, OPTION_FOLLOW);
	cleanup_text struct text node = {};
	uint64_t offset = 0;
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	node_append(&node, name);
	if (text_done(&node) < 0)
		return complain(ENOMEM, NULL, "%s", name);
	for (;;) {
		cleanup_free char *log = NULL;

		e = capc_read_from(x->session, node.data, &offset, &log, TIMEOUT_USEC);
		if (e < 0)
			return complain(e, capc_session_reason(x->session), "%s", name);
		fputs(log, stdout);
		/* A reader that went away ends it by SIGPIPE or here. */
		status = output_done(STATUS_DONE);
		if (!follow || status != STATUS_DONE)
			return status;
		if (!*log)
			nanosleep(&pause, NULL);
	}
}

static int
run_events(struct context *x, int argc, char **argv)
{
	return print_log(x, "events");
}

static int
run_faults(struct context *x, int argc, char **argv)
{
	return print_log(x, "faults");
}

const struct command command_events = {
	.name = "events",
	.arguments = "[-f]",
	.summary = "print the events of a session and those below it; -f goes on with new ones",
	.options = OPTION_FOLLOW,
	.run = run_events,
};

const struct command command_faults = {
	.name = "faults",
	.arguments = "[-f]",
	.summary = "print which programs of a session and those below it ended as they should not",
	.options = OPTION_FOLLOW,
	.run = run_faults,
};
