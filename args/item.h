/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CBOR (RFC 8949) an item at a time, by libcbor. Each item has one form here, the shortest one that
 * its kind has (section 4.1); lengths are definite. So a tree that was decoded and encoded again is
 * the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum item_kind {
	ITEM_NONE,
	ITEM_UINT,
	ITEM_NEGINT, /* -1 - number */
	ITEM_BYTES,
	ITEM_TEXT,
	ITEM_ARRAY, /* of `number` items, which follow */
	ITEM_MAP,   /* of twice as many */
	ITEM_TAG,   /* of the item that follows */
	ITEM_NULL,
	ITEM_BOOL,
	ITEM_FLOAT,
};

struct item {
	enum item_kind kind;
	uint64_t number; /* of integers, tags, collections; of strings the length; of a bool 0 or 1
			  */
	double real;
	const uint8_t
		*data;	/* of strings; of integers above 32 bits their eight, the first one first */
	unsigned width; /* bytes of a float */
};

/* Takes an item from *P. Returns: 0, -EBADMSG. */
int item_take(const uint8_t **p, const uint8_t *end, struct item *ret);

/* Adds the item; of strings the head alone. */
void item_add(struct text *t, enum item_kind kind, uint64_t number);
void item_add_float(struct text *t, double real);
