/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is stored of a capability. Members are added where there was nothing, and keep their meaning. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "capfsd/kinds/capability/methods.h"
#include "capfsd/kinds/capability/rights.h"

#define RATE_MAX UINT64_C(1000000) /* a second */
#define CAPABILITY_MODE_INHERIT 0xffff
/* As `by_uid`, which are nobody's: it was made by a share, and ends with that; … and somebody else has ended it. */
#define BY_SHARE UINT32_MAX
#define BY_SHARE_ENDED (UINT32_MAX - 1)

enum capability_flags {
	CAPABILITY_DEAD = 1 << 0, /* ended, and so are all its descendants; being reaped */
};

struct capability_record {
	uint64_t session;
	uint64_t target; /* what it refers to, of the kind that its type tells */
	uint64_t parent; /* 0: an origin, made with the target */
	uint64_t since_usec;
	uint64_t expires_usec; /* CLOCK_REALTIME; LIMIT_NONE: with its parent */
	uint64_t calls_limit, calls_used;
	uint64_t conns_limit;
	uint64_t rate_limit;   /* calls a second */
	uint64_t rate_at_usec; /* CLOCK_REALTIME: from then on all of a second's are there again */
	uint64_t revoked_upto; /* children with an id up to this one are dead: one record ends a million */
	uint32_t rights;
	uint32_t by_uid; /* who made it */
	uint32_t uid, gid; /* used only when mode is not CAPABILITY_MODE_INHERIT */
	uint16_t mode;
	uint16_t flags;
	uint8_t n_methods;   /* ranges of `methods`; 0: all methods */
	uint8_t type;        /* enum capability_type */
	uint8_t marks;       /* record_rights(), record_n_caveats() */
	uint8_t was_shown;   /* as of its session (session.h); that one's counted before it had a mode */
	/* Where its server counts its calls: this entry in the pages of that attachment. */
	uint32_t page_attachment, page_index;
	struct method_range methods[METHODS_MAX];
};

/*
 * What came later than `rights`, in a byte that older daemons read as "without RIGHT_FDS" where it is not 0.
 *
 * RIGHT_FDS: records of 0.1.0 lack it though nobody took it away, and a daemon of 0.1.0 refuses records
 * that have it. So what is stored is that it is gone.
 *
 * Caveats: a daemon that does not know them would hand out connections without. So where a capability has any,
 * `rights` lacks RIGHT_CALL, without which no daemon makes a connection, takes one up, or lets anything that is
 * derived from it have one; that it is there stands here. As no record is without rights, one that has no other
 * has RIGHT_REDUCE in its place. An older daemon that changes the record clears this byte, and with it the right.
 */
enum capability_marks {
	MARK_NO_FDS = 1 << 0,
	MARK_CALL = 1 << 1,      /* of one that has caveats */
	MARK_NO_REDUCE = 1 << 2, /* likewise: that it stands in `rights` means nothing */
	MARK_CAVEATS_SHIFT = 3,  /* the rest is the number of its own caveats */
};

static inline unsigned
record_n_caveats(const struct capability_record *r)
{
	return r->marks >> MARK_CAVEATS_SHIFT;
}

static inline uint32_t
record_rights(const struct capability_record *r)
{
	uint32_t rights = r->rights;

	if (record_n_caveats(r) > 0) {
		if (r->marks & MARK_NO_REDUCE)
			rights &= ~(uint32_t)RIGHT_REDUCE;
		rights |= r->marks & MARK_CALL ? RIGHT_CALL : 0;
	}
	return rights | (r->marks & MARK_NO_FDS ? 0 : RIGHT_FDS);
}

static inline void
record_set(struct capability_record *r, uint32_t rights, unsigned n_caveats)
{
	r->rights = rights & ~(uint32_t)RIGHT_FDS;
	r->marks = (uint8_t)(n_caveats << MARK_CAVEATS_SHIFT);
	if (!(rights & RIGHT_FDS))
		r->marks |= MARK_NO_FDS;
	if (n_caveats == 0)
		return;
	if (rights & RIGHT_CALL)
		r->marks |= MARK_CALL;
	r->rights &= ~(uint32_t)RIGHT_CALL;
	if (!r->rights) {
		r->marks |= MARK_NO_REDUCE;
		r->rights = RIGHT_REDUCE;
	}
}

static inline void
record_set_rights(struct capability_record *r, uint32_t rights)
{
	record_set(r, rights, record_n_caveats(r));
}

static inline void
record_set_caveats(struct capability_record *r, unsigned n)
{
	record_set(r, record_rights(r), n);
}

static inline struct methods
record_methods(const struct capability_record *r)
{
	struct methods m = {.n = r->n_methods};

	memcpy(m.range, r->methods, sizeof(m.range));
	return m;
}

static inline void
record_set_methods(struct capability_record *r, const struct methods *m)
{
	r->n_methods = (uint8_t)m->n;
	memcpy(r->methods, m->range, sizeof(r->methods));
}
