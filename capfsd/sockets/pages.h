/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages of an attached server that counts calls (wire/pages.h): `granted`, by which it
 * sees what each capability may, and `used`, in which it counts. They hang on the struct endpoint,
 * from the first connection that needs them until the server is gone and what it counted is stored.
 *
 * All members are pages.c's alone; counts.c reads them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/listeners/core.h"
#include "capfsd/model/quota.h"

struct capability;
struct change;
struct channel;
struct endpoint;
struct granted_entry;
struct used_entry;

#define PAGES_STEP 64         /* memory is taken for so many entries at once */
#define PAGES_QUARANTINE 1024 /* freed ones that are not given yet */
#define PAGES_SLOT_BYTES ((uint32_t)(sizeof(struct granted_entry) + sizeof(struct used_entry)))

/* With memory for N entries there are so many. */
static inline uint32_t
pages_slots(uint32_t n)
{
	return (n + PAGES_STEP - 1) / PAGES_STEP * PAGES_STEP;
}

struct page_slot {
	struct capability *capability; /* NULL: free */
	uint32_t next;		       /* … and the one that was freed after it */
	bool written;
};

struct pages {
	struct sockets *sockets;
	struct endpoint *endpoint;
	struct granted_entry *granted;
	int granted_fd, used_fd;
	uint32_t attachment; /* of the entrypoint */
	uint64_t identity;   /* 0: they were never sent to anybody */
	uint64_t sequence;
	struct page_slot *slots;
	uint32_t n_slots; /* with memory: in `granted`, charged, and here */
	uint32_t n_given; /* from 1 up to here all were given once */
	uint32_t first_free, last_free, n_free;
	struct charge ram;
	bool sent;
	uint8_t n_inflight;
};

/* Unless all is only forgotten they are gone with it. P may be NULL. Returns: NULL. */
struct pages *pages_free(struct pages *p);
/*
 * Those of a predecessor, for ENDPOINT. Takes both descriptors on success. Returns: 0, -EBADMSG,
 * -errno.
 */
int pages_adopt(
	struct sockets *sockets, struct endpoint *endpoint, int granted_fd, int used_fd);
/* Is FD such a file as pages are? Then RET_KIND tells 0: `granted`, 1: `used`. */
bool page_identify(int fd, unsigned *ret_kind, uint64_t *ret_identity);

/*
 * Stages entries for C and all its ancestors, for a connection over CHANNEL. After the commit comes
 * pages_publish(). Returns: 0, -EDQUOT (there is no room for more), -errno.
 */
int pages_stage(struct channel *channel, struct change *ch, struct capability *c);
void pages_publish(struct channel *channel, struct capability *c);
/* Has C an entry, and been given it? */
bool pages_have(const struct pages *p, const struct capability *c);
/* C was reduced or has ended: its server sees it at the next call. For hooks. */
void pages_restrict(struct capability *c);
/* C is gone. For hooks. */
void pages_forget(struct capability *c);

/* Before the first hand-over that needs them. Returns: 0, -errno of the channel. */
int pages_send(struct channel *channel);
/* The server has taken something out of CHANNEL, and so what came before it. */
void pages_taken(struct channel *channel);

/* Reads N entries of `used` from INDEX on. Returns: could it? */
bool pages_used(const struct pages *p, uint32_t index, struct used_entry *entries, uint32_t n);
/* How long it is from NOW until AT, by one clock. What no rate can be is 0. */
uint64_t pages_until(uint64_t at_usec, uint64_t now_usec);
