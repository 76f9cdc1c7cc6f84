/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What main() and the keeper do with the minder and with spawners. All of it is known by the
 * members of a struct succession, so that it is the same after an upgrade; a binary that has none
 * of them there leaves 0 for the minder, and so has none.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/minder/minder.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/succession.h"
#include "capfsd/start/binary.h"
#include "wire/process.h"

#define LISTENER_NAME "spawner.new" /* as long as it is made */
#define BACKLOG 16		    /* brokers come one after the other */
#define END_MSEC 3000		    /* longer than the minder waits */

/*
 * Nobody but its owner can connect, not even while it has a name, and no descriptors can be sent
 * there. By the directory's descriptor, as a path may be longer than an address, and lead
 * elsewhere.
 */
static int
make_listener(int run_fd, int *ret_file)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), file = -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	(void)fd_refuse_descriptors(fd);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" LISTENER_NAME,
		run_fd);
	/* Of a daemon that was killed right here; the directory is ours alone. */
	unlinkat(run_fd, LISTENER_NAME, 0);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	file = openat(run_fd, LISTENER_NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0 || unlinkat(run_fd, LISTENER_NAME, 0) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_file = take_fd(file);
	return take_fd(fd);
}

/* What CONFIG says is copied first, as its memory is where the name will be. */
static void __attribute__((noreturn))
run(const int fds[2], const struct minder_config *config, int argc, char *argv[], pid_t parent)
{
	struct boot titled = {};
	char path[PATH_MAX], cgroup[PATH_MAX];
	const struct minder_config copy = {path, config->cgroup ? cgroup : NULL};
	int r;

	child_reset_signals();
	snprintf(path, sizeof(path), "%s", config->path);
	snprintf(cgroup, sizeof(cgroup), "%s", config->cgroup ? config->cgroup : "");
	confine_argv(&titled, argc, argv);
	confine_title(&titled, MINDER_TITLE);
	r = child_arrange(fds, 2, NULL, 0);
	if (r == 0)
		minder_main(parent, &copy);
	_exit(EXIT_FAILURE);
}

int
minder_start(int run_fd, const struct minder_config *config, int argc, char *argv[], struct succession *h)
{
	cleanup_close int program = -1, file = -1, listener = -1;
	pid_t parent = getpid(), pid;
	int fds[2];

	if (binary_open(config->path, &program))
		return 0;
	listener = make_listener(run_fd, &file);
	if (listener < 0)
		return listener;
	pid = child_fork(SOCK_SEQPACKET, &fds[1]);
	fds[0] = listener;
	if (pid == 0)
		run(fds, config, argc, argv, parent);
	if (pid < 0)
		return pid;
	h->minder = pid;
	h->minder_fd = fds[1];
	h->spawner_fd = take_fd(file);
	return 0;
}

/* Full or stopped, it is not waited for: a connection is there at once, or there is none. */
static int
connect_to(const char *path)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return -errno;
	/* Its maker runs our sessions' programs: nobody else may be that. */
	return peer.uid == 0 || peer.uid == geteuid() ? take_fd(fd) : -EPERM;
}

/* Where capfs-spawner.socket listens; of root's the environment has no say. */
static int
connect_to_unit(void)
{
	const char *user = secure_getenv("XDG_RUNTIME_DIR");
	char path[PATH_MAX];

	if (geteuid() == 0)
		return connect_to("/run/capfsd/spawner");
	if (!user || user[0] != '/')
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/capfsd/spawner", user);
	return connect_to(path);
}

static int
attach(int fd, const char *mountpoint)
{
	struct {
		struct process_record record;
		char mountpoint[PATH_MAX];
	} message = {.record = {.type = PROCESS_ATTACH, .version = PROCESS_VERSION}};
	size_t n = strlen(mountpoint) + 1;
	ssize_t r;

	memcpy(message.mountpoint, mountpoint, n);
	r = msg_send(fd, &message, sizeof(message.record) + n, NULL, 0, MSG_DONTWAIT);
	return r < 0 ? (int)r : 0;
}

int
minder_connect(struct succession *h)
{
	cleanup_close int fd = connect_to_unit();
	char path[32];
	int r;

	/* One whose queue is full is there all the same. */
	if (fd < 0 && fd != -EAGAIN && h->minder) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", h->spawner_fd);
		fd = connect_to(path);
	}
	r = fd < 0 ? fd : attach(fd, h->mountpoint);
	if (r == 0)
		return take_fd(fd);
	if (!h->spawner_missed)
		log_message(LOG_NOTICE, "no programs can be started: " SPAWNER_TITLE ": %s",
			strerror(-r));
	h->spawner_missed = 1;
	return r;
}

/* It reads at once, or is about to end. */
void
minder_renew(const struct succession *h)
{
	const char byte = MINDER_RENEW;

	if (h->minder)
		(void)msg_send(h->minder_fd, &byte, 1, NULL, 0, MSG_DONTWAIT);
}

/* If it has ended before, and was reaped with the others, there is nobody to wait for. */
void
minder_end(struct succession *h)
{
	if (!h->minder)
		return;
	h->minder_fd = fd_close(h->minder_fd);
	h->spawner_fd = fd_close(h->spawner_fd);
	child_wait(h->minder, END_MSEC);
	h->minder = 0;
}
