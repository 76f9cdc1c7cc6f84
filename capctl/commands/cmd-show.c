/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* capctl show, holders: one node, and who holds what. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capctl/command.h"

static void
print(const struct text *t)
{
	if (t->n == 0)
		return;
	fputs(t->data, stdout);
	if (t->data[t->n - 1] != '\n')
		putchar('\n');
}

/* Prints the file, under a heading when it has one and there is something to print. */
static int
print_file(struct context *x, const char *node, const char *file, const char *heading)
{
	cleanup_text struct text t = {};
	int e = context_read(x, node, file, &t);

	if (e < 0)
		return e;
	if (heading && t.n > 0)
		printf("\n%s:\n", heading);
	print(&t);
	return 0;
}

static int
show_session(struct context *x, const char *node)
{
	cleanup_text struct text label = {};
	cleanup_text struct text state = {};
	int e = context_read(x, node, "label", &label);

	if (e == 0)
		e = context_read(x, node, "state", &state);
	if (e < 0)
		return e;
	printf("session=%.*s\nstate=%.*s\n", (int)strcspn(label.data, "\n"), label.data,
		(int)strcspn(state.data, "\n"), state.data);
	return print_file(x, node, "quota", "quota");
}

static int
show_node(struct context *x, const char *node)
{
	int e;

	switch (node_kind(node)) {
	case NODE_SESSION:
		return show_session(x, node);
	case NODE_SLOT:
		e = print_file(x, node, "info", NULL);
		return e < 0 ? e : print_file(x, node, "holders", "holders");
	case NODE_ENTRYPOINT:
		e = print_file(x, node, "info", NULL);
		return e < 0 ? e : print_file(x, node, "objects", "objects");
	case NODE_THREAD:
		return print_file(x, node, "info", NULL);
	case NODE_OTHER:
		break;
	}
	return print_file(x, node, "", NULL);
}

/* A bare name may be that of a slot, a session, an entrypoint, or of a file of the session. */
static int
run_show(struct context *x, int argc, char **argv)
{
	static const char *const folders[] = {"caps", "sessions", "entrypoints", "threads", ""};
	const char *word = argc > 0 ? argv[0] : "";
	int e = -ENOENT, status = context_open(x);

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		cleanup_text struct text node = {};

		if (status == STATUS_DONE)
			status = *word ? context_node(x, folders[i], word, &node)
				       : context_session(x, &node);
		if (status != STATUS_DONE)
			return status;
		e = show_node(x, node.data ? node.data : "");
		if (e != -ENOENT)
			break;
	}
	if (e == -ENOENT)
		return complain(
			e, "no slot, session, entrypoint or file is called that", "show %s", word);
	return e < 0 ? complain(e, capc_session_reason(x->session), "show %s", word) : STATUS_DONE;
}

const struct command command_show = {
	.name = "show",
	.arguments = "[SLOT|SESSION|PATH]",
	.summary =
		"print what is known of a slot and its holders, a session, an entrypoint, a file",
	.n_max = 1,
	.run = run_show,
};

static void
add_use(struct text *t, const char *info, const char *kind)
{
	cleanup_text struct text limit = {};
	cleanup_text struct text used = {};

	if (field_find(info, kind, "limit", &limit) && field_find(info, kind, "used", &used))
		text_addf(t, " %s=%s/%s", kind, used.data ? used.data : "",
			limit.data ? limit.data : "");
}

static void
add_field(struct text *t, const char *info, const char *key)
{
	cleanup_text struct text value = {};

	if (field_find(info, NULL, key, &value))
		text_addf(t, " %s=%s", key, value.data ? value.data : "");
}

/* One slot of a session, in the form of a line of `holders`. */
static int
print_held(struct context *x, const char *node, const char *label, const char *name)
{
	cleanup_text struct text slot = {};
	cleanup_text struct text info = {};
	cleanup_text struct text id = {};
	cleanup_text struct text rest = {};
	int e;

	text_add(&slot, node);
	node_append(&slot, "caps");
	node_append(&slot, name);
	e = text_done(&slot);
	if (e == 0)
		e = context_read(x, slot.data, "info", &info);
	if (e < 0)
		return e == -ENOENT ? 0 : e; /* it has ended meanwhile */
	field_find(info.data, NULL, "id", &id);
	add_field(&rest, info.data, "rights");
	add_use(&rest, info.data, "calls");
	add_use(&rest, info.data, "conns");
	add_field(&rest, info.data, "entrypoint");
	add_field(&rest, info.data, "parent");
	if (text_done(&rest) < 0)
		return -ENOMEM;
	printf("id=%s %s/caps/%s%s\n", id.data ? id.data : "", label, name,
		rest.data ? rest.data : "");
	return 0;
}

static int
print_all_held(struct context *x, const char *node)
{
	cleanup(name_list_deinit) struct name_list names = {};
	cleanup_text struct text label = {};
	int e = context_read(x, node, "label", &label);

	if (e == 0)
		e = context_list(x, node, "caps", &names);
	if (e < 0)
		return e;
	label.data[strcspn(label.data, "\n")] = '\0';
	for (size_t i = 0; e == 0 && i < names.n; i++)
		e = print_held(x, node, label.data, names.names[i]);
	return e;
}

static int
run_holders(struct context *x, int argc, char **argv)
{
	cleanup_text struct text node = {};
	int e, status;

	if (argc == 0 && !x->place.session)
		return complain_usage("holders takes a SLOT, or --session=SESSION");
	status = context_open(x);
	if (status == STATUS_DONE)
		status = argc > 0 ? context_node(x, "caps", argv[0], &node)
				  : context_session(x, &node);
	if (status != STATUS_DONE)
		return status;
	if (argc > 0)
		e = print_file(x, node.data, "holders", NULL);
	else
		e = print_all_held(x, node.data ? node.data : "");
	if (e == 0)
		return STATUS_DONE;
	return complain(e, capc_session_reason(x->session), "holders %s",
		argc > 0 ? argv[0] : x->place.session);
}

const struct command command_holders = {
	.name = "holders",
	.arguments = "SLOT | --session=SESSION",
	.summary = "list what was derived from a slot, or what a session holds",
	.n_max = 1,
	.run = run_holders,
};
