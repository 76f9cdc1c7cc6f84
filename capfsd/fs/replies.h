/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Committed replies. A request that changes something is a struct fs_edit from its beginning to its
 * reply: the reply is stored with the change, and so a broker that takes over answers the same
 * request again without doing it again. It owns the replies that wait for what they ended to be
 * reaped. It decides nothing about what is asked.
 */
#pragma once

#include "capfsd/fs/front.h"

/* A reply, as it is stored. */
struct fs_reply {
	uint64_t instance, unique;
	uint64_t pending; /* what must be reaped before it is sent; 0: nothing */
	uint64_t number;  /* the node made or changed */
	uint32_t opcode;  /* 0: refused */
	uint32_t size;    /* of a write; or the errno of a refusal */
};

struct fs_edit {
	struct fs *fs;
	fuse_req_t req;
	struct request request; /* its note stages `reply` */
	struct fs_reply reply;
	/* Stages more beside the reply; NULL: nothing. Returns: 0 or -errno. */
	int (*more)(struct fs_edit *edit, struct change *ch);
};

/*
 * The request under way has come again, and was done: its reply was sent, or waits. Returns: false
 * when it is to be done.
 */
bool fs_replay(struct fs *fs, fuse_req_t req);
/* Is it UNIQUE that the last committed reply is of? */
bool fs_replies_last(struct fs *fs, uint64_t unique);

/* Begins one, whose reply says SIZE. EDIT must stay where it is. */
void fs_edit_begin(struct fs_edit *edit, struct fs *fs, fuse_req_t req, size_t size);

/*
 * Stages the reply, a refusal too, into CH: for one that changes nothing in the tree, and something
 * beside it. Returns: 0 or -errno.
 */
int fs_edit_note(struct fs_edit *edit, struct change *ch);

/* Replies to it, RESULT being that of the tree; at once, or when what it ended is reaped. */
void fs_edit_end(struct fs_edit *edit, int result);

void fs_replies_free(struct fs *fs);
