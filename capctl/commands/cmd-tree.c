/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl tree: sessions, slots and entrypoints, each indented below its session. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capctl/command.h"

#define INDENT 2

static void
add_field(struct text *t, const char *info, const char *key, const char *shown)
{
	cleanup_text struct text value = {};

	if (field_find(info, NULL, key, &value) && value.n > 0)
		text_addf(t, " %s%s", shown, value.data);
}

static void
add_limit(struct text *t, const char *info, const char *kind)
{
	cleanup_text struct text limit = {};
	cleanup_text struct text used = {};

	if (field_find(info, kind, "limit", &limit) && field_find(info, kind, "used", &used))
		text_addf(t, " %s=%s/%s", kind, used.data ? used.data : "",
			limit.data ? limit.data : "");
}

static void
describe_slot(const char *info, struct text *t)
{
	cleanup_text struct text expires = {};

	add_field(t, info, "entrypoint", "-> ");
	add_field(t, info, "rights", "rights=");
	add_limit(t, info, "calls");
	add_limit(t, info, "conns");
	if (field_find(info, NULL, "expires", &expires) && expires.n > 0 &&
		strcmp(expires.data, "never") != 0)
		text_addf(t, " expires=%s", expires.data);
	add_field(t, info, "children", "children=");
	add_field(t, info, "served", "served=");
}

static void
describe_entrypoint(const char *info, struct text *t)
{
	add_field(t, info, "state", "");
	add_field(t, info, "thread", "thread=");
	add_field(t, info, "objects", "objects=");
	add_field(t, info, "connections", "connections=");
}

static int
print_entity(struct context *x, const char *folder_node, const char *name, int depth,
	void (*describe)(const char *info, struct text *t))
{
	cleanup_text struct text node = {};
	cleanup_text struct text info = {};
	cleanup_text struct text line = {};
	int e;

	text_addf(&node, "%s/%s", folder_node, name);
	e = text_done(&node);
	if (e == 0)
		e = context_read(x, node.data, "info", &info);
	if (e < 0)
		return e == -ENOENT ? 0 : e; /* it has ended meanwhile */
	describe(info.data, &line);
	if (text_done(&line) < 0)
		return -ENOMEM;
	printf("%*s%s/%s%s\n", depth * INDENT, "", node_name(folder_node), name,
		line.data ? line.data : "");
	return 0;
}

static int
print_folder(struct context *x, const char *session, const char *folder, int depth,
	void (*describe)(const char *info, struct text *t))
{
	cleanup(name_list_deinit) struct name_list names = {};
	cleanup_text struct text node = {};
	int e;

	text_add(&node, session);
	node_append(&node, folder);
	e = text_done(&node);
	if (e == 0)
		e = context_list(x, session, folder, &names);
	for (size_t i = 0; e == 0 && i < names.n; i++)
		e = print_entity(x, node.data, names.names[i], depth, describe);
	return e;
}

static int
print_session(struct context *x, const char *node, int depth)
{
	cleanup(name_list_deinit) struct name_list names = {};
	cleanup_text struct text state = {};
	const char *name = depth > 0 ? node_name(node) : x->place.label;
	int e = context_read(x, node, "state", &state);

	if (e < 0)
		return e == -ENOENT && depth > 0 ? 0 : e;
	state.data[strcspn(state.data, "\n")] = '\0';
	if (depth == 0 && *node)
		name = node;
	printf("%*s%s%s%s%s\n", depth * INDENT, "", depth > 0 ? "sessions/" : "", name,
		strcmp(state.data, "running") == 0 ? "" : " ",
		strcmp(state.data, "running") == 0 ? "" : state.data);
	e = print_folder(x, node, "entrypoints", depth + 1, describe_entrypoint);
	if (e == 0)
		e = print_folder(x, node, "caps", depth + 1, describe_slot);
	if (e == 0)
		e = context_list(x, node, "sessions", &names);
	for (size_t i = 0; e == 0 && i < names.n; i++) {
		cleanup_text struct text child = {};

		text_add(&child, node);
		node_append(&child, "sessions");
		node_append(&child, names.names[i]);
		e = text_done(&child);
		if (e == 0)
			e = print_session(x, child.data, depth + 1);
	}
	return e == -ENOENT && depth > 0 ? 0 : e;
}

static int
run_tree(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = argc > 0 ? context_node(x, "sessions", argv[0], &node)
				  : context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	if (node_kind(node.data ? node.data : "") != NODE_SESSION)
		return complain_usage("'%s' is not a session", argv[0]);
	e = print_session(x, node.data ? node.data : "", 0);
	return e < 0 ? complain(e, capc_session_reason(x->session), "tree") : STATUS_DONE;
}

const struct command command_tree = {
	.name = "tree",
	.arguments = "[SESSION]",
	.summary = "print sessions, entrypoints and slots as an indented tree",
	.n_max = 1,
	.run = run_tree,
};
