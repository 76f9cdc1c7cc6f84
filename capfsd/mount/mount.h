/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the mount: how the tree's mount is made, and taken away, and how the kernel is greeted.
 *
 * It is made by mount(2) for root, by fusermount3 for a user. Once it is there, nothing here looks anything up
 * on it, since whoever does that waits for the broker; it is found again in the kernel's list of mounts. Only
 * the keeper and, before there is one, start/place.c call into this room; it knows nothing of those who serve.
 * All but mount_detach() and mount_is_there() log.
 */
#pragma once

#include <stdbool.h>

#include "capfsd/process/mounts.h"

struct boot;

struct mount {
	const char *path;                /* canonical; the caller's */
	char device[MOUNTS_FIELD_BYTES]; /* "MAJOR:MINOR" of our own mount, "" before it is made */
	bool privileged;
};

/*
 * Mounts, and replies to INIT. BOOT gets both of that, and what this mount is told apart by and where the binder
 * works in it, which is random. Returns: 0 or -errno, and nothing is mounted then; *RET_FUSE_FD, the connection
 * to the kernel, is the caller's, and does not block.
 */
int mount_make(struct mount *m, struct boot *boot, int *ret_fuse_fd);

/* Is it still in the kernel's list of mounts? */
bool mount_is_there(const struct mount *m);

/* Tells the log that somebody has taken it away. */
void mount_log_gone(const struct mount *m);

/* Takes the mount on top at PATH away, at once or when it is not in use any more. */
int mount_detach(const char *path, bool privileged);

/* Detaches our mount if it is still on top. Open files in it stay until the connection ends. */
void mount_end(struct mount *m);
