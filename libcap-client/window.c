/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The receiver's side of payloads that come through a buffer. The sender can write there at any
 * time: the payload is copied once, and the copy is what counts. The buffer's size is sealed, so
 * that the mapping never ends in SIGBUS.
 *
 * Where there is no window, or none yet, the copy is made by pread(2). That is slower, but makes no
 * page where the sender has none: to read a hole through a mapping allocates memory, on the
 * reader's account. A sender who makes holes behind our back does so with one buffer at a time, and
 * in a new one not more often than once in WINDOW_USEC.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcap-client/buffer.h"
#include "libcap-client/private.h"

#define WINDOW_USEC 1000000 /* between two buffers of one connection that are mapped */
#define STEAL_USEC 10000    /* a payload that comes in parts goes on within this time */

struct block *
block_unref(struct block *b)
{
	if (b && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(b);
	return NULL;
}

static struct block *
block_new(unsigned refs)
{
	/* A multiple of the alignment. */
	struct block *b = aligned_alloc(_Alignof(struct block), sizeof(*b) + WIRE_BUFFER_MAX + 64);

	if (b)
		b->refs = refs;
	return b;
}

/* One that nobody uses; NULL: there is no room for one more. */
static struct block *
room_block(struct room *r)
{
	struct block *b = NULL;

	for (unsigned i = 0; i < r->n_blocks && !b; i++)
		if (__atomic_load_n(&r->blocks[i]->refs, __ATOMIC_ACQUIRE) == 1)
			b = r->blocks[i];
	if (b) {
		__atomic_store_n(&b->refs, 2, __ATOMIC_RELAXED);
	} else if (r->n_blocks < r->max) {
		b = block_new(2);
		if (b)
			r->blocks[r->n_blocks++] = b;
	}
	if (b)
		b->used_at = now_usec();
	return b;
}

/* … or that of a payload that came in parts and did not go on. */
static struct block *
room_block_or_steal(struct room *r)
{
	struct block *b = room_block(r);
	uint64_t now = b ? 0 : now_usec();

	if (b)
		return b;
	list_for_each (i, &r->windows) {
		struct window *w = list_entry(i, struct window, link);

		if (w->used_at + STEAL_USEC > now)
			break;
		if (!w->block)
			continue;
		w->block = block_unref(w->block);
		return room_block(r);
	}
	return NULL;
}

void
window_init(struct window *w, struct room *room)
{
	*w = (struct window){.room = room};
	list_init(&w->link);
}

static void
window_forget_parts(struct window *w)
{
	w->block = block_unref(w->block);
	w->serial = 0;
	w->n_copied = 0;
}

void
window_drop(struct window *w)
{
	window_forget_parts(w);
	if (!w->map)
		return;
	munmap((void *)(uintptr_t)w->map, WIRE_BUFFER_BYTES);
	w->map = NULL;
	list_unlink(&w->link);
	w->room->n_windows--;
}

static void
window_used(struct window *w)
{
	w->used_at = now_usec();
	list_unlink(&w->link);
	list_append(&w->room->windows, &w->link);
}

/* Whether there may be one more, if need be in place of one that is not used. */
static bool
room_for_window(struct room *r, uint64_t now)
{
	struct window *oldest;

	if (r->n_windows < r->max)
		return true;
	if (r->n_windows == 0)
		return false;
	oldest = list_entry(list_first(&r->windows), struct window, link);
	if (oldest->used_at + STEAL_USEC > now)
		return false;
	window_drop(oldest);
	return true;
}

/* Pages of memory, and none of them is wanting up to N. */
static bool
is_whole(int fd, size_t n)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && s.f_type == TMPFS_MAGIC &&
	       lseek(fd, 0, SEEK_HOLE) >= (off_t)n;
}

/* Maps the buffer, unless it is so already or should not be. */
static void
window_open(struct window *w, int fd, const struct stat *st, size_t n)
{
	uint64_t now = now_usec();
	void *map;

	if (w->map && w->device == st->st_dev && w->inode == st->st_ino)
		return;
	window_drop(w);
	if (w->room->max == 0 || (w->mapped_at && w->mapped_at + WINDOW_USEC > now) ||
		!is_whole(fd, n) || !room_for_window(w->room, now))
		return;
	map = mmap(NULL, WIRE_BUFFER_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return;
	w->map = map;
	w->device = st->st_dev;
	w->inode = st->st_ino;
	w->mapped_at = now;
	w->room->n_windows++;
}

void
window_part(struct window *w, uint64_t serial, size_t n)
{
	if (!w || !w->map)
		return;
	if (!w->block)
		w->block = room_block_or_steal(w->room);
	if (!w->block)
		return;
	if (w->serial != serial)
		w->n_copied = 0;
	w->serial = serial;
	if (n > w->n_copied) {
		memcpy(w->block->data + w->n_copied, w->map + w->n_copied, n - w->n_copied);
		w->n_copied = n;
	}
	window_used(w);
}

static int
read_all(int fd, char *data, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, data + done, n - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -EBADMSG;
		done += (size_t)got;
	}
	return 0;
}

static int
buffer_check(int fd, struct stat *ret)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & BUFFER_SEALS) != BUFFER_SEALS || fstat(fd, ret) < 0 ||
		ret->st_size != WIRE_BUFFER_BYTES)
		return -EBADMSG;
	return 0;
}

/* Takes the block that parts of this payload are in, or another one. */
static struct block *
window_block(struct window *w, uint64_t serial, size_t *ret_n)
{
	struct block *b = NULL;

	*ret_n = 0;
	if (w && w->block) {
		b = w->block;
		*ret_n = w->serial == serial ? w->n_copied : 0;
		w->block = NULL;
		window_forget_parts(w);
	}
	if (!b && w)
		b = room_block_or_steal(w->room);
	return b ? b : block_new(1);
}

int
window_copy(struct window *w, uint64_t serial, int fd, size_t n, struct block **ret)
{
	struct block *b;
	struct stat st;
	size_t done;
	int r = n > WIRE_BUFFER_MAX ? -EBADMSG : buffer_check(fd, &st);

	if (r < 0)
		return r;
	if (w)
		window_open(w, fd, &st, n);
	b = window_block(w, serial, &done);
	if (!b)
		return -ENOMEM;
	if (!w || !w->map) {
		r = read_all(fd, b->data, n);
	} else {
		if (done < n)
			memcpy(b->data + done, w->map + done, n - done);
		window_used(w);
	}
	if (r < 0) {
		block_unref(b);
		return r;
	}
	b->data[n] = '\0';
	*ret = b;
	return 0;
}

void
window_copied(int fd, uint64_t serial)
{
	uint64_t word = htole64(serial);
	ssize_t n;

	/* If it cannot be told the sender goes without its buffer. */
	do
		n = pwrite(fd, &word, sizeof(word), WIRE_BUFFER_MAX);
	while (n < 0 && errno == EINTR);
}

void
window_discard(int fd, uint64_t serial)
{
	struct stat st;

	if (buffer_check(fd, &st) == 0)
		window_copied(fd, serial);
}
