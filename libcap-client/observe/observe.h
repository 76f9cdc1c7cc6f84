/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is counted and told by the rest of the library: once for each, when it has happened. */
#pragma once

#include <stddef.h>

struct wire_call;

/* A CALL or a RETURN went out through FD, or came in; of other packets nothing is told. N_FDS: those of the message. */
void observe_sent(int fd, const struct wire_call *call, size_t n_fds);
void observe_received(int fd, const struct wire_call *call, size_t n_fds);

/* A slot has a connection; … again, in the place of one that had ended; a server has one more client. */
void observe_connected(int fd);
void observe_reconnected(int fd);
void observe_client(int fd);
