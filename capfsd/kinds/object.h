/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An object is what an entrypoint serves: the server knows it by its key, the system by its badge,
 * which is never used again. It belongs to the entrypoint, and the session of that pays for it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/model/entity.h"

struct change;
struct kind;

extern const struct kind object_kind;

/* All that there can be in a capability to one. */
#define RIGHTS_OBJECT (RIGHT_CALL | RIGHTS_COMMON)

enum object_flags {
	OBJECT_DEAD = 1 << 0, /* ended, and so are all its capabilities; being reaped */
};

enum object_socket {
	OBJECT_STREAM,
	OBJECT_SEQPACKET,
};

enum object_protocol {
	OBJECT_PLAIN, /* its own: a call is a connection, counted by the daemon */
	OBJECT_CALLS, /* the library's, which counts each call (wire/pages.h) */
};

struct object_record {
	uint64_t entrypoint;
	uint64_t key;
	uint64_t badge;
	uint8_t socket; /* enum object_socket */
	uint8_t flags;  /* enum object_flags */
	uint8_t protocol; /* enum object_protocol */
	/*
	 * The badge that it had where it was restored from, little-endian; 0: none. Badges are counted, so that these
	 * bytes are enough for as long as a daemon runs.
	 */
	uint8_t was[5];
};

#define OBJECT_WAS_MAX ((UINT64_C(1) << 40) - 1)

static inline uint64_t
object_was(const struct object_record *r)
{
	return (uint64_t)r->was[0] | (uint64_t)r->was[1] << 8 | (uint64_t)r->was[2] << 16 |
		(uint64_t)r->was[3] << 24 | (uint64_t)r->was[4] << 32;
}

struct object {
	struct entity entity; /* its name is its key */
	struct object_record record;
	struct index_link badge_link; /* model.by_badge */
	struct entrypoint *entrypoint;
	struct list origins; /* of struct capability, origin_link */
};

static inline struct object *
object_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct object, entity);
}

/* What C refers to when it is of the type `object`, else NULL. */
struct object *capability_object(const struct capability *c);

/*
 * Stages an object with this key, or finds the one that has it: same key, same badge. The session
 * pays ram=512 for a new one. One that has ended is no longer found: its key makes a new object,
 * with a new badge. Returns: 0, ENTRYPOINT_E_EXISTS, _QUOTA_RAM, _CLOSING; -errno.
 */
int object_add(struct change *ch, struct entrypoint *e, uint64_t key, enum object_socket socket,
	enum object_protocol protocol, struct object **ret);

/* Stages which badge, up to OBJECT_WAS_MAX, it had before. Returns: 0 or -ENOMEM. */
int object_set_was(struct change *ch, struct object *o, uint64_t badge);

/* Stages its end, and that of all its capabilities. Returns: 0 or -ENOMEM. */
int object_end(struct change *ch, struct object *o);

/* By its badge, among the objects of E; NULL: none. */
struct object *object_find(struct entrypoint *e, uint64_t badge);
