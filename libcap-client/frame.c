/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls and returns as packets. A packet carries at most MSG_FDS_MAX descriptors: those that do not
 * fit go ahead in packets of their own, with the same serial. What went ahead of a call that never
 * came is dropped with the next one.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/observe/observe.h"
#include "libcap-client/private.h"

#define PART_BYTES 131072 /* that are copied on one side while those before are on the other */

int
frame_begin(struct frame *f, enum wire_call_type type, uint32_t code, uint64_t serial,
	const struct capc_msg *m, struct buffer *b)
{
	int r = message_check(m);

	*f = (struct frame){
		.call = {.type = type,
			.code = code,
			.serial = serial,
			.payload = m->data,
			.n_payload = m->n_data},
		.fds = m->fds,
		.n_fds = m->n_fds,
		.memfd = -1,
	};
	if (r < 0 || !wire_call_is_large(&f->call))
		return r;
	if (b && m->n_data <= WIRE_BUFFER_MAX && buffer_reserve(b)) {
		f->buffer = b;
		f->telling = b->known;
	}
	return 0;
}

void
frame_end(struct frame *f)
{
	f->memfd = fd_close(f->memfd);
	if (f->buffer)
		f->buffer->reserved = false;
	f->buffer = NULL;
}

int
frame_restart(struct frame *f)
{
	f->n_sent = 0;
	if (!f->buffer)
		return 0;
	frame_end(f);
	return message_memfd(f->call.payload, f->call.n_payload, &f->memfd);
}

static void
fill_part(struct frame *f, size_t max)
{
	size_t n = f->call.n_payload - f->n_filled;

	n = n < max ? n : max;
	memcpy(f->buffer->map + f->n_filled, (const char *)f->call.payload + f->n_filled, n);
	f->n_filled += n;
}

int
frame_load(struct frame *f)
{
	if (!wire_call_is_large(&f->call) || f->memfd >= 0)
		return 0;
	if (!f->buffer)
		return message_memfd(f->call.payload, f->call.n_payload, &f->memfd);
	fill_part(f, f->telling ? PART_BYTES : SIZE_MAX);
	return f->n_filled < f->call.n_payload;
}

/*
 * Of each part, while the next is copied: so the other side is woken up in good time, and copies as we do. Where it
 * does not take that, it will find all in one.
 */
void
frame_tell(struct frame *f, int fd, void *buffer, size_t size)
{
	struct wire_call part = {.type = WIRE_PART, .serial = f->call.serial, .n_payload = f->n_filled};
	int n = wire_call_encode(&part, buffer, size);

	f->telling = n > 0 && msg_send(fd, buffer, (size_t)n, NULL, 0, MSG_DONTWAIT) == n;
}

/* It is on its way: what is in the buffer stays there. */
static void
frame_sent(struct frame *f)
{
	if (f->buffer)
		f->buffer->serial = f->call.serial;
	frame_end(f);
}

int
frame_keep(struct frame *f, struct kept_frame **ret)
{
	size_t n_data = f->call.payload && !wire_call_is_large(&f->call) ? f->call.n_payload : 0;
	struct kept_frame *k = malloc(sizeof(*k) + f->n_fds * sizeof(int) + n_data);
	int r = k ? 1 : -ENOMEM;

	while (r > 0)
		r = frame_load(f);
	if (r < 0) {
		free(k);
		return r;
	}
	k->frame = *f;
	k->frame.fds = k->fds;
	k->frame.memfd = take_fd(f->memfd);
	k->frame.buffer = take_ptr(f->buffer);
	/* Which it may have to leave: see frame_restart(). */
	k->frame.call.payload = k->frame.buffer ? k->frame.buffer->map : NULL;
	list_init(&k->link);
	for (k->frame.n_fds = 0; k->frame.n_fds < f->n_fds; k->frame.n_fds++) {
		int fd = fd_dup(f->fds[k->frame.n_fds]);

		if (fd < 0) {
			kept_frame_free(k);
			return fd;
		}
		k->fds[k->frame.n_fds] = fd;
	}
	if (n_data > 0)
		k->frame.call.payload = memcpy(&k->fds[f->n_fds], f->call.payload, n_data);
	*ret = k;
	return 0;
}

struct kept_frame *
kept_frame_free(struct kept_frame *k)
{
	if (!k)
		return NULL;
	list_unlink(&k->link);
	frame_end(&k->frame);
	for (size_t i = 0; i < k->frame.n_fds; i++)
		fd_close(k->fds[i]);
	free(k);
	return NULL;
}

/* The next N descriptors; that of the payload is the first of all. */
static const int *
next_fds(const struct frame *f, size_t n, int room[MSG_FDS_MAX])
{
	if (f->memfd < 0 && !f->buffer)
		return f->fds + f->n_sent;
	if (f->n_sent > 0)
		return f->fds + f->n_sent - 1;
	room[0] = f->buffer ? f->buffer->fd : f->memfd;
	if (n > 1)
		memcpy(room + 1, f->fds, (n - 1) * sizeof(int));
	return room;
}

int
frame_send(struct frame *f, int fd, void *buffer, size_t size)
{
	size_t n_all = f->n_fds + wire_call_is_large(&f->call);
	int room[MSG_FDS_MAX], r;

	while ((r = frame_load(f)) > 0)
		frame_tell(f, fd, buffer, size);
	if (r < 0)
		return r;
	for (;;) {
		struct wire_call ahead = {.type = WIRE_FDS, .serial = f->call.serial};
		bool last = n_all - f->n_sent <= MSG_FDS_MAX;
		size_t n_fds = last ? n_all - f->n_sent : MSG_FDS_MAX;
		int n = wire_call_encode(last ? &f->call : &ahead, buffer, size);
		ssize_t sent;

		if (n < 0)
			return n;
		sent = msg_send(fd, buffer, (size_t)n, n_fds > 0 ? next_fds(f, n_fds, room) : NULL,
			n_fds, MSG_DONTWAIT);
		/* The other end takes no descriptors, by SO_PASSRIGHTS of its socket: not even that of a payload. */
		if (sent == -EPERM && n_fds > 0)
			return f->n_fds > 0 ? -EOPNOTSUPP : -EMSGSIZE;
		if (sent < 0)
			return (int)sent;
		if (last) {
			observe_sent(fd, &f->call, f->n_fds);
			frame_sent(f);
			return 0;
		}
		f->n_sent += n_fds;
	}
}

void
inbox_clear(struct inbox *in)
{
	for (size_t i = 0; i < in->n; i++)
		fd_close(in->fds[i]);
	free(in->fds);
	*in = (struct inbox){.window = in->window, .sender = in->sender};
}

void
inbox_fail(struct inbox *in, int error)
{
	uint64_t serial = in->serial;

	inbox_clear(in);
	in->serial = serial;
	in->error = error;
}

/* Takes the descriptors. Those of a message that is in error are closed. */
static void
inbox_add(struct inbox *in, const int *fds, size_t n, size_t max)
{
	int *all = NULL;

	/* Also without any: what went ahead may have been one too many for this packet. */
	if (!in->error && in->n + n > max)
		inbox_fail(in, -EMSGSIZE);
	if (!in->error && n > 0) {
		all = realloc(in->fds, (in->n + n) * sizeof(int));
		if (!all)
			inbox_fail(in, -ENOMEM);
	}
	if (!all) {
		for (size_t i = 0; i < n; i++)
			fd_close(fds[i]);
		return;
	}
	memcpy(all + in->n, fds, n * sizeof(int));
	in->fds = all;
	in->n += n;
}

static ssize_t
packet_receive(int fd, void *buffer, size_t size, int fds[MSG_FDS_MAX], size_t room, size_t *ret_n_fds, bool *ret_lost,
	struct inbox *in, int flags)
{
	ssize_t n;

	if (!in->sender)
		return msg_receive_lossy(fd, buffer, size, fds, room, ret_n_fds, ret_lost, flags);
	n = msg_receive_lossy_from(fd, buffer, size, fds, room, ret_n_fds, ret_lost, in->sender, flags);
	if (n <= 0)
		return n;
	msg_ask_pidfd(fd, false);
	in->sender = NULL;
	return n;
}

int
frame_receive(int fd, void *buffer, size_t size, size_t fds_max, bool large, struct inbox *in, int flags,
	struct wire_call *ret)
{
	int fds[MSG_FDS_MAX], r;
	size_t n_fds, room = fds_max > 0 || large ? MSG_FDS_MAX : 0;
	bool lost;
	ssize_t n = packet_receive(fd, buffer, size, fds, room, &n_fds, &lost, in, flags);

	/* The error of an end stands before what was sent until then. */
	if (n == -ECONNRESET)
		n = packet_receive(fd, buffer, size, fds, room, &n_fds, &lost, in, MSG_DONTWAIT);
	if (n < 0)
		return (int)n;
	r = n == 0 ? -ECONNRESET : wire_call_decode(buffer, (size_t)n, ret);
	if (r == 0 && ret->type >= WIRE_PART && (n_fds > 0 || lost))
		r = -EBADMSG;
	if (r < 0) {
		for (size_t i = 0; i < n_fds; i++)
			fd_close(fds[i]);
		return r;
	}
	if (ret->type == WIRE_CREDIT)
		return 1;
	if (ret->serial != in->serial) {
		inbox_clear(in);
		in->serial = ret->serial;
	}
	inbox_add(in, fds, n_fds,
		fds_max + (large && (ret->type == WIRE_FDS || wire_call_is_large(ret))));
	if (lost && !in->error)
		inbox_fail(in, room > 0 ? -EMFILE : -EMSGSIZE);
	if (ret->type == WIRE_PART)
		window_part(in->window, ret->serial, ret->n_payload);
	observe_received(fd, ret, in->n > 0 ? in->n - wire_call_is_large(ret) : 0);
	return ret->type != WIRE_FDS && ret->type != WIRE_PART;
}

void
inbox_discard(struct inbox *in, const struct wire_call *call)
{
	if (wire_call_is_large(call) && in->n > 0)
		window_discard(in->fds[0], call->serial);
	inbox_clear(in);
}

int
inbox_take(struct inbox *in, const struct wire_call *call, struct call_packet **packet, struct capc_msg *ret)
{
	int r = in->error;

	if (r == 0)
		r = message_make(call, in->fds, in->n, in->window, packet, ret);
	if (r == 0)
		in->n = 0;
	inbox_clear(in);
	return r;
}
