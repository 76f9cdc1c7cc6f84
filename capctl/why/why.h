/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capctl why: what `why` of a slot says, what only a client can know beside it, and what would make it so. Each
 * part prints its lines, and leaves commands and hints for the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "capctl/command.h"

struct why {
	struct context *x;
	struct text node;     /* the slot's: "sessions/ci/caps/docker" */
	struct text session;  /* of its session: "sessions/ci"; empty: the one we talk to */
	struct text label;    /* "init/ci" */
	const char *name;     /* "docker" */
	struct text from, source; /* of one that has gone: from which session's slot it came, "init" and "kv", if it was told */
	struct text rules, info; /* the slot's files `why` and `info` */
	struct text commands; /* which make it so, one after the other, as a shell takes them */
	struct text hints;    /* what no command of ours does, a line each */
};

/* "calls refused limit=2 used=2 left=0 at=7": what stands in the line of RULE behind the verdict. Returns: is there such a line? */
bool rule_find(const char *rules, const char *rule, bool *ret_refused, struct text *ret_details);

/* Adds a command of the shell, "capctl --cap=DIR WORDS" or WORDS alone, and a line of hints. */
void why_capctl(struct why *y, const char *format, ...) __attribute__((format(printf, 2, 3)));
void why_shell(struct why *y, const char *format, ...) __attribute__((format(printf, 2, 3)));
void why_hint(struct why *y, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A word as a shell takes it. */
void add_shell_word(const char *word, struct text *t);
/* ROOT/NODE, the same way. */
void add_shell_path(const struct why *y, const char *node, struct text *t);

/*
 * May a user connect, by the mode bits along the path and the options of the mount? WHO, USER[:GROUP], or NULL: who asks. Prints a
 * line. Returns: 1 yes, 0 no, -1: that cannot be seen; or -EINVAL, having complained.
 */
int why_access(struct why *y, const char *who);

/* What would make each rule that refuses let it pass. */
void why_remedies(struct why *y);

/* There is no such slot: prints what is known. Returns: an exit status. */
int why_missing(struct why *y);

/* Of the lines of TEXT, the N-th, from 1 on, or with N 0 the next one; NULL: there is none. *AT is where the next begins. */
const char *next_line(const char **at, size_t *ret_n);
