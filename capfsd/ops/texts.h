/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pieces of text that replies, refusals, events and files have in common, so that one thing has the
 * same name wherever it is read. They append to a text, and change nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct capability;
struct reductions;
struct session;
struct text;

/* "init/app caps limit=8 used=8; largest: init/app/w 5": the account behind a refusal. */
void text_account(struct session *s, unsigned kind, struct text *t);
/* The same, without the largest: of those below S others learn nothing. */
void text_limit(const struct session *s, unsigned kind, struct text *t);

/* "2031-04-05T06:07:08Z", of CLOCK_REALTIME. */
void text_time(struct text *t, uint64_t usec);

/* " calls=9"; of LIMIT_NONE nothing. */
void text_bound(const char *key, uint64_t limit, struct text *t);
/* " rights=call calls=9": what HOW sets, as it may be asked for again; of a limit that is none nothing. */
void text_reductions(const struct reductions *how, struct text *t);

/* "init/app/caps/kv" */
void text_slot(const struct capability *c, struct text *t);
/* " by=uid:1000", " by=share": who has made it, or what. */
void text_maker(const struct capability *c, struct text *t);

/*
 * The fields of an event that say where in its session something was asked, of a path of N bytes below
 * it: " slot=kv", " entrypoint=web", and all of it as " at=caps/kv/info" where these do not say it.
 */
void text_where(const char *path, size_t n, struct text *t);

struct ask;
struct ask_record;

/* What is asked: "type=object name=net rights=call calls=9", "quota caps=16", "yield caps=8". */
void text_asked(const struct ask_record *record, const char *name, struct text *t);
/* That as a line of `requests`: "id=12 from=init/app … waiting=3". */
void text_ask(const struct ask *a, uint64_t now_usec, struct text *t);

struct confinement_record;
struct program_record;

/* A word a line, as they are written to `confine`; only those that say something. */
void text_confinement(const struct confinement_record *c, struct text *t);
/* The number of the rlimit of that name, without RLIMIT_; -1: there is none. */
int rlimit_find(const char *name, size_t n);

/*
 * What has become of a program, in words with SEPARATOR between them: "state=running pid=4711", "state=failed
 * step=exec errno=ENOENT", "state=exited status=256 utime_usec=…".
 */
void text_program(const struct program_record *p, const char *separator, struct text *t);
