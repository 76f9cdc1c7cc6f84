/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the model share, and nobody else includes.
 *
 * Each kind of entity is a row of a table: how large its record is, where it stands in its owner,
 * what it costs, and what follows from linking it, changing its record and unlinking it. None of
 * these may fail; whatever can fail happens before a change is stored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"

#define ID_MAX ((UINT64_C(1) << 48) - 1) /* node numbers have 48 bits for it */
#define RECORD_BYTES_MAX 192
#define KEY_BYTES_MAX 21 /* a 64-bit number in decimal */

/* What a new record has brought about, beside the change of its own files. */
enum applied {
	APPLIED_RESTRICTED = 1 << 0, /* live connections must be checked again */
	APPLIED_BELOW = 1 << 1,      /* capabilities derived from it, or to it, show it too */
};

/* Where an entity stands. All NULL for the root session. */
struct place {
	struct entity *owner;
	struct list *list;
	uint64_t *n;
	struct session *payer;
};

struct kind {
	size_t size, record_offset, record_bytes;
	struct quota cost;
	void (*init)(struct model *m, struct entity *e);
	struct place (*place)(const struct entity *e);
	struct session *(*session)(const struct entity *e);
	bool (*is_shown)(const struct entity *e); /* NULL: always */
	/* Finds what the record refers to, and checks it. Returns: 0 or -EBADMSG. */
	int (*resolve)(struct model *m, struct entity *e);
	void (*link)(struct model *m, struct entity *e);
	void (*unlink)(struct model *m, struct entity *e);
	unsigned (*applied)(struct model *m, struct entity *e, const void *old); /* enum applied */
};

extern const struct kind session_kind, capability_kind, entrypoint_kind, object_kind, thread_kind;

/* What the change under way does to one entity. */
struct staged {
	struct list link; /* change.items, in the order of staging */
	struct entity *entity;
	char *name; /* a new one, or NULL */
	bool added, edited, dropped;
	unsigned applied;
	uint64_t record[]; /* the new one when `edited`; the old one while it is being published */
};

/* entity.c */
const struct kind *entity_kind(const struct entity *e);
void *entity_record(const struct entity *e);
/* With NAME copied and all else zero; not linked. NULL: no memory. */
struct entity *entity_new(struct model *m, enum entity_kind kind, const char *name, size_t n);
struct entity *entity_free(struct entity *e);
void entity_link(struct model *m, struct entity *e);
void entity_unlink(struct model *m, struct entity *e);
/* Takes NAME. */
void entity_set_name(struct model *m, struct entity *e, char *name);
uint64_t entity_hash_name(const struct model *m, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);
/* Is E that name of this owner? For walks over what has the same hash. */
bool entity_is_named(const struct entity *e, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);
/* Has model_reap() to remove it, some time, for itself or for what it belongs to? */
bool entity_is_doomed(const struct entity *e);
/* E is the root of what is being ended, from now on. */
void entity_set_ending(struct model *m, struct entity *e);

/* touch.c: telling what has changed */
/* A new value for changed_nsec, larger than all before. */
uint64_t model_stamp(struct model *m);
void entity_used(struct model *m, struct entity *e);
/* E and what shows it; not twice with the same stamp. */
void entity_touch_all(struct model *m, struct entity *e, uint64_t stamp);
/* C and its ancestors. */
void capability_used(struct capability *c);
/* Of a record that was applied: everything that shows it further below. */
void entity_touch_below(struct model *m, struct entity *e, uint64_t stamp);
/* The hook `restricted` for every capability that E's record restricts. */
void entity_tell_restricted(struct model *m, struct entity *e);

/* change.c */
struct change *change_new(struct model *m);
struct change *change_free(struct change *ch);
uint64_t change_new_badge(struct change *ch);
/* The largest id that exists, or will with this change. */
uint64_t change_last_id(const struct change *ch);
/* Is NAME taken now, or will it be with this change? */
bool change_name_is_taken(struct change *ch, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);
/* The object with this key that this change adds, or NULL. */
struct entity *change_find_added(struct change *ch, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);
/* Can S pay all of COST after what this change has charged? *RET_KIND tells what is short. */
bool change_affords(struct change *ch, const struct session *s, const struct quota *cost,
	enum quota_kind *ret_kind);
/* An entity's record of the store: its header, RECORD and name. Returns its length. */
size_t record_encode(const struct entity *e, const void *record, const char *name, uint8_t *buffer);

/* An entity's record of the store begins with this; the record and the name follow. */
struct record_header {
	uint8_t kind;
	uint8_t n_name;
	uint8_t reserved[6];
};

#define RECORD_BUFFER_BYTES (sizeof(struct record_header) + RECORD_BYTES_MAX + NAME_BYTES_MAX)

/* model.c */
#define SLICE_MAX 4096
/*
 * After a transaction of up to N, which ended in R: the next are smaller when the store had no room
 * for it, and larger again when it had. Returns: is it worth trying again at once?
 */
bool model_adapt_slice(struct model *m, unsigned n, int r);

/* expiry.c */
/* C expires at USEC from now on; it may be there already. */
void expiry_add(struct model *m, struct capability *c, uint64_t usec);
/* C expires no more, if it did. */
void expiry_remove(struct model *m, struct capability *c);
/* The one that expires after C, which is there; NULL: the first. */
struct capability *expiry_next(const struct model *m, const struct capability *c);

/* event.c */
bool events_are_queued(const struct model *m);
/* Inside a transaction; not ALL: a few of what is deleted. Returns: 0 or the store's error. */
int events_stage(struct model *m, bool all);
/* That transaction was committed. */
void events_settle(struct model *m, bool all);
int load_used(uint64_t *next, uint64_t value);
int event_load(struct model *m, uint64_t number, const void *data, size_t n);
/* Drops the oldest lines until what S uses fits its limit again. */
void events_yield(struct session *s);
void events_deinit(struct model *m);

/* quota.c */
/* What can be charged: what is free, and what events would give up. */
uint64_t quota_available(const struct session *s, enum quota_kind kind);

/* entrypoint.c */
/* Finds the thread that serves, after its record or that of the thread has come. */
void entrypoint_set_thread(struct model *m, struct entrypoint *e);

/* capability.c */
/* Some of C's children were ended by revoked_upto and are still there. */
bool capability_has_revoked(const struct capability *c);
