/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes what comes with a record of the broker's, and looks at the one descriptor that a client sends, in a
 * process of its own; started by the binder alone.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct boot;

/*
 * Starts one, which takes the next record at SOCKET_FD, and waits until it has. If INSPECTION is not 0, what came
 * with the record is a client's socket, and the result goes to SOCKET_FD; else it is dropped.
 * Returns: its pid; -ETIMEDOUT, -EBADMSG (the record may be there still), another -errno.
 */
pid_t inspector_start(const struct boot *boot, int socket_fd, uint64_t inspection);
