/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The room of the binder: the process that makes listeners on our own mount, and inspectors.
 *
 * It owns nothing but its working directory, the hidden one in the mount's root, and the inspectors
 * that it has started. It obeys the broker's records (struct binder_job) over the one socket that
 * it has, and replies to each. It never has /dev/fuse, the state, or a descriptor of a client's for
 * longer than it takes to fork. binder_start() is called by the keeper; nobody else calls into this
 * room.
 */
#pragma once

#include <sys/types.h>

struct boot;

/*
 * Starts one, which works until *RET_FD, the broker's end of the pair to it, and all copies of that are closed.
 * Returns: its pid, or -errno.
 */
pid_t binder_start(const struct boot *boot, const char *mountpoint, int *ret_fd);
