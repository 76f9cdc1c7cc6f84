/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events: one line each, kept by the session where it happened and by all above it, so that each
 * reads its own and what is below:
 *
 *	2026-11-28T17:55:53Z e=912 grant session=init/ci slot=docker id=31 uid=0 from=init/caps/docker
 *	2026-11-28T17:55:59Z e=914 refused call session=init/ci slot=docker uid=990 EPERM: not so ×40
 *	2026-11-28T17:56:12Z e=917 fault session=init/ci thread=9.1 pid=4711 signal=SEGV core=no
 *
 * The time in UTC, a number, what was done or refused, whose it is, more fields, and last what others
 * have chosen: a reason, or the words of a command. No value has a blank, no text a character that is
 * not ASCII or a word that could be taken for a field of ours, so that nobody forges any.
 *
 * A session keeps at most 1000 lines, charged to its `ram`, where they give way to everything else;
 * ring.h says whose lines make room for whose. What is refused again in the same way is the same line
 * with a count, at the end of the log once more.
 *
 * A log is a text that only grows: its end is the number of bytes ever written. Lines that are gone
 * leave holes, which readers skip. To who reads the faults alone all other lines are holes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model;
struct session;
struct text;

#define EVENTS_LINES_MAX 1000 /* half of them for a session's own */
#define EVENT_BYTES_MAX 512   /* older daemons take no longer ones from the store */

/* What stays longer than the others. It is stored with the line. */
enum event_keep {
	EVENT_REFUSAL,
	EVENT_USUAL,
	EVENT_LASTING, /* who got something and who lost it */
	EVENT_FAULT,   /* a program that ended as it should not; its verb is EVENT_FAULT_VERB */
	EVENT_N_KEEPS,
};

#define EVENT_FAULT_VERB "fault"

/* What somebody reads of a log. */
enum event_view {
	EVENTS_ALL,
	EVENTS_FAULTS,
};

struct event {
	const char *verb;
	int error;                   /* it was refused, for this reason: a positive errno */
	enum event_keep keep;        /* of what was not refused */
	const struct session *about; /* whose it is; NULL: where it is logged */
	/* Who brought it about: that or one above; in whose share of the logs it is. NULL: that. */
	const struct session *by;
	bool through; /* by who has come there through a slot: in a share of their own, in the log of that session */
	const struct text *fields; /* " KEY=VALUE", each: event_field(); NULL: none */
	const char *text;          /* what others have chosen; NULL: nothing */
	size_t n_text;
};

/* One that was logged, for the model's hook. */
struct event_told {
	const char *body; /* of its line: without time, number, and count */
	size_t n_body;
	uint64_t number;
	uint32_t count;
	bool refused;
	struct session *by;
};

/*
 * Logs EVENT in S and all its ancestors. Never fails: without memory the event is dropped and counted
 * in counters.events_lost. A text that is too long is cut.
 */
void event_log(struct model *m, struct session *s, const struct event *event);

/* Appends " KEY=VALUE", for whatever VALUE, of which not more is shown than a name may have, or a bit more. */
void event_field(struct text *t, const char *key, const char *value, size_t n);
/* The label of S as it stands in events: of a long one the end, behind "init/.../". */
void event_label(const struct session *s, struct text *t);

/* The offsets of the oldest byte that is kept and of the end. */
uint64_t events_start(const struct session *s);
uint64_t events_end(const struct session *s);

/*
 * How many bytes that can be seen were ever written. Of faults after a restart only those that are
 * kept: offsets are those of the log, which every line has in the store, and no such count.
 */
uint64_t events_size(const struct session *s, enum event_view view);
/* Is there something to be seen behind OFFSET? */
bool events_has_more(const struct session *s, enum event_view view, uint64_t offset);

/*
 * Copies up to SIZE bytes of what is kept from *OFFSET on, and moves that behind them. Returns how
 * many; 0 with *OFFSET at the end: there is no more.
 */
size_t events_read(const struct session *s, enum event_view view, uint64_t *offset, char *buffer, size_t size);
/* Where the last LEFT bytes of what can be seen begin; where all of it does, if that is less. */
uint64_t events_seek(const struct session *s, enum event_view view, uint64_t left);

/* Used when a session goes: gives back what its lines are charged. */
void events_free(struct session *s);
/* Drops lines until what S uses fits its limit again. */
void events_yield(struct session *s);
/* For model_check(). */
void events_check(const struct session *s);

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
