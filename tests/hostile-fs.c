/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	hostile-fs MOUNTPOINT
 *
 * A file system with one file, `file`, that can be opened, but whose FLUSH is never answered:
 *whoever closes it sleeps until this process ends.
 */
#define FUSE_USE_VERSION 35

#include "config.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HOSTILE_FILE 2

static int
hostile_attributes(fuse_ino_t ino, struct stat *ret)
{
	*ret = (struct stat){.st_ino = ino, .st_nlink = 1};
	ret->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666;
	return ino == FUSE_ROOT_ID || ino == HOSTILE_FILE ? 0 : ENOENT;
}

static void
hostile_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = HOSTILE_FILE};

	hostile_attributes(HOSTILE_FILE, &e.attr);
	if (parent == FUSE_ROOT_ID && strcmp(name, "file") == 0)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void
hostile_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int e = hostile_attributes(ino, &st);

	if (e)
		fuse_reply_err(req, e);
	else
		fuse_reply_attr(req, &st, 0);
}

static void
hostile_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_open(req, fi);
}

static void
hostile_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	puts("flush");
	fflush(stdout);
}

static const struct fuse_lowlevel_ops hostile_operations = {
	.lookup = hostile_lookup,
	.getattr = hostile_getattr,
	.open = hostile_open,
	.flush = hostile_flush,
};

int
main(int argc, char **argv)
{
	char *fuse_argv[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, fuse_argv);
	struct fuse_session *se;
	int r = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: hostile-fs MOUNTPOINT\n");
		return 2;
	}
	se = fuse_session_new(&args, &hostile_operations, sizeof(hostile_operations), NULL);
	if (!se)
		return 1;
	if (fuse_set_signal_handlers(se) == 0 && fuse_session_mount(se, argv[1]) == 0) {
		r = fuse_session_loop(se);
		fuse_session_unmount(se);
	}
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	fuse_opt_free_args(&args);
	return r != 0;
}
