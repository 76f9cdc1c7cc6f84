/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread is a process that belongs to a session: today, one that serves an entrypoint. It lasts as
 * long as the daemon sees its channel open.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/entity.h"

struct change;
struct entrypoint;
struct kind;
struct session;

extern const struct kind thread_kind;

struct thread_record {
	uint64_t session;
	uint64_t number; /* the N of its id S.N */
	uint32_t pid;    /* as the kernel told; shown, never used */
	uint32_t error;	 /* errno of what it serves for, as it says; 0: that is well */
};

struct thread {
	struct entity entity; /* its name is its id, "7.1" */
	struct thread_record record;
	struct session *session;
	struct entrypoint *serves;
};

static inline struct thread *
thread_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct thread, entity);
}

/* The name of the thread NUMBER of the session with that id. Returns its length. */
#define THREAD_NAME_BYTES_MAX (2 * NUMBER_BYTES_MAX)
size_t thread_format(uint64_t session, uint64_t number, char buffer[THREAD_NAME_BYTES_MAX]);

/* Stages a thread for a process of S, whose number is the next that S has. Returns: 0 or -errno. */
int thread_add(struct change *ch, struct session *s, pid_t pid, uint64_t *ret_id);

/* Stages what T says of what it serves for. Returns: 0 or -ENOMEM. */
int thread_set_error(struct change *ch, struct thread *t, uint32_t error);
