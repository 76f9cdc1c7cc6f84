/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/peers.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "helpers/peer.h"

bool
peers_are_known(void)
{
	int fds[2];
	bool known;

	if (fd_socketpair(SOCK_STREAM, fds) < 0)
		return false;
	known = peer_state(fds[0]) != PEER_UNKNOWN;
	close(fds[0]);
	close(fds[1]);
	return known;
}
