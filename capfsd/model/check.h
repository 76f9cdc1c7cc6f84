/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For the checks of model_check(), which each kind has in its row: all that is derived from records
 * is computed again from the records alone. Only tests and fuzzers call it; it costs time in the
 * size of the model, and aborts with the invariant that does not hold, by its number in doc/MODEL, and the line.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "capfsd/model/entity.h"

struct list;
struct session;

/* doc/MODEL says more of each. A number that was given once keeps its meaning. */
#define MODEL_INVARIANTS(X)                                                                                 \
	X(M01, "an id leads back to what has it, and is smaller than the next one")                         \
	X(M02, "a name leads back to what has it")                                                          \
	X(M03, "what somebody owns is in its list, once, in the order of ids")                              \
	X(M04, "what belongs to something was made after it, and is one deeper in its tree")                \
	X(M05, "between two changes nothing is staged")                                                     \
	X(M06, "everything is counted once: in its kind, at its session, in the indexes, in the header")    \
	X(M10, "a capability has a type, and what it refers to is of the kind that this is for")            \
	X(M11, "it has a right, and none that its type has not")                                            \
	X(M12, "what is derived has the type and the target of its source")                                 \
	X(M13, "it is listed once with its source, or with its target if it has none")                      \
	X(M14, "what a session holds of one source is found by it")                                         \
	X(M15, "what has ended is in line to be removed")                                                   \
	X(M16, "a session that is being closed has no children")                                            \
	X(M17, "it has all caveats that its record counts, or cannot be called")                            \
	X(M18, "a caveat can be printed, and stands behind those of earlier groups")                            \
	X(M19, "what is tied to another slot is listed with it, and made after it")                         \
	X(M20, "no more calls were used than there are")                                                    \
	X(M21, "a connection counts for all that its capability was derived from")                          \
	X(M22, "what expires is met in time, the earliest first")                                           \
	X(M30, "used is what a session has, with its charges and events")                                   \
	X(M31, "lent is what its children and its visits may use")                                          \
	X(M32, "used and lent are within the limit, and free is what is left")                              \
	X(M33, "the limit is not below what the session was first given")                                   \
	X(M34, "what the daemon counts is the sum of all sessions")                                         \
	X(M35, "a visit is one slot's, and what is lent to it is asked, charged or free")                    \
	X(M40, "a badge is one object's, for ever")                                                         \
	X(M41, "an entrypoint's objects are all listed, and paid for")                                      \
	X(M42, "an entrypoint is served by one thread of its session, which serves it alone")               \
	X(M43, "a thread's number was given to no other one of its session")                                \
	X(M44, "a session has one confinement, and it is valid")                                            \
	X(M45, "a command belongs to the entrypoint that it was made for")                                  \
	X(M50, "a log is as long as its lines, and nobody has more of it than a half")                             \
	X(M60, "an ask has somebody who decides, and waits there until it is answered")                     \
	X(M61, "what waits for an answer is met in time, the earliest first")                               \
	X(M62, "a session asks for a few things at once, and is asked for one")                             \
	X(M63, "a policy in force is its session's, and understood text")                                   \
	X(M64, "what a policy has given was derived there, and is looked at when that changes")

enum model_invariant {
#define MODEL_INVARIANT(number, text) INVARIANT_##number,
	MODEL_INVARIANTS(MODEL_INVARIANT)
#undef MODEL_INVARIANT
	MODEL_N_INVARIANTS,
};

struct invariant {
	const char *number, *text;
};

extern const struct invariant model_invariants[MODEL_N_INVARIANTS];

/* As assert(), and not left out of builds without that. NUMBER: M01, M02 … */
#define model_holds(number, condition)                                                                      \
	do {                                                                                                \
		if (!(condition))                                                                           \
			model_broken(INVARIANT_##number, __FILE__, __LINE__, #condition);                   \
	} while (0)
void model_broken(enum model_invariant number, const char *file, int line, const char *condition)
	__attribute__((noreturn));

/* For what the program alone needs, and the model does not know: how an index or a record is laid out. */
#define model_expect(condition)                                                                             \
	do {                                                                                                \
		if (!(condition)) {                                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                     \
			abort();                                                                            \
		}                                                                                           \
	} while (0)

/* The entities in LIST are of KIND and belong to OWNER, in the order of their ids. Returns how many. */
uint64_t check_list(struct list *list, enum entity_kind kind, const struct entity *owner);
/* How many of those in LIST does S pay for? */
uint64_t check_list_paid(struct list *list, const struct session *s);
