/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keys are found through one table of the whole tree, hashed with their map, so that a map of 65536
 * of them costs no more than as many lookups: whoever writes a tree does not choose how long we
 * look.
 */
#include "config.h"

#include "args/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/number.h"

struct capc_args *
args_make(enum args_state state)
{
	cleanup_args struct capc_args *a = calloc(1, sizeof(*a));

	if (!a || !(a->root = calloc(1, sizeof(*a->root))))
		return NULL;
	/* Early at boot there may be none; addresses are a secret, too. */
	if (getrandom(&a->seed, sizeof(a->seed), GRND_NONBLOCK) < 0)
		a->seed = (uintptr_t)a;
	a->state = state;
	a->n_nodes = 1;
	return take_ptr(a);
}

/* --- values --- */

static uint64_t
key_hash(const struct capc_args *a, const struct args_node *map, const char *key, size_t n_key)
{
	return index_hash(a->seed + (uintptr_t)map, key, n_key);
}

static struct args_node *
key_find(const struct capc_args *a, const struct args_node *map, const char *key, size_t n_key)
{
	struct index_link *link = index_first(&a->keys, key_hash(a, map, key, n_key));

	for (; link; link = index_next(link)) {
		struct args_node *node = container_of(link, struct args_node, link);

		if (node->parent == map && node->n_key == n_key &&
			memcmp(node->key, key, n_key) == 0)
			return node;
	}
	return NULL;
}

static bool
is_collection(const struct args_node *node)
{
	return node->value.type == CAPC_SEQUENCE || node->value.type == CAPC_MAP;
}

static int
bound(struct capc_args *a, const char *what)
{
	a->bound = what;
	return -E2BIG;
}

static int
items_reserve(struct args_node *node)
{
	size_t size = node->size > 0 ? 2 * node->size : 4;
	struct args_node **items;

	if (node->value.n_items < node->size)
		return 0;
	items = reallocarray(node->items, size, sizeof(*items));
	if (!items)
		return -ENOMEM;
	node->items = items;
	node->size = size;
	return 0;
}

static int
node_set_key(struct capc_args *a, struct args_node *node, const char *key, size_t n_key, bool copy)
{
	int r = args_key_check(key, n_key);

	if (r < 0)
		return r;
	if (key_find(a, node->parent, key, n_key))
		return -EEXIST;
	if (copy) {
		node->owned_key = malloc(n_key);
		if (!node->owned_key)
			return -ENOMEM;
		key = memcpy(node->owned_key, key, n_key);
	}
	node->key = key;
	node->n_key = n_key;
	return index_add(&a->keys, &node->link, key_hash(a, node->parent, key, n_key));
}

int
args_add(struct capc_args *a, struct args_node *parent, const char *key, size_t n_key, bool copy,
	struct args_node **ret)
{
	cleanup_free struct args_node *node = NULL;
	int r;

	if (parent->depth >= CAPC_ARGS_DEPTH_MAX)
		return bound(a, "at most 64 levels");
	if (a->n_nodes >= CAPC_ARGS_VALUES_MAX)
		return bound(a, "at most 65536 values");
	node = calloc(1, sizeof(*node));
	r = node ? items_reserve(parent) : -ENOMEM;
	if (r < 0)
		return r;
	node->parent = parent;
	node->depth = parent->depth + 1;
	if (parent->value.type == CAPC_MAP) {
		r = node_set_key(a, node, key, n_key, copy);
		if (r < 0) {
			free(node->owned_key);
			return r;
		}
	}
	a->n_nodes++;
	*ret = parent->items[parent->value.n_items++] = take_ptr(node);
	return 0;
}

/* --- descriptors --- */

static void
fd_drop(struct capc_args *a, struct args_fd *fd)
{
	if (--fd->n_values > 0)
		return;
	a->fds[fd->place] = a->fds[--a->n_fds];
	a->fds[fd->place]->place = fd->place;
	if (a->state != ARGS_OPENED)
		fd_close(fd->fd);
	if (fd->made && a->state == ARGS_MADE)
		unlink(fd->made);
	free(fd->made);
	free(fd->label);
	free(fd);
}

int
args_put_fd(struct capc_args *a, struct args_node *node, int fd, int source)
{
	cleanup_free struct args_fd *new = NULL;

	if (a->n_fds >= CAPC_ARGS_FDS_MAX)
		return bound(a, "at most 4000 descriptors");
	if (a->n_fds == a->size_fds) {
		size_t size = a->size_fds > 0 ? 2 * a->size_fds : 4;
		struct args_fd **fds = reallocarray(a->fds, size, sizeof(struct args_fd *));

		if (!fds)
			return -ENOMEM;
		a->fds = fds;
		a->size_fds = size;
	}
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = (struct args_fd){.fd = fd, .source = source, .place = a->n_fds};
	a->fds[a->n_fds++] = new;
	args_share_fd(node, take_ptr(new));
	return 0;
}

void
args_share_fd(struct args_node *node, struct args_fd *fd)
{
	node->value.type = CAPC_FD;
	node->fd = fd;
	fd->n_values++;
}

int
args_fd_up(int fd)
{
	int copy = fd_dup(fd);

	fd_close(fd);
	return copy;
}

struct args_fd *
args_find_fd(const struct capc_args *a, int fd)
{
	for (size_t i = 0; fd >= 0 && i < a->n_fds; i++)
		if (a->fds[i]->fd == fd)
			return a->fds[i];
	return NULL;
}

struct args_fd *
args_find_source(const struct capc_args *a, int source)
{
	for (size_t i = 0; source >= 0 && i < a->n_fds; i++)
		if (a->fds[i]->source == source)
			return a->fds[i];
	return NULL;
}

/* --- what a value is --- */

static void
node_free(struct capc_args *a, struct args_node *node)
{
	args_clear(a, node);
	if (node->key)
		index_remove(&a->keys, &node->link);
	free(node->owned_key);
	free(node);
	a->n_nodes--;
}

void
args_remove_last(struct capc_args *a, struct args_node *node)
{
	node_free(a, node->items[--node->value.n_items]);
}

/* At most 64 of these are under way: args_add() sees to it. */
void
args_clear(struct capc_args *a, struct args_node *node)
{
	if (is_collection(node))
		while (node->value.n_items > 0)
			args_remove_last(a, node);
	if (node->fd)
		fd_drop(a, node->fd);
	free(take_ptr(node->items));
	free(take_ptr(node->owned));
	node->size = 0;
	node->fd = NULL;
	node->value = (struct capc_value){};
	node->place = (struct capc_place){};
}

/* The copy of N bytes, also of none. */
static const void *
own(struct args_node *node, const void *data, size_t n)
{
	node->owned = malloc(n > 0 ? n : 1);
	if (node->owned && n > 0)
		memcpy(node->owned, data, n);
	return node->owned;
}

int
args_put(struct args_node *node, const struct capc_value *v, bool copy)
{
	node->value = *v;
	if (!copy)
		return 0;
	if (v->type == CAPC_STRING)
		node->value.string.data = own(node, v->string.data, v->string.n);
	else if (v->type == CAPC_BINARY)
		node->value.binary.data = own(node, v->binary.data, v->binary.n);
	else if (v->type == CAPC_BIG)
		node->value.big.data = own(node, v->big.data, v->big.n);
	else
		return 0;
	if (node->owned)
		return 0;
	node->value = (struct capc_value){};
	return -ENOMEM;
}

struct capc_value
args_value(const struct capc_args *a, const struct args_node *node)
{
	struct capc_value v = node->value;

	if (node->fd)
		v.fd = a->state == ARGS_SEALED ? node->fd->number : node->fd->fd;
	return v;
}

capc_args *
capc_args_free(capc_args *a)
{
	if (!a)
		return NULL;
	if (a->root)
		node_free(a, a->root);
	free(a->fds);
	index_deinit(&a->keys);
	if (a->map)
		munmap(a->map, a->n_map);
	free(a);
	return NULL;
}

/* --- paths --- */

/* Of a sequence's item: it is not looked for often, and nothing has to be kept for it. */
static size_t
index_of(const struct args_node *node)
{
	size_t i = 0;

	while (node->parent->items[i] != node)
		i++;
	return i;
}

static void
path_add(const struct args_node *node, struct text *t)
{
	if (!node->parent)
		return;
	path_add(node->parent, t);
	if (node->parent->parent)
		text_add(t, ".");
	if (!node->key) {
		text_addf(t, "%zu", index_of(node));
		return;
	}
	for (size_t i = 0; i < node->n_key; i++) {
		if (node->key[i] == '.' || node->key[i] == '\\')
			text_add(t, "\\");
		text_add_n(t, &node->key[i], 1);
	}
}

void
args_path(const struct args_node *node, struct text *t)
{
	text_add(t, "");
	path_add(node, t);
}

int
args_path_next(const char **path, char key[CAPC_ARGS_KEY_MAX + 1], size_t *ret_n)
{
	const char *p = *path;
	size_t n = 0;

	if (*p == '\0')
		return 0;
	for (; *p != '\0' && *p != '.'; p++) {
		if (*p == '\\' && *++p != '.' && *p != '\\')
			return -EINVAL;
		if (n == CAPC_ARGS_KEY_MAX)
			return -EINVAL;
		key[n++] = *p;
	}
	/* A '.' is between two of them. */
	if (n == 0 || (*p == '.' && p[1] == '\0'))
		return -EINVAL;
	key[n] = '\0';
	*ret_n = n;
	*path = *p == '.' ? p + 1 : p;
	return 1;
}

struct args_node *
args_item(const struct capc_args *a, const struct args_node *node, const char *key, size_t n_key)
{
	uint64_t i;

	if (node->value.type == CAPC_MAP)
		return key_find(a, node, key, n_key);
	/* An index has one form, as a key has. */
	if (number_parse(key, n_key, false, &i) < 0 || (n_key > 1 && key[0] == '0'))
		return NULL;
	return i < node->value.n_items ? node->items[i] : NULL;
}

int
args_find(const struct capc_args *a, const char *path, struct args_node **ret)
{
	char key[CAPC_ARGS_KEY_MAX + 1];
	struct args_node *node = a->root;
	size_t n;
	int r, error = 0;

	/* What is no path is told first, wherever it would have led. */
	while ((r = args_path_next(&path, key, &n)) > 0) {
		if (error < 0)
			continue;
		if (!is_collection(node)) {
			error = -ENOTDIR;
			continue;
		}
		node = args_item(a, node, key, n);
		if (!node)
			error = -ENOENT;
	}
	if (r < 0 || error < 0)
		return r < 0 ? r : error;
	*ret = node;
	return 0;
}
