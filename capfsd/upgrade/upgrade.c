/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The live upgrade, as a table of phases: what each waits for, for how long, and what is done when
 * that comes or does not. Everything that can fail fails into refuse(), which leaves the old binary
 * serving; nothing here waits, or asks anything of a process without a bound. The keeper's loop
 * calls it, and whoever reaps the keeper's children.
 */
#include "config.h"

#include "capfsd/upgrade/upgrade.h"

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
#include "capfsd/process/boot.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/succession.h"
#include "capfsd/start/binary.h"

#define PRESS_MSEC 5000 /* for a broker that was killed to be replaced */

/* What happens in a phase. Where a function is missing, nothing is expected, and an ALONE goes on. */
struct phase {
	uint64_t msec; /* its time */
	void (*on_ready)(struct upgrade *u, uint32_t generation);
	void (*on_alone)(struct upgrade *u, uint32_t generation);
	void (*on_time)(struct upgrade *u);
};
static const struct phase phases[UPGRADE_N];

/*
 * A phase has its time from its beginning, so that whoever does not reply cannot keep the daemon in
 * it.
 */
static void
enter(struct upgrade *u, enum upgrade_phase phase)
{
	u->phase = phase;
	u->deadline_msec = clock_msec(CLOCK_MONOTONIC) + phases[phase].msec;
	u->pressed = false;
}

void
upgrade_init(struct upgrade *u, const struct upgrade_host *host, struct keeper *owner,
	struct boot *boot, const struct succession *held)
{
	*u = (struct upgrade){
		.host = host,
		.owner = owner,
		.boot = boot,
		.held = held,
		.deadline_msec = UINT64_MAX,
		.binary_fd = -1,
	};
}

static int
tell(struct upgrade *u, enum keeper_type type, int fd)
{
	return u->host->tell(u->owner, type, fd);
}

/*
 * From the pause until the end of an upgrade the peer may be any binary, or none: what it says is
 * of its phase only, and a record for a broker would wait in the queue for the wrong one.
 */
bool
upgrade_lets_speak(const struct upgrade *u)
{
	return u->phase <= UPGRADE_TRYING;
}

/*
 * Over, for better or worse. A trial that is still running is killed and given up: it has only a
 * copy, and whoever reaps next takes its zombie away. Whoever wanted the daemon to stop meanwhile
 * gets that now.
 */
static void
finish(struct upgrade *u)
{
	bool stop_wanted = u->stop_wanted;

	child_end(&u->trial, 0);
	fd_close(u->binary_fd);
	upgrade_init(u, u->host, u->owner, u->boot, u->held);
	if (stop_wanted)
		u->host->stop(u->owner);
}

/*
 * It must be said to systemd as well, whose `reload` waits until READY=1 comes, for good or for
 * bad.
 */
static void
refuse(struct upgrade *u, const char *why)
{
	log_event(LOG_ERR, LOG_FIELDS({"MESSAGE_ID", MESSAGE_UPGRADE_REFUSED}),
		"no upgrade: %s; capfsd %s goes on", why, PACKAGE_VERSION);
	sd_notifyf(0, "READY=1\nSTATUS=Serving %s (%s; upgrade refused: %s)", u->held->mountpoint,
		PACKAGE_VERSION, why);
	finish(u);
}

/*
 * The broker sends its copy of the state into a socket of the trial's, past the keeper: so no byte
 * and no descriptor that a broker has made ever gets here. Returns: NULL, or why not.
 */
static const char *
start_try(struct upgrade *u)
{
	cleanup_close int socket = -1;
	int r = try_start(u->boot, u->held->mountpoint, u->binary_fd, &socket);

	if (r < 0)
		return "no process can be started";
	child_started(&u->trial, r);
	/* What the broker sends goes past us: we hold nothing that it has made. */
	return tell(u, KEEPER_COPY, socket) < 0 ? "the broker does not listen" : NULL;
}

/*
 * Only when all is quiet, not before the first broker is ready, between two holders, or when the
 * end has begun: without a broker there is nobody to copy the state, and without a mount that
 * serves no way to tell whether the new binary does as well.
 */
void
upgrade_begin(struct upgrade *u, bool serving)
{
	const char *error;

	if (u->phase != UPGRADE_NONE || !serving) {
		log_message(LOG_NOTICE, "no upgrade: capfsd is not serving, or is at one already");
		return;
	}
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Trying the installed binary",
		clock_usec(CLOCK_MONOTONIC));
	error = binary_open(u->held->binary, &u->binary_fd);
	if (!error)
		error = start_try(u);
	if (error)
		refuse(u, error);
	else
		enter(u, UPGRADE_TRYING);
}

static void
tell_pause(struct upgrade *u)
{
	if (tell(u, KEEPER_PAUSE, -1) < 0)
		refuse(u, "the broker does not listen");
}

void
upgrade_on_child_end(struct upgrade *u, pid_t pid, int status)
{
	if (pid != u->trial.pid)
		return;
	u->trial.pid = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != TRY_EXIT_GOOD)
		return refuse(u, "the installed binary does not run, or cannot use the state");
	enter(u, UPGRADE_PAUSING);
	tell_pause(u);
}

/*
 * The generation is new with each try, so that a late record of the binary before is not taken for
 * one of that which was just started.
 */
static void
tell_become(struct upgrade *u, int binary, enum upgrade_phase phase)
{
	u->boot->generation++;
	if (tell(u, KEEPER_BECOME, binary) < 0)
		refuse(u, "the holder does not listen");
	else
		enter(u, phase);
}

/* The broker has paused, or has died just then, which is the same: requests wait in the kernel. */
static void
pausing_alone(struct upgrade *u, uint32_t generation)
{
	if (u->stop_wanted)
		tell(u, KEEPER_GO_ON, -1);
	else
		tell_become(u, u->binary_fd, UPGRADE_STARTING);
}

/*
 * Something else has ended the broker that was told, and its successor does not know of the pause.
 */
static void
pausing_ready(struct upgrade *u, uint32_t generation)
{
	if (u->stop_wanted)
		finish(u);
	else
		tell_pause(u);
}

/*
 * An older generation asks because it could not become another: it goes on, and its READY ends the
 * upgrade. The new one asks because its first broker did not come up: then the old binary takes
 * over again.
 */
static void
starting_alone(struct upgrade *u, uint32_t generation)
{
	if (generation != u->boot->generation) {
		tell(u, KEEPER_GO_ON, -1);
		return;
	}
	log_message(LOG_ERR, "no broker of the installed binary has come up");
	tell_become(u, u->held->program_fd, UPGRADE_RETURNING);
}

/*
 * A broker serves. If it is of the new binary the keeper becomes that, too, and does not return
 * from it; if it is of the old one, the holder could not execute the other.
 */
static void
starting_ready(struct upgrade *u, uint32_t generation)
{
	bool expected = generation == u->boot->generation;

	if (expected && !u->stop_wanted)
		u->host->become(u->owner, u->binary_fd);
	refuse(u, expected ? "the keeper stays what it was" : "the installed binary cannot be executed");
}

static void
returning_ready(struct upgrade *u, uint32_t generation)
{
	refuse(u, "the installed binary does not serve");
}

static void
trying_late(struct upgrade *u)
{
	refuse(u, "the installed binary takes too long to be tried");
}

/*
 * First the broker that hangs, then the holder that does not mind: with the holder its connections
 * end, which is why it has a second chance.
 */
static void
press(struct upgrade *u)
{
	log_message(LOG_ERR, "upgrade: no answer in time");
	u->host->press(u->owner, u->pressed ? SIGKILL : HOLDER_SIGNAL_HANGS);
	u->deadline_msec = clock_msec(CLOCK_MONOTONIC) + PRESS_MSEC;
	u->pressed = true;
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
upgrade_on_ready(struct upgrade *u, uint32_t generation)
{
	if (phases[u->phase].on_ready)
		phases[u->phase].on_ready(u, generation);
}

/* Whoever asks without reason is told to go on, since it waits for a word. */
void
upgrade_on_alone(struct upgrade *u, uint32_t generation)
{
	if (phases[u->phase].on_alone)
		phases[u->phase].on_alone(u, generation);
	else
		tell(u, KEEPER_GO_ON, -1);
}

/*
 * The next holder is a fork of this binary, so that the upgrade has failed whatever phase it was
 * in.
 */
void
upgrade_on_holder_end(struct upgrade *u)
{
	if (u->phase != UPGRADE_NONE)
		refuse(u, "the holder has ended");
}

void
upgrade_on_time(struct upgrade *u)
{
	if (clock_msec(CLOCK_MONOTONIC) >= u->deadline_msec)
		phases[u->phase].on_time(u);
}

/*
 * A trial can simply be given up, as it has touched nothing. Later there may be no broker that
 * could shut connections down: the end waits until there is one, and each phase has its bound.
 */
bool
upgrade_defers_stop(struct upgrade *u)
{
	if (u->phase == UPGRADE_TRYING)
		finish(u);
	u->stop_wanted = u->phase != UPGRADE_NONE;
	return u->stop_wanted;
}
