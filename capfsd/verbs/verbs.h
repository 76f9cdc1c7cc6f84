/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The list of verbs. Each has a file in verbs/ with its row and its stage function; attach, open,
 * spawn and register have theirs in control/, since they make sockets. Both fronts run them by verb_run() alone. No
 * verb looks at a file, a socket or a message.
 */
#pragma once

#include "capfsd/ops/verb.h"

/*
 * What is counted, by the name that it has in `metrics`. A number is a place in the page that one
 * binary leaves to the next: new ones are appended, none is moved or taken again.
 */
#define VERBS(X)                                                                                   \
	X(GRANT, grant)                                                                            \
	X(REPLICATE, replicate)                                                                    \
	X(TRANSFER, transfer)                                                                      \
	X(REDUCE, reduce)                                                                          \
	X(REVOKE, revoke)                                                                          \
	X(OBJECT, object)                                                                          \
	X(TRANSFER_QUOTA, transfer_quota)                                                          \
	X(CREATE, create)                                                                          \
	X(REMOVE, remove)                                                                          \
	X(RENAME, rename)                                                                          \
	X(CHMOD, chmod)                                                                            \
	X(ATTACH, attach)                                                                          \
	X(OPEN, open)                                                                              \
	X(IMPORT, import)                                                                          \
	X(ALIAS, alias)                                                                            \
	X(HEALTH, health)                                                                          \
	X(SPAWN, spawn)                                                                            \
	X(CTL, ctl)                                                                                \
	X(CONFINE, confine)                                                                        \
	X(REGISTER, register)                                                                      \
	X(ORIGINATE, originate)                                                                    \
	X(ADJUST, adjust)                                                                          \
	X(REFUSAL, refusal)                                                                        \
	X(SPLIT, split)                                                                            \
	X(REQUEST, request)                                                                        \
	X(REQUESTS, requests)                                                                      \
	X(POLICY, policy)                                                                          \
	X(SHARE, share)                                                                            \
	X(VISIT, visit)                                                                            \
	X(ANSWER, answer)                                                                          \
	X(YIELD, yield)

enum verb_number {
	VERB_OTHER, /* what is refused before one knows what it would be */
#define X(number, name) VERB_##number,
	VERBS(X)
#undef X
	VERB_N,
};

_Static_assert(VERB_N <= COUNTERS_VERBS + COUNTERS_MORE_VERBS, "each verb has its counters");

#define X(number, name) extern const struct verb verb_##name;
VERBS(X)
#undef X

/* Under the number of share, which it is for all slots of a session. */
extern const struct verb verb_share_all;

/* Not counted one by one: who one is; a request to a `call`; a write where none is taken. */
extern const struct verb verb_identify, verb_call, verb_write;

/* The beginning of a row of that list. */
#define VERB_ROW(NUMBER, word) .name = #word, .number = VERB_##NUMBER

/* "other", "grant", …: how each number is called in `metrics`. */
extern const char *const verb_names[VERB_N];

/*
 * Stages the object KEY of EP, which may be there, by the words socket=, protocol= and as=. Returns: 0, also if
 * it is refused; -errno.
 */
struct entrypoint;
struct object;
int object_stage(struct operation *o, struct entrypoint *ep, uint64_t key, struct object **ret);

/* The value of `restart=`. Returns: is it one? Else the request is refused. */
bool take_restart(struct operation *o, uint8_t *ret);
