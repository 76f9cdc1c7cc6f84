/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two locks, the state's own directory, and the mount point. It owns nothing after it returns: both
 * lock descriptors are its caller's, and a lock lasts as long as any copy of its descriptor. Called by
 * main() before anything is started; it takes dead mounts away, and never touches a mount that may be
 * alive.
 */
#include "config.h"

#include "capfsd/start/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/mount/mount.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/mounts.h"
#include "capfsd/start/directory.h"

#define MOUNT_TYPE "fuse.capfs"
#define DEAD_MAX 16 /* mounts on top of each other, each left by a daemon that was killed */
#define PROBE_MSEC 3000 /* whoever needs longer to reply is busy, not dead */
/*
 * Two seconds together: a daemon that was told to end hardly ever needs more, and who restarts it
 * may not have waited for it.
 */
#define LOCK_TRIES 200
#define LOCK_PAUSE_NSEC 10000000

/*
 * By flock(2), which belongs to the open file: the holder's copy keeps it while brokers come and
 * go, and the kernel releases it with the last process, however that ends. A file whose mere
 * presence is the lock would outlive a crash.
 */
static int
lock(int fd, const char *what)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR) {
			log_message(LOG_ERR, "cannot lock %s: %m", what);
			return -errno;
		}
		nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NSEC}, NULL);
	}
	log_message(LOG_ERR, "%s is in use by another capfsd", what);
	return -EBUSY;
}

/*
 * The file is never removed: a daemon that starts then would lock another file of the same name,
 * and there would be two.
 */
int
place_lock(int run_fd, const char *run_dir, int *ret_lock_fd)
{
	cleanup_close int fd = openat(run_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0) {
		r = -errno;
		log_message(LOG_ERR, "cannot open %s/lock: %m", run_dir);
		return r;
	}
	r = lock(fd, run_dir);
	if (r == 0)
		*ret_lock_fd = take_fd(fd);
	return r;
}

/*
 * What is there already is used only if it is the broker's and nobody else can enter it: it says
 * who may use what, so whoever can write it has every capability.
 */
static int
check_state(int fd, const struct boot *boot)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != boot->daemon_uid) {
		log_message(LOG_ERR,
			"the state directory %s belongs to uid %u, not to %u: chown it if it is this daemon's, else name "
			"another by --state-dir",
			boot->run_dir, st.st_uid, boot->daemon_uid);
		return -EPERM;
	}
	if ((st.st_mode & 077) != 0) {
		log_message(LOG_ERR,
			"others can enter the state directory %s (mode %04o, not 0700): chmod it if nobody has changed what "
			"is in it, else name another by --state-dir",
			boot->run_dir, st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

/*
 * The broker goes there by its name, as its own user: can that user, and is it the same directory? Else no
 * broker would ever come up, and none could say more than that it may not.
 */
static int
check_way(int fd, const struct boot *boot)
{
	cleanup_close int found = -1;
	struct stat here, there;
	int r = 0;

	setfsgid(boot->daemon_gid);
	setfsuid(boot->daemon_uid);
	found = open(boot->run_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (found < 0)
		r = -errno;
	setfsuid(geteuid());
	setfsgid(getegid());
	if (r == 0 && (fstat(fd, &here) < 0 || fstat(found, &there) < 0))
		r = -errno;
	if (r == 0 && (here.st_dev != there.st_dev || here.st_ino != there.st_ino))
		r = -ESTALE;
	if (r < 0)
		log_message(LOG_ERR, "uid %u cannot get to the state directory %s: %s", boot->daemon_uid,
			boot->run_dir, strerror(-r));
	return r;
}

/*
 * It has a lock of its own because --state-dir can name the same directory for two run directories,
 * and two brokers at one store would destroy it.
 */
int
place_state(int at, const char *name, struct boot *boot, int *ret_state_fd)
{
	cleanup_close int fd = -1;
	bool made;
	int r;

	fd = directory_open(at, name, boot->run_dir, 0700, &made);
	if (fd < 0)
		return fd;
	if (made && fchown(fd, boot->daemon_uid, boot->daemon_gid) < 0) {
		r = -errno;
		log_message(LOG_ERR, "cannot give %s to the daemon's user: %m", boot->run_dir);
		return r;
	}
	r = check_state(fd, boot);
	if (r == 0)
		r = check_way(fd, boot);
	if (r == 0)
		r = lock(fd, boot->run_dir);
	if (r == 0)
		*ret_state_fd = take_fd(fd);
	return r;
}

/*
 * Does nobody serve the mount at PATH? Asked by a child, since the question waits for whoever
 * serves it, in a sleep that may have no end. Only the kernel's own word, ENOTCONN, counts: a mount
 * that is slow, or of which nothing can be found out, is not taken away from its clients.
 */
static bool
mount_is_dead(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return false;
	if (pid == 0) {
		struct statx stx;

		/* It may stay long: without the lock, which the next start needs. */
		closefrom(STDERR_FILENO + 1);
		/* What is cached would be answered without asking anybody. */
		_exit(statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) < 0 &&
			errno == ENOTCONN);
	}
	status = child_wait(pid, PROBE_MSEC);
	return status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/*
 * The caller has the lock, so that no daemon of this run directory is just about to serve it. A
 * bound, as mounts may be made faster than they are taken away.
 */
int
place_clear(const char *path, bool privileged)
{
	char device[MOUNTS_FIELD_BYTES], type[MOUNTS_FIELD_BYTES];
	int r;

	for (unsigned i = 0; i < DEAD_MAX; i++) {
		r = mounts_top(path, device, type);
		if (r < 0)
			return r;
		if (strcmp(type, MOUNT_TYPE) != 0)
			return 0;
		if (!mount_is_dead(path)) {
			log_message(LOG_ERR, "%s is already served by another capfsd", path);
			return -EBUSY;
		}
		r = mount_detach(path, privileged);
		if (r < 0) {
			log_message(LOG_ERR, "cannot take the dead mount at %s away: %s", path,
				strerror(-r));
			return r;
		}
		log_message(LOG_NOTICE, "took away what an earlier capfsd had left at %s", path);
	}
	return -EBUSY;
}

/*
 * As the kernel writes it in its list of mounts, where it must be found again by comparing strings:
 * a path with symbolic links or dots would never be.
 */
int
place_mountpoint(const char *path, char ret[PATH_MAX])
{
	cleanup_close int fd = -1;
	char link[32];
	ssize_t n;

	/* O_PATH asks nothing of a file system that is mounted there, which may be a dead one. */
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		n = -errno;
		log_message(LOG_ERR, "the mount point %s: %s%s", path, strerror((int)-n),
			n == -ENOENT ? " (mkdir it first)" : "");
		return (int)n;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret, PATH_MAX);
	if (n <= 0 || (size_t)n >= PATH_MAX) {
		log_message(LOG_ERR, "cannot find out the name of %s", path);
		return n < 0 ? -errno : -ENAMETOOLONG;
	}
	ret[n] = '\0';
	return 0;
}
