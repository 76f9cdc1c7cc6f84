/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this process shows of itself, and who belongs to it. */
#pragma once

#include <sys/types.h>

/*
 * Titles are written over the arguments and what lies behind them, so that nothing may be needed of that any
 * more.
 */
void self_init(int argc, char *argv[]);

/* The name that ps, pgrep and /proc show, and behind it REST. */
void self_title(const char *name, const char *rest);

/* From here on whoever loses its parent among our descendants is our child. */
void self_adopt(void);

/*
 * No program that we become can get a capability; afterwards only CAP_SETPCAP would allow this, which goes with
 * the uid. Returns: 0 or -errno.
 */
int self_bound(void);

/*
 * Calls F with each child of ours, as PROC knows it, which is a /proc of our own pid namespace; -1: it is at
 * its usual place. It may miss one while another ends, for which there is a SIGCHLD: then is the time to look
 * again. Returns: 0, -errno: -ENOENT where the kernel does not list them.
 */
int self_for_each_child(int proc, void (*f)(void *context, pid_t pid), void *context);
