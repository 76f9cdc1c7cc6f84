/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The threads of a session, as its init knows them: from START until their ends are acknowledged. */
#pragma once

#include <stdbool.h>
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
	struct list kept_link; /* threads.kept, while its starter is there */
	struct index_link by_id, by_pid, by_starter;
	bool has_pid; /* it is in by_pid */
	bool is_over; /* acknowledged, and gone with its processes */
	bool is_killed; /* its first start was given up: what its starter may just have made goes with that */
	struct program program;	  /* its pid is 0 when there is no process */
	enum process_phase phase; /* STARTING: or RUNNING or WAITING, which the program knows */
	int status;
	pid_t last_pid;
	struct rusage usage;
};

struct threads {
	struct list list, kept;
	size_t n;
	struct index by_id, by_pid, by_starter;
};

void threads_init(struct threads *all);

struct thread *threads_find(const struct threads *all, uint64_t id);
/* Whose program, and whose starter, PID is. NULL: nobody's. */
struct thread *threads_find_pid(struct threads *all, pid_t pid);
struct thread *threads_find_starter(const struct threads *all, pid_t pid);

/* Returns: a new one, which starts; NULL: no memory, or there are too many. */
struct thread *threads_add(struct threads *all, uint64_t id, uint64_t session);
void threads_remove(struct threads *all, struct thread *t);
/* It is known to be over for good. What is kept of it goes as well, and what the broker knows nothing of. */
void threads_acknowledge(struct threads *all, struct thread *t);

/* Its program has a process. */
void threads_started(struct threads *all, struct thread *t);
/*
 * It has none any more: PHASE_EXITED, or PHASE_FAILED if it had not begun. Returns: is that to be told? Else T may be
 * gone.
 */
bool threads_ended(struct threads *all, struct thread *t, int status, const struct rusage *usage);
/* Its starter is gone, and T with it if nothing else is left to be told. Returns: has its start failed by that? */
bool threads_starter_ended(struct threads *all, struct thread *t, int status);

/* Looks what its program says of itself; which process of a starter's it is. */
void threads_look(struct threads *all, struct thread *t);

void threads_kill(const struct threads *all);

/* What is said of T. */
void thread_describe(struct thread *t, enum process_type type, struct process_record *ret);
