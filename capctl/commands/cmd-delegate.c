/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl grant, replicate, transfer, reduce, revoke, drop, alias, unalias: what is done with one slot. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "capctl/command.h"

/* SLOT, a word for KEY, and more words: the verbs that make a slot and print its name. */
static int
run_verb(struct context *x, int argc, char **argv, const char *verb, const char *key)
{
	cleanup_text struct text node = {};
	cleanup_text struct text how = {};
	cleanup_text struct text what = {};
	int status = command_word(&how, key, argv[1]);

	if (status == STATUS_DONE)
		status = command_words(&how, argv + 2, argc - 2);
	status = context_begin(x, status, "caps", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "%s %s %s %s", verb, argv[0], key, argv[1]);
	if (text_done(&what) < 0)
		return complain(ENOMEM, NULL, "%s", verb);
	return context_write(x, node.data, verb, how.data, true, what.data);
}

static int
run_grant(struct context *x, int argc, char **argv)
{
	return run_verb(x, argc, argv, "grant", "to");
}

const struct command command_grant = {
	.name = "grant",
	.arguments = "SLOT SESSION [as=NAME] [REDUCTIONS]",
	.summary = "derive a slot in a descendant session; prints its name and id",
	.n_min = 2,
	.n_max = -1,
	.run = run_grant,
};

static int
run_replicate(struct context *x, int argc, char **argv)
{
	return run_verb(x, argc, argv, "replicate", "as");
}

const struct command command_replicate = {
	.name = "replicate",
	.arguments = "SLOT NAME [REDUCTIONS]",
	.summary = "derive a slot in the same session; prints its name and id",
	.n_min = 2,
	.n_max = -1,
	.run = run_replicate,
};

static int
run_split(struct context *x, int argc, char **argv)
{
	return run_verb(x, argc, argv, "split", "as");
}

const struct command command_split = {
	.name = "split",
	.arguments = "SLOT NAME rights=RIGHT,...|methods=LO-HI,...|calls=N",
	.summary = "give that part of a slot to a new one beside it; prints its name and id",
	.n_min = 3,
	.n_max = 3,
	.run = run_split,
};

static int
run_share(struct context *x, int argc, char **argv)
{
	return run_verb(x, argc, argv, "share", "with");
}

const struct command command_share = {
	.name = "share",
	.arguments = "SLOT children|subtree|siblings|SESSION|none [REDUCTIONS]",
	.summary = "let a slot appear in these sessions, now and later; or in other ones than before",
	.n_min = 2,
	.n_max = -1,
	.run = run_share,
};

static int
run_transfer(struct context *x, int argc, char **argv)
{
	return run_verb(x, argc, argv, "transfer", "to");
}

const struct command command_transfer = {
	.name = "transfer",
	.arguments = "SLOT SESSION [as=NAME]",
	.summary = "move a slot to a descendant session; prints its name and id there",
	.n_min = 2,
	.n_max = 3,
	.run = run_transfer,
};

static int
run_reduce(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	cleanup_text struct text how = {};
	cleanup_text struct text what = {};
	int status = command_words(&how, argv + 1, argc - 1);

	status = context_begin(x, status, "caps", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	text_addf(&what, "reduce %s", argv[0]);
	if (text_done(&what) < 0)
		return complain(ENOMEM, NULL, "reduce");
	return context_write(x, node.data, "reduce", how.data, false, what.data);
}

const struct command command_reduce = {
	.name = "reduce",
	.arguments = "SLOT REDUCTIONS",
	.summary = "shrink a slot in place, and with it all that was derived from it",
	.n_min = 2,
	.n_max = -1,
	.run = run_reduce,
};

static int
run_revoke(struct context *x, int argc, char **argv)
{
	const struct options *o = &x->options;
	cleanup_text struct text node = {};
	cleanup_text struct text how = {};
	cleanup_text struct text what = {};
	int status;

	if (!!o->from + !!o->id + options_have(o, OPTION_SELF) > 1)
		return complain_usage("revoke takes one of --from, --id, --self");
	text_addf(&what, "revoke %s", argv[0]);
	if (o->from) {
		status = command_word(&how, "to", o->from);
		text_addf(&what, " from %s", o->from);
	} else if (o->id) {
		status = command_word(&how, "id", o->id);
		text_addf(&what, " id=%s", o->id);
	} else {
		status = command_word(&how, NULL, options_have(o, OPTION_SELF) ? "self" : "1");
	}
	status = context_begin(x, status, "caps", argv[0], &how, &node);
	if (status != STATUS_DONE)
		return status;
	if (text_done(&what) < 0)
		return complain(ENOMEM, NULL, "revoke");
	return context_write(x, node.data, "revoke", how.data, true, what.data);
}

const struct command command_revoke = {
	.name = "revoke",
	.arguments = "SLOT [--from=SESSION | --id=N | --self]",
	.summary = "end what was derived from a slot: all of it, a session's, one; or the slot too",
	.options = OPTION_FROM | OPTION_ID | OPTION_SELF,
	.n_min = 1,
	.n_max = 1,
	.run = run_revoke,
};

static int
run_drop(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	cleanup_free char *reason = NULL;
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_node(x, "caps", argv[0], &node);
	if (status != STATUS_DONE)
		return status;
	if (node_kind(node.data) != NODE_SLOT)
		return complain_usage("'%s' is not a slot", argv[0]);
	e = context_remove(x, node.data, &reason);
	return e < 0 ? complain(e, reason, "drop %s", argv[0]) : STATUS_DONE;
}

const struct command command_drop = {
	.name = "drop",
	.arguments = "SLOT",
	.summary = "end a slot and all that was derived from it",
	.n_min = 1,
	.n_max = 1,
	.run = run_drop,
};

/* The node of an alias of SLOT, there or not. */
static int
alias_node(struct context *x, char **argv, struct text *t)
{
	int status = context_open(x);

	if (status == STATUS_DONE)
		status = context_node(x, "caps", argv[0], t);
	if (status != STATUS_DONE)
		return status;
	if (node_kind(t->data) != NODE_SLOT)
		return complain_usage("'%s' is not a slot", argv[0]);
	if (strchr(argv[1], '/'))
		return complain_usage("'%s' is not the name of a socket", argv[1]);
	node_append(t, "as");
	node_append(t, argv[1]);
	return text_done(t) < 0 ? complain(ENOMEM, NULL, "alias") : STATUS_DONE;
}

static int
run_alias(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	cleanup_free char *reason = NULL;
	int e, status = alias_node(x, argv, &node);

	if (status != STATUS_DONE)
		return status;
	e = context_create(x, node.data, "", &reason);
	return e < 0 ? complain(e, reason, "alias %s %s", argv[0], argv[1]) : STATUS_DONE;
}

const struct command command_alias = {
	.name = "alias",
	.arguments = "SLOT NAME",
	.summary = "give the socket of a slot, and of what is derived from it, another name",
	.n_min = 2,
	.n_max = 2,
	.run = run_alias,
};

static int
run_unalias(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	cleanup_free char *reason = NULL;
	int e, status = alias_node(x, argv, &node);

	if (status != STATUS_DONE)
		return status;
	e = context_remove(x, node.data, &reason);
	return e < 0 ? complain(e, reason, "unalias %s %s", argv[0], argv[1]) : STATUS_DONE;
}

const struct command command_unalias = {
	.name = "unalias",
	.arguments = "SLOT NAME",
	.summary = "take such a name back",
	.n_min = 2,
	.n_max = 2,
	.run = run_unalias,
};
