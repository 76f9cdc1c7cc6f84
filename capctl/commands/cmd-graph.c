/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl graph: the capability graph in DOT. Sessions are clusters; entrypoints are boxes, slots
 * are ellipses, and each arrow is a derivation, which begins at the entrypoint that is served.
 * Nodes are named by their labels, as `info` writes them, so that arrows from outside of what is
 * shown need no look-up.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capctl/command.h"

struct graph {
	struct context *context;
	struct text
		edges; /* printed behind all clusters: DOT puts a node where it is first named */
};

/* Splits "init/kv", an entrypoint's session and name, into the id of its node. */
static void
add_entrypoint_id(struct text *t, const char *name)
{
	const char *last = strrchr(name, '/');

	if (last)
		text_addf(t, "\"%.*s/entrypoints/%s\"", (int)(last - name), name, last + 1);
	else
		text_addf(t, "\"entrypoints/%s\"", name);
}

static void
print_entrypoint(int depth, const char *label, const char *name, const char *info)
{
	cleanup_text struct text state = {};

	field_find(info, NULL, "state", &state);
	printf("%*s\"%s/entrypoints/%s\" [label=\"%s\", shape=box%s];\n", depth, "", label, name,
		name, state.data && strcmp(state.data, "served") == 0 ? "" : ", style=dashed");
}

static void
add_edge(struct graph *g, const char *label, const char *name, const char *info)
{
	cleanup_text struct text parent = {};
	cleanup_text struct text entrypoint = {};

	field_find(info, NULL, "parent", &parent);
	if (parent.data && strcmp(parent.data, "none") != 0) {
		text_addf(&g->edges, " \"%s\"", parent.data);
	} else {
		if (!field_find(info, NULL, "entrypoint", &entrypoint) || !entrypoint.data)
			return;
		text_add(&g->edges, " ");
		add_entrypoint_id(&g->edges, entrypoint.data);
	}
	text_addf(&g->edges, " -> \"%s/caps/%s\";\n", label, name);
}

static void
print_slot(struct graph *g, int depth, const char *label, const char *name, const char *info)
{
	static const char *const kinds[] = {"calls", "conns"};
	cleanup_text struct text rights = {};
	cleanup_text struct text served = {};
	cleanup_text struct text limits = {};

	field_find(info, NULL, "rights", &rights);
	field_find(info, NULL, "served", &served);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		cleanup_text struct text limit = {};

		if (field_find(info, kinds[i], "limit", &limit) && limit.data)
			text_addf(&limits, "\\n%s=%s", kinds[i], limit.data);
	}
	printf("%*s\"%s/caps/%s\" [label=\"%s\\n%s%s\"%s];\n", depth, "", label, name, name,
		rights.data ? rights.data : "", limits.data ? limits.data : "",
		served.data && strcmp(served.data, "no") == 0 ? ", style=dashed" : "");
	add_edge(g, label, name, info);
}

/* The entities of one folder; those that end meanwhile are left out. */
static int
print_folder(struct graph *g, const char *node, const char *folder, const char *label, int depth)
{
	cleanup(name_list_deinit) struct name_list names = {};
	int e = context_list(g->context, node, folder, &names);

	for (size_t i = 0; e == 0 && i < names.n; i++) {
		cleanup_text struct text path = {};
		cleanup_text struct text info = {};

		text_add(&path, node);
		node_append(&path, folder);
		node_append(&path, names.names[i]);
		e = text_done(&path);
		if (e == 0)
			e = context_read(g->context, path.data, "info", &info);
		if (e == 0 && strcmp(folder, "caps") == 0)
			print_slot(g, depth, label, names.names[i], info.data);
		else if (e == 0)
			print_entrypoint(depth, label, names.names[i], info.data);
		if (e == -ENOENT)
			e = 0;
	}
	return e;
}

static int
print_session(struct graph *g, const char *node, int depth)
{
	cleanup(name_list_deinit) struct name_list names = {};
	cleanup_text struct text label = {};
	int e = context_read(g->context, node, "label", &label);

	if (e == 0)
		e = context_list(g->context, node, "sessions", &names);
	if (e < 0)
		return e == -ENOENT && depth > 1 ? 0 : e;
	label.data[strcspn(label.data, "\n")] = '\0';
	if (depth == 1)
		printf("digraph capabilities {\n rankdir=LR;\n");
	printf("%*ssubgraph \"cluster_%s\" {\n%*slabel=\"%s\";\n", depth, "", label.data, depth + 1,
		"", label.data);
	e = print_folder(g, node, "entrypoints", label.data, depth + 1);
	if (e == 0)
		e = print_folder(g, node, "caps", label.data, depth + 1);
	for (size_t i = 0; e == 0 && i < names.n; i++) {
		cleanup_text struct text child = {};

		text_add(&child, node);
		node_append(&child, "sessions");
		node_append(&child, names.names[i]);
		e = text_done(&child);
		if (e == 0)
			e = print_session(g, child.data, depth + 1);
	}
	printf("%*s}\n", depth, "");
	return e == -ENOENT && depth > 1 ? 0 : e;
}

static int
run_graph(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	struct graph g = {.context = x};
	int e, status = context_open(x);

	if (status == STATUS_DONE)
		status = context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	e = print_session(&g, node.data ? node.data : "", 1);
	if (e == 0)
		e = text_done(&g.edges);
	if (e == 0)
		printf("%s}\n", g.edges.data ? g.edges.data : "");
	text_deinit(&g.edges);
	return e < 0 ? complain(e, capc_session_reason(x->session), "graph") : STATUS_DONE;
}

const struct command command_graph = {
	.name = "graph",
	.arguments = "",
	.summary = "print the capability graph in DOT: capctl graph | dot -Tsvg",
	.run = run_graph,
};
