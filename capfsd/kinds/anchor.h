/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An anchor is what a capability refers to for which the daemon answers itself, and what it keeps for
 * that: the count of a signal, which session or thread is meant, a posted descriptor. It belongs to
 * the session that it is about and lasts as long as it has an origin, and as what it is about.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/kinds/capability/capability.h"
#include "capfsd/model/entity.h"

struct change;
struct connection;
struct kind;
struct program;
struct session;

extern const struct kind anchor_kind;

enum anchor_flags {
	ANCHOR_ALARM = 1 << 0, /* a signal: raised by each fault of its session and those below */
};

struct anchor_record {
	uint64_t session; /* whose it is, and which pays */
	uint64_t badge;
	uint64_t about; /* a thread: the id of the program */
	uint64_t count; /* a signal: raised, and not taken yet. A descriptor: the size, if it is memory */
	uint8_t type;   /* enum capability_type */
	uint8_t flags;  /* enum anchor_flags */
	uint8_t seals;	/* a descriptor: of memory */
	bool memory;	/* a descriptor: it is memory (memfd_create(2)) */
	uint8_t reserved[4];
	uint64_t mailbox; /* a descriptor: the cookie of the socket that has it, or had it */
	uint64_t more[2];
};

struct anchor {
	struct entity entity; /* its name is its badge */
	struct anchor_record record;
	struct session *session;
	struct list origins; /* of struct capability, origin_link */
	struct list waiting; /* a signal: who waits for it, for whoever answers (capfsd/answers) */
	struct program *program; /* a thread: it; NULL: it has ended, and so has all that refers to this */
	struct list program_link;
	struct connection *posted; /* a descriptor: where it is left, likewise; NULL: there is none */
};

static inline struct anchor *
anchor_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct anchor, entity);
}

enum {
	ANCHOR_E_QUOTA_RAM = 1,
	ANCHOR_E_CLOSING,
	ANCHOR_E_ALARM, /* the session has one */
};

/*
 * Stages an anchor of S, for capabilities of the type that RECORD has, about PROGRAM, one of S, if that is a
 * thread's, else NULL; session, badge and what it is about are set here. S pays ram=512. It has no origin yet: capability_originate() follows in the same change.
 * Returns: 0, ANCHOR_E_*, -ENOMEM.
 */
int anchor_add(struct change *ch, struct session *s, const struct anchor_record *record, struct program *program,
	struct anchor **ret);

/* What the anchors of P refer to is gone: with P, or with its daemon. */
void anchors_lost(struct program *p);

/* Stages N more in the count of A, a signal; it stops at the largest number. Returns: 0 or -ENOMEM. */
int anchor_raise(struct change *ch, struct anchor *a, uint64_t n);
/* Stages that all of its count is taken. Returns: 0 or -ENOMEM. */
int anchor_take(struct change *ch, struct anchor *a);

/*
 * Stages that A, a descriptor, is what was left in the socket COOKIE; of memory, with its SIZE and SEALS.
 * Returns: 0 or -ENOMEM.
 */
int anchor_post(
	struct change *ch, struct anchor *a, uint64_t cookie, bool memory, uint64_t size, uint8_t seals);

/* Stages a fault in S: the alarms of S and of all above it are raised. Returns: 0 or -ENOMEM. */
int anchors_alarm(struct change *ch, struct session *s);
