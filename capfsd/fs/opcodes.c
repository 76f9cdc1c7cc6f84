/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel's requests are called in `metrics`. All that have no name are counted together, as
 * no program that is known asks for them.
 */
#include "config.h"

#include <linux/fuse.h>

#include "capfsd/fs/fs.h"

static const char *const names[COUNTERS_FUSE] = {
	[0] = "other",
	[FUSE_LOOKUP] = "lookup",
	[FUSE_FORGET] = "forget",
	[FUSE_BATCH_FORGET] = "batch_forget",
	[FUSE_GETATTR] = "getattr",
	[FUSE_SETATTR] = "setattr",
	[FUSE_MKDIR] = "mkdir",
	[FUSE_RMDIR] = "rmdir",
	[FUSE_RENAME] = "rename",
	[FUSE_RENAME2] = "rename2",
	[FUSE_MKNOD] = "mknod",
	[FUSE_UNLINK] = "unlink",
	[FUSE_SYMLINK] = "symlink",
	[FUSE_LINK] = "link",
	[FUSE_OPENDIR] = "opendir",
	[FUSE_READDIR] = "readdir",
	[FUSE_RELEASEDIR] = "releasedir",
	[FUSE_STATFS] = "statfs",
	[FUSE_SETXATTR] = "setxattr",
	[FUSE_GETXATTR] = "getxattr",
	[FUSE_OPEN] = "open",
	[FUSE_READ] = "read",
	[FUSE_WRITE] = "write",
	[FUSE_RELEASE] = "release",
	[FUSE_FLUSH] = "flush",
	[FUSE_POLL] = "poll",
	[FUSE_INTERRUPT] = "interrupt",
};

const char *
fs_opcode_name(size_t opcode)
{
	return opcode < COUNTERS_FUSE ? names[opcode] : NULL;
}
