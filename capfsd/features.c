/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/features.h"

#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <lmdb.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
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
};

static bool
kernel_is(int major, int minor)
{
	struct utsname u;
	int have_major = 0, have_minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &have_major, &have_minor) != 2)
		return false;
	return have_major > major || (have_major == major && have_minor >= minor);
}

static bool
probe_fuse(char *detail, size_t size)
{
	cleanup_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		snprintf(detail, size, "/dev/fuse: %s", strerror(errno));
	else
		snprintf(detail, size, "libfuse %s", fuse_pkgversion());
	return fd >= 0;
}

static bool
probe_user(char *detail, size_t size)
{
	if (geteuid() != 0) {
		snprintf(detail, size, "not started as root: everything runs as uid %u", geteuid());
		return true;
	}
	if (getpwnam("capfs")) {
		snprintf(detail, size, "the broker runs as capfs");
		return true;
	}
	snprintf(detail, size, "no user 'capfs'");
	return false;
}

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
probe_resend(char *detail, size_t size)
{
	snprintf(detail, size, "requests under way outlive the broker (Linux 6.9)");
	return kernel_is(6, 9);
}

static bool
probe_epoch(char *detail, size_t size)
{
	snprintf(detail, size, "all names invalidated at once after a restart (Linux 6.16)");
	return kernel_is(6, 16);
}

static bool
probe_peerpidfd(char *detail, size_t size)
{
	int pair[2], pidfd = -1;
	socklen_t n = sizeof(pidfd);
	bool there;

	snprintf(detail, size, "servers are told a pidfd of their client (Linux 6.5)");
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
probe_seccomp(char *detail, size_t size)
{
	snprintf(detail, size, "the broker's system calls are filtered (as root)");
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

static bool
probe_store(char *detail, size_t size)
{
	snprintf(detail, size, "LMDB %d.%d.%d", MDB_VERSION_MAJOR, MDB_VERSION_MINOR,
		MDB_VERSION_PATCH);
	return true;
}

static bool
probe_descriptors(char *detail, size_t size)
{
	struct rlimit limit = {};

	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(detail, size, "RLIMIT_NOFILE %ju", (uintmax_t)limit.rlim_max);
	return limit.rlim_max >= 64;
}

/* A limit on requests that wait ends the whole connection when a reader waits for longer. */
static bool
probe_waiting(char *detail, size_t size)
{
	static const char *const names[] = {"default_request_timeout", "max_request_timeout"};

	snprintf(detail, size, "requests may wait without limit");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cleanup_fclose FILE *f = NULL;
		unsigned seconds = 0;
		char path[64];

		snprintf(path, sizeof(path), "/proc/sys/fs/fuse/%s", names[i]);
		f = fopen(path, "re");
		if (f && fscanf(f, "%u", &seconds) == 1 && seconds > 0) {
			snprintf(detail, size,
				"fs.fuse.%s=%u ends the mount when one request waits longer",
				names[i], seconds);
			return false;
		}
	}
	return true;
}

static const struct feature features[] = {
	{"fuse", probe_fuse, true},
	{"user", probe_user, true},
	{"mount", probe_mount, true},
	{"resend", probe_resend, true},
	{"epoch", probe_epoch, false},
	{"peerpidfd", probe_peerpidfd, false},
	{"seccomp", probe_seccomp, false},
	{"store", probe_store, true},
	{"descriptors", probe_descriptors, true},
	{"waiting", probe_waiting, false},
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

		printf("%-12s %-8s %s\n", f->name, there ? "yes" : absent, detail);
		if (!there && f->needed)
			missing = 1;
	}
	return fflush(stdout) == 0 ? missing : 1;
}
