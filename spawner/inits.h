/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inits that this process makes, and has to wait for: those of the spawner, and those of an init. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "spawner/birth.h"
#include "spawner/channel.h"

struct inits {
	struct list list;
	size_t n;
	uint32_t *pids; /* where the kernel writes those of what doormen make; NULL: there are no doormen */
	size_t pids_bytes;
	struct leaves *leaves; /* one for each of them; NULL: they are in ours */
};

/* Returns: 0 or -errno. */
int inits_init(struct inits *all, bool with_doormen, struct leaves *leaves);

/*
 * Makes an init for the session and the thread that R names, by the plan of N bytes at DATA. C is told:
 * LAUNCH, with both descriptors, or FAILED; and at its end ENDED. It is told nothing if this init is there
 * already.
 */
void inits_start(struct inits *all, struct birthplace *place, struct channel *c,
	const struct process_record *r, const void *data, size_t n);

/* PID has ended. Returns: was it one of ours, or on the way to be? */
bool inits_reaped(struct inits *all, pid_t pid, int status);

/* May a child of ours that we do not know be an init all the same? Asked before inits_have(). */
bool inits_are_coming(const struct inits *all);
bool inits_have(const struct inits *all, pid_t pid);

/* Ends that of SESSION which was made for C. */
void inits_end(struct inits *all, const struct channel *c, uint64_t session);

/* Says the state of those that were made for C. */
void inits_tell(struct inits *all, struct channel *c, uint64_t serial);

/* C ends, and they go on. */
void inits_leave(struct inits *all, const struct channel *c);
