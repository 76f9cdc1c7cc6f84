/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chains in a power of two of buckets, about one member in each. Peers choose the names that are
 * hashed, so what counts is that they cannot choose the chain: the seed is secret, and each word passes
 * a multiplication that mixes all of its bits.
 */
#include "config.h"

#include "base/index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Both halves of the product: a bit of A or B changes about half of the result. */
static uint64_t
mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t
index_hash(uint64_t seed, const void *data, size_t n)
{
	const unsigned char *bytes = data;
	uint64_t hash = seed ^ (n * UINT64_C(0x9e3779b97f4a7c15));
	uint64_t word;

	while (n > 0) {
		size_t part = n < sizeof(word) ? n : sizeof(word);

		word = 0;
		memcpy(&word, bytes, part);
		hash = mix(hash ^ word ^ UINT64_C(0xa0761d6478bd642f),
			seed ^ UINT64_C(0xe7037ed1a0b428db));
		bytes += part;
		n -= part;
	}
	return mix(hash ^ UINT64_C(0x8ebc6af09c88c6e3), seed | 1);
}

uint64_t
index_hash_id(uint64_t id)
{
	return mix(id ^ UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db));
}

/* Members keep their hash, so that no name is read again to move them. */
static int
index_resize(struct index *x, size_t size)
{
	struct index_link **buckets, *link, *next;

	buckets = calloc(size, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	for (size_t i = 0; i < x->size; i++)
		for (link = x->buckets[i]; link; link = next) {
			next = link->next;
			link->next = buckets[link->hash & (size - 1)];
			buckets[link->hash & (size - 1)] = link;
		}
	free(x->buckets);
	x->buckets = buckets;
	x->size = size;
	return 0;
}

int
index_reserve(struct index *x, size_t n)
{
	size_t size = x->size ? x->size : 16;

	while (size < n)
		size *= 2;
	return size == x->size ? 0 : index_resize(x, size);
}

int
index_add(struct index *x, struct index_link *link, uint64_t hash)
{
	int r;

	if (x->n >= x->size) {
		/* With longer chains it goes on; only without any there is no place for it. */
		r = index_reserve(x, x->n + 1);
		if (r < 0 && x->size == 0)
			return r;
	}
	link->hash = hash;
	link->next = x->buckets[hash & (x->size - 1)];
	x->buckets[hash & (x->size - 1)] = link;
	x->n++;
	return 0;
}

void
index_remove(struct index *x, struct index_link *link)
{
	struct index_link **p = &x->buckets[link->hash & (x->size - 1)];

	while (*p && *p != link)
		p = &(*p)->next;
	assert(*p);
	*p = link->next;
	link->next = NULL;
	x->n--;
}

/* The bucket is read here, but as nothing depends on it, the next one is as well meanwhile. */
void
index_prefetch(const struct index *x, const struct index_link *link)
{
	__builtin_prefetch(x->buckets[link->hash & (x->size - 1)]);
}

struct index_link *
index_first(const struct index *x, uint64_t hash)
{
	struct index_link *link = x->size ? x->buckets[hash & (x->size - 1)] : NULL;

	while (link && link->hash != hash)
		link = link->next;
	return link;
}

struct index_link *
index_next(const struct index_link *link)
{
	struct index_link *next = link->next;

	while (next && next->hash != link->hash)
		next = next->next;
	return next;
}

void
index_deinit(struct index *x)
{
	assert(x->n == 0);
	free(x->buckets);
	*x = (struct index){};
}
