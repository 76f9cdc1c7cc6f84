/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spawner/threads.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define THREADS_MAX 65536 /* far above any quota */

void
threads_init(struct threads *all)
{
	*all = (struct threads){};
	list_init(&all->list);
}

struct thread *
threads_find(const struct threads *all, uint64_t id)
{
	for (struct index_link *l = index_first(&all->by_id, index_hash_id(id)); l; l = index_next(l)) {
		struct thread *t = container_of(l, struct thread, by_id);

		if (t->program.thread == id)
			return t;
	}
	return NULL;
}

struct thread *
threads_find_pid(const struct threads *all, pid_t pid)
{
	uint64_t hash = index_hash_id((uint64_t)pid);

	for (struct index_link *l = index_first(&all->by_pid, hash); l; l = index_next(l)) {
		struct thread *t = container_of(l, struct thread, by_pid);

		if (t->program.pid == pid)
			return t;
	}
	return NULL;
}

/* Room for its pid as well, so that nothing can fail once there is a process. */
struct thread *
threads_add(struct threads *all, uint64_t id, uint64_t session)
{
	struct thread *t = all->n < THREADS_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t || index_reserve(&all->by_pid, all->n + 1) < 0 ||
		index_add(&all->by_id, &t->by_id, index_hash_id(id)) < 0) {
		free(t);
		return NULL;
	}
	t->program.thread = id;
	t->program.session = session;
	t->phase = PHASE_STARTING;
	list_append(&all->list, &t->link);
	all->n++;
	return t;
}

void
threads_remove(struct threads *all, struct thread *t)
{
	assert(t->program.pid <= 0);
	index_remove(&all->by_id, &t->by_id);
	list_unlink(&t->link);
	all->n--;
	free(t);
}

void
threads_started(struct threads *all, struct thread *t)
{
	int r = index_add(&all->by_pid, &t->by_pid, index_hash_id((uint64_t)t->program.pid));

	assert(r == 0);
	(void)r;
	t->last_pid = t->program.pid;
}

/* Killed before it could say anything, by its deadline or by somebody. */
static int
silent_end(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ETIMEDOUT : ECONNRESET;
}

void
threads_ended(struct threads *all, struct thread *t, int status, const struct rusage *usage)
{
	index_remove(&all->by_pid, &t->by_pid);
	program_ended(&t->program);
	t->program.pid = 0;
	t->status = status;
	t->usage = *usage;
	t->phase = t->program.runs ? PHASE_EXITED : PHASE_FAILED;
	if (t->phase == PHASE_FAILED && t->program.error == 0)
		t->program.error = silent_end(status);
}

void
threads_kill(const struct threads *all)
{
	list_for_each(link, &all->list) {
		const struct thread *t = list_entry(link, struct thread, link);

		if (t->program.pid > 0)
			kill(t->program.pid, SIGKILL);
	}
}

static uint64_t
usec_of(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

void
thread_describe(struct thread *t, enum process_type type, struct process_record *ret)
{
	enum process_phase phase = t->phase;

	program_look(&t->program);
	if (phase == PHASE_STARTING && t->program.runs)
		phase = PHASE_RUNNING;
	*ret = (struct process_record){
		.type = type,
		.flags = type == PROCESS_STATE ? phase : 0,
		.thread = t->program.thread,
		.session = t->program.session,
		.pid = (uint32_t)t->last_pid,
		.version = PROCESS_VERSION,
	};
	if (phase == PHASE_FAILED) {
		ret->step = t->program.step;
		ret->error = t->program.error;
	}
	if (phase == PHASE_EXITED) {
		ret->status = t->status;
		ret->utime_usec = usec_of(&t->usage.ru_utime);
		ret->stime_usec = usec_of(&t->usage.ru_stime);
		ret->maxrss_kib = (uint64_t)t->usage.ru_maxrss;
	}
}
