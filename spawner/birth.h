/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes from the spawner, or from an init, into the process that is to be an init. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "spawner/cgroup/leaves.h"
#include "spawner/plan.h"
#include "spawner/restrict.h"
#include "wire/process.h"

struct programs;

/* Of whoever makes inits. */
struct birthplace {
	char mount[PATH_MAX];		  /* where the tree is to be found from here */
	char session[PLAN_SESSION_BYTES]; /* and of which session it is the directory */
	struct plan_scope scope;
	bool privileged; /* its children become others before they are inits */
	bool confined;
	const struct process_plan *above; /* of whose session all that are made are parts; NULL: of none */
	struct programs *programs; /* of an init that makes others, which are not theirs; NULL: it has none */
	int proc_fd;			  /* of /proc, where it has none in its root; else -1 */
	const struct restrict_filters *filters;
};

/* What stands where a doorman shares a word with the spawner, and is no pid: it has made nothing; it is about to. */
#define BIRTH_NOT_YET 1
#define BIRTH_COMING UINT32_MAX

/* Of the one that is made. */
struct birth {
	struct birthplace *place; /* its copy of where it is made, and later its own */
	struct process_plan plan;
	uint64_t thread, session;
	uint32_t flags; /* START_KEEP and START_LATER of its first program */
	int launch, reports; /* its ends */
	struct leaf_made leaf; /* what it is made in; an init that is not confined keeps the two files */
	/*
	 * What a doorman shares with the spawner: where the pid of the init that it makes goes; NULL: it is
	 * none.
	 */
	uint32_t *pids, *ret_pid;
	size_t pids_bytes;
};

/* First of all in the child: nothing but the pairs, and the N of MORE, stays open. */
void birth_begin(struct birth *b, const int *more, size_t n);

/* It is not born: broker and client are told why. */
void birth_fail(const struct birth *b, int step, int error) __attribute__((noreturn));
