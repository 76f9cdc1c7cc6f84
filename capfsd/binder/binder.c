/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The binder: the only process of the daemon that touches our own mount. bind(2), listen(2) and
 * unlink(2) there wait for the broker, and a process that is killed in such a wait stays until it
 * is answered; therefore it has a descriptor table of its own and never /dev/fuse in it.
 *
 * Its working directory is the hidden directory, so a name is all that it needs: no path, however
 * long, and no permission on the way.
 */
#include "config.h"

#include "capfsd/binder/binder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/binder/inspector.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/records.h"

/*
 * Five seconds together. A look-up waits for a broker by itself: what fails is one whose broker
 * died meanwhile.
 */
#define ENTER_TRIES 500
#define ENTER_PAUSE_NSEC 10000000
#define INSPECTORS_MAX 128 /* at a time, most of them hanging then */

/*
 * Goes into the hidden directory, before privileges are dropped: the root session's mode may shut
 * the daemon's own user out. Waits inside chdir(2) while no broker is up yet.
 *
 * As far as we may, by a mount of our own that is attached nowhere: what is bound below that does not
 * keep the visible one busy, so that umount(8) succeeds when nobody uses it. It goes with this process.
 */
static int
binder_enter(const struct boot *boot, const char *mountpoint)
{
	int own = (int)syscall(SYS_open_tree, AT_FDCWD, mountpoint,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
	int r = 0;

	for (unsigned i = 0; i < ENTER_TRIES; i++) {
		if ((own < 0 ? chdir(mountpoint) : fchdir(own)) == 0 && chdir(boot->bind_dir) == 0)
			return 0;
		r = -errno;
		if (r != -ENOENT && r != -ESTALE && r != -EINTR && r != -EIO)
			break;
		nanosleep(&(struct timespec){.tv_nsec = ENTER_PAUSE_NSEC}, NULL);
	}
	return r;
}

/*
 * A name that a killed binder has left behind is removed first. It can be no other's, as ids are
 * never used again; the second failure is told.
 */
static int
binder_bind(int fd, const struct sockaddr_un *address)
{
	for (unsigned i = 0; i < 2; i++) {
		if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			break;
		unlink(address->sun_path);
	}
	return -errno;
}

/*
 * A broker that a client has taken over may ask for anything: only the two types that there are get
 * made. Returns: a listener that nobody knows by its hidden name any more; -errno.
 */
static int
binder_make(const struct binder_job *job)
{
	cleanup_close int fd = -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	if (job->socket_type != SOCK_STREAM && job->socket_type != SOCK_SEQPACKET)
		return -EINVAL;
	fd = socket(AF_UNIX, (int)job->socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Who connects before the broker has it sends it nothing that it may not take. */
	(void)fd_refuse_descriptors(fd);
	snprintf(address.sun_path, sizeof(address.sun_path), "%" PRIu64 ".%" PRIu64, job->object,
		job->capability);
	r = binder_bind(fd, &address);
	if (r < 0)
		return r;
	if (listen(fd, (int)job->backlog) < 0)
		r = -errno;
	/* The visible name has the same inode. With this one gone, the kernel can forget it. */
	unlink(address.sun_path);
	return r < 0 ? r : take_fd(fd);
}

/*
 * Every job has its result, or the look-up that waits for it would wait until its time is over. A
 * mount that is gone makes this binder useless: another one has to enter anew. Returns: 0, or
 * -errno in that case.
 */
static int
binder_answer(int socket_fd, const struct binder_job *job)
{
	struct binder_result result = {.object = job->object, .capability = job->capability};
	cleanup_close int fd = binder_make(job);
	ssize_t n;

	if (fd < 0)
		result.error = (uint32_t)-fd;
	for (;;) {
		n = msg_send(socket_fd, &result, sizeof(result), &fd, fd >= 0, 0);
		if (n != -ETOOMANYREFS && n != -EINTR)
			break;
		/*
		 * The kernel bounds descriptors in flight, and the broker is late in taking what it
		 * was sent.
		 */
		nanosleep(&(struct timespec){.tv_nsec = ENTER_PAUSE_NSEC}, NULL);
	}
	if (n < 0)
		return (int)n;
	return result.error == ESTALE || result.error == ENOTCONN ? -(int)result.error : 0;
}

/*
 * Which inspection each process is for, so that its end can be told, however it comes; and for which
 * session it is, since brokers that ask and die leave it to the next to know that.
 */
struct inspectors {
	struct {
		pid_t pid;
		uint64_t inspection, session;
	} running[INSPECTORS_MAX];
	unsigned n;
};

static void
tell_ended(int socket_fd, uint64_t inspection)
{
	struct binder_result result = {.inspection = inspection, .ended = INSPECTION_ENDED};

	/* One that cannot be told stays paid for until this binder ends. */
	(void)msg_send(socket_fd, &result, sizeof(result), NULL, 0, 0);
}

/* As the reply to its mark, by which a broker knows that it has heard of everything. */
static void
tell_all(const struct inspectors *all, int socket_fd)
{
	for (unsigned i = 0; i < all->n; i++) {
		struct binder_result result = {
			.inspection = all->running[i].inspection,
			.object = all->running[i].session,
			.ended = INSPECTION_GOES_ON,
		};

		(void)msg_send(socket_fd, &result, sizeof(result), NULL, 0, 0);
	}
}

/* Its session has ended before it. One that is over was told, and the broker did not know yet. */
static void
move_to(struct inspectors *all, uint64_t inspection, uint64_t session)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->running[i].inspection == inspection)
			all->running[i].session = session;
}

/*
 * The broker charges an inspection to who asked for it, until its process has ended: it may hang
 * for as long as a client's file system likes.
 */
static void
binder_reap(struct inspectors *all, int socket_fd)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (unsigned i = 0; i < all->n; i++)
			if (all->running[i].pid == pid) {
				tell_ended(socket_fd, all->running[i].inspection);
				all->running[i] = all->running[--all->n];
				break;
			}
}

/*
 * The broker keeps to a lower bound, so the table is full only if it does not. What cannot be started
 * has ended, and is told so, since the client waits.
 */
static void
binder_inspect(const struct boot *boot, struct inspectors *all, int socket_fd,
	const struct binder_job *job, int client)
{
	pid_t pid = -EBUSY;

	if (client < 0) {
		move_to(all, job->inspection, job->object);
		return;
	}
	if (all->n < INSPECTORS_MAX)
		pid = inspector_start(boot, socket_fd, client, job->inspection);
	if (pid < 0) {
		tell_ended(socket_fd, job->inspection);
		return;
	}
	all->running[all->n].pid = pid;
	all->running[all->n].session = job->object;
	all->running[all->n++].inspection = job->inspection;
}

/* Only there so that the signal interrupts a wait; what has ended is found by waitpid(2). */
static void
on_child(int signal)
{
}

/* The end of an inspector interrupts the wait for jobs, and nothing else: not a bind(2). */
static int
watch_children(sigset_t *ret_waiting)
{
	const struct sigaction child = {.sa_handler = on_child};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, ret_waiting) < 0 || sigaction(SIGCHLD, &child, NULL) < 0)
		return -errno;
	sigdelset(ret_waiting, SIGCHLD);
	return 0;
}

/*
 * Ends with an error at a record of another length: who sends that is no broker of ours. Each round
 * drops the client's socket, which an inspector has by then.
 */
static int
binder_loop(const struct boot *boot, int socket_fd)
{
	struct inspectors inspectors = {};
	sigset_t waiting;
	int r = watch_children(&waiting);

	while (r == 0) {
		struct pollfd p = {.fd = socket_fd, .events = POLLIN};
		cleanup_close int client = -1;
		struct binder_job job;
		size_t n_fds = 0;
		ssize_t n;

		binder_reap(&inspectors, socket_fd);
		if (ppoll(&p, 1, NULL, &waiting) < 0)
			continue;
		n = msg_receive(socket_fd, &job, sizeof(job), &client, 1, &n_fds, 0);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		if (n != sizeof(job))
			r = -EBADMSG;
		else if (job.inspection)
			binder_inspect(boot, &inspectors, socket_fd, &job, client);
		else {
			if (!job.socket_type)
				tell_all(&inspectors, socket_fd);
			r = binder_answer(socket_fd, &job);
		}
	}
	return r;
}

/*
 * The directory is entered with privilege and everything else is done without. It is tied first, as
 * entering may wait, and again by confine_drop(), as a change of uid unties. The modes of sockets
 * are the broker's matter, so that no umask takes part.
 */
static int
binder_main(const struct boot *boot, const char *mountpoint, int socket_fd)
{
	pid_t parent = getppid();
	int r;

	r = confine_tie(parent);
	if (r == 0)
		r = binder_enter(boot, mountpoint);
	if (r < 0) {
		log_message(LOG_ERR, "binder: cannot enter the hidden directory of %s: %s",
			mountpoint, strerror(-r));
		return 1;
	}
	r = confine_drop(boot, parent);
	if (r < 0) {
		log_message(LOG_ERR, "binder: cannot drop privileges: %s", strerror(-r));
		return 1;
	}
	umask(0);
	r = binder_loop(boot, socket_fd);
	/* An end of the other side is the normal end of this one. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		return 0;
	log_message(LOG_INFO, "binder: %s", strerror(-r));
	return 1;
}

/*
 * A process that waits on the mount and has /dev/fuse keeps the connection open while it waits, so
 * that nothing would ever end the wait: everything but the one socket is closed before anything is
 * looked up there.
 */
static void __attribute__((noreturn))
run(const struct boot *boot, const char *mountpoint, int socket_fd)
{
	child_reset_signals();
	confine_title(boot, "capfs-binder");
	/* One that cannot be sure of what it has open must not go near the mount. */
	if (child_arrange(&socket_fd, 1, NULL, 0) < 0)
		_exit(1);
	_exit(binder_main(boot, mountpoint, STDERR_FILENO + 1));
}

pid_t
binder_start(const struct boot *boot, const char *mountpoint, int *ret_fd)
{
	pid_t pid;
	int fd;

	pid = child_fork(SOCK_SEQPACKET, &fd);
	if (pid == 0)
		run(boot, mountpoint, fd);
	if (pid > 0)
		*ret_fd = fd;
	return pid;
}
