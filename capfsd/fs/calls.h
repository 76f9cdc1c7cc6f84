/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files of caps/SLOT/call and of `request`: what is asked there, and the reads that wait for a reply. Called
 * by files.c and by the loop; what is said there belongs to conversation/ and asking/ (tree/conversations.h).
 */
#pragma once

#include "capfsd/fs/files.h"

/* Who has what is said in files of such a row. NULL: nothing is. */
const struct fs_calls *fs_calls_of(const struct fs *fs, enum row_type type);
/* Is there anything of this handle, of a file that may not have been met yet? */
bool fs_calls_exist(const struct fs *fs, uint64_t fh);
/* The file was closed, whatever it was. */
void fs_calls_end(const struct fs *fs, uint64_t fh);

int fs_call_reply_open(fuse_req_t req, const struct fuse_file_info *fi);
void fs_call_read(struct fs *fs, fuse_req_t req, struct fs_file *f, size_t size);
void fs_call_write(struct fs *fs, fuse_req_t req, struct node node, struct fs_file *f,
	const char *data, size_t n);

/* Its reads are over; ERROR 0: without a reply, which the next broker will give. */
void fs_call_end_reads(struct fs_file *f, int error);

/* Those whose readers were interrupted, or have waited too long; and when the next one will have. */
void fs_calls_interrupted(struct fs *fs);
void fs_calls_timeouts(struct fs *fs, uint64_t now_usec);
uint64_t fs_calls_deadline(const struct fs *fs);
