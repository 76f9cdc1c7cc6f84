/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that large payloads go through again and again: to allocate it, to map it and to fault it
 * in anew costs more than to copy what is in it.
 *
 * A sender has a *buffer* for each connection: a memfd that can neither shrink nor grow, which goes
 * with each payload. The receiver keeps it mapped, through a *window*, and copies the payload out
 * into a *block* of its own before anything looks at it, since the sender can change it at any
 * time. Buffers are never shared by connections, blocks are. A *room* bounds how much of all three
 * is kept, and lets go of what is not used any more: then things are as slow as without, and
 * nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

#define ROOM_MAX 64 /* buffers, windows and blocks, of an entrypoint */
#define ROOM_IDLE_USEC 2000000
#define BUFFER_SEALS (F_SEAL_SHRINK | F_SEAL_GROW) /* of any payload's memfd */

/* Private memory for one payload of a buffer; counted atomically, since messages go to any thread.
 */
struct block {
	unsigned refs;
	uint64_t used_at;
	_Alignas(64) char data[]; /* which copies are faster to */
};

struct block *block_unref(struct block *b);

struct room {
	pid_t owner;
	unsigned max;		      /* 0: nothing is kept */
	struct list buffers, windows; /* the last used at the end */
	unsigned n_buffers, n_windows, n_blocks;
	struct block *blocks[ROOM_MAX];
};

void room_init(struct room *r, unsigned max);
void room_deinit(struct room *r); /* but what is reserved stays, until it is dropped */

static inline bool
room_is_empty(const struct room *r)
{
	return r->n_buffers + r->n_windows + r->n_blocks == 0;
}

/* Lets go of what was not used for ROOM_IDLE_USEC. */
void room_expire(struct room *r);

/* The sender's; embedded in its connection. */
struct buffer {
	struct room *room;
	struct list link;
	uint64_t used_at;
	int fd; /* -1: there is none */
	char *map;
	uint64_t serial;   /* of the payload that the other side may not have copied, or 0 */
	bool until_return; /* a call's: only its RETURN makes it free */
	bool reserved;	   /* for a frame that was not sent */
	bool known;	   /* the other side has a window to it, probably */
};

void buffer_init(struct buffer *b, struct room *room, bool until_return);
void buffer_drop(struct buffer *b);

/* For one payload; makes it where there is none. False: it is in use, or there is no room for it.
 */
bool buffer_reserve(struct buffer *b);

/* The payload with this serial was copied. */
void buffer_copied(struct buffer *b, uint64_t serial);

/* The receiver's; embedded in its connection. */
struct window {
	struct room *room;
	struct list link;
	uint64_t used_at, mapped_at;
	const char *map; /* or NULL */
	dev_t device;
	ino_t inode;
	struct block *block; /* where PARTs of … */
	uint64_t serial;     /* … this payload were copied to, … */
	size_t n_copied;     /* … so far */
};

void window_init(struct window *w, struct room *room);
void window_drop(struct window *w);

/* N bytes of the payload SERIAL are there. That is a hint: it need not be followed. */
void window_part(struct window *w, uint64_t serial, size_t n);

/*
 * The payload of N bytes in the buffer FD, and a NUL behind it. W may be NULL.
 * Returns: 0, -EBADMSG (it is not as it must be), -ENOMEM.
 */
int window_copy(struct window *w, uint64_t serial, int fd, size_t n, struct block **ret);

/* Tells the sender of a RETURN that its payload was copied from the buffer FD. */
void window_copied(int fd, uint64_t serial);

/* … or that nobody wants it, if FD is a buffer at all. */
void window_discard(int fd, uint64_t serial);
