/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calling a service. The handle is the slot, not the connection: when a request cannot be sent
 * because the connection ended meanwhile, the slot is opened again, once. What was sent is never
 * repeated, since nobody knows whether it was executed.
 *
 * Whoever waits, to send or to receive, takes what comes for all calls: a server that waits for its
 * returns to be read would else never read the next call.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/private.h"

#define PENDING_MAX 256
#define ROOMS_MAX 16

struct capc {
	pid_t owner;
	struct capc_session *session; /* borrowed; NULL: opened by a node */
	char *slot;                   /* its node, with SESSION */
	int node;                     /* else the slot's directory, or its socket */
	bool is_socket;               /* … which of these */
	int fd;                       /* -1 once the connection ended */
	bool direct;                  /* another one is taken in its place, where there is one */
	int lifeline;                 /* … then this was the first; -1: none */
	int type;
	bool refused; /* the last call could not be sent, since there is no connection */
	uint64_t serial;
	struct list pending; /* in the order of their serials */
	unsigned n_pending;
	struct room room; /* for large payloads, once there are some */
	struct buffer out;
	struct window window;
	struct inbox in;
	struct spin spin;
	uint8_t buffer[WIRE_CALL_MAX];
};

CLEANUP_DEFINE(struct capc *, capc_free)

/* Of how many connections of this process to services memory is kept: nothing smaller has them all. */
static unsigned n_rooms;

/* The payload to come is large: there is to be memory for it that stays. */
static void
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

/* A call without a caller that has its reply. */
struct pending {
	struct list link;
	uint64_t serial;
	bool done;
	int error; /* once done: 0, or why there is no reply in `msg` */
	struct capc_msg msg;
};

static int
connect_any(struct capc *c, struct text *path, uint64_t deadline)
{
	int r = text_done(path);

	if (r < 0)
		return r;
	r = connect_path(path->data, SOCK_SEQPACKET, deadline, &c->fd);
	if (r == -EPROTOTYPE)
		r = connect_path(path->data, SOCK_STREAM, deadline, &c->fd);
	return r;
}

static int
connect_node(struct capc *c, uint64_t deadline)
{
	cleanup_text struct text path = {};

	text_addf(&path, "/proc/self/fd/%d%s", c->node, c->is_socket ? "" : "/socket");
	return connect_any(c, &path, deadline);
}

static int
connect_slot(struct capc *c, uint64_t deadline)
{
	cleanup_text struct text path = {};
	int root = session_root(c->session);

	if (root < 0)
		return root;
	text_addf(&path, "/proc/self/fd/%d/%s/socket", root, c->slot);
	return connect_any(c, &path, deadline);
}

/* Asks the daemon. *RET_ASIDE: does the server have another connection for us? */
static int
open_slot(struct capc *c, uint64_t deadline, bool *ret_aside)
{
	static const char aside[] = "aside";
	struct wire_reply reply;
	int r = session_do_fd_reply(c->session, WIRE_OPEN, c->slot, c->direct ? aside : NULL, deadline,
		&reply, &c->fd);

	*ret_aside = r == 0 && c->direct && reply.n_text == strlen(aside) &&
		memcmp(reply.text, aside, reply.n_text) == 0;
	return r;
}

/* The first connection stays, so that each end hears of the other's. */
static int
step_over(struct capc *c, uint64_t deadline)
{
	int fd = -1, r = aside_take(c->fd, deadline, &fd);

	if (r < 0) {
		c->fd = fd_shutdown_close(c->fd);
		return r;
	}
	c->lifeline = c->fd;
	c->fd = fd;
	return 0;
}

static int
reconnect(struct capc *c, uint64_t deadline)
{
	bool aside = false;
	int r;

	c->lifeline = fd_shutdown_close(c->lifeline);
	r = c->session ? open_slot(c, deadline, &aside) : connect_node(c, deadline);
	if (r == 0 && aside)
		r = step_over(c, deadline);
	/* Of a server that accepts by itself the daemon has no connections to give. */
	if (c->session && r == -EOPNOTSUPP)
		r = connect_slot(c, deadline);
	if (r < 0)
		return r;
	/* The daemon gives it with this switched off. */
	(void)fd_set_descriptors(c->fd, true);
	c->type = socket_type(c->fd);
	r = c->type < 0 ? c->type : fd_set_nonblock(c->fd, false);
	if (r < 0)
		c->fd = fd_shutdown_close(c->fd);
	return r;
}

static struct capc *
handle_new(void)
{
	struct capc *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->owner = getpid();
	c->session = NULL;
	c->refused = false;
	c->slot = NULL;
	c->node = -1;
	c->is_socket = false;
	c->fd = c->lifeline = -1;
	c->direct = false;
	c->type = 0;
	c->serial = 0;
	list_init(&c->pending);
	c->n_pending = 0;
	room_init(&c->room, 0);
	buffer_init(&c->out, &c->room, true);
	window_init(&c->window, &c->room);
	c->in = (struct inbox){.window = &c->window};
	c->spin = (struct spin){};
	return c;
}

static int
open_session(struct capc_session *s, const char *slot, bool direct, uint64_t timeout, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = handle_new();
	cleanup_text struct text node = {};
	int r;

	session_begin(s);
	text_addf(&node, "%s%s", strchr(slot, '/') ? "" : "caps/", slot);
	if (!c || text_done(&node) < 0)
		return -ENOMEM;
	c->session = s;
	c->direct = direct;
	c->slot = text_take(&node);
	r = reconnect(c, deadline_after(timeout));
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

int
capc_open(struct capc_session *s, const char *slot, uint64_t timeout, struct capc **ret)
{
	return open_session(s, slot, false, timeout, ret);
}

int
capc_open_direct(struct capc_session *s, const char *slot, uint64_t timeout, struct capc **ret)
{
	return open_session(s, slot, true, timeout, ret);
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
	r = reconnect(c, deadline_after(timeout));
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
pending_free(struct capc *c, struct pending *p)
{
	list_unlink(&p->link);
	c->n_pending--;
	capc_msg_done(&p->msg);
	free(p);
}

static struct pending *
pending_find(struct capc *c, uint64_t serial)
{
	list_for_each (i, &c->pending) {
		struct pending *p = list_entry(i, struct pending, link);

		if (p->serial == serial)
			return p;
	}
	return NULL;
}

struct capc *
capc_free(struct capc *c)
{
	if (!c)
		return NULL;
	while (!list_empty(&c->pending))
		pending_free(c, list_entry(list_first(&c->pending), struct pending, link));
	inbox_clear(&c->in);
	handle_leave(c);
	close_owned(c->fd, c->owner);
	close_owned(c->lifeline, c->owner);
	fd_close(c->node);
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
	return c->fd < 0 ? -ENOTCONN : c->fd;
}

int
capc_take_fd(struct capc *c)
{
	int fd = c->lifeline < 0 ? capc_fd(c) : -EOPNOTSUPP;

	if (fd >= 0)
		c->fd = -1;
	capc_free(c);
	return fd;
}

/* The connection is closed; what was sent on it has no reply. */
static int
call_end(struct capc *c, int error)
{
	c->fd = fd_shutdown_close(c->fd);
	c->lifeline = fd_shutdown_close(c->lifeline);
	inbox_clear(&c->in);
	/* The next one may be to another server. */
	window_drop(&c->window);
	buffer_drop(&c->out);
	list_for_each (i, &c->pending) {
		struct pending *p = list_entry(i, struct pending, link);

		p->error = p->done ? p->error : error;
		p->done = true;
	}
	return error;
}

/* Takes one packet. Returns: 1, 0 (there is none), or -errno: the connection has ended. */
static int
call_take(struct capc *c)
{
	struct wire_call reply;
	struct pending *p;
	int r = frame_receive(c->fd, c->buffer, sizeof(c->buffer), CAPC_FDS_MAX, true, &c->in, &reply);

	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return call_end(c, r);
	if (reply.serial > c->serial ||
		(r > 0 && (reply.type != WIRE_RETURN || reply.code > WIRE_ERRNO_MAX)))
		return call_end(c, -EBADMSG);
	if (r == 0)
		return 1;
	buffer_copied(&c->out, reply.serial);
	p = pending_find(c, reply.serial);
	if (!p || p->done) {
		inbox_discard(&c->in, &reply);
		return 1;
	}
	if (wire_call_is_large(&reply))
		handle_enter(c);
	r = inbox_take(&c->in, &reply, &p->msg);
	if (r == -EBADMSG)
		return call_end(c, r);
	p->error = r;
	p->done = true;
	return 1;
}

/* All that has come, or so much of it that there must be more calls than are under way. */
static int
call_take_all(struct capc *c)
{
	int r = 1;

	for (unsigned i = 0; r > 0 && i < PENDING_MAX; i++)
		r = call_take(c);
	return r < 0 ? r : 0;
}

/* Sends F on the connection there is. DEADLINE 0: only what can be sent at once. */
static int
call_transmit(struct capc *c, struct frame *f, uint64_t deadline)
{
	bool over = false;

	for (;;) {
		int r = frame_send(f, c->fd, c->buffer, sizeof(c->buffer));

		if (r == -EAGAIN && deadline > 0) {
			r = over ? -ETIMEDOUT : wait_until(c->fd, POLLIN | POLLOUT, deadline);
		} else if (r == -ETOOMANYREFS && deadline > 0) {
			r = over ? -ETIMEDOUT : wait_in_flight(deadline);
		} else {
			return r;
		}
		if (r == 0)
			r = call_take_all(c);
		if (r < 0)
			return r;
		/* What comes meanwhile must not prolong it. */
		over = deadline_left_msec(deadline) == 0;
	}
}

/* … or, if that has ended, on a new one. */
static int
call_send(struct capc *c, struct frame *f, uint64_t deadline)
{
	uint64_t connecting = deadline > 0 ? deadline : deadline_after(CAPC_TIMEOUT_USEC);

	for (bool fresh = c->fd < 0;; fresh = true) {
		int r = c->fd < 0 ? frame_restart(f) : 0;

		if (r == 0 && c->fd < 0) {
			r = reconnect(c, connecting);
			c->refused = r < 0;
		}
		if (r < 0)
			return r;
		if (c->type != SOCK_SEQPACKET)
			return -EPROTOTYPE;
		r = call_transmit(c, f, deadline);
		if (r != -EPIPE && r != -ECONNRESET)
			return r;
		/* Replies that came before the end are replies. */
		if (c->fd >= 0 && call_take_all(c) == 0)
			call_end(c, -ECONNRESET);
		if (fresh)
			return -ECONNRESET;
	}
}

/* As capc_call_start(), which has no deadline. */
static int
call_start(struct capc *c, const struct capc_msg *req, uint64_t deadline, uint64_t *ret_serial)
{
	struct pending *p;
	struct frame f;
	int r;

	c->refused = false;
	if (c->owner != process_id())
		return -ECHILD;
	if (c->n_pending >= PENDING_MAX)
		return -EBUSY;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	if (!room_is_empty(&c->room))
		room_expire(&c->room);
	if (req->n_data > WIRE_PAYLOAD_MAX)
		handle_enter(c);
	r = frame_begin(&f, WIRE_CALL, req->code, c->serial + 1, req, c->fd < 0 ? NULL : &c->out);
	if (r == 0) {
		p->serial = ++c->serial;
		r = call_send(c, &f, deadline);
	}
	frame_end(&f);
	if (r < 0) {
		free(p);
		return r;
	}
	list_append(&c->pending, &p->link);
	c->n_pending++;
	*ret_serial = p->serial;
	return 0;
}

int
capc_call_start(struct capc *c, const struct capc_msg *req, uint64_t *ret_serial)
{
	int r = call_start(c, req, 0, ret_serial);

	/* Perhaps the service waits for its replies to be read. */
	if (r != -EAGAIN)
		return r;
	r = call_take_all(c);
	return r < 0 ? r : call_start(c, req, 0, ret_serial);
}

int
capc_call_done(struct capc *c, uint64_t *ret_serial)
{
	if (c->owner != process_id())
		return -ECHILD;
	if (c->fd >= 0)
		call_take_all(c);
	list_for_each (i, &c->pending) {
		const struct pending *p = list_entry(i, struct pending, link);

		if (p->done) {
			*ret_serial = p->serial;
			return 1;
		}
	}
	return 0;
}

/* Waits until P is done, which is at once when its connection has ended. */
static int
pending_wait(struct capc *c, const struct pending *p, uint64_t deadline)
{
	bool again = false;

	while (!p->done && spin_again(&c->spin, deadline))
		call_take(c);
	spin_end(&c->spin, p->done);
	while (!p->done) {
		int r;

		/* What comes for others must not prolong it. */
		if (again && deadline != UINT64_MAX && deadline_left_msec(deadline) == 0)
			return -ETIMEDOUT;
		again = true;
		r = wait_until(c->fd, POLLIN, deadline);
		if (r < 0)
			return r;
		call_take(c);
	}
	return 0;
}

static int
call_finish(struct capc *c, uint64_t serial, struct capc_msg *ret, uint64_t deadline)
{
	struct pending *p;
	int r;

	*ret = (struct capc_msg){.origin = CAPC_ORIGIN_LIBRARY};
	if (c->owner != process_id())
		return -ECHILD;
	p = pending_find(c, serial);
	if (!p)
		return -ENOENT;
	r = pending_wait(c, p, deadline);
	if (r < 0)
		return r;
	r = p->error ? p->error : -(int)p->msg.code;
	*ret = p->msg;
	if (p->error)
		ret->origin = CAPC_ORIGIN_LIBRARY;
	p->msg = (struct capc_msg){};
	pending_free(c, p);
	return r;
}

int
capc_call_finish(struct capc *c, uint64_t serial, struct capc_msg *ret, uint64_t timeout)
{
	return call_finish(c, serial, ret, deadline_after(timeout));
}

int
capc_call_cancel(struct capc *c, uint64_t serial)
{
	struct pending *p;
	struct frame f;

	if (c->owner != process_id())
		return -ECHILD;
	p = pending_find(c, serial);
	if (!p)
		return -ENOENT;
	/* A server that does not even read is not to be waited for. */
	if (!p->done && frame_begin(&f, WIRE_CANCEL, 0, serial, &(struct capc_msg){}, NULL) == 0) {
		frame_send(&f, c->fd, c->buffer, sizeof(c->buffer));
		frame_end(&f);
	}
	pending_free(c, p);
	return 0;
}

int
capc_call(struct capc *c, const struct capc_msg *req, struct capc_msg *ret, uint64_t timeout)
{
	uint64_t deadline = deadline_after(timeout), serial;
	int r;

	r = call_start(c, req, deadline > 0 ? deadline : 1, &serial);
	/* Not before REQ was read: both may be one. */
	*ret = (struct capc_msg){.origin = c->refused ? CAPC_ORIGIN_DAEMON : CAPC_ORIGIN_LIBRARY};
	if (r < 0)
		return r;
	r = call_finish(c, serial, ret, deadline);
	if (r == -ETIMEDOUT && pending_find(c, serial))
		capc_call_cancel(c, serial);
	return r;
}
