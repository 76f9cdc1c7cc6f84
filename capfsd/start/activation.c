/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Recognises the listener that the service manager passes. It owns nothing: the descriptor stays
 * the caller's, also when it is refused, and nobody accepts on it before there is a broker.
 */
#include "config.h"

#include "capfsd/start/activation.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "base/error.h"

/*
 * Only one with a path is taken, since its name is all by which a broker can tell it from the other
 * descriptors in the table; one of another type would bring clients that no message can be read
 * from. A service is not refused for a wrong socket: it is served on its own mount all the same.
 */
bool
activation_is_listener(int fd, char ret_name[108])
{
	struct sockaddr_un address = {};
	socklen_t n = sizeof(address);

	if (sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) > 0 &&
		getsockname(fd, (struct sockaddr *)&address, &n) == 0 &&
		address.sun_path[0] == '/' &&
		memchr(address.sun_path, '\0', sizeof(address.sun_path))) {
		memcpy(ret_name, address.sun_path, sizeof(address.sun_path));
		return true;
	}
	log_message(LOG_WARNING,
		"the socket '%s' is not used: it must be ListenSequentialPacket= with a path",
		ACTIVATION_NAME);
	return false;
}
