/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connected sockets that clients have sent, which an inspector looks at (capfsd/binder). */
#pragma once

struct controls;
struct exchange;
struct inspector_ops;
struct session;

#define INSPECTIONS_MAX 64 /* not over, shared as quota_share_left() says; … */
#define INSPECTIONS_MIN 4  /* … in halves no smaller than this */

/* For jobs_set_inspector(), with the controls. */
extern const struct inspector_ops inspection_ops;

/* Returns: as perform(). */
int perform_inspect(struct exchange *x);
/* S is gone: its parent answers for those that are not over. */
void inspections_inherit(struct controls *controls, const struct session *s);
void inspections_forget(struct controls *controls);
