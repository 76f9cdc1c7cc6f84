/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper: what needs privilege, and nothing else. It mounts, answers INIT, starts binder and
 * holder, starts them again when they end, and takes the mount away. It trusts none of them: what
 * it reads from the broker is one fixed-size record, and what that can make it do is to say that
 * the daemon is ready.
 */
#pragma once

#include <limits.h>

#include "capfsd/boot.h"

struct keeper_config {
	struct boot boot;          /* what the command line and the machine decide */
	char mountpoint[PATH_MAX]; /* canonical */
	int lock_fd;               /* of the run directory; stays the caller's */
	int activation_fd;         /* the service manager's listener, or -1; stays the caller's */
};

/* Runs until it is told to stop or cannot go on. Returns: the daemon's exit status. */
int keeper_run(const struct keeper_config *config);
