/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a session is found: at the `control` of its directory, or by the socket of a service manager that starts the
 * daemon for its first client. That is asked only where there is no capfs at all: below one that is, whose session has
 * ended or whose mode bits refuse us, nobody is led to another session.
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

#define ROOT_DEFAULT "/cap"
#define ACTIVATION_ROOT "/run/capfsd"
#define ACTIVATION_USER "capfsd" /* below $XDG_RUNTIME_DIR */
#define ACTIVATION_NAME "control"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static bool
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

/*
 * Connects to the socket that starts the daemon, if its directory is ours or root's and nobody else can write there.
 * Returns: as connect_path(); -EPERM.
 */
static int
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

static int
session_open_root(const char *root, uint64_t deadline, struct capc_session **ret)
{
	cleanup_text struct text path = {};
	struct capc_session *s;
	int fd, r;

	text_addf(&path, "%s/control", root);
	r = text_done(&path);
	if (r < 0)
		return r;
	r = connect_path(path.data, SOCK_SEQPACKET, deadline, &fd);
	if (r < 0)
		return r;
	r = capc_session_from_fd(fd, &s);
	if (r < 0)
		return r;
	/* Without it only capc_export() is missed. */
	session_set_root(s, open(root, O_PATH | O_DIRECTORY | O_CLOEXEC));
	*ret = s;
	return 0;
}

/*
 * Has the daemon started, and waits for its first answer. Then ROOT is there; where it is not to be
 * seen from here, the connection that started the daemon is the session, if no other one was NAMED.
 */
static int
session_activate(const char *root, bool named, uint64_t deadline, struct capc_session **ret)
{
	struct capc_session *s;
	int fd, r;

	if (!activation_may_help(root))
		return -ENOENT;
	r = activation_connect(deadline, &fd);
	if (r < 0)
		return r == -ETIMEDOUT || r == -EPERM ? r : -ENOENT;
	r = capc_session_from_fd(fd, &s);
	if (r < 0)
		return r;
	r = session_do(s, WIRE_READ, "label", NULL, NULL, deadline);
	if (r == 0) {
		r = session_open_root(root, deadline, ret);
		if (r < 0 && !named) {
			*ret = take_ptr(s);
			r = 0;
		}
	}
	capc_session_free(s);
	return r;
}

int
capc_session_open(const char *root, uint64_t timeout, struct capc_session **ret)
{
	uint64_t deadline = deadline_after(timeout);
	const char *path = root ? root : secure_getenv("CAPFS");
	bool named = path && *path;
	int r;

	if (!named)
		path = ROOT_DEFAULT;
	r = session_open_root(path, deadline, ret);
	if (r == -ENOENT && !root)
		r = session_activate(path, named, deadline, ret);
	return r;
}
