/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands, from their first piece to their end. Called by files.c for open command files, and by serve.c
 * for what does not come so far. What a command means the tree knows; nothing here looks at its words.
 */
#pragma once

#include "capfsd/fs/files.h"

/* What was written to F. */
struct fs_piece {
	const char *data;
	size_t n;
	uint64_t offset;
	bool appends; /* the offset says nothing: it is the kernel's guess of the end */
};

/* Does it, keeps it for what follows, or refuses it; replies. */
void fs_command_write(struct fs *fs, fuse_req_t req, struct node node, struct fs_file *f,
	const struct fs_piece *piece);

/* A piece was refused before it came to fs_command_write(): nothing that follows it is taken. */
void fs_command_lost(struct fs *fs, uint64_t number, uint64_t fh, int error);

/* What an earlier broker has kept for F. */
void fs_command_restore(struct fs_file *f);

/* The open file FH is closed: what was kept is whole. F is NULL where this broker does not know it. */
void fs_command_close(struct fs *fs, fuse_req_t req, uint64_t number, uint64_t fh, struct fs_file *f);

void fs_half_deinit(struct fs_half *h);
