/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The answers of the model and of the system as refusals: the one place that knows which errno each
 * of them is, and what its reason says. A table per module; verbs and fronts name the table and say
 * whom the answer is about. Connections have theirs where they are accepted, in sockets/. All of
 * these return 0, as refuse() does.
 */
#pragma once

#include "capfsd/ops/grammar.h"

struct capability;
struct request;
struct session;

/* Whom and what an answer is about. A reason that names what is missing here says "?". */
struct about {
	const struct capability *capability; /* that is used */
	struct session *session;             /* that was to receive something, or whose it is */
	const char *subject;                 /* the name of what it is about, if no capability */
	struct word name;                    /* that was asked for */
	uint32_t right;                      /* that was needed */
	enum quota_kind kind;                /* that was short, where the answer does not tell */
};

/* An answer of kinds/capability/capability.h. */
int refuse_capability(struct request *r, int answer, const struct about *about);
/* Of model/session.h; SESSION_E_QUOTA needs `session` and `kind`. */
int refuse_session(struct request *r, int answer, const struct about *about);
/* Of kinds/entrypoint.h: to who would attach a server, and to who would add an object. */
int refuse_entrypoint(struct request *r, int answer, const struct about *about);
int refuse_object(struct request *r, int answer, const struct about *about);
/* Of kinds/alias.h. */
int refuse_alias(struct request *r, int answer, const struct about *about);
/* Of kinds/anchor.h; `session` is the one whose it was to be. */
int refuse_anchor(struct request *r, int answer, const struct about *about);
/* Of kinds/visit.h; VISIT_E_QUOTA of what PAYER has; of what a visit has it is refused where it was asked. */
int refuse_visit(struct request *r, int answer, const struct about *about);
/* Of model/quota.h, and the errors of session_transfer_quota() but -ENOMEM. */
int refuse_transfer(struct request *r, int answer, const struct about *about);
/* A negative errno of the system, when something was to be opened; -EDQUOT needs `session`, `kind`. */
int refuse_system(struct request *r, int error, const struct about *about);

/* EDQUOT, with the account and its largest consumer. */
int refuse_quota(struct request *r, struct session *s, enum quota_kind kind);

/* EPERM: C does not hold RIGHT. */
int refuse_right(struct request *r, const struct capability *c, uint32_t right);
