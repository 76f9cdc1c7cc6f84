/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of cap-client.h. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "args/tree.h"
#include "base/fd.h"
#include "base/number.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* --- this process's --- */

/* The descriptor that the program's environment names. Returns: it, -ENOENT, -EBADMSG, -EBADF. */
static int
environment_fd(void)
{
	const char *text = secure_getenv("CAP_ARGS_FD");
	uint64_t fd;

	if (!text)
		return -ENOENT;
	if (number_parse(text, strlen(text), false, &fd) < 0 || fd > INT_MAX)
		return -EBADMSG;
	return fcntl((int)fd, F_GETFD) < 0 ? -EBADF : (int)fd;
}

/*
 * A file that can still be written would change under who reads it, and one that can shrink would
 * raise SIGBUS. What has no seals is no memfd.
 */
static int
map_sealed(int fd, void **ret, size_t *ret_n)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *map;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EBADMSG;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0)
		return -EBADMSG;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret = map;
	*ret_n = (size_t)st.st_size;
	return 0;
}

static int
check_fds(const struct capc_args *a)
{
	for (size_t i = 0; i < a->n_fds; i++)
		if (fcntl(a->fds[i]->fd, F_GETFD) < 0)
			return -EBADF;
	return 0;
}

int
capc_args_open(capc_args **ret)
{
	cleanup_args struct capc_args *a = NULL;
	int fd = environment_fd(), r;
	void *map = NULL;
	size_t n = 0;

	if (fd < 0)
		return fd;
	r = map_sealed(fd, &map, &n);
	if (r < 0)
		return r;
	r = args_decode(map, n, &a);
	if (r < 0) {
		munmap(map, n);
		return r;
	}
	a->map = map;
	a->n_map = n;
	r = check_fds(a);
	if (r < 0)
		return r;
	*ret = take_ptr(a);
	return 0;
}

/* --- looking up --- */

int
capc_args_get(const capc_args *a, const char *path, struct capc_value *ret)
{
	struct args_node *node;
	int r = args_find(a, path, &node);

	if (r == 0)
		*ret = args_value(a, node);
	return r;
}

int
capc_args_place(const capc_args *a, const char *path, struct capc_place *ret)
{
	struct args_node *node;
	int r = args_find(a, path, &node);

	if (r < 0)
		return r;
	if (node->place.line == 0)
		return -ENODATA;
	*ret = node->place;
	return 0;
}

static int
get_typed(const capc_args *a, const char *path, enum capc_type type, struct capc_value *ret)
{
	int r = capc_args_get(a, path, ret);

	return r < 0 ? r : ret->type == type ? 0 : -EPROTOTYPE;
}

int
capc_args_get_string(const capc_args *a, const char *path, char **ret)
{
	struct capc_value v;
	char *copy;
	int r = get_typed(a, path, CAPC_STRING, &v);

	if (r < 0)
		return r;
	if (v.string.n > 0 && memchr(v.string.data, '\0', v.string.n))
		return -EILSEQ;
	copy = strndup(v.string.data, v.string.n);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

int
capc_args_get_int(const capc_args *a, const char *path, int64_t *ret)
{
	struct capc_value v;
	int r = get_typed(a, path, CAPC_INT, &v);

	if (r == -EPROTOTYPE && v.type == CAPC_BIG)
		return -ERANGE;
	if (r == 0)
		*ret = v.integer;
	return r;
}

int
capc_args_get_uint(const capc_args *a, const char *path, uint64_t *ret)
{
	struct capc_value v;
	int r = get_typed(a, path, CAPC_INT, &v);
	uint64_t n = 0;

	if (r == 0) {
		if (v.integer < 0)
			return -ERANGE;
		*ret = (uint64_t)v.integer;
		return 0;
	}
	if (r != -EPROTOTYPE || v.type != CAPC_BIG)
		return r;
	if (v.big.negative || v.big.n > sizeof(n))
		return -ERANGE;
	for (size_t i = 0; i < v.big.n; i++)
		n = n << 8 | v.big.data[i];
	*ret = n;
	return 0;
}

int
capc_args_get_bool(const capc_args *a, const char *path, bool *ret)
{
	struct capc_value v;
	int r = get_typed(a, path, CAPC_BOOL, &v);

	if (r == 0)
		*ret = v.boolean;
	return r;
}

int
capc_args_get_fd(const capc_args *a, const char *path, int *ret)
{
	struct capc_value v;
	int r = get_typed(a, path, CAPC_FD, &v);

	if (r == 0)
		*ret = v.fd;
	return r;
}

static int
each_item(const capc_args *a, const struct args_node *item, const struct text *path, size_t i,
	int (*each)(const char *path, const char *key, const struct capc_value *v, void *data),
	void *data)
{
	char key[CAPC_ARGS_KEY_MAX + 1];
	cleanup_text struct text of_item = {};
	struct capc_value v = args_value(a, item);

	if (item->key) {
		memcpy(key, item->key, item->n_key);
		key[item->n_key] = '\0';
		args_path(item, &of_item);
	} else {
		text_addf(&of_item, "%s%s%zu", path->data, path->n > 0 ? "." : "", i);
	}
	return text_done(&of_item) < 0 ? -ENOMEM
				       : each(of_item.data, item->key ? key : NULL, &v, data);
}

int
capc_args_each(const capc_args *a, const char *path,
	int (*each)(const char *path, const char *key, const struct capc_value *v, void *data),
	void *data)
{
	cleanup_text struct text t = {};
	struct args_node *node;
	int r = args_find(a, path, &node);

	if (r < 0)
		return r;
	if (node->value.type != CAPC_SEQUENCE && node->value.type != CAPC_MAP)
		return -ENOTDIR;
	args_path(node, &t);
	if (text_done(&t) < 0)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < node->value.n_items; i++)
		r = each_item(a, node->items[i], &t, i, each, data);
	return r;
}

/* --- making one --- */

int
capc_args_new(capc_args **ret)
{
	struct capc_args *a = args_make(ARGS_MADE);

	if (!a)
		return -ENOMEM;
	a->root->value.type = CAPC_MAP;
	*ret = a;
	return 0;
}

/* What V is in a tree; a descriptor or a collection stays what it is. 0, -EINVAL, -EILSEQ. */
static int
value_check(const struct capc_value *v, struct capc_value *ret)
{
	*ret = *v;
	switch (v->type) {
	case CAPC_NULL:
	case CAPC_BOOL:
	case CAPC_INT:
	case CAPC_FLOAT:
	case CAPC_FD:
		return 0;
	case CAPC_BIG:
		return v->big.n > 0 && !v->big.data ? -EINVAL : big_normalize(&v->big, ret);
	case CAPC_STRING:
		return v->string.n > 0 && !v->string.data ? -EINVAL
							  : utf8_check(v->string.data, v->string.n);
	case CAPC_BINARY:
		return v->binary.n > 0 && !v->binary.data ? -EINVAL : 0;
	case CAPC_TIME:
		return time_is_valid(&v->time) ? 0 : -EINVAL;
	case CAPC_SEQUENCE:
	case CAPC_MAP:
		return v->n_items > 0 ? -EINVAL : 0;
	}
	return -EINVAL;
}

int
args_set_scalar(struct args_node *node, const struct capc_value *v)
{
	struct capc_value checked;
	int r = v->type == CAPC_FD ? -EINVAL : value_check(v, &checked);

	return r < 0 ? r : args_put(node, &checked, true);
}

/* The item KEY of NODE, new if need be. A sequence takes the index that is its length, or "-". */
static int
item_reach(struct capc_args *a, struct args_node *node, const char *key, size_t n_key,
	struct args_node **ret)
{
	struct args_node *item;
	uint64_t i;

	if (node->value.type != CAPC_MAP && node->value.type != CAPC_SEQUENCE)
		return -ENOTDIR;
	item = args_item(a, node, key, n_key);
	if (item) {
		*ret = item;
		return 0;
	}
	if (node->value.type == CAPC_SEQUENCE && strcmp(key, "-") != 0) {
		if (number_parse(key, n_key, false, &i) < 0 || (n_key > 1 && key[0] == '0'))
			return -EINVAL;
		if (i != node->value.n_items)
			return -ENOENT;
	}
	return args_add(a, node, key, n_key, true, ret);
}

/* As args_find(), and makes what is not there yet: the first of it in *RET_MADE, else NULL. */
static int
path_reach(
	struct capc_args *a, const char *path, struct args_node **ret, struct args_node **ret_made)
{
	char key[CAPC_ARGS_KEY_MAX + 1];
	struct args_node *node = a->root;
	size_t n;
	int r;

	*ret_made = NULL;
	while ((r = args_path_next(&path, key, &n)) > 0) {
		size_t before = a->n_nodes;

		/* It was made just now, as a null, and has to have items. */
		if (*ret_made)
			node->value.type = CAPC_MAP;
		r = item_reach(a, node, key, n, &node);
		if (r < 0)
			break;
		if (a->n_nodes > before && !*ret_made)
			*ret_made = node;
	}
	*ret = node;
	return r;
}

static int
put_fd(struct capc_args *a, struct args_node *node, int fd)
{
	struct args_fd *known = args_find_fd(a, fd);
	cleanup_close int copy = -1;
	int r;

	if (known) {
		args_share_fd(node, known);
		return 0;
	}
	copy = fd_dup(fd);
	if (copy < 0)
		return copy;
	r = args_put_fd(a, node, copy, -1);
	if (r == 0)
		(void)take_fd(copy);
	return r;
}

/*
 * What there is stays until the new value can take its place: it is made in a node of its own
 * first, and may even be a copy of what it replaces.
 */
static int
replace(struct capc_args *a, struct args_node *node, const struct capc_value *v)
{
	struct args_node made = {.parent = node->parent, .depth = node->depth};
	int r = v->type == CAPC_FD ? put_fd(a, &made, v->fd) : args_put(&made, v, true);

	if (r < 0)
		return r;
	args_clear(a, node);
	node->value = made.value;
	node->fd = made.fd;
	node->owned = made.owned;
	return 0;
}

/* Whether PATH is one, before anything is made on the way. */
static int
path_check(const char *path)
{
	char key[CAPC_ARGS_KEY_MAX + 1];
	size_t n;
	int r;

	while ((r = args_path_next(&path, key, &n)) > 0)
		;
	return r;
}

int
capc_args_set(capc_args *a, const char *path, const struct capc_value *v)
{
	struct args_node *node, *made = NULL;
	struct capc_value checked;
	int r = a->state == ARGS_MADE ? path_check(path) : -EROFS;

	if (r == 0)
		r = value_check(v, &checked);
	if (r < 0)
		return r;
	r = path_reach(a, path, &node, &made);
	if (r == 0)
		r = replace(a, node, &checked);
	/* What was made on the way is the last item of what was there before. */
	if (r < 0 && made)
		args_remove_last(a, made->parent);
	return r;
}

/* --- sealing --- */

static int
write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t n_written = write(fd, data, n);

		if (n_written < 0)
			return -errno;
		data += n_written;
		n -= (size_t)n_written;
	}
	return 0;
}

static int
make_memfd(const struct text *t, int *ret)
{
	cleanup_close int fd = memfd_create("args", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, t->data, t->n);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
		return -errno;
	r = fd <= STDERR_FILENO ? args_fd_up(take_fd(fd)) : take_fd(fd);
	if (r < 0)
		return r;
	*ret = r;
	return 0;
}

int
capc_args_seal(capc_args *a, int first, int *ret_memfd)
{
	cleanup_text struct text t = {};
	int r = a->state == ARGS_MADE ? args_number(a, first) : -EROFS;

	if (r == 0)
		r = args_encode(a, &t);
	if (r == 0)
		r = make_memfd(&t, ret_memfd);
	if (r == 0)
		a->state = ARGS_SEALED;
	return r;
}

size_t
capc_args_n_fds(const capc_args *a)
{
	return a->state == ARGS_SEALED ? a->n_fds : 0;
}

int
capc_args_fd(const capc_args *a, size_t i, const char **ret_label)
{
	if (i >= capc_args_n_fds(a))
		return -EINVAL;
	if (ret_label)
		*ret_label = a->fds[i]->label;
	return a->fds[i]->fd >= 0 ? a->fds[i]->fd : -EBADF;
}
