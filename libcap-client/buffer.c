/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sender's side of payloads that go through a buffer, and the room that bounds both sides.
 *
 * Nothing that the receiver does to the buffer can hurt: its size is sealed, it is written only,
 * apart from the word that tells what was copied, and if that lies the receiver's own payloads are
 * spoilt.
 */
#include "config.h"

#include "libcap-client/buffer.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "libcap-client/private.h"

#define STEAL_USEC 100000 /* what was used since then is not taken from one for another */

void
room_init(struct room *r, unsigned max)
{
	*r = (struct room){.owner = getpid(), .max = max};
	list_init(&r->buffers);
	list_init(&r->windows);
}

void
room_deinit(struct room *r)
{
	list_for_each_safe (i, &r->buffers) {
		struct buffer *b = list_entry(i, struct buffer, link);

		if (!b->reserved)
			buffer_drop(b);
	}
	while (!list_empty(&r->windows))
		window_drop(list_entry(list_first(&r->windows), struct window, link));
	while (r->n_blocks > 0)
		block_unref(r->blocks[--r->n_blocks]);
}

static bool
is_idle(uint64_t used_at, uint64_t now)
{
	return used_at + ROOM_IDLE_USEC <= now;
}

/* One that a call waits with is not dropped: the next would be one too many for the server. */
static bool
buffer_is_held(const struct buffer *b)
{
	return b->reserved || (b->until_return && b->serial);
}

void
room_expire(struct room *r)
{
	uint64_t now = now_usec();

	list_for_each_safe (i, &r->buffers) {
		struct buffer *b = list_entry(i, struct buffer, link);

		if (is_idle(b->used_at, now) && !buffer_is_held(b))
			buffer_drop(b);
	}
	list_for_each_safe (i, &r->windows) {
		struct window *w = list_entry(i, struct window, link);

		if (is_idle(w->used_at, now))
			window_drop(w);
	}
	for (unsigned i = r->n_blocks; i-- > 0;) {
		if (!is_idle(r->blocks[i]->used_at, now))
			continue;
		block_unref(r->blocks[i]);
		r->blocks[i] = r->blocks[--r->n_blocks];
	}
}

void
buffer_init(struct buffer *b, struct room *room, bool until_return)
{
	*b = (struct buffer){.room = room, .fd = -1, .until_return = until_return};
	list_init(&b->link);
}

void
buffer_drop(struct buffer *b)
{
	if (b->fd < 0)
		return;
	/* The other side's window would keep the memory; in a child of fork it is the parent's. */
	if (!b->serial && !b->reserved && b->room->owner == getpid())
		fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, WIRE_BUFFER_BYTES);
	munmap(b->map, WIRE_BUFFER_BYTES);
	b->fd = fd_close(b->fd);
	list_unlink(&b->link);
	b->room->n_buffers--;
	buffer_init(b, b->room, b->until_return);
}

/* Whether there may be one more, if need be in place of one that is not used. */
static bool
room_for_buffer(struct room *r)
{
	struct buffer *oldest;

	if (r->n_buffers < r->max)
		return true;
	if (r->n_buffers == 0)
		return false;
	oldest = list_entry(list_first(&r->buffers), struct buffer, link);
	if (buffer_is_held(oldest) || oldest->used_at + STEAL_USEC > now_usec())
		return false;
	buffer_drop(oldest);
	return true;
}

static bool
buffer_make(struct buffer *b)
{
	cleanup_close int fd = -1;
	char *map;

	if (!room_for_buffer(b->room))
		return false;
	fd = memfd_create("capc-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, WIRE_BUFFER_BYTES) < 0 ||
		fcntl(fd, F_ADD_SEALS, BUFFER_SEALS | F_SEAL_SEAL) < 0)
		return false;
	map = mmap(NULL, WIRE_BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return false;
	b->fd = take_fd(fd);
	b->map = map;
	b->room->n_buffers++;
	return true;
}

void
buffer_copied(struct buffer *b, uint64_t serial)
{
	if (b->fd < 0 || b->serial != serial)
		return;
	b->serial = 0;
	b->known = true;
}

/* The serial of the payload that the other side has copied, it says. */
static uint64_t
buffer_word(const struct buffer *b)
{
	const void *word = b->map + WIRE_BUFFER_MAX;

	return le64toh(__atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE));
}

bool
buffer_reserve(struct buffer *b)
{
	if (b->reserved || (b->fd < 0 && !buffer_make(b)))
		return false;
	if (b->serial && !b->until_return)
		buffer_copied(b, buffer_word(b));
	if (b->serial)
		return false;
	b->reserved = true;
	b->used_at = now_usec();
	list_unlink(&b->link);
	list_append(&b->room->buffers, &b->link);
	return true;
}
