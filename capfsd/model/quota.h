/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quota: what a session may hold. It is moved between a session and its parent, never made. At
 * every session and for every kind,
 *
 *	limit = used + lent + free
 *
 * where `lent` is the sum of the children's limits and `used` the sum of the charges. `free` is
 * what is left; it is computed, never stored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

#define LIMIT_NONE UINT64_MAX /* of whatever has a limit, or comes to an end */

enum quota_kind {
	QUOTA_CAPS,
	QUOTA_SOCKETS,
	QUOTA_THREADS,
	QUOTA_RAM, /* bytes */
	QUOTA_INFLIGHT,
	QUOTA_N_KINDS,
};

#define QUOTA_RAM_SLOT 512
#define QUOTA_RAM_SESSION 4096

/* An amount of each kind. */
struct quota {
	uint64_t n[QUOTA_N_KINDS];
};

/* "caps", "sockets", "threads", "ram", "inflight". */
const char *quota_kind_name(enum quota_kind kind);
/* The kind of that name, or QUOTA_N_KINDS. */
enum quota_kind quota_kind_find(const char *name, size_t n);

enum {
	QUOTA_E_EXCEEDED = 1, /* more than is free there */
	QUOTA_E_DONATION,     /* the session would fall below its first donation */
};

uint64_t quota_free(const struct session *s, enum quota_kind kind);
/* What can be charged: what is free, and what events would give up. */
uint64_t quota_available(const struct session *s, enum quota_kind kind);

/*
 * A charge is embedded in the thing that costs; releasing it, also twice or when it was never
 * made, gives everything back.
 */
struct charge {
	struct session *session; /* NULL: not charged */
	uint32_t n;
	uint8_t kind;
};

/* Returns: 0 or QUOTA_E_EXCEEDED; then nothing is charged. */
int charge_init(struct charge *c, struct session *s, enum quota_kind kind, uint32_t n);
void charge_deinit(struct charge *c);
/* C has what MORE, of the same kind and session, has had. */
void charge_merge(struct charge *c, struct charge *more);

/* Is S the session TOP or below it? */
bool quota_is_below(const struct session *s, const struct session *top);

/*
 * For places that the daemon has few of and no kind of quota: may S have one more, so that one subtree
 * never uses up what its neighbours need? The root may have MAX, and each session half of what all others
 * leave of those of its parent, where a half is no less than MIN: however many there are that take all
 * they can, there is a place for the next. COUNT says how many there are below TOP.
 */
bool quota_share_left(const struct session *s, size_t max, size_t min,
	size_t (*count)(const void *data, const struct session *top), const void *data);

/*
 * The descendant session, S included, that uses most of this kind itself: named when a quota is
 * exceeded. `lent` quota is searched too, but no more than so many sessions: whoever is refused again
 * and again must not keep the daemon busy. Never NULL.
 */
#define QUOTA_SEARCHED 4096
struct session *quota_largest(struct session *s, enum quota_kind kind);
