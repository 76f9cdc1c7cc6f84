/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounts that are made before they have a place. All descriptors are the caller's, CLOEXEC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * What stands at PATH below DIRECTORY ("": that itself), with what is mounted below if ALL. Returns: it,
 * -errno.
 */
int mounts_clone(int directory, const char *path, bool all);

/* A new file system. OPTIONS are names and values in turn, up to NULL. Returns: it, -errno. */
int mounts_new(const char *type, const char *const *options, uint64_t attributes);

/* Adds ATTRIBUTES (MOUNT_ATTR_…). Returns: 0, -errno. */
int mounts_restrict(int mount, uint64_t attributes, bool all);

/* Gives MOUNT its place, on what PLACE is open on. Returns: 0, -errno. */
int mounts_attach(int mount, int place);

/* Nothing that happens to mounts here is seen outside, nor the other way round. Returns: 0, -errno. */
int mounts_separate(void);

/*
 * To open a directory by its path alone asks nobody whether it is still there: the kernel may remember one of the
 * same name that has gone. This has it ask, and look the name up again.
 */
void mounts_refresh(int dir, const char *path);

/*
 * Opens the absolute PATH to be cloned. A link is followed only where nobody of this process's rights can have put
 * it, so that what may write below one path cannot choose what is found at another. Returns: a descriptor with
 * O_PATH; -errno: -ELOOP.
 */
int mounts_look_up(const char *path);
