/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whatever the keeper is woken by: signals, records of its children, mounts that change, and time.
 * It owns the descriptors of signals and mounts, and the times when something is due. Nothing here
 * waits but the one poll(2), as systemd's watchdog looks at this process; and nothing here trusts a
 * record for more than its type and generation.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/msg.h"
#include "capfsd/keeper/state.h"
#include "capfsd/start/fdstore.h"

void
keeper_end(struct keeper *k, int exit_status)
{
	k->done = true;
	k->exit_status = exit_status;
}

/* Without waiting: a broker that hangs does not read, and the keeper is who ends it then. */
int
keeper_tell(struct keeper *k, enum keeper_type type, int fd)
{
	struct keeper_record record = {.type = type, .generation = k->boot.generation};
	ssize_t n = msg_send(k->held.peer_fd, &record, sizeof(record), &fd, fd >= 0, MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

/*
 * Asks the broker to shut listeners and connections down and to end; the end of the holder, or the
 * time that it is given here, ends the loop. In an upgrade nobody can be asked, so that has to come
 * to its end first.
 */
void
keeper_begin_stop(struct keeper *k)
{
	if (keeper_is_stopping(k) || upgrade_defers_stop(&k->upgrade))
		return;
	sd_notify(0, "STOPPING=1");
	/* Between two holders there is nobody who could stop anything. */
	if (!k->children[CHILD_HOLDER].pid)
		return keeper_end(k, 0);
	k->at[ALARM_BINDER] = 0;
	k->at[ALARM_STOP] = clock_msec(CLOCK_MONOTONIC) + KEEPER_STOP_MSEC;
	/* While there still is a broker that can reply to the call in which it may be waiting. */
	if (k->leaving)
		child_signal(&k->children[CHILD_BINDER], SIGKILL);
	/* Whoever cannot be told will not end by itself: its time is over at once. */
	if (keeper_tell(k, k->leaving ? KEEPER_PAUSE : KEEPER_STOP, -1) < 0)
		k->at[ALARM_STOP] = clock_msec(CLOCK_MONOTONIC);
}

/*
 * For another daemon that systemd starts at once, with all that it keeps: nothing is shut down.
 * Without such a store everything would be lost, so that it is the end as any other, in which
 * clients are told.
 */
static void
begin_leave(struct keeper *k)
{
	k->leaving = k->leaving || (k->boot.store_max && k->ready && !keeper_is_stopping(k));
	keeper_begin_stop(k);
}

static void
begin_upgrade(struct keeper *k)
{
	upgrade_begin(&k->upgrade,
		k->ready && !keeper_is_stopping(k) && k->children[CHILD_HOLDER].pid);
}

static const struct {
	int signal;
	void (*obey)(struct keeper *k);
} signals[] = {
	{SIGCHLD, family_reap},
	{SIGHUP, begin_upgrade},
	{SIGUSR2, begin_leave},
	{SIGTERM, keeper_begin_stop},
	{SIGINT, keeper_begin_stop},
	{SIGQUIT, keeper_begin_stop},
};
#define N_SIGNALS (sizeof(signals) / sizeof(signals[0]))

/*
 * Twice as often as systemd asks for, so that one beat may be late. SIGCHLD is set to its default,
 * as whoever started us may have ignored it: the kernel would then reap our children, and no status
 * would be left to read. SIGPIPE is ignored, since a peer that is gone is told by an error where it
 * is written to.
 */
int
keeper_watch(struct keeper *k)
{
	uint64_t usec = 0;
	sigset_t set;

	if (sd_watchdog_enabled(0, &usec) > 0 && usec >= 2000) {
		k->beat_msec = usec / 2000;
		k->at[ALARM_BEAT] = clock_msec(CLOCK_MONOTONIC);
	}
	sigemptyset(&set);
	for (size_t i = 0; i < N_SIGNALS; i++)
		sigaddset(&set, signals[i].signal);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signal_fd < 0 ? -errno : 0;
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (!k->done && read(k->signal_fd, &info, sizeof(info)) == sizeof(info))
		for (size_t i = 0; i < N_SIGNALS; i++)
			if (signals[i].signal == (int)info.ssi_signo)
				signals[i].obey(k);
}

/*
 * That systemd does not keep the mount is told and not more: this daemon serves as well, only the
 * next one will not find its mount.
 */
void
keeper_say_ready(struct keeper *k)
{
	/* Not before there is a state: who finds the one will look for the other. */
	int r = k->boot.store_max && !k->boot.resumed && !k->ready
		? fdstore_keep_mount(k->mount.path, k->mount.device, &k->boot, k->held.fuse_fd)
		: 0;

	if (r < 0)
		log_message(LOG_WARNING, "systemd does not keep the mount: %s", strerror(-r));
	k->ready = true;
	sd_notifyf(0, "READY=1\nSTATUS=Serving %s (%s)", k->mount.path, PACKAGE_VERSION);
}

/* The broker serves the tree. */
static void
on_ready(struct keeper *k, uint32_t generation)
{
	upgrade_on_ready(&k->upgrade, generation);
	/* Nobody has been asked about what becomes of it from here on. */
	k->boot.discard_damaged = 0;
	if (k->ready)
		return;
	log_message(LOG_DEBUG, "serving %s", k->mount.path);
	keeper_say_ready(k);
}

/* The holder has no broker, and asks what is next. When the daemon leaves, that is all. */
static void
on_alone(struct keeper *k, uint32_t generation)
{
	if (k->leaving)
		keeper_end(k, 0);
	else
		upgrade_on_alone(&k->upgrade, generation);
}

/* All that broker and holder can say, without descriptors, which are not received; more is ignored. */
static const struct {
	enum keeper_type type;
	void (*obey)(struct keeper *k, uint32_t generation);
} peer_records[] = {
	{KEEPER_READY, on_ready},
	{KEEPER_ALONE, on_alone},
	{KEEPER_WANT_SPAWNER, family_want_spawner},
};

/*
 * One record in each round, so that a broker that sends without pause delays neither signals nor
 * the watchdog.
 */
static void
on_peer(struct keeper *k)
{
	struct keeper_record record;
	size_t n_fds;
	ssize_t n = msg_receive(k->held.peer_fd, &record, sizeof(record), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (n != sizeof(record))
		return;
	for (size_t i = 0; i < sizeof(peer_records) / sizeof(peer_records[0]); i++)
		if (peer_records[i].type == record.type)
			peer_records[i].obey(k, record.generation);
}

/*
 * Some mount has come or gone. Without ours nobody can reach us any more, and the daemon ends in
 * order, with what clients have been given shut down.
 */
void
keeper_look_at_mount(struct keeper *k)
{
	if (keeper_is_stopping(k) || mount_is_there(&k->mount))
		return;
	mount_log_gone(&k->mount);
	keeper_begin_stop(k);
}

static void
beat(struct keeper *k)
{
	sd_notify(0, "WATCHDOG=1");
	k->at[ALARM_BEAT] = clock_msec(CLOCK_MONOTONIC) + k->beat_msec;
}

/*
 * The holder ends a broker that hangs, and the next one reads our word; or it leaves one that SIGKILL does
 * not end. Its own end is not waited for here after that: keeper_deinit() kills it.
 */
static void
stop_late(struct keeper *k)
{
	if (k->pressed || !k->children[CHILD_HOLDER].pid)
		return keeper_end(k, 0);
	log_message(LOG_WARNING, "the broker does not stop, ending it");
	k->pressed = true;
	k->exit_status = 0;
	k->at[ALARM_STOP] = clock_msec(CLOCK_MONOTONIC) + 3 * KEEPER_STOP_MSEC;
	child_signal(&k->children[CHILD_HOLDER], HOLDER_SIGNAL_HANGS);
	(void)keeper_tell(k, k->leaving ? KEEPER_PAUSE : KEEPER_STOP, -1);
}

static void (*const alarms[ALARM_N])(struct keeper *k) = {
	[ALARM_BEAT] = beat,
	[ALARM_STOP] = stop_late,
	[ALARM_HOLDER] = family_next_holder,
	[ALARM_BINDER] = family_next_binder,
	[ALARM_SPAWNER] = family_give_spawner,
	[ALARM_LOOK] = family_look_at_binder,
};

static void
on_time(struct keeper *k)
{
	for (int i = 0; i < ALARM_N && !k->done; i++)
		if (k->at[i] && clock_msec(CLOCK_MONOTONIC) >= k->at[i])
			alarms[i](k);
	if (!k->done)
		upgrade_on_time(&k->upgrade);
}

/* Records before signals: what a child has said before its end is known when that is reaped. */
int
keeper_loop(struct keeper *k)
{
	while (!k->done) {
		struct pollfd p[] = {
			{.fd = k->signal_fd, .events = POLLIN},
			/* While no holder is there, only its end counts. */
			{.fd = k->children[CHILD_HOLDER].pid ? k->held.peer_fd : -1, .events = POLLIN},
			{.fd = k->mounts_fd, .events = POLLPRI},
		};

		if (poll(p, 3, clock_until(k->at, ALARM_N, k->upgrade.deadline_msec)) < 0 && errno != EINTR)
			return error_trace(-errno);
		if (p[1].revents & POLLIN)
			on_peer(k);
		if (p[2].revents & POLLPRI)
			keeper_look_at_mount(k);
		if (p[0].revents & POLLIN)
			on_signal(k);
		else if (p[1].revents & POLLHUP)
			/* The holder is about to end: wait for that without spinning. */
			poll(p, 1, 100);
		on_time(k);
	}
	return k->exit_status;
}
