/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the store keeps for this front: commands that were begun, and results of others, for the files
 * that wait to be written or read; and the replies of replies.c. All are of one mount, and end with it.
 */
#pragma once

#include "capfsd/fs/front.h"

#define FS_HANDLE_BITS 40  /* of a file handle, that tell it from others; above is a length */
#define FS_COUNTER_BITS 28 /* of these, for a counter; above is the broker's epoch */

/* A command file that was written to; the text follows. */
struct fs_open_record {
	uint64_t instance, number, base;
};

/* A command file that takes the rest of a command, or nothing any more; what there is of it follows. */
struct fs_half_record {
	uint64_t instance, number;
	uint64_t end;   /* the offset at which it goes on */
	uint32_t uid;   /* of who has begun it */
	uint32_t error; /* what each write gets, since a piece is missing; 0: none is */
};

/* Drops what earlier mounts have left, and makes this broker's handles unlike all others. */
int fs_records_begin(struct fs *fs);

/* What is stored of the open command file FH. Returns: true, when there is something. */
bool fs_open_find(struct fs *fs, uint64_t fh, uint64_t number, struct fs_open_record *ret,
	struct text *t);
int fs_open_note(struct change *ch, uint64_t fh, const struct fs_open_record *record,
	const struct text *t);
void fs_open_drop(struct fs *fs, uint64_t fh);

/* The same for half a command. RECORD NULL: there is none any more. */
bool fs_half_find(struct fs *fs, uint64_t fh, uint64_t number, struct fs_half_record *ret,
	struct text *t);
int fs_half_note(struct change *ch, uint64_t fh, const struct fs_half_record *record,
	const struct text *t);
void fs_half_drop(struct fs *fs, uint64_t fh);

/* Nobody will ask for the record under KEY any more. It may be missing. */
void fs_record_drop(struct fs *fs, uint64_t key);
