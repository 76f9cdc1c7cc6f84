/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * open(2) of a file: struct fs_opening is one whose text is still being made, a piece in each of its
 * session's turns. files.c has those that are open.
 */
#pragma once

#include "capfsd/fs/files.h"

/* What libfuse calls. */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* S has ended. */
void fs_openings_gone(struct fs *fs, struct session *s);
/* Nobody gets a reply. */
void fs_openings_free(struct fs *fs);
