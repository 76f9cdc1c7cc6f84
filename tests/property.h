/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the property test share. Each operation chooses at random, asks the reference
 * what the answer must be, lets the model do it, and if that happened does it to the reference.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/model-world.h"
#include "tests/reference.h"

struct property {
	struct world world;
	struct reference reference;
	uint64_t random;
	bool unreliable; /* the store may fail in this operation */
	uint64_t n_done, n_refused, n_failed, n_crashes;
};

uint64_t property_random(struct property *p, uint64_t n);
/* The letter KIND and a digit below N. */
void property_name(struct property *p, char name[8], char kind, unsigned n);

/* A place of ARRAY where something is, or -1 after some tries. */
#define PICK(p, array, n)                                                                          \
	__extension__({                                                                            \
		int _i = -1;                                                                       \
		for (int _tries = 0; _i < 0 && _tries < 8; _tries++) {                             \
			int _j = (int)property_random(p, n);                                       \
			if ((array)[_j].id)                                                        \
				_i = _j;                                                           \
		}                                                                                  \
		_i;                                                                                \
	})

/* The model's, for a place of the reference. */
struct session *property_session(struct property *p, int i);
struct capability *property_cap(struct property *p, int i);
struct entrypoint *property_entrypoint(struct property *p, int i);
struct object *property_object(struct property *p, int i);

/* Ends the change. ANSWER must be as expected. Returns: did it happen? */
bool property_done(struct property *p, struct change *ch, int answer, int expected);

/* Whether SOURCE gives a slot NAME for a visit, as *MADE is then. */
int property_expect_visit(struct property *p, int source, const char *name, struct ref_cap *made);
void property_add_cap(struct property *p, const struct ref_cap *made, const struct capability *c);

/* property-caps.c, for other operations that derive. */
struct reductions property_reductions(struct property *p, int cap);
/* What is left of capability CAP after HOW, in *TO. */
int property_expect_reductions(struct property *p, int cap, const struct reductions *how, struct ref_cap *to);
int property_expect_slot(struct property *p, int to, const char *name);
/* N caveats more for one in SESSION that has OWN and below those ABOVE, after so much ram is used. */
int property_expect_caveats(struct property *p, int session, unsigned above, unsigned own, unsigned n, uint64_t ram);
bool property_calls_are_used(const struct reference *ref, int cap);
bool property_rate_is_reached(const struct reference *ref, int cap);
void property_count_call(struct reference *ref, int cap);
/* It may be more than it was before, and so may all that was derived from it. */
void property_forget_before(struct reference *ref, int cap);

/* property-ties.c: that one in SESSION is tied, if it is to be, after so much ram is used. */
int property_expect_tie(struct property *p, int session, int through, uint64_t ram);
void op_reach(struct property *p);
void property_ties_reaped(struct property *p);

/* property-signals.c */
void op_signal(struct property *p);
void op_raise(struct property *p);
void property_signals_reaped(struct property *p, bool all);
void property_compare_signals(struct property *p);

/* property-shares.c */
void op_share(struct property *p);
void op_share_run(struct property *p);
void op_share_settle(struct property *p);
/* What shares have made, changed and ended by themselves is done to the reference, if it is right. */
void property_shares_follow(struct property *p);
void property_shares_reaped(struct property *p);
void property_compare_shares(struct property *p);

/* property-asks.c */
void op_ask(struct property *p);
void op_decide(struct property *p);
void op_ask_end(struct property *p);
/* What is asked for, at random, of a slot or quota. */
void property_ask_for(struct property *p, bool signal, struct ref_ask *made, struct ask_record *record);
void property_asks_reaped(struct property *p);
void property_compare_asks(struct property *p);
/* Does ASK get a slot derived from SOURCE where GIVEN is given? Then *MADE is that. */
bool property_expect_gift(struct property *p, const struct ref_ask *ask, int source, const struct reductions *given,
	struct ref_cap *made);

/* property-policies.c */
void op_policy(struct property *p);
void op_request(struct property *p);
void property_policies_reaped(struct property *p);
/* The broker has started again, and has understood the texts. */
void property_policies_made(struct property *p);
void property_compare_policies(struct property *p);

/* property-visits.c: a capability that is a visit's, or -1, */
int property_pick_visit(struct property *p);
void op_visit(struct property *p);
void op_upgrade(struct property *p);
void op_answer(struct property *p);
void op_visit_charge(struct property *p);
void property_visits_reaped(struct property *p);
void property_compare_visit(struct property *p, int i);

/* property-caps.c */
void op_grant(struct property *p);
void op_replicate(struct property *p);
void op_move(struct property *p);
void op_reduce(struct property *p);
void op_adjust(struct property *p);
void op_split(struct property *p);
void op_end(struct property *p);
void op_rename(struct property *p);
void op_connect(struct property *p);
void op_expire(struct property *p);
void op_reap(struct property *p);

/* property-accounts.c */
/* Of quota that goes between a session and its parent. */
int property_expect_transfer(struct property *p, int from, int to, const struct quota *q);
void property_transfer(struct reference *ref, int from, int to, const struct quota *q);
void op_session(struct property *p);
void op_close(struct property *p);
void op_transfer(struct property *p);
void op_attach(struct property *p);
void op_unserve(struct property *p);
void op_object(struct property *p);
void op_object_end(struct property *p);
void op_originate(struct property *p);
void op_charge(struct property *p);

/* property-rest.c */
void op_program(struct property *p);
void op_confine(struct property *p);
void op_log(struct property *p);
