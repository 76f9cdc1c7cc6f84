/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl request, requests, approve, refuse, yield: what sessions ask of each other, and what is decided. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "capctl/command.h"

#define WAIT_DEFAULT 30

/* --- asking --- */

/* " timeout=S", and how long that is. Returns: 0, or STATUS_USAGE, having said so. */
static int
add_timeout(const struct context *x, struct text *command, uint64_t *ret_usec)
{
	uint64_t seconds = WAIT_DEFAULT;
	const char *wait = x->options.wait;

	if (wait && number_parse(wait, strlen(wait), false, &seconds) < 0)
		return complain_usage("--wait is a number of seconds, and not '%s'", wait);
	text_addf(command, " timeout=%" PRIu64, seconds);
	*ret_usec = seconds < UINT32_MAX ? TIMEOUT_USEC + seconds * 1000000 : UINT64_MAX;
	return 0;
}

/* Asks for COMMAND in FILE of a session's directory, and prints what comes of it. */
static int
ask(struct context *x, const char *file, struct text *node, struct text *command)
{
	cleanup_free char *answer = NULL;
	uint64_t timeout = 0;
	int e, status = add_timeout(x, command, &timeout);

	if (status != STATUS_DONE)
		return status;
	node_append(node, file);
	if (text_done(node) < 0 || text_done(command) < 0)
		return complain(ENOMEM, NULL, "%s", file);
	e = capc_write(x->session, node->data, command->data, &answer, timeout);
	if (e < 0)
		return complain(e, answer, "%s", file);
	puts(answer);
	return STATUS_DONE;
}

/* What has no '=' at first is the name of a slot, or that quota is meant. */
static int
run_request(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, command = {};
	bool is_name = !strchr(argv[0], '=') && strcmp(argv[0], "quota") != 0;
	int status = STATUS_DONE;

	if (is_name)
		status = command_word(&command, "name", argv[0]);
	if (status == STATUS_DONE)
		status = command_words(&command, argv + is_name, argc - is_name);
	if (status == STATUS_DONE)
		status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	return status == STATUS_DONE ? ask(x, "request", &node, &command) : status;
}

const struct command command_request = {
	.name = "request",
	.arguments = "[--wait=S] NAME [type=TYPE] [REDUCTIONS] | quota KIND=N...",
	.summary = "ask the parent for a slot, or for quota, and wait for the answer; prints it",
	.options = OPTION_WAIT,
	.n_min = 1,
	.n_max = -1,
	.run = run_request,
};

static int
run_yield(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, command = {};
	int status = command_words(&command, argv + 1, argc - 1);

	if (status == STATUS_DONE)
		status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status == STATUS_DONE && session_node(argv[0], &node) < 0)
		status = complain_usage("'%s' is not the name of a session", argv[0]);
	return status == STATUS_DONE ? ask(x, "yield", &node, &command) : status;
}

const struct command command_yield = {
	.name = "yield",
	.arguments = "[--wait=S] SESSION KIND=N...",
	.summary = "ask a session for some of its quota, and wait for the answer; prints what it gives",
	.options = OPTION_WAIT,
	.n_min = 2,
	.n_max = -1,
	.run = run_yield,
};

/* --- deciding --- */

/* Connects, and gives the directory of the session that decides. Returns: as context_begin(). */
static int
begin(struct context *x, struct text *ret_node)
{
	int status = context_open(x);

	text_add(ret_node, "");
	return status == STATUS_DONE ? context_session(x, ret_node) : status;
}

static void
print_ask(const struct capc_ask *a, void *data)
{
	printf("id=%" PRIu64, a->id);
	if (a->from)
		printf(" from=%s", a->from);
	if (a->what == CAPC_ASK_SLOT)
		printf(" type=%s name=%s", a->type, a->name);
	else
		printf(" %s", a->what == CAPC_ASK_QUOTA ? "quota" : "yield");
	if (a->rights)
		printf(" rights=%s", a->rights);
	printf("%s%s\n", *a->limits ? " " : "", a->limits);
}

/* A reader that went away ends it by SIGPIPE or here. */
static int
follow(capc_session *s)
{
	struct pollfd poller = {.fd = capc_session_fd(s), .events = POLLIN};
	int e = capc_pager(s, print_ask, NULL);

	while (e == 0) {
		poll(&poller, 1, -1);
		e = capc_session_process(s);
		if (e == 0 && output_done(STATUS_DONE) != STATUS_DONE)
			return STATUS_FAILED;
	}
	return complain(e, capc_session_reason(s), "requests");
}

/* On a connection to that very session, which is the one that decides. */
static int
follow_below(struct context *x, const char *node)
{
	cleanup_text struct text path = {};
	capc_session *s;
	int e, status;

	text_addf(&path, "%s/%s", x->place.root, node);
	if (text_done(&path) < 0)
		return complain(ENOMEM, NULL, "requests");
	e = capc_session_open(path.data, TIMEOUT_USEC, &s);
	if (e < 0)
		return complain(e, NULL, "%s", path.data);
	status = follow(s);
	capc_session_free(s);
	return status;
}

static int
run_requests(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {}, t = {};
	int e, status = begin(x, &node);

	if (status != STATUS_DONE)
		return status;
	if (options_have(&x->options, OPTION_FOLLOW))
		return node.n > 0 ? follow_below(x, node.data) : follow(x->session);
	e = context_read(x, node.data, "requests", &t);
	if (e < 0)
		return complain(e, capc_session_reason(x->session), "requests");
	fputs(t.data, stdout);
	return STATUS_DONE;
}

const struct command command_requests = {
	.name = "requests",
	.arguments = "[-f]",
	.summary = "print what a session is asked for, and nobody has decided; -f waits for more",
	.options = OPTION_FOLLOW,
	.run = run_requests,
};

/* Where that id is answered: what the parent wants back stands in a file of its own. */
static int
find_file(struct context *x, const char *node, const char *id, const char **ret)
{
	cleanup_text struct text asked = {}, begin = {};
	int e = context_read(x, node, "yield", &asked);

	text_addf(&begin, "id=%s ", id);
	if (e < 0 || text_done(&begin) < 0)
		return complain(e < 0 ? e : ENOMEM, capc_session_reason(x->session), "%s", id);
	*ret = strncmp(asked.data, begin.data, begin.n) == 0 ? "yield" : "requests";
	return STATUS_DONE;
}

static int
answer(struct context *x, const char *verb, const char *id, const struct text *words)
{
	cleanup_text struct text node = {}, what = {};
	const char *file = NULL;
	int status = text_done(words) < 0 ? complain(ENOMEM, NULL, "%s", verb) : begin(x, &node);

	if (status == STATUS_DONE)
		status = find_file(x, node.data, id, &file);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "%s %s", verb, id);
	if (text_done(&what) < 0)
		return complain(ENOMEM, NULL, "%s", verb);
	return context_write(x, node.data, file, words->data, strcmp(verb, "approve") == 0, what.data);
}

/* A slot, and what is taken from it; or amounts. */
static int
run_approve(struct context *x, int argc, char **argv)
{
	cleanup_text struct text words = {};
	bool is_slot = !strchr(argv[1], '=');
	int status = command_word(&words, "id", argv[0]);

	if (status == STATUS_DONE && is_slot)
		status = command_word(&words, "slot", argv[1]);
	if (status == STATUS_DONE)
		status = command_words(&words, argv + 1 + is_slot, argc - 1 - is_slot);
	return status == STATUS_DONE ? answer(x, "approve", argv[0], &words) : status;
}

const struct command command_approve = {
	.name = "approve",
	.arguments = "ID SLOT [REDUCTIONS] | ID KIND=N...",
	.summary = "give what is asked for: derived from a slot of the session, or quota; prints it",
	.n_min = 2,
	.n_max = -1,
	.run = run_approve,
};

static int
run_refuse(struct context *x, int argc, char **argv)
{
	cleanup_text struct text words = {};
	int status = command_word(&words, "id", argv[0]);

	text_add(&words, " refuse");
	for (int i = 1; i < argc; i++)
		text_addf(&words, " %s", argv[i]);
	return status == STATUS_DONE ? answer(x, "refuse", argv[0], &words) : status;
}

const struct command command_refuse = {
	.name = "refuse",
	.arguments = "ID [REASON]",
	.summary = "give nothing of what is asked for, and say why",
	.n_min = 1,
	.n_max = -1,
	.run = run_refuse,
};
