/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl originate, signal, thread: capabilities for which the daemon itself answers, from their origin on.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/number.h"
#include "capctl/command.h"

static int
run_originate(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, how = {}, what = {};
	int status = command_word(&how, "type", argv[0]);

	if (status == STATUS_DONE)
		status = command_word(&how, "as", argv[1]);
	if (status == STATUS_DONE)
		status = command_words(&how, argv + 2, argc - 2);
	if (status == STATUS_DONE)
		status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "originate %s %s", argv[0], argv[1]);
	if (text_done(&how) < 0 || text_done(&what) < 0)
		return complain(ENOMEM, NULL, "originate");
	return context_write(x, node.data ? node.data : "", "originate", how.data, true, what.data);
}

const struct command command_originate = {
	.name = "originate",
	.arguments = "TYPE NAME [KEY=VALUE…]",
	.summary = "make a slot for what the daemon itself answers (signal, session, thread, fd); prints its name and id",
	.n_min = 2,
	.n_max = -1,
	.run = run_originate,
};

/* Connects, and gives the node of a slot of which nothing more is asked. Returns: an exit status. */
static int
begin(struct context *x, const char *word, struct text *ret_node)
{
	const struct text nothing = {};

	return context_begin(x, STATUS_DONE, "caps", word, &nothing, ret_node);
}

/* The signal of a slot, and its node. Returns: an exit status. */
static int
open_signal(struct context *x, const char *word, struct text *ret_node, capc_signal **ret)
{
	int e, status = begin(x, word, ret_node);

	if (status != STATUS_DONE)
		return status;
	e = capc_signal_new(x->session, ret_node->data, ret);
	return e < 0 ? complain(e, NULL, "%s", word) : STATUS_DONE;
}

/*
 * Who may not raise is told so by no answer: nothing that is raised has one. Where it cannot be seen what the slot
 * may do that shows in the events of its session.
 */
static int
check_may_raise(struct context *x, const char *word, const char *node)
{
	cleanup_text struct text info = {};
	const char *rights;

	if (context_read(x, node, "info", &info) < 0 || text_done(&info) < 0)
		return STATUS_DONE;
	rights = strstr(info.data, "\nrights=");
	if (!rights)
		return STATUS_DONE;
	rights += strlen("\nrights=");
	for (size_t n; (n = strcspn(rights, ",\n")) > 0; rights += n + (rights[n] == ','))
		if (n == strlen("raise") && memcmp(rights, "raise", n) == 0)
			return STATUS_DONE;
	return complain(EPERM, "it lacks right 'raise'", "raise %s", word);
}

static int
run_raise(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	capc_signal *signal = NULL;
	uint64_t n = 1;
	int e, status;

	if (argc > 1 && (number_parse(argv[1], strlen(argv[1]), false, &n) < 0 || n == 0))
		return complain_usage("'%s' is no number above 0", argv[1]);
	status = open_signal(x, argv[0], &node, &signal);
	if (status == STATUS_DONE)
		status = check_may_raise(x, argv[0], node.data);
	if (status != STATUS_DONE) {
		capc_signal_free(signal);
		return status;
	}
	e = capc_signal_raise(signal, n);
	if (e < 0)
		status = complain(e, capc_session_reason(x->session), "raise %s", argv[0]);
	capc_signal_free(signal);
	return status;
}

const struct command command_signal_raise = {
	.name = "signal raise",
	.arguments = "SLOT [N]",
	.summary = "add N, 1 if it is not said, to the count of a signal",
	.n_min = 1,
	.n_max = 2,
	.run = run_raise,
};

/* The second word, if there is one: how long to wait. Returns: an exit status. */
static int
take_seconds(int argc, char **argv, uint64_t *ret)
{
	*ret = CAPC_FOREVER;
	if (argc > 1 && (number_parse(argv[1], strlen(argv[1]), false, ret) < 0 ||
				__builtin_mul_overflow(*ret, 1000000, ret)))
		return complain_usage("'%s' is no number of seconds", argv[1]);
	return STATUS_DONE;
}

static int
run_wait(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	capc_signal *signal = NULL;
	uint64_t timeout, n;
	int e, status = take_seconds(argc, argv, &timeout);

	if (status == STATUS_DONE)
		status = open_signal(x, argv[0], &node, &signal);
	if (status != STATUS_DONE)
		return status;
	e = capc_signal_wait(signal, timeout, &n);
	if (e < 0)
		status = complain(e, capc_session_reason(x->session), "wait for %s", argv[0]);
	else
		printf("%" PRIu64 "\n", n);
	capc_signal_free(signal);
	return status;
}

const struct command command_signal_wait = {
	.name = "signal wait",
	.arguments = "SLOT [SECONDS]",
	.summary = "wait until a signal is raised, take its count, and print that",
	.n_min = 1,
	.n_max = 2,
	.run = run_wait,
};

/* The thread of a slot. Returns: an exit status. */
static int
open_thread(struct context *x, const char *word, capc_thread **ret)
{
	cleanup_text struct text node = {};
	int e, status = begin(x, word, &node);

	if (status != STATUS_DONE)
		return status;
	e = capc_thread_through(x->session, node.data, TIMEOUT_USEC, ret);
	return e < 0 ? complain(e, capc_session_reason(x->session), "%s", word) : STATUS_DONE;
}

static int
run_thread_ctl(struct context *x, int argc, char **argv)
{
	cleanup_free char *reason = NULL;
	capc_thread *t = NULL;
	int e, status = open_thread(x, argv[0], &t);

	if (status != STATUS_DONE)
		return status;
	e = capc_thread_ctl(t, argv[1], &reason);
	if (e < 0)
		status = complain(e, reason, "%s %s", argv[1], argv[0]);
	capc_thread_free(t);
	return status;
}

const struct command command_thread_ctl = {
	.name = "thread ctl",
	.arguments = "SLOT kill|pause|resume|signal=N|affinity=LO-HI,...",
	.summary = "do that to the thread of a slot",
	.n_min = 2,
	.n_max = 2,
	.run = run_thread_ctl,
};

static void
print_exit(const capc_thread *t, const struct capc_exit *end)
{
	printf("thread=%s ", capc_thread_id(t));
	if (end->error)
		printf("step=%s errno=%s\n", end->step, error_name(end->error));
	else if (WIFSIGNALED(end->status))
		printf("signal=%d\n", WTERMSIG(end->status));
	else
		printf("code=%d\n", WEXITSTATUS(end->status));
}

static int
run_thread_wait(struct context *x, int argc, char **argv)
{
	struct capc_exit end;
	capc_thread *t = NULL;
	uint64_t timeout;
	int e, status = take_seconds(argc, argv, &timeout);

	if (status == STATUS_DONE)
		status = open_thread(x, argv[0], &t);
	if (status != STATUS_DONE)
		return status;
	e = capc_thread_wait(t, timeout, &end);
	if (e < 0)
		status = complain(e, NULL, "wait for %s", argv[0]);
	else
		print_exit(t, &end);
	capc_thread_free(t);
	return status;
}

const struct command command_thread_wait = {
	.name = "thread wait",
	.arguments = "SLOT [SECONDS]",
	.summary = "wait until the thread of a slot has ended, and print how",
	.n_min = 1,
	.n_max = 2,
	.run = run_thread_wait,
};
