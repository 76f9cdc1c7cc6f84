/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/keeper/keeper.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/keeper/children.h"
#include "capfsd/keeper/mount.h"
#include "capfsd/messages.h"
#include "capfsd/mounts.h"

#define STOP_MSEC 3000
#define HOLDERS_MAX 5
#define HOLDERS_WINDOW_MSEC 10000
#define BINDER_PAUSE_MSEC 100
#define BINDER_PAUSE_MAX_MSEC 2000
#define BINDER_GOOD_MSEC 5000

#define GIVING_UP LOG_FIELDS({"MESSAGE_ID", MESSAGE_GIVING_UP})

struct keeper {
	struct boot boot;
	struct mount mount;
	int lock_fd;
	int activation_fd;
	int fuse_fd; /* a duplicate: lets a new holder go on where a dead one was */
	int signal_fd;
	int mounts_fd; /* tells when mounts have changed */
	int peer_fd;   /* to the broker; hung up when neither holder nor broker is left */
	pid_t holder;  /* 0: none is running */
	pid_t binder;
	bool ready; /* systemd has been told */
	bool done;
	int exit_status;
	uint64_t stop_at;   /* when the broker's time to stop ends; 0: not stopping */
	uint64_t binder_at; /* when the next binder is due; 0: one is running */
	uint64_t binder_since;
	unsigned binder_pause_msec;
	uint64_t holders_at[HOLDERS_MAX];
	unsigned n_holders;
};

static uint64_t
now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
keeper_end(struct keeper *k, int exit_status)
{
	k->done = true;
	k->exit_status = exit_status;
}

/* Starts a binder; *RET_FD is the broker's end of the pair. */
static int
start_binder(struct keeper *k, int *ret_fd)
{
	cleanup_close int theirs = -1, brokers = -1;
	int pair[2], r;

	r = fd_socketpair(SOCK_SEQPACKET, pair);
	if (r < 0)
		return error_trace(r);
	theirs = pair[0];
	brokers = pair[1];
	r = children_start_binder(&k->boot, k->mount.path, theirs);
	if (r < 0)
		return error_trace(r);
	k->binder = r;
	k->binder_at = 0;
	k->binder_since = now_msec();
	*ret_fd = take_fd(brokers);
	return 0;
}

/* A holder needs new pairs, and a binder that knows the other end of one. */
static int
start_holder(struct keeper *k)
{
	cleanup_close int ours = -1, theirs = -1, binder = -1;
	struct children_fds fds = {
		.fuse = k->fuse_fd, .lock = k->lock_fd, .activation = k->activation_fd};
	int pair[2], r;

	r = start_binder(k, &binder);
	if (r < 0)
		return r;
	r = fd_socketpair(SOCK_SEQPACKET | SOCK_NONBLOCK, pair);
	if (r < 0)
		return error_trace(r);
	ours = pair[0];
	theirs = pair[1];
	fds.keeper = theirs;
	fds.binder = binder;
	r = children_start_holder(&k->boot, &fds);
	if (r < 0)
		return error_trace(r);
	k->holder = r;
	fd_close(k->peer_fd);
	k->peer_fd = take_fd(ours);
	k->holders_at[k->n_holders++ % HOLDERS_MAX] = now_msec();
	return 0;
}

/* Another binder for the broker that is there. */
static int
replace_binder(struct keeper *k)
{
	struct keeper_record record = {.type = KEEPER_BINDER};
	cleanup_close int fd = -1;
	ssize_t n;
	int r = start_binder(k, &fd);

	if (r < 0)
		return r;
	n = msg_send(k->peer_fd, &record, sizeof(record), &fd, 1, MSG_DONTWAIT);
	/* Without its socket it ends at once, and is tried again later. */
	if (n < 0)
		log_message(LOG_WARNING, "the new binder cannot be handed to the broker: %s",
			strerror((int)-n));
	return 0;
}

static void
begin_stop(struct keeper *k)
{
	struct keeper_record record = {.type = KEEPER_STOP};

	if (k->stop_at)
		return;
	sd_notify(0, "STOPPING=1");
	k->stop_at = now_msec() + STOP_MSEC;
	if (msg_send(k->peer_fd, &record, sizeof(record), NULL, 0, MSG_DONTWAIT) < 0)
		k->stop_at = now_msec();
}

static void
on_binder_end(struct keeper *k, int status)
{
	bool good = now_msec() - k->binder_since >= BINDER_GOOD_MSEC;

	k->binder = 0;
	if (k->stop_at || !k->holder)
		return;
	k->binder_pause_msec = good ? 0 : k->binder_pause_msec * 2 + BINDER_PAUSE_MSEC;
	if (k->binder_pause_msec > BINDER_PAUSE_MAX_MSEC)
		k->binder_pause_msec = BINDER_PAUSE_MAX_MSEC;
	k->binder_at = now_msec() + k->binder_pause_msec;
	if (WIFSIGNALED(status))
		log_message(LOG_WARNING, "the binder was ended by signal %d, starting another",
			WTERMSIG(status));
	else
		/* With 0 it saw the other end go, which is told elsewhere. */
		log_message(WEXITSTATUS(status) == 0 ? LOG_DEBUG : LOG_WARNING,
			"the binder ended with status %d, starting another",
			WEXITSTATUS(status));
}

static void
log_unmounted(const struct keeper *k)
{
	log_event(LOG_NOTICE, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UNMOUNTED}), "%s was unmounted",
		k->mount.path);
}

/* Does the holder's status end the daemon? The broker has logged why. */
static bool
is_final(struct keeper *k, int status)
{
	if (!WIFEXITED(status))
		return false;
	switch (WEXITSTATUS(status)) {
	case BROKER_EXIT_STOPPED:
		keeper_end(k, 0);
		return true;
	case BROKER_EXIT_UNMOUNTED:
		log_unmounted(k);
		keeper_end(k, 0);
		return true;
	case BROKER_EXIT_REFUSED:
		keeper_end(k, 1);
		return true;
	default:
		return false;
	}
}

/*
 * Two brokers must never write one store: the pair hangs up when the last of holder and broker has
 * given its table up, which the kernel does behind the last of their writes.
 */
static bool
wait_for_table(const struct keeper *k)
{
	uint64_t until = now_msec() + STOP_MSEC;
	struct pollfd p = {.fd = k->peer_fd};

	for (uint64_t now; (now = now_msec()) < until;)
		if (poll(&p, 1, (int)(until - now)) > 0 && (p.revents & (POLLHUP | POLLERR)))
			return true;
	return false;
}

static void
on_holder_end(struct keeper *k, int status)
{
	unsigned oldest = k->n_holders % HOLDERS_MAX;
	bool was_ended = WIFSIGNALED(status);
	int r;

	k->holder = 0;
	if (is_final(k, status) || k->stop_at) {
		k->done = true;
		return;
	}
	log_event(LOG_WARNING,
		LOG_FIELDS({"MESSAGE_ID", MESSAGE_HOLDER_LOST},
			{was_ended ? "CAPFS_SIGNAL" : "CAPFS_STATUS", NULL,
				(uint64_t)(was_ended ? WTERMSIG(status) : WEXITSTATUS(status))}),
		"the holder %s %d: connections are lost, starting another",
		was_ended ? "was ended by signal" : "ended with status",
		was_ended ? WTERMSIG(status) : WEXITSTATUS(status));
	if (k->n_holders >= HOLDERS_MAX &&
		now_msec() - k->holders_at[oldest] < HOLDERS_WINDOW_MSEC) {
		log_event(LOG_CRIT, GIVING_UP, "%d holders in %d seconds have ended, giving up", HOLDERS_MAX,
			HOLDERS_WINDOW_MSEC / 1000);
		return keeper_end(k, 1);
	}
	if (!wait_for_table(k)) {
		log_event(LOG_CRIT, GIVING_UP, "the last broker does not end, giving up");
		return keeper_end(k, 1);
	}
	/* The old binder's pair is gone with the old table; it ends by itself. */
	k->binder = 0;
	r = start_holder(k);
	if (r < 0) {
		log_event(LOG_CRIT, GIVING_UP, "cannot start another holder: %s", strerror(-r));
		keeper_end(k, 1);
	}
}

static void
reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while (!k->done && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->holder)
			on_holder_end(k, status);
		else if (pid == k->binder)
			on_binder_end(k, status);
		/* Others are brokers whose holder has died, and binders of before. */
	}
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (!k->done && read(k->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(k);
		else
			begin_stop(k);
	}
}

/* The only thing that the broker can say. Everything else from it is ignored. */
static void
on_peer(struct keeper *k)
{
	struct keeper_record record;
	size_t n_fds;
	ssize_t n = msg_receive(k->peer_fd, &record, sizeof(record), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (n != sizeof(record) || record.type != KEEPER_READY || k->ready)
		return;
	k->ready = true;
	log_message(LOG_DEBUG, "serving %s", k->mount.path);
	sd_notifyf(0, "READY=1\nSTATUS=Serving %s", k->mount.path);
}

/* How long poll(2) may sleep; -1: for ever. */
static int
next_timeout(const struct keeper *k)
{
	uint64_t now = now_msec(), at = k->stop_at ? k->stop_at : k->binder_at;

	if (!at)
		return -1;
	return at > now ? (int)(at - now) : 0;
}

static void
on_time(struct keeper *k)
{
	uint64_t now = now_msec();

	if (k->stop_at && now >= k->stop_at) {
		log_message(LOG_WARNING, "the broker does not stop, ending it");
		keeper_end(k, 0);
	} else if (!k->stop_at && k->binder_at && now >= k->binder_at && replace_binder(k) < 0) {
		k->binder_at = now + BINDER_PAUSE_MAX_MSEC;
	}
}

/* Some mount has come or gone. Without ours nobody can reach us any more. */
static void
on_mounts(struct keeper *k)
{
	if (k->stop_at || mounts_have(k->mount.device))
		return;
	log_unmounted(k);
	begin_stop(k);
}

static int
keeper_loop(struct keeper *k)
{
	while (!k->done) {
		struct pollfd p[] = {
			{.fd = k->signal_fd, .events = POLLIN},
			/* While no holder is there, only its end counts. */
			{.fd = k->holder ? k->peer_fd : -1, .events = POLLIN},
			{.fd = k->mounts_fd, .events = POLLPRI},
		};

		if (poll(p, 3, next_timeout(k)) < 0 && errno != EINTR)
			return error_trace(-errno);
		if (p[1].revents & POLLIN)
			on_peer(k);
		if (p[2].revents & POLLPRI)
			on_mounts(k);
		if (p[0].revents & POLLIN)
			on_signal(k);
		else if (p[1].revents & POLLHUP)
			/* The holder is about to end: wait for that without spinning. */
			poll(p, 1, 100);
		if (!k->done)
			on_time(k);
	}
	return k->exit_status;
}

/* From here on signals are read, also those that come while the mount is being made. */
static int
keeper_signals(struct keeper *k)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signal_fd < 0 ? -errno : 0;
}

static int
keeper_identify(struct boot *boot)
{
	uint64_t random[3];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return error_trace(-EIO);
	boot->instance = random[0];
	snprintf(boot->bind_dir, sizeof(boot->bind_dir), ".bind-%016" PRIx64 "%016" PRIx64,
		random[1], random[2]);
	return 0;
}

static int
keeper_start(struct keeper *k)
{
	int r;

	r = keeper_signals(k);
	if (r == 0)
		r = keeper_identify(&k->boot);
	if (r < 0) {
		log_message(LOG_ERR, "cannot start: %s", strerror(-r));
		return r;
	}
	/* Brokers whose holder has died become our children, so that no zombie stays. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = mount_make(&k->mount, &k->fuse_fd);
	if (r == 0)
		r = mount_answer_init(k->fuse_fd, &k->boot.init);
	if (r < 0)
		return r;
	snprintf(k->boot.device, sizeof(k->boot.device), "%s", k->mount.device);
	k->mounts_fd = mounts_watch();
	r = k->mounts_fd < 0 ? k->mounts_fd : start_holder(k);
	if (r < 0)
		log_message(LOG_ERR, "cannot start the holder: %s", strerror(-r));
	return r;
}

/*
 * The end, in this order: nobody serves any more, the name is taken away, and with the last
 * descriptor the kernel ends whatever still waits, the binder's calls among them.
 */
static void
keeper_deinit(struct keeper *k)
{
	if (k->holder) {
		kill(k->holder, SIGKILL);
		while (waitpid(k->holder, NULL, 0) < 0 && errno == EINTR)
			;
		wait_for_table(k);
	}
	if (k->binder)
		kill(k->binder, SIGKILL);
	mount_end(&k->mount);
	fd_close(k->fuse_fd);
	if (k->binder)
		while (waitpid(k->binder, NULL, 0) < 0 && errno == EINTR)
			;
	fd_close(k->peer_fd);
	fd_close(k->signal_fd);
	fd_close(k->mounts_fd);
}

int
keeper_run(const struct keeper_config *config)
{
	struct keeper k = {
		.boot = config->boot,
		.mount.privileged = config->boot.privileged,
		.lock_fd = config->lock_fd,
		.activation_fd = config->activation_fd,
		.fuse_fd = -1,
		.signal_fd = -1,
		.mounts_fd = -1,
		.peer_fd = -1,
		.exit_status = 1,
	};
	int r;

	memcpy(k.mount.path, config->mountpoint, sizeof(k.mount.path));
	r = keeper_start(&k);

	if (r == 0)
		r = keeper_loop(&k);
	keeper_deinit(&k);
	return r < 0 ? 1 : r;
}
