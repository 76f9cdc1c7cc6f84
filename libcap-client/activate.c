/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a service manager that starts the daemon for its first client. It is asked only where
 * there is no capfs at all: below one that is, whose session has ended or whose mode bits refuse us,
 * nobody is led to another session.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcap-client/private.h"

#define ACTIVATION_ROOT "/run/capfsd"
#define ACTIVATION_USER "capfsd" /* below $XDG_RUNTIME_DIR */
#define ACTIVATION_NAME "control"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

bool
activation_may_help(const char *root)
{
	struct statfs s;

	if (statfs(root, &s) == 0)
		return s.f_type != FUSE_SUPER_MAGIC;
	/* Another error can be that of a mount whose daemon is dead. */
	return errno == ENOENT;
}

/* As capfsd chooses its run directory. root never asks where another user may listen. */
static int
activation_directory(struct text *t)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		text_add(t, ACTIVATION_ROOT);
	else if (runtime && *runtime)
		text_addf(t, "%s/" ACTIVATION_USER, runtime);
	else
		return -ENOENT;
	return text_done(t);
}

/*
 * Whoever can write there can listen under that name, and would be told all that we ask for. Looked at and
 * used by one descriptor, so that it cannot be another directory by then.
 */
static int
open_directory(const char *path)
{
	cleanup_close int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -EPERM;
	return take_fd(fd);
}

int
activation_connect(uint64_t deadline, int *ret_fd)
{
	cleanup_text struct text path = {};
	cleanup_close int directory = -1;
	char name[64];
	int r = activation_directory(&path);

	if (r < 0)
		return r;
	directory = open_directory(path.data);
	if (directory < 0)
		return directory;
	snprintf(name, sizeof(name), "/proc/self/fd/%d/" ACTIVATION_NAME, directory);
	return connect_path(name, SOCK_SEQPACKET, deadline, ret_fd);
}
