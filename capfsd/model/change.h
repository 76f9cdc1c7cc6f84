/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A change of the model: staged, committed to the store in one transaction, and only then
 * published in memory. Until change_commit() returns 0 nobody sees any of it, and a refusal, a
 * full store or a failed allocation leaves everything as it was, without anything to undo.
 *
 * Staged records are read by the checks that follow within the same change through
 * change_record(), so that one change may touch an entity several times.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"

struct change;
struct model;
struct session;

/* For model_new() and model_free(): a model has one, which is used again and again. */
struct change *change_new(struct model *m);
struct change *change_free(struct change *ch);

/* The one change of this model that is under way; there is never a second. */
struct change *change_begin(struct model *m);
struct model *change_model(struct change *ch);

/* A copy of E's record that replaces it at the commit; the same copy when asked again. NULL: no memory. */
void *change_edit(struct change *ch, struct entity *e);

/* The record as this change leaves it: the staged copy, or the present one. */
const void *change_record(struct change *ch, const struct entity *e);

/* A new entity: belongs to the change, and to the model after the commit. Takes E even on failure. */
int change_add(struct change *ch, struct entity *e);

/* E goes with the commit. */
int change_drop(struct change *ch, struct entity *e);
/* Does the change that is under way drop E? */
bool change_drops(const struct entity *e);

/* A new name for E, which is copied. */
int change_rename(struct change *ch, struct entity *e, const char *name, size_t n);

/* A badge that no object has or had. */
uint64_t change_new_badge(struct change *ch);
/* The largest id that exists, or will with this change. */
uint64_t change_last_id(const struct change *ch);

/* Is NAME taken now, or will it be with this change? */
bool change_name_is_taken(struct change *ch, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);
/* The one of this name that this change adds, or NULL. */
struct entity *change_find_added(struct change *ch, uint64_t owner_id, enum entity_kind kind,
	const char *name, size_t n);

/*
 * How much of KIND this change has charged to S, or lent from it, so far: for checks. Modulo 2^64,
 * since children also give back.
 */
uint64_t change_charged(struct change *ch, const struct session *s, unsigned kind);
/* Can S pay all of COST after what this change has charged? *RET_KIND tells what is short. */
bool change_affords(struct change *ch, const struct session *s, const struct quota *cost,
	enum quota_kind *ret_kind);

/*
 * A record that is not the model's (a committed reply, a connection), stored or, with data NULL,
 * deleted in the same transaction. DATA is copied.
 */
int change_note(struct change *ch, uint64_t key, const void *data, size_t n);

/* Nothing is staged in it, so that the store would not be written for it. */
bool change_is_empty(const struct change *ch);

/*
 * The same for what may as well be stored later: it rides along, and where the store has no room for it
 * the change goes without. For the hook `boarding` only (model.h).
 */
int change_ride(struct change *ch, uint64_t key, const void *data, size_t n);

/*
 * This change ends something, which must not be refused for want of room: its notes may be left out
 * where the store has none for them. So what is deleted may turn out not to be there.
 */
void change_spare_notes(struct change *ch);

/*
 * Stores all of it in one transaction, then publishes it: links, unlinks, moves quota, calls the
 * hooks. Returns: 0 or -errno (-ENOSPC: the store is full); then nothing has changed. The change is
 * over in both cases.
 */
int change_commit(struct change *ch);
void change_abort(struct change *ch);
/* Commits what was staged with E = 0, else aborts it. Returns: E, or as change_commit(). */
int change_finish(struct change *ch, int e);
