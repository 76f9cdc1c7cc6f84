/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/process/confine.h"
#include "capfsd/start/fdstore.h"
#include "capfsd/process/succession.h"
#include "capfsd/keeper/children.h"
#include "capfsd/keeper/private.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/mounts.h"

#define BINDER_MSEC 1000

#define GIVING_UP LOG_FIELDS({"MESSAGE_ID", MESSAGE_GIVING_UP})

uint64_t
keeper_now_msec(void)
{
	return clock_usec(CLOCK_MONOTONIC) / 1000;
}

void
keeper_end(struct keeper *k, int exit_status)
{
	k->done = true;
	k->exit_status = exit_status;
}

int
keeper_tell(struct keeper *k, enum keeper_type type, int fd)
{
	struct keeper_record record = {.type = type, .generation = k->boot.generation};
	ssize_t n = msg_send(k->peer_fd, &record, sizeof(record), &fd, fd >= 0, MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

void
keeper_begin_stop(struct keeper *k)
{
	if (k->stop_at || upgrade_defers_stop(k))
		return;
	sd_notify(0, "STOPPING=1");
	k->stop_at = keeper_now_msec() + STOP_MSEC;
	/* While there is a broker to answer what it may be waiting for. */
	if (k->leaving && k->binder)
		kill(k->binder, SIGKILL);
	if (keeper_tell(k, k->leaving ? KEEPER_PAUSE : KEEPER_STOP, -1) < 0)
		k->stop_at = keeper_now_msec();
}

/*
 * For another daemon that systemd starts at once, with all that it keeps: nothing is shut down. Without
 * such a store it is the end.
 */
static void
begin_leave(struct keeper *k)
{
	k->leaving = k->leaving || (k->boot.store_max && k->ready && !k->stop_at);
	keeper_begin_stop(k);
}

void
keeper_log_unmounted(const struct keeper *k)
{
	log_event(LOG_NOTICE, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UNMOUNTED}), "%s was unmounted",
		k->mount.path);
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (!k->done && read(k->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			family_reap(k);
		else if (info.ssi_signo == SIGHUP)
			upgrade_begin(k);
		else if (info.ssi_signo == SIGUSR2)
			begin_leave(k);
		else
			keeper_begin_stop(k);
	}
}

/* Not before there is a state: who finds the one will look for the other. */
static void
keep_mount(struct keeper *k)
{
	struct succession succession = {.role = SUCCESSION_MOUNT};
	int r;

	memcpy(succession.mountpoint, k->mount.path, sizeof(succession.mountpoint));
	memcpy(succession.device, k->mount.device, sizeof(succession.device));
	r = fdstore_keep_mount(&succession, &k->boot, k->fuse_fd);
	if (r < 0)
		log_message(LOG_WARNING, "systemd does not keep the mount: %s", strerror(-r));
}

static void
say_ready(struct keeper *k)
{
	if (k->boot.store_max && !k->boot.resumed && !k->ready)
		keep_mount(k);
	k->ready = true;
	sd_notifyf(0, "READY=1\nSTATUS=Serving %s (%s)", k->mount.path, PACKAGE_VERSION);
}

/* All that broker and holder can say. Everything else from them is ignored. */
static void
on_peer(struct keeper *k)
{
	struct keeper_record record;
	size_t n_fds;
	ssize_t n = msg_receive(k->peer_fd, &record, sizeof(record), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (n != sizeof(record))
		return;
	if (k->leaving && record.type == KEEPER_ALONE)
		return keeper_end(k, 0);
	watchdog_on_record(k, &record);
	upgrade_on_record(k, &record);
	if (record.type != KEEPER_READY || k->ready)
		return;
	log_message(LOG_DEBUG, "serving %s", k->mount.path);
	say_ready(k);
}

/* How long poll(2) may sleep; -1: for ever. */
static int
next_timeout(const struct keeper *k)
{
	uint64_t now = keeper_now_msec(), at = k->stop_at;

	if (!at) {
		at = keeper_earlier(k->upgrade.until, watchdog_at(k));
		at = keeper_earlier(at, upgrade_lets_speak(k) ? k->binder_at : 0);
	}
	if (!at)
		return -1;
	return at > now ? (int)(at - now) : 0;
}

static void
on_time(struct keeper *k)
{
	uint64_t now = keeper_now_msec();

	watchdog_on_time(k);
	if (k->stop_at) {
		if (now < k->stop_at)
			return;
		log_message(LOG_WARNING, "the broker does not stop, ending it");
		return keeper_end(k, 0);
	}
	upgrade_on_time(k);
	if (k->binder_at && now >= k->binder_at && upgrade_lets_speak(k))
		family_replace_binder(k);
}

/* Some mount has come or gone. Without ours nobody can reach us any more. */
static void
on_mounts(struct keeper *k)
{
	if (k->stop_at || mounts_have(k->mount.device))
		return;
	keeper_log_unmounted(k);
	keeper_begin_stop(k);
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
	static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR2, SIGCHLD};
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

/*
 * What we are, and where what we are to become will be. Not asked again later: by then the file that
 * we run may have been replaced.
 */
static int
keeper_find_binary(struct keeper *k)
{
	ssize_t n = readlink("/proc/self/exe", k->binary, sizeof(k->binary) - 1);

	k->binary[n > 0 ? n : 0] = '\0';
	k->self_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	return n > 0 && k->self_fd >= 0 ? 0 : -errno;
}

/* The mount that an earlier daemon has left, with its open files. */
static void
take_mount(struct keeper *k, struct fdstore *stored)
{
	k->fuse_fd = take_fd(stored->fuse_fd);
	k->boot.init = stored->boot.init;
	k->boot.instance = stored->boot.instance;
	memcpy(k->boot.bind_dir, stored->boot.bind_dir, sizeof(k->boot.bind_dir));
	memcpy(k->mount.device, stored->succession.device, sizeof(k->mount.device));
	k->boot.resumed = true;
	log_message(LOG_NOTICE, "going on with the mount and %zu sockets of before",
		stored->n_sockets);
}

static int
make_mount(struct keeper *k)
{
	int r = mount_make(&k->mount, &k->fuse_fd);

	return r == 0 ? mount_answer_init(k->fuse_fd, &k->boot.init) : r;
}

static int
keeper_start(struct keeper *k, struct fdstore *stored)
{
	int r;

	r = keeper_signals(k);
	watchdog_init(k);
	if (r == 0)
		r = keeper_identify(&k->boot);
	if (r == 0)
		r = keeper_find_binary(k);
	if (r < 0) {
		log_message(LOG_ERR, "cannot start: %s", strerror(-r));
		return r;
	}
	/* Brokers whose holder has died become our children, so that no zombie stays. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (stored->found)
		take_mount(k, stored);
	else
		r = make_mount(k);
	if (r < 0)
		return r;
	snprintf(k->boot.device, sizeof(k->boot.device), "%s", k->mount.device);
	k->mounts_fd = mounts_watch();
	r = k->mounts_fd < 0 ? k->mounts_fd : family_start_holder(k, stored);
	/* They are the holder's now. */
	fdstore_deinit(stored, false);
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
	/* It may wait for a broker that is no more, and must not be waited for then. */
	if (k->leaving && k->binder) {
		kill(k->binder, SIGKILL);
		children_wait(k->binder, BINDER_MSEC);
		k->binder = 0;
	}
	if (k->holder) {
		kill(k->holder, SIGKILL);
		while (waitpid(k->holder, NULL, 0) < 0 && errno == EINTR)
			;
		family_wait_for_table(k);
	}
	if (k->binder)
		kill(k->binder, SIGKILL);
	if (k->boot.store_max && !k->leaving)
		fdstore_forget();
	if (!k->leaving)
		mount_end(&k->mount);
	fd_close(k->fuse_fd);
	if (k->binder)
		while (waitpid(k->binder, NULL, 0) < 0 && errno == EINTR)
			;
	fd_close(k->peer_fd);
	fd_close(k->signal_fd);
	fd_close(k->mounts_fd);
	fd_close(k->self_fd);
	fd_close(k->activation_fd);
	fd_close(k->state_fd);
	fd_close(k->lock_fd);
}

static void
keeper_init(struct keeper *k, const struct boot *boot, char *const *argv)
{
	*k = (struct keeper){
		.boot = *boot,
		.mount.privileged = boot->privileged,
		.upgrade.binary_fd = -1,
		.argv = argv,
		.self_fd = -1,
		.lock_fd = -1,
		.activation_fd = -1,
		.state_fd = -1,
		.fuse_fd = -1,
		.signal_fd = -1,
		.mounts_fd = -1,
		.peer_fd = -1,
		.exit_status = 1,
	};
}

int
keeper_run(const struct keeper_config *config)
{
	struct keeper k;
	int r;

	keeper_init(&k, &config->boot, config->argv);
	k.lock_fd = config->lock_fd;
	k.state_fd = config->state_fd;
	k.activation_fd = config->activation_fd;
	memcpy(k.mount.path, config->mountpoint, sizeof(k.mount.path));
	r = keeper_start(&k, config->stored);
	if (r == 0)
		r = keeper_loop(&k);
	keeper_deinit(&k);
	return r < 0 ? 1 : r;
}

/* What was there before execve(2) is ours again. Until it has succeeded, nothing is changed for good. */
static int
keeper_take_up(struct keeper *k, const struct succession *h)
{
	const int fds[] = {h->lock_fd, h->state_fd, h->fuse_fd, h->peer_fd, h->activation_fd};
	int r;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0 && fcntl(fds[i], F_GETFD) < 0)
			return -errno;
	k->lock_fd = h->lock_fd;
	k->state_fd = h->state_fd;
	k->fuse_fd = h->fuse_fd;
	k->peer_fd = h->peer_fd;
	k->activation_fd = h->activation_fd;
	k->holder = h->holder;
	k->binder = h->binder;
	memcpy(k->mount.path, h->mountpoint, sizeof(k->mount.path));
	memcpy(k->mount.device, h->device, sizeof(k->mount.device));
	r = keeper_signals(k);
	if (r == 0)
		r = keeper_find_binary(k);
	/* Not by the link: it names a file that may have been replaced again. */
	memcpy(k->binary, h->binary, sizeof(k->binary));
	k->mounts_fd = mounts_watch();
	return r < 0 ? r : k->mounts_fd < 0 ? k->mounts_fd : 0;
}

int
keeper_resume(int fd, int argc, char *argv[])
{
	static struct succession succession;
	static struct boot boot;
	struct keeper k;
	int r;

	r = succession_read(fd, SUCCESSION_KEEPER, &succession, &boot, NULL);
	if (r < 0) {
		log_message(LOG_ERR, "cannot take over: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	succession_log(&succession, &boot);
	keeper_init(&k, &boot, argv);
	r = keeper_take_up(&k, &succession);
	if (r < 0) {
		log_message(LOG_ERR, "cannot take over: %s, back to the old binary", strerror(-r));
		r = succession_exec(succession.old_fd, fd, SUCCESSION_KEEPER, argv);
		log_message(LOG_CRIT, "cannot go back: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	fd_close(fd);
	fd_close(succession.old_fd);
	confine_argv(&k.boot, argc, argv);
	prctl(PR_SET_NAME, "capfsd");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	log_event(LOG_NOTICE, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UPGRADED}),
		"upgraded: capfsd %s goes on", PACKAGE_VERSION);
	watchdog_init(&k);
	k.ping_at = keeper_now_msec();
	say_ready(&k);
	/* The binder is of the old binary: it ends when the broker has another. */
	k.binder = 0;
	k.binder_at = keeper_now_msec();
	family_reap(&k);
	on_mounts(&k);
	r = keeper_loop(&k);
	keeper_deinit(&k);
	return r < 0 ? 1 : r;
}
