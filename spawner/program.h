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
	const struct restrict_filters *filters;
	int reports;	      /* the init's pair with the broker: the program says there that it runs */
	int openers;	      /* … and gives those what its opens are asked by, if it is to have one */
	struct rlimit nofile; /* as it was before the init took all */
	struct program_arena *arenas;
	int spare; /* our end of a launch pair that no program has yet; -1: there is none … */
	bool is_recalled; /* … and its other end is not to be given to anybody any more */
};

/* What is known of one. */
struct program {
	struct program_arena *arena; /* while it uses one */
	uint64_t thread, session;
	bool is_kept; /* what it begins with is, so that it can run again */
	bool is_later; /* … and first of all is to wait until it is asked to */
	bool waits;   /* it does */
	uint32_t run; /* how often it has */
	pid_t pid;     /* 0: there is no process */
	pid_t starter; /* who keeps it; 0: nobody */
	bool runs;	 /* it has said so, and is another program by now, or about to be */
	int step, error; /* it has failed there; else where it was seen last, and 0 */
};

/*
 * The launch pair of a program that is to be started, in *RET_CLIENT the end that is to be sent: of the SPARE one that
 * was. Both are the caller's, and -1 where they are not there. Returns: 0, -ECONNRESET: there is no spare one; -errno.
 */
int program_take_pair(struct programs *all, bool spare, int *ret_launch, int *ret_client);
/* Makes a spare pair, unless there is one with both its ends. Returns: that which is to be sent, the caller's; -1. */
int program_make_spare(struct programs *all);
void program_drop_spare(struct programs *all);
/* There is no program for LAUNCH, whose client may have spoken there. Takes it. */
void program_leave_pair(int launch);

/*
 * Makes P, whose client is at the other end of LAUNCH, which stays the caller's. HELLO: what was received of
 * it already; NULL: nothing. Returns: 0 or -errno: -EAGAIN, too many wait for their clients.
 */
int program_start(struct programs *all, struct program *p, int launch, const struct process_hello *hello);

/* Runs P, which has ended, once more. Returns: 0, -ECHILD: what it begins with is lost. */
int program_again(struct program *p);

/* Looks what has become of P. */
void program_look(struct program *p);

/* P has ended; or who keeps it has. With the last of both it has no arena any more. */
void program_ended(struct program *p);
void program_starter_ended(struct program *p);

/* Gives up the memory of another init's programs, which a child of it has come by. */
void programs_forget(struct programs *all);
