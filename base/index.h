/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hash table with its links inside the members. It owns no member and allocates only its
 * buckets. Growing may fail without harm: the chains become longer.
 *
 * Callers hash with index_hash(), which is keyed by a secret of this process, since names are
 * chosen by peers who may want every name in one chain.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct index_link {
	struct index_link *next;
	uint64_t hash;
};

struct index {
	struct index_link **buckets;
	size_t n;
	size_t size; /* a power of two, or 0 before the first member */
};

uint64_t index_hash(uint64_t seed, const void *data, size_t n);
uint64_t index_hash_id(uint64_t id);

/* Makes room for N members at once. Returns: 0, or -ENOMEM. */
int index_reserve(struct index *x, size_t n);

/* Returns: 0, or -ENOMEM, only while the table has no bucket at all. */
int index_add(struct index *x, struct index_link *link, uint64_t hash);
void index_remove(struct index *x, struct index_link *link);
/* LINK will be removed soon: what that has to read is fetched, without waiting for it. */
void index_prefetch(const struct index *x, const struct index_link *link);

/* The first link with this hash, then the next: the caller compares. NULL at the end. */
struct index_link *index_first(const struct index *x, uint64_t hash);
struct index_link *index_next(const struct index_link *link);

void index_deinit(struct index *x);
