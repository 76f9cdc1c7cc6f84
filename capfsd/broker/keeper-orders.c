/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/broker/keeper-orders.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/msg.h"
#include "base/log.h"
#include "capfsd/broker/fronts.h"
#include "capfsd/broker/loading.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/loop.h"
#include "capfsd/programs/programs.h"
#include "capfsd/sockets/sockets.h"
#include "capfsd/state/state.h"

/* For a binary that is to be tried, at the other end of SOCKET; a failure ends the trial there. */
static void
send_copy(struct keeper_orders *o, int socket)
{
	cleanup_close int copy = state_copy(o->state);
	ssize_t n = copy;

	if (copy >= 0)
		n = msg_send(socket, "", 1, &copy, 1, MSG_DONTWAIT);
	if (n < 0)
		log_message(LOG_WARNING, "the state cannot be copied: %s", strerror((int)-n));
}

/* Never waits: a keeper that does not read has been told enough. */
int
keeper_orders_tell(const struct keeper_orders *o, enum keeper_type type)
{
	struct keeper_record record = {.type = type, .generation = o->boot->generation};
	ssize_t n = msg_send(BOOT_FD_KEEPER, &record, sizeof(record), NULL, 0, MSG_DONTWAIT);

	return n < 0 && n != -EAGAIN ? (int)n : 0;
}

/* For good: whoever is connected sees the end now, since no broker comes after this one. */
static void
on_stop(struct keeper_orders *o, int *fd)
{
	fronts_stop(o->fronts);
	loading_sync(o->state);
	sd_event_exit(o->event, BROKER_EXIT_STOPPED);
}

/* Between two requests: what was replied to is in the store, the rest comes again. */
static void
on_pause(struct keeper_orders *o, int *fd)
{
	sockets_pause(o->fronts->sockets);
	sd_event_exit(o->event, BROKER_EXIT_PAUSED);
}

/* Only keepers of 0.1.0 ask, and end a broker that does not say so. */
static void
on_ping(struct keeper_orders *o, int *fd)
{
	keeper_orders_tell(o, KEEPER_PONG);
}

static void
on_binder(struct keeper_orders *o, int *fd)
{
	jobs_set_binder(o->fronts->sockets, take_fd_from(fd));
}

static void
on_spawner(struct keeper_orders *o, int *fd)
{
	programs_set_spawner(o->fronts->programs, take_fd_from(fd));
}

static void
on_no_spawner(struct keeper_orders *o, int *fd)
{
	programs_set_spawner(o->fronts->programs, -1);
}

/* A keeper that does not know of it gives none. One that has gone is heard of soon. */
static void
want_spawner(void *data)
{
	struct keeper_orders *o = data;

	(void)keeper_orders_tell(o, KEEPER_WANT_SPAWNER);
}

static void
on_copy(struct keeper_orders *o, int *fd)
{
	send_copy(o, *fd);
}

/*
 * A record that is not here is of another version, and is ignored, as one with too many
 * descriptors.
 */
static const struct keeper_row {
	enum keeper_type type;
	size_t n_fds;
	void (*obey)(struct keeper_orders *o, int *fd);
} keeper_records[] = {
	{KEEPER_STOP, 0, on_stop},
	{KEEPER_PAUSE, 0, on_pause},
	{KEEPER_PING, 0, on_ping},
	{KEEPER_BINDER, 1, on_binder},
	{KEEPER_COPY, 1, on_copy},
	{KEEPER_SPAWNER, 1, on_spawner},
	{KEEPER_SPAWNER, 0, on_no_spawner},
};

static int
on_keeper(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct keeper_orders *o = data;
	struct keeper_record record;
	cleanup_close int passed = -1;
	size_t n_fds = 0;
	ssize_t n = msg_receive(fd, &record, sizeof(record), &passed, 1, &n_fds, MSG_DONTWAIT);

	/* The keeper has died. What systemd keeps is for the next daemon, else it is the end of all. */
	if (n == 0 || n == -ECONNRESET)
		record.type = o->boot->store_max ? KEEPER_PAUSE : KEEPER_STOP;
	else if (n != sizeof(record))
		return 0;
	for (size_t i = 0; i < sizeof(keeper_records) / sizeof(keeper_records[0]); i++)
		if (keeper_records[i].type == record.type && keeper_records[i].n_fds == n_fds)
			keeper_records[i].obey(o, &passed);
	return 0;
}

void
keeper_orders_join(struct keeper_orders *o)
{
	o->fronts->want_spawner = want_spawner;
	o->fronts->keeper = o;
}

int
keeper_orders_listen(struct keeper_orders *o)
{
	sd_event_source *source;

	return loop_add_io(o->event, BOOT_FD_KEEPER, EPOLLIN, on_keeper, o, &source);
}
