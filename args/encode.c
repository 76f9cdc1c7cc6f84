/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "args/item.h"
#include "args/tree.h"

static void
add_string(struct text *t, enum item_kind kind, const void *data, size_t n)
{
	item_add(t, kind, n);
	text_add_n(t, data, n);
}

static void
add_integer(struct text *t, int64_t i)
{
	if (i < 0)
		item_add(t, ITEM_NEGINT, (uint64_t)(-1 - i));
	else
		item_add(t, ITEM_UINT, (uint64_t)i);
}

/* Of eight bytes, or it would be a CAPC_INT, or of more. */
static void
add_big(struct text *t, const struct capc_big *big)
{
	uint64_t n = 0;

	if (big->n > sizeof(n)) {
		item_add(t, ITEM_TAG, big->negative ? 3 : 2);
		add_string(t, ITEM_BYTES, big->data, big->n);
		return;
	}
	for (size_t i = 0; i < big->n; i++)
		n = n << 8 | big->data[i];
	item_add(t, big->negative ? ITEM_NEGINT : ITEM_UINT, n);
}

static void
add_time(struct text *t, const struct capc_time *time)
{
	char s[TIME_TEXT_MAX];

	time_format(time, s);
	item_add(t, ITEM_TAG, 0);
	add_string(t, ITEM_TEXT, s, strlen(s));
}

static void
add_value(struct text *t, const struct args_node *node)
{
	const struct capc_value *v = &node->value;

	switch (v->type) {
	case CAPC_NULL:
		return item_add(t, ITEM_NULL, 0);
	case CAPC_BOOL:
		return item_add(t, ITEM_BOOL, v->boolean);
	case CAPC_INT:
		return add_integer(t, v->integer);
	case CAPC_BIG:
		return add_big(t, &v->big);
	case CAPC_FLOAT:
		return item_add_float(t, v->real);
	case CAPC_STRING:
		return add_string(t, ITEM_TEXT, v->string.data, v->string.n);
	case CAPC_BINARY:
		return add_string(t, ITEM_BYTES, v->binary.data, v->binary.n);
	case CAPC_TIME:
		return add_time(t, &v->time);
	case CAPC_FD:
		item_add(t, ITEM_TAG, CAPC_ARGS_FD_TAG);
		return item_add(t, ITEM_UINT, (uint64_t)node->fd->number);
	case CAPC_SEQUENCE:
	case CAPC_MAP:
		break;
	}
	item_add(t, v->type == CAPC_MAP ? ITEM_MAP : ITEM_ARRAY, v->n_items);
	for (size_t i = 0; i < v->n_items; i++) {
		if (v->type == CAPC_MAP)
			add_string(t, ITEM_TEXT, node->items[i]->key, node->items[i]->n_key);
		add_value(t, node->items[i]);
	}
}

int
args_encode(const struct capc_args *a, struct text *t)
{
	add_value(t, a->root);
	return text_done(t) < 0 ? -ENOMEM : t->n > CAPC_ARGS_BYTES_MAX ? -E2BIG : 0;
}

/* Those before *N have their numbers. */
static int
number_node(struct capc_args *a, const struct args_node *node, int first, size_t *n)
{
	struct args_fd *fd = node->fd;
	struct text label = {};

	for (size_t i = 0; i < node->value.n_items &&
			   (node->value.type == CAPC_SEQUENCE || node->value.type == CAPC_MAP);
		i++) {
		int r = number_node(a, node->items[i], first, n);

		if (r < 0)
			return r;
	}
	if (!fd || fd->place < *n)
		return 0;
	args_path(node, &label);
	if (text_done(&label) < 0) {
		text_deinit(&label);
		return -ENOMEM;
	}
	free(fd->label);
	fd->label = text_take(&label);
	fd->number = first + (int)*n;
	a->fds[fd->place] = a->fds[*n];
	a->fds[fd->place]->place = fd->place;
	a->fds[*n] = fd;
	fd->place = (*n)++;
	return 0;
}

int
args_number(struct capc_args *a, int first)
{
	size_t n = 0;

	if (first < 0 || (size_t)first + a->n_fds > INT_MAX)
		return -ERANGE;
	return number_node(a, a->root, first, &n);
}
