/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inspector: looks at one descriptor that a client has, and tells the broker what it is, in
 * numbers.
 *
 * It may be any file. To close one of a hostile file system may take for ever, in a sleep that not
 * even SIGKILL ends; therefore nobody who has anything else to do ever receives it. Each inspection
 * is a process of its own, made by the binder, which ends with it; what it was asked is answered
 * before it closes anything. It also takes what no broker of ours sends, for the same reason.
 *
 * What was posted it finds in the queue of a socket, where it stays: a peek makes a copy. So the copy is
 * looked at, and given to who is to have it, and no other process of the daemon's ever has one.
 */
#include "config.h"

#include "capfsd/binder/inspector.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/number.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/filter.h"
#include "capfsd/process/records.h"

/* A client sends at once what it has asked to be looked at; one that does not is not waited for. */
#define PATIENCE_MSEC 5000
#define FUSE_MINOR 229 /* of MISC_MAJOR: /dev/fuse */
#define TAKE_MSEC 5000 /* to start a process, and to receive what is there */

static int
option(int fd, int name, void *value, socklen_t n)
{
	return getsockopt(fd, SOL_SOCKET, name, value, &n) < 0 ? -errno : 0;
}

/*
 * Only what the kernel knows about a descriptor of any kind is asked, up to the point where it is
 * known to be a Unix socket: nothing here waits for the file system that FD is of. Returns: 0,
 * -EINVAL, -ENOTCONN, -errno.
 */
static int
look_at(int fd, pid_t binder, struct binder_result *ret)
{
	struct sockaddr_un address = {};
	char path[sizeof(address.sun_path) + 1] = {};
	socklen_t n = sizeof(address);
	int domain = 0, flags = fcntl(fd, F_GETFL), r;
	struct ucred peer;

	if (flags < 0 || flags & O_PATH)
		return -EINVAL;
	r = option(fd, SO_DOMAIN, &domain, sizeof(domain));
	if (r < 0 || domain != AF_UNIX)
		return -EINVAL;
	if (getpeername(fd, (struct sockaddr *)&address, &n) < 0)
		return -errno;
	r = option(fd, SO_PEERCRED, &peer, sizeof(peer));
	if (r == 0)
		r = fd_socket_cookie(fd, &ret->cookie);
	if (r < 0)
		return r;
	ret->uid = peer.uid;
	/*
	 * Of a listener that is who called listen(2). Our parent lives, so its number is its own.
	 */
	ret->by_binder = peer.pid == binder;
	/* One that the broker gave has no name; its cookie is known. */
	memcpy(path, address.sun_path, sizeof(address.sun_path));
	if (number_parse_pair(path, &ret->object, &ret->capability) < 0)
		ret->object = ret->capability = 0;
	return 0;
}

/*
 * Waits for the one message of the client. There is room for all that it can bring, so that nothing
 * is closed yet. Returns: 0, or -errno.
 */
static int
receive(int client, int *ret_fds, size_t *ret_n_fds)
{
	struct pollfd p = {.fd = client, .events = POLLIN};
	char byte;
	ssize_t n;

	if (poll(&p, 1, PATIENCE_MSEC) <= 0)
		return -ETIMEDOUT;
	n = msg_receive(client, &byte, sizeof(byte), ret_fds, MSG_FDS_MAX, ret_n_fds, MSG_DONTWAIT);
	if (n < 0)
		return (int)n;
	return n == 1 && *ret_n_fds == 1 ? 0 : -EBADMSG;
}

/* All that others wait for comes before the first close(2) that may never return. */
static void
inspect(int socket_fd, int client, uint64_t serial, pid_t binder)
{
	struct binder_result result = {.inspection = serial};
	int fds[MSG_FDS_MAX];
	size_t n_fds = 0;
	int r = receive(client, fds, &n_fds);

	if (r == 0)
		r = look_at(fds[0], binder, &result);
	result.error = (uint32_t)-r;
	/*
	 * The broker has it before the client can ask for it. Whoever has gone needs no reply, so
	 * errors are ignored.
	 */
	(void)msg_send(socket_fd, &result, sizeof(result), NULL, 0, 0);
	(void)msg_send(client, "", 1, NULL, 0, MSG_DONTWAIT);
	/* What may hang from here on must keep neither the binder's socket nor our output open. */
	fd_close(socket_fd);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		fd_close(fd);
	/* Whatever else was sent here is dropped here, not by the binder. */
	shutdown(client, SHUT_RDWR);
	msg_discard_all(client);
	fd_close(client);
	for (size_t i = 0; i < n_fds; i++)
		fd_close(fds[i]);
}

/*
 * Of the file system of a user's own others are told nothing, but that it is no directory, where nothing of
 * that could be read. Returns: 0 or -EISDIR.
 */
static int
look_at_private(int fd)
{
	return syscall(SYS_getdents64, fd, NULL, 0) < 0 && errno == ENOTDIR ? 0 : -EISDIR;
}

/*
 * Only what is known of it already, without a request to its file system. A directory would give who
 * gets it the way up from there, to all that the poster can name; kept open, /dev/fuse would have
 * everybody wait at a mount whose server is gone. Returns: 0; -EBADF: it is a path, and no file; -EISDIR;
 * -EPERM.
 */
static int
look_at_posted(int fd, pid_t binder, struct binder_result *ret)
{
	int flags = fcntl(fd, F_GETFL), seals;
	struct statx stx;

	if (flags < 0 || flags & O_PATH)
		return -EBADF;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &stx) < 0)
		return errno == EACCES ? look_at_private(fd) : -errno;
	if (S_ISDIR(stx.stx_mode))
		return -EISDIR;
	if (S_ISCHR(stx.stx_mode) && stx.stx_rdev_major == MISC_MAJOR && stx.stx_rdev_minor == FUSE_MINOR)
		return -EPERM;
	seals = S_ISREG(stx.stx_mode) ? fcntl(fd, F_GET_SEALS) : -1;
	if (seals >= 0) {
		ret->memory = RESULT_MEMORY | (seals & RESULT_SEALS);
		ret->size = stx.stx_size;
	} else if (S_ISSOCK(stx.stx_mode)) {
		/* What is no connected Unix socket is none of the daemon's either. */
		(void)look_at(fd, binder, ret);
	}
	return 0;
}

/*
 * A copy of the one descriptor that was left in the queue of MAILBOX. There is room for all that can be
 * there, so that nothing is closed yet. Returns: 0, or -errno.
 */
static int
copy_posted(int mailbox, int *ret_fds, size_t *ret_n_fds)
{
	char byte;
	bool lost = false;
	ssize_t n;

	/* A poster who left without his answer has the first who looks told so. */
	do
		n = msg_receive_lossy(mailbox, &byte, sizeof(byte), ret_fds, MSG_FDS_MAX, ret_n_fds, &lost,
			MSG_PEEK | MSG_DONTWAIT);
	while (n == -ECONNRESET);
	if (n < 0)
		return (int)n;
	if (lost)
		return -EMFILE;
	return n == 1 && *ret_n_fds == 1 ? 0 : -EBADMSG;
}

/* CLIENT gets the copy, if there is one. What is closed at the end may keep this process for ever. */
static void
show_posted(int socket_fd, int mailbox, int client, uint64_t serial, pid_t binder)
{
	struct binder_result result = {.inspection = serial};
	const int32_t done = 0;
	int fds[MSG_FDS_MAX];
	size_t n_fds = 0;
	int r = copy_posted(mailbox, fds, &n_fds);

	/* Of what somebody fetches that was looked at when it was posted. */
	if (r == 0 && client < 0)
		r = look_at_posted(fds[0], binder, &result);
	if (r == 0 && client >= 0) {
		ssize_t n = msg_send(client, &done, sizeof(done), fds, 1, MSG_DONTWAIT);

		r = n < 0 ? (int)n : 0;
	}
	result.error = (uint32_t)-r;
	(void)msg_send(socket_fd, &result, sizeof(result), NULL, 0, 0);
	fd_close(socket_fd);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		fd_close(fd);
}

/*
 * Takes the record with all that comes along, and closes none of it while the binder waits: a broker
 * that somebody has taken over can send anything at all. What is no client's socket is closed by the
 * end of this process. A record of the right length, as the binder has seen, loses nothing.
 */
static void
take(int socket_fd, int binder_fd, uint64_t inspection, pid_t binder)
{
	struct binder_job job = {};
	int fds[MSG_FDS_MAX];
	size_t n_fds = 0;

	if (inspection)
		(void)msg_receive(
			socket_fd, &job, sizeof(job), fds, MSG_FDS_MAX, &n_fds, MSG_DONTWAIT);
	else
		msg_take(socket_fd);
	/* It goes on when it has this. */
	(void)msg_send(binder_fd, "", 1, NULL, 0, MSG_DONTWAIT);
	fd_close(binder_fd);
	if ((n_fds == 1 || n_fds == 2) && job.task == INSPECTION_POSTED)
		show_posted(socket_fd, fds[0], n_fds == 2 ? fds[1] : -1, inspection, binder);
	else if (n_fds == 1)
		inspect(socket_fd, fds[0], inspection, binder);
}

/*
 * It has all that the binder has until it closes it, but no way to use it: without its filter it
 * does nothing and ends, which the binder tells the broker as any other end. The binder waits for
 * it no longer than it takes to receive, which waits for nobody.
 */
pid_t
inspector_start(const struct boot *boot, int socket_fd, uint64_t inspection)
{
	pid_t parent = getpid(), pid;
	cleanup_close int fd = -1;
	struct pollfd p = {.events = POLLIN};
	char byte;

	pid = child_fork(SOCK_SEQPACKET, &fd);
	if (pid == 0) {
		confine_title(boot, "capfs-inspector");
		if (confine_tie(parent) == 0 && filter_inspector() == 0)
			take(socket_fd, take_fd(fd), inspection, parent);
		_exit(0);
	}
	if (pid < 0)
		return pid;
	p.fd = fd;
	if (poll(&p, 1, TAKE_MSEC) <= 0)
		return -ETIMEDOUT;
	return recv(fd, &byte, 1, MSG_DONTWAIT) == 1 ? pid : -EBADMSG;
}
