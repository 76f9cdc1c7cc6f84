/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the keeper's files share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/keeper/keeper.h"
#include "capfsd/mount/mount.h"

#define HOLDERS_MAX 5
#define STOP_MSEC 3000 /* for a broker to end */

enum upgrade_phase {
	UPGRADE_NONE,
	UPGRADE_TRYING,    /* a child tries the new binary on a copy of the state */
	UPGRADE_PAUSING,   /* the broker was told to pause */
	UPGRADE_STARTING,  /* the holder was told to become the new binary */
	UPGRADE_RETURNING, /* … and the old one again */
};

struct upgrade {
	enum upgrade_phase phase;
	int binary_fd;     /* the new one */
	pid_t child;       /* that tries it; 0: none */
	uint64_t until;    /* how long this phase may last */
	bool pressed;      /* its time is over, and the holder was told to end its broker */
	bool stop_wanted;  /* somebody has asked for the end meanwhile */
};

struct keeper {
	struct boot boot;
	struct mount mount;
	struct upgrade upgrade;
	char binary[PATH_MAX]; /* where this program was installed when it started */
	char *const *argv;
	int self_fd; /* this program */
	int lock_fd;
	int activation_fd; /* the service manager's listener, or -1 */
	int state_fd; /* the lock of the state directory */
	int fuse_fd;  /* a duplicate: lets a new holder go on where a dead one was */
	int signal_fd;
	int mounts_fd; /* tells when mounts have changed */
	int peer_fd;   /* to the broker; hung up when neither holder nor broker is left */
	pid_t holder;  /* 0: none is running */
	pid_t binder;
	bool ready; /* systemd has been told */
	bool leaving; /* mount and sockets stay, for the next daemon */
	bool done;
	int exit_status;
	uint64_t ping_at;    /* when the broker is asked, or must have answered */
	bool pinged;         /* it owes an answer, PONG or READY */
	uint64_t ping_msec;  /* the pause between two questions */
	uint64_t beat_at;    /* when systemd is told that we live; 0: it does not ask */
	uint64_t beat_msec;
	uint64_t stop_at;   /* when the broker's time to stop ends; 0: not stopping */
	uint64_t binder_at; /* when the next binder is due; 0: one is running */
	uint64_t binder_since;
	unsigned binder_pause_msec;
	uint64_t holders_at[HOLDERS_MAX];
	unsigned n_holders;
};

/* keeper.c */
uint64_t keeper_now_msec(void);
/* Of two points in time, 0 being never. */
static inline uint64_t
keeper_earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}
/* Sends the broker, or the holder while it is alone, a record with FD unless that is -1. */
int keeper_tell(struct keeper *k, enum keeper_type type, int fd);
void keeper_begin_stop(struct keeper *k);
void keeper_end(struct keeper *k, int exit_status);
void keeper_log_unmounted(const struct keeper *k);

/* family.c */
/* With what STORED has, if it is not NULL. Returns: 0 or -errno. */
int family_start_holder(struct keeper *k, const struct fdstore *stored);
/* Another binder for the broker that is there; if there can be none it is tried again later. */
void family_replace_binder(struct keeper *k);
/* Children that have ended. */
void family_reap(struct keeper *k);
/* Have holder and broker both gone? */
bool family_wait_for_table(const struct keeper *k);

/* watchdog.c */
void watchdog_init(struct keeper *k);
/* A broker is started, and owes READY. */
void watchdog_loading(struct keeper *k);
void watchdog_on_record(struct keeper *k, const struct keeper_record *record);
/* When it must run next. */
uint64_t watchdog_at(const struct keeper *k);
void watchdog_on_time(struct keeper *k);

/* upgrade.c */
/* SIGHUP: begins one, unless one is under way. */
void upgrade_begin(struct keeper *k);
/* The peer says READY or ALONE. */
void upgrade_on_record(struct keeper *k, const struct keeper_record *record);
/* A child has ended. Returns: was it ours? */
bool upgrade_on_child(struct keeper *k, pid_t pid, int status);
/* The holder has ended: the one that is started next is of this binary. */
void upgrade_on_holder_end(struct keeper *k);
/* The time of the present phase is over. */
void upgrade_on_time(struct keeper *k);
/* The daemon is to stop. Returns: must that wait for the upgrade's end? */
bool upgrade_defers_stop(struct keeper *k);
/* Does the holder run a broker that can be spoken to? */
static inline bool
upgrade_lets_speak(const struct keeper *k)
{
	return k->upgrade.phase <= UPGRADE_TRYING;
}
