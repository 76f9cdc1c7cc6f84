/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of rules. Each is a function of what is known, or of what is known of one capability alone, which is
 * then asked of the slot and of all that it was derived from.
 *
 * Asked for each connection, so nothing here allocates or formats. Words for people are made of it elsewhere.
 */
#include "config.h"

#include "capfsd/kinds/capability/passage.h"

#include <errno.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/capability/tie.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/kinds/visit.h"
#include "capfsd/model/change.h"
#include "capfsd/model/model.h"

static const struct {
	int error;
	const char *name;
} answers[CONNECT_N_ANSWERS] = {
	[0] = {0, "error"},
	[CONNECT_E_ENDED] = {ENOENT, "ended"},
	[CONNECT_E_RIGHT] = {EPERM, "right"},
	[CONNECT_E_UNSERVED] = {ECONNREFUSED, "unserved"},
	[CONNECT_E_CALLS] = {EDQUOT, "calls"},
	[CONNECT_E_CONNS] = {EDQUOT, "conns"},
	[CONNECT_E_RATE] = {EDQUOT, "rate"},
	[CONNECT_E_QUEUED] = {EDQUOT, "held"},
	[CONNECT_E_SOCKETS] = {EDQUOT, "sockets"},
	[CONNECT_E_INFLIGHT] = {EDQUOT, "inflight"},
	[CONNECT_E_PAGES] = {EDQUOT, "pages"},
	[CONNECT_E_STORE] = {ENOSPC, "store"},
	[CONNECT_E_MEMORY] = {ENOMEM, "memory"},
};

_Static_assert(CONNECT_N_ANSWERS == COUNTERS_REASONS, "each refusal has its counter");

int
connect_errno(int answer)
{
	return answers[answer].error;
}

const char *
connect_refusal_name(size_t answer)
{
	return answer < CONNECT_N_ANSWERS ? answers[answer].name : NULL;
}

static const struct capability_record *
record_of(const struct passage *p, const struct capability *c)
{
	return p->change ? change_record(p->change, &c->entity) : &c->record;
}

/* Where the server counts calls a connection is none, and only connections are limited. */
static bool
uses_call(const struct passage *p)
{
	return p->calls || !capability_counts_calls(p->capability);
}

static bool
ended(const struct passage *p)
{
	return capability_is_doomed(p->capability);
}

/* The clock is asked only where something expires, since whether it lives is asked of all that is listed. */
static bool
expired_at(const struct passage *p, const struct capability *at)
{
	return (at->record.expires_usec != LIMIT_NONE && at->record.expires_usec <= p->now_usec) ||
		(at->tie && tie_expires(at->tie) <= p->now_usec);
}

static uint32_t
rights_at(const struct passage *p, const struct capability *at)
{
	return record_rights(record_of(p, at)) & (at->tie ? tie_rights(at->tie) : ~UINT32_C(0));
}

static bool
no_right(const struct passage *p)
{
	uint32_t rights = capability_type(p->capability)->connects;

	for (const struct capability *i = p->capability; i; i = i->parent)
		rights &= rights_at(p, i);
	return !rights;
}

static bool
no_right_at(const struct passage *p, const struct capability *at)
{
	return !(rights_at(p, at) & capability_type(at)->connects);
}

static bool
untold(const struct passage *p)
{
	unsigned n = caveats_count(p->capability);

	return n > 0 && (n > CAVEATS_MAX || !capability_service(p->capability).caveats);
}

/* Nothing is derived from the slot of a visit, so that none stands further up. */
static bool
unaccepted(const struct passage *p)
{
	const struct capability *c = p->capability;

	return c->visit && !c->visit->record.open;
}

/* There are types that nobody ever serves. */
static bool
unserved(const struct passage *p)
{
	const struct service service = capability_service(p->capability);

	/* A connection may bring what is missing, where that may be brought. */
	if (service.answered)
		return p->calls && service.empty && !(service.fds && (rights_at(p, p->capability) & RIGHT_FDS));
	if (!service.entrypoint)
		return true;
	if (service.listens)
		return !p->attached || p->unbound;
	return !p->attached && service.entrypoint->record.hold == 0;
}

static bool
no_place(const struct passage *p)
{
	const struct entrypoint *e = capability_entrypoint(p->capability);

	return e && !p->attached && p->n_queued >= e->record.hold;
}

/* What a change has staged is no server's count. */
static bool
no_calls_at(const struct passage *p, const struct capability *at)
{
	const struct capability_record *r = record_of(p, at);

	return uses_call(p) && r->calls_limit != LIMIT_NONE &&
		(p->change ? r->calls_used : capability_calls_used(at)) >= r->calls_limit;
}

static bool
no_conns_at(const struct passage *p, const struct capability *at)
{
	const struct capability_record *r = record_of(p, at);

	return r->conns_limit != LIMIT_NONE && at->conns_used >= r->conns_limit;
}

/* Of calls that a server counts the record has none of the moment. */
static bool
no_rate_at(const struct passage *p, const struct capability *at)
{
	const struct capability_record *r = record_of(p, at);

	if (capability_counts_calls(at))
		return p->calls && at->entity.id == p->no_rate;
	return r->rate_limit != LIMIT_NONE && record_rate_left(r, p->now_usec) == 0;
}

static bool
no_methods(const struct passage *p)
{
	uint64_t first = 0, last;

	return p->calls && !capability_next_methods(p->capability, &first, &last);
}

static bool
no_pages(const struct passage *p)
{
	return p->no_pages;
}

static bool
crowds(const struct passage *p)
{
	return p->crowds;
}

static bool
no_sockets(const struct passage *p)
{
	return p->no_sockets;
}

static bool
no_inflight(const struct passage *p)
{
	return p->no_inflight;
}

#define EVERYWHERE (PASSAGE_ALL | PASSAGE_OWN | PASSAGE_LISTEN)

/* In the order in which they are asked. What has no `refuses` is refused where `at` is true of one. */
static const struct {
	const char *name;
	int answer;
	unsigned sets; /* enum passage_set */
	bool (*refuses)(const struct passage *p);
	bool (*at)(const struct passage *p, const struct capability *at);
} rules[N_PASSAGE_RULES] = {
	[PASSAGE_ENDED] = {"ended", CONNECT_E_ENDED, EVERYWHERE, ended, NULL},
	[PASSAGE_EXPIRES] = {"expires", CONNECT_E_ENDED, EVERYWHERE, NULL, expired_at},
	[PASSAGE_RIGHT] = {"right", CONNECT_E_RIGHT, EVERYWHERE, no_right, no_right_at},
	[PASSAGE_ONLY] = {"only", CONNECT_E_UNSERVED, PASSAGE_ALL, untold, NULL},
	[PASSAGE_VISIT] = {"visit", CONNECT_E_UNSERVED, PASSAGE_ALL, unaccepted, NULL},
	[PASSAGE_SERVED] = {"served", CONNECT_E_UNSERVED, PASSAGE_ALL | PASSAGE_LISTEN, unserved, NULL},
	[PASSAGE_WAITING] = {"waiting", CONNECT_E_QUEUED, PASSAGE_ALL, no_place, NULL},
	[PASSAGE_CALLS] = {"calls", CONNECT_E_CALLS, PASSAGE_ALL | PASSAGE_OWN, NULL, no_calls_at},
	[PASSAGE_CONNS] = {"conns", CONNECT_E_CONNS, PASSAGE_ALL | PASSAGE_OWN, NULL, no_conns_at},
	[PASSAGE_RATE] = {"rate", CONNECT_E_RATE, PASSAGE_ALL | PASSAGE_OWN, NULL, no_rate_at},
	[PASSAGE_METHODS] = {"methods", CONNECT_E_RIGHT, PASSAGE_ALL, no_methods, NULL},
	[PASSAGE_PAGES] = {"pages", CONNECT_E_PAGES, PASSAGE_ALL, no_pages, NULL},
	[PASSAGE_CROWD] = {"crowd", CONNECT_E_QUEUED, PASSAGE_ALL, crowds, NULL},
	[PASSAGE_SOCKETS] = {"sockets", CONNECT_E_SOCKETS, PASSAGE_ALL, no_sockets, NULL},
	[PASSAGE_INFLIGHT] = {"inflight", CONNECT_E_INFLIGHT, PASSAGE_ALL, no_inflight, NULL},
};

void
passage_init(struct passage *p, const struct capability *c)
{
	*p = (struct passage){.capability = c, .now_usec = c->session->model->now_usec()};
}

const char *
passage_rule_name(enum passage_rule rule)
{
	return rules[rule].name;
}

bool
passage_stops_at(const struct passage *p, enum passage_rule rule, const struct capability *at)
{
	return rules[rule].at && rules[rule].at(p, at);
}

int
passage_ask(const struct passage *p, enum passage_rule rule)
{
	if (rules[rule].refuses)
		return rules[rule].refuses(p) ? rules[rule].answer : 0;
	for (const struct capability *i = p->capability; i; i = i->parent)
		if (rules[rule].at(p, i))
			return rules[rule].answer;
	return 0;
}

int
passage_check(const struct passage *p, enum passage_set set, enum passage_rule *ret_rule)
{
	for (enum passage_rule i = 0; i < N_PASSAGE_RULES; i++) {
		int answer = rules[i].sets & set ? passage_ask(p, i) : 0;

		if (answer == 0)
			continue;
		if (ret_rule)
			*ret_rule = i;
		return answer;
	}
	return 0;
}
