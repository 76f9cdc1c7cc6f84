/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections that no daemon has handed over: a connected socket, or a listener, whose clients all come to one
 * object. Nothing is known of them but what the kernel says, and nothing is counted.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "libcap-client/observe/observe.h"
#include "libcap-client/server/serving.h"

struct listener {
	struct watched watched;
	struct list link;
	uint64_t key;
	int fd;
	bool paused; /* for want of descriptors, until `retry_at` */
};

/* Takes FD. */
static void
plain_connect(struct capc_entrypoint *e, uint64_t key, int fd)
{
	const struct object *o = entrypoint_find(e, key);
	struct ucred from = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	socklen_t n = sizeof(from);
	struct capc_caller caller = {
		.badge = o ? o->badge : 0,
		.key = key,
		.rights = CAPC_RIGHT_CALL | CAPC_RIGHT_FDS,
		.pidfd = -1,
		.label = "",
	};

	/* What it does not tell of a socket stays what it is above. */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &from, &n);
	caller.uid = from.uid;
	caller.gid = from.gid;
	caller.pid = from.pid;
	observe_client(fd);
	if (!e->raw || (o && o->handler)) {
		connection_new(e, fd, &caller, 0);
		return;
	}
	entrypoint_unlock(e);
	e->raw(fd, &caller, e->raw_data);
	entrypoint_lock(e);
}

static void
listener_free(struct capc_entrypoint *e, struct listener *l)
{
	epoll_ctl(e->epoll, EPOLL_CTL_DEL, l->fd, NULL);
	l->fd = close_owned(l->fd, e->owner);
	list_unlink(&l->link);
	free(l);
}

void
listeners_free(struct capc_entrypoint *e)
{
	while (!list_empty(&e->listeners))
		listener_free(e, list_entry(list_first(&e->listeners), struct listener, link));
}

/* Without room for it a client is accepted with a spare descriptor, to be told. */
static int
listener_accept(struct capc_entrypoint *e, struct listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		spares_give(e);
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static int
listener_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watched);
	int fd = listener_accept(e, l), r;

	if (fd == -EMFILE || fd == -ENFILE) {
		/* Another thread took the room of the spares. */
		e->exhausted = fd;
		epoll_ctl(e->epoll, EPOLL_CTL_DEL, l->fd, NULL);
		l->paused = true;
		entrypoint_retry(e);
	}
	/* Somebody has shut it down: nobody comes there any more, and it could be read for ever. */
	if ((fd == -EAGAIN || fd == -EINVAL) && events & EPOLLHUP)
		listener_free(e, l);
	if (fd < 0)
		return 0;
	r = spares_take(e);
	if (r < 0)
		entrypoint_refuse(e, fd, r);
	else
		plain_connect(e, l->key, fd);
	/* What was refused has made room. */
	if (!e->error)
		spares_take(e);
	return 1;
}

void
listeners_retry(struct capc_entrypoint *e)
{
	list_for_each (i, &e->listeners) {
		struct listener *l = list_entry(i, struct listener, link);

		if (l->paused)
			l->paused = entrypoint_watch(e, l->fd, &l->watched) < 0;
	}
}

/* Takes FD. */
static int
listener_new(struct capc_entrypoint *e, uint64_t key, int from)
{
	cleanup_close int fd = from;
	struct listener *l;
	int r = fd_set_nonblock(fd, true);

	if (r < 0)
		return r;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->watched.dispatch = listener_dispatch;
	l->key = key;
	r = entrypoint_watch(e, fd, &l->watched);
	if (r < 0) {
		free(l);
		return r;
	}
	l->fd = take_fd(fd);
	list_append(&e->listeners, &l->link);
	return 0;
}

int
capc_serve_fd(struct capc_entrypoint *e, uint64_t key, int from)
{
	cleanup_close int fd = from;
	int r = entrypoint_check(e), listens = 0;
	socklen_t n = sizeof(listens);

	if (r == 0 && !entrypoint_find(e, key))
		r = -ENOENT;
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0)
		r = -errno;
	if (r == 0 && entrypoint_find(e, key)->handler && socket_type(fd) != SOCK_SEQPACKET)
		r = -EPROTOTYPE;
	if (r == 0)
		r = fd_set_cloexec(fd, true);
	if (r < 0)
		return r;
	entrypoint_lock(e);
	if (listens)
		r = listener_new(e, key, take_fd(fd));
	else
		plain_connect(e, key, take_fd(fd));
	entrypoint_unlock(e);
	return r;
}
