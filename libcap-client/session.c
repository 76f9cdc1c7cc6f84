/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session's control connection. One request at a time: what arrives with an older serial is the
 * answer to one that was given up, or a repetition, and is discarded.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/asking/pager.h"
#include "libcap-client/private.h"

#define ERRNO_MAX 4095  /* the kernel's; an answer beyond is no errno */
#define DISCARDS_MAX 64 /* in one capc_session_process() */

struct capc_session {
	pid_t owner;
	int fd; /* -1 once the connection ended */
	int root; /* its directory, or -1 */
	uint64_t serial; /* of the last request */
	uint64_t timeout;
	char *label;  /* NULL until somebody asks */
	char *reason; /* of the last refusal */
	struct pager pager;
	struct list errands; /* whose answers nobody waits for in session_receive() */
	uint8_t buffer[WIRE_CONTROL_MAX];
};

/*
 * The daemon ignores serials that do not ascend on one connection, whoever sends them. So a handle
 * begins above what an earlier one has reached: no request takes less than a nanosecond.
 */
static uint64_t
serial_first(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int
capc_session_from_fd(int fd, struct capc_session **ret)
{
	cleanup_close int owned = fd;
	struct capc_session *s;
	int type, r;

	type = socket_type(fd);
	if (type < 0)
		return type;
	if (type != SOCK_SEQPACKET)
		return -EPROTOTYPE;
	r = fd_set_cloexec(fd, true);
	if (r < 0)
		return r;
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->owner = getpid();
	s->fd = take_fd(owned);
	s->root = -1;
	s->serial = serial_first();
	s->timeout = CAPC_TIMEOUT_USEC;
	s->label = NULL;
	s->reason = NULL;
	s->pager = (struct pager){};
	list_init(&s->errands);
	*ret = s;
	return 0;
}

void
session_set_root(struct capc_session *s, int root)
{
	s->root = root;
}

int
session_root(const struct capc_session *s)
{
	if (s->owner != getpid())
		return -ECHILD;
	return s->root < 0 ? -EOPNOTSUPP : s->root;
}

static void
errands_fail(struct capc_session *s, int error)
{
	while (!list_empty(&s->errands)) {
		struct errand *e = list_entry(list_first(&s->errands), struct errand, link);

		list_unlink(&e->link);
		e->answered(e, error, NULL, -1);
	}
}

struct capc_session *
capc_session_free(struct capc_session *s)
{
	if (!s)
		return NULL;
	s->fd = close_owned(s->fd, s->owner);
	errands_fail(s, -ENOTCONN);
	fd_close(s->root);
	free(s->label);
	free(s->reason);
	free(s);
	return NULL;
}

void
capc_session_set_timeout(struct capc_session *s, uint64_t timeout)
{
	s->timeout = timeout;
}

uint64_t
session_deadline(const struct capc_session *s)
{
	return deadline_after(s->timeout);
}

const char *
capc_session_label(struct capc_session *s)
{
	char *label;

	if (!s->label && capc_read(s, "label", &label, s->timeout) == 0) {
		label[strcspn(label, "\n")] = '\0';
		s->label = label;
	}
	return s->label;
}

const char *
capc_session_reason(const struct capc_session *s)
{
	return s->reason ? s->reason : "";
}

void
session_begin(struct capc_session *s)
{
	free(take_ptr(s->reason));
}

void
session_refused(struct capc_session *s, const char *reason)
{
	session_begin(s);
	s->reason = strdup(reason);
}

static int
session_check(const struct capc_session *s)
{
	if (s->owner != getpid())
		return -ECHILD;
	return s->fd < 0 ? -ENOTCONN : 0;
}

int
capc_session_fd(const struct capc_session *s)
{
	int r = session_check(s);

	return r < 0 ? r : s->fd;
}

int
session_end(struct capc_session *s, int error)
{
	s->fd = fd_shutdown_close(s->fd);
	errands_fail(s, error);
	return error;
}

struct pager *
session_pager(struct capc_session *s)
{
	return &s->pager;
}

/* A descriptor that does not fit would be lost together with the answer that it came in. */
static int
session_has_room(struct capc_session *s)
{
	int room = fd_dup(s->fd);

	if (room < 0)
		return room;
	fd_close(room);
	return 0;
}

/* A reply to nothing says why the daemon ends the conversation. Returns: whether it is one. */
static bool
is_farewell(struct capc_session *s, const struct wire_reply *reply)
{
	if (reply->serial != 0 || reply->error == 0 || reply->error > ERRNO_MAX)
		return false;
	session_begin(s);
	s->reason = strndup(reply->text, reply->n_text);
	return true;
}

/* Nothing can be sent any more. Returns: the error that the daemon gave, or -ECONNRESET. */
static int
session_lost(struct capc_session *s)
{
	struct wire_reply reply;
	size_t n_fds;
	ssize_t n;

	/* An error may stand before what is left to be read. */
	for (int i = 0; i < 2; i++) {
		n = msg_receive(s->fd, s->buffer, sizeof(s->buffer), NULL, 0, &n_fds, MSG_DONTWAIT);
		if (n > 0 && wire_reply_decode(s->buffer, (size_t)n, &reply) == 0 &&
			is_farewell(s, &reply))
			return session_end(s, -(int)reply.error);
	}
	return session_end(s, -ECONNRESET);
}

struct wire_request
request_make(enum wire_op op, const char *node, const char *text)
{
	return (struct wire_request){
		.op = (uint8_t)op,
		.path = node,
		.n_path = strlen(node),
		.text = text,
		.n_text = text ? strlen(text) : 0,
	};
}

/* From a buffer of its own: the last answer may still be read. */
int
session_post(struct capc_session *s, enum wire_op op, const char *node, const char *text, uint64_t offset,
	uint64_t *ret_serial)
{
	struct wire_request q = request_make(op, node, text);
	uint8_t buffer[WIRE_PATH_MAX + 64];
	int n, r = session_check(s);

	if (r < 0)
		return r;
	q.serial = *ret_serial = ++s->serial;
	q.offset = offset;
	n = wire_request_encode(&q, buffer, sizeof(buffer));
	return n < 0 ? n : send_until(s->fd, buffer, (size_t)n, NULL, 0, session_deadline(s));
}

/* The same, which does not wait for room: -EAGAIN. */
static int
session_send_now(struct capc_session *s, enum wire_op op, const char *node, const char *text, uint64_t *ret_serial)
{
	struct wire_request q = request_make(op, node, text);
	uint8_t buffer[WIRE_PATH_MAX + 64];
	ssize_t sent;
	int n;

	q.serial = s->serial + 1;
	n = wire_request_encode(&q, buffer, sizeof(buffer));
	if (n < 0)
		return q.n_path > WIRE_PATH_MAX ? -ENAMETOOLONG : n;
	sent = msg_send(s->fd, buffer, (size_t)n, NULL, 0, MSG_DONTWAIT);
	if (sent == -EPIPE || sent == -ECONNRESET)
		return session_lost(s);
	if (sent < 0)
		return (int)sent;
	*ret_serial = ++s->serial;
	return 0;
}

/* Gives the answer to whose it is. Takes FD. Returns: whether there is such a one. */
static bool
errand_take(struct capc_session *s, const struct wire_reply *reply, int fd)
{
	list_for_each (i, &s->errands) {
		struct errand *e = list_entry(i, struct errand, link);
		int error = -(int)reply->error;

		if (!e->serial || e->serial != reply->serial)
			continue;
		list_unlink(&e->link);
		if (reply->error > ERRNO_MAX || reply->op != e->op)
			error = -EBADMSG;
		if (error) {
			fd = fd_close(fd);
			session_begin(s);
			s->reason = strndup(reply->text, reply->n_text);
		}
		e->answered(e, error, reply, fd);
		return true;
	}
	fd_close(fd);
	return false;
}

static bool
errand_has(const struct capc_session *s, uint8_t op)
{
	list_for_each (i, (struct list *)(uintptr_t)&s->errands)
		if (list_entry(i, struct errand, link)->op == op)
			return true;
	return false;
}

/*
 * What nobody waits for, unless a pager does: which is told, or asks again. One whose answer is of no use any
 * more is closed, not shut down: a daemon that was restarted repeats those that are in use.
 */
static int
process_packet(struct capc_session *s, size_t n, int fd, bool tell)
{
	struct wire_reply reply;

	if (wire_reply_decode(s->buffer, n, &reply) < 0) {
		fd_close(fd);
		return 0;
	}
	if (errand_take(s, &reply, fd))
		return 0;
	if (tell)
		return pager_take(s, &s->pager, &reply);
	return reply.serial == s->pager.serial ? pager_wait(s, &s->pager) : 0;
}

/* Takes one packet. Returns: 1, 0: there is none, -errno. */
static int
session_take(struct capc_session *s, bool tell)
{
	int r = errand_has(s, WIRE_OPEN) ? session_has_room(s) : 0, fd = -1;
	size_t n_fds = 0;
	ssize_t n;

	if (r < 0)
		return r;
	n = msg_receive(s->fd, s->buffer, sizeof(s->buffer), &fd, 1, &n_fds, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		if (n == 0 && n_fds > 0)
			fd_close(fd);
		return session_end(s, -ENOTCONN);
	}
	r = process_packet(s, (size_t)n, n_fds > 0 ? fd : -1, tell);
	return r < 0 ? r : 1;
}

int
capc_session_process(struct capc_session *s)
{
	int r = session_check(s);

	/* Bounded, however fast they come: what is left makes the descriptor ready again. */
	for (int i = 0; r == 0 && i < DISCARDS_MAX; i++) {
		r = session_take(s, true);
		if (r == 0)
			return 0;
		r = r > 0 ? session_check(s) : r;
	}
	return r;
}

int
errand_open(struct errand *e, struct capc_session *s, const char *node, const char *text)
{
	int r = session_check(s);

	if (r == 0)
		r = session_has_room(s);
	if (r == 0)
		r = session_send_now(s, WIRE_OPEN, node, text, &e->serial);
	if (r < 0 && r != -EAGAIN)
		return r;
	e->op = WIRE_OPEN;
	/* Also one that waits to be sent is to hear that the session has ended. */
	list_unlink(&e->link);
	list_append(&s->errands, &e->link);
	if (r < 0) {
		e->serial = 0;
		return r;
	}
	/* A wait gave way to it, and goes on behind it. */
	(void)pager_wait(s, &s->pager);
	return 0;
}

int
errand_wait(struct errand *e, struct capc_session *s, const char *node)
{
	int r = session_check(s);

	if (r < 0)
		return r;
	/* One would give way to the other, which would be asked for again, for ever. */
	if (errand_has(s, WIRE_WAIT) || s->pager.handler)
		return -EBUSY;
	r = session_post(s, WIRE_WAIT, node, WIRE_WAIT_YIELDS, UINT64_MAX, &e->serial);
	if (r == -EPIPE || r == -ECONNRESET)
		return session_lost(s);
	if (r < 0)
		return r;
	e->op = WIRE_WAIT;
	list_append(&s->errands, &e->link);
	return 0;
}

int
errand_process(struct errand *e, struct capc_session *s)
{
	int r = session_check(s);

	for (int i = 0; r == 0 && !list_empty(&e->link) && i < DISCARDS_MAX; i++) {
		r = session_take(s, false);
		if (r == 0)
			return 0;
		r = r > 0 ? session_check(s) : r;
	}
	return list_empty(&e->link) ? 0 : r;
}

static int
session_send(struct capc_session *s, const struct wire_request *q, uint64_t deadline)
{
	int n = wire_request_encode(q, s->buffer, sizeof(s->buffer));
	int r;

	if (n < 0)
		return q->n_path > WIRE_PATH_MAX ? -ENAMETOOLONG : n;
	r = send_until(s->fd, s->buffer, (size_t)n, NULL, 0, deadline);
	if (r == -EPIPE || r == -ECONNRESET)
		return session_lost(s);
	return r;
}

/* Waits for the answer to the last request. Its text stays in the buffer. */
static int
session_receive(struct capc_session *s, uint8_t op, uint64_t deadline, struct wire_reply *ret,
	int *ret_fd)
{
	for (;;) {
		cleanup_close int fd = -1;
		ssize_t n = receive_until(s->fd, s->buffer, sizeof(s->buffer), &fd, deadline);
		int r;

		if (n == -ETIMEDOUT)
			return (int)n;
		if (n == 0 || n == -ECONNRESET)
			return session_lost(s);
		if (n < 0)
			return session_end(s, (int)n);
		r = wire_reply_decode(s->buffer, (size_t)n, ret);
		if (r < 0)
			return session_end(s, r);
		if (is_farewell(s, ret))
			return session_end(s, -(int)ret->error);
		/*
		 * Too late, or repeated by a daemon that was restarted: then its socket is a
		 * duplicate of one that is in use, so it is closed, never shut down.
		 */
		if (ret->serial < s->serial) {
			errand_take(s, ret, take_fd(fd));
			if (s->fd < 0)
				return -ENOTCONN;
			if (deadline_left_msec(deadline) == 0)
				return -ETIMEDOUT;
			continue;
		}
		if (ret->serial > s->serial || ret->op != op || ret->error > ERRNO_MAX)
			return session_end(s, -EBADMSG);
		*ret_fd = take_fd(fd);
		return 0;
	}
}

/*
 * One request and its answer, with the answer's descriptor (which belongs to the caller, who gives
 * NULL where none is expected).
 */
static int
session_ask_once(struct capc_session *s, struct wire_request *q, uint64_t deadline,
	struct wire_reply *ret, int *ret_fd)
{
	cleanup_close int fd = -1;
	int r = session_check(s);

	session_begin(s);
	if (r < 0)
		return r;
	q->serial = ++s->serial;
	r = session_send(s, q, deadline);
	if (r == 0)
		r = session_receive(s, q->op, deadline, ret, &fd);
	if (r < 0)
		return r;
	if (ret->error) {
		s->reason = strndup(ret->text, ret->n_text);
		return -(int)ret->error;
	}
	if (ret_fd && fd < 0)
		return session_end(s, -EBADMSG);
	if (ret_fd)
		*ret_fd = take_fd(fd);
	return 0;
}

int
session_ask(struct capc_session *s, struct wire_request *q, uint64_t deadline,
	struct wire_reply *ret, int *ret_fd)
{
	int r = session_ask_once(s, q, deadline, ret, ret_fd);

	/* A wait gave way to it, and goes on behind it. */
	(void)pager_wait(s, &s->pager);
	return r;
}

int
session_do_fd_reply(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	uint64_t deadline, struct wire_reply *ret, int *ret_fd)
{
	struct wire_request q = request_make(op, node, text);
	int r;

	session_begin(s);
	r = session_check(s) == 0 ? session_has_room(s) : 0;
	if (r < 0)
		return r;
	return session_ask(s, &q, deadline, ret, ret_fd);
}
