/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The listener that a service manager made: a second name of the root session's control socket, in
 * a place that is there before the mount is, so that the first client starts the daemon.
 *
 * The open file is the manager's as well, which listens again when we have gone. So it is never
 * shut down, only closed, and whoever is in its backlog then waits for the next daemon.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

bool
activation_is(const struct ipc *ipc, int fd)
{
	struct sockaddr_un address = {};
	socklen_t n = sizeof(address);
	const char *path = ipc->boot->activation;

	if (!path[0] || getsockname(fd, (struct sockaddr *)&address, &n) < 0)
		return false;
	return address.sun_family == AF_UNIX &&
	       strncmp(address.sun_path, path, sizeof(address.sun_path)) == 0;
}

static void
accepted(void *data, int client)
{
	struct ipc *ipc = data;

	listener_admit(ipc, &ipc->model->root->entity, client);
}

static int
activation_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct ipc *ipc = data;
	int r = listener_accept_each(fd, accepted, ipc);

	if (r > 0) {
		listener_complain(ipc, -r);
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		ipc_arm(ipc->pause_timer, PAUSE_USEC);
	} else if (r < 0) {
		log_message(LOG_NOTICE, "%s does not listen any more", ipc->boot->activation);
		activation_close(ipc);
	}
	return 0;
}

void
activation_adopt(struct ipc *ipc, int fd)
{
	int r;

	if (!socket_is_listening(fd)) {
		listener_admit(ipc, &ipc->model->root->entity, fd);
		return;
	}
	/* A second one is what the dead broker was about to close. */
	r = ipc->activation_fd >= 0 ? -EEXIST : fd_set_nonblock(fd, true);
	if (r == 0)
		r = ipc_add_io(ipc, fd, EPOLLIN, activation_on_io, ipc, &ipc->activation_source);
	if (r == 0)
		ipc->activation_fd = fd;
	else
		fd_close(fd);
}

void
activation_resume(struct ipc *ipc)
{
	if (ipc->activation_source)
		sd_event_source_set_enabled(ipc->activation_source, SD_EVENT_ON);
}

void
activation_close(struct ipc *ipc)
{
	ipc->activation_source = sd_event_source_disable_unref(ipc->activation_source);
	if (!ipc->forgetting)
		fd_close(ipc->activation_fd);
	ipc->activation_fd = -1;
}
