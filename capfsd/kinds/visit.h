/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A visit: what a client has open at a service, with quota that it has lent for it. It hangs on a slot that was
 * derived for it alone, by whose id the server knows it, and lasts as long as that: so it ends as any slot does, with
 * all that was made of it, and what was lent is the payer's again in the same transaction.
 *
 * Lent quota is an account of its own: lent = asked + charged + free. `asked` is what the server has not accepted yet;
 * what it then uses for this client it charges, and no more than there is. Its own session is charged nothing by that.
 *
 * A server that visits another one for its client takes the quota from that client's visit (`via`): then what both
 * have, with what the second costs, is what the first one had, so that the client's session pays for both, and for
 * neither more than it lent. It goes back to the first visit with the end of the second.
 *
 * It stands in the session of who serves, in `visits`, and is called as its slot's id.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"

struct capability;
struct change;
struct entrypoint;
struct kind;
struct session;

extern const struct kind visit_kind;

#define VISIT_ARGS_BYTES 256
#define VISIT_DEPTH_MAX 8 /* visits of which each was made for the one before */

enum visit_answer {
	VISIT_UNANSWERED,
	VISIT_ACCEPTED,
	VISIT_REFUSED, /* more quota: that what was lent before stays, and no more */
	VISIT_N_ANSWERS,
};

struct visit_record {
	uint64_t capability; /* its slot */
	uint64_t payer;      /* the session that lends */
	uint64_t via;        /* the visit from whose quota it was made; 0: none */
	struct quota lent, asked, charged;
	uint8_t answer; /* enum visit_answer: the last one */
	uint8_t open;   /* it was accepted once */
	uint8_t asks;   /* the server has something to answer */
	uint8_t reserved;
	uint32_t n_args;
	char args[VISIT_ARGS_BYTES]; /* the client's words to the server; not terminated */
};

struct visit {
	struct entity entity;
	struct visit_record record;
	struct capability *capability;
	struct entrypoint *entrypoint;
	struct session *payer;
	struct visit *via;
	struct list payer_link; /* session.visits */
	struct list forwarded, via_link; /* of struct visit: those that were made from its quota */
	struct list waiting;    /* control's: who waits for its answer */
	struct list untold_link; /* sockets': its server is to be told that it asks */
};

static inline struct visit *
visit_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct visit, entity);
}

enum {
	VISIT_E_QUOTA = 1, /* *RET_KIND is short: of the payer's, or of what was lent */
	VISIT_E_ARGS,      /* VISIT_ARGS_BYTES */
	VISIT_E_DEPTH,     /* VISIT_DEPTH_MAX */
	VISIT_E_ASKS,      /* what was asked before has no answer yet */
	VISIT_E_ANSWERED,  /* nothing is asked */
};

/*
 * Stages the slot of a visit through SOURCE, in its own session or, with the right grant, in TO: what SOURCE can be
 * called for, and nothing of it can be passed on. Returns: as capability_grant(); _RIGHT is call, or grant.
 */
int capability_visit(struct change *ch, struct capability *source, struct session *to, const char *name,
	size_t n_name, uid_t by_uid, struct capability **ret);

/* "pending", "open", "upgrading". */
const char *visit_state(const struct visit *v);
/* What was lent and is neither asked for nor charged. */
uint64_t visit_free(const struct visit *v, enum quota_kind kind);
/* Has what it was made for ended? */
bool visit_is_over(const struct visit *v);

/*
 * Stages a visit on the slot C, which this change has added, with what PAYER lends, or, where VIA is not NULL, what
 * is free of that. It costs the payer ram=512. Returns: 0, VISIT_E_QUOTA, _ARGS, _DEPTH; -errno.
 */
int visit_open(struct change *ch, struct capability *c, struct session *payer, struct visit *via,
	const struct quota *amount, const char *args, size_t n_args, enum quota_kind *ret_kind);

/* Stages that so much more is lent, and asked about. Returns: 0, VISIT_E_QUOTA, _ASKS; -ENOMEM. */
int visit_upgrade(struct change *ch, struct visit *v, const struct quota *amount, enum quota_kind *ret_kind);

/*
 * Stages the server's answer. A refusal gives back all that was asked for: of a visit that was never open with its
 * slot. Returns: 0, VISIT_E_ANSWERED; -ENOMEM.
 */
int visit_answer(struct change *ch, struct visit *v, bool accept);

/*
 * Stages what the server uses for it, of the kinds of which there is a bit in KINDS. Returns: 0, VISIT_E_QUOTA;
 * -ENOMEM.
 */
int visit_charge(struct change *ch, struct visit *v, unsigned kinds, const struct quota *charged,
	enum quota_kind *ret_kind);
