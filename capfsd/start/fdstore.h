/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an earlier daemon has left with systemd (sd_pid_notify_with_fds(3)): the connection to the
 * kernel and a succession about it, which make its mount ours, and sockets, which are for the broker. The
 * names are short, because systemd passes all of them in one string of the environment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "capfsd/process/succession.h"

struct fdstore {
	bool found;  /* FUSE_FD with all that SUCCESSION and BOOT must say about it */
	int fuse_fd; /* -1: none */
	int activation_fd; /* not stored, but passed in the same way: activation.h; -1: none */
	int *sockets; /* ascending, none below BOOT_FD_FIRST_STORED */
	size_t n_sockets;
	struct succession succession;
	struct boot boot;
};

/*
 * Takes what systemd has passed to this process; closes whatever else there is from 3 up. What was stored is
 * believed only if the keeper's own user has made it, and while the mount is still there. RET_ACTIVATION is
 * the name of the service manager's listener, "" without one.
 * Returns: 0 or -errno.
 */
int fdstore_receive(struct fdstore *ret, char ret_activation[108]);

/* Closes what is left in it, shutting sockets down when they are of no use to anybody any more. */
void fdstore_deinit(struct fdstore *s, bool shut_down);

/*
 * What BOOT, DEVICE and *RET_FUSE_FD must be of the mount that S has: INIT and the instance are those of before,
 * as the kernel speaks as it was told then, and brokers know their records by the instance.
 */
void fdstore_take_mount(struct fdstore *s, struct boot *boot, char device[MOUNTS_FIELD_BYTES], int *ret_fuse_fd);

/* How many descriptors systemd would keep for us; 0: it does not. */
size_t fdstore_max(void);

/* Has systemd keep the mount at PATH, which is DEVICE. Returns: 0 or -errno. */
int fdstore_keep_mount(const char *path, const char *device, const struct boot *boot, int fuse_fd);

/* Has it forget everything, or all sockets. */
void fdstore_forget(void);
void fdstore_forget_sockets(void);
