/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What systemd keeps for the next daemon: how it is taken, told apart, and given up. It owns the
 * descriptors that were passed until its caller takes them. It is used before there is a child, and
 * by the keeper to have things kept or forgotten. It reads nothing from any socket, and believes no
 * name: the broker can give systemd descriptors under any name, so what makes a mount ours must
 * belong to the keeper's user.
 */
#include "config.h"

#include "capfsd/start/fdstore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/number.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/records.h"
#include "capfsd/start/activation.h"
#include "capfsd/process/mounts.h"

#define FUSE_MAJOR 10
#define FUSE_MINOR 229
#define MOUNT_TYPE "fuse.capfs"

/*
 * By what the kernel knows without asking a file system: a descriptor may be of one that hangs, and
 * a daemon that waits for it at its start never starts.
 */
static bool
is_fuse(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0 &&
		S_ISCHR(stx.stx_mode) && stx.stx_rdev_major == FUSE_MAJOR &&
		stx.stx_rdev_minor == FUSE_MINOR;
}

/*
 * The broker can store descriptors too, but it cannot make a file that belongs to the keeper's
 * user. Without this a broker that a client has taken over could choose the mount of the next
 * daemon.
 */
static bool
is_ours(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_UID, &stx) == 0 &&
		stx.stx_uid == geteuid();
}

/*
 * Is that connection still served, and its mount where it was? An error on it says that the mount
 * is gone; and another one at the same place would have clients that know nothing of our
 * connection.
 */
static bool
mount_is_there(const struct fdstore *s)
{
	char device[MOUNTS_FIELD_BYTES], type[MOUNTS_FIELD_BYTES];
	struct pollfd p = {.fd = s->fuse_fd};

	return poll(&p, 1, 0) == 0 && s->succession.device[0] &&
		mounts_top(s->succession.mountpoint, device, type) == 0 &&
		strcmp(device, s->succession.device) == 0 && strcmp(type, MOUNT_TYPE) == 0;
}

/*
 * Out of the way of the numbers that have a meaning: child_arrange() lets what is stored stay where
 * it is, and would close or replace what lies below.
 */
static int
move_up(int fd)
{
	int copy;

	if (fd >= BOOT_FD_FIRST_STORED)
		return fd_set_cloexec(fd, true) < 0 ? -EBADF : fd;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, BOOT_FD_FIRST_STORED);
	close(fd);
	return copy < 0 ? -errno : copy;
}

static int
compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * Takes FD, one of those that were passed. Of things that can be there once the first one counts,
 * and what has no use is closed: else it would stay in the table for the life of the mount.
 */
static void
take(struct fdstore *s, int *succession_fd, int fd, const char *name, char *activation)
{
	if (strcmp(name, ACTIVATION_NAME) == 0 && s->activation_fd < 0 &&
		activation_is_listener(fd, activation))
		s->activation_fd = fd;
	else if (strcmp(name, KEEP_NAME_FUSE) == 0 && s->fuse_fd < 0 && is_fuse(fd))
		s->fuse_fd = fd;
	else if (strcmp(name, KEEP_NAME_MOUNT) == 0 && *succession_fd < 0 && is_ours(fd))
		*succession_fd = fd;
	else if (strcmp(name, KEEP_NAME_SOCKET) == 0 || name[0] == KEEP_NAME_PAGES[0])
		s->sockets[s->n_sockets++] = fd;
	else
		close(fd);
}

/*
 * The number of sockets is bounded by what systemd keeps, and the array is the caller's. Its
 * descriptors must ascend, as child_arrange() closes the gaps between them. A mount that cannot be
 * taken up is no error: the daemon begins with a new one.
 */
static int
receive(struct fdstore *s, int n, char **names, char *activation)
{
	int succession_fd = -1, r = 0;

	/*
	 * One more than there are, so that the array of none is not NULL, which would say that
	 * memory is short.
	 */
	s->sockets = calloc((size_t)n + 1, sizeof(*s->sockets));
	if (!s->sockets)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		int fd = move_up(SD_LISTEN_FDS_START + i);

		if (fd < 0)
			return fd;
		take(s, &succession_fd, fd, names[i], activation);
	}
	qsort(s->sockets, s->n_sockets, sizeof(*s->sockets), compare);
	if (s->fuse_fd >= 0 && succession_fd >= 0)
		r = succession_read(succession_fd, SUCCESSION_MOUNT, &s->succession, &s->boot, NULL);
	s->found = s->fuse_fd >= 0 && succession_fd >= 0 && r == 0 && mount_is_there(s);
	fd_close(succession_fd);
	return 0;
}

static void
free_names(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

int
fdstore_receive(struct fdstore *ret, char ret_activation[108])
{
	char **names = NULL;
	int n, r = 0;

	memset(ret, 0, sizeof(*ret));
	ret->fuse_fd = ret->activation_fd = -1;
	ret_activation[0] = '\0';
	n = sd_listen_fds_with_names(true, &names);
	closefrom(SD_LISTEN_FDS_START + (n > 0 ? n : 0));
	if (n > 0)
		r = receive(ret, n, names, ret_activation);
	free_names(names);
	/*
	 * Sockets without the mount and the state that they belong to are of no use. They are shut
	 * down, so that clients see an end, where they would otherwise wait for a server that never
	 * hears of them.
	 */
	if (!ret->found && (ret->fuse_fd >= 0 || ret->n_sockets > 0)) {
		fdstore_forget();
		fdstore_deinit(ret, true);
	}
	return n < 0 ? n : r;
}

void
fdstore_deinit(struct fdstore *s, bool shut_down)
{
	for (size_t i = 0; i < s->n_sockets; i++)
		if (shut_down)
			fd_shutdown_close(s->sockets[i]);
		else
			fd_close(s->sockets[i]);
	free(s->sockets);
	s->sockets = NULL;
	s->n_sockets = 0;
	s->fuse_fd = fd_close(s->fuse_fd);
}

void
fdstore_take_mount(struct fdstore *s, struct boot *boot, char device[MOUNTS_FIELD_BYTES], int *ret_fuse_fd)
{
	*ret_fuse_fd = take_fd(s->fuse_fd);
	boot->init = s->boot.init;
	boot->instance = s->boot.instance;
	memcpy(boot->bind_dir, s->boot.bind_dir, sizeof(boot->bind_dir));
	memcpy(device, s->succession.device, MOUNTS_FIELD_BYTES);
	boot->resumed = true;
	log_message(LOG_NOTICE, "going on with the mount and %zu sockets of before", s->n_sockets);
}

/* Where systemd has not said that it keeps something, all is done as without it. */
size_t
fdstore_max(void)
{
	const char *text = getenv("FDSTORE");
	uint64_t n;

	if (!text || !getenv("NOTIFY_SOCKET") || number_parse(text, strlen(text), false, &n) < 0)
		return 0;
	return n > SIZE_MAX ? SIZE_MAX : (size_t)n;
}

/*
 * First what the next daemon must know of the connection, then the connection: when we end in
 * between, there is a text that nothing belongs to, which is ignored. FDPOLL=0, since systemd would
 * drop descriptors that poll(2) tells an error or a hang-up of, before anybody has looked at them.
 */
int
fdstore_keep_mount(const char *path, const char *device, const struct boot *boot, int fuse_fd)
{
	struct succession succession = {.role = SUCCESSION_MOUNT};
	cleanup_close int fd = -1;
	int r;

	snprintf(succession.mountpoint, sizeof(succession.mountpoint), "%s", path);
	snprintf(succession.device, sizeof(succession.device), "%s", device);
	r = fd = succession_write(&succession, boot);

	if (r >= 0)
		r = sd_pid_notify_with_fds(
			0, 0, "FDSTORE=1\nFDNAME=" KEEP_NAME_MOUNT "\nFDPOLL=0", &fd, 1);
	if (r >= 0)
		r = sd_pid_notify_with_fds(
			0, 0, "FDSTORE=1\nFDNAME=" KEEP_NAME_FUSE "\nFDPOLL=0", &fuse_fd, 1);
	return r < 0 ? r : 0;
}

/*
 * Nobody waits for it, nor looks whether it succeeds: what systemd passes on nevertheless is
 * checked at the next start, and is closed when it does not fit.
 */
void
fdstore_forget_sockets(void)
{
	sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" KEEP_NAME_SOCKET);
}

void
fdstore_forget(void)
{
	fdstore_forget_sockets();
	sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" KEEP_NAME_MOUNT);
	sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" KEEP_NAME_FUSE);
}
