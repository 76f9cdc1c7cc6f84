/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl session create, session close, transfer-quota. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "capctl/command.h"
#include "capctl/owner.h"

static int
create(struct context *x, const char *node, const char *name, const char *quota,
	const struct owner *owner)
{
	cleanup_free char *reason = NULL;
	cleanup_free char *ignored = NULL;
	int e = context_create(x, node, quota, &reason);

	if (e < 0)
		return complain(e, reason, "session create %s", name);
	e = owner_set(x->place.root, node, owner);
	if (e == 0)
		return STATUS_DONE;
	/* All or nothing: a session with the wrong owner is in nobody's interest. */
	complain(e, NULL, "session create %s: owner and mode", name);
	if (context_remove(x, node, &ignored) < 0)
		fprintf(stderr, "capctl: session create %s: the session is left behind\n", name);
	return STATUS_FAILED;
}

static int
run_create(struct context *x, int argc, char **argv)
{
	struct owner owner = OWNER_UNCHANGED;
	cleanup_text struct text node = {};
	cleanup_text struct text quota = {};
	int status = STATUS_DONE;

	if (x->options.owner)
		status = owner_parse(x->options.owner, &owner);
	if (status == STATUS_DONE && x->options.mode)
		status = owner_parse_mode(x->options.mode, &owner);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status == STATUS_DONE)
		status = command_words(&quota, argv + 1, argc - 1);
	if (status != STATUS_DONE)
		return status;
	if (!*argv[0] || session_node(argv[0], &node) < 0)
		return complain_usage("'%s' cannot be the name of a session", argv[0]);
	if (text_done(&node) < 0 || text_done(&quota) < 0)
		return complain(ENOMEM, NULL, "session create");
	status = context_open(x);
	if (status != STATUS_DONE)
		return status;
	return create(x, node.data, argv[0], quota.data ? quota.data : "", &owner);
}

const struct command command_session_create = {
	.name = "session create",
	.arguments = "NAME [--owner=USER[:GROUP]] [--mode=MODE] [KIND=N…]",
	.summary = "make a child session, with a first donation of quota",
	.options = OPTION_OWNER | OPTION_MODE,
	.n_min = 1,
	.n_max = -1,
	.run = run_create,
};

static int
run_close(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	cleanup_text struct text name = {};
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	if (!*argv[0] || session_node(argv[0], &node) < 0)
		return complain_usage("'%s' cannot be the name of a session", argv[0]);
	session_name(node.data, &name);
	if (text_done(&node) < 0 || text_done(&name) < 0)
		return complain(ENOMEM, NULL, "session close");
	e = capc_session_close(x->session, name.data,
		options_have(&x->options, OPTION_ALL) ? CAPC_CLOSE_ALL : 0);
	if (e == 0)
		return STATUS_DONE;
	return complain(e, capc_session_reason(x->session), "session close %s", argv[0]);
}

const struct command command_session_close = {
	.name = "session close",
	.arguments = "NAME [--all]",
	.summary = "close a child session; --all ends its servers and its own children first",
	.options = OPTION_ALL,
	.n_min = 1,
	.n_max = 1,
	.run = run_close,
};

static int
run_transfer_quota(struct context *x, int argc, char **argv)
{
	const struct options *o = &x->options;
	cleanup_text struct text node = {};
	cleanup_text struct text how = {};
	cleanup_text struct text what = {};
	int status = STATUS_DONE;

	if (o->to && o->from)
		return complain_usage("transfer-quota takes one of --to, --from");
	if (o->to || o->from)
		status = command_word(&how, o->to ? "to" : "from", o->to ? o->to : o->from);
	if (status == STATUS_DONE)
		status = command_words(&how, argv, argc);
	if (status == STATUS_DONE)
		status = context_open(x);
	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "transfer-quota %s", how.data ? how.data : "");
	if (text_done(&how) < 0 || text_done(&what) < 0)
		return complain(ENOMEM, NULL, "transfer-quota");
	return context_write(
		x, node.data ? node.data : "", "transfer_quota", how.data, false, what.data);
}

const struct command command_transfer_quota = {
	.name = "transfer-quota",
	.arguments = "--to=SESSION|--from=SESSION KIND=N…",
	.summary = "move quota between a session and its child",
	.options = OPTION_TO | OPTION_FROM,
	.n_min = 1,
	.n_max = -1,
	.run = run_transfer_quota,
};
