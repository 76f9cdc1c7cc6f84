/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is next, where several want the time of one thread: payers take turns, and what each of them
 * has to be done takes turns within. A payer whose one piece of work took long waits for so many
 * turns of the others as it took (deficit round robin, in nanoseconds): neither many small pieces
 * nor a few large ones get more than a share.
 *
 * Who has to be told something before others can see it is served before all others, whoever pays; what that
 * takes is owed as everything else is.
 *
 * Nothing is lost and nothing is polled: what has work stays in line until it says that there is
 * none left. It allocates nothing, and owns none of the objects: they live where others want.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* At least so long before others' turn: what it costs to look who else is there is a small part. */
#define TURN_NSEC 50000
/*
 * More is never owed. The clock goes on while another process has the CPU, for which nobody here is
 * to be kept waiting.
 */
#define TURN_DEBT_NSEC (20 * TURN_NSEC)

/* Of whose share it goes. One that is all zero has nothing to be done. */
struct payer {
	struct list link;    /* turns.payers */
	struct list waiting; /* of struct turn */
	int64_t left_nsec;   /* of its turn; negative: owed to the others */
	bool has_turn;	     /* it was given time since it stands in line */
};

struct turn {
	struct list link; /* payer.waiting, or turns.first; the rest is its owner's */
	struct payer *payer;
	/*
	 * One piece of work, the smallest there is. TURN may be freed by it, its payer may not.
	 * Returns: is there possibly more? False as well, if TURN was freed.
	 */
	bool (*take)(struct turn *turn);
};

struct turns {
	struct list payers; /* with something to be done; the first has the turn */
	struct list first;  /* those that go before them all, in their order */
	uint64_t (*now_nsec)(void);
};

void turns_init(struct turns *turns, uint64_t (*now_nsec)(void));
bool turns_empty(const struct turns *turns);
/* Nobody's yet; to be called before anything else. */
void turn_init(struct turn *turn, struct payer *payer, bool (*take)(struct turn *turn));
/* There is work, or may be. At the end of the line, unless it stands there already. */
void turn_ready(struct turns *turns, struct turn *turn);
/* The next one, behind those alone of which this was said before; nothing else is done until it was taken. */
void turn_first(struct turns *turns, struct turn *turn);
/* There is none any more, or TURN is about to be freed. May be called always. */
void turn_leave(struct turn *turn);
/* Is there anybody of whom this was said? */
bool turns_has_first(const struct turns *turns);
/*
 * One payer's turn: one piece of work, and more until its time is over, or somebody is to be the first. With
 * nobody: nothing. Returns: how long it took, in nanoseconds.
 */
uint64_t turns_take(struct turns *turns);
/* Has nothing to be done, and may be freed. */
bool payer_is_idle(const struct payer *payer);
