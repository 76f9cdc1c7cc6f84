/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A record of a socket, and what is still to be done about it in the store. It outlives its socket,
 * until the store has forgotten it too.
 *
 * What must be stored with a change is staged in that, by memo_stage(). What may be late (that a
 * connection was taken, that a socket is gone) is only marked, by memo_touch() and memo_drop(): it
 * rides along with whatever change comes next, or goes on its own when a timer runs.
 *
 * Of a connection nothing else is stored but that it is there. Most of them are gone before a file would
 * have been written, so their records have places in the page that outlives brokers (process/page.h) as long
 * as there are free ones: memo_place(). What is there is there at once, and is never late.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/record.h"

struct change;

#define FLUSH_USEC 20000 /* what is late waits so long for a change to go along with */

struct memo {
	struct list link; /* while it is to be written. This and the next two: memos.c's */
	bool stored;
	bool drop;
	uint16_t place; /* in the page, from 1 on; 0: it has none */
	struct connection_record record; /* its owner's */
};

/* Returns: 0 or -errno. */
int memos_new(struct sockets *sockets);
void memos_free(struct sockets *sockets);

struct memo *memo_new(enum socket_kind kind, uint64_t cookie, uint64_t owner);
/* One that the store has. */
struct memo *memo_load(const struct connection_record *record);
/*
 * Instead of memo_stage(), in a change that stores nothing: finds a place, which is filled by memo_stored().
 * Returns: is there one?
 */
bool memo_place(struct sockets *sockets, struct memo *memo);
/* Gives F each of those that a predecessor has left in their places. Returns: 0, or F's negative errno. */
int memos_placed(struct sockets *sockets, int (*f)(void *data, struct memo *memo), void *data);
/*
 * All that have places are stored instead, for a later binary that knows of none. Returns: 0 or -errno; then
 * some of them keep theirs.
 */
int memos_settle(struct sockets *sockets);
/* Stages MEMO with N bytes of TEXT behind its record. Returns: 0 or -ENOMEM. */
int memo_stage(struct memo *memo, struct change *ch, const void *text, size_t n);
/* The change in which it was staged, or placed, is committed. */
void memo_stored(struct sockets *sockets, struct memo *memo);
/* The record changed: written some time. */
void memo_touch(struct sockets *sockets, struct memo *memo);
/* Was it touched, and the store does not know yet? */
bool memo_is_late(const struct memo *memo);
/* Its socket is gone. Takes MEMO, which may be NULL. Returns: NULL. */
struct memo *memo_drop(struct sockets *sockets, struct memo *memo);

/* Writes all that is late. Returns: 0 or -errno; then some of it still is. */
int memos_flush(struct sockets *sockets);

/* For the model's hooks of these names. */
void memos_boarding(struct sockets *sockets, struct change *ch);
void memos_arrived(struct sockets *sockets, bool stored);
