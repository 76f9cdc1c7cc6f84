/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The live upgrade. The installed binary is tried on a copy of the state; the broker pauses between two
 * requests; the holder becomes the new binary, which starts a broker; when that is ready the keeper becomes
 * it too. Until then the old binary can be had back: it is kept open.
 *
 * Everything is asked of processes that may be broken, so each phase has its time. A last resort is another
 * holder of this binary, which costs the connections.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct keeper;

enum upgrade_phase {
	UPGRADE_NONE,
	UPGRADE_TRYING,    /* a child tries the new binary on a copy of the state */
	UPGRADE_PAUSING,   /* the broker was told to pause */
	UPGRADE_STARTING,  /* the holder was told to become the new binary */
	UPGRADE_RETURNING, /* … and the old one again */
	UPGRADE_N,
};

struct upgrade {
	enum upgrade_phase phase;
	int binary_fd;    /* the new one */
	bool pressed;     /* its time is over, and the holder was told to end its broker */
	bool stop_wanted; /* somebody has asked for the end meanwhile */
};

void upgrade_init(struct keeper *k);

/* SIGHUP: begins one, unless one is under way. */
void upgrade_begin(struct keeper *k);

/* The peer says READY or ALONE, and of which generation it is. */
void upgrade_on_ready(struct keeper *k, uint32_t generation);
void upgrade_on_alone(struct keeper *k, uint32_t generation);

/* The trial has ended. */
void upgrade_on_try_end(struct keeper *k, int status);

/* The holder has ended: the one that is started next is of this binary. */
void upgrade_on_holder_end(struct keeper *k);

/* The time of the present phase is over. */
void upgrade_on_time(struct keeper *k);

/* The daemon is to stop. Returns: must that wait for the upgrade's end? */
bool upgrade_defers_stop(struct keeper *k);

/* Does the holder run a broker of this binary, that can be spoken to and believed? */
bool upgrade_lets_speak(const struct keeper *k);
