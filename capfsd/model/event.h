/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events: one line each, kept by the session where it happened and by all above it, so that each
 * reads its own and what is below. A session keeps its last 1000 lines, charged to its `ram`; when
 * that is used up the oldest go first. A log is a text that only grows: its end is the number of
 * bytes ever written, and reading before its start gives what is still there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model;
struct session;

#define EVENTS_LINES_MAX 1000
#define EVENT_BYTES_MAX 512

/*
 * Logs "HH:MM:SS e=N " and the text, a line feed behind it, in S and all its ancestors. Never
 * fails: without memory the event is dropped and counted in counters.events_lost. A text that is too
 * long is cut, so what others choose (labels, commands) comes last.
 */
void event_log(struct model *m, struct session *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The offsets of the oldest byte that is kept and of the end. */
uint64_t events_start(const struct session *s);
uint64_t events_end(const struct session *s);

/* Copies up to SIZE bytes from OFFSET, which lies within start and end. Returns how many. */
size_t events_read(const struct session *s, uint64_t offset, char *buffer, size_t size);

/* Used when a session goes: gives back what its lines are charged. */
void events_free(struct session *s);
/* Drops the oldest lines until what S uses fits its limit again. */
void events_yield(struct session *s);

/*
 * Stores what was logged since the last commit, in a transaction of its own if there is anything;
 * each change_commit() takes it along as well, so this is for quiet times, and for the moment before
 * somebody reads: no line that was read is lost with the daemon, and its number never comes again.
 * Returns: 0 or -errno; 0 as well when a full store keeps the numbers only.
 */
int events_store(struct model *m);

/*
 * For change.c, which stores what is queued with each transaction: all of it, or, where there is
 * no room, only a few of what is deleted. events_settle() when the transaction was committed.
 * Returns: 0 or the store's error.
 */
bool events_are_queued(const struct model *m);
int events_stage(struct model *m, bool all);
void events_settle(struct model *m, bool all);

/* For load.c: one record of the store. Returns: 0, -EBADMSG, -ENOMEM. */
int event_load(struct model *m, uint64_t number, const void *data, size_t n);
/* For model_free(), when no session is left: what is queued still. */
void events_deinit(struct model *m);
