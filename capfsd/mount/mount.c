/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the mount is made, found again and taken away; the header says what this room never does. It
 * owns nothing but what its callers keep in struct mount: /dev/fuse is the keeper's from the moment
 * that it is opened.
 */
#include "config.h"

#include "capfsd/mount/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/mount/fusermount.h"
#include "capfsd/mount/init.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/mounts.h"

#define MOUNT_TYPE "fuse.capfs"
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* Linux 5.10; passed over before it */
#endif
#define INIT_MSEC 5000 /* the kernel sends INIT while it mounts: later it will not come */
#define INIT_READ_BYTES 8192 /* the kernel refuses to write into less */

/* What the list of mounts calls the device: by this name `mount -a` finds what is mounted already. */
static const char *
mount_source(void)
{
	const char *source = getenv("CAPFSD_SOURCE");

	/*
	 * A comma would end the option of fusermount3, and the next word would be an option of its
	 * own.
	 */
	return source && *source && !strpbrk(source, ",\\") ? source : "capfs";
}

/*
 * Lazily: open files in it go on until the connection ends, and a look-up that waits there would
 * otherwise make it busy. Without following a link, as somebody may have put one in place of the
 * directory.
 */
int
mount_detach(const char *path, bool privileged)
{
	if (!privileged)
		return fusermount_end(path);
	return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

/*
 * For all users (allow_other), with the kernel checking the modes of nodes (default_permissions):
 * who may open which file is decided there before a request is sent. Nothing on it is ever executed
 * or a device, or a symbolic link: a broker that somebody has taken over could lead the binder, or root,
 * anywhere by one.
 */
static int
make_by_mount(const struct mount *m, int *ret_fuse_fd)
{
	cleanup_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];

	if (fd < 0) {
		log_message(LOG_ERR, "cannot open /dev/fuse: %m%s",
			errno == ENOENT || errno == ENODEV ? " (modprobe fuse)" : "");
		return -errno;
	}
	snprintf(options, sizeof(options),
		"fd=%d,rootmode=40711,user_id=0,group_id=0,default_permissions,allow_other", fd);
	if (mount(mount_source(), m->path, MOUNT_TYPE,
		    MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOSYMFOLLOW, options) < 0) {
		log_message(LOG_ERR, "cannot mount on %s: %m", m->path);
		return -errno;
	}
	*ret_fuse_fd = take_fd(fd);
	return 0;
}

/* For the calling user alone, as far as the system lets a user mount. */
static int
make_by_fusermount(const struct mount *m, int *ret_fuse_fd)
{
	int r = fusermount_make(m->path, mount_source(), ret_fuse_fd);

	if (r < 0)
		log_message(LOG_ERR, "fusermount3 cannot mount on %s%s", m->path,
			r == -ENOENT ? ": it is not installed (fuse3)" : "");
	return r;
}

/*
 * A later mount at the same place has another instance, so that nothing is taken for a leftover of
 * this one. The hidden directory stands in no listing, and only the daemon's user may enter it; its
 * random name also keeps out programs of root's, which pass by modes.
 */
static int
identify(struct boot *boot)
{
	uint64_t random[3];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return error_trace(-EIO);
	boot->instance = random[0];
	snprintf(boot->bind_dir, sizeof(boot->bind_dir), ".bind-%016" PRIx64 "%016" PRIx64, random[1],
		random[2]);
	return 0;
}

/*
 * The keeper reads it, and no broker, since the kernel sends it once: a broker that died after
 * reading it would leave a mount on which everything waits. The request is kept whole for brokers
 * to replay.
 */
static int
answer_init(int fuse_fd, struct boot_init *ret)
{
	struct pollfd p = {.fd = fuse_fd, .events = POLLIN};
	char buffer[INIT_READ_BYTES];
	ssize_t n;
	int r;

	do
		r = poll(&p, 1, INIT_MSEC);
	while (r < 0 && errno == EINTR);
	n = r > 0 ? read(fuse_fd, buffer, sizeof(buffer)) : -1;
	if (n <= 0 || (size_t)n > sizeof(ret->request)) {
		log_message(LOG_ERR, "the kernel does not begin to talk on /dev/fuse");
		return -EPROTO;
	}
	memcpy(ret->request, buffer, (size_t)n);
	ret->n_request = (uint32_t)n;
	r = fuse_init_answer(ret->request, ret->n_request, ret->reply, sizeof(ret->reply));
	if (r < 0) {
		log_message(LOG_ERR, "the kernel's FUSE cannot be used: %s", strerror(-r));
		return r;
	}
	ret->n_reply = (uint32_t)r;
	if (write(fuse_fd, ret->reply, ret->n_reply) != (ssize_t)ret->n_reply) {
		log_message(LOG_ERR, "cannot answer the kernel on /dev/fuse: %m");
		return -EPROTO;
	}
	/*
	 * Until here there was nothing but INIT to read. From here on a broker must never sleep in
	 * read(2) on it.
	 */
	return fd_set_nonblock(fuse_fd, true);
}

/*
 * The device's number is asked of the list of mounts at once, before anybody can mount something
 * else on top: it is what our mount is known by from then on. INIT is replied to before there is
 * any broker, so that none can die with it unanswered. A mount on which nobody will serve is taken
 * away.
 */
int
mount_make(struct mount *m, struct boot *boot, int *ret_fuse_fd)
{
	char type[MOUNTS_FIELD_BYTES];
	cleanup_close int fd = -1;
	int r;

	r = identify(boot);
	if (r == 0)
		r = m->privileged ? make_by_mount(m, &fd) : make_by_fusermount(m, &fd);
	if (r == 0)
		r = mounts_top(m->path, m->device, type);
	if (r == 0)
		r = answer_init(fd, &boot->init);
	if (r < 0) {
		mount_end(m);
		return r;
	}
	*ret_fuse_fd = take_fd(fd);
	return 0;
}

/* The list is asked, as a look at the path would wait for the broker. */
bool
mount_is_there(const struct mount *m)
{
	return mounts_have(m->device);
}

void
mount_log_gone(const struct mount *m)
{
	log_event(LOG_NOTICE, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UNMOUNTED}), "%s was unmounted", m->path);
}

/*
 * Only our own mount, known by its device: the path alone would take away what somebody has mounted
 * on top, or the mount of a daemon that came after us. A failure is told and is no reason not to
 * end.
 */
void
mount_end(struct mount *m)
{
	char device[MOUNTS_FIELD_BYTES], type[MOUNTS_FIELD_BYTES];
	int r;

	if (!m->device[0])
		return;
	r = mounts_top(m->path, device, type);
	/* Somebody may have unmounted it, or mounted something else on top. */
	if (r == 0 && strcmp(device, m->device) == 0)
		r = mount_detach(m->path, m->privileged);
	if (r < 0)
		log_message(LOG_WARNING, "cannot unmount %s: %s", m->path, strerror(-r));
	m->device[0] = '\0';
}
