/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the keeper: the parent of all others, and the only process with privilege.
 *
 * It owns the mount, both locks, a duplicate of the connection to the kernel, and its children, holder and
 * binder, which it starts again when they end; for an upgrade it does what that room asks. It tells systemd how the daemon
 * does. It trusts none of its children: what it reads from them is one fixed-size record without descriptors,
 * and what that can make it do is to say that the daemon is ready, and to send the holder the installed
 * binary. It parses no client's bytes and touches nothing on the mount. Only main() calls into this room.
 */
#pragma once

#include "capfsd/process/boot.h"
#include "capfsd/process/succession.h"

struct fdstore;

struct keeper_config {
	struct boot boot;       /* what the command line and the machine decide */
	struct succession held; /* both locks, the listener and the mount point; the keeper's from then on */
	char *const *argv;      /* for the binary of an upgrade */
	struct fdstore *stored; /* what an earlier daemon has left; taken from it */
};

/* Runs until it is told to stop or cannot go on. Returns: the daemon's exit status. */
int keeper_run(const struct keeper_config *config);

/* The same, for what execve(2) has made of the keeper; FD is the succession. */
int keeper_resume(int fd, int argc, char *argv[]);
