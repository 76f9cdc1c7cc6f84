/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program from its clone(2) to its execve(2): it takes its descriptors and words from the client itself, so
 * that nobody else ever has them. It uses the memory of the init that made it, in an arena that nobody else
 * uses then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "spawner/restrict.h"
#include "wire/process.h"

struct program_arena;

/* All programs of an init. */
struct programs {
	const struct process_plan *plan;
	const struct restrict_filter *filter;
	int reports;	      /* the init's pair with the broker: the program says there that it runs */
	struct rlimit nofile; /* as it was before the init took all */
	struct program_arena *arenas;
	size_t n_arenas;
};

/* What is known of one. */
struct program {
	struct program_arena *arena; /* while it uses one */
	uint64_t thread, session;
	pid_t pid;
	bool runs;	 /* it has said so, and is another program by now, or about to be */
	int step, error; /* it has failed there; else where it was seen last, and 0 */
};

/*
 * Makes P, whose client is at the other end of LAUNCH, which stays the caller's. HELLO: what was received of
 * it already; NULL: nothing. Returns: 0 or -errno: -EAGAIN, too many wait for their clients.
 */
int program_start(struct programs *all, struct program *p, int launch, const struct process_hello *hello);

/* Looks what has become of P. */
void program_look(struct program *p);

/* P has ended, and has no arena any more. */
void program_ended(struct program *p);

/* Gives up the memory of another init's programs, which a child of it has come by. */
void programs_forget(struct programs *all);
