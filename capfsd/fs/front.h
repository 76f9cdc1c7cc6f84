/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct fs: what the files of this front have in common. Each of them has a header of its own with
 * what it does for the others:
 *
 *	fs.c		what it is made of, the model's hooks
 *	serve.c		the kernel's requests, in turns
 *	pending.c	those that wait for theirs
 *	takeover.c	INIT, and what the kernel is told when a broker begins
 *	cache.c		what the kernel may have cached
 *	nodes.c		look-up, attributes, directories
 *	edits.c		requests that change something: mkdir, rmdir, link, rename, chmod
 *	opening.c	those that need a text, which is being made
 *	files.c		open files
 *	commands.c	what is written to them, in pieces
 *	polls.c		those who poll them
 *	calls.c		those of a `call`, and their reads that wait
 *	replies.c	committed replies, and requests that come again
 *	records.c	what the store keeps for this front
 *	service.c	what is in service, for kernels that send nothing again
 *
 * Nobody outside fs/ includes any of these, but the tests that play the kernel.
 */
#pragma once

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/index.h"
#include "base/kept.h"
#include "base/list.h"
#include "base/turns.h"
#include "capfsd/fs/fs.h"
#include "capfsd/tree/conversations.h"
#include "capfsd/tree/tree.h"

#define FS_LOOKUP_USEC UINT64_C(10000000) /* how long a look-up waits for its listener */
#define FS_READ_USEC UINT64_C(30000000)  /* … and a read of a `call` for its service */
#define FS_READ_BYTES_MAX 131072         /* of a reply, whatever the kernel asks for */
#define FS_INTERRUPTED_USEC UINT64_C(1000000) /* what has waited so long is not done when interrupted */
#define FS_CLOSED_MAX 8                  /* files whose results are dropped late */
#define FS_BIND_DIR (UINT64_MAX - 1)     /* the number of the binder's hidden directory */

/* The request that is being served. */
struct fs_current {
	uint64_t unique; /* without the bit that marks a repetition */
	uint64_t poll;   /* POLL: the kernel's own handle, 0: it does not wait */
	uint64_t place;  /* READDIR: it goes on behind this cookie; 0: as it says itself */
	uint32_t opcode;
	bool resent;
	bool unfinished; /* it is served again, from `place` */
};

/* Who has what is said in the open files of one type of row. */
struct fs_calls {
	const struct calls *ops; /* NULL: nobody */
	void *data;
};

struct fs {
	struct model *model;
	struct state *state;
	const struct boot *boot;
	struct turns *turns;
	const struct fs_sockets *sockets;
	void *sockets_data;
	struct fs_calls calls, asks;
	struct metrics *metrics; /* for requests, which show them; NULL: none */
	struct fuse_session *session;
	char *buffer; /* of what is being read */
	size_t buffer_size;
	struct fs_current current;
	struct index pending; /* of struct fs_pending, by their numbers */
	struct list all_pending;
	struct payer binder; /* of what it asks in its directory */
	struct list openings; /* of struct fs_opening */
	struct kept kept;     /* texts whose length was told, for who opens them */
	size_t n_pending, n_pending_bytes;
	uint64_t cached_below;   /* of entities with smaller ids the kernel may know all (cache.h) */
	bool names_given;        /* since the last epoch */
	bool no_epochs;          /* this kernel has none */
	bool no_resend;          /* this kernel sends no request again */
	bool resending;          /* it sends those of an earlier broker, before all others */
	bool replaying;          /* INIT: the reply goes here instead of to the kernel */
	uint8_t init_reply[BOOT_INIT_BYTES_MAX];
	size_t n_init_reply;
	struct index files, files_by_number;
	struct list all_files;   /* in the order in which they were opened */
	struct list polled; /* of struct fs_file (polls.c) */
	uint64_t n_opened, epoch; /* epoch: no other broker of this mount has it */
	uint64_t closed[FS_CLOSED_MAX]; /* keys of what the next change takes out of the store (records.c) */
	unsigned n_closed, n_riding;
	struct list lookups; /* of struct fs_lookup (nodes.h), in order of their deadlines */
	struct list reaping; /* of what waits in replies.c */
	struct list reads;   /* of struct fs_read (calls.c), likewise */
	uint64_t read_usec;  /* so long they wait */
	uint64_t interrupted_usec;
};

/* What each request of the kernel begins with. */
static inline const struct fuse_in_header *
fs_header(const char *request)
{
	return (const struct fuse_in_header *)(const void *)request;
}

/* CLOCK_MONOTONIC. */
uint64_t fs_now_usec(void);

/*
 * An interrupt says that a signal came, not whether it kills. A reader whose timer rings is not to see
 * its open(2) fail because others were before it; one that was killed is not to stay for long.
 */
static inline bool
fs_was_killed(const struct fs *fs, bool interrupted, uint64_t since_usec)
{
	return interrupted && fs_now_usec() - since_usec >= fs->interrupted_usec;
}

/* A request of the tree for REQ, which has neither note nor anything of its own yet. */
void fs_request_init(struct fs *fs, fuse_req_t req, struct request *r);
