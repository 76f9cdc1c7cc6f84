/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * It is put on top of the old root, where nothing of that is hidden by it, since our paths still begin below;
 * when all is in its place, it becomes the root and the old one is let go. What is looked up is looked up as
 * the session's own user; a link leads somewhere only where that user cannot have put it.
 */
#include "config.h"

#include "spawner/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "spawner/restrict.h"
#include "spawner/mounts.h"
#include "wire/process.h"

#define DETACH 2 /* MNT_DETACH */
#define OURS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* --- places ---------------------------------------------------------------------------------------- */

/* The next component, made if it is not there. A link is none. */
static int
open_component(int directory, const char *name, bool is_file)
{
	int made =
		is_file ? openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644)
			: mkdirat(directory, name, 0755);
	int error = made < 0 && errno != EEXIST ? errno : 0;
	int fd;

	if (is_file && made >= 0)
		close(made);
	fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC | (is_file ? 0 : O_DIRECTORY));
	return fd < 0 ? (error ? -error : -errno) : fd;
}

/* What PATH is below ROOT. Returns: it, -errno. */
static int
open_place(int root, const char *path, bool is_file)
{
	cleanup_close int at = fd_dup(root);

	while (at >= 0 && *path) {
		char name[256];
		size_t n = strcspn(path, "/");
		bool is_last = !path[n];
		int next;

		if (n >= sizeof(name))
			return -ENAMETOOLONG;
		if (n > 0) {
			memcpy(name, path, n);
			name[n] = '\0';
			next = open_component(at, name, is_file && is_last);
			fd_close(at);
			at = next;
		}
		path += n + !is_last;
	}
	return take_fd(at);
}

/* MOUNT is closed, and may be an error already. */
static int
attach(int root, const char *path, bool is_file, int mount)
{
	cleanup_close int own = mount;
	cleanup_close int place = -1;

	if (own < 0)
		return own;
	place = open_place(root, path, is_file);
	return place < 0 ? place : mounts_attach(own, place);
}

static int
attach_new(int root, const char *path, const char *type, const char *const *options, uint64_t attributes)
{
	return attach(root, path, false, mounts_new(type, options, attributes));
}

/* --- what is in it --------------------------------------------------------------------------------- */

static int
make_tmp(int root)
{
	static const char *const options[] = {"mode", "1777", NULL};

	return attach_new(root, "tmp", "tmpfs", options, OURS);
}

static int
clone_path(const char *path)
{
	cleanup_close int found = mounts_look_up(path);

	return found < 0 ? found : mounts_clone(found, "", true);
}

static int
bind(int root, const struct plan_bind *b)
{
	cleanup_close int mount = clone_path(b->path);
	struct stat st;
	int r;

	if (mount < 0)
		return mount;
	if (fstat(mount, &st) < 0)
		return -errno;
	r = mounts_restrict(mount, OURS | (b->writable ? 0 : MOUNT_ATTR_RDONLY), true);
	return r < 0 ? r : attach(root, b->path, !S_ISDIR(st.st_mode), take_fd(mount));
}

/* Where the system has them below /usr, as it mostly does, they are no places of their own. */
static void
link_usr(int root)
{
	static const char *const names[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[16], to[64];
		ssize_t n;

		snprintf(path, sizeof(path), "/%s", names[i]);
		n = readlink(path, to, sizeof(to) - 1);
		if (n <= 0)
			continue;
		to[n] = '\0';
		(void)!symlinkat(to, root, names[i]);
	}
}

static int
bind_all(int root, const struct process_plan *plan)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < plan->n_binds; i++)
		r = bind(root, &plan->binds[i]);
	link_usr(root);
	return r;
}

/* The kernel wants to see one of the host's that hides nothing: it is before the old root is let go. */
static int
make_proc(int root)
{
	static const char *const options[] = {NULL};

	return attach_new(root, "proc", "proc", options, OURS | MOUNT_ATTR_NOEXEC);
}

static int
link_devices(int dev)
{
	static const char *const links[][2] = {
		{"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"},
		{"ptmx", "pts/ptmx"},
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlinkat(links[i][1], dev, links[i][0]) < 0)
			return -errno;
	return 0;
}

static int
fill_dev(int dev)
{
	static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
	static const char *const pts[] = {"mode", "0620", "ptmxmode", "0666", NULL};
	static const char *const shm[] = {"mode", "1777", NULL};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(devices) / sizeof(devices[0]); i++) {
		char path[16];

		snprintf(path, sizeof(path), "/dev/%s", devices[i]);
		r = attach(dev, devices[i], true, mounts_clone(AT_FDCWD, path, false));
	}
	if (r == 0)
		r = attach_new(dev, "pts", "devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	if (r == 0)
		r = attach_new(dev, "shm", "tmpfs", shm, OURS);
	return r < 0 ? r : link_devices(dev);
}

static int
make_dev(int root)
{
	static const char *const options[] = {"mode", "0755", NULL};
	cleanup_close int dev = mounts_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	cleanup_close int place = -1;
	int r;

	if (dev < 0)
		return dev;
	place = open_place(root, "dev", false);
	r = place < 0 ? place : mounts_attach(dev, place);
	return r < 0 ? r : fill_dev(dev);
}

/* --- the root -------------------------------------------------------------------------------------- */

/* A directory that is given is not written to: it has the places, or it will not do. */
static int
open_root(const struct process_plan *plan)
{
	static const char *const options[] = {"mode", "0755", NULL};
	cleanup_close int root = -1;
	int r = 0;

	root = *plan->root ? clone_path(plan->root) : mounts_new("tmpfs", options, OURS);
	if (root >= 0 && *plan->root)
		r = mounts_restrict(root, OURS | MOUNT_ATTR_RDONLY, true);
	return r < 0 ? r : take_fd(root);
}

static int
put_on_top(int root)
{
	cleanup_close int old = open("/", O_PATH | O_CLOEXEC);

	return old < 0 ? -errno : mounts_attach(root, old);
}

static int
change_root(int root)
{
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		syscall(SYS_umount2, ".", DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return mounts_restrict(root, MOUNT_ATTR_RDONLY, false);
}

int
root_make(const struct process_plan *plan, int tree, int *ret_step)
{
	cleanup_close int root = -1;
	int r;

	*ret_step = STEP_LANDLOCK;
	if (plan->flags & PLAN_NET && !restrict_has_scopes())
		return -EOPNOTSUPP;
	*ret_step = STEP_ROOT;
	r = mounts_separate();
	if (r == 0)
		r = root = open_root(plan);
	if (r >= 0)
		r = put_on_top(root);
	if (r == 0)
		r = make_tmp(root);
	if (r < 0)
		return r;
	if (plan->flags & PLAN_PROC) {
		*ret_step = STEP_PROC;
		r = make_proc(root);
	}
	if (r == 0 && plan->flags & PLAN_DEV) {
		*ret_step = STEP_DEV;
		r = make_dev(root);
	}
	if (r < 0)
		return r;
	/* Behind these, or what is bound below /dev and /tmp would be hidden. */
	*ret_step = STEP_BIND;
	r = bind_all(root, plan);
	if (r < 0)
		return r;
	*ret_step = STEP_CAP;
	r = attach(root, "cap", false, fd_dup(tree));
	if (r < 0)
		return r;
	*ret_step = STEP_PIVOT;
	return change_root(root);
}
