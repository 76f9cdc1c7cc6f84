/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Without <sys/mount.h>, which in some versions cannot be had together with the kernel's own header. */
#include "config.h"

#include "spawner/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define PROPAGATION_PRIVATE (UINT64_C(1) << 18) /* MS_PRIVATE */

int
mounts_clone(int directory, const char *path, bool all)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (all ? AT_RECURSIVE : 0);
	long fd = syscall(SYS_open_tree, directory, path, flags);

	return fd < 0 ? -errno : (int)fd;
}

int
mounts_new(const char *type, const char *const *options, uint64_t attributes)
{
	cleanup_close int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	long fd;

	if (context < 0)
		return -errno;
	for (; *options; options += 2)
		if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[0], options[1], 0) < 0)
			return -errno;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, (unsigned)attributes);
	return fd < 0 ? -errno : (int)fd;
}

static int
set_attributes(int fd, const char *path, unsigned flags, const struct mount_attr *a)
{
	return syscall(SYS_mount_setattr, fd, path, flags, a, sizeof(*a)) < 0 ? -errno : 0;
}

int
mounts_restrict(int mount, uint64_t attributes, bool all)
{
	const struct mount_attr a = {.attr_set = attributes};

	return set_attributes(mount, "", AT_EMPTY_PATH | (all ? AT_RECURSIVE : 0), &a);
}

int
mounts_attach(int mount, int place)
{
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;

	return syscall(SYS_move_mount, mount, "", place, "", flags) < 0 ? -errno : 0;
}

int
mounts_separate(void)
{
	const struct mount_attr a = {.propagation = PROPAGATION_PRIVATE};

	return set_attributes(AT_FDCWD, "/", AT_RECURSIVE, &a);
}

void
mounts_refresh(int dir, const char *path)
{
	struct statx found;

	(void)statx(dir, path, AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC, STATX_TYPE, &found);
}
