/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this room and sockets/ remember about entities: one word of each, which is a pointer. Of a capability, a
 * session or an object it is the struct listener; of an entrypoint the struct endpoint, that is
 * made when the first server attaches or the first caller waits, and goes with the entrypoint.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "capfsd/listeners/core.h"

struct capability;
struct channel;
struct entrypoint;
struct pages;
struct passage;

#define SOCKETS_SLOT 1 /* of entity.slots; the file system has the other one */

struct endpoint {
	struct list link; /* sockets.endpoints */
	struct entrypoint *entrypoint; /* NULL: it waits for one that is being made */
	struct channel *channel; /* NULL: nobody serves. By serve.c */
	struct pages *pages; /* what its server counts in, NULL: nothing yet. By pages.c */
	/* Callers that wait for a server to come: struct connection, by serial. By queue.c */
	struct list queue;
	uint32_t n_queued;
	uint64_t queued_usec; /* when that was last told */
	/* Of serve.c, while the store is to be told that the server is gone. */
	struct list detaching_link;
};

static inline void *
endpoint_slot(const struct entity *e)
{
	return (void *)(uintptr_t)e->slots[SOCKETS_SLOT];
}

static inline void
endpoint_set_slot(struct entity *e, void *p)
{
	e->slots[SOCKETS_SLOT] = (uintptr_t)p;
}

/* That of E. NULL: it has none, so nobody serves it and nobody waits. */
struct endpoint *endpoint_find(const struct entrypoint *e);
/* The same, made where there is none. NULL: no memory. */
struct endpoint *endpoint_get(struct sockets *sockets, struct entrypoint *e);
/* One for an entrypoint that is yet to be committed: then it is given to that, or freed. */
struct endpoint *endpoint_new(struct sockets *sockets);
/* E has one then. Takes ENDPOINT, which may be NULL where E has one. Returns: that of E. */
struct endpoint *endpoint_give(struct endpoint *endpoint, struct entrypoint *e);
/* ENDPOINT has neither channel nor pages nor queue any more; it may be NULL. Returns: NULL. */
struct endpoint *endpoint_free(struct endpoint *endpoint);

/* Who serves E. NULL: nobody. */
struct channel *endpoint_channel(const struct entrypoint *e);
/* What its server counts in. NULL: nothing. */
struct pages *endpoint_pages(const struct entrypoint *e);
/* So many callers wait for somebody to serve E. */
uint32_t endpoint_n_queued(const struct entrypoint *e);
/* One of them does no longer. */
void endpoint_leave_queue(const struct entrypoint *e, struct list *link);

/* Who serves C, and who waits, in P. */
void endpoint_look(const struct capability *c, struct passage *p);
/* Is C, with all it came from, still good for calls? */
bool endpoint_may_call(const struct capability *c);
/* May whoever connects to E send descriptors? */
bool endpoint_takes_fds(const struct entity *e);
/* Of which kind are the listeners whose user is E's, too? What is spoken at those of sessions, is at some of slots. */
enum entity_kind endpoint_user(const struct entity *e);
/* Is somebody there to accept at the listener of E, or will be, while the callers wait? */
bool endpoint_is_served(const struct entity *e);
