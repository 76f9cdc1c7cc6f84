/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why a connection ended. Both a client that closed its end and a revocation, which shuts the
 * connection down, are a hang-up to poll(2); but after a revocation the client's end is still
 * there. So is that of a client that shuts its own end down and closes it a moment later: whoever
 * finds it open looks again when PEER_GRACE_USEC have passed.
 */
#pragma once

#define PEER_GRACE_USEC 100000

enum peer_state {
	PEER_UNKNOWN, /* the kernel does not tell: no sock_diag(7) for Unix sockets */
	PEER_OPEN,
	PEER_CLOSED,
};

enum peer_state peer_state(int fd);
