/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon's processes take away from themselves. All non-logging. */
#pragma once

#include <sys/types.h>

struct boot;

/*
 * argv's strings lie behind each other; the daemon's processes write their names over them. What is
 * still needed of them has been copied by then.
 */
void confine_argv(struct boot *boot, int argc, char *argv[]);

/* The name that ps, pgrep and /proc show. */
void confine_title(const struct boot *boot, const char *name);

/* Ends the caller with PARENT, by SIGKILL. Returns: 0, -ESRCH (it has ended already), -errno. */
int confine_tie(pid_t parent);

/*
 * Gives up everything that the daemon's own user does not have: groups, uids, capabilities, their
 * bounding set, new privileges by exec, and being traced. Ties the caller to PARENT after that,
 * since a change of uid unties. Started by an ordinary user only the last ones remain to be done.
 * Returns: 0 or -errno.
 */
int confine_drop(const struct boot *boot, pid_t parent);

/*
 * The keeper keeps the capabilities that it needs, also for whatever it executes, no_new_privs, and its
 * system calls. Started by an ordinary user it has none of the former, and needs a set-user-ID program.
 * Returns: 0 or -errno.
 */
int confine_keeper(struct boot *boot);

/* The filter of keeper and holder, once, for one that was not born with it. Returns: 0 or -errno. */
int confine_family(struct boot *boot);
