/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two pages of an entrypoint whose server counts calls: memory files of fixed size, sparse,
 * sealed against a change of it. doc/PROTOCOL describes them, and changes with this file.
 *
 * `granted` is written by the daemon alone: what each capability may. `used` is written by the
 * server alone: what each has used; but for where an entry begins, which the daemon writes before the
 * server hears of it. Both are arrays with the same indexes. Everything is words of 64
 * bits in the machine's order, little-endian wherever we run, read and written one at a time.
 *
 * A reader finds an entry by its index, and believes it while `capability` is the id that it looks
 * for, before and after it has read the others: ids never come again, and the daemon clears it first
 * and sets it last. In an entry that stays, rights and limits are one when `sequence` is even, and the
 * same before and after they were read: a mixture of old and new may be more than either.
 */
#pragma once

#include <stdint.h>

#define PAGES_VERSION 1
#define PAGES_MAGIC UINT64_C(0x7367617066706163)
#define PAGES_ENTRIES (1 << 20)
#define PAGES_METHODS 4
#define PAGES_NO_LIMIT UINT64_MAX
#define PAGES_DEPTH_MAX 1025 /* entries from a capability to its origin */
#define PAGES_SECOND_USEC UINT64_C(1000000)

struct granted_entry {
	uint64_t capability;   /* its id; 0: it has ended, or there is none */
	uint64_t parent;       /* the id of what it was derived from, 0: it is an origin */
	uint64_t parent_index; /* the entry of that */
	uint64_t rights;
	uint64_t revoked_upto; /* what is derived from it with an id up to this one has ended */
	uint64_t calls_limit;  /* PAGES_NO_LIMIT: nothing is counted */
	uint64_t rate;         /* calls a second, PAGES_NO_LIMIT */
	uint64_t sequence;     /* another one, odd meanwhile, when rights and limits are written */
	uint64_t methods[PAGES_METHODS]; /* first | last << 32; first > last: none */
	uint64_t reserved[4];
};

/* In the place of the entry 0 of `granted`; no capability has that index. */
struct granted_header {
	uint64_t zero; /* as the id of an ended one */
	uint64_t magic, version, n_entries;
	uint64_t identity; /* the daemon's, for itself; also in the first word of `used` */
};

struct used_entry {
	uint64_t calls;
	uint64_t rate_at; /* usec of CLOCK_MONOTONIC: from then on all of a second's calls are there */
};

#define PAGES_GRANTED_BYTES (PAGES_ENTRIES * sizeof(struct granted_entry))
#define PAGES_USED_BYTES (PAGES_ENTRIES * sizeof(struct used_entry))

_Static_assert(sizeof(struct granted_entry) == 128, "as in doc/PROTOCOL");
_Static_assert(sizeof(struct used_entry) == 16, "as in doc/PROTOCOL");

/* Between two calls of a limited rate; rounded up: never more than the limit. */
static inline uint64_t
pages_rate_interval(uint64_t rate)
{
	return (PAGES_SECOND_USEC + rate - 1) / rate;
}
