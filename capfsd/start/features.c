/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table behind `capfsd --check`: what the daemon uses, whether this machine has it, and what
 * follows if not. It owns nothing and changes nothing, and needs no daemon. A feature that is
 * missing but not needed is one that the daemon does without at run time; no row here decides that,
 * they only tell.
 */
#include "config.h"

#include "capfsd/start/features.h"

#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/mount.h>
#include <lmdb.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Each fills in a detail and tells whether the feature is there. */
struct feature {
	const char *name;
	bool (*probe)(char *detail, size_t size);
	bool needed;
	const char *with, *without; /* what that means */
};

/*
 * For what cannot be tried without a mount. A kernel with a name that is no version has none of it.
 */
static bool
kernel_is(int major, int minor)
{
	struct utsname u;
	int have_major = 0, have_minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &have_major, &have_minor) != 2)
		return false;
	return have_major > major || (have_major == major && have_minor >= minor);
}

/*
 * Opening it is the test: the module may be loaded by that, and containers have the node without
 * the right.
 */
static bool
probe_fuse(char *detail, size_t size)
{
	cleanup_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		snprintf(detail, size, "/dev/fuse: %s", strerror(errno));
	else
		snprintf(detail, size, "/dev/fuse, libfuse %s, built with %d.%d", fuse_pkgversion(),
			FUSE_MAJOR_VERSION, FUSE_MINOR_VERSION);
	return fd >= 0;
}

/* Only root drops privilege, so an ordinary user needs no other one. */
static bool
probe_user(char *detail, size_t size)
{
	if (geteuid() != 0) {
		snprintf(detail, size, "not root but uid %u", geteuid());
		return true;
	}
	if (getpwnam("capfs")) {
		snprintf(detail, size, "capfs");
		return true;
	}
	snprintf(detail, size, "no user 'capfs'");
	return false;
}

/* As execvp(3) will look for it when the keeper mounts; root does not need it. */
static bool
probe_mount(char *detail, size_t size)
{
	const char *path = getenv("PATH");
	cleanup_free char *copy = strdup(path ? path : "/usr/bin:/bin");
	char *rest = copy;

	if (geteuid() == 0) {
		snprintf(detail, size, "by mount(2)");
		return true;
	}
	for (char *directory; rest && (directory = strsep(&rest, ":"));) {
		char file[512];

		snprintf(file, sizeof(file), "%s/fusermount3", directory);
		if (access(file, X_OK) == 0) {
			snprintf(detail, size, "by %s", file);
			return true;
		}
	}
	snprintf(detail, size, "fusermount3 is not installed (fuse3)");
	return false;
}

static bool
probe_systemd(char *detail, size_t size)
{
	bool booted = sd_booted() > 0;

	snprintf(detail, size, "%s, built with libsystemd " SYSTEMD_VERSION,
		booted ? "process 1 is systemd" : "process 1 is not systemd");
	return booted;
}

static bool
probe_mount_helper(char *detail, size_t size)
{
	snprintf(detail, size, MOUNTHELPERDIR "/mount.fuse.capfs");
	return access(MOUNTHELPERDIR "/mount.fuse.capfs", X_OK) == 0;
}

/*
 * With nothing to copy: the call itself, and the privilege, which comes first. Where the path is
 * complained about, the rest was all right.
 */
static bool
probe_open_tree(char *detail, size_t size)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd >= 0)
		close(fd);
	snprintf(detail, size, "open_tree(2) of Linux 5.2, %s",
		fd < 0 && errno == EPERM ? "as root" : "allowed");
	return fd >= 0 || errno == ENOENT || errno == EINVAL;
}

/* The kernel offers it in FUSE_INIT, which only a mount brings: its version must do here. */
static bool
probe_resend(char *detail, size_t size)
{
	snprintf(detail, size, "FUSE_NOTIFY_RESEND of Linux 6.9");
	return kernel_is(6, 9);
}

/* Likewise by version: it is a notification, which only an open connection could try. */
static bool
probe_epoch(char *detail, size_t size)
{
	snprintf(detail, size, "FUSE_NOTIFY_INC_EPOCH of Linux 6.16");
	return kernel_is(6, 16);
}

/* Asked of a pair of our own, since it can be: what the kernel does counts, not its version. */
static bool
probe_peerpidfd(char *detail, size_t size)
{
	int pair[2], pidfd = -1;
	socklen_t n = sizeof(pidfd);
	bool there;

	snprintf(detail, size, "SO_PEERPIDFD of Linux 6.5");
	if (fd_socketpair(SOCK_STREAM, pair) < 0)
		return false;
	there = getsockopt(pair[0], SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) == 0;
	if (there)
		fd_close(pidfd);
	fd_close(pair[0]);
	fd_close(pair[1]);
	return there;
}

static bool
probe_passrights(char *detail, size_t size)
{
	int pair[2];
	bool there;

	snprintf(detail, size, "SO_PASSRIGHTS of Linux 6.16");
	if (fd_socketpair(SOCK_SEQPACKET, pair) < 0)
		return false;
	there = fd_refuse_descriptors(pair[0]) == 0;
	fd_close(pair[0]);
	fd_close(pair[1]);
	return there;
}

/* Asks for the present mode, which changes nothing; a kernel without seccomp says EINVAL. */
static bool
probe_seccomp(char *detail, size_t size)
{
	snprintf(detail, size, "in this kernel");
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

/* It is linked, so it is there; both versions are told for reports of errors. */
static bool
probe_store(char *detail, size_t size)
{
	int major, minor, patch;
	char version[32];

	mdb_version(&major, &minor, &patch);
	snprintf(version, sizeof(version), "%d.%d.%d", major, minor, patch);
	snprintf(detail, size, "LMDB %s, built with %d.%d.%d", version, MDB_VERSION_MAJOR,
		MDB_VERSION_MINOR, MDB_VERSION_PATCH);
	return true;
}

/*
 * The hard limit, since the daemon raises the soft one to it. With fewer, what the daemon needs
 * itself leaves next to nothing for connections.
 */
static bool
probe_descriptors(char *detail, size_t size)
{
	struct rlimit limit = {};

	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(detail, size, "RLIMIT_NOFILE %ju", (uintmax_t)limit.rlim_max);
	return limit.rlim_max >= 64;
}

/*
 * A limit on requests that wait ends the whole connection when a reader waits for longer, and
 * readers of events and of calls wait for as long as nothing happens.
 */
static bool
probe_waiting(char *detail, size_t size)
{
	static const char *const names[] = {"default_request_timeout", "max_request_timeout"};

	snprintf(detail, size, "fs.fuse has no time-out for requests");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cleanup_fclose FILE *f = NULL;
		unsigned seconds = 0;
		char path[64];

		snprintf(path, sizeof(path), "/proc/sys/fs/fuse/%s", names[i]);
		f = fopen(path, "re");
		if (f && fscanf(f, "%u", &seconds) == 1 && seconds > 0) {
			snprintf(detail, size,
				"fs.fuse.%s=%u",
				names[i], seconds);
			return false;
		}
	}
	return true;
}

static const struct feature features[] = {
	{"fuse", probe_fuse, true, "the tree can be served", "there can be no tree: modprobe fuse"},
	{"user", probe_user, true, "what clients reach runs as that user",
		"systemd-sysusers makes it, or useradd --system --no-create-home "
		"--shell /usr/sbin/nologin capfs"},
	{"mount", probe_mount, true, "it can be mounted", "it cannot be mounted"},
	{"resend", probe_resend, false, "a broker that dies costs nobody an answer",
		"what is in service when a broker dies fails with EIO"},
	{"epoch", probe_epoch, false, "after that, all cached names are invalidated at once",
		"after that, cached names are invalidated one by one"},
	{"peerpidfd", probe_peerpidfd, false, "servers are given a pidfd of their client",
		"servers are given no pidfd of their client"},
	{"passrights", probe_passrights, false, "nobody can send descriptors where none are wanted",
		"descriptors that nobody wants are closed by the broker, which may take it a while"},
	{"seccomp", probe_seccomp, false, "as root, the broker's system calls are filtered",
		"the broker's system calls are not filtered"},
	{"open_tree", probe_open_tree, false, "umount(8) succeeds when nobody uses the tree",
		"only `umount -l` or `fusermount3 -u -z` succeeds"},
	{"store", probe_store, true, "the state can be kept", ""},
	{"descriptors", probe_descriptors, true, "of these three quarters are for sockets",
		"too few for any service"},
	{"waiting", probe_waiting, false, "reads that wait may take as long as they do",
		"the kernel ends the mount when one request waits for longer"},
	{"systemd", probe_systemd, false, "the units can be used", "capfsd is started otherwise"},
	{"mount.fuse", probe_mount_helper, false, "`mount -t fuse.capfs` and fstab work",
		"they do not: it is not installed there"},
};

int
features_print(void)
{
	int missing = 0;

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];
		char detail[640] = "";
		bool there = f->probe(detail, sizeof(detail));
		const char *absent = f->needed ? "MISSING" : "no";

		printf("%-12s %-8s %s: %s\n", f->name, there ? "yes" : absent, detail,
			there ? f->with : f->without);
		if (!there && f->needed)
			missing = 1;
	}
	return fflush(stdout) == 0 ? missing : 1;
}
