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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/binder/inspector.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/confine.h"
#include "capfsd/process/filter.h"
#include "capfsd/process/records.h"

/*
 * Five seconds together. A look-up waits for a broker by itself: what fails is one whose broker
 * died meanwhile.
 */
#define ENTER_TRIES 500
#define ENTER_PAUSE_NSEC 10000000
#define INSPECTORS_MAX 128 /* at a time, most of them hanging then */

/*
 * One step down the mount, to NAME from DIR. The broker that serves it may be anybody's by now, and
 * this process is still root: no symbolic link is followed, and what is not of our own mount is not
 * entered.
 */
static int
enter_directory(const struct boot *boot, int dir, const char *name)
{
	cleanup_close int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char device[sizeof(boot->device)];
	struct statx stx;

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) < 0)
		return -errno;
	snprintf(device, sizeof(device), "%u:%u", stx.stx_dev_major, stx.stx_dev_minor);
	if (strcmp(device, boot->device) != 0)
		return -EXDEV;
	return fchdir(fd) < 0 ? -errno : 0;
}

/*
 * Goes into the hidden directory, before privileges are dropped: the root session's mode may shut
 * the daemon's own user out. Waits inside openat(2) while no broker is up yet.
 *
 * As far as we may, by a mount of our own that is attached nowhere: what is bound below that does
 * not keep the visible one busy, so that umount(8) succeeds when nobody uses it. It goes with this
 * process.
 */
static int
binder_enter(const struct boot *boot, const char *mountpoint)
{
	cleanup_close int own = (int)syscall(SYS_open_tree, AT_FDCWD, mountpoint,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
	int r = 0;

	for (unsigned i = 0; i < ENTER_TRIES; i++) {
		r = own < 0	      ? enter_directory(boot, AT_FDCWD, mountpoint)
		    : fchdir(own) < 0 ? -errno
				      : 0;
		if (r == 0)
			r = enter_directory(boot, AT_FDCWD, boot->bind_dir);
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

	/* It has dropped what was sent with no inspection. */
	if (!inspection)
		return;
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
 * A record with descriptors, which the binder itself never takes: the last close of one may wait
 * for whoever made it, and a broker that somebody has taken over may send any. It must be of the
 * right kind to be looked into, too. The broker keeps to a lower bound, so the table is full only if
 * it does not: then the next binder begins with an empty one.
 */
static int
binder_inspect(const struct boot *boot, struct inspectors *all, int socket_fd, uint64_t inspection,
	uint64_t session)
{
	pid_t pid;

	if (all->n == INSPECTORS_MAX)
		return -EBUSY;
	pid = inspector_start(boot, socket_fd, inspection);
	if (pid < 0)
		return pid;
	all->running[all->n].pid = pid;
	all->running[all->n].session = session;
	all->running[all->n++].inspection = inspection;
	return 0;
}

/* Only there so that a signal interrupts a wait: what has ended is found by waitpid(2). */
static void
on_signal(int signal)
{
}

/* The end of an inspector, or the keeper's look, interrupts the wait for jobs, and nothing else:
 * not a bind(2). */
static int
watch_signals(sigset_t *ret_waiting)
{
	static const int signals[] = {SIGCHLD, HOLDER_SIGNAL_TURN};
	const struct sigaction handler = {.sa_handler = on_signal};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&set, signals[i]);
		if (sigaction(signals[i], &handler, NULL) < 0)
			return -errno;
	}
	if (sigprocmask(SIG_BLOCK, &set, ret_waiting) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigdelset(ret_waiting, signals[i]);
	return 0;
}

/*
 * The next record, which is looked at before it is taken. Ends with an error at one of another
 * length: who sends that is no broker of ours. Returns: 0; 1, at the end; -errno.
 */
static int
binder_turn(const struct boot *boot, struct inspectors *inspectors, struct binder_page *page,
	int socket_fd)
{
	struct binder_job job;
	size_t n_fds = 0;
	ssize_t n =
		msg_receive(socket_fd, &job, sizeof(job), NULL, 0, &n_fds, MSG_PEEK | MSG_DONTWAIT);
	int r;

	if (n <= 0 && n_fds == 0)
		return n == -EAGAIN || n == -EINTR ? 0 : n < 0 ? (int)n : 1;
	if (n_fds > 0)
		return binder_inspect(boot, inspectors, socket_fd,
			n == sizeof(job) ? job.inspection : 0, n == sizeof(job) ? job.object : 0);
	if (n != sizeof(job) || recv(socket_fd, &job, sizeof(job), MSG_DONTWAIT) != sizeof(job))
		return -EBADMSG;
	if (job.inspection) {
		move_to(inspectors, job.inspection, job.object);
		return 0;
	}
	if (!job.socket_type)
		tell_all(inspectors, socket_fd);
	__atomic_store_n(&page->waits, 1, __ATOMIC_RELAXED);
	r = binder_answer(socket_fd, &job);
	__atomic_store_n(&page->waits, 0, __ATOMIC_RELAXED);
	return r;
}

static int
binder_loop(const struct boot *boot, struct binder_page *page, int socket_fd)
{
	struct inspectors inspectors = {};
	sigset_t waiting;
	int r = watch_signals(&waiting);

	__atomic_store_n(&page->waits, 0, __ATOMIC_RELAXED);
	while (r == 0) {
		struct pollfd p = {.fd = socket_fd, .events = POLLIN};

		__atomic_add_fetch(&page->turns, 1, __ATOMIC_RELAXED);
		binder_reap(&inspectors, socket_fd);
		if (ppoll(&p, 1, NULL, &waiting) > 0)
			r = binder_turn(boot, &inspectors, page, socket_fd);
	}
	return r;
}

/*
 * The directory is entered with privilege and everything else is done without. It is tied first, as
 * entering may wait, and again by confine_drop(), as a change of uid unties. The modes of sockets
 * are the broker's matter, so that no umask takes part.
 */
static int
binder_main(
	const struct boot *boot, const char *mountpoint, struct binder_page *page, int socket_fd)
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
	umask(0);
	r = confine_drop(boot, parent);
	if (r == 0)
		r = filter_binder();
	if (r < 0) {
		log_message(LOG_ERR, "binder: cannot drop privileges: %s", strerror(-r));
		return 1;
	}
	r = binder_loop(boot, page, socket_fd);
	/* An end of the other side is the normal end of this one. */
	if (r == 1 || r == -EPIPE || r == -ECONNRESET)
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
run(const struct boot *boot, const char *mountpoint, struct binder_page *page, int socket_fd)
{
	child_reset_signals();
	confine_title(boot, "capfs-binder");
	/* One that cannot be sure of what it has open must not go near the mount. */
	if (child_arrange(&socket_fd, 1, NULL, 0) < 0)
		_exit(1);
	_exit(binder_main(boot, mountpoint, page, STDERR_FILENO + 1));
}

/* Shared, and without a name: the binder has it by fork(2), and nobody can open it. */
int
binder_watch_init(struct binder_watch *w)
{
	w->page = mmap(
		NULL, sizeof(*w->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (w->page == MAP_FAILED)
		return -errno;
	watchdog_init(&w->watch);
	return 0;
}

uint64_t
binder_watch_msec(const struct binder_watch *w)
{
	return watch_at(&w->watch) / 1000 + 1;
}

bool
binder_turns(struct binder_watch *w, pid_t binder)
{
	return watchdog_look(&w->watch, __atomic_load_n(&w->page->turns, __ATOMIC_RELAXED),
		!__atomic_load_n(&w->page->waits, __ATOMIC_RELAXED), binder,
		clock_usec(CLOCK_MONOTONIC));
}

void
binder_log_end(int status)
{
	if (WIFSIGNALED(status))
		log_message(LOG_WARNING, "the binder was ended by signal %d, starting another",
			WTERMSIG(status));
	else
		/* With 0 it saw the other end go, which is told elsewhere. */
		log_message(WEXITSTATUS(status) == 0 ? LOG_DEBUG : LOG_WARNING,
			"the binder ended with status %d, starting another", WEXITSTATUS(status));
}

pid_t
binder_start(
	const struct boot *boot, const char *mountpoint, struct binder_watch *watch, int *ret_fd)
{
	pid_t pid;
	int fd;

	watchdog_begin(&watch->watch, clock_usec(CLOCK_MONOTONIC));
	__atomic_store_n(&watch->page->waits, 1, __ATOMIC_RELAXED); /* until it has entered */
	pid = child_fork(SOCK_SEQPACKET, &fd);
	if (pid == 0)
		run(boot, mountpoint, watch->page, fd);
	if (pid > 0)
		*ret_fd = fd;
	return pid;
}
