/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a capability refers to. Its record has the number of its type and the id of its target, and
 * a row for each type tells all that differs: of what kind the target is, which rights there are
 * beside the common ones, who serves it, what `info` says of it and which limits can be kept.
 *
 * The rows stand in capfsd/types, one file each, and only there and in verbs that are about objects
 * may anything depend on a capability's type; all others ask the row, or capability_service() when
 * they want to connect or to serve.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/model/entity.h"

struct entrypoint;
struct text;

/* They stand in records, so a number that was given once keeps its meaning for ever. */
enum capability_type {
	TYPE_OBJECT = 0,
	TYPE_SIGNAL,
	TYPE_SESSION,
	TYPE_THREAD,
	TYPE_FD,
	N_CAPABILITY_TYPES,
};

/*
 * Who serves a capability, and how: all that a connection needs to know of its target. Where there
 * is no entrypoint the daemon answers itself (capfsd/answers); or nobody ever will, and it cannot be
 * connected to.
 */
struct service {
	struct entrypoint *entrypoint;
	bool answered;   /* by the daemon itself; then there is no entrypoint */
	bool controlled; /* … in the control protocol, whose paths begin at … */
	struct entity *root; /* … this; NULL: it has ended, and so has the capability */
	uint64_t object; /* the target's id */
	uint64_t key;    /* by which the server knows the target, and the system */
	uint64_t badge;
	int socket;   /* SOCK_STREAM or SOCK_SEQPACKET */
	bool listens; /* the server accepts by itself, and the daemon sees no connection */
	bool calls;   /* the library's protocol is spoken */
	bool counts;  /* the server counts its calls, which else are connections */
	bool fds;     /* the server takes descriptors … */
	bool fds_own; /* … through an origin alone: nothing that is derived from it has that right */
	bool empty;   /* the daemon has nothing to answer with */
	bool copies;  /* what it answers with cannot be taken back */
	bool caveats; /* the server keeps caveats */
};

/* What a service may be unable to keep. An expiry, and the other rights, always are. */
enum kept_limit {
	KEPT_CALLS = 1 << 0,
	KEPT_CONNS = 1 << 1,
	KEPT_RATE = 1 << 2,
	KEPT_METHODS = 1 << 3,
	KEPT_FDS = 1 << 4, /* that none are sent to a server that takes them */
	KEPT_CAVEATS = 1 << 5,
	KEPT_ALL = KEPT_CALLS | KEPT_CONNS | KEPT_RATE | KEPT_METHODS | KEPT_FDS | KEPT_CAVEATS,
};

struct kept_limits {
	uint32_t kept;   /* enum kept_limit */
	const char *why; /* not the others: ends "the limit 'L' cannot be kept for NAME" */
};

struct type {
	const char *name;        /* in info and in what a receiver is told: "object" */
	uint32_t rights;         /* of its own, beside RIGHTS_COMMON */
	uint32_t connects;       /* any of these lets one connect */
	enum entity_kind target; /* a record that refers to another kind is damaged */
	bool reaches;            /* it is for a session, which is named by it, and reached through it (tie.h) */
	/* Where the target lists the capabilities that were made with it, and go with it. */
	struct list *(*origins)(struct entity *target);
	struct service (*service)(const struct capability *c);
	/* The lines of info that follow type= and are about the target. */
	void (*describe)(const struct capability *c, struct text *t);
	struct kept_limits (*limits)(const struct capability *c);
};

/* Filled in types/types.c; each has a row. */
extern const struct type *const capability_types[N_CAPABILITY_TYPES];

_Static_assert(N_CAPABILITY_TYPES - 1 <= UINT8_MAX, "capability_record has a byte for it");

/* A record's type is checked when it is loaded, so this is for every capability that there is. */
static inline const struct type *
capability_type(const struct capability *c)
{
	return capability_types[c->record.type];
}

static inline struct service
capability_service(const struct capability *c)
{
	return capability_type(c)->service(c);
}

/* What C, with all that it came from, still lets one connect with. 0: nothing. */
static inline uint32_t
capability_connects(const struct capability *c)
{
	return capability_rights(c) & capability_type(c)->connects;
}

/*
 * Stages an origin: the first capability of this type to TARGET, without parent.
 * Returns: 0, CAPABILITY_E_EXISTS, _ENDING, _NAME, _QUOTA_*, _CLOSING; -errno.
 */
int capability_originate(struct change *ch, enum capability_type type, struct entity *target,
	struct session *to, const char *name, size_t n_name, uint32_t rights, uid_t by_uid,
	struct capability **ret);

/* Appends "type=NAME" and what the type has to say, a line each. */
void capability_describe(const struct capability *c, struct text *t);

/* The first limit that HOW sets and KEPT has not, as commands call it; NULL: all can be kept. */
const char *reductions_not_kept(const struct reductions *how, uint32_t kept);
