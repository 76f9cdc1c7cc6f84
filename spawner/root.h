/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The root directory of a confined session. */
#pragma once

struct process_plan;

/*
 * Makes it and goes there; the caller has all capabilities in namespaces of its own. TREE is a mount of the
 * session's directory, for /cap. Returns: 0 or -errno; *RET_STEP, where.
 */
int root_make(const struct process_plan *plan, int tree, int *ret_step);
