/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who owns which page of a store. LMDB believes every page number that it finds, also those of its
 * list of free pages, and writes there: one flipped bit, and a later transaction overwrites what is
 * in use. So each page must be used once, by a tree or by that list.
 *
 * Reads whatever stands in the mapped file and may crash of it: only for a process of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One database as a meta page describes it; there are two: the list of free pages, and ours. */
struct lmdb_db {
	uint32_t page_bytes; /* in the first of the two databases only */
	uint16_t flags, depth;
	size_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct pages {
	const uint8_t *map;
	size_t page_bytes;
	size_t n;      /* pages up to the last one in use */
	uint8_t *used; /* one byte each */
};

/* Takes page NUMBER, and so many after it. false: it is not there, or is taken. */
bool pages_take(struct pages *p, size_t number, size_t n);

/* Takes all pages of DB, which must be as it says. Returns: is all well? */
bool pages_take_tree(struct pages *p, const struct lmdb_db *db);
