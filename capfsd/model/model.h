/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The model: entities and the changes to them, quota, events, and sessions, the accounts to which
 * all else belongs. It owns every entity and index; the broker owns it and uses it from one thread.
 * Whoever reads may look at entities, until the next change; whoever changes does it by a struct
 * change (change.h) and in no other way.
 *
 * It never does anything by itself, and knows no FUSE, no sockets, no event loop: what it must keep
 * it gives to a store, what others must learn it tells by hooks, and what a kind of entity is it
 * looks up in a table that stands above it (kind.h).
 *
 * The model in memory is a cache of the store, rebuilt at the start by one scan in order of keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/index.h"
#include "base/list.h"
#include "capfsd/model/change.h"
#include "capfsd/model/counters.h"
#include "capfsd/model/entity.h"
#include "capfsd/model/event.h"
#include "capfsd/model/quota.h"
#include "capfsd/model/session.h"

struct capability;
struct passage;
struct program;

/*
 * Keys of the store: a space in the top byte, an id below it. Entities come in order of their ids,
 * and an owner, an object or a parent always has a smaller id than what refers to it. A daemon reads no
 * space that it does not know, and lets it be.
 */
enum store_space {
	STORE_ENTITY = 1,   /* id: kind, record, name */
	STORE_HEADER = 2,   /* one record: counters */
	STORE_EVENT = 3,    /* event number: line and where it stands in each session's log */
	STORE_REPLY = 4,    /* of the fronts: committed replies */
	STORE_CONNECTION = 5, /* socket cookie: struct connection_record */
	STORE_OPEN = 6,     /* file handle: what an open command file gives to its reader */
	STORE_LATER = 7,    /* as STORE_ENTITY, of kinds that daemons of 0.1.0 do not have; not counted */
};

#define STORE_ID_MAX ((UINT64_C(1) << 56) - 1)
#define STORE_KEY(space, id) ((uint64_t)(space) << 56 | (id))
#define STORE_KEY_SPACE(key) ((enum store_space)((key) >> 56))
#define STORE_KEY_ID(key) ((key) & STORE_ID_MAX)

/* What keeps the model. All return 0 or -errno; after a failed put or commit comes abort. */
struct store_ops {
	int (*begin)(void *store);
	int (*put)(void *store, uint64_t key, const void *data, size_t n);
	int (*drop)(void *store, uint64_t key); /* -ENOENT: it was not there */
	int (*commit)(void *store);
	void (*abort)(void *store);
};

/* Told after the commit, from inside change_commit(). They must not change the model. */
struct model_hooks {
	/*
	 * Something that its files show has changed: record, children, what it was charged. Told of
	 * the entity, its session, and the ancestors of a capability; not of its descendants.
	 */
	void (*changed)(void *data, struct entity *e);
	/* What is listed of it has, or what it pays for: its texts, and nothing of itself. */
	void (*shown)(void *data, struct entity *e);
	/* Only numbers in its texts have: connections, quota in use. Frequent, so told apart. */
	void (*used)(void *data, struct entity *e);
	/*
	 * It is unlinked and will be freed; what it points to is still there. Whatever was
	 * made for it, and stands in one of its slots, must go now.
	 */
	void (*gone)(void *data, struct entity *e);
	/*
	 * A capability was marked dead or reduced, also by the end of its session or object: live
	 * connections of it and of all that is derived from it must be checked again.
	 */
	void (*restricted)(void *data, struct capability *c);
	/*
	 * What the server has counted for C, which has an entry in its pages. Not told but asked, at
	 * any time. Returns: false where nobody knows.
	 */
	bool (*counted)(void *data, const struct capability *c, uint64_t *ret_calls);
	/* What the sockets know of a connection through C, in P. Asked likewise. */
	void (*looked)(void *data, struct capability *c, struct passage *p);
	/*
	 * Something is asked of the process of P: an enum process_type (wire/process.h), with a signal or a mask
	 * of CPUs. Returns: 0, or -EAGAIN: not now.
	 */
	int (*commanded)(void *data, struct program *p, unsigned type, uint64_t value);
	/* P has said that it is well. */
	void (*well)(void *data, struct program *p);
	/* An event: the `events` of S are longer now. Called for the session, and then for each above it. */
	void (*logged)(void *data, struct session *s);
	/* The same event, once. */
	void (*told)(void *data, const struct event_told *told);
	/*
	 * A change is about to be stored. Records that may be written late are given to it by
	 * change_ride() now, which costs them no transaction of their own; `arrived` tells whether they
	 * were stored. Called for every change, also for one that is refused by a full store.
	 */
	void (*boarding)(void *data, struct change *ch);
	void (*arrived)(void *data, bool stored);
};

struct model_header {
	uint64_t next_id, next_badge, next_event;
	uint64_t n_entities;
};

struct model {
	const struct store_ops *store;
	void *store_data;
	const struct model_hooks *hooks; /* NULL members are skipped */
	void *hooks_data;
	struct session *root;
	struct index by_id, by_name, by_badge, by_holder, by_asker;
	uint64_t seed; /* of name hashes */
	struct model_header header, stored_header; /* as it is, and as the store has it */
	struct change *change; /* the one that is reused, never NULL */
	struct list asks;      /* of struct ask: all, in the order of what is due */
	struct capability *expiring; /* those with an expiry of their own (expiry.c) */
	uint64_t next_expiry_usec; /* none of them expires before */
	struct list ending;    /* of struct entity, ending_link: what model_reap() works on */
	unsigned slice;        /* so many entities are ended or removed in one transaction, at most */
	struct list sharing;   /* of struct share, work_link: those with sessions to be looked at (share.c) */
	struct list unshared;  /* of struct session, share_link: those to get what is shared with them */
	struct list event_queue;   /* of struct line: to be stored, or to be deleted (event.c) */
	uint64_t loaded_upto;  /* the largest revoked_upto that model_load() took */
	uint64_t *orphans;     /* ids in STORE_LATER that model_load() has found to be left over */
	size_t n_orphans;
	uint64_t stamp_nsec;   /* the last one given to an entity */
	uint64_t n[ENTITY_N_KINDS]; /* how many of each kind */
	struct quota used;          /* by all sessions together */
	uint64_t (*now_usec)(void); /* CLOCK_REALTIME, replaced by tests */
	struct counters *counters; /* never NULL: the next, or those that outlive a broker */
	struct more_counters *more; /* likewise */
	struct counters own_counters;
	struct more_counters own_more;
};

/* An empty model over an empty or full store; model_load() or model_create_root() comes next. */
int model_new(const struct store_ops *store, void *store_data, struct model **ret);
struct model *model_free(struct model *m);

/* Makes the root session `init`, owned by UID, GID, with these limits. Returns: 0 or -errno. */
int model_create_root(struct model *m, uid_t uid, gid_t gid, mode_t mode, const struct quota *limit);

/* The root's limits at a later start; never below what is used and lent there. */
int model_set_root_limit(struct model *m, const struct quota *limit);

/*
 * One record of the store, in order of keys; only spaces HEADER, ENTITY, EVENT and LATER.
 * Returns: 0, -EBADMSG for a record that does not fit, -ENOMEM.
 */
int model_load(struct model *m, uint64_t key, const void *data, size_t n);
/* After the last: takes up what was ending, drops what is left over. Returns: 0, -EBADMSG, -errno. */
int model_load_done(struct model *m);

/*
 * Goes on with ending what is marked dead or closing: removes at most BUDGET entities, leaves first,
 * in one transaction; fewer where the store has no room for it. Returns: 1 if more is to do, 0 if
 * nothing is left, -errno.
 */
int model_reap(struct model *m, unsigned budget);

/* Is this not one that is just being made of its store? */
static inline bool
model_is_loaded(const struct model *m)
{
	return m->stored_header.next_id != 0;
}

/*
 * Is ID (an ended capability, entrypoint or session, or a capability whose children were ended)
 * still being reaped? Or a share that not all have got, or lost, yet.
 */
bool model_is_ending(struct model *m, uint64_t id);

/* Walks all invariants and aborts when one does not hold. For tests, after every step. */
void model_check(struct model *m);
