/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one object of the keeper, through which its files work together. It lives on the stack of
 * keeper_run(), or of keeper_resume() after an upgrade; no other process sees it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/binder/binder.h"
#include "capfsd/keeper/family.h"
#include "capfsd/mount/mount.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/child.h"
#include "capfsd/process/records.h"
#include "capfsd/process/succession.h"
#include "capfsd/upgrade/upgrade.h"

#define KEEPER_STOP_MSEC 3000 /* for a broker to end */

/* What is due at some time, and who does it then: `alarms` in loop.c. */
enum alarm {
	ALARM_BEAT,   /* systemd is told that we live */
	ALARM_STOP,   /* the broker's time to stop ends */
	ALARM_HOLDER, /* the next one */
	ALARM_BINDER, /* likewise */
	ALARM_SPAWNER, /* the broker has asked for a connection to it */
	ALARM_LOOK,   /* whether the binder hangs */
	ALARM_N,
};

struct keeper_config;

struct keeper {
	struct boot boot;
	struct succession held; /* what another binary goes on with; become.c completes it */
	struct mount mount;
	struct child children[CHILD_N];
	struct binder_watch binder;
	struct upgrade upgrade;
	char *const *argv;
	int signal_fd;
	int mounts_fd; /* tells when mounts have changed */
	bool ready;    /* systemd has been told */
	bool leaving;  /* mount and sockets stay, for the next daemon */
	bool pressed;  /* the holder was told that the broker does not stop */
	bool done;
	int exit_status;
	uint64_t at[ALARM_N]; /* CLOCK_MONOTONIC in milliseconds, when they are due; 0: never */
	uint64_t beat_msec;
};

/* Has the end begun? */
static inline bool
keeper_is_stopping(const struct keeper *k)
{
	return k->at[ALARM_STOP] != 0;
}

/* loop.c: everything that happens, until the end. */
/* Returns: the exit status, or -errno. */
int keeper_loop(struct keeper *k);
/* Signals are read from here on, also those that come while the mount is being made. */
int keeper_watch(struct keeper *k);
void keeper_say_ready(struct keeper *k);
/* Sends the broker, or the holder while it is alone, a record with FD unless that is -1. */
int keeper_tell(struct keeper *k, enum keeper_type type, int fd);
void keeper_begin_stop(struct keeper *k);
void keeper_end(struct keeper *k, int exit_status);
/* Did somebody take the mount away? Then it is the end. */
void keeper_look_at_mount(struct keeper *k);

/* become.c */
/* The installed binary goes on in our place. Returns only if it cannot. */
void keeper_become(struct keeper *k, int binary);

/* keeper.c */
void keeper_init(struct keeper *k, const struct keeper_config *config);
void keeper_deinit(struct keeper *k);
