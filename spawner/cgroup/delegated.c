/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spawner/cgroup/delegated.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"

#define SUBGROUP "/supervisor" /* as in DelegateSubgroup= of the units */

/* Of version 2, in which this process may make others. */
static int
open_group(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return -EINVAL;
	/* To put a process into one of them, it takes this, too. */
	if (faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) < 0)
		return -errno;
	return take_fd(fd);
}

static bool
is_delegated(int fd)
{
	static const char *const names[] = {"trusted.delegate", "user.delegate"};
	char value;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fgetxattr(fd, names[i], &value, 1) == 1 && value == '1')
			return true;
	return false;
}

/* Its path below where version 2 is mounted. Returns: false: it is in none, or in one that cannot be seen from here. */
static bool
read_own(char *path, size_t size)
{
	cleanup_fclose FILE *list = fopen("/proc/self/cgroup", "re");

	while (list && fgets(path, (int)size, list)) {
		size_t n = strcspn(path, "\n");

		if (strncmp(path, "0::/", 4) != 0)
			continue;
		path[n] = '\0';
		memmove(path, path + 3, n - 2);
		return !strstr(path, "/..");
	}
	return false;
}

/* GIVEN: that was said already. */
static int
open_if_delegated(const char *group, bool given)
{
	static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		cleanup_close int fd = -1;

		if ((size_t)snprintf(path, sizeof(path), "%s%s", mounts[i], group) < sizeof(path))
			fd = open_group(path);
		if (fd >= 0 && (given || is_delegated(fd)))
			return take_fd(fd);
	}
	return -ENOENT;
}

int
delegated_open(const char *path, bool *ret_direct)
{
	bool given = path && strcmp(path, DELEGATED_OWN) == 0, below;
	char own[PATH_MAX];
	size_t n;
	int fd;

	*ret_direct = false;
	if (path && !given)
		return open_group(path);
	if (!read_own(own, sizeof(own)))
		return -ENOENT;
	n = strlen(own);
	below = n >= strlen(SUBGROUP) && strcmp(own + n - strlen(SUBGROUP), SUBGROUP) == 0;
	fd = open_if_delegated(own, given && !below);
	*ret_direct = fd >= 0;
	if (fd >= 0 || !below)
		return fd;
	own[n - strlen(SUBGROUP)] = '\0';
	return open_if_delegated(own, given);
}
