/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whoever starts a program made its tree, and that may be anybody: all of it is checked before any
 * of it is used, so that what a program looks up later cannot fail in another way.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>

#include "args/item.h"
#include "args/tree.h"

/* The rest of the bytes, and the tree that has them. */
struct decoder {
	struct capc_args *args;
	const uint8_t *p, *end;
};

static int decode_value(struct decoder *d, struct args_node *node);

/* The item behind a tag, which must be of that kind. */
static int
take_tagged(struct decoder *d, enum item_kind kind, struct item *ret)
{
	int r = item_take(&d->p, d->end, ret);

	return r < 0 ? r : ret->kind == kind ? 0 : -EBADMSG;
}

/* An integer of up to eight bytes has a shorter form. */
static int
decode_big(struct decoder *d, bool negative, struct capc_value *v)
{
	struct item item;
	int r = take_tagged(d, ITEM_BYTES, &item);

	if (r < 0)
		return r;
	if (item.number <= 8 || item.number > CAPC_ARGS_BIG_MAX || item.data[0] == 0)
		return -EBADMSG;
	*v = (struct capc_value){.type = CAPC_BIG, .big = {item.data, item.number, negative}};
	return 0;
}

static int
decode_time(struct decoder *d, struct capc_value *v)
{
	struct item item;
	int r = take_tagged(d, ITEM_TEXT, &item);

	if (r < 0)
		return r;
	v->type = CAPC_TIME;
	return time_parse((const char *)item.data, item.number, &v->time) < 0 ? -EBADMSG : 0;
}

/* Two places may name one descriptor. */
static int
decode_fd(struct decoder *d, struct args_node *node)
{
	struct args_fd *known;
	struct item item;
	int r = take_tagged(d, ITEM_UINT, &item);

	if (r < 0)
		return r;
	if (item.number > INT_MAX)
		return -EBADMSG;
	known = args_find_fd(d->args, (int)item.number);
	if (!known)
		return args_put_fd(d->args, node, (int)item.number, -1);
	args_share_fd(node, known);
	return 0;
}

static int
decode_tagged(struct decoder *d, struct args_node *node, uint64_t tag)
{
	struct capc_value v = {};
	int r = -EBADMSG;

	if (tag == CAPC_ARGS_FD_TAG)
		return decode_fd(d, node);
	if (tag == 0)
		r = decode_time(d, &v);
	else if (tag == 2 || tag == 3)
		r = decode_big(d, tag == 3, &v);
	return r < 0 ? r : args_put(node, &v, false);
}

static struct capc_value
integer(const struct item *item)
{
	bool negative = item->kind == ITEM_NEGINT;
	struct capc_value v = {.type = CAPC_INT};

	if (item->number <= INT64_MAX)
		v.integer = negative ? -1 - (int64_t)item->number : (int64_t)item->number;
	else
		v = (struct capc_value){
			.type = CAPC_BIG, .big = {item->data, sizeof(uint64_t), negative}};
	return v;
}

static int
decode_items(struct decoder *d, struct args_node *node, enum item_kind kind, uint64_t n)
{
	struct capc_value empty = {.type = kind == ITEM_MAP ? CAPC_MAP : CAPC_SEQUENCE};
	int r = args_put(node, &empty, false);

	for (; r == 0 && n > 0; n--) {
		struct item key = {};
		struct args_node *item;

		if (kind == ITEM_MAP)
			r = take_tagged(d, ITEM_TEXT, &key);
		if (r == 0)
			r = args_add(
				d->args, node, (const char *)key.data, key.number, false, &item);
		if (r == 0)
			r = decode_value(d, item);
	}
	return r;
}

/* At most as many are under way as a tree has levels. */
static int
decode_value(struct decoder *d, struct args_node *node)
{
	struct capc_value v = {};
	struct item item;
	int r = item_take(&d->p, d->end, &item);

	if (r < 0)
		return r;
	switch (item.kind) {
	case ITEM_ARRAY:
	case ITEM_MAP:
		return decode_items(d, node, item.kind, item.number);
	case ITEM_TAG:
		return decode_tagged(d, node, item.number);
	case ITEM_UINT:
	case ITEM_NEGINT:
		v = integer(&item);
		break;
	case ITEM_BYTES:
		v = (struct capc_value){.type = CAPC_BINARY, .binary = {item.data, item.number}};
		break;
	case ITEM_TEXT:
		if (utf8_check(item.data, item.number) < 0)
			return -EBADMSG;
		v = (struct capc_value){
			.type = CAPC_STRING, .string = {(const char *)item.data, item.number}};
		break;
	case ITEM_BOOL:
		v = (struct capc_value){.type = CAPC_BOOL, .boolean = item.number};
		break;
	case ITEM_FLOAT:
		v = (struct capc_value){.type = CAPC_FLOAT, .real = item.real};
		break;
	default:
		break;
	}
	return args_put(node, &v, false);
}

int
args_decode(const void *data, size_t n, struct capc_args **ret)
{
	cleanup_args struct capc_args *a = args_make(ARGS_OPENED);
	struct decoder d = {.args = a, .p = data, .end = (const uint8_t *)data + n};
	int r;

	if (!a)
		return -ENOMEM;
	if (n > CAPC_ARGS_BYTES_MAX)
		return -EBADMSG;
	r = decode_value(&d, a->root);
	if (r == 0 && d.p != d.end)
		r = -EBADMSG;
	/* Bounds, and keys that are none or come twice. */
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	*ret = take_ptr(a);
	return 0;
}
