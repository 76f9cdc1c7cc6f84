/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds the program that runs and opens the one that is installed. It owns nothing and executes
 * nothing: what it returns is a descriptor, so that what was looked at is what is executed later.
 */
#include "config.h"

#include "capfsd/start/binary.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/*
 * By /proc, since argv[0] is whatever the caller likes. The descriptor goes on to mean this very
 * file when another is installed in its place, and is the way back when that does not serve.
 */
int
binary_find(char path[PATH_MAX])
{
	ssize_t n;
	int fd;

	if (path) {
		n = readlink("/proc/self/exe", path, PATH_MAX - 1);
		if (n <= 0)
			return n < 0 ? -errno : -ENOENT;
		path[n] = '\0';
	}
	fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The keeper will execute it, as root where it is root. A file that another user owns or can write
 * to would give that user all that the keeper has; that it stood under our name once does not say
 * who has put it there.
 */
const char *
binary_open(const char *path, int *ret_fd)
{
	cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return "the installed binary cannot be opened";
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))
		return "what is installed is no executable file";
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "the installed binary belongs to another user";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others can write to the installed binary";
	*ret_fd = take_fd(fd);
	return NULL;
}
