/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The model's answers as refusals: the one place that knows which errno each of them is. */
#pragma once

#include "capfsd/ops/grammar.h"

struct capability;
struct request;
struct session;

/* EDQUOT, with the account and its largest consumer. All of these return 0, as refuse() does. */
int refuse_quota(struct request *r, struct session *s, enum quota_kind kind);

/* EPERM: C does not hold RIGHT. */
int refuse_right(struct request *r, const struct capability *c, const char *right);

/* An answer of capability.h; TO is the session that was to receive NAME, RIGHT what was needed. */
int refuse_capability(struct request *r, const struct capability *c, struct session *to,
	const struct word *name, int answer, const char *right);

/* An answer of session.h about a session below, or at, S. */
int refuse_session(struct request *r, struct session *s, const struct word *name, int answer,
	enum quota_kind kind);

/* The descendant of S that KEY names. NULL: refused (ENOENT). */
struct session *find_session(struct request *r, struct session *s, const struct command *c,
	enum key key);
