/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serving side. An entrypoint belongs to a session and outlives its server: while nobody is
 * attached it is detached, and its objects (object.h), their badges and capabilities stay.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"

struct change;
struct kind;
struct program;
struct session;

extern const struct kind entrypoint_kind;

enum entrypoint_flags {
	ENTRYPOINT_ONCE = 1 << 0, /* ends with its server */
	ENTRYPOINT_DEAD = 1 << 1, /* ended, and so are all its objects; being reaped */
	/* Its server gets the listeners and accepts by itself; as it was made, for ever. */
	ENTRYPOINT_LISTEN = 1 << 2,
	/* Of entrypoint_attach() alone: descriptors may be sent to it; it keeps caveats; it counts. */
	ENTRYPOINT_FDS = 1 << 3,
	ENTRYPOINT_CAVEATS = 1 << 4,
	ENTRYPOINT_COUNTS = 1 << 5,
};

/*
 * No flags, which daemons of 0.1.0 would refuse. To one that does not know caveats this is whether descriptors are
 * taken: a server that asked for caveats takes no connection of such a daemon. One that does not know who counts
 * goes on counting connections itself, of those that have no entry in the pages.
 */
enum entrypoint_takes {
	ENTRYPOINT_TAKES_FDS = 1 << 0,
	ENTRYPOINT_TAKES_CAVEATS = 1 << 1,
	ENTRYPOINT_TAKES_COUNTS = 1 << 2, /* what is asked by all its connections, which are no calls then */
};

struct entrypoint_record {
	uint64_t session;
	uint64_t thread; /* who serves, 0: detached */
	uint32_t flags;
	uint32_t attachment; /* how often it was served: tells the pages of one server from another's */
	uint16_t hold; /* so many callers may wait while nobody serves; 0: they are refused */
	uint8_t takes; /* enum entrypoint_takes: of its server, or the one that is expected */
	uint8_t backlog; /* log2 of entrypoint_backlog(); 0: the most */
};

#define ENTRYPOINT_HOLD_MAX 4096
#define ENTRYPOINT_BACKLOG_MAX 65536

struct entrypoint {
	struct entity entity;
	struct entrypoint_record record;
	struct session *session;
	struct thread *thread; /* NULL: detached */
	struct program *command; /* that is run for those who call while nobody serves; NULL: none */
	struct list objects;   /* of struct object */
	uint64_t n_objects;
	uint32_t n_connections, n_waiting;
	/* Of its own refusals: the current second's begin, and how many were told in it. */
	uint64_t second_usec;
	uint32_t n_refusals;
	bool takes_visits; /* sockets': its server has said so */
};

static inline struct entrypoint *
entrypoint_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct entrypoint, entity);
}

static inline bool
entrypoint_takes(const struct entrypoint *e, enum entrypoint_takes what)
{
	return e->record.takes & what;
}

static inline bool
entrypoint_listens(const struct entrypoint *e)
{
	return e->record.flags & ENTRYPOINT_LISTEN;
}

/* How many may have connected at each of its listeners without being accepted, if the system allows it. */
static inline uint32_t
entrypoint_backlog(const struct entrypoint *e)
{
	return e->record.backlog ? UINT32_C(1) << e->record.backlog : ENTRYPOINT_BACKLOG_MAX;
}

enum {
	ENTRYPOINT_E_NAME = 1,
	ENTRYPOINT_E_QUOTA_THREADS,
	ENTRYPOINT_E_QUOTA_RAM,
	ENTRYPOINT_E_SERVED, /* by another server */
	ENTRYPOINT_E_CLOSING,
	ENTRYPOINT_E_EXISTS, /* that key, with another socket type or protocol */
	ENTRYPOINT_E_MODE,   /* it was made with the other one */
	ENTRYPOINT_E_COMMAND, /* it has one */
};

/*
 * Stages an attachment: takes a detached entrypoint up again or makes one, with a thread for the
 * server. FLAGS are ENTRYPOINT_ONCE, _LISTEN, _FDS, _CAVEATS and _COUNTS. The session pays threads=1, ram=512 for a new entrypoint.
 * Returns: 0, ENTRYPOINT_E_*; -errno.
 */
int entrypoint_attach(struct change *ch, struct session *s, const char *name, size_t n_name,
	uint32_t flags, pid_t pid, struct entrypoint **ret);

/*
 * Stages one that has a command, for which HOLD callers may wait: one that is there, served or not, or a new
 * one. TAKES holds until its server says otherwise. Returns: 0, ENTRYPOINT_E_*; -errno.
 */
int entrypoint_prepare(struct change *ch, struct session *s, const char *name, size_t n_name, uint16_t hold,
	unsigned takes, struct entrypoint **ret);

/*
 * Stages how many callers may wait: HOLD while nobody serves E, BACKLOG, which is rounded up to a power of
 * two, to be accepted at a listener; 0: as many as may. Until the next attachment says so again. Returns:
 * 0 or -ENOMEM.
 */
int entrypoint_wait(struct change *ch, struct entrypoint *e, uint16_t hold, uint32_t backlog);

/*
 * Stages the loss of the server: the thread goes, the entrypoint is detached, or ends when it was
 * attached once. Returns: 0 or -ENOMEM.
 */
int entrypoint_detach(struct change *ch, struct entrypoint *e);

/*
 * Stages the end: one mark, which ends all its objects and their capabilities; model_reap() does
 * the rest. A server that is still there loses its thread with it.
 * Returns: 0 or -ENOMEM.
 */
int entrypoint_end(struct change *ch, struct entrypoint *e);
