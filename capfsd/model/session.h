/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session: a protection domain and an account. Sessions form a tree whose root is `init`.
 * A session owns slots, entrypoints and threads, and child sessions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/turns.h"
#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"

struct text;
struct change;
struct events;
struct policy;

enum session_state {
	SESSION_RUNNING,
	SESSION_CLOSING, /* its slots are being ended; nothing new is accepted in it */
};

#define SESSION_MODE_DEFAULT 0700
#define SESSION_MODE_ROOT 0711

struct event_rate {
	uint64_t since_usec; /* the begin of the present period */
	uint32_t n, n_left_out;
};

struct session_record {
	uint64_t parent; /* 0: the root */
	uint64_t created_usec;
	struct quota limit;
	struct quota donation; /* the first one: the limit never falls below it */
	uint64_t threads_made; /* counts the N of thread ids S.N */
	uint32_t uid, gid;
	uint16_t mode;
	uint8_t state;
	/* Not 0, another with each change: who connected before may not be allowed to now, and is there. */
	uint8_t owner_changed;
	uint8_t was_shown; /* somebody may have a descriptor of a slot's socket who may not use it */
	uint8_t reserved[3];
};

struct session {
	struct entity entity;
	struct session_record record;
	struct model *model;
	struct session *parent;
	/*
	 * What it owns, a list for each kind: entity.owner_link, in the order of ids. The counts are of
	 * all that it pays for, which is also what its entrypoints own.
	 */
	struct list owned[ENTITY_N_KINDS];
	uint64_t n_owned[ENTITY_N_KINDS];
	struct quota used, lent;
	struct quota donated;  /* the part of `lent` that visits have */
	struct list visits;    /* of struct visit, payer_link: those for which it pays */
	uint64_t n_visits;     /* in its own list: of those others pay for */
	struct quota charged;  /* the part of `used` that is in a struct charge somewhere */
	uint64_t paid_nsec;    /* the stamp of the last change of anything that it pays for */
	uint64_t logged_nsec;  /* CLOCK_REALTIME of the last line of its log; 0: none was written by this broker */
	uint64_t event_bytes;  /* the part of `used` that events have: they give way to others */
	struct events *events; /* allocated with the first event (event.h) */
	struct list asked;     /* of struct ask: what it is to decide */
	struct policy *policy; /* kinds': that in force; NULL: none */
	struct list given;     /* of struct ruled: what its policy has given */
	struct list deciders;  /* asking's: of who waits for one */
	struct list shares;    /* of struct share, scope_link: what is shared within it, or with it */
	struct list share_link; /* in model.unshared, while it is to get what is shared with it */
	bool lacks_shared;     /* it has had no room for some of that */
	struct entity *alarm;  /* the signal that faults of it and of those below raise (kinds/anchor.h) */
	struct payer payer;    /* of the daemon's time, as all its clients together */
	bool has_init;             /* programs': there is one */
	uint8_t owner_told;        /* fs's: the last owner_changed that the kernel was told of */
	struct event_rate audited; /* the broker's: what of its events went to the journal */
};

static inline struct session *
session_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct session, entity);
}

/* Names another session than its own: by path below, as in "web/db". */
enum {
	SESSION_E_NOT_FOUND = 1,
	SESSION_E_EXISTS,
	SESSION_E_ENDING,  /* the name is that of one which is being closed */
	SESSION_E_NAME,
	SESSION_E_DEPTH,   /* SESSION_DEPTH_MAX */
	SESSION_E_LABEL,   /* LABEL_BYTES_MAX */
	SESSION_E_QUOTA,   /* the parent's quota; *RET_KIND tells which */
	SESSION_E_CLOSING, /* the parent is being closed */
	SESSION_E_NOT_EMPTY,
	SESSION_E_BUSY,    /* live threads */
};

/* The descendant that PATH ("web", "web/db") names, never S itself. NULL: none, or closing. */
struct session *session_find(struct model *m, struct session *s, const char *path, size_t n);

/* The session with this id, in whatever state; NULL: there is none. */
struct session *session_find_id(struct model *m, uint64_t id);

/* Appends the path from the root: "init/web/db". */
void session_label(const struct session *s, struct text *t);

/*
 * Does MODE let somebody look into a directory who may not write there? Of a slot they get a descriptor
 * of its socket with O_PATH, which by that proves no right to use it.
 */
bool mode_shows(mode_t mode);

/* Is S the session OF or one below it? */
bool session_is_within(const struct session *s, const struct session *of);

/* The next session of the tree below TOP, parents first. NULL: no more. */
struct session *session_next_below(const struct session *top, struct session *s);

/*
 * What a new child of PARENT gets when nothing is said: caps=32 sockets=64 threads=16 inflight=64
 * ram=1M, of each at most half of what is free or would be when events give way.
 */
void session_default_donation(const struct session *parent, struct quota *ret);

/*
 * Stages a new child session. The parent pays caps=1 ram=4K and lends DONATION.
 * Returns: 0, SESSION_E_EXISTS, _ENDING, _NAME, _DEPTH, _LABEL, _QUOTA, _CLOSING; -errno.
 */
int session_create(struct change *ch, struct session *parent, const char *name, size_t n_name,
	uid_t uid, gid_t gid, const struct quota *donation, struct session **ret,
	enum quota_kind *ret_kind);

/*
 * Stages the beginning of the end of a session: state closing, which ends all its slots and all
 * that its entrypoints serve; model_reap() does the rest in slices (model.h).
 * Returns: 0, SESSION_E_NOT_EMPTY, SESSION_E_BUSY (also for the root), SESSION_E_CLOSING; -errno.
 */
int session_close(struct change *ch, struct session *s);

/* S has got room: where it lacked that for what is shared with it, it is looked at again. */
void session_has_room(struct session *s);

/* S, if it is being closed, may have waited for this: a program of it, or its init, is gone. */
void session_settle(struct session *s);
/* Are there any of either? */
bool session_has_processes(const struct session *s);

/*
 * Stages a move of AMOUNT (of all kinds or of none) from FROM to TO, one of which is the other's
 * parent. The same session twice is a no-op.
 * Returns: 0, QUOTA_E_EXCEEDED, QUOTA_E_DONATION with *RET_KIND, -EINVAL when they are not parent
 * and child, -EOVERFLOW; -ENOMEM.
 */
int session_transfer_quota(struct change *ch, struct session *from, struct session *to,
	const struct quota *amount, enum quota_kind *ret_kind);

/*
 * Stages a move of AMOUNT from FROM to any other session TO. It must not leave the tree of whoever has lent it: FROM
 * is above TO, or its parent is above TO, or is it.
 * Returns: 0, QUOTA_E_EXCEEDED, QUOTA_E_DONATION with *RET_KIND, -EINVAL, -EOVERFLOW; -ENOMEM.
 */
int session_move_quota(struct change *ch, struct session *from, struct session *to, const struct quota *amount,
	enum quota_kind *ret_kind);
