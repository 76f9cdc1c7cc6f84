/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calling a service. The handle is the slot, not the connection: when a request cannot be sent
 * because the connection ended meanwhile, the slot is opened again, once. What was sent is never
 * repeated, since nobody knows whether it was executed.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/private.h"

#define ERRNO_MAX 4095

struct capc {
	pid_t owner;
	struct capc_session *session; /* borrowed; NULL: opened by directory */
	char *slot;                   /* its node, with SESSION */
	int dirfd;                    /* else the slot's directory */
	int fd;                       /* -1 once the connection ended */
	int type;
	uint64_t serial;
	uint8_t buffer[WIRE_CALL_MAX];
};

CLEANUP_DEFINE(struct capc *, capc_free)

/* What a message owns, in one block with its data. */
struct message {
	int fds[CAPC_FDS_MAX];
	char data[];
};

int
message_make(uint32_t code, const void *data, size_t n_data, int fd, struct capc_msg *ret)
{
	struct message *m = malloc(sizeof(*m) + n_data + 1);

	if (!m)
		return -ENOMEM;
	if (n_data > 0)
		memcpy(m->data, data, n_data);
	m->data[n_data] = '\0';
	m->fds[0] = fd;
	*ret = (struct capc_msg){
		.code = code,
		.data = m->data,
		.n_data = n_data,
		.fds = m->fds,
		.n_fds = fd >= 0,
		.owned = m,
	};
	return 0;
}

int
message_check(const struct capc_msg *m)
{
	if (m->n_data > CAPC_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (m->n_fds > CAPC_FDS_MAX || (m->n_data > 0 && !m->data))
		return -EINVAL;
	return 0;
}

int
capc_msg_take_fd(struct capc_msg *m, size_t i)
{
	struct message *owned = m->owned;

	if (!owned || i >= m->n_fds || owned->fds[i] < 0)
		return -EBADF;
	return take_fd(owned->fds[i]);
}

void
capc_msg_done(struct capc_msg *m)
{
	struct message *owned = m->owned;

	for (size_t i = 0; owned && i < m->n_fds; i++)
		fd_close(owned->fds[i]);
	free(owned);
	*m = (struct capc_msg){};
}

static int
connect_dir(struct capc *c, uint64_t deadline)
{
	cleanup_text struct text path = {};
	int r;

	text_addf(&path, "/proc/self/fd/%d/socket", c->dirfd);
	r = text_done(&path);
	if (r < 0)
		return r;
	r = connect_path(path.data, SOCK_SEQPACKET, deadline, &c->fd);
	if (r == -EPROTOTYPE)
		r = connect_path(path.data, SOCK_STREAM, deadline, &c->fd);
	return r;
}

static int
reconnect(struct capc *c, uint64_t deadline)
{
	int r = c->session ? session_do_fd(c->session, WIRE_OPEN, c->slot, NULL, deadline, &c->fd)
			   : connect_dir(c, deadline);

	if (r < 0)
		return r;
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
	c->slot = NULL;
	c->dirfd = -1;
	c->fd = -1;
	c->type = 0;
	c->serial = 0;
	return c;
}

int
capc_open(struct capc_session *s, const char *slot, uint64_t timeout, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = handle_new();
	cleanup_text struct text node = {};
	int r;

	session_begin(s);
	text_addf(&node, "%s%s", strchr(slot, '/') ? "" : "caps/", slot);
	if (!c || text_done(&node) < 0)
		return -ENOMEM;
	c->session = s;
	c->slot = text_take(&node);
	r = reconnect(c, deadline_after(timeout));
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

int
capc_open_dir(int dirfd, uint64_t timeout, struct capc **ret)
{
	cleanup(capc_free_p) struct capc *c = handle_new();
	int r;

	if (!c)
		return -ENOMEM;
	c->dirfd = fd_dup(dirfd);
	if (c->dirfd < 0)
		return c->dirfd;
	r = reconnect(c, deadline_after(timeout));
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

struct capc *
capc_free(struct capc *c)
{
	if (!c)
		return NULL;
	close_owned(c->fd, c->owner);
	fd_close(c->dirfd);
	free(c->slot);
	free(c);
	return NULL;
}

int
capc_fd(const struct capc *c)
{
	if (c->owner != getpid())
		return -ECHILD;
	return c->fd < 0 ? -ENOTCONN : c->fd;
}

static int
call_end(struct capc *c, int error)
{
	c->fd = fd_shutdown_close(c->fd);
	return error;
}

/* Sends the N bytes in the buffer on the connection, or, if that has ended, on a new one. */
static int
call_send(struct capc *c, size_t n, const struct capc_msg *req, uint64_t deadline)
{
	for (bool fresh = c->fd < 0;; fresh = true) {
		int r = c->fd < 0 ? reconnect(c, deadline) : 0;

		if (r < 0)
			return r;
		if (c->type != SOCK_SEQPACKET)
			return -EPROTOTYPE;
		r = send_until(c->fd, c->buffer, n, req->fds, req->n_fds, deadline);
		if (r != -EPIPE && r != -ECONNRESET)
			return r;
		r = call_end(c, -ECONNRESET);
		if (fresh)
			return r;
	}
}

/* Waits for the reply to the last call; those to calls that were given up are discarded. */
static int
call_receive(struct capc *c, struct capc_msg *ret, uint64_t deadline)
{
	for (;;) {
		cleanup_close int fd = -1;
		ssize_t n = receive_until(c->fd, c->buffer, sizeof(c->buffer), &fd, deadline);
		struct wire_call reply;
		int r;

		if (n == -ETIMEDOUT)
			return (int)n;
		if (n <= 0)
			return call_end(c, n == 0 ? -ECONNRESET : (int)n);
		r = wire_call_decode(c->buffer, (size_t)n, &reply);
		if (r == 0 && (reply.type != WIRE_RETURN || reply.code > ERRNO_MAX ||
				      reply.serial > c->serial))
			r = -EBADMSG;
		if (r < 0)
			return call_end(c, r);
		if (reply.serial < c->serial) {
			if (deadline_left_msec(deadline) == 0)
				return -ETIMEDOUT;
			continue;
		}
		r = message_make(reply.code, reply.payload, reply.n_payload, fd, ret);
		if (r < 0)
			return r;
		take_fd(fd);
		return -(int)reply.code;
	}
}

int
capc_call(struct capc *c, const struct capc_msg *req, struct capc_msg *ret, uint64_t timeout)
{
	uint64_t deadline = deadline_after(timeout);
	struct wire_call call = {
		.type = WIRE_CALL,
		.code = req->code,
		.payload = req->data,
		.n_payload = req->n_data,
	};
	int n, r;

	r = c->owner == getpid() ? message_check(req) : -ECHILD;
	if (r == 0) {
		call.serial = ++c->serial;
		n = wire_call_encode(&call, c->buffer, sizeof(c->buffer));
		r = n < 0 ? n : call_send(c, (size_t)n, req, deadline);
	}
	/* Not before REQ was read: both may be one. */
	*ret = (struct capc_msg){};
	return r < 0 ? r : call_receive(c, ret, deadline);
}
