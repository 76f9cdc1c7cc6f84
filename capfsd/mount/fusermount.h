/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a user who is not root mounts and unmounts: by the set-uid program fusermount3, which does as much as
 * the kernel lets a user do. Each call runs it and waits for it, not for ever. For mount.c only. Non-logging.
 */
#pragma once

/*
 * Mounts on PATH, under the name SOURCE in the list of mounts. Returns: 0 with the connection to the kernel in
 * *RET_FUSE_FD, -ENOENT (it is not installed), -EPERM (it said why on stderr), another -errno.
 */
int fusermount_make(const char *path, const char *source, int *ret_fuse_fd);

/* Takes the mount away, also while it is used. Returns: 0, -EPERM, another -errno. */
int fusermount_end(const char *path);
