/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The live upgrade, as a table of phases: what each waits for, for how long, and what is done when
 * that comes or does not. It owns the new binary's descriptor and the phase. Everything that can
 * fail fails into refuse(), which leaves the old binary serving; nothing here waits, or asks
 * anything of a process without a bound. Called by the keeper's loop and, when children end, by
 * family.c.
 */
#include "config.h"

#include "capfsd/keeper/upgrade.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/broker/try.h"
#include "capfsd/keeper/state.h"
#include "capfsd/process/messages.h"
#include "capfsd/start/binary.h"

#define PRESS_MSEC 5000 /* for a broker that was killed to be replaced */

/* What happens in a phase. Where a function is missing, nothing is expected, and an ALONE goes on. */
struct phase {
	uint64_t msec; /* its time */
	void (*on_ready)(struct keeper *k, uint32_t generation);
	void (*on_alone)(struct keeper *k, uint32_t generation);
	void (*on_time)(struct keeper *k);
};
static const struct phase phases[UPGRADE_N];

/*
 * A phase has its time from its beginning, so that whoever does not reply cannot keep the daemon in
 * it.
 */
static void
enter(struct keeper *k, enum upgrade_phase phase)
{
	k->upgrade.phase = phase;
	k->at[ALARM_UPGRADE] = clock_msec(CLOCK_MONOTONIC) + phases[phase].msec;
	k->upgrade.pressed = false;
}

void
upgrade_init(struct keeper *k)
{
	k->upgrade = (struct upgrade){.binary_fd = -1};
	k->at[ALARM_UPGRADE] = 0;
}

/*
 * From the pause until the end of an upgrade the peer may be any binary, or none: what it says is
 * of its phase only, and a record for a broker would wait in the queue for the wrong one.
 */
bool
upgrade_lets_speak(const struct keeper *k)
{
	return k->upgrade.phase <= UPGRADE_TRYING;
}

/*
 * Over, for better or worse. A trial that is still running is killed and given up: it has only a
 * copy, and family_reap() takes its zombie away. Whoever wanted the daemon to stop meanwhile gets
 * that now.
 */
static void
finish(struct keeper *k)
{
	bool stop_wanted = k->upgrade.stop_wanted;

	if (k->children[CHILD_TRY].pid)
		kill(k->children[CHILD_TRY].pid, SIGKILL);
	k->children[CHILD_TRY].pid = 0;
	fd_close(k->upgrade.binary_fd);
	upgrade_init(k);
	if (stop_wanted)
		keeper_begin_stop(k);
}

/*
 * It must be said to systemd as well, whose `reload` waits until READY=1 comes, for good or for
 * bad.
 */
static void
refuse(struct keeper *k, const char *why)
{
	log_event(LOG_ERR, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UPGRADE_REFUSED}),
		"no upgrade: %s; capfsd %s goes on", why, PACKAGE_VERSION);
	sd_notifyf(0, "READY=1\nSTATUS=Serving %s (%s; upgrade refused: %s)", k->mount.path,
		PACKAGE_VERSION, why);
	finish(k);
}

/*
 * The broker sends its copy of the state into a socket of the trial's, past the keeper: so no byte
 * and no descriptor that a broker has made ever gets here. Returns: NULL, or why not.
 */
static const char *
start_try(struct keeper *k)
{
	cleanup_close int socket = -1;
	int r = try_start(&k->boot, k->mount.path, k->upgrade.binary_fd, &socket);

	if (r < 0)
		return "no process can be started";
	k->children[CHILD_TRY].pid = r;
	/* What the broker sends goes past us: we hold nothing that it has made. */
	return keeper_tell(k, KEEPER_COPY, socket) < 0 ? "the broker does not listen" : NULL;
}

/*
 * Only when all is quiet: without a broker there is nobody to copy the state, and without a mount
 * that serves no way to tell whether the new binary does as well.
 */
void
upgrade_begin(struct keeper *k)
{
	const char *error;

	if (k->upgrade.phase != UPGRADE_NONE || keeper_is_stopping(k) || !k->ready ||
		!k->children[CHILD_HOLDER].pid) {
		log_message(LOG_NOTICE, "no upgrade: capfsd is not serving, or is at one already");
		return;
	}
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Trying the installed binary",
		clock_msec(CLOCK_MONOTONIC) * 1000);
	error = binary_open(k->held.binary, &k->upgrade.binary_fd);
	if (!error)
		error = start_try(k);
	if (error)
		refuse(k, error);
	else
		enter(k, UPGRADE_TRYING);
}

static void
tell_pause(struct keeper *k)
{
	if (keeper_tell(k, KEEPER_PAUSE, -1) < 0)
		refuse(k, "the broker does not listen");
}

void
upgrade_on_try_end(struct keeper *k, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != TRY_EXIT_GOOD)
		return refuse(k, "the installed binary does not run, or cannot use the state");
	enter(k, UPGRADE_PAUSING);
	tell_pause(k);
}

/*
 * The generation is new with each try, so that a late record of the binary before is not taken for
 * one of that which was just started.
 */
static void
tell_become(struct keeper *k, int binary, enum upgrade_phase phase)
{
	k->boot.generation++;
	if (keeper_tell(k, KEEPER_BECOME, binary) < 0)
		refuse(k, "the holder does not listen");
	else
		enter(k, phase);
}

/* The broker has paused, or has died just then, which is the same: requests wait in the kernel. */
static void
pausing_alone(struct keeper *k, uint32_t generation)
{
	if (k->upgrade.stop_wanted)
		keeper_tell(k, KEEPER_GO_ON, -1);
	else
		tell_become(k, k->upgrade.binary_fd, UPGRADE_STARTING);
}

/*
 * Something else has ended the broker that was told, and its successor does not know of the pause.
 */
static void
pausing_ready(struct keeper *k, uint32_t generation)
{
	if (k->upgrade.stop_wanted)
		finish(k);
	else
		tell_pause(k);
}

/*
 * An older generation asks because it could not become another: it goes on, and its READY ends the
 * upgrade. The new one asks because its first broker did not come up: then the old binary takes
 * over again.
 */
static void
starting_alone(struct keeper *k, uint32_t generation)
{
	if (generation != k->boot.generation) {
		keeper_tell(k, KEEPER_GO_ON, -1);
		return;
	}
	log_message(LOG_ERR, "no broker of the installed binary has come up");
	tell_become(k, k->held.program_fd, UPGRADE_RETURNING);
}

/*
 * A broker serves. If it is of the new binary the keeper becomes that, too, and does not return
 * from it; if it is of the old one, the holder could not execute the other.
 */
static void
starting_ready(struct keeper *k, uint32_t generation)
{
	bool expected = generation == k->boot.generation;

	if (expected && !k->upgrade.stop_wanted)
		keeper_become(k, k->upgrade.binary_fd);
	refuse(k, expected ? "the keeper stays what it was" : "the installed binary cannot be executed");
}

static void
returning_ready(struct keeper *k, uint32_t generation)
{
	refuse(k, "the installed binary does not serve");
}

static void
trying_late(struct keeper *k)
{
	refuse(k, "the installed binary takes too long to be tried");
}

/*
 * First the broker that hangs, then the holder that does not mind: with the holder its connections
 * end, which is why it has a second chance.
 */
static void
press(struct keeper *k)
{
	log_message(LOG_ERR, "upgrade: no answer in time");
	kill(k->children[CHILD_HOLDER].pid, k->upgrade.pressed ? SIGKILL : HOLDER_SIGNAL_HANGS);
	k->at[ALARM_UPGRADE] = clock_msec(CLOCK_MONOTONIC) + PRESS_MSEC;
	k->upgrade.pressed = true;
}

/*
 * A trial reads the whole state, and nobody waits for it. In the other phases clients wait: a pause
 * takes what one request takes, a start what reading the state takes.
 */
static const struct phase phases[UPGRADE_N] = {
	[UPGRADE_TRYING] = {60000, NULL, NULL, trying_late},
	[UPGRADE_PAUSING] = {10000, pausing_ready, pausing_alone, press},
	[UPGRADE_STARTING] = {30000, starting_ready, starting_alone, press},
	[UPGRADE_RETURNING] = {30000, returning_ready, NULL, press},
};

void
upgrade_on_ready(struct keeper *k, uint32_t generation)
{
	if (phases[k->upgrade.phase].on_ready)
		phases[k->upgrade.phase].on_ready(k, generation);
}

/* Whoever asks without reason is told to go on, since it waits for a word. */
void
upgrade_on_alone(struct keeper *k, uint32_t generation)
{
	if (phases[k->upgrade.phase].on_alone)
		phases[k->upgrade.phase].on_alone(k, generation);
	else
		keeper_tell(k, KEEPER_GO_ON, -1);
}

/*
 * The next holder is a fork of this binary, so that the upgrade has failed whatever phase it was
 * in.
 */
void
upgrade_on_holder_end(struct keeper *k)
{
	if (k->upgrade.phase != UPGRADE_NONE)
		refuse(k, "the holder has ended");
}

void
upgrade_on_time(struct keeper *k)
{
	phases[k->upgrade.phase].on_time(k);
}

/*
 * A trial can simply be given up, as it has touched nothing. Later there may be no broker that
 * could shut connections down: the end waits until there is one, and each phase has its bound.
 */
bool
upgrade_defers_stop(struct keeper *k)
{
	if (k->upgrade.phase == UPGRADE_TRYING)
		finish(k);
	k->upgrade.stop_wanted = k->upgrade.phase != UPGRADE_NONE;
	return k->upgrade.stop_wanted;
}
