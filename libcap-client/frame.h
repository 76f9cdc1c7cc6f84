/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls and returns as packets with descriptors, on their way out and in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "libcap-client/buffer.h"
#include "wire/wire.h"

struct capc_msg;

/* One that comes in, whose payload begins where anything may be read: a message may take it as it is. */
struct call_packet {
	uint8_t before[14];
	uint8_t bytes[WIRE_CALL_MAX];
};

_Static_assert((offsetof(struct call_packet, bytes) + WIRE_CALL_HEAD) % 16 == 0, "payloads are aligned");

/* A message on its way out; data and descriptors stay the caller's. */
struct frame {
	struct wire_call call;
	const int *fds;
	size_t n_fds;
	int memfd;     /* the payload when it is large, was loaded … */
	struct buffer *buffer; /* … and goes through none of these, which is reserved else */
	size_t n_filled; /* bytes of it that are in the buffer, */
	bool telling;	 /* … of which the other side is told as they come */
	size_t n_sent; /* descriptors that went ahead; 0: begin again */
};

/*
 * Through B, if that is not NULL, the payload is large enough, and B is free.
 * Returns: 0, -EMSGSIZE, -EINVAL, -errno. frame_end() after it in any case.
 */
int frame_begin(struct frame *f, enum wire_call_type type, uint32_t code, uint64_t serial,
	const struct capc_msg *m, struct buffer *b);
void frame_end(struct frame *f);

/*
 * Puts some of a large payload where it travels: once it is all there, what the caller has may go. Touches nothing but F
 * and the memory that it has. Returns: 1: there is more, after frame_tell(); 0: none, -errno.
 */
int frame_load(struct frame *f);

/* The other side may read what is there. BUFFER of SIZE is for the packet. */
void frame_tell(struct frame *f, int fd, void *buffer, size_t size);

/* It is to go through another connection, which shares no buffer with this one. 0, -errno. */
int frame_restart(struct frame *f);

/* One that waits, with a copy of the payload and duplicates of the descriptors. */
struct kept_frame {
	struct list link;
	struct frame frame;
	int fds[]; /* and then the payload, unless it is in the frame's memfd or buffer */
};

/* Takes the memfd and the buffer of F. Returns: 0, -ENOMEM, -errno of a descriptor. */
int frame_keep(struct frame *f, struct kept_frame **ret);

/* Takes NULL. Returns: NULL. */
struct kept_frame *kept_frame_free(struct kept_frame *k);

/*
 * Sends what is left of it, by way of BUFFER, and loads it where that was not done.
 * Returns: 0; -EAGAIN, -ETOOMANYREFS (go on later); -errno.
 */
int frame_send(struct frame *f, int fd, void *buffer, size_t size);

/* The descriptors of the message that is coming in. */
struct inbox {
	uint64_t serial;
	int error; /* -EMFILE: some were lost, -EMSGSIZE: more than may be, -ENOMEM; then it has none */
	int *fds;
	size_t n;
	struct window *window; /* of the connection; may be NULL */
	int *sender; /* where a pidfd of who sends the next packet goes, or -1; NULL: nobody asks */
};

void inbox_clear(struct inbox *in);

/* The message that is coming in has no descriptors any more, for the reason ERROR. */
void inbox_fail(struct inbox *in, int error);

/*
 * Receives one packet; the payload of *RET points into BUFFER. Where neither FDS_MAX descriptors nor a
 * LARGE payload may come, none is ever installed in this process. FLAGS are MSG_DONTWAIT; 0 waits as long as
 * SO_RCVTIMEO of the socket says.
 * Returns: 1, 0 (something that goes with a later one), -EAGAIN, -EINTR, -ECONNRESET (the end), -EBADMSG,
 * -EPROTO, -errno.
 */
int frame_receive(int fd, void *buffer, size_t size, size_t fds_max, bool large, struct inbox *in, int flags,
	struct wire_call *ret);

/* Nobody wants the RETURN that CALL is: empties the inbox. */
void inbox_discard(struct inbox *in, const struct wire_call *call);

/*
 * Makes a message of CALL, which came in *PACKET, and what the inbox has, and empties that. *PACKET may be another one
 * then. Returns: 0, its error, -errno.
 */
int inbox_take(struct inbox *in, const struct wire_call *call, struct call_packet **packet, struct capc_msg *ret);
