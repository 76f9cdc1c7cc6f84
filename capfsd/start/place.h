/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room start/ is what a daemon looks at before there is one: its directories (directory.h) and locks (here), what systemd
 * has kept or passes on (fdstore.h, activation.h), which program it is (binary.h), what the machine has
 * (features.h). main() calls it once; the keeper to tell systemd what to keep and to know its own program, the
 * upgrade to open the installed one. Nothing here knows of clients.
 *
 * What only one daemon has (here): the lock of its run directory, its state, and the mount point, all made
 * ready before anything is started. All log.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct boot;

/*
 * Takes the lock of the run directory RUN_FD, whose name is RUN_DIR. A daemon that is just ending is waited
 * for. Returns: 0, -EBUSY, another -errno; *RET_LOCK_FD belongs to the caller.
 */
int place_lock(int run_fd, const char *run_dir, int *ret_lock_fd);

/*
 * Makes the state's own directory, NAME in AT (AT_FDCWD), whose full name is boot->run_dir, 0700 and the
 * broker's own; and takes its lock: two run directories may lead to the same one.
 * Returns: 0 or -errno; *RET_STATE_FD belongs to the caller.
 */
int place_state(int at, const char *name, struct boot *boot, int *ret_state_fd);

/* Finds the mount point's canonical name. Returns: 0, -ENOENT, -ENOTDIR, another -errno. */
int place_mountpoint(const char *path, char ret[PATH_MAX]);

/*
 * Takes away what dead daemons have left there, until there is none on top.
 * Returns: 0, -EBUSY (served by a live one), another -errno.
 */
int place_clear(const char *path, bool privileged);
