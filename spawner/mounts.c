/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Without <sys/mount.h>, which in some versions cannot be had together with the kernel's own header. */
#include "config.h"

#include "spawner/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define LINKS_MAX 40
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

/*
 * Whoever has no number here has that of nobody, who may be us. The kernel knows, and lets the owner alone read
 * without a trace.
 */
static bool
is_own(int directory)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (fstat(directory, &st) < 0 || st.st_uid != geteuid())
		return false;
	fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
	return fd >= 0 || errno != EPERM;
}

/* Puts what the link LINK, in the directory AT, leads to in front of what is LEFT of a path. */
static int
follow(int at, int link, char left[PATH_MAX])
{
	char target[PATH_MAX];
	ssize_t n;

	/* Of an own directory the mode is the owner's, too. */
	if (faccessat(at, "", W_OK, AT_EMPTY_PATH | AT_EACCESS) == 0)
		return -ELOOP;
	if (is_own(at))
		return -ELOOP;
	n = readlinkat(link, "", target, sizeof(target));
	if (n < 0)
		return -errno;
	if ((size_t)n + 1 + strlen(left) >= PATH_MAX)
		return -ENAMETOOLONG;
	memmove(left + n + 1, left, strlen(left) + 1);
	memcpy(left, target, (size_t)n);
	left[n] = '/';
	return 0;
}

/* Takes the next component of LEFT into NAME. Returns: is there one? */
static bool
next_component(char left[PATH_MAX], char name[NAME_MAX + 1])
{
	size_t start = strspn(left, "/"), n = strcspn(left + start, "/");

	if (n == 0 || n > NAME_MAX)
		return false;
	memcpy(name, left + start, n);
	name[n] = '\0';
	memmove(left, left + start + n, strlen(left + start + n) + 1);
	return true;
}

int
mounts_look_up(const char *path)
{
	cleanup_close int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char left[PATH_MAX], name[NAME_MAX + 1];
	int n_links = 0;

	if (at < 0)
		return -errno;
	if (strlen(path) >= sizeof(left))
		return -ENAMETOOLONG;
	strcpy(left, path);
	while (next_component(left, name)) {
		cleanup_close int next = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;
		int r = 0;

		if (next < 0 || fstat(next, &st) < 0)
			return -errno;
		if (!S_ISLNK(st.st_mode)) {
			fd_close(at);
			at = take_fd(next);
			continue;
		}
		r = ++n_links > LINKS_MAX ? -ELOOP : follow(at, next, left);
		if (r < 0)
			return r;
		if (left[0] == '/') {
			fd_close(at);
			at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
			if (at < 0)
				return -errno;
		}
	}
	return take_fd(at);
}
