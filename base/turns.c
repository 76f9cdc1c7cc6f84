/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deficit round robin over payers, round robin over the turns of each. */
#include "config.h"

#include "base/turns.h"

void
turns_init(struct turns *turns, uint64_t (*now_nsec)(void))
{
	list_init(&turns->payers);
	list_init(&turns->first);
	turns->now_nsec = now_nsec;
}

bool
turns_empty(const struct turns *turns)
{
	return list_empty(&turns->payers) && list_empty(&turns->first);
}

void
turn_init(struct turn *turn, struct payer *payer, bool (*take)(struct turn *turn))
{
	list_init(&turn->link);
	turn->payer = payer;
	turn->take = take;
}

static void
payer_begin(struct payer *payer)
{
	if (payer->link.next)
		return;
	list_init(&payer->link);
	list_init(&payer->waiting);
}

/*
 * Who comes back keeps what is left of its last turn, and what it owes: were either forgotten, one
 * that goes away after each piece of work would be served more often than those that stay.
 */
void
turn_ready(struct turns *turns, struct turn *turn)
{
	struct payer *payer = turn->payer;

	payer_begin(payer);
	if (!list_empty(&turn->link))
		return;
	list_append(&payer->waiting, &turn->link);
	if (list_empty(&payer->link))
		list_append(&turns->payers, &payer->link);
}

static void
leave_if_idle(struct payer *payer)
{
	if (!list_empty(&payer->waiting))
		return;
	list_unlink(&payer->link);
	payer->has_turn = false;
}

void
turn_leave(struct turn *turn)
{
	if (list_empty(&turn->link))
		return;
	list_unlink(&turn->link);
	leave_if_idle(turn->payer);
}

void
turn_first(struct turns *turns, struct turn *turn)
{
	turn_leave(turn);
	payer_begin(turn->payer);
	list_append(&turns->first, &turn->link);
}

bool
turns_has_first(const struct turns *turns)
{
	return !list_empty(&turns->first);
}

/*
 * Who has used its turn up stays in front until somebody is wanted again: whoever comes meanwhile
 * is then served first, instead of after one more turn.
 */
static struct payer *
next_payer(struct turns *turns)
{
	for (;;) {
		struct payer *payer = list_entry(list_first(&turns->payers), struct payer, link);

		if (payer->left_nsec <= 0 && !payer->has_turn) {
			payer->left_nsec += TURN_NSEC;
			payer->has_turn = true;
		}
		if (payer->left_nsec > 0)
			return payer;
		payer->has_turn = false;
		list_unlink(&payer->link);
		list_append(&turns->payers, &payer->link);
	}
}

/* One piece of work of PAYER's, the next of LINE. Returns: the time at its end. */
static uint64_t
take(struct turns *turns, struct list *line, struct payer *payer, uint64_t now)
{
	struct turn *turn = list_entry(list_first(line), struct turn, link);
	uint64_t before = now;

	list_unlink(&turn->link);
	if (turn->take(turn))
		turn_ready(turns, turn);
	now = turns->now_nsec();
	payer->left_nsec -= (int64_t)(now - before);
	return now;
}

/*
 * The payer stays in line while one of its turns is taken, also with the last of them. The clock is
 * read once for each: the end of one is the beginning of the next.
 */
uint64_t
turns_take(struct turns *turns)
{
	bool first = turns_has_first(turns);
	struct payer *payer;
	uint64_t start, now;

	if (turns_empty(turns))
		return 0;
	start = now = turns->now_nsec();
	if (first) {
		payer = list_entry(list_first(&turns->first), struct turn, link)->payer;
		now = take(turns, &turns->first, payer, now);
	} else {
		payer = next_payer(turns);
		do
			now = take(turns, &payer->waiting, payer, now);
		while (payer->left_nsec > 0 && !list_empty(&payer->waiting) && !turns_has_first(turns));
	}
	if (payer->left_nsec < -TURN_DEBT_NSEC)
		payer->left_nsec = -TURN_DEBT_NSEC;
	leave_if_idle(payer);
	return now - start;
}

bool
payer_is_idle(const struct payer *payer)
{
	return !payer->link.next || (list_empty(&payer->link) && list_empty(&payer->waiting));
}
