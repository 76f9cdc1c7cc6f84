/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Unix socket of the server that a relay stands in front of. */
#pragma once

#include <stdbool.h>

/*
 * A non-blocking connection of TYPE (SOCK_STREAM, SOCK_SEQPACKET) to the socket at PATH, which may
 * be longer than an address allows.
 * Returns: a descriptor; -EAGAIN while the server's backlog is full; -errno.
 */
int backend_connect(const char *path, int type);

/*
 * Is somebody at PATH who would let this process in by a connection of TYPE? Whoever it is hears nothing of the
 * question, unless his socket is of the other type. Returns: 0, -errno as backend_connect().
 */
int backend_look(const char *path, int type);

/* What to say behind the name of an error of backend_connect()'s: ": …", or nothing. */
const char *backend_advice(int error);

/* Can every user of the machine connect to PATH, going by modes? False when it is not there. */
bool backend_is_exposed(const char *path);
/* Says so, if they can. */
void backend_warn(const char *path);
