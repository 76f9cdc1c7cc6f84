/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The live upgrade. The installed binary is tried on a copy of the state; the broker pauses between
 * two requests; the holder becomes the new binary, which starts a broker; when that is ready the
 * keeper becomes it too. Until then the old binary can be had back: it is kept open.
 *
 * Everything is asked of processes that may be broken, so each phase has its time. A last resort is
 * another holder of this binary, which costs the connections.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/process/succession.h"
#include "capfsd/keeper/children.h"
#include "capfsd/keeper/private.h"
#include "capfsd/process/messages.h"

#define TRY_MSEC 60000
#define PAUSE_MSEC 10000
#define START_MSEC 30000
#define PRESS_MSEC 5000 /* for a broker that was killed to be replaced */

static void
enter(struct keeper *k, enum upgrade_phase phase, uint64_t msec)
{
	k->upgrade.phase = phase;
	k->upgrade.until = msec ? keeper_now_msec() + msec : 0;
	k->upgrade.pressed = false;
}

/* Over, for better or worse. */
static void
finish(struct keeper *k)
{
	bool stop_wanted = k->upgrade.stop_wanted;

	if (k->upgrade.child)
		kill(k->upgrade.child, SIGKILL);
	fd_close(k->upgrade.binary_fd);
	k->upgrade = (struct upgrade){.binary_fd = -1};
	if (stop_wanted)
		keeper_begin_stop(k);
}

static void
refuse(struct keeper *k, const char *why)
{
	log_event(LOG_ERR, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UPGRADE_REFUSED}),
		"no upgrade: %s; capfsd %s goes on", why, PACKAGE_VERSION);
	sd_notifyf(0, "READY=1\nSTATUS=Serving %s (%s; upgrade refused: %s)", k->mount.path,
		PACKAGE_VERSION, why);
	finish(k);
}

/* Opens the installed binary, if it is one that nobody else can have put there or can change. */
static const char *
open_binary(struct keeper *k)
{
	cleanup_close int fd = open(k->binary, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return "the installed binary cannot be opened";
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))
		return "what is installed is no executable file";
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "the installed binary belongs to another user";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others can write to the installed binary";
	k->upgrade.binary_fd = take_fd(fd);
	return NULL;
}

static const char *
start_try(struct keeper *k)
{
	struct succession succession = {.role = SUCCESSION_TRY};
	cleanup_close int ours = -1, theirs = -1, fd = -1;
	int pair[2], r;

	memcpy(succession.mountpoint, k->mount.path, sizeof(succession.mountpoint));
	fd = succession_write(&succession, &k->boot);
	if (fd < 0 || fd_socketpair(SOCK_SEQPACKET, pair) < 0)
		return "no memory or no descriptors";
	ours = pair[0];
	theirs = pair[1];
	r = children_start_try(&k->boot, k->upgrade.binary_fd, fd, theirs);
	if (r < 0)
		return "no process can be started";
	k->upgrade.child = r;
	/* What the broker sends goes past us: we hold nothing that it has made. */
	return keeper_tell(k, KEEPER_COPY, ours) < 0 ? "the broker does not listen" : NULL;
}

void
upgrade_begin(struct keeper *k)
{
	const char *error;

	if (k->upgrade.phase != UPGRADE_NONE || k->stop_at || !k->ready || !k->holder) {
		log_message(LOG_NOTICE, "no upgrade: capfsd is not serving, or is at one already");
		return;
	}
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Trying the installed binary",
		keeper_now_msec() * 1000);
	error = open_binary(k);
	if (!error)
		error = start_try(k);
	if (error)
		refuse(k, error);
	else
		enter(k, UPGRADE_TRYING, TRY_MSEC);
}

bool
upgrade_on_child(struct keeper *k, pid_t pid, int status)
{
	if (pid != k->upgrade.child || pid == 0)
		return false;
	k->upgrade.child = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != TRY_EXIT_GOOD)
		refuse(k, "the installed binary does not run, or cannot use the state");
	else if (keeper_tell(k, KEEPER_PAUSE, -1) < 0)
		refuse(k, "the broker does not listen");
	else
		enter(k, UPGRADE_PAUSING, PAUSE_MSEC);
	return true;
}

/* The holder is alone, and becomes what we say. */
static void
tell_become(struct keeper *k, int binary, enum upgrade_phase phase)
{
	k->boot.generation++;
	if (keeper_tell(k, KEEPER_BECOME, binary) < 0)
		refuse(k, "the holder does not listen");
	else
		enter(k, phase, START_MSEC);
}

static void
on_alone(struct keeper *k, uint32_t generation)
{
	if (k->upgrade.phase == UPGRADE_PAUSING && !k->upgrade.stop_wanted) {
		tell_become(k, k->upgrade.binary_fd, UPGRADE_STARTING);
	} else if (k->upgrade.phase == UPGRADE_STARTING && generation == k->boot.generation) {
		log_message(LOG_ERR, "no broker of the installed binary has come up");
		tell_become(k, k->self_fd, UPGRADE_RETURNING);
	} else {
		/* Also whoever asks without reason. */
		keeper_tell(k, KEEPER_GO_ON, -1);
	}
}

/*
 * The keeper's own turn. Signals that come from now on stay blocked and pending, and children that end
 * stay to be waited for. Returns only if it cannot be done.
 */
static void
become(struct keeper *k)
{
	const int kept[] = {k->lock_fd, k->state_fd, k->fuse_fd, k->peer_fd, k->self_fd,
		k->activation_fd};
	struct succession succession = {
		.role = SUCCESSION_KEEPER,
		.self = getpid(),
		.generation = k->boot.generation,
		.lock_fd = k->lock_fd,
		.state_fd = k->state_fd,
		.fuse_fd = k->fuse_fd,
		.peer_fd = k->peer_fd,
		.old_fd = k->self_fd,
		.activation_fd = k->activation_fd,
		.holder = k->holder,
		.binder = k->binder,
	};
	cleanup_close int fd = -1;
	int r = 0;

	memcpy(succession.binary, k->binary, sizeof(succession.binary));
	memcpy(succession.mountpoint, k->mount.path, sizeof(succession.mountpoint));
	memcpy(succession.device, k->mount.device, sizeof(succession.device));
	fd = succession_write(&succession, &k->boot);
	if (fd < 0)
		r = fd;
	for (size_t i = 0; r == 0 && i < sizeof(kept) / sizeof(kept[0]); i++)
		r = kept[i] < 0 ? 0 : fd_set_cloexec(kept[i], false);
	if (r == 0)
		r = succession_exec(k->upgrade.binary_fd, fd, SUCCESSION_KEEPER, k->argv);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (kept[i] >= 0)
			fd_set_cloexec(kept[i], true);
	log_message(LOG_ERR, "the keeper cannot become the installed binary: %s", strerror(-r));
}

/* A broker serves. Of which binary is it? */
static void
on_ready(struct keeper *k, uint32_t generation)
{
	bool expected = generation == k->boot.generation;

	switch (k->upgrade.phase) {
	case UPGRADE_PAUSING:
		/* Something else has ended the one that was told. */
		if (k->upgrade.stop_wanted)
			finish(k);
		else if (keeper_tell(k, KEEPER_PAUSE, -1) < 0)
			refuse(k, "the broker does not listen");
		break;
	case UPGRADE_STARTING:
		if (expected && !k->upgrade.stop_wanted)
			become(k);
		refuse(k, expected ? "the keeper stays what it was"
				   : "the installed binary cannot be executed");
		break;
	case UPGRADE_RETURNING:
		refuse(k, "the installed binary does not serve");
		break;
	case UPGRADE_NONE:
	case UPGRADE_TRYING:
		break;
	}
}

void
upgrade_on_record(struct keeper *k, const struct keeper_record *record)
{
	if (record->type == KEEPER_ALONE)
		on_alone(k, record->generation);
	else if (record->type == KEEPER_READY)
		on_ready(k, record->generation);
}

void
upgrade_on_holder_end(struct keeper *k)
{
	if (k->upgrade.phase != UPGRADE_NONE)
		refuse(k, "the holder has ended");
}

void
upgrade_on_time(struct keeper *k)
{
	if (!k->upgrade.until || keeper_now_msec() < k->upgrade.until)
		return;
	switch (k->upgrade.phase) {
	case UPGRADE_NONE:
		break;
	case UPGRADE_TRYING:
		refuse(k, "the installed binary takes too long to be tried");
		break;
	case UPGRADE_PAUSING:
	case UPGRADE_STARTING:
	case UPGRADE_RETURNING:
		/* First the broker that hangs, then the holder that does not mind. */
		log_message(LOG_ERR, "upgrade: no answer in time");
		kill(k->holder, k->upgrade.pressed ? SIGKILL : HOLDER_SIGNAL_HANGS);
		k->upgrade.until = keeper_now_msec() + PRESS_MSEC;
		k->upgrade.pressed = true;
		break;
	}
}

bool
upgrade_defers_stop(struct keeper *k)
{
	if (k->upgrade.phase == UPGRADE_TRYING)
		finish(k);
	k->upgrade.stop_wanted = k->upgrade.phase != UPGRADE_NONE;
	return k->upgrade.stop_wanted;
}
