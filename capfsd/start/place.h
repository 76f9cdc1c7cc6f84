/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room start/ is what a daemon looks at before there is one: its directories and locks (here), what systemd
 * has kept or passes on (fdstore.h, activation.h), which program it is (binary.h), what the machine has
 * (features.h). main() calls it once; the keeper to tell systemd what to keep and to know its own program, the
 * upgrade to open the installed one. Nothing here knows of clients.
 *
 * Where the daemon lives: its directories, the lock that only one daemon has, and the mount point,
 * all made ready before anything is started. All log.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct boot;

/*
 * Makes the run directory and takes its lock. A daemon that is just ending is waited for.
 * Returns: 0, -EBUSY, another -errno; *RET_LOCK_FD belongs to the caller.
 */
int place_lock(const char *run_dir, int *ret_lock_fd);

/*
 * Makes the state directory, 0700 and the broker's own (STATE_DIR, or one in RUN_DIR when that is
 * ""), and takes its lock: two run directories may name the same one. Sets boot->run_dir.
 * Returns: 0 or -errno; *RET_STATE_FD belongs to the caller.
 */
int place_state(const char *run_dir, const char *state_dir, struct boot *boot, int *ret_state_fd);

/* Finds the mount point's canonical name. Returns: 0, -ENOENT, -ENOTDIR, another -errno. */
int place_mountpoint(const char *path, char ret[PATH_MAX]);

/*
 * Takes away what dead daemons have left there, until there is none on top.
 * Returns: 0, -EBUSY (served by a live one), another -errno.
 */
int place_clear(const char *path, bool privileged);
