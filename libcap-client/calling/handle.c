/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/calling/calling.h"

#define ROOMS_MAX ROOM_MAX

CLEANUP_DEFINE(struct capc *, capc_free)

/* Of how many connections of this process to services memory is kept: nothing smaller has them all. */
static unsigned n_rooms;

void
handle_enter(struct capc *c)
{
	if (c->room.max > 0)
		return;
	if (__atomic_add_fetch(&n_rooms, 1, __ATOMIC_RELAXED) <= ROOMS_MAX)
		c->room.max = 1;
	else
		__atomic_sub_fetch(&n_rooms, 1, __ATOMIC_RELAXED);
}

static void
handle_leave(struct capc *c)
{
	window_drop(&c->window);
	buffer_drop(&c->out);
	room_deinit(&c->room);
	if (c->room.max > 0)
		__atomic_sub_fetch(&n_rooms, 1, __ATOMIC_RELAXED);
	c->room.max = 0;
}

static struct capc *
handle_new(void)
{
	struct capc *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->packet = malloc(sizeof(*c->packet));
	if (!c->packet) {
		free(c);
		return NULL;
	}
	c->owner = process_id();
	c->node = c->fd = c->server = c->lifeline = -1;
	c->epoll = c->timer = c->watched_fd = c->watched_session = c->watched_server = -1;
	c->timer_msec = -1;
	c->retry_msec = RETRY_MSEC;
	list_init(&c->opening.link);
	list_init(&c->queued);
	list_init(&c->sent);
	list_init(&c->cancelling);
	list_init(&c->cancelled);
	list_init(&c->done);
	list_init(&c->due);
	room_init(&c->room, 0);
	buffer_init(&c->out, &c->room, true);
	window_init(&c->window, &c->room);
	c->in = (struct inbox){.window = &c->window};
	return c;
}

static int
handle_new_of(struct capc_session *s, const char *slot, unsigned flags, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = handle_new();
	cleanup_text struct text node = {};

	session_begin(s);
	text_addf(&node, "%s%s", strchr(slot, '/') ? "" : "caps/", slot);
	if (!c || text_done(&node) < 0)
		return -ENOMEM;
	c->session = s;
	c->flags = flags;
	c->slot = text_take(&node);
	*ret = take_ptr(c);
	return 0;
}

static int
open_session(struct capc_session *s, const char *slot, unsigned flags, uint64_t timeout, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = NULL;
	int r = handle_new_of(s, slot, flags, &c);

	if (r == 0)
		r = link_connect(c, deadline_after(timeout));
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

int
capc_open(struct capc_session *s, const char *slot, uint64_t timeout, struct capc **ret)
{
	return open_session(s, slot, 0, timeout, ret);
}

int
capc_open_direct(struct capc_session *s, const char *slot, uint64_t timeout, struct capc **ret)
{
	return open_session(s, slot, CAPC_DIRECT, timeout, ret);
}

int
capc_open_flags(struct capc_session *s, const char *slot, unsigned flags, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = NULL;
	int r = flags & ~(unsigned)(CAPC_ONE_CONNECTION | CAPC_DIRECT) ? -EINVAL : 0;

	if (r == 0)
		r = handle_new_of(s, slot, flags, &c);
	if (r == 0)
		r = link_begin(c);
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

int
capc_from_fd(int from, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = handle_new();
	cleanup_close int fd = from;
	int r = c ? fd_set_cloexec(fd, true) : -ENOMEM;

	if (r < 0)
		return r;
	c->fd = take_fd(fd);
	r = link_up(c);
	if (r == 0)
		*ret = take_ptr(c);
	return r;
}

static int
open_node(int fd, bool is_socket, uint64_t timeout, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = handle_new();
	int r;

	if (!c)
		return -ENOMEM;
	c->node = fd_dup(fd);
	if (c->node < 0)
		return c->node;
	c->is_socket = is_socket;
	r = link_connect(c, deadline_after(timeout));
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

int
capc_open_dir(int dirfd, uint64_t timeout, struct capc **ret)
{
	return open_node(dirfd, false, timeout, ret);
}

int
capc_open_node(int fd, uint64_t timeout, struct capc **ret)
{
	return open_node(fd, true, timeout, ret);
}

static void
pendings_free(struct capc *c, struct list *l)
{
	while (!list_empty(l))
		pending_free(c, list_entry(list_first(l), struct pending, link));
}

struct capc *
capc_free(struct capc *c)
{
	if (!c)
		return NULL;
	if (c->is_dispatching) {
		c->is_freed = true;
		return NULL;
	}
	pendings_free(c, &c->queued);
	pendings_free(c, &c->sent);
	pendings_free(c, &c->cancelling);
	pendings_free(c, &c->cancelled);
	pendings_free(c, &c->done);
	pendings_free(c, &c->due);
	index_deinit(&c->by_serial);
	list_unlink(&c->opening.link);
	inbox_clear(&c->in);
	handle_leave(c);
	/* In a child of fork they are the parent's as well. */
	if (c->owner == process_id())
		dispatch_forget(c);
	fd_close(c->epoll);
	fd_close(c->timer);
	close_owned(c->fd, c->owner);
	close_owned(c->lifeline, c->owner);
	fd_close(c->server);
	fd_close(c->node);
	free(c->packet);
	free(c->slot);
	free(c);
	return NULL;
}

int
capc_set_busy_poll(struct capc *c, uint64_t usec)
{
	return c->owner == process_id() ? spin_set(&c->spin, usec) : -ECHILD;
}

int
capc_fd(const struct capc *c)
{
	if (c->owner != process_id())
		return -ECHILD;
	return c->state == LINK_UP ? c->fd : -ENOTCONN;
}

int
capc_take_fd(struct capc *c)
{
	int fd = c->lifeline < 0 ? capc_fd(c) : -EOPNOTSUPP;

	if (fd >= 0) {
		dispatch_forget(c);
		if (c->is_timed)
			(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){}, sizeof(struct timeval));
		c->fd = -1;
	}
	capc_free(c);
	return fd;
}

uint64_t
capc_generation(const struct capc *c)
{
	return c->generation;
}
