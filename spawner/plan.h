/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is what a broker asks for a plan, and one that may be carried out here? Everything else reads plans as they
 * are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "wire/process.h"

/* Whose processes it may be about. */
struct plan_scope {
	uid_t uid; /* our own */
	gid_t gid;
	bool others; /* … or anybody else's */
	bool root;   /* … root's too */
};

/* (sessions/NAME)*, where names have letters, digits, `_`, `.`, `-`, and do not begin with `.`. */
bool plan_session_is_valid(const char *session);

/* The plan of the N bytes at DATA. Returns: 0, -EINVAL, -EPERM (of another user), -EOPNOTSUPP. */
int plan_decode(const void *data, size_t n, const struct plan_scope *scope, struct process_plan *ret);

/*
 * Makes P at least as narrow as ABOVE where the kernel does not see to it: in limits and in what programs
 * take away from themselves. Returns: 0, -EINVAL: P is not for a session below.
 */
int plan_inherit(struct process_plan *p, const struct process_plan *above);

/* Are the limits of P those of ABOVE, with which all that are made there share them? */
bool plan_shares_limits(const struct process_plan *p, const struct process_plan *above);

/* Can programs have the groups of P, and no others, below ABOVE, or NULL, the plan of where they are made? */
bool plan_groups_can_be(const struct process_plan *p, const struct plan_scope *scope, const struct process_plan *above);
