/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon sends to an entrypoint. It hands connected sockets over, each with a serial that ascends, and
 * counts those that were not acknowledged; after its own restart it may offer one again, which the serial tells.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/observe/observe.h"
#include "libcap-client/server/serving.h"
#include "libcap-client/server/visited.h"

static void
channel_watch(struct capc_entrypoint *e, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = &e->channel_watched};

	if (epoll_ctl(e->epoll, EPOLL_CTL_MOD, e->channel, &event) < 0)
		entrypoint_end(e, -errno);
}

/*
 * Tells the daemon that the last hand-over was taken. When the channel is full nothing else is
 * received until it was told.
 */
static void
channel_acknowledge(struct capc_entrypoint *e)
{
	uint8_t message[16];
	int n = wire_taken_encode(e->unacknowledged, message, sizeof(message));
	ssize_t sent = msg_send(e->channel, message, (size_t)n, NULL, 0, MSG_DONTWAIT);

	if (sent == -EAGAIN)
		channel_watch(e, EPOLLOUT);
	else if (sent < 0)
		entrypoint_end(e, -ENOTCONN);
	else
		e->unacknowledged = 0;
}

static bool
counts_itself(const struct capc_entrypoint *e, const struct wire_handover *m)
{
	const struct object *o = e->counts ? entrypoint_find(e, m->key) : NULL;

	return e->counts && !(o && o->handler);
}

/* Gives the connection to the raw handler or starts to read calls. Takes the descriptors. */
static void
handover_accept(struct capc_entrypoint *e, const struct wire_handover *m, int fd, int pidfd)
{
	char label[WIRE_LABEL_MAX + 1];
	struct capc_caller caller = {
		.badge = m->badge,
		.key = m->key,
		.capability = m->capability,
		.rights = m->rights,
		.uid = m->uid,
		.gid = m->gid,
		.pid = (pid_t)m->pid,
		.pidfd = pidfd,
		.label = label,
		.aside = m->aside,
		.caveats = m->caveats,
		.n_caveats = m->n_caveats,
		.page_index = m->page_index,
	};

	memcpy(label, m->label, m->n_label);
	label[m->n_label] = '\0';
	observe_client(fd);
	/* Whose calls are to be counted speaks them, unless the program counts what it speaks itself. */
	if (!e->raw || (m->page_index && !counts_itself(e, m))) {
		connection_new(e, fd, &caller, m->page_index);
		return;
	}
	entrypoint_unlock(e);
	e->raw(fd, &caller, e->raw_data);
	entrypoint_lock(e);
	fd_close(pidfd);
}

/* The listener of an object, or why there is none. Takes FD. Returns: 0, -EBADMSG, -EPROTO. */
static int
listener_take(struct capc_entrypoint *e, size_t n, int from)
{
	cleanup_close int fd = from;
	struct wire_listener m;
	struct object *o;
	int r = wire_listener_decode(e->packet->bytes, n, &m);

	if (r < 0)
		return r;
	if (!m.error != (fd >= 0))
		return -EBADMSG;
	e->unacknowledged = m.badge;
	channel_acknowledge(e);
	o = entrypoint_find_badge(e, m.badge);
	if (!o) {
		/* Nobody will accept there: whoever connects is told at once. */
		fd = fd_shutdown_close(fd);
	} else if (m.error) {
		o->listener_error = -(int)m.error;
	} else if (!o->has_come) {
		o->listener = take_fd(fd);
		o->has_come = true;
	}
	return 0;
}

/*
 * The daemon sends them once more after its own restart. Returns: 0, -EBADMSG, -EPROTO, -ENOTCONN: there
 * is no memory for them, and without them no call may be answered.
 */
static int
channel_take_pages(struct capc_entrypoint *e, size_t n, int fds[2], size_t n_fds)
{
	cleanup_close int granted = n_fds > 0 ? fds[0] : -1, used = n_fds > 1 ? fds[1] : -1;
	int r = wire_pages_decode(e->packet->bytes, n);

	if (r < 0)
		return r;
	if (used < 0)
		return -EBADMSG;
	r = e->limits.granted ? 0 : limits_map(granted, used, &e->limits);
	if (r == 0 && e->counts && e->pages[0] < 0) {
		e->pages[0] = take_fd(granted);
		e->pages[1] = take_fd(used);
	}
	return r == 0 || r == -EBADMSG || r == -EPROTO ? r : -ENOTCONN;
}

/* Without a word on what has come of them a server would keep for ever what its clients had. */
static int
channel_look(struct capc_entrypoint *e, size_t n)
{
	uint64_t id;
	int r = wire_visit_decode(e->packet->bytes, n, &id);

	if (r < 0)
		return r;
	e->unacknowledged = WIRE_VISIT_SERIAL;
	channel_acknowledge(e);
	entrypoint_unlock(e);
	r = e->error ? 0 : visited_look(e, id);
	entrypoint_lock(e);
	if (r < 0 && !e->error)
		entrypoint_end(e, r);
	return 0;
}

/*
 * One message of the daemon with the descriptors in FDS, closed on failure. Returns: 1 when it was
 * a connection, 0 for a repetition or a listener, -EBADMSG, -EPROTO.
 */
static int
channel_take(struct capc_entrypoint *e, size_t n, int fds[2], size_t n_fds)
{
	cleanup_close int fd = n_fds > 0 ? fds[0] : -1, pidfd = n_fds > 1 ? fds[1] : -1;
	struct wire_handover m;
	int r;

	if (n > 1 && e->packet->bytes[1] == WIRE_LISTENER)
		return listener_take(e, n, take_fd(fd));
	if (n > 1 && e->packet->bytes[1] == WIRE_VISIT)
		return channel_look(e, n);
	r = wire_handover_decode(e->packet->bytes, n, &m);
	if (r < 0)
		return r;
	if (fd < 0 || (m.page_index && !e->limits.granted))
		return -EBADMSG;
	e->unacknowledged = m.serial;
	if (m.serial <= e->serial) {
		/* The same connection again: a shutdown would end the one that is served. */
		channel_acknowledge(e);
		return 0;
	}
	e->serial = m.serial;
	channel_acknowledge(e);
	/* A daemon that does not know caveats must not be believed that there are none. */
	r = e->error || (e->caveats && !m.caveats) ? -ECONNREFUSED : spares_take(e);
	if (r == -ECONNREFUSED || (r < 0 && e->raw && !m.page_index))
		fd = fd_shutdown_close(fd);
	else if (r < 0)
		entrypoint_refuse(e, take_fd(fd), r);
	else
		handover_accept(e, &m, take_fd(fd), take_fd(pidfd));
	return 1;
}

/* Another thread took the room of the spares: the hand-over stays where it is for a while. */
static int
channel_pause(struct capc_entrypoint *e)
{
	epoll_ctl(e->epoll, EPOLL_CTL_DEL, e->channel, NULL);
	e->paused = true;
	e->exhausted = -EMFILE;
	entrypoint_retry(e);
	return 0;
}

void
channel_resume(struct capc_entrypoint *e)
{
	int r = entrypoint_watch(e, e->channel, &e->channel_watched);

	e->paused = false;
	if (r < 0)
		entrypoint_end(e, r);
}

/* One message, or what there is instead. Returns: as channel_take(); -EMFILE: it stays there. */
static int
channel_read(struct capc_entrypoint *e)
{
	int fds[2];
	size_t n_fds = 0;
	ssize_t n = msg_receive_whole(e->channel, e->packet->bytes, sizeof(e->packet->bytes), fds, 2, &n_fds);

	if (n > 1 && e->packet->bytes[1] == WIRE_PAGES)
		return channel_take_pages(e, (size_t)n, fds, n_fds);
	if (n > 0)
		return channel_take(e, (size_t)n, fds, n_fds);
	if (n == -EMFILE)
		return -EMFILE;
	for (size_t i = 0; n == 0 && i < n_fds; i++)
		fd_close(fds[i]);
	if (n == -EAGAIN)
		return 0;
	return n == -EBADMSG || n == -EMSGSIZE ? -EBADMSG : -ENOTCONN;
}

/*
 * A process at its limit of descriptors has no room for the socket. So two spare ones make it; when
 * they cannot be taken again afterwards, the connection is ended at once, and its client told why, lest
 * it wait for ever.
 */
static int
channel_receive(struct capc_entrypoint *e)
{
	int r = channel_read(e);

	if (r == -EMFILE) {
		spares_give(e);
		r = channel_read(e);
		if (r == -EMFILE)
			r = channel_pause(e);
	}
	if (r < 0 && !e->error)
		entrypoint_end(e, r);
	/* The sockets that were closed meanwhile have made room, or others have taken it. */
	if (!e->error)
		spares_take(e);
	return r > 0 ? r : 0;
}

int
channel_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events)
{
	(void)w;
	(void)events;
	if (!e->unacknowledged)
		return channel_receive(e);
	channel_acknowledge(e);
	if (!e->error && !e->unacknowledged)
		channel_watch(e, EPOLLIN);
	return 0;
}
