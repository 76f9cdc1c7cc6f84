/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A second model, as naive as can be: flat arrays, nothing derived is kept, every question is
 * answered by looking at everything. It shares no code with the real one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"

#define REF_SESSIONS 14
#define REF_ENTRYPOINTS 8
#define REF_OBJECTS 20
#define REF_CAPS 112 /* all that the root has room for: shares make them unasked */
#define REF_CHARGES 16
#define REF_PROGRAMS 12
#define REF_SIGNALS 8
#define REF_SHARES 8
#define REF_DECLINED 64
#define REF_ASKS 10
#define REF_POLICIES 12
#define REF_RULES 4
#define REF_CONFINEMENT_RAM 8192
#define REF_CAVEAT_RAM 1024

struct ref_session {
	uint64_t id; /* 0: this place is empty; so for all */
	int parent;  /* -1: the root */
	bool closing, confined;
	uint64_t limit[QUOTA_N_KINDS], donation[QUOTA_N_KINDS];
	char name[8];
};

struct ref_entrypoint {
	uint64_t id;
	int session;
	bool served, once, dead;
	char name[8];
};

struct ref_object {
	uint64_t id, key, badge;
	int entrypoint, socket;
	bool dead;
};

struct ref_signal {
	uint64_t id, count;
	int session;
	bool alarm;
};

struct ref_share {
	uint64_t id, scope, written;
	int cap;
	enum share_with with;
	struct reductions how;
	bool changed; /* not all that it has made was looked at since it was written with other reductions */
	bool failed;  /* its source could not give it at some time since it was written */
};

/* A session that has ended what a share gave, as that was written then. */
struct ref_declined {
	uint64_t id, share, written;
	int session;
};

struct ref_ask {
	uint64_t id, amount[QUOTA_N_KINDS];
	int session;
	enum ask_what what;
	bool answered, signal; /* of a slot: it is to be one for a signal */
	struct reductions how;
	char name[8];
};

struct ref_rule {
	char pattern[64], name[8], slot[8];
	bool denies, has_how;
	struct reductions how;
};

/* One that was replaced stays until all that policies of its session gave was looked at. */
struct ref_policy {
	uint64_t id, bytes; /* of its rules, in memory */
	int session;
	bool replaced;
	unsigned n;
	struct ref_rule rules[REF_RULES];
};

/* Of a capability: what was lent for it. */
struct ref_visit {
	bool is, open, asks;
	int payer, via; /* a session; a capability that is a visit's, or -1 */
	uint64_t lent[QUOTA_N_KINDS], asked[QUOTA_N_KINDS], charged[QUOTA_N_KINDS];
};

struct ref_cap {
	uint64_t id;
	int session, object, parent; /* parent -1: an origin */
	int signal; /* the one that it is for, and 1; 0: it is for the object */
	bool dead, revoked;
	unsigned n_caveats; /* of its own */
	uint32_t rights;
	uint64_t calls_limit, calls_used, conns_limit, conns, rate_limit, rate_at, expires;
	char name[NAME_BYTES_MAX + 1];
	struct ref_visit visit;
	char ruled[8]; /* as what it was asked for when a policy gave it; "": none has */
	bool covered;  /* that policy, or the one that has replaced it, gives it, or has given it since */
	bool shared, declined; /* a share has made it; and somebody else has ended it */
	uint64_t share_written; /* as which it was made, or looked at last */
	int through; /* the one that it is tied to, and 1; 0: none */
	/* What it could do after the step before: it must never become more. */
	uint32_t last_rights;
	uint64_t last_calls, last_conns, last_expires;
	bool last_live;
};

struct ref_charge {
	struct charge charge;
	int session;
	int kind;
	uint32_t n;
};

struct ref_program {
	uint64_t id;
	int session;
};

struct reference {
	struct ref_session sessions[REF_SESSIONS];
	struct ref_entrypoint entrypoints[REF_ENTRYPOINTS];
	struct ref_object objects[REF_OBJECTS];
	struct ref_cap caps[REF_CAPS];
	struct ref_charge charges[REF_CHARGES];
	struct ref_program programs[REF_PROGRAMS];
	struct ref_signal signals[REF_SIGNALS];
	struct ref_share shares[REF_SHARES];
	struct ref_declined declined[REF_DECLINED];
	struct ref_ask asks[REF_ASKS];
	struct ref_policy policies[REF_POLICIES];
};

/* An empty place of an array, or -1. */
int ref_free_session(const struct reference *r);
int ref_free_entrypoint(const struct reference *r);
int ref_free_object(const struct reference *r);
int ref_free_cap(const struct reference *r);
int ref_free_program(const struct reference *r);
int ref_free_signal(const struct reference *r);
int ref_free_share(const struct reference *r);
int ref_free_declined(const struct reference *r);
int ref_free_ask(const struct reference *r);
int ref_free_policy(const struct reference *r);

void ref_used(const struct reference *r, int session, uint64_t used[QUOTA_N_KINDS]);
void ref_lent(const struct reference *r, int session, uint64_t lent[QUOTA_N_KINDS]);
void ref_left(const struct reference *r, int session, uint64_t left[QUOTA_N_KINDS]);

bool ref_entrypoint_doomed(const struct reference *r, int entrypoint);
bool ref_object_doomed(const struct reference *r, int object);
bool ref_cap_doomed(const struct reference *r, int cap);
/* In which session its target is. */
int ref_cap_server(const struct reference *r, int cap);
/* The rights with which its type lets one connect. */
uint32_t ref_cap_connects(const struct reference *r, int cap);
/* It is doomed, and stays as long as programs run in a session that is being closed. */
bool ref_cap_is_kept(const struct reference *r, int cap);
bool ref_cap_live(const struct reference *r, int cap, uint64_t now);
uint32_t ref_cap_rights(const struct reference *r, int cap);
uint64_t ref_cap_expires(const struct reference *r, int cap);
/* Somebody ends it, unless it has ended. */
void ref_cap_end(struct reference *r, int cap);
/* Was it derived from TOP, or is it that one? */
bool ref_cap_is_below(const struct reference *r, int cap, int top);
/* … or is it tied, or what it was derived from, to one of these? Then it may be more when that is. */
bool ref_cap_depends(const struct reference *r, int cap, int top);
/* So many follow each other. */
int ref_cap_ties(const struct reference *r, int cap);
/* Its own caveats and those of all above it. */
unsigned ref_cap_caveats(const struct reference *r, int cap);
/* Connections through it and all that is derived from it. */
uint64_t ref_cap_conns(const struct reference *r, int cap);

/* The share of CAP, or -1. */
int ref_share_of(const struct reference *r, int cap);
/* That in force, or -1. */
int ref_policy_of(const struct reference *r, int session);
/* The rule of the parent of SESSION that counts where it asks for NAME, from 1 on; 0: none. */
unsigned ref_rule_for(const struct reference *r, int session, const char *name);
/* The policy that gave CAP, or has replaced it, gives it. */
bool ref_policy_covers(const struct reference *r, int cap);
/* Is SESSION one of those that SHARE is for? */
bool ref_share_covers(const struct reference *r, int share, int session);
bool ref_session_within(const struct reference *r, int session, int top);

/* In any state; -1: free. */
int ref_cap_named(const struct reference *r, int session, const char *name);
int ref_session_named(const struct reference *r, int parent, const char *name);
int ref_entrypoint_named(const struct reference *r, int session, const char *name);
int ref_object_keyed(const struct reference *r, int entrypoint, uint64_t key);
