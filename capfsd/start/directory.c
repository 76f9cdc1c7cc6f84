/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the daemon's directories are, and whether they are fit for it. It owns nothing: descriptors and
 * names are the caller's. Used by main() before anything is started; it makes what is missing and changes
 * nothing that is there.
 */
#include "config.h"

#include "capfsd/start/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/path.h"
#include "capfsd/process/boot.h"

/* In a directory that others can write to, a link would have us use one of their choice. */
int
directory_open(int at, const char *name, const char *path, mode_t mode, bool *ret_made)
{
	cleanup_close int fd = -1;
	int r;

	*ret_made = mkdirat(at, name, mode) == 0;
	if (!*ret_made && errno != EEXIST) {
		r = -errno;
		log_message(LOG_ERR, "cannot make the directory %s: %m", path);
		return r;
	}
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		log_message(LOG_ERR, "cannot open the directory %s: %m", path);
		return r;
	}
	/* Whatever the umask is; and by the descriptor, as the name may be another directory by now. */
	if (*ret_made && fchmod(fd, mode) < 0) {
		r = -errno;
		log_message(LOG_ERR, "cannot set the mode of %s: %m", path);
		return r;
	}
	return take_fd(fd);
}

/*
 * Whoever can write there can put another lock in place of ours, or a directory in place of the state. Root
 * may, as it can do all that anyway; so one that a service manager made is good.
 */
static int
check(int fd, const char *what, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		log_message(LOG_ERR, "the %s directory %s belongs to uid %u, not to root or to %u", what,
			path, st.st_uid, geteuid());
		return -EPERM;
	}
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		log_message(LOG_ERR, "others can write to the %s directory %s (mode %04o)", what, path,
			st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

static int
open_ours(int at, const char *name, const char *what, const char *path)
{
	cleanup_close int fd = -1;
	bool made;
	int r;

	fd = directory_open(at, name, path, 0755, &made);
	if (fd < 0)
		return fd;
	r = check(fd, what, path);
	return r < 0 ? r : take_fd(fd);
}

/* The first of those that a service manager names, which is ours; NULL: none. */
static char *
managers(const char *variable)
{
	const char *list = getenv(variable);

	return list && list[0] ? strndup(list, strcspn(list, ":")) : NULL;
}

/*
 * The first of what says where to be: the command line, systemd, the place of root or of a user.
 * There is no default below /tmp, where others could be first.
 */
int
directory_run(const struct boot *boot, const char *given, char **ret_path)
{
	cleanup_free char *path = given ? strdup(given) : managers("RUNTIME_DIRECTORY");
	const char *user = getenv("XDG_RUNTIME_DIR");
	int fd;

	if (!path && boot->privileged)
		path = strdup("/run/capfsd");
	else if (!path && user && user[0] && asprintf(&path, "%s/capfsd", user) < 0)
		return -ENOMEM;
	if (!path) {
		log_message(LOG_ERR, "no run directory: give --run-dir, or set XDG_RUNTIME_DIR");
		return -ENOENT;
	}
	fd = open_ours(AT_FDCWD, path, "run", path);
	if (fd >= 0)
		*ret_path = take_ptr(path);
	return fd;
}

/*
 * Makes PATH and what leads to it. A user's own may be links from one disk to another: only what is below
 * it is ours.
 */
static int
make_top(const char *path, mode_t mode)
{
	cleanup_free char *part = strdup(path);

	if (!part)
		return -ENOMEM;
	for (char *slash = part; slash; *slash = '/') {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST) {
			int r = -errno;

			log_message(LOG_ERR, "cannot make the directory %s: %m", part);
			return r;
		}
		if (!slash)
			break;
	}
	return 0;
}

/* /var/lib, or as the XDG base directory specification has it, where a relative name means nothing. */
static int
find_top(const struct boot *boot, char **ret)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = 0;

	*ret = NULL;
	if (boot->privileged)
		n = asprintf(ret, "/var/lib");
	else if (state && state[0] == '/')
		n = asprintf(ret, "%s", state);
	else if (home && home[0] == '/')
		n = asprintf(ret, "%s/.local/state", home);
	if (n < 0)
		return -ENOMEM;
	if (*ret)
		return 0;
	log_message(LOG_ERR, "no state directory: give --state-dir or --volatile, or set HOME");
	return -ENOENT;
}

int
directory_disk(const struct boot *boot, const char *mountpoint, char **ret_path)
{
	cleanup_free char *path = managers("STATE_DIRECTORY"), *top = NULL, *parent = NULL;
	cleanup_free char *name = path_escape(mountpoint);
	cleanup_close int fd = -1;
	int r = path ? 0 : find_top(boot, &top);

	if (r == 0 && (!name || (top && (asprintf(&parent, "%s/capfsd", top) < 0 ||
						asprintf(&path, "%s/capfsd/%s", top, name) < 0))))
		return -ENOMEM;
	if (r == 0 && top)
		r = make_top(top, boot->privileged ? 0755 : 0700);
	if (r == 0 && top)
		r = fd = open_ours(AT_FDCWD, parent, "state", parent);
	if (r < 0)
		return r;
	r = top ? open_ours(fd, name, "state", path) : open_ours(AT_FDCWD, path, "state", path);
	if (r >= 0)
		*ret_path = take_ptr(path);
	return r;
}
