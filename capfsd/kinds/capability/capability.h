/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A capability: a named slot in a session that refers to an object with rights and limits, and
 * remembers what it was derived from. Everything is one primitive, derive, and its inverse, end.
 *
 * Invariants: rights are a subset of the parent's; a limit is at most the parent's at the time of
 * the derivation, or of its adjustment, and use counts against the capability and all its ancestors, so that a parent
 * that shrinks later shrinks its descendants with it; expires is never after the parent's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"
#include "capfsd/kinds/capability/capability-record.h"

struct change;
struct entrypoint;
struct kind;
struct session;
struct text;

extern const struct kind capability_kind;

/* Its place among those that expire (expiry.c). */
struct expiry {
	struct capability *before, *after;
};

struct capability {
	struct entity entity;
	struct capability_record record;
	struct session *session;
	struct entity *target;
	struct capability *parent;
	struct list children;    /* of struct capability, sibling_link */
	struct list sibling_link;
	struct list aliases;     /* of struct alias */
	struct ruled *ruled;     /* a policy has given it (asking/policy.h); NULL: none */
	struct list caveats;     /* of struct caveat: its own */
	struct list shares;      /* of struct share: one at most */
	struct visit *visit;     /* for which it was made; NULL: it is a slot like others */
	struct tie *tie;         /* that ends it with another slot; NULL: none */
	struct tie *ties;        /* one of those that end with it, which are a ring (tie.h); NULL: none do */
	union {
		struct list origin_link; /* where its type lists them, when parent is NULL */
		struct list twins;       /* when it is not: a ring of those of one session */
	};
	struct index_link held_link; /* model.by_holder, only of the first of its twins */
	struct expiry expiry;    /* in model.expiring */
	uint32_t n_children;
	uint32_t conns_used;     /* of itself and all its descendants */
};

static inline struct capability *
capability_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct capability, entity);
}

/* What a derivation or a reduction asks for; absent members keep what the source has. */
struct reductions {
	bool has_rights, has_methods, has_calls, has_conns, has_rate, has_expires, immutable;
	uint32_t rights;
	struct methods methods;
	uint64_t calls, conns, rate, expires_usec;
	unsigned n_only;  /* caveats: so many texts … */
	const char *only; /* … each with a 0 behind it */
};

enum {
	CAPABILITY_E_DEAD = 1,     /* ended, expired, or an ancestor is */
	CAPABILITY_E_RIGHT,        /* the source lacks the right for the operation */
	CAPABILITY_E_NOT_HELD,     /* asks for rights that the source does not have */
	CAPABILITY_E_NOT_SMALLER,  /* a reduction that is none, or leaves nothing, or a larger limit */
	CAPABILITY_E_IN_USE,       /* less than what is in use */
	CAPABILITY_E_EXISTS,       /* the name is taken in that session */
	CAPABILITY_E_ENDING,       /* by one that has ended, and is being removed */
	CAPABILITY_E_NAME,
	CAPABILITY_E_QUOTA_CAPS,   /* the receiving session's quota */
	CAPABILITY_E_QUOTA_RAM,
	CAPABILITY_E_CLOSING,      /* the receiving session is being closed */
	CAPABILITY_E_DEPTH,        /* DERIVATION_DEPTH_MAX */
	CAPABILITY_E_TIES,         /* TIE_DEPTH_MAX (tie.h) */
	CAPABILITY_E_CAVEATS,      /* more than CAVEATS_OWN_MAX, or CAVEATS_MAX with its ancestors' */
	CAPABILITY_E_LIMIT_CALLS,  /* a limit is reached: here or at an ancestor */
	CAPABILITY_E_LIMIT_RATE,
	CAPABILITY_E_ABOVE,        /* a limit would be larger than that of what it was derived from */
	CAPABILITY_E_OWN,          /* that right stays with it */
	CAPABILITY_E_NO_PART,      /* not a part of it that leaves something on either side */
	CAPABILITY_E_INDIVISIBLE,  /* a limit that both sides have of it is 1, or 1 is left of it */
};

/* Who serves it; NULL: nobody, for ever. Whoever wants more asks capability_service() (type.h). */
struct entrypoint *capability_entrypoint(const struct capability *c);

/*
 * Neither it nor an ancestor is dead (marked, or at or below its parent's revoked_upto) or expired,
 * none of their sessions is closing, and the object and its entrypoint have not ended.
 */
bool capability_is_live(const struct capability *c);

/* Marked dead: itself, an ancestor, a session of these, or the object. Not: expired. */
bool capability_is_doomed(const struct capability *c);

/* The rights that count: those that it and all its ancestors have. */
uint32_t capability_rights(const struct capability *c);

/*
 * Does its server count its calls and their rate, as those of the library do? Else each connection
 * is a call, and is counted when it is made.
 */
bool capability_counts_calls(const struct capability *c);

/*
 * Its calls up to now: by the server's own word, which is not believed where it would be less than
 * before, or more than the limit.
 */
uint64_t capability_calls_used(const struct capability *c);

/* The entry that it has in the pages of who serves it now; 0: none. */
uint32_t capability_page_index(const struct capability *c);

/* The methods that count: those in all sets of it and its ancestors, "0-3,7"; nothing: all. */
void capability_format_methods(const struct capability *c, struct text *t);

/*
 * The first range of these that ends at *FIRST or behind it, and begins there or behind it; *FIRST is 0 for
 * the first, and the one behind the last of the range before for the next. Returns: false: no more.
 */
bool capability_next_methods(const struct capability *c, uint64_t *first, uint64_t *ret_last);

/* The smallest expiry of it and its ancestors, and what is left of calls, conns and rate there. */
uint64_t capability_expires(const struct capability *c);
uint64_t capability_calls_left(const struct capability *c);
uint64_t capability_conns_left(const struct capability *c);
uint64_t capability_rate_left(const struct capability *c);

/* The uid, gid and mode that count: its own or its session's. */
void capability_owner(const struct capability *c, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_mode);

/* May it be that somebody has a descriptor of its socket who was never allowed to use it? */
bool capability_was_shown(const struct capability *c);

/*
 * Stages a capability derived from SOURCE in session TO. NAME NULL: the source's name, or
 * NAME-2, NAME-3… when it is taken. The receiving session pays caps=1 ram=512.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT (grant), _NOT_HELD, _NOT_SMALLER, _EXISTS, _ENDING, _NAME,
 * _QUOTA_*, _CLOSING, _DEPTH, _CAVEATS; -errno. On refusal nothing is staged.
 */
int capability_grant(struct change *ch, struct capability *source, struct session *to,
	const char *name, size_t n_name, const struct reductions *how, uid_t by_uid,
	struct capability **ret);

/*
 * What S holds already of all that C gives: C itself, the nearest that C was derived from, or what was
 * derived from C directly. NULL: nothing. C must be live, and then so is what is found.
 */
struct capability *capability_slot_in(struct model *m, const struct session *s, struct capability *c);

/* The live ones that S has of what was derived from C directly, one after the other; NULL: the first, no more. */
struct capability *capability_next_in(struct model *m, const struct session *s, struct capability *c,
	struct capability *before);

/*
 * Stages a capability derived from SOURCE in the same session, under another name.
 * Returns: as capability_grant(); _RIGHT is replicate.
 */
int capability_replicate(struct change *ch, struct capability *source, const char *name,
	size_t n_name, const struct reductions *how, uid_t by_uid, struct capability **ret);

/*
 * Stages the move of SOURCE to session TO: there is one like it, derived from what SOURCE was
 * derived from, and SOURCE ends. What is used of its limits stays used.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT (transfer), _IN_USE (connections, or something is derived
 * from it), _EXISTS, _ENDING, _NAME, _QUOTA_*, _CLOSING; -ENOMEM.
 */
int capability_transfer(struct change *ch, struct capability *source, struct session *to,
	const char *name, size_t n_name, uid_t by_uid, struct capability **ret);

/*
 * Stages a reduction in place. Every member that is given must be at most what C has, and one
 * of them strictly less; rights stay non-empty, limits stay at or above what is in use.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT (reduce), _NOT_HELD, _NOT_SMALLER, _IN_USE, _CAVEATS, _QUOTA_RAM;
 * -errno.
 */
int capability_reduce(struct change *ch, struct capability *c, const struct reductions *how);

/*
 * Stages two of one: a slot beside SOURCE, derived from what SOURCE was derived from, with what HOW has of
 * rights, methods or calls, one of these; SOURCE keeps the rest, its id and its connections. Where
 * both can be used their limits are halved, of calls and conns what is left, so that both have together no more
 * than SOURCE had.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT (reduce), _NOT_HELD, _NO_PART, _IN_USE (more than what is left of
 * calls), _INDIVISIBLE, _EXISTS, _ENDING, _NAME, _QUOTA_*, _CLOSING; -errno.
 */
int capability_split(struct change *ch, struct capability *source, const struct reductions *how,
	const char *name, size_t n_name, uid_t by_uid, struct capability **ret);

/*
 * Stages another limit, or other rights, for C, which was derived from something: up or down within what that
 * has now. Members that are not given stay as they are, and so do its id, its slot and its connections.
 * Returns: 0, also when nothing changes; CAPABILITY_E_DEAD, _RIGHT (grant, of its parent), _NOT_HELD (rights
 * that the parent has not), _ABOVE, _NOT_SMALLER (nothing would be left), _IN_USE, _CAVEATS, _QUOTA_RAM; -errno.
 */
int capability_adjust(struct change *ch, struct capability *c, const struct reductions *how);

/*
 * Stages that USED of C's calls are used up. A server that counts would not hear of it.
 * Returns: 0, CAPABILITY_E_DEAD, _RIGHT (reduce), _NOT_SMALLER (C has no limit of calls, or not so many, or has
 * used more), _IN_USE (by a server that counts); -ENOMEM.
 */
int capability_use_up(struct change *ch, struct capability *c, uint64_t used);

/* Stages a new name. Returns: 0, CAPABILITY_E_EXISTS, _ENDING, _NAME, _DEAD; -ENOMEM. */
int capability_rename(struct change *ch, struct capability *c, const char *name, size_t n);

/*
 * Stages the end of C and everything derived from it: one dead mark, which every check up the
 * parents sees. model_reap() removes them after the commit. Idempotent.
 * Returns: 0 or -ENOMEM.
 */
int capability_end(struct change *ch, struct capability *c);

/*
 * Stages the end of all that is derived from C, and not of C: one mark in C's record
 * (`revoked_upto`), whatever the number of its children; later derivations live.
 * Returns: 0 or -ENOMEM.
 */
int capability_end_children(struct change *ch, struct capability *c);

/* C's next descendant in depth-first order below TOP, or NULL: for loops over all that is derived. */
struct capability *capability_next_below(const struct capability *top, struct capability *c);
/* The same, past all that is derived from C. */
struct capability *capability_next_beside(const struct capability *top, struct capability *c);
