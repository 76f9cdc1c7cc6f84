/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * open(2) and stat(2) of a file: struct fs_opening is one whose text is still being made, a piece in each
 * of its session's turns. files.c has those that are open.
 */
#pragma once

#include "capfsd/fs/files.h"

/* What libfuse calls. */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* Answers a GETATTR of a node that has a text, with how long that is. */
void fs_size_tell(struct fs *fs, fuse_req_t req, struct node node, const struct fuse_file_info *fi);

/*
 * Nobody is told this size but the kernel, for which it is not smaller than any text that is open; whoever
 * wants to know it asks by GETATTR, unless it is cached. Returns: 0, or a positive errno.
 */
struct fs_size;
int fs_size_at_once(struct fs *fs, struct node node, struct fs_size *ret);

/* S has ended. */
void fs_openings_gone(struct fs *fs, struct session *s);
/* Nobody gets a reply. */
void fs_openings_free(struct fs *fs);
