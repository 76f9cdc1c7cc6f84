/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages of LMDB 0.9 as they lie in the file; all keys are numbers of 64 bits. Nothing of LMDB
 * is called: it believes what it reads, and this is to find what must not be believed.
 *
 * Only the child that walks a store calls it (verify.c). No page is taken twice, so a pointer that
 * leads back ends the walk; the depth of the recursion is the one that the tree claims, DEPTH_MAX
 * at most. Whatever differs in the least from what LMDB writes is damage: a store that is refused
 * is kept aside, one that is wrongly accepted is overwritten.
 */
#include "config.h"

#include "capfsd/state/btree.h"

#include <string.h>

#define DEPTH_MAX 32 /* as LMDB's own */
#define NO_PAGE SIZE_MAX

enum page_flags {
	PAGE_BRANCH = 1 << 0,
	PAGE_LEAF = 1 << 1,
	PAGE_OVERFLOW = 1 << 2,
};

/* Ahead of a page; the offsets of its nodes follow. */
struct page_header {
	uint64_t number;
	uint16_t unused, flags;
	union {
		struct {
			uint16_t lower, upper; /* what is free, between the offsets and the nodes */
		};
		uint32_t n_pages; /* of an overflow page */
	};
};

/* A record in a leaf, or in a branch a page and the least key in it. */
struct node_header {
	uint16_t low, high; /* of the record's length, or of the page's number */
	uint16_t flags;     /* or the highest part of the page's number */
	uint16_t key_bytes;
};

#define NODE_BIG 1 /* the record is on overflow pages, the first of which stands here */

struct walk {
	struct pages *pages;
	struct lmdb_db found; /* what was counted */
	unsigned depth;       /* that of all leaves */
	uint64_t least;       /* the next key may not be below */
};

bool
pages_take(struct pages *p, size_t number, size_t n)
{
	if (n == 0 || number >= p->n || n > p->n - number)
		return false;
	for (size_t i = number; i < number + n; i++)
		if (p->used[i]++)
			return false;
	return true;
}

static const uint8_t *
page_at(const struct pages *p, size_t number)
{
	return p->map + number * p->page_bytes;
}

/*
 * The key of a node: ascending through the whole tree, since LMDB would look for others in the
 * wrong subtree. The largest number is no key, so that one more than a key never wraps.
 */
static bool
take_key(struct walk *w, const uint8_t *key, bool leaf)
{
	uint64_t value;

	memcpy(&value, key, sizeof(value));
	if (value < w->least || value == UINT64_MAX)
		return false;
	w->least = value + leaf;
	return true;
}

/* The pages must be enough for the record: LMDB would else read on into those behind them. */
static bool
take_overflow(struct walk *w, const uint8_t *data, size_t bytes)
{
	const struct pages *p = w->pages;
	struct page_header h;
	uint64_t number;

	memcpy(&number, data, sizeof(number));
	if (number >= p->n)
		return false;
	memcpy(&h, page_at(p, number), sizeof(h));
	if (h.number != number || h.flags != PAGE_OVERFLOW ||
		(uint64_t)h.n_pages * p->page_bytes < sizeof(h) + bytes)
		return false;
	w->found.overflow_pages += h.n_pages;
	return pages_take(w->pages, number, h.n_pages);
}

/*
 * Returns: what the record takes in its page; 0: it is damaged. Its key and, if the record is big,
 * the number of its first overflow page must lie within the page before they are looked at.
 */
static size_t
take_record(struct walk *w, const uint8_t *node, const struct node_header *h, size_t room)
{
	const uint8_t *key = node + sizeof(*h);
	size_t bytes = h->low | (size_t)h->high << 16;
	bool big = h->flags & NODE_BIG;
	size_t n = sizeof(*h) + sizeof(uint64_t) + (big ? sizeof(uint64_t) : bytes);

	if (h->key_bytes != sizeof(uint64_t) || (h->flags & ~NODE_BIG) || n > room ||
		!take_key(w, key, true))
		return 0;
	w->found.entries++;
	return !big || take_overflow(w, key + sizeof(uint64_t), bytes) ? n : 0;
}

static bool take_page(struct walk *w, size_t number, unsigned depth);

/*
 * The first of a branch has no key, or one without meaning, so that its length is not looked at.
 * The page's number has 48 bits, in three places of the header.
 */
static size_t
take_child(struct walk *w, const uint8_t *node, const struct node_header *h, size_t room,
	bool first, unsigned depth)
{
	size_t page = h->low | (size_t)h->high << 16 | (size_t)h->flags << 32;
	size_t n = sizeof(*h) + h->key_bytes;

	if (n > room || (!first && h->key_bytes != sizeof(uint64_t)))
		return 0;
	if (!first && !take_key(w, node + sizeof(*h), false))
		return 0;
	return take_page(w, page, depth + 1) ? n : 0;
}

/*
 * The nodes fill the page from UPPER to its end, without gaps, so the sum of their lengths is
 * known.
 */
static bool
take_nodes(struct walk *w, const uint8_t *page, const struct page_header *p, unsigned depth)
{
	size_t page_bytes = w->pages->page_bytes, n_nodes = (p->lower - sizeof(*p)) / 2, sum = 0;

	for (size_t i = 0; i < n_nodes; i++) {
		struct node_header h;
		uint16_t at;
		size_t n;

		memcpy(&at, page + sizeof(*p) + 2 * i, sizeof(at));
		if (at < p->upper || at > page_bytes - sizeof(h) || at % 2)
			return false;
		memcpy(&h, page + at, sizeof(h));
		if (p->flags == PAGE_LEAF)
			n = take_record(w, page + at, &h, page_bytes - at);
		else
			n = take_child(w, page + at, &h, page_bytes - at, i == 0, depth);
		if (n == 0)
			return false;
		sum += (n + 1) & ~(size_t)1;
	}
	return sum == page_bytes - p->upper;
}

/*
 * All leaves are equally deep, so the depth tells what the page must be. Without a node in it LMDB
 * would read the one that is not there.
 */
static bool
take_page(struct walk *w, size_t number, unsigned depth)
{
	struct page_header h;

	if (depth > w->depth || !pages_take(w->pages, number, 1))
		return false;
	memcpy(&h, page_at(w->pages, number), sizeof(h));
	if (h.number != number || h.flags != (depth == w->depth ? PAGE_LEAF : PAGE_BRANCH))
		return false;
	if (h.lower < sizeof(h) + 2 || h.lower % 2 || h.lower > h.upper ||
		h.upper > w->pages->page_bytes)
		return false;
	if (depth == w->depth)
		w->found.leaf_pages++;
	else
		w->found.branch_pages++;
	return take_nodes(w, page_at(w->pages, number), &h, depth);
}

/* What was counted must be what the meta page says: LMDB computes with those numbers as well. */
bool
pages_take_tree(struct pages *p, const struct lmdb_db *db)
{
	struct walk w = {.pages = p, .depth = db->depth};

	if (db->depth == 0)
		return db->root == NO_PAGE && db->entries == 0;
	return db->depth <= DEPTH_MAX && take_page(&w, db->root, 1) &&
		w.found.branch_pages == db->branch_pages &&
		w.found.leaf_pages == db->leaf_pages &&
		w.found.overflow_pages == db->overflow_pages && w.found.entries == db->entries;
}
