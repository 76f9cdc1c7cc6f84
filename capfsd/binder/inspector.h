/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at one descriptor that a client sends, in a process of its own; started by the binder alone. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct boot;

/*
 * Starts one for what is sent to CLIENT's other end; its result, with SERIAL, goes to SOCKET_FD. Both stay
 * the caller's. Returns: its pid, or -errno.
 */
pid_t inspector_start(const struct boot *boot, int socket_fd, int client, uint64_t serial);
