/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a capability or of a session's control, and whoever came through it.
 *
 * A listener is shut down before it is closed, since a duplicate would keep it connectable, and
 * its backlog is emptied, since who waits there would wait for ever.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

#define REFUSED_USEC 1000000
#define COMPLAINT_USEC 10000000
#define LENT_BACKLOG_MAX 65536

static void **
listener_slot(const struct entity *e)
{
	if (e->kind == ENTITY_CAPABILITY)
		return &capability_of(e)->listener;
	if (e->kind == ENTITY_OBJECT)
		return &object_of(e)->listener;
	return &session_of(e)->listener;
}

struct listener *
listener_find(const struct entity *e)
{
	return *listener_slot(e);
}

struct listener *
listener_get(struct ipc *ipc, struct entity *e)
{
	struct listener *l = listener_find(e);

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->ipc = ipc;
	l->entity = e;
	l->fd = -1;
	list_init(&l->state_link);
	list_init(&l->paused_link);
	list_init(&l->connections);
	list_init(&l->lend_link);
	list_append(&ipc->listeners, &l->link);
	ipc->n_listeners++;
	*listener_slot(e) = l;
	return l;
}

/* Is somebody there, or will be, while the callers wait? */
static bool
entrypoint_accepts(const struct entrypoint *e)
{
	return !entrypoint_listens(e) && (e->channel || e->record.hold);
}

bool
listener_is_served(const struct entity *e)
{
	if (e->kind == ENTITY_CAPABILITY)
		return connection_is_allowed(capability_of(e)) &&
		       entrypoint_accepts(capability_entrypoint(capability_of(e)));
	if (e->kind == ENTITY_OBJECT)
		return object_of(e)->entrypoint->channel &&
		       object_find(object_of(e)->entrypoint, object_of(e)->record.badge);
	return session_of(e)->record.state == SESSION_RUNNING;
}

void
listener_move(struct listener *l, enum listener_state state, struct list *list)
{
	struct ipc *ipc = l->ipc;

	if (l->state == LISTENER_BOUND && !list_empty(&l->state_link))
		ipc->n_idle--;
	list_unlink(&l->state_link);
	l->state = state;
	if (!list)
		return;
	list_append(list, &l->state_link);
	if (list == &ipc->idle)
		ipc->n_idle++;
}

void
listener_touch(struct listener *l)
{
	if (l->state == LISTENER_BOUND && !listener_is_lent(l))
		listener_move(l, LISTENER_BOUND, l->n_connections > 0 ? NULL : &l->ipc->idle);
}

void
listener_link(struct listener *l, struct list *link)
{
	list_append(&l->connections, link);
	l->n_connections++;
	listener_touch(l);
}

void
listener_unlink(struct listener *l, struct list *link)
{
	list_unlink(link);
	l->n_connections--;
	if (l->n_connections == 0)
		listener_touch(l);
	listener_release(l);
}

void
listener_release(struct listener *l)
{
	if (l->state == LISTENER_UNBOUND && l->n_connections == 0)
		listener_free(l);
}

int
listener_charge(struct listener *l)
{
	if (l->charge.session)
		return 0;
	return charge_init(&l->charge, entity_session(l->entity), QUOTA_SOCKETS, 1) ? EDQUOT : 0;
}

void
listener_done(struct listener *l, int error)
{
	if (!l->wanted)
		return;
	l->wanted = false;
	l->ipc->fs->socket_done(l->ipc->fs_data, l->entity, error);
}

void
listener_log_refusal(struct listener *l, uid_t uid, int error, const char *reason)
{
	const struct entity *e = l->entity;
	bool slot = e->kind == ENTITY_CAPABILITY;
	uint64_t now = ipc_now(l->ipc);

	if (l->refused_usec && now - l->refused_usec < REFUSED_USEC)
		return;
	l->refused_usec = now;
	event_log(l->ipc->model, entity_session(e), "refused connect %s%s uid=%u %s: %s",
		slot ? "caps/" : "control", slot ? e->name : "", (unsigned)uid, error_name(error),
		reason);
}

void
listener_complain(struct ipc *ipc, int error)
{
	uint64_t now = ipc_now(ipc);

	if (ipc->logged_usec && now - ipc->logged_usec <= COMPLAINT_USEC)
		return;
	ipc->logged_usec = now;
	log_message(LOG_WARNING, "accept: %s: clients wait", error_name(error));
}

/* Nobody is accepted while there are no descriptors; the backlog keeps who comes. */
static void
listener_pause(struct listener *l, int error)
{
	struct ipc *ipc = l->ipc;

	listener_complain(ipc, error);
	if (l->source)
		sd_event_source_set_enabled(l->source, SD_EVENT_OFF);
	list_unlink(&l->paused_link);
	list_append(&ipc->paused, &l->paused_link);
	ipc_arm(ipc->pause_timer, PAUSE_USEC);
}

int
listener_on_pause(sd_event_source *source, uint64_t usec, void *data)
{
	struct ipc *ipc = data;

	activation_resume(ipc);
	list_for_each_safe (i, &ipc->paused) {
		struct listener *l = list_entry(i, struct listener, paused_link);

		list_unlink(&l->paused_link);
		if (l->source)
			sd_event_source_set_enabled(l->source, SD_EVENT_ON);
	}
	return 0;
}

void
listener_accepted(struct listener *l, int fd)
{
	l->ipc->activity++;
	if (l->entity->kind == ENTITY_CAPABILITY)
		connection_accepted(l, fd);
	else
		control_accepted(l, fd);
}

void
listener_admit(struct ipc *ipc, struct entity *e, int fd)
{
	struct listener *l = listener_get(ipc, e);

	if (!l) {
		socket_discard(fd);
		return;
	}
	/* Held, since a refusal lets go of a listener that is not bound. */
	l->n_connections++;
	listener_accepted(l, fd);
	l->n_connections--;
	listener_touch(l);
	listener_release(l);
}

bool
socket_is_listening(int fd)
{
	int listening = 0;
	socklen_t n = sizeof(listening);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening;
}

/* The next connection of the listener FD. Returns: its descriptor, -errno. */
static int
listener_accept(int fd)
{
	/*
	 * Not SOCK_NONBLOCK: that flag would be the server's too, which shares the open file and
	 * may expect a socket that blocks.
	 */
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	return client < 0 ? -errno : client;
}

int
listener_accept_each(int fd, void (*f)(void *data, int client), void *data)
{
	for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
		int client = listener_accept(fd);

		switch (client) {
		case -EAGAIN:
			return 0;
		case -EINTR:
		case -ECONNABORTED:
		case -EPERM:
			continue;
		case -EMFILE:
		case -ENFILE:
		case -ENOBUFS:
		case -ENOMEM:
			return -client;
		}
		if (client < 0)
			return client;
		f(data, client);
	}
	return 0;
}

static void
accepted(void *data, int client)
{
	listener_accepted(data, client);
}

static int
listener_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct listener *l = data;
	int r = listener_accept_each(fd, accepted, l);

	if (r > 0) {
		listener_pause(l, -r);
	} else if (r < 0) {
		/* Shut down by nobody of us: it can be looked up again. */
		l->ipc->fs->socket_invalidate(l->ipc->fs_data, l->entity);
		listener_close(l, false);
		charge_deinit(&l->charge);
		listener_move(l, LISTENER_UNBOUND, NULL);
		listener_release(l);
	}
	return 0;
}

/* Empties the backlog. Without descriptors what is left goes with the close: EOF there. */
static void
listener_drain(struct listener *l, int fd, bool serve)
{
	/* A server can have made the backlog of its listener as long as the system allows. */
	unsigned max = listener_is_lent(l) ? LENT_BACKLOG_MAX : 2 * BACKLOG + 2;

	for (unsigned i = 0; i < max; i++) {
		int client = listener_accept(fd);

		if (client == -EINTR || client == -ECONNABORTED)
			continue;
		if (client < 0)
			return;
		if (serve)
			listener_accepted(l, client);
		else
			socket_discard(client);
	}
}

void
listener_close(struct listener *l, bool serve)
{
	int fd = take_fd(l->fd);

	l->source = sd_event_source_disable_unref(l->source);
	list_unlink(&l->paused_link);
	if (fd < 0 || l->ipc->forgetting)
		return;
	if (serve && !listener_is_lent(l))
		listener_drain(l, fd, true);
	/* After this accept(2) does not wait any more, whatever a server has made of the file. */
	shutdown(fd, SHUT_RDWR);
	listener_drain(l, fd, serve);
	fd_close(fd);
}

/* Servers that know nothing of us expect one that blocks, as from systemd. */
static int
listener_set_lent(struct listener *l, int fd)
{
	int r;

	/* The server may have the first one already. */
	if (l->fd >= 0) {
		fd_shutdown_close(fd);
		return 0;
	}
	r = fd_set_nonblock(fd, false);
	if (r < 0) {
		fd_shutdown_close(fd);
		return error_trace(r);
	}
	l->fd = fd;
	listener_move(l, LISTENER_BOUND, NULL);
	lend_bound(l);
	return 0;
}

int
listener_set_fd(struct listener *l, int fd)
{
	sd_event_source *source = NULL;
	int r;

	if (listener_is_lent(l))
		return listener_set_lent(l, fd);
	r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = ipc_add_io(l->ipc, fd, EPOLLIN, listener_on_io, l, &source);
	if (r < 0) {
		fd_shutdown_close(fd);
		return error_trace(r);
	}
	/* The youngest of several that are bound to one inode is the one that gets the clients. */
	listener_close(l, true);
	l->source = source;
	l->fd = fd;
	listener_move(l, LISTENER_BOUND, NULL);
	listener_touch(l);
	return 0;
}

static void
listener_end_connections(struct listener *l)
{
	while (!list_empty(&l->connections)) {
		struct list *link = list_first(&l->connections);

		list_unlink(link);
		l->n_connections--;
		if (l->entity->kind == ENTITY_CAPABILITY) {
			struct connection *conn =
				list_entry(link, struct connection, listener_link);

			conn->listener = NULL;
			connection_end(conn);
		} else {
			struct control *c = list_entry(link, struct control, listener_link);

			c->listener = NULL;
			control_free(c);
		}
	}
}

struct listener *
listener_free(struct listener *l)
{
	if (!l)
		return NULL;
	lend_end(l);
	listener_close(l, false);
	listener_end_connections(l);
	listener_move(l, LISTENER_UNBOUND, NULL);
	charge_deinit(&l->charge);
	*listener_slot(l->entity) = NULL;
	list_unlink(&l->link);
	l->ipc->n_listeners--;
	free(l);
	return NULL;
}
