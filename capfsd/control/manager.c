/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The listener that a service manager made: a second name of the root session's control socket, in
 * a place that is there before the mount is, so that the first client starts the daemon.
 *
 * The open file is the manager's as well, which listens again when we have gone. So it is never
 * shut down, only closed, and whoever is in its backlog then waits for the next daemon.
 */
#include "config.h"

#include "capfsd/control/manager.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#include "base/error.h"
#include "base/fd.h"
#include "capfsd/control/control.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/model/model.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"

#define PAUSE_USEC 100000 /* without descriptors nobody is accepted for so long */

/*
 * Has FD the name of that listener, as it or as accepted of it? The name is all there is to know it
 * by: it was left by a predecessor without a record.
 */
bool
manager_is(const struct controls *controls, int fd)
{
	struct sockaddr_un address = {};
	socklen_t n = sizeof(address);
	const char *path = controls->sockets->boot->activation;

	if (!path[0] || getsockname(fd, (struct sockaddr *)&address, &n) < 0)
		return false;
	return address.sun_family == AF_UNIX &&
	       strncmp(address.sun_path, path, sizeof(address.sun_path)) == 0;
}

/*
 * As if it had connected to the root's control inside the mount: it has the same rights and limits.
 */
static void
accepted(void *data, int client)
{
	struct sockets *sockets = data;

	listener_admit(sockets, &sockets->model->root->entity, client);
}

/*
 * Without descriptors nothing is asked for a moment, since a listener with somebody in its backlog
 * would wake the loop again with each who comes.
 */
static bool
manager_on_io(void *data)
{
	struct controls *controls = data;
	struct sockets *sockets = controls->sockets;
	int r = socket_accept_one(controls->manager_fd, accepted, sockets);

	if (r == 0)
		return true;
	if (r == EAGAIN)
		return false;
	if (r > 0) {
		listener_complain(sockets, r);
		watch_set(&controls->manager_watch, 0);
		loop_arm(controls->manager_pause, PAUSE_USEC);
		return false;
	}
	log_message(LOG_NOTICE, "%s does not listen any more", sockets->boot->activation);
	manager_close(controls);
	return false;
}

/* There may be descriptors again. */
static int
manager_on_pause(sd_event_source *source, uint64_t usec, void *data)
{
	struct controls *controls = data;

	if (controls->manager_fd >= 0)
		watch_set(&controls->manager_watch, EPOLLIN);
	return 0;
}

bool
manager_adopt(struct controls *controls, int fd)
{
	struct sockets *sockets = controls->sockets;
	int r;

	if (!manager_is(controls, fd))
		return false;
	if (!socket_is_listening(fd)) {
		accepted(sockets, fd);
		return true;
	}
	(void)fd_refuse_descriptors(fd);
	/* A second one is what the dead broker was about to close. */
	r = controls->manager_fd >= 0 ? -EEXIST : fd_set_nonblock(fd, true);
	if (r == 0)
		r = core_watch(sockets, &controls->manager_watch, sockets->model->root, fd,
			EPOLLIN, manager_on_io, controls);
	if (r == 0)
		controls->manager_fd = fd;
	else
		disposal_leave(sockets->disposal, fd, sockets->model->root, NULL);
	return true;
}

void
manager_close(struct controls *controls)
{
	watch_remove(&controls->manager_watch);
	/* Not shut down: it is the service manager's. */
	if (!controls->sockets->forgetting)
		disposal_leave(controls->sockets->disposal, controls->manager_fd,
			controls->sockets->model->root, NULL);
	controls->manager_fd = -1;
}

int
manager_init(struct controls *controls)
{
	return loop_add_timer(controls->sockets->event, manager_on_pause, controls,
		&controls->manager_pause);
}

void
manager_deinit(struct controls *controls)
{
	manager_close(controls);
	controls->manager_pause = sd_event_source_disable_unref(controls->manager_pause);
}
