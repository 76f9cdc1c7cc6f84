/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The threads of a session, as its init knows them: from START until their ends are acknowledged. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/index.h"
#include "base/list.h"
#include "spawner/program.h"
#include "wire/process.h"

struct thread {
	struct list link;
	struct index_link by_id, by_pid;
	struct program program;	  /* its pid is 0 when there is no process */
	enum process_phase phase; /* STARTING: or RUNNING, which the program knows */
	int status;
	pid_t last_pid;
	struct rusage usage;
};

struct threads {
	struct list list;
	size_t n;
	struct index by_id, by_pid;
};

void threads_init(struct threads *all);

struct thread *threads_find(const struct threads *all, uint64_t id);
struct thread *threads_find_pid(const struct threads *all, pid_t pid);

/* Returns: a new one, which starts; NULL: no memory, or there are too many. */
struct thread *threads_add(struct threads *all, uint64_t id, uint64_t session);
void threads_remove(struct threads *all, struct thread *t);

/* Its program has a process, and has none any more: PHASE_EXITED, or PHASE_FAILED if it had not begun. */
void threads_started(struct threads *all, struct thread *t);
void threads_ended(struct threads *all, struct thread *t, int status, const struct rusage *usage);

void threads_kill(const struct threads *all);

/* What is said of T. */
void thread_describe(struct thread *t, enum process_type type, struct process_record *ret);
