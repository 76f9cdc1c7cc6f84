/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the mount: how the tree's mount is made, and taken away, and how the kernel is greeted.
 *
 * It is made by mount(2) for root, by fusermount3 for a user. Once it is there, nothing here looks anything up
 * on it, since whoever does that waits for the broker; it is found again in the kernel's list of mounts. Only
 * the keeper and, before there is one, start/place.c call into this room; it knows nothing of those who serve.
 * All but mount_detach() and mount_identify() log.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "capfsd/process/mounts.h"

struct boot;
struct boot_init;

struct mount {
	char path[PATH_MAX];             /* canonical */
	char device[MOUNTS_FIELD_BYTES]; /* "MAJOR:MINOR" of our own mount, "" before it is made */
	bool privileged;
};

/* Mounts. Returns: 0 or -errno; *RET_FUSE_FD, the connection to the kernel, is the caller's. */
int mount_make(struct mount *m, int *ret_fuse_fd);

/* What a mount is told apart by, and where the binder works in it: random. Returns: 0 or -errno. */
int mount_identify(struct boot *boot);

/* Reads INIT and answers it, keeping both; FUSE_FD does not block from then on. */
int mount_answer_init(int fuse_fd, struct boot_init *ret);

/* Takes the mount on top at PATH away, at once or when it is not in use any more. */
int mount_detach(const char *path, bool privileged);

/* Detaches our mount if it is still on top. Open files in it stay until the connection ends. */
void mount_end(struct mount *m);
