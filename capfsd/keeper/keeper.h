/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper: what needs privilege, and nothing else. It mounts, answers INIT, starts binder and
 * holder, starts them again when they end, and takes the mount away. It trusts none of them: what
 * it reads from the broker is one fixed-size record, and what that can make it do is to say that
 * the daemon is ready, and to send the holder the installed binary.
 */
#pragma once

#include <limits.h>

#include "capfsd/process/boot.h"

struct fdstore;

struct keeper_config {
	struct boot boot;          /* what the command line and the machine decide */
	char mountpoint[PATH_MAX]; /* canonical */
	int lock_fd;               /* of the run directory; the keeper closes it at the end … */
	int state_fd;              /* … and this one, of the state directory */
	int activation_fd;         /* … and the service manager's listener, or -1 */
	char *const *argv;         /* for the binary of an upgrade */
	struct fdstore *stored;    /* what an earlier daemon has left; taken from it */
};

/* Runs until it is told to stop or cannot go on. Returns: the daemon's exit status. */
int keeper_run(const struct keeper_config *config);

/* The same, for what execve(2) has made of the keeper; FD is the succession. */
int keeper_resume(int fd, int argc, char *argv[]);
