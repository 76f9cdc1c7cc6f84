/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Argument trees: the one that this process was started with, or that of a file. No daemon is
 * asked. */
#include "config.h"

#include "capctl/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capctl/value.h"

CLEANUP_DEFINE(capc_args *, capc_args_free)
#define cleanup_args cleanup(capc_args_free_p)

#define FIRST_FD 3 /* behind stdin, stdout and stderr */

static const char *
why(int error)
{
	switch (error) {
	case -ENOENT:
		return "this process was started without an argument tree";
	case -EBADF:
		return "the tree, or a descriptor that it names, is not open any more";
	case -EBADMSG:
		return "CAP_ARGS_FD leads to no argument tree";
	default:
		return NULL;
	}
}

static int
open_own(capc_args **ret)
{
	int r = capc_args_open(ret);

	return r < 0 ? complain(r, why(r), "args") : STATUS_DONE;
}

/* The tree of a file as a program would have it; nothing that it names is opened. */
static int
load(const char *name, capc_args **ret, int *ret_memfd)
{
	cleanup_free char *reason = NULL;
	cleanup_args capc_args *a = NULL;
	cleanup_text struct text t = {};
	int status = value_read(name, &t), r;

	if (status != STATUS_DONE)
		return status;
	r = capc_args_parse_yaml(t.data ? t.data : "", t.n, strcmp(name, "-") == 0 ? "stdin" : name,
		CAPC_ARGS_DRY, NULL, NULL, &a, &reason);
	if (r < 0)
		return complain(r, reason, "args");
	r = capc_args_seal(a, FIRST_FD, ret_memfd);
	if (r < 0)
		return complain(r, r == -E2BIG ? "the tree is larger than 1048576 bytes" : NULL,
			"args: %s", name);
	*ret = take_ptr(a);
	return STATUS_DONE;
}

static int
print(struct text *t, int r, const char *path)
{
	if (r == 0)
		r = text_done(t);
	if (r < 0)
		return complain(r, NULL, "args: %s", *path ? path : "the tree");
	fwrite(t->data ? t->data : "", 1, t->n, stdout);
	return STATUS_DONE;
}

static bool
has_items(const struct capc_value *v)
{
	return (v->type == CAPC_SEQUENCE || v->type == CAPC_MAP) && v->n_items > 0;
}

/* --- YAML --- */

struct printer {
	const capc_args *args;
	struct text *t;
	int indent;
};

static int add_yaml(const struct printer *p, const char *path, const struct capc_value *v);

static int
add_yaml_item(const char *path, const char *key, const struct capc_value *v, void *data)
{
	const struct printer *p = data;
	struct printer below = {.args = p->args, .t = p->t, .indent = p->indent + 2};

	text_addf(p->t, "%*s", p->indent, "");
	if (key)
		value_add_key(p->t, key);
	text_add(p->t, key ? ":" : "-");
	text_add(p->t, has_items(v) ? "\n" : " ");
	return add_yaml(&below, path, v);
}

static int
add_yaml(const struct printer *p, const char *path, const struct capc_value *v)
{
	if (has_items(v))
		return capc_args_each(p->args, path, add_yaml_item, (void *)(uintptr_t)p);
	value_add(p->t, v);
	text_add(p->t, "\n");
	return 0;
}

static int
print_yaml(const capc_args *a, const char *path)
{
	cleanup_text struct text t = {};
	struct printer p = {.args = a, .t = &t};
	struct capc_value v;
	int r = capc_args_get(a, path, &v);

	return print(&t, r < 0 ? r : add_yaml(&p, path, &v), path);
}

/* --- the commands --- */

static int
run_get(struct context *x, int argc, char **argv)
{
	cleanup_args capc_args *a = NULL;
	cleanup_text struct text t = {};
	int status = open_own(&a), r;
	struct capc_value v;

	if (status != STATUS_DONE)
		return status;
	r = capc_args_get(a, argv[0], &v);
	if (r == 0 && (v.type == CAPC_SEQUENCE || v.type == CAPC_MAP))
		return print_yaml(a, argv[0]);
	if (r == 0) {
		value_add_raw(&t, &v);
		if (v.type != CAPC_BINARY)
			text_add(&t, "\n");
	}
	return print(&t, r, argv[0]);
}

static int
add_line(const char *path, const char *key, const struct capc_value *v, void *data)
{
	const struct printer *p = data;

	if (has_items(v))
		return capc_args_each(p->args, path, add_line, data);
	text_addf(p->t, "%s %s ", *path ? path : ".", value_type(v));
	if (v->type == CAPC_FD)
		text_addf(p->t, "%d", v->fd);
	else
		value_add(p->t, v);
	text_add(p->t, "\n");
	return 0;
}

static int
run_list(struct context *x, int argc, char **argv)
{
	const char *path = argc > 0 ? argv[0] : "";
	cleanup_args capc_args *a = NULL;
	cleanup_text struct text t = {};
	int status = open_own(&a), r;
	struct printer p = {.args = a, .t = &t};
	struct capc_value v;

	if (status != STATUS_DONE)
		return status;
	r = capc_args_get(a, path, &v);
	if (r == 0)
		r = add_line(path, NULL, &v, &p);
	return print(&t, r, path);
}

static int
run_show(struct context *x, int argc, char **argv)
{
	cleanup_args capc_args *a = NULL;
	cleanup_close int memfd = -1;
	int status = argc > 0 ? load(argv[0], &a, &memfd) : open_own(&a);

	return status != STATUS_DONE ? status : print_yaml(a, "");
}

static int
run_encode(struct context *x, int argc, char **argv)
{
	cleanup_args capc_args *a = NULL;
	cleanup_close int memfd = -1;
	int status = load(argv[0], &a, &memfd);
	char buffer[4096];
	off_t offset = 0;
	ssize_t n;

	if (status != STATUS_DONE)
		return status;
	for (; (n = pread(memfd, buffer, sizeof(buffer), offset)) > 0; offset += n)
		fwrite(buffer, 1, (size_t)n, stdout);
	return n < 0 ? complain(errno, NULL, "args: %s", argv[0]) : STATUS_DONE;
}

const struct command command_args_get = {
	.name = "args get",
	.arguments = "PATH",
	.summary = "print a value of the argument tree that this process was started with",
	.n_min = 1,
	.n_max = 1,
	.run = run_get,
};

const struct command command_args_list = {
	.name = "args list",
	.arguments = "[PATH]",
	.summary = "print a line for each value of it, with path and type",
	.n_max = 1,
	.run = run_list,
};

const struct command command_args_show = {
	.name = "args show",
	.arguments = "[FILE.yaml]",
	.summary = "print it as YAML; or check a file and print what a program would have of it",
	.n_max = 1,
	.run = run_show,
};

const struct command command_args_encode = {
	.name = "args encode",
	.arguments = "FILE.yaml",
	.summary = "print the CBOR that a program would have of a file",
	.n_min = 1,
	.n_max = 1,
	.run = run_encode,
};
