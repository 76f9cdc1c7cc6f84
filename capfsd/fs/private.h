/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the FUSE front share.
 *
 *	fs.c		the loop, invalidation, what waits
 *	takeover.c	INIT, the kernel's notifications, committed replies
 *	nodes.c		look-up, attributes, directories
 *	files.c		open files
 *	calls.c		those of a `call`, and their reads that wait
 *	records.c	what the store keeps for this front
 */
#pragma once

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/index.h"
#include "base/list.h"
#include "base/text.h"
#include "capfsd/fs/fs.h"
#include "capfsd/tree/conversations.h"
#include "capfsd/tree/tree.h"

#define FS_TIMEOUT_SECONDS 86400.0      /* what the kernel caches is invalidated, not expired */
#define FS_SOCKET_TIMEOUT_SECONDS 1.0 /* of socket entries, where the kernel has no epochs */
#define FS_LOOKUP_USEC UINT64_C(2000000) /* how long a look-up waits for its listener */
#define FS_READ_USEC UINT64_C(30000000)  /* … and a read of a `call` for its service */
#define FS_ROWS_MAX 16
#define FS_BIND_DIR (UINT64_MAX - 1)    /* the number of the binder's hidden directory */
#define FS_REPLY_LAST STORE_KEY(STORE_REPLY, 1)
#define FS_EPOCH STORE_KEY(STORE_OPEN, 0)
#define FS_HANDLE_BITS 40 /* of a file handle, that tell it from others; above is a length */
#define FS_COUNTER_BITS 28 /* of these, for a counter; above is the broker's epoch */

/* The request that is being served. */
struct fs_current {
	uint64_t unique; /* without the bit that marks a repetition */
	uint64_t poll;   /* POLL: the kernel's own handle, 0: it does not wait */
	uint32_t opcode;
	bool resent;
};

/* A mutating request's answer, as it is committed with the request. */
struct fs_reply {
	uint64_t instance, unique;
	uint64_t pending; /* what must be reaped before it is sent; 0: nothing */
	uint64_t number;  /* the node made or changed */
	uint32_t opcode;
	uint32_t size;    /* of a write */
};

/* A request that waits: for a listener (of ENTITY), or for what is being reaped (REPLY). */
struct fs_waiter {
	struct list link;
	fuse_req_t request;
	uint64_t entity, number;
	uint64_t deadline_usec; /* CLOCK_MONOTONIC */
	struct fs_reply reply;
};

/*
 * An open file. Its handle fh says more than a number: bits 40-63 hold the length of an informing
 * file's text, so that a broker that never saw the handle ends the file where its reader expects.
 */
struct fs_file {
	struct index_link link; /* fs.files, by fh */
	struct list all;        /* fs.all_files */
	uint64_t fh, number;
	struct session *session;
	struct charge charge;
	struct text text;
	uint64_t base;          /* the offset at which the text begins: behind what was written */
	uint64_t skew, read_end; /* of a log */
	bool log, written, failed, stored;
	bool call;
	struct list reads; /* of struct fs_read (calls.c), that wait */
	struct fs *fs;
	struct fuse_pollhandle *poll;
	uint64_t poll_number; /* the kernel's, as it stands in the boot page */
};

struct fs {
	struct model *model;
	struct state *state;
	const struct boot *boot;
	const struct fs_sockets *sockets;
	void *sockets_data;
	const struct calls *calls;
	void *calls_data;
	struct metrics *metrics; /* for requests, which show them; NULL: none */
	struct fuse_session *session;
	char *buffer;
	size_t buffer_size;
	struct fs_current current;
	bool sockets_cached; /* since the last epoch */
	bool no_epochs;      /* this kernel has none */
	bool no_resend;      /* this kernel sends no request again */
	bool replaying;  /* INIT: the answer goes here instead of to the kernel */
	uint8_t init_reply[BOOT_INIT_BYTES_MAX];
	size_t n_init_reply;
	struct index files;
	struct list all_files;
	uint64_t n_opened, epoch; /* epoch: no other broker of this mount has it */
	struct list lookups; /* of struct fs_waiter */
	struct list reaping; /* of struct fs_waiter */
	struct list reads;   /* of struct fs_read */
	uint64_t read_usec;  /* so long they wait */
};

extern const struct fuse_lowlevel_ops fs_operations;

/* takeover.c */
ssize_t fs_writev(int fd, struct iovec *iov, int count, void *data);
ssize_t fs_read(int fd, void *buffer, size_t size, void *data);
/* All that the kernel has looked up it looks up again at the next use. */
void fs_next_epoch(struct fs *fs);
/* The opcode's answer stands in the store: it was sent, or waits. Returns: true, when so. */
bool fs_replay(struct fs *fs, fuse_req_t req);
/* That of the request under way, whose answer to the kernel says SIZE. */
static inline struct fs_reply
fs_reply_begin(const struct fs *fs, uint32_t size)
{
	return (struct fs_reply){
		.instance = fs->boot->instance,
		.unique = fs->current.unique,
		.opcode = fs->current.opcode,
		.size = size,
	};
}

/* Stages the reply of the request under way; for struct request.note. */
int fs_note(struct fs *fs, struct change *ch, const struct fs_reply *reply);
/* Sends a committed reply. */
void fs_reply_send(struct fs *fs, fuse_req_t req, const struct fs_reply *reply);
/* Answers R: its refusal, REPLY at once, or when what it ended is reaped. */
void fs_finish(struct fs *fs, fuse_req_t req, struct request *r, const struct fs_reply *reply);

/* records.c */
/* Drops what earlier mounts have left, and makes this broker's handles unlike all others. */
int fs_records_begin(struct fs *fs);
/* A command file that was written to; the text follows. */
struct fs_open_record {
	uint64_t instance, number, base;
};
/* What is stored of the open command file FH. Returns: true, when there is something. */
bool fs_open_find(struct fs *fs, uint64_t fh, uint64_t number, struct fs_open_record *ret,
	struct text *t);
int fs_open_note(struct fs *fs, struct change *ch, uint64_t fh, const struct fs_open_record *record,
	const struct text *t);
void fs_open_drop(struct fs *fs, uint64_t fh);
/* Nobody will ask for the record under KEY any more. It may be missing. */
void fs_record_drop(struct fs *fs, uint64_t key);

/* nodes.c */
void fs_request_init(struct fs *fs, fuse_req_t req, struct request *r);
void fs_reply_node(struct fs *fs, fuse_req_t req, struct node node, bool cached);
void fs_reply_attributes(struct fs *fs, fuse_req_t req, struct node node);
void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void fs_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets);
void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
	struct fuse_file_info *fi);
void fs_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t n,
	int flags);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	const char *new_name, unsigned flags);
void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev);
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void fs_statfs(fuse_req_t req, fuse_ino_t ino);

/* files.c */
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void fs_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t n, off_t offset,
	struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	struct fuse_pollhandle *poll);
void fs_files_gone(struct fs *fs, struct session *s);
void fs_files_logged(struct fs *fs, struct session *s);
void fs_files_free(struct fs *fs);
/* NULL: there is none that this broker knows. */
struct fs_file *fs_file_find(struct fs *fs, uint64_t fh);
/* Who polls F polls again. */
void fs_file_wake(struct fs *fs, struct fs_file *f);

/* fs.c */
uint64_t fs_now_usec(void);

/* calls.c */
int fs_call_reply_open(fuse_req_t req, const struct fuse_file_info *fi);
void fs_call_read(struct fs *fs, fuse_req_t req, struct fs_file *f, size_t size);
void fs_call_write(struct fs *fs, fuse_req_t req, struct node node, struct fs_file *f,
	const char *data, size_t n);
/* Its reads are over; ERROR 0: without an answer, which the next broker will give. */
void fs_call_end_reads(struct fs_file *f, int error);
void fs_calls_interrupted(struct fs *fs);
void fs_calls_timeouts(struct fs *fs, uint64_t now_usec);
uint64_t fs_calls_deadline(const struct fs *fs);

/* service.c: a request was read. Returns: 0, -ENOMEM: it cannot be served. */
int fs_service_begin(struct fs *fs, uint64_t unique);
/* It was answered. */
void fs_service_end(struct fs *fs, uint64_t unique);
/* Answers UNIQUE with ERROR, past libfuse. */
void fs_service_refuse(uint64_t unique, int error);
/* Answers what a predecessor had in service, for good. */
void fs_service_give_up(struct fs *fs);
