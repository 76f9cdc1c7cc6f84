/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open files: struct fs_file, one for each open(2) of the kernel, charged to the session in whose tree
 * it stands. calls.c uses those of a `call`; nobody else looks inside.
 */
#pragma once

#include <fcntl.h>

#include "base/text.h"
#include "capfsd/fs/front.h"

/* A command that was begun, and may go on (commands.c). */
struct fs_half {
	struct text text;
	struct charge charge;
	uint64_t end; /* the offset at which it goes on */
	uid_t uid;    /* of who has begun it */
	int error;    /* a piece is missing, for this reason: nothing more is taken; 0: none is */
	bool stored, appends;
};

/*
 * An open file. Its handle fh says more than a number: bits 40-63 hold the length of an informing
 * file's text, so that a broker that never saw the handle ends the file where its reader expects.
 */
struct fs_file {
	struct index_link link; /* fs.files, by fh */
	struct index_link number_link; /* fs.files_by_number */
	struct list all;        /* fs.all_files */
	uint64_t fh, number;
	struct session *session;
	struct charge charge;
	struct text text;
	uint64_t base;           /* the offset at which the text begins: behind what was written */
	uint64_t read_end; /* how far a log was read, in its own offsets; or a `call` */
	uint64_t next;     /* the offset of the file that is read next if nobody seeks */
	struct fs_half half;
	bool log, stored;
	enum event_view view; /* … of a log */
	bool ended;	   /* it was read to its end */
	const struct fs_calls *calls; /* who has what is said in it: of a `call` or a `request`; NULL: none of these */
	bool failed;	   /* … and takes nothing more */
	pid_t opener;	   /* 0: not known */
	struct list reads; /* of struct fs_read (calls.c), that wait */
	struct fs *fs;
	/* polls.c */
	struct fuse_pollhandle *poll; /* NULL: nobody waits */
	struct list poll_link;	      /* fs.polled */
	uint64_t poll_number;	      /* the kernel's, as it stands in the boot page … */
	size_t poll_place;	      /* … there */
};

/* What libfuse calls. */
void fs_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void fs_file_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t n, off_t offset,
	struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	struct fuse_pollhandle *poll);

/* Charged beside its text. */
#define FS_FILE_RAM 256

/* A `call` on which nothing can be asked is a text as any other. */
static inline bool
fs_file_is_writable(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* A handle that nobody has, for a text of so many bytes. */
uint64_t fs_file_handle(struct fs *fs, size_t length);
/* Makes the file known under FH. TEXT is taken on success. Returns: 0, or a positive errno. */
int fs_file_new(struct fs *fs, uint64_t fh, struct node node, struct text *text,
	struct fs_file **ret);
/*
 * The kernel may still hold it: its next request finds a node that is gone, or restores the file. Reads
 * that wait are left without a reply.
 */
void fs_file_free(struct fs *fs, struct fs_file *f);
/* NULL: there is none that this broker knows. */
struct fs_file *fs_file_find(struct fs *fs, uint64_t fh);
/*
 * How far the longest text of this node reaches that somebody has open and has not read to its end, or
 * that who asks has open: the thread PID, or by the handle of FI, if there is one. Returns: has he one?
 */
bool fs_files_longest(const struct fs *fs, uint64_t number, const struct fuse_file_info *fi,
	pid_t pid, uint64_t *ret_length);
/* Who polls F polls again. */
void fs_file_wake(struct fs *fs, struct fs_file *f);

/* S has ended, or has one event more. */
void fs_files_gone(struct fs *fs, struct session *s);
void fs_files_logged(struct fs *fs, struct session *s);
void fs_files_free(struct fs *fs);
