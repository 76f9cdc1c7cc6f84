/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the binder: the process that makes listeners on our own mount, and inspectors.
 *
 * It owns nothing but its working directory, the hidden one in the mount's root, and the inspectors
 * that it has started. It obeys the broker's records (struct binder_job) over the one socket that
 * it has, and replies to each. It never has /dev/fuse, the state, or a descriptor that it did not make:
 * what comes with a record is taken by a process that ends with it (inspector.h). binder_start() is called
 * by the keeper; nobody else calls into this room.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/process/watchdog.h"

struct boot;

/* What the binder tells the keeper by memory that both have. A binary shares it with its own binders only. */
struct binder_page {
	uint64_t turns; /* rounds of its loop */
	uint32_t waits; /* in a call on the mount, for as long as the broker likes */
};

/* How the keeper watches its binder: one that hangs would have look-ups of sockets wait in vain. */
struct binder_watch {
	struct binder_page *page;
	struct watchdog watch;
};

/* For the binders of a process that lives as long as it needs them. Returns: 0 or -errno. */
int binder_watch_init(struct binder_watch *w);

/* Returns: when it is time to look at the binder, in milliseconds of CLOCK_MONOTONIC. */
uint64_t binder_watch_msec(const struct binder_watch *w);

/* Looks. Returns: false: BINDER hangs. */
bool binder_turns(struct binder_watch *w, pid_t binder);

/* Says that one has ended, with this wait status, and that there will be another. */
void binder_log_end(int status);

/*
 * Starts one, which works until *RET_FD, the broker's end of the pair to it, and all copies of that are closed.
 * Returns: its pid, or -errno.
 */
pid_t binder_start(
	const struct boot *boot, const char *mountpoint, struct binder_watch *watch, int *ret_fd);
