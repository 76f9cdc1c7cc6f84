/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper's children. Each begins with exactly the descriptors that it is to have, and with
 * a table of its own.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct boot;

struct children_fds {
	int fuse;
	int lock;
	int keeper; /* the holder's end of the pair to the keeper */
	int activation; /* the service manager's listener, or -1 */
	int binder; /* the broker's end of the pair to the binder */
	const int *sockets; /* of an earlier daemon: ascending, from BOOT_FD_FIRST_STORED on */
	size_t n_sockets;
};

/* Returns: the child's pid, or -errno. No descriptor changes its owner. */
pid_t children_start_holder(const struct boot *boot, const struct children_fds *fds);
pid_t children_start_binder(const struct boot *boot, const char *mountpoint, int socket_fd);

/*
 * The program BINARY, as the daemon's user, with SUCCESSION and its end of the pair through which the
 * broker sends it a copy of the state: both numbers are fixed (try.c).
 */
pid_t children_start_try(const struct boot *boot, int binary, int succession, int socket_fd);

/* Waits for any child of ours. Returns: its wait status, -ETIMEDOUT (it is killed), -errno. */
int children_wait(pid_t pid, int msec);
