/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/activation.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>

#include "base/error.h"

#define ACTIVATION_NAME "control"

/* A socket of a name in the file system, by which the broker finds it among the others. */
static bool
is_listener(int fd, char ret_name[108])
{
	struct sockaddr_un address = {};
	socklen_t n = sizeof(address);

	if (sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0 ||
		getsockname(fd, (struct sockaddr *)&address, &n) < 0 || address.sun_path[0] != '/')
		return false;
	memcpy(ret_name, address.sun_path, sizeof(address.sun_path));
	return memchr(ret_name, '\0', sizeof(address.sun_path)) != NULL;
}

int
activation_take(char ret_name[108])
{
	char **names = NULL;
	int n, found = -1;

	n = sd_listen_fds_with_names(true, &names);
	for (int i = 0; i < n; i++) {
		if (found < 0 && strcmp(names[i], ACTIVATION_NAME) == 0) {
			if (is_listener(SD_LISTEN_FDS_START + i, ret_name))
				found = SD_LISTEN_FDS_START + i;
			else
				log_message(LOG_WARNING,
					"the socket '%s' is not used: it must be ListenSequentialPacket= "
					"with a path", ACTIVATION_NAME);
		}
		free(names[i]);
	}
	free(names);
	if (found < 0)
		ret_name[0] = '\0';
	return found;
}
