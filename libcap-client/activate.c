/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a service manager that starts the daemon for its first client. It is asked only where
 * there is no capfs at all: below one that is, whose session has ended or whose mode bits refuse us,
 * nobody is led to another session.
 */
#include "config.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcap-client/private.h"

#define ACTIVATION_ROOT "/run/capfsd/control"
#define ACTIVATION_USER "capfsd/control" /* below $XDG_RUNTIME_DIR */

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
activation_path(struct text *t)
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

int
activation_connect(uint64_t deadline, int *ret_fd)
{
	cleanup_text struct text path = {};
	int r = activation_path(&path);

	return r < 0 ? r : connect_path(path.data, SOCK_SEQPACKET, deadline, ret_fd);
}
