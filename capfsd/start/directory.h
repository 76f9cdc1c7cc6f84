/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories that must be ours. Each is opened once, and all that is done in it is done by that descriptor:
 * where others can write, its name may lead elsewhere a moment later. All log.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct boot;

/*
 * Opens NAME in AT (AT_FDCWD), made with MODE when it is missing. Its last part may not be a symbolic link.
 * PATH is what messages call it. Returns: a descriptor or -errno.
 */
int directory_open(int at, const char *name, const char *path, mode_t mode, bool *ret_made);

/*
 * The run directory: the first of GIVEN (NULL: not), systemd's, root's or the user's own.
 * Returns: its descriptor, with *RET_PATH (free); -errno.
 */
int directory_run(const struct boot *boot, const char *given, char **ret_path);

/*
 * The directory on a disk in which the state of the mount at MOUNTPOINT is, by default: systemd's, or one
 * named after the mount point, so that two daemons never share it. Returns: likewise.
 */
int directory_disk(const struct boot *boot, const char *mountpoint, char **ret_path);
