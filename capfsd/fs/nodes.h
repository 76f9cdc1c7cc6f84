/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes as the kernel sees them. It owns the look-ups that wait for a listener, and nothing else: a
 * node is a number. It answers requests that change nothing; what the kernel is given is noted in
 * cache.c, so that it can be taken back.
 */
#pragma once

#include "capfsd/fs/front.h"

/* What libfuse calls. */
void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void fs_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets);
void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t n,
	int flags);
void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev);
void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void fs_statfs(fuse_req_t req, fuse_ino_t ino);

/* May its name be cached? That of a socket only while somebody listens there. */
bool fs_is_ready(struct fs *fs, struct node node);

/* How long a text is said to be, and whether that lasts until somebody tells that it has changed. */
struct fs_size {
	uint64_t n;
	bool cached;
};

/* Answers REQ with NODE; its name is CACHED, or is asked for again at the next use. */
void fs_reply_node(struct fs *fs, fuse_req_t req, struct node node, bool cached);
void fs_reply_attributes(struct fs *fs, fuse_req_t req, struct node node);
/* The same where the size is known (opening.h). */
void fs_reply_stat(struct fs *fs, fuse_req_t req, struct node node, struct fs_size size);

/* The look-ups of E have what they waited for, or ERROR; E is gone. */
void fs_lookups_done(struct fs *fs, const struct entity *e, int error);
void fs_lookups_gone(struct fs *fs, const struct entity *e);
/* Those whose time is over; and when the next one's is, UINT64_MAX: none waits. */
void fs_lookups_timeouts(struct fs *fs, uint64_t now_usec);
uint64_t fs_lookups_deadline(const struct fs *fs);
void fs_lookups_free(struct fs *fs);
