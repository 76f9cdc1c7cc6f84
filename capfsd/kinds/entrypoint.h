/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serving side. An entrypoint belongs to a session and outlives its server: while nobody is
 * attached it is detached, and its objects, badges and capabilities stay. An object is what it
 * serves; the server knows it by its key, the system by its badge.
 *
 * A thread is a process that serves. It lasts as long as the daemon sees its channel open.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"

struct change;
struct session;

enum entrypoint_flags {
	ENTRYPOINT_ONCE = 1 << 0, /* ends with its server */
	ENTRYPOINT_DEAD = 1 << 1, /* ended, and so are all its objects; being reaped */
	/* Its server gets the listeners and accepts by itself; as it was made, for ever. */
	ENTRYPOINT_LISTEN = 1 << 2,
};

struct entrypoint_record {
	uint64_t session;
	uint64_t thread; /* who serves, 0: detached */
	uint32_t flags;
	uint32_t attachment; /* how often it was served: tells the pages of one server from another's */
	uint16_t hold; /* so many callers may wait while nobody serves; 0: they are refused */
	uint8_t reserved[2];
};

#define ENTRYPOINT_HOLD_MAX 4096

struct entrypoint {
	struct entity entity;
	struct entrypoint_record record;
	struct session *session;
	struct thread *thread; /* NULL: detached */
	struct list objects;   /* of struct object */
	uint64_t n_objects;
	uint32_t n_connections, n_waiting;
	/* Of capfsd/ipc: callers that wait for a server, and when that was last told. */
	struct list held;
	uint32_t n_held;
	uint64_t held_usec;
	void *channel; /* of capfsd/ipc: its struct channel, NULL while detached */
	void *pages;   /* of capfsd/ipc: what its server counts in, NULL: it does not */
};

static inline bool
entrypoint_listens(const struct entrypoint *e)
{
	return e->record.flags & ENTRYPOINT_LISTEN;
}

enum object_flags {
	OBJECT_DEAD = 1 << 0, /* ended, and so are all its capabilities; being reaped */
};

enum object_socket {
	OBJECT_STREAM,
	OBJECT_SEQPACKET,
};

enum object_protocol {
	OBJECT_PLAIN, /* its own: a call is a connection, counted by the daemon */
	OBJECT_CALLS, /* the library's, which counts each call (libcap-client/pages.h) */
};

struct object_record {
	uint64_t entrypoint;
	uint64_t key;
	uint64_t badge;
	uint8_t socket; /* enum object_socket */
	uint8_t flags;  /* enum object_flags */
	uint8_t protocol; /* enum object_protocol */
	uint8_t reserved[5];
};

struct object {
	struct entity entity; /* its name is its key */
	struct object_record record;
	struct index_link badge_link; /* model.by_badge */
	struct entrypoint *entrypoint;
	struct list origins; /* of struct capability, origin_link */
	void *listener;      /* of capfsd/ipc, where the entrypoint listens: its struct listener */
};

struct thread_record {
	uint64_t session;
	uint64_t number; /* the N of its id S.N */
	uint32_t pid;    /* as the kernel told; shown, never used */
	uint8_t reserved[4];
};

struct thread {
	struct entity entity; /* its name is its id, "7.1" */
	struct thread_record record;
	struct session *session;
	struct entrypoint *serves;
};

enum {
	ENTRYPOINT_E_NAME = 1,
	ENTRYPOINT_E_QUOTA_THREADS,
	ENTRYPOINT_E_QUOTA_RAM,
	ENTRYPOINT_E_SERVED, /* by another server */
	ENTRYPOINT_E_CLOSING,
	ENTRYPOINT_E_EXISTS, /* that key, with another socket type or protocol */
	ENTRYPOINT_E_MODE,   /* it was made with the other one */
};

/*
 * Stages an attachment: takes a detached entrypoint up again or makes one, with a thread for the
 * server. FLAGS are ENTRYPOINT_ONCE and _LISTEN. The session pays threads=1, ram=512 for a new entrypoint.
 * Returns: 0, ENTRYPOINT_E_*; -errno.
 */
int entrypoint_attach(struct change *ch, struct session *s, const char *name, size_t n_name,
	uint32_t flags, pid_t pid, struct entrypoint **ret);

/*
 * Stages how many callers may wait while nobody serves E, until the next attachment says so again.
 * Returns: 0 or -ENOMEM.
 */
int entrypoint_hold(struct change *ch, struct entrypoint *e, uint16_t n);

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

/*
 * Stages an object with this key, or finds the one that has it: same key, same badge. The session
 * pays ram=512 for a new one. One that has ended is no longer found: its key makes a new object,
 * with a new badge (G42). Returns: 0, ENTRYPOINT_E_EXISTS, _QUOTA_RAM, _CLOSING; -errno.
 */
int object_add(struct change *ch, struct entrypoint *e, uint64_t key, enum object_socket socket,
	enum object_protocol protocol, struct object **ret);

/* Stages its end, and that of all its capabilities (G45). Returns: 0 or -ENOMEM. */
int object_end(struct change *ch, struct object *o);

/* By its badge, among the objects of E; NULL: none. */
struct object *object_find(struct entrypoint *e, uint64_t badge);
