/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the store keeps for this front: results of commands for the files that wait to be read, and
 * the replies of replies.c. Both are of one mount, and end with it.
 */
#pragma once

#include "capfsd/fs/front.h"

#define FS_HANDLE_BITS 40  /* of a file handle, that tell it from others; above is a length */
#define FS_COUNTER_BITS 28 /* of these, for a counter; above is the broker's epoch */

/* A command file that was written to; the text follows. */
struct fs_open_record {
	uint64_t instance, number, base;
};

/* Drops what earlier mounts have left, and makes this broker's handles unlike all others. */
int fs_records_begin(struct fs *fs);

/* What is stored of the open command file FH. Returns: true, when there is something. */
bool fs_open_find(struct fs *fs, uint64_t fh, uint64_t number, struct fs_open_record *ret,
	struct text *t);
int fs_open_note(struct fs *fs, struct change *ch, uint64_t fh, const struct fs_open_record *record,
	const struct text *t);
void fs_open_drop(struct fs *fs, uint64_t fh);

/* Nobody will ask for the record under KEY any more. It may be missing. */
void fs_record_drop(struct fs *fs, uint64_t key);
