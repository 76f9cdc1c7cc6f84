/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A verb is a row: what it is called, which words it takes, which right it needs, and a function that
 * stages what it does. verb_run() does all the rest, for both fronts: it decodes, begins, refuses or
 * commits, logs and counts. So a verb never begins or commits a change by itself, never logs, and
 * does not know who asked; a front never stages. The rows stand in verbs/, those that need sockets
 * in control/.
 */
#pragma once

#include "capfsd/ops/grammar.h"
#include "capfsd/ops/request.h"

struct operation;

struct verb {
	const char *name; /* in events, and that of its file in the tree */
	uint8_t number;   /* enum verb_number (verbs/verbs.h): under which it is counted */
	bool quiet;       /* it only tells something: neither counted nor logged */
	bool wordless;    /* it may be asked without a single word */

	/* Sets of keys. */
	key_set keys;     /* it understands; none: its text is not decoded */
	key_set required; /* must be given */
	key_set one_of;   /* exactly one of these */
	key_set rest;      /* behind this one, which comes last, all of the line is its value */
	key_set alone;    /* each of these may stand for all of that, without any other key */
	/* Only for usages. */
	key_set usual;  /* shown as if it was required */
	key_set hidden; /* not shown: understood, to be refused with a reason */

	uint32_t right; /* enum right that the subject, a capability, must have; 0: none */
	bool lasting;   /* somebody gets or loses something by it: its events are kept longest */

	/* What a fresh open of its file reads, a line feed behind it; NULL: made of the keys. */
	void (*usage)(struct request *r, struct entity *e, struct text *t);

	/*
	 * Before the change begins: checks what words mean together, and does what may itself change
	 * something. May be NULL. Returns: 0, also when refused; -errno.
	 */
	int (*prepare)(struct operation *o);

	/*
	 * Checks, and stages into o->change; leaves the reply's text, what it made, what it ends, and
	 * the text of the event. Returns: 0, also when refused (o->request->error); -errno, of which
	 * -ENOMEM and -ENOSPC are refusals too.
	 */
	int (*stage)(struct operation *o);

	/*
	 * After the commit or the refusal, once for each prepare() that was called, before anything is
	 * logged: for what belongs to the operation and is not the model's. May be NULL.
	 */
	void (*done)(struct operation *o, bool committed);
};

/* A new owner and mode; -1: as it was. */
struct owner {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/*
 * What is done in several transactions where a store has no room for it in one: every part is final,
 * and whoever asks again does what is left. stage() does as much as `max` from `last` on, and says
 * what it did; nothing is reaped in between.
 */
struct slices {
	uint64_t max;            /* so much at most, now */
	uint64_t n;              /* so much was staged */
	uint64_t done;           /* and committed before */
	struct capability *last; /* the last one that was committed; NULL: none yet */
	struct capability *next; /* … and the last one that was staged */
	bool more;               /* this is not all: no reply yet */
};

struct operation {
	/* Of the front. */
	struct request *request;
	const struct verb *verb;
	struct entity *subject;  /* what it is done to, or in what something is made */
	struct session *session; /* who asks: reads of a refusal, and of what was done, in its events */
	struct word text;        /* the words of the command */
	struct word name;        /* of what is made, or a new one */
	struct owner owner;
	bool vouched;            /* the subject was passed on by somebody who may use it */
	/* Appends where it was asked, as fields of the event of a refusal (" slot=web"); NULL: nowhere. */
	void (*where)(const struct operation *o, struct text *t);
	void *front;

	/* Decoded. */
	struct command command;
	struct reductions reductions;
	struct text only; /* those of the reductions that are caveats */
	struct quota quota;

	/* Of the verb. */
	struct change *change;  /* that is under way */
	bool unchanged;         /* there is nothing to commit: the reply is all */
	struct session *told;   /* in whose events it stands; NULL: no event */
	const char *told_as;    /* what it is called there; NULL: as the verb */
	struct session *about;  /* whom the event names instead; NULL: it is that one */
	struct text event;      /* the event's fields */
	int told_error;         /* it tells of a refusal, for this reason: a positive errno; 0: of none */
	struct text told_text;  /* … of what; by others, and so at the event's end */
	bool says_words;        /* the words of the command stand in it, too: they are what was done */
	struct slices slices;
	void *state;            /* from prepare() to done() */
};

/*
 * Does it. The outcome stands in o->request; a refusal was logged as an event.
 * Returns: 0, or -errno for what ends the daemon.
 */
int verb_run(struct operation *o);

/*
 * The end of an operation that a front has refused by itself, or done without verb_run(): counts and
 * logs it. Returns: RESULT.
 */
int verb_finish(struct operation *o, int result);

/* What may be written to a file of this verb, of the entity E; a line feed behind it. */
void verb_usage(const struct verb *v, struct request *r, struct entity *e, struct text *t);

/* For stage(): the event of what it does, told in S, with these fields (" KEY=VALUE", each). */
void operation_tell(struct operation *o, struct session *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
