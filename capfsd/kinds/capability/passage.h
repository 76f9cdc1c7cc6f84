/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a connection through a capability passes: rules, each of which may refuse it, in the order in which they
 * are asked. They stand in one table. By that connections are let in (sockets/connect.c), listeners are made
 * (endpoint_is_served()), and the file `why` says what would happen now: so what is told is what is done.
 *
 * A rule reads the model, and what the sockets know of the service at that moment; it changes nothing. What is
 * none of it is the daemon's own trouble, a full store or no memory, and the mode bits, which the kernel knows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capability;
struct capability_record;
struct change;

/* Why not. Their order is that of the counters, which outlive a broker: new ones come last. */
enum {
	CONNECT_E_ENDED = 1, /* the capability */
	CONNECT_E_RIGHT,
	CONNECT_E_UNSERVED,
	CONNECT_E_CALLS,
	CONNECT_E_CONNS,
	CONNECT_E_RATE,
	CONNECT_E_QUEUED,  /* as many wait for a server as may */
	CONNECT_E_SOCKETS, /* quota */
	CONNECT_E_INFLIGHT,
	CONNECT_E_PAGES,
	CONNECT_E_STORE,
	CONNECT_E_MEMORY,
	CONNECT_N_ANSWERS,
};

enum passage_rule {
	PASSAGE_ENDED,
	PASSAGE_EXPIRES,
	PASSAGE_RIGHT,
	PASSAGE_ONLY,  /* its server must be told of caveats */
	PASSAGE_VISIT,
	PASSAGE_SERVED,
	PASSAGE_WAITING,
	PASSAGE_CALLS,
	PASSAGE_CONNS,
	PASSAGE_RATE,
	PASSAGE_METHODS,
	PASSAGE_PAGES,
	PASSAGE_CROWD,
	PASSAGE_SOCKETS,
	PASSAGE_INFLIGHT,
	N_PASSAGE_RULES,
};

/* Whom they concern. */
enum passage_set {
	PASSAGE_ALL = 1 << 0,
	PASSAGE_OWN = 1 << 1,    /* the capability and what it was derived from, and no server */
	PASSAGE_LISTEN = 1 << 2, /* whether somebody listens there at all */
};

struct passage {
	const struct capability *capability;
	struct change *change; /* as that leaves it; NULL: as it is */
	uint64_t now_usec;     /* CLOCK_REALTIME */
	bool calls; /* a call is asked for as well: of what its server counts a connection is none */
	/* What the sockets know: all 0 without them. */
	bool attached;        /* its server is there */
	bool unbound;         /* … and accepts by itself, but has no socket for this object yet */
	uint32_t n_queued;    /* so many wait for a server */
	uint32_t n_sockets;   /* so many of the session's `sockets` it takes */
	bool no_sockets, no_inflight; /* quota */
	bool no_pages;        /* its server can count no more capabilities */
	bool crowds;          /* its server leaves as many of this slot waiting as may */
	uint64_t no_rate;     /* of which its server has counted as many as may be just now: an id, 0: none */
};

/* For connections through C, as things are. What the sockets know is the caller's to fill in. */
void passage_init(struct passage *p, const struct capability *c);

/* Does RULE let it pass? Returns: 0 or CONNECT_E_*. */
int passage_ask(const struct passage *p, enum passage_rule rule);
/* The first of the rules of SET that does not. Returns: 0 or its CONNECT_E_*. */
int passage_check(const struct passage *p, enum passage_set set, enum passage_rule *ret_rule);

/* Is it AT, the capability or one that it was derived from, where RULE does not let it pass? */
bool passage_stops_at(const struct passage *p, enum passage_rule rule, const struct capability *at);

/* What is left of the second's worth that R has. */
uint64_t record_rate_left(const struct capability_record *r, uint64_t now_usec);

/* "calls" */
const char *passage_rule_name(enum passage_rule rule);
/* The errno of an answer, and what the metrics call it; 0: the daemon's fault. NULL: there is none. */
int connect_errno(int answer);
const char *connect_refusal_name(size_t answer);
