/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that change the tree by themselves. Each is a verb of tree/tree.h, and its reply is
 * committed with the change (replies.h), so that one that is sent again is not done again.
 */
#pragma once

#include "capfsd/fs/front.h"

/* What libfuse calls. */
void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
	struct fuse_file_info *fi);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags);
