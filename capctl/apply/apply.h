/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slots of the file's sessions. What one of them serves is imported by the first session of the
 * file, and granted from there: so it is shown, and can be revoked, in one place.
 */
#pragma once

#include "capctl/apply/plan.h"
#include "capctl/command.h"

struct apply {
	struct context *context;
	struct plan *plan;
	capc_session *first; /* a connection to the first session of the file, once it is there */
};

/* What every function here returns is 0 or an exit status, having said why. */

/* Grants what U is to E. Waits for who serves it. */
int wire_grant(struct apply *a, const struct entry *e, const struct use *u, char **ret_slot);

/* The same, unless E has a slot of this name. *RET_MADE: it had none. */
int wire_keep(struct apply *a, const struct entry *e, const struct use *u, bool *ret_made);

/* The slots that are not the file's are there. */
int wire_check(struct apply *a, const struct entry *e);

/* How the program of E is called while it runs: its digest; "": it does not run. Returns: 0,
 * -errno. */
int apply_title(struct apply *a, const struct entry *e, struct text *ret);
