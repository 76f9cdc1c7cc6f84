/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors: CLOEXEC from birth, copies from 3 up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Closes FD when it is one, keeping errno. Returns: -1, so that `fd = fd_close(fd)`. */
int fd_close(int fd);

/* shutdown(2) in both directions, then close: no duplicate stays connected. Returns: -1. */
int fd_shutdown_close(int fd);

/* Returns: a duplicate, CLOEXEC, 3 or above; or -errno. */
int fd_dup(int fd);

/* Returns: 0 or -errno. */
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Has the other end of the socket FD gone, or have both shut down what they had? */
bool fd_has_hung_up(int fd);

/* The socket's cookie: the same for every duplicate, for no other socket. Returns: 0 or -errno. */
int fd_socket_cookie(int fd, uint64_t *ret);

/*
 * With ON false, whoever sends descriptors to this Unix socket, or to one that is connected to it from
 * now on, gets EPERM. For those who want none it is not enough to take none: one that waits in a queue
 * is closed by who empties that, and to close a stranger's file may take for ever. Returns: 0, or
 * -errno: -ENOPROTOOPT before Linux 6.16.
 */
int fd_set_descriptors(int fd, bool on);
/* The same, with ON false. */
int fd_refuse_descriptors(int fd);
/* Was it called? False also where there is nothing of that kind. */
bool fd_bars_descriptors(int fd);

/* Two connected SEQPACKET or STREAM sockets, CLOEXEC. Returns: 0 or -errno. */
int fd_socketpair(int type, int ret_fds[2]);

/*
 * The descriptors that this process has open, ascending, without the one used to find out.
 * The array belongs to the caller (free). Returns: 0 or -errno.
 */
int fd_list(int **ret_fds, size_t *ret_n);
