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
	list_init(&all->kept);
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

static struct thread *
find_pid(const struct threads *all, pid_t pid)
{
	uint64_t hash = index_hash_id((uint64_t)pid);

	for (struct index_link *l = index_first(&all->by_pid, hash); l; l = index_next(l)) {
		struct thread *t = container_of(l, struct thread, by_pid);

		if (t->program.pid == pid)
			return t;
	}
	return NULL;
}

struct thread *
threads_find_starter(const struct threads *all, pid_t pid)
{
	uint64_t hash = index_hash_id((uint64_t)pid);

	for (struct index_link *l = index_first(&all->by_starter, hash); l; l = index_next(l)) {
		struct thread *t = container_of(l, struct thread, by_starter);

		if (t->program.starter == pid)
			return t;
	}
	return NULL;
}

static void
index_pid(struct index *index, struct index_link *link, pid_t pid)
{
	int r = index_add(index, link, index_hash_id((uint64_t)pid));

	/* There is room: threads_add(). */
	assert(r == 0);
	(void)r;
}

void
threads_look(struct threads *all, struct thread *t)
{
	program_look(&t->program);
	if (t->phase == PHASE_STARTING && t->program.waits)
		t->phase = PHASE_WAITING;
	/* Its starter could make no process, and says so itself. */
	if (t->phase == PHASE_STARTING && t->program.run > 0 && t->program.error != 0 && t->program.pid <= 0)
		t->phase = PHASE_FAILED;
	if (t->has_pid || t->program.pid <= 0)
		return;
	index_pid(&all->by_pid, &t->by_pid, t->program.pid);
	t->has_pid = true;
	t->last_pid = t->program.pid;
}

/* A starter makes processes without asking, and of some the first that is known is their end. */
struct thread *
threads_find_pid(struct threads *all, pid_t pid)
{
	struct thread *t = find_pid(all, pid);

	if (t)
		return t;
	list_for_each(link, &all->kept)
		threads_look(all, list_entry(link, struct thread, kept_link));
	return find_pid(all, pid);
}

/* Room for its pid as well, so that nothing can fail once there is a process. */
struct thread *
threads_add(struct threads *all, uint64_t id, uint64_t session)
{
	struct thread *t = all->n < THREADS_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t || index_reserve(&all->by_pid, all->n + 1) < 0 || index_reserve(&all->by_starter, all->n + 1) < 0 ||
		index_add(&all->by_id, &t->by_id, index_hash_id(id)) < 0) {
		free(t);
		return NULL;
	}
	t->program.thread = id;
	t->program.session = session;
	t->phase = PHASE_STARTING;
	list_init(&t->kept_link);
	list_append(&all->list, &t->link);
	all->n++;
	return t;
}

void
threads_remove(struct threads *all, struct thread *t)
{
	assert(t->program.pid <= 0 && t->program.starter <= 0);
	list_unlink(&t->kept_link);
	index_remove(&all->by_id, &t->by_id);
	list_unlink(&t->link);
	all->n--;
	free(t);
}

void
threads_started(struct threads *all, struct thread *t)
{
	if (t->program.starter > 0) {
		index_pid(&all->by_starter, &t->by_starter, t->program.starter);
		list_append(&all->kept, &t->kept_link);
	}
	threads_look(all, t);
}

void
threads_acknowledge(struct threads *all, struct thread *t)
{
	threads_look(all, t);
	t->is_over = true;
	if (t->program.pid > 0)
		kill(t->program.pid, SIGKILL);
	if (t->program.starter > 0)
		kill(t->program.starter, SIGKILL);
	if (t->program.pid <= 0 && t->program.starter <= 0)
		threads_remove(all, t);
}

/* Killed before it could say anything, by its deadline or by somebody. */
static int
silent_end(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ETIMEDOUT : ECONNRESET;
}

bool
threads_ended(struct threads *all, struct thread *t, int status, const struct rusage *usage)
{
	index_remove(&all->by_pid, &t->by_pid);
	t->has_pid = false;
	program_ended(&t->program);
	if (t->is_over) {
		if (t->program.starter <= 0)
			threads_remove(all, t);
		return false;
	}
	t->status = status;
	t->usage = *usage;
	t->phase = t->program.runs ? PHASE_EXITED : PHASE_FAILED;
	if (t->phase == PHASE_FAILED && t->program.error == 0)
		t->program.error = silent_end(status);
	return true;
}

/* While its program runs, or was not heard of, that goes on. */
bool
threads_starter_ended(struct threads *all, struct thread *t, int status)
{
	threads_look(all, t);
	index_remove(&all->by_starter, &t->by_starter);
	list_unlink(&t->kept_link);
	program_starter_ended(&t->program);
	if ((t->is_over || t->is_killed) && t->program.pid > 0)
		kill(t->program.pid, SIGKILL);
	if (t->is_over) {
		if (t->program.pid <= 0)
			threads_remove(all, t);
		return false;
	}
	if (t->phase != PHASE_STARTING || t->program.pid > 0)
		return false;
	t->phase = PHASE_FAILED;
	if (t->program.error == 0)
		t->program.error = silent_end(status);
	return true;
}

void
threads_kill(const struct threads *all)
{
	list_for_each(link, &all->list) {
		const struct thread *t = list_entry(link, struct thread, link);

		if (t->program.pid > 0)
			kill(t->program.pid, SIGKILL);
		if (t->program.starter > 0)
			kill(t->program.starter, SIGKILL);
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
	if (phase == PHASE_STARTING && t->program.waits)
		phase = PHASE_WAITING;
	*ret = (struct process_record){
		.type = type,
		.flags = type == PROCESS_STATE ? phase : 0,
		.thread = t->program.thread,
		.session = t->program.session,
		.pid = (uint32_t)(t->program.pid > 0 ? t->program.pid : t->last_pid),
		.version = PROCESS_VERSION,
		.serial = t->program.run,
	};
	if (phase == PHASE_FAILED) {
		ret->step = t->program.step;
		ret->error = t->program.error;
	}
	/* For whoever would have it run again. */
	if (phase == PHASE_EXITED && t->program.is_kept && t->program.starter == 0) {
		ret->step = STEP_FORK;
		ret->error = ECHILD;
	}
	if (phase == PHASE_EXITED) {
		ret->status = t->status;
		ret->utime_usec = usec_of(&t->usage.ru_utime);
		ret->stime_usec = usec_of(&t->usage.ru_stime);
		ret->maxrss_kib = (uint64_t)t->usage.ru_maxrss;
	}
}
