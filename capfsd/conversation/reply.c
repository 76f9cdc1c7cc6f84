/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is read of a conversation. Nothing of it is kept here: a reply stays in the socket while it
 * is read, so that the service is held up by whoever does not read, and the next broker finds it.
 *
 * A packet is only peeked at, and taken when the next request comes. Of a stream, what one READ got
 * is taken when the next comes; whether it was, the socket itself remembers: before the commit its
 * SO_PEEK_OFF is set to a tag, the other one each time, and taking N bytes lowers it by N.
 */
#include "config.h"

#include "capfsd/conversation/reply.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/msg.h"
#include "capfsd/conversation/call.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/ops/request.h"
#include "capfsd/tree/conversations.h"
#include "wire/wire.h"

#define PACKETS_MAX 16	/* that are no reply, looked at in a row */
#define ERROR_MAX 512	/* larger numbers are the kernel's own: it takes them for no reply */
/*
 * Two values that no number of bytes taken can turn into one another, and larger than every reply.
 */
#define TAG(n) ((1 + (int)(n)) << 24)

/* A reply that is a packet. */
struct look {
	const char *data;
	size_t n;
	uint32_t error; /* the service refused: DATA says why */
};

static int
set_peek_offset(int fd, int offset)
{
	return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 ? -errno : 0;
}

static int
peek_offset(int fd)
{
	int offset = -1;
	socklen_t n = sizeof(offset);

	return getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &n) < 0 ? -1 : offset;
}

/*
 * The tag stands in the socket, where it outlived the broker. It is at its full height as long as
 * nothing was taken; what is missing of it was taken before the crash, and must not be taken again,
 * or bytes of the reply that nobody has read would go with it.
 */
void
call_recall(struct call *call)
{
	const struct call_progress *p = &call->progress;
	int offset = call->stream ? peek_offset(call->fd) : -1;
	int n_taken = TAG(p->tag) - offset;

	/*
	 * While a READ is repeated the offset is small, as it counts what was peeked at: nothing
	 * was taken.
	 */
	if (offset >= 0 && offset <= CALL_BYTES_MAX)
		call->untaken = p->last;
	else if (n_taken >= 0 && n_taken <= CALL_BYTES_MAX && (uint32_t)n_taken <= p->last)
		call->untaken = p->last - (uint32_t)n_taken;
}

/*
 * The READ that got it was answered, since this is the next one, so it is not sent again and the
 * socket need not keep what it got. An error leaves nothing that could be taken, and counts as all
 * of it.
 */
static void
call_settle(struct call *call)
{
	char buffer[16384];

	while (call->untaken > 0) {
		size_t n = call->untaken < sizeof(buffer) ? call->untaken : sizeof(buffer);
		ssize_t taken = recv(call->fd, buffer, n, MSG_DONTWAIT);

		if (taken < 0 && errno == EINTR)
			continue;
		call->untaken -= taken > 0 ? (uint32_t)taken : call->untaken;
	}
}

/*
 * Looks from the beginning of what is queued. The offset becomes 0 where the tag stood while
 * something is untaken; else it is switched off, for every look would move it. Returns: as
 * msg_receive().
 */
static ssize_t
stream_peek(struct call *call, void *buffer, size_t n, size_t *ret_has_fds)
{
	set_peek_offset(call->fd, call->untaken > 0 ? 0 : -1);
	*ret_has_fds = 0;
	return msg_receive(call->fd, buffer, n, NULL, 0, ret_has_fds, MSG_PEEK | MSG_DONTWAIT);
}

/*
 * A conversation that has failed is readable too: a read gives the error at once, so whoever polls
 * must not wait.
 */
bool
call_is_readable(struct call *call)
{
	size_t has_fds;
	char byte;

	if (call->progress.state == CALL_FAILED ||
		(!call->stream && call->progress.state == CALL_ANSWERED))
		return true;
	call_settle(call);
	if (call->stream)
		return stream_peek(call, &byte, 1, &has_fds) != -EAGAIN;
	return recv(call->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/*
 * A request that came before the last reply was read would leave the reader of that with the next
 * one's: so the writer is refused, except where nothing is to be expected any more. A stream is
 * over with its end, which must be looked for.
 */
bool
call_is_over(struct call *call)
{
	const struct call_progress *p = &call->progress;
	size_t has_fds;
	char byte;

	if (p->given_up || p->state == CALL_FAILED)
		return true;
	if (p->state == CALL_ASKED)
		return false;
	if (!call->stream)
		return p->error || p->offset >= p->total;
	call_settle(call);
	return stream_peek(call, &byte, 1, &has_fds) == 0;
}

/*
 * What comes unasked between a reply and the next request is discarded, lest it be read as the
 * reply to that. At the end of the stream, or without an end of such packets, the connection is of
 * no more use.
 */
bool
call_drain(struct call *call)
{
	for (unsigned i = 0; i < PACKETS_MAX; i++) {
		char byte;
		ssize_t n = recv(call->fd, &byte, 1, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
	}
	/* There is no end of what comes, or that is all there is. */
	return false;
}

/*
 * The end of reading, until another request. The commit is for who comes after this broker: that it
 * fails would change nothing about it.
 */
static int
call_fail(struct call *call, struct request *r, uint64_t unique, int error, const char *reason)
{
	struct call_progress *p = &call->progress;

	p->state = CALL_FAILED;
	p->error = (uint32_t)error;
	p->unique = unique;
	error_trace(call_commit(call));
	return refuse(r, error, "%s", reason);
}

/*
 * There is an end where a reply should be. That of a revocation is told apart, since the service
 * had no part in it.
 */
static int
call_lost(struct call *call, struct request *r, const struct capability *c, uint64_t unique)
{
	if (!endpoint_may_call(c))
		return call_fail(call, r, unique, EPERM, "it lacks right 'call'");
	return call_fail(call, r, unique, EPIPE, "the service ended the connection");
}

/*
 * A packet of another serial is a late reply to what was given up, or nothing that was asked for:
 * it is taken out, so that the right one behind it is found. What a file cannot give, descriptors
 * and memory, is refused by name instead of being cut off. Returns: 0, -EAGAIN: not for us, look
 * again; a positive errno.
 */
static int
look_at_call(const struct call *call, const void *packet, size_t n, bool has_fds, struct look *ret)
{
	struct wire_call m;
	char byte;

	if (wire_call_decode(packet, n, &m) < 0)
		return EPROTO;
	if (m.serial != call->memo->record.call.serial ||
		(m.type != WIRE_RETURN && m.type != WIRE_FDS)) {
		recv(call->fd, &byte, 1, MSG_DONTWAIT);
		return -EAGAIN;
	}
	if (m.type == WIRE_FDS)
		return EOPNOTSUPP;
	if (wire_call_is_large(&m))
		return EMSGSIZE;
	if (has_fds)
		return EOPNOTSUPP;
	wire_refusal_origin(&m);
	*ret = (struct look){
		.data = m.payload,
		.n = m.n_payload,
		.error = m.code < ERROR_MAX ? m.code : EREMOTEIO,
	};
	return 0;
}

/*
 * Peeks at the reply, which stays in the socket for whoever comes after this broker. Returns: 0,
 * -EAGAIN: there is none yet; EPIPE: the end; a positive errno.
 */
static int
call_look(struct call *call, struct look *ret)
{
	uint8_t *packet = call->all->packet;

	for (unsigned i = 0; i < PACKETS_MAX; i++) {
		size_t has_fds = 0, size = call->calls ? WIRE_CALL_MAX : CALL_BYTES_MAX;
		ssize_t n = msg_receive(
			call->fd, packet, size, NULL, 0, &has_fds, MSG_PEEK | MSG_DONTWAIT);
		int e;

		if (n == -EAGAIN)
			return -EAGAIN;
		if (n == -ECONNRESET || (n == 0 && msg_is_end(call->fd)))
			return EPIPE;
		if (n < 0)
			return (int)-n;
		if (!call->calls) {
			*ret = (struct look){.data = (char *)packet, .n = (size_t)n};
			return has_fds ? EOPNOTSUPP : 0;
		}
		e = look_at_call(call, packet, (size_t)n, has_fds, ret);
		if (e != -EAGAIN)
			return e;
	}
	return -EAGAIN;
}

static const char *
reason_of(int error)
{
	switch (error) {
	case EMSGSIZE:
		return "the reply is longer than 65536 bytes";
	case EOPNOTSUPP:
		return "the reply has descriptors, which a file cannot give";
	default:
		return "the reply is malformed";
	}
}

/*
 * A refusal is an errno first, and then its reason, a line that can be read: a shell shows the
 * error of its first read, and the next one tells why.
 */
static int
call_refused(struct call *call, struct request *r, const struct look *look, uint64_t unique)
{
	struct call_progress *p = &call->progress;
	const struct call_progress before = *p;
	int e;

	*p = (struct call_progress){
		.state = CALL_ANSWERED,
		.unique = unique,
		.error = look->error,
		.total = (uint32_t)look->n + 1,
	};
	e = call_commit(call);
	if (e < 0) {
		*p = before;
		return request_fail(r, NULL, e);
	}
	return refuse(r, (int)look->error, "%.*s", (int)look->n, look->data);
}

static void
copy_reply(const struct look *look, size_t from, char *buffer, size_t n)
{
	size_t n_data = from < look->n ? look->n - from : 0;

	if (n_data > n)
		n_data = n;
	if (n_data > 0)
		memcpy(buffer, look->data + from, n_data);
	if (n_data < n)
		buffer[n_data] = '\n'; /* of a reason */
}

/*
 * A packet is read in as many pieces as its reader likes. How far it is gets committed before the
 * piece is given away, so that a READ which is sent again finds its own piece and not the next one.
 */
static int
call_read_packet(struct call *call, struct request *r, const struct capability *c,
	struct call_read *read)
{
	struct call_progress *p = &call->progress;
	const struct call_progress before = *p;
	struct look look = {};
	int e;

	if (p->state == CALL_ANSWERED && p->offset >= p->total)
		return 0;
	e = call_look(call, &look);
	if (e == -EAGAIN) {
		call_watch(call);
		return CALL_E_WAIT;
	}
	if (e == EPIPE)
		return call_lost(call, r, c, read->unique);
	if (e > 0)
		return call_fail(call, r, read->unique, e, reason_of(e));
	if (p->state == CALL_ASKED && look.error)
		return call_refused(call, r, &look, read->unique);
	if (p->state == CALL_ASKED) {
		p->offset = 0;
		p->total = (uint32_t)look.n;
	}
	p->state = CALL_ANSWERED;
	p->given_up = false;
	p->unique = read->unique;
	p->last = p->total - p->offset;
	if (p->last > read->size)
		p->last = (uint32_t)read->size;
	copy_reply(&look, p->offset, read->buffer, p->last);
	p->offset += p->last;
	e = call_commit(call);
	if (e < 0) {
		*p = before;
		return request_fail(r, NULL, e);
	}
	read->n = p->last;
	return 0;
}

/*
 * The other tag is set before the commit: whichever of the two a successor finds, it can tell from
 * the record whether that READ was committed. Set after it, a crash in between would look like
 * bytes that have been taken already.
 */
static int
call_read_stream(struct call *call, struct request *r, const struct capability *c,
	struct call_read *read)
{
	struct call_progress *p = &call->progress;
	const struct call_progress before = *p;
	size_t has_fds, size = read->size < CALL_BYTES_MAX ? read->size : CALL_BYTES_MAX;
	ssize_t n = stream_peek(call, read->buffer, size, &has_fds);
	int e;

	if (n == -EAGAIN) {
		call_watch(call);
		return CALL_E_WAIT;
	}
	if (n < 0)
		return call_fail(call, r, read->unique, (int)-n, "the service ended the connection");
	if (has_fds)
		return call_fail(call, r, read->unique, EOPNOTSUPP, reason_of(EOPNOTSUPP));
	if (n == 0 && !endpoint_may_call(c))
		return call_lost(call, r, c, read->unique);
	if (n == 0 && p->state == CALL_ANSWERED)
		return 0;
	p->state = CALL_ANSWERED;
	p->given_up = false;
	p->unique = read->unique;
	p->last = (uint32_t)n;
	p->offset += (uint32_t)n;
	p->tag ^= 1;
	e = set_peek_offset(call->fd, TAG(p->tag));
	if (e == 0)
		e = call_commit(call);
	if (e < 0) {
		*p = before;
		return request_fail(r, NULL, e);
	}
	call->untaken = (uint32_t)n;
	read->n = (size_t)n;
	return 0;
}

/*
 * The READ that a predecessor committed, and perhaps did not reply to, gets the same bytes again.
 * If they are gone from the socket an error is the only truth left: what follows them would be
 * taken for the beginning.
 */
static int
call_repeat(struct call *call, struct request *r, struct call_read *read)
{
	const struct call_progress *p = &call->progress;
	struct look look = {};
	size_t has_fds, n = p->last < read->size ? p->last : read->size;

	if (p->state == CALL_FAILED || (p->error && p->offset == 0))
		return refuse(r, (int)p->error, "it was refused");
	if (call->stream && call->untaken == p->last) {
		ssize_t got = n > 0 ? stream_peek(call, read->buffer, n, &has_fds) : 0;

		set_peek_offset(call->fd, TAG(p->tag));
		if (got == (ssize_t)n) {
			read->n = n;
			return 0;
		}
	} else if (!call->stream && call_look(call, &look) == 0) {
		copy_reply(&look, p->offset - p->last, read->buffer, n);
		read->n = n;
		return 0;
	}
	return refuse(r, EIO, "the reply is there no more");
}

int
call_read(struct call *call, struct request *r, const struct capability *c, struct call_read *read)
{
	if (read->resent && call->progress.unique == read->unique)
		return call_repeat(call, r, read);
	call_settle(call);
	if (call->progress.state == CALL_FAILED)
		return refuse(r, (int)call->progress.error, "the conversation has failed");
	return call->stream ? call_read_stream(call, r, c, read)
			    : call_read_packet(call, r, c, read);
}
