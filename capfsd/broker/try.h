/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The trial of a binary before a live upgrade: can it go on with what this one does? The upgrade starts
 * the other program in a child of the keeper, whose main() calls try_main(). Nothing of it touches the state or the mount.
 */
#pragma once

#include <sys/types.h>

struct boot;

/*
 * Starts the program BINARY, as the daemon's user. Into *RET_SOCKET, which is the caller's, the broker is to
 * send a copy of the state. Returns: its pid, or -errno.
 */
pid_t try_start(const struct boot *boot, const char *mountpoint, int binary, int *ret_socket);

/* FD is the succession. Returns: the exit status, TRY_EXIT_GOOD when this binary can take over. */
int try_main(int fd);
