/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-peer-fs MOUNTPOINT
 *
 * The peer: one file `info` with direct I/O, entries and attributes cached for ever, served by
 * libfuse's own threads with clone_fd. What a file system written with libfuse in an afternoon does.
 */
#define FUSE_USE_VERSION 35

#include "config.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PEER_INFO 2
#define PEER_TIMEOUT_SECONDS 86400.0

static const char peer_text[] = "type=object\nentrypoint=init/kv\nobject=12 badge=0x4c\n"
				"socket=stream\nrights=call\nexpires=never\n";

static int
peer_attributes(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = 1;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0755;
	} else if (ino == PEER_INFO) {
		st->st_mode = S_IFREG | 0644;
		st->st_size = sizeof(peer_text) - 1;
	} else {
		return -1;
	}
	return 0;
}

static void
peer_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = PEER_INFO,
		.attr_timeout = PEER_TIMEOUT_SECONDS,
		.entry_timeout = PEER_TIMEOUT_SECONDS};

	if (parent != FUSE_ROOT_ID || strcmp(name, "info") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	peer_attributes(PEER_INFO, &e.attr);
	fuse_reply_entry(req, &e);
}

static void
peer_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	if (peer_attributes(ino, &st) < 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_attr(req, &st, PEER_TIMEOUT_SECONDS);
}

static void
peer_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void
peer_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	size_t n = sizeof(peer_text) - 1;

	if (offset < 0 || (size_t)offset >= n) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	n -= (size_t)offset;
	fuse_reply_buf(req, peer_text + offset, n < size ? n : size);
}

/* What is written is a command, of which nothing is kept. */
static void
peer_write(fuse_req_t req, fuse_ino_t ino, const char *text, size_t n, off_t offset,
	struct fuse_file_info *fi)
{
	fuse_reply_write(req, n);
}

static const struct fuse_lowlevel_ops peer_operations = {
	.lookup = peer_lookup,
	.getattr = peer_getattr,
	.open = peer_open,
	.read = peer_read,
	.write = peer_write,
};

int
main(int argc, char **argv)
{
	char *fuse_argv[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, fuse_argv);
	struct fuse_loop_config config = {.clone_fd = 1, .max_idle_threads = 10};
	struct fuse_session *se;
	int r = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: bench-peer-fs MOUNTPOINT\n");
		return 2;
	}
	se = fuse_session_new(&args, &peer_operations, sizeof(peer_operations), NULL);
	if (!se)
		return 1;
	if (fuse_set_signal_handlers(se) == 0 && fuse_session_mount(se, argv[1]) == 0) {
		r = fuse_session_loop_mt(se, &config);
		fuse_session_unmount(se);
	}
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	return r != 0;
}
