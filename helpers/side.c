/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/side.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"

/* A packet is never longer than a socket's default buffer; a longer one is refused. */
#define BUFFER_STREAM_BYTES 65536
#define BUFFER_SEQPACKET_BYTES 262144
#define PIPE_BYTES 262144
#define BULK_BYTES 32768 /* at a time: from here on a pipe is cheaper than two copies */
#define MORE_BYTES 98304 /* … and who sends so much is likely to have sent more meanwhile */
#define PIPES_MAX 128 /* that are full of what somebody does not read */
#define NO_MEMORY "cannot be served without memory"
#define ROUNDS_MAX 8 /* so that one busy relay does not keep the others waiting */

static bool
has_no_room(void)
{
	return errno == EAGAIN || errno == ENOBUFS;
}

enum moved {
	MOVED_MORE,   /* there may be more at once */
	MOVED_ALL,    /* there is nothing more, or no room */
	MOVED_FAILED, /* the relay has to end */
};

/* --- through pipes --- */

static struct pipe *
pipe_free(struct mover *m, struct pipe *p)
{
	if (!p)
		return NULL;
	list_unlink(&p->link);
	fd_close(p->fds[0]);
	fd_close(p->fds[1]);
	free(p);
	m->n_pipes--;
	return NULL;
}

/* NULL: as many as there may be are full, or there can be none. */
static struct pipe *
pipe_take(struct mover *m)
{
	struct list *link = list_first(&m->pipes);
	struct pipe *p;

	if (link) {
		list_unlink(link);
		return list_entry(link, struct pipe, link);
	}
	p = m->n_pipes < m->n_pipes_max ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		return NULL;
	if (pipe2(p->fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(p);
		return NULL;
	}
	/* With the size that it has it is slower. */
	(void)fcntl(p->fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	list_init(&p->link);
	m->n_pipes++;
	return p;
}

void
side_drop(struct side *s)
{
	free(take_ptr(s->pending));
	s->pipe = pipe_free(s->mover, s->pipe);
}

void
side_deafen(struct side *s)
{
	s->deaf = true;
	side_drop(s->other);
	shutdown(s->other->source.fd, SHUT_RD);
}

static bool
side_flush_pipe(struct side *s)
{
	struct pipe *p = s->pipe;
	ssize_t sent = 0;

	while (p->n > 0) {
		sent = splice(p->fds[0], NULL, s->other->source.fd, NULL, p->n, SPLICE_F_NONBLOCK);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			break;
		s->moved = true;
		p->n -= (size_t)sent;
	}
	if (p->n > 0 && (sent >= 0 || has_no_room()))
		return false;
	if (p->n > 0)
		side_deafen(s->other);
	else
		list_append(&s->mover->pipes, &take_ptr(s->pipe)->link);
	return true;
}

static enum moved
side_splice(struct side *s, struct pipe *p)
{
	ssize_t n = splice(s->source.fd, NULL, p->fds[1], NULL, PIPE_BYTES, SPLICE_F_NONBLOCK);

	if (n <= 0) {
		list_append(&s->mover->pipes, &p->link);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return errno == EINTR ? MOVED_MORE : MOVED_ALL;
		s->ended = true;
		return MOVED_ALL;
	}
	s->moved = true;
	s->n_pumped += (size_t)n;
	s->pipe = p;
	p->n = (size_t)n;
	return side_flush_pipe(s) && (n >= MORE_BYTES || s->to_end) ? MOVED_MORE : MOVED_ALL;
}

/* --- through the buffer --- */

/* Writes DATA from S to the other side. Returns: whether all of it has gone. */
static bool
side_flush(struct side *s, const char *data, size_t n, size_t *ret_sent)
{
	struct side *to = s->other;
	ssize_t sent;

	*ret_sent = 0;
	/* At least once: a packet may be empty. */
	do {
		sent = send(to->source.fd, data + *ret_sent, n - *ret_sent,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR && !has_no_room()) {
			side_deafen(to);
			return true;
		}
		if (sent < 0 && errno != EINTR)
			return false;
		s->moved = true;
		*ret_sent += sent > 0 ? (size_t)sent : 0;
	} while (*ret_sent < n);
	return true;
}

/* Keeps a copy of what could not be written. */
static enum moved
side_keep(struct side *s, const char *data, size_t n, const char **ret_why)
{
	s->pending = malloc(n > 0 ? n : 1);
	if (!s->pending) {
		*ret_why = NO_MEMORY;
		return MOVED_FAILED;
	}
	memcpy(s->pending, data, n);
	s->start = 0;
	s->n = n;
	return MOVED_ALL;
}

/* Who has sent much is likely to go on so. splice(2) knows no MSG_DONTWAIT. */
static void
side_found_much(struct side *s)
{
	if (s->barred && !s->piped)
		s->piped = fd_set_nonblock(s->other->source.fd, true) == 0;
	s->bulk = s->piped;
}

static enum moved
side_copy(struct side *s, const char **ret_why)
{
	struct mover *m = s->mover;
	union {
		char buffer[CMSG_SPACE(sizeof(struct timeval))];
		struct cmsghdr align;
	} stamp;
	struct iovec iov = {m->buffer, m->size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t sent;
	ssize_t n;

	/* A packet may be empty, which looks like the end; but the end comes without a time stamp. */
	if (m->seqpacket) {
		msg.msg_control = stamp.buffer;
		msg.msg_controllen = sizeof(stamp.buffer);
	}
	/* Only the longer call tells that descriptors came along. */
	n = s->barred ? recv(s->source.fd, m->buffer, m->size, MSG_DONTWAIT)
		      : recvmsg(s->source.fd, &msg, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR ? MOVED_MORE : MOVED_ALL;
	if (n >= 0 && (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		*ret_why = msg.msg_flags & MSG_CTRUNC ? "sent descriptors, which a relay does not pass on"
						      : "sent a packet that is too long";
		return MOVED_FAILED;
	}
	if (n < 0 || (n == 0 && msg.msg_controllen == 0)) {
		s->ended = true;
		return MOVED_ALL;
	}
	s->moved = true;
	s->n_pumped += (size_t)n;
	if (!side_flush(s, m->buffer, (size_t)n, &sent))
		return side_keep(s, m->buffer + sent, (size_t)n - sent, ret_why);
	/* A stream that gave less than was asked for has no more: what comes later wakes us again. */
	if (!m->seqpacket && (size_t)n < m->size)
		return s->to_end ? MOVED_MORE : MOVED_ALL;
	side_found_much(s);
	return MOVED_MORE;
}

/* --- both --- */

bool
side_flush_pending(struct side *s)
{
	size_t sent;
	bool done;

	if (s->pipe)
		return side_flush_pipe(s);
	if (!s->pending)
		return true;
	done = side_flush(s, s->pending + s->start, s->n - s->start, &sent);
	s->start += sent;
	if (done)
		free(take_ptr(s->pending));
	return done;
}

static bool
side_keeps(const struct side *s)
{
	return s->pending || s->pipe;
}

/* Where all pipes are full, each with what somebody does not read, it is copied. */
static enum moved
side_move(struct side *s, const char **ret_why)
{
	struct pipe *p = s->bulk ? pipe_take(s->mover) : NULL;

	return p ? side_splice(s, p) : side_copy(s, ret_why);
}

const char *
side_pump(struct side *s)
{
	/* Nothing wakes us again for a side that hung up, and it can send no more. */
	int rounds = s->hung_up ? INT32_MAX : ROUNDS_MAX;
	enum moved moved = MOVED_MORE;
	const char *why = NULL;

	s->n_pumped = 0;
	while (moved == MOVED_MORE && rounds-- > 0 && !s->other->deaf && side_flush_pending(s) && !s->ended)
		moved = side_move(s, &why);
	s->unread = moved == MOVED_MORE;
	/* As a whole: the last piece of something large may be small. */
	if (s->n_pumped >= BULK_BYTES)
		side_found_much(s);
	else if (s->n_pumped > 0)
		s->bulk = false;
	if (why || !s->ended || side_keeps(s) || s->passed)
		return why;
	s->passed = true;
	if (!s->other->deaf)
		shutdown(s->other->source.fd, SHUT_WR);
	return NULL;
}

bool
side_is_done(const struct side *s)
{
	return s->passed || s->other->deaf;
}

uint32_t
side_events(const struct side *s)
{
	uint32_t events = 0;

	if (!s->ended && !side_keeps(s) && !s->other->deaf)
		events |= EPOLLIN;
	if (side_keeps(s->other))
		events |= EPOLLOUT;
	if (events == EPOLLIN && !s->bulk && !s->mover->seqpacket)
		events |= EPOLLET | EPOLLPRI | EPOLLRDHUP;
	return events;
}

int
side_start(struct side *s)
{
	int on = 1, off = 0;

	if (s->mover->seqpacket)
		return setsockopt(s->source.fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)) < 0 ? -errno : 0;
	/* A listener may have left these on; and who tells each sender's bytes apart ends a piece with them. */
	(void)setsockopt(s->source.fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
	msg_ask_pidfd(s->source.fd, false);
	s->barred = fd_bars_descriptors(s->source.fd);
	return 0;
}

int
mover_init(struct mover *m, bool seqpacket)
{
	*m = (struct mover){.seqpacket = seqpacket, .n_pipes_max = seqpacket ? 0 : mover_fds() / 2};
	list_init(&m->pipes);
	m->size = seqpacket ? BUFFER_SEQPACKET_BYTES : BUFFER_STREAM_BYTES;
	m->buffer = malloc(m->size);
	return m->buffer ? 0 : -ENOMEM;
}

/* All sides have dropped what they kept. */
void
mover_deinit(struct mover *m)
{
	free(take_ptr(m->buffer));
	while (!list_empty(&m->pipes))
		pipe_free(m, list_entry(list_first(&m->pipes), struct pipe, link));
}

unsigned
mover_fds(void)
{
	struct rlimit l = {};

	getrlimit(RLIMIT_NOFILE, &l);
	return l.rlim_cur / 16 < 2 * PIPES_MAX ? (unsigned)l.rlim_cur / 16 : 2 * PIPES_MAX;
}
