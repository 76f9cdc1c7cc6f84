/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each kind of entity is a row: how large its record is, where it stands in its owner, what it
 * costs, and what follows from linking it, changing its record and unlinking it. The model calls
 * the rows and never asks for a kind; a new kind is a row, and a line in the table of
 * kinds/kinds.c. For the files of the model and of the kinds, and for nobody above them.
 *
 * What a row does after the store's commit may not fail; whatever can fail happens before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"
#include "capfsd/model/touch.h"

struct list;
struct model;
struct reaper;
struct session;

/* What a new record has brought about, beside the change of its own files. */
enum applied {
	APPLIED_RESTRICTED = 1 << 0, /* live connections must be checked again */
	APPLIED_BELOW = 1 << 1,      /* what is derived from it, or refers to it, shows it too */
	APPLIED_SHOWN = 1 << 2,      /* texts and lists are other, and no more: entity_touch_shown() is enough */
};

/* Where an entity stands, and which session pays for it. All NULL for the root session. */
struct place {
	struct entity *owner;
	struct list *list;
	struct session *payer;
};

/* Functions that are NULL do nothing; so most rows leave most of them out. */
struct kind {
	size_t size, record_offset, record_bytes;
	struct quota cost;
	bool names_repeat; /* what has ended keeps its name for a while, beside a new one of that name */
	bool dots;         /* a name may begin with one */
	bool later;        /* stored in STORE_LATER, where older daemons pass over it */
	/* Of an older kind: which records are so, and the number that they have there instead of its own. */
	bool (*is_later)(const void *record);
	uint8_t later_number;

	void (*init)(struct model *m, struct entity *e);
	void (*deinit)(struct entity *e); /* what it holds, when it is freed */
	struct place (*place)(const struct entity *e);
	struct session *(*session)(const struct entity *e); /* in whose tree it stands */
	/* What RECORD lends of the payer's quota, beside the cost. */
	const struct quota *(*lends)(const void *record);

	bool (*is_shown)(const struct entity *e); /* NULL: always */
	/* Will model_reap() remove it, for itself or for what it belongs to? NULL: never. */
	bool (*is_doomed)(const struct entity *e);
	/* Is there something left to do of what it says? Fronts wait for that with their reply. NULL: never. */
	bool (*is_busy)(const struct entity *e);
	/* Is it itself a root of what is being ended, as its record says? Implies model.ending. */
	bool (*is_ending)(const struct entity *e);

	/*
	 * Finds what a record that was loaded refers to, and checks it. Returns: 0, -EBADMSG; -ENOENT of a
	 * `later` one: it is left from what has ended under an older daemon.
	 */
	int (*resolve)(struct model *m, struct entity *e);
	/* When all are loaded: what only then can be found and checked. Returns: 0 or -EBADMSG. */
	int (*finish)(struct model *m, struct entity *e);

	void (*link)(struct model *m, struct entity *e);
	void (*unlink)(struct model *m, struct entity *e);
	void (*gone)(struct entity *e); /* after the hook of that name, whatever is left of it */
	unsigned (*applied)(struct model *m, struct entity *e, const void *old); /* enum applied */

	/* Stages the removal of E and all that hangs on it, leaves first. Returns: as reap_one(). */
	int (*reap)(struct reaper *r, struct entity *e);
	/* The same for one that is in model.ending, where not all of it has ended. NULL: all has. */
	int (*reap_ended)(struct reaper *r, struct entity *e);

	/* Tells of all that shows it, beside itself, its owner and its payer. */
	void (*touch)(struct model *m, struct entity *e, uint64_t stamp);
	/* By TOUCH, of all further below that shows what has changed: for APPLIED_BELOW. */
	void (*touch_below)(struct model *m, struct entity *e, entity_toucher *touch, uint64_t stamp);
	/* The hook `restricted` for the uppermost capabilities that E's record restricts. */
	void (*tell_restricted)(struct model *m, struct entity *e);

	/* The invariants of its own, with model_expect() (check.h). */
	void (*check)(struct model *m, struct entity *e);
	/* Those of its indexes, of all entities of the kind together. */
	void (*check_all)(struct model *m);
};

/* Filled in kinds/kinds.c; each has a row, but for 0. */
extern const struct kind *const entity_kinds[ENTITY_N_KINDS];

/* The one that the model itself is about (session.c); it pays for all others. */
extern const struct kind session_kind;

static inline const struct kind *
entity_kind(const struct entity *e)
{
	return entity_kinds[e->kind];
}

static inline void *
entity_record(const struct entity *e)
{
	return (char *)(uintptr_t)e + entity_kind(e)->record_offset;
}

/* Is an entity of KIND with this RECORD stored in STORE_LATER? That never changes. */
static inline bool
kind_is_later(const struct kind *kind, const void *record)
{
	return kind->later || (kind->is_later && kind->is_later(record));
}

static inline bool
entity_is_later(const struct entity *e)
{
	return kind_is_later(entity_kind(e), entity_record(e));
}

/* With NAME copied and all else zero; not linked. NULL: no memory. */
struct entity *entity_new(struct model *m, enum entity_kind kind, const char *name, size_t n);
struct entity *entity_free(struct entity *e);
void entity_link(struct model *m, struct entity *e);
void entity_unlink(struct model *m, struct entity *e);
/* E, which is linked, will be unlinked soon, after others. */
void entity_prefetch(const struct model *m, const struct entity *e);
/* Takes NAME. */
void entity_set_name(struct model *m, struct entity *e, char *name);

uint64_t entity_hash_name(const struct model *m, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);
/* Is E that name of this owner? For walks over what has the same hash. */
bool entity_is_named(const struct entity *e, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);

/* E is the root of what is being ended, from now on. */
void entity_set_ending(struct model *m, struct entity *e);
bool entity_is_ending(const struct entity *e);

/* VALUE is in use in what was loaded: *NEXT, of a later record, may not give it again. */
int load_used(uint64_t *next, uint64_t value);
