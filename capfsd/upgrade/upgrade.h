/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the live upgrade: how the daemon becomes the binary that is installed now, while it serves.
 *
 * It owns the phase and its time, the new binary's descriptor, and the child that tries that binary. Only the
 * keeper calls into this room, which reaches it through struct upgrade_host and by nothing else. Nothing here
 * waits or reads what a child has sent, and nothing is stopped before the new binary was tried.
 *
 * The installed binary is tried on a copy of the state; the broker pauses between two requests; the holder becomes
 * the new binary, which starts a broker; when that is ready the keeper becomes it too. Until then the old binary
 * can be had back: it is kept open. Everything is asked of processes that may be broken, so each phase has its
 * time. A last resort is another holder of this binary, which costs the connections.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/process/child.h"
#include "capfsd/process/records.h"

struct boot;
struct keeper; /* whoever is upgraded; this room never looks into it */
struct succession;

/* What only the keeper can do for its upgrade. */
struct upgrade_host {
	/* Sends the broker, or the holder while it is alone, a record with FD unless that is -1. */
	int (*tell)(struct keeper *owner, enum keeper_type type, int fd);
	/* Sends the holder a signal. */
	void (*press)(struct keeper *owner, int signal);
	/* Becomes the program BINARY, which stays ours. Returns only if it cannot. */
	void (*become)(struct keeper *owner, int binary);
	/* Begins the end that upgrade_defers_stop() has put off. */
	void (*stop)(struct keeper *owner);
};

enum upgrade_phase {
	UPGRADE_NONE,
	UPGRADE_TRYING,    /* a child tries the new binary on a copy of the state */
	UPGRADE_PAUSING,   /* the broker was told to pause */
	UPGRADE_STARTING,  /* the holder was told to become the new binary */
	UPGRADE_RETURNING, /* … and the old one again */
	UPGRADE_N,
};

struct upgrade {
	const struct upgrade_host *host;
	struct keeper *owner;
	struct boot *boot;             /* the owner's; its generation is counted here */
	const struct succession *held; /* the owner's: both programs, and the mount point */
	enum upgrade_phase phase;
	uint64_t deadline_msec; /* CLOCK_MONOTONIC; UINT64_MAX: none */
	struct child trial;
	int binary_fd;    /* the new one */
	bool pressed;     /* its time is over, and the holder was told to end its broker */
	bool stop_wanted; /* somebody has asked for the end meanwhile */
};

/* All that is given here must stay as long as U. */
void upgrade_init(struct upgrade *u, const struct upgrade_host *host, struct keeper *owner,
	struct boot *boot, const struct succession *held);

/* SIGHUP: begins one, unless one is under way, or nobody is SERVING who could be upgraded. */
void upgrade_begin(struct upgrade *u, bool serving);

/* The peer says READY or ALONE, and of which generation it is. */
void upgrade_on_ready(struct upgrade *u, uint32_t generation);
void upgrade_on_alone(struct upgrade *u, uint32_t generation);

/* Some child has ended that the keeper does not know. */
void upgrade_on_child_end(struct upgrade *u, pid_t pid, int status);

/* The holder has ended: the one that is started next is of this binary. */
void upgrade_on_holder_end(struct upgrade *u);

/* Called at `deadline_msec`, or at any time: looks whether the time of the phase is over. */
void upgrade_on_time(struct upgrade *u);

/* The daemon is to stop. Returns: must that wait for the upgrade's end? */
bool upgrade_defers_stop(struct upgrade *u);

/* Does the holder run a broker of this binary, that can be spoken to and believed? */
bool upgrade_lets_speak(const struct upgrade *u);
