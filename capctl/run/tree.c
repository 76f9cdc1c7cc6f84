/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capctl/run/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capctl/command.h"
#include "capctl/value.h"

int
run_tree_read(struct run_tree *t, const char *file)
{
	*t = (struct run_tree){.name = strcmp(file, "-") == 0 ? "stdin" : file, .root = "", .memfd = -1};
	return value_read(file, &t->text);
}

static int
parse(const struct run_tree *t, unsigned flags, capc_args_resolver *resolve, void *data, capc_args **ret)
{
	cleanup_free char *reason = NULL;
	const char *text = t->text.data ? t->text.data : "";
	int r = capc_args_parse_yaml(text, t->text.n, t->name, flags, resolve, data, ret, &reason);

	return r < 0 ? complain(r, reason, "args") : 0;
}

int
run_tree_check(const struct run_tree *t, capc_args **ret)
{
	return parse(t, CAPC_ARGS_DRY, NULL, NULL, ret);
}

/* --- what the program has of it --- */

/* The numbers of a descriptor in both trees. */
struct pair {
	int from, to;
};

struct copier {
	const capc_args *from;
	capc_args *to;
	size_t n_root; /* what is cut from paths */
	struct pair *pairs;
	size_t n_pairs, size;
};

static int
copied_fd(const struct copier *c, int from)
{
	for (size_t i = 0; i < c->n_pairs; i++)
		if (c->pairs[i].from == from)
			return c->pairs[i].to;
	return from;
}

static int
remember_fd(struct copier *c, int from, const char *path)
{
	int to = -1, r = capc_args_get_fd(c->to, path, &to);

	if (r < 0)
		return r;
	if (c->n_pairs == c->size) {
		size_t size = c->size ? c->size * 2 : 16;
		struct pair *pairs = reallocarray(c->pairs, size, sizeof(*pairs));

		if (!pairs)
			return -ENOMEM;
		c->pairs = pairs;
		c->size = size;
	}
	c->pairs[c->n_pairs++] = (struct pair){from, to};
	return 0;
}

static int
copy_item(const char *path, const char *key, const struct capc_value *v, void *data)
{
	struct copier *c = data;
	struct capc_value copy = *v;
	const char *there = strlen(path) < c->n_root ? "" : path + c->n_root;
	int r;

	if (v->type == CAPC_FD)
		copy.fd = copied_fd(c, v->fd);
	if (v->type == CAPC_SEQUENCE || v->type == CAPC_MAP)
		copy.n_items = 0;
	r = capc_args_set(c->to, there, &copy);
	if (r == 0 && v->type == CAPC_FD && copy.fd == v->fd)
		r = remember_fd(c, v->fd, there);
	if (r == 0 && (v->type == CAPC_SEQUENCE || v->type == CAPC_MAP))
		r = capc_args_each(c->from, path, copy_item, c);
	return r;
}

/* What is not there is a map without keys. */
static int
copy_tree(struct copier *c, const char *root)
{
	struct capc_value v;
	int r = capc_args_get(c->from, root, &v);

	c->n_root = *root ? strlen(root) + 1 : 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return copy_item(root, NULL, &v, c);
}

static int
give(struct run_tree *t, int first)
{
	struct copier c = {.from = t->opened};
	int r = capc_args_new(&t->given);

	c.to = t->given;
	if (r == 0)
		r = copy_tree(&c, t->root);
	free(c.pairs);
	if (r == 0)
		r = capc_args_seal(t->given, first, &t->memfd);
	return r;
}

int
run_tree_open(struct run_tree *t, capc_args_resolver *resolve, void *data, int first)
{
	int status = parse(t, 0, resolve, data, &t->opened), r;

	if (status != 0)
		return status;
	r = give(t, first);
	return r < 0 ? complain(r, r == -E2BIG ? "the tree is larger than 1048576 bytes" : NULL,
			       "args: %s", t->name) : 0;
}

void
run_tree_keep(struct run_tree *t)
{
	int memfd;

	/* What is sealed leaves what it has made where it is. One that cannot be is not freed, to the same end. */
	if (t->opened && capc_args_seal(t->opened, 0, &memfd) == 0)
		close(memfd);
	else
		t->opened = NULL;
}

void
run_tree_deinit(struct run_tree *t)
{
	capc_args_free(t->opened);
	capc_args_free(t->given);
	fd_close(t->memfd);
	text_deinit(&t->text);
	*t = (struct run_tree){.memfd = -1};
}
