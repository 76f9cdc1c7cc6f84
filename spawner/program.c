/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An init's part of its programs: the arenas, and what the programs say there of themselves.
 */
#include "config.h"

#include "spawner/program.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "spawner/hello.h"
#include "spawner/raw.h"
#include "spawner/starting.h"

/* Of an init, for as many programs that wait for their clients; those that are kept are paid for. */
#define ARENAS_MAX 256
#define STACK_BYTES 32768
#define GUARD_BYTES 65536 /* a page, of whatever size these are */
#define ARENA_BYTES (GUARD_BYTES + STACK_BYTES + sizeof(struct program_arena))

static struct program_arena *
make_arena(struct programs *all)
{
	struct program_arena *a;
	char *bytes;

	/* Shared, for where the program has a copy of the rest. */
	bytes = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		return NULL;
	mprotect(bytes, GUARD_BYTES, PROT_NONE);
	a = (struct program_arena *)(void *)(bytes + GUARD_BYTES + STACK_BYTES);
	a->next = all->arenas;
	all->arenas = a;
	return a;
}

void
programs_forget(struct programs *all)
{
	for (struct program_arena *a = all->arenas, *next; a; a = next) {
		next = a->next;
		munmap((char *)a - STACK_BYTES - GUARD_BYTES, ARENA_BYTES);
	}
	all->arenas = NULL;
}

void
program_look(struct program *p)
{
	struct program_arena *a = p->arena;

	if (!a)
		return;
	p->step = __atomic_load_n(&a->step, __ATOMIC_ACQUIRE);
	p->error = __atomic_load_n(&a->error, __ATOMIC_ACQUIRE);
	p->runs = __atomic_load_n(&a->runs, __ATOMIC_ACQUIRE) && p->error == 0;
	p->waits = __atomic_load_n(&a->waits, __ATOMIC_ACQUIRE) && p->run == 0;
	if (p->is_kept)
		p->pid = __atomic_load_n(&a->child, __ATOMIC_ACQUIRE);
}

static void
leave_arena(struct program *p)
{
	if (p->arena)
		p->arena->owner = NULL;
	p->arena = NULL;
}

void
program_ended(struct program *p)
{
	program_look(p);
	p->pid = 0;
	if (p->arena)
		__atomic_store_n(&p->arena->child, 0, __ATOMIC_RELEASE);
	if (p->starter == 0)
		leave_arena(p);
}

void
program_starter_ended(struct program *p)
{
	program_look(p);
	p->starter = 0;
	if (p->pid == 0)
		leave_arena(p);
}

int
program_again(struct program *p)
{
	struct program_arena *a = p->arena;

	p->run++;
	if (p->starter == 0)
		return -ECHILD;
	a->step = STEP_FORK;
	a->error = 0;
	a->runs = false;
	p->runs = false;
	__atomic_store_n(&a->run, p->run, __ATOMIC_RELEASE);
	raw(SYS_futex, &a->run, FUTEX_WAKE, INT_MAX, NULL);
	return 0;
}

/*
 * May its client still be waited for? One that shares our memory has left it when not. Where each has a copy, as in
 * sanitized builds, it keeps its arena until it ends, and is past its client when it runs.
 */
static bool
may_wait(struct program *p)
{
	if (RAW_SHARES_MEMORY)
		return true;
	program_look(p);
	return !p->runs;
}

/* One whose program has memory of its own by now is free before that ends. */
static struct program_arena *
find_arena(struct programs *all)
{
	size_t n = 0;

	for (struct program_arena *a = all->arenas; a; a = a->next) {
		struct program *p = a->owner;

		if (p && RAW_SHARES_MEMORY && __atomic_load_n(&a->tid, __ATOMIC_ACQUIRE) == 0) {
			program_look(p);
			leave_arena(p);
		}
		if (!a->owner)
			return a;
		n += !p->is_kept && may_wait(p);
	}
	return n < ARENAS_MAX ? make_arena(all) : NULL;
}

/*
 * What a client has sent there already nobody is to receive; but to close a stranger's file may take as long as he likes,
 * and we are to wait for nobody. So it goes when we do.
 */
void
program_leave_pair(int launch)
{
	char byte;

	if (launch < 0)
		return;
	shutdown(launch, SHUT_RDWR);
	if (recv(launch, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) <= 0)
		close(launch);
}

void
program_drop_spare(struct programs *all)
{
	program_leave_pair(take_fd(all->spare));
	all->is_recalled = false;
}

int
program_take_pair(struct programs *all, bool spare, int *ret_launch, int *ret_client)
{
	int pair[2], r;

	*ret_launch = *ret_client = -1;
	if (spare) {
		*ret_launch = take_fd(all->spare);
		all->is_recalled = false;
		return *ret_launch < 0 ? -ECONNRESET : 0;
	}
	r = hello_pair(pair);
	*ret_launch = pair[0];
	*ret_client = pair[1];
	return r;
}

/* One whose other end is gone was lost with a broker, or with who was given it. */
int
program_make_spare(struct programs *all)
{
	int client;

	if (all->spare >= 0 && !fd_has_hung_up(all->spare))
		return -1;
	program_drop_spare(all);
	if (program_take_pair(all, false, &all->spare, &client) == 0)
		return client;
	program_drop_spare(all);
	fd_close(client);
	return -1;
}

static pid_t
make_starter(struct program_arena *a)
{
	pid_t pid;

	a->tid = 1;
	pid = fork();
	if (pid == 0)
		starting_keep(a);
	return pid;
}

static pid_t
make_process(struct program_arena *a)
{
	pid_t pid;

#if RAW_SHARES_MEMORY
	a->tid = 1;
	pid = clone(starting_main, a, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, a, NULL, NULL, &a->tid);
#else
	pid = fork();
	if (pid == 0)
		starting_main(a);
#endif
	return pid;
}

int
program_start(struct programs *all, struct program *p, int launch, const struct process_hello *hello)
{
	struct program_arena *a = find_arena(all);
	pid_t pid;

	if (!a)
		return -EAGAIN;
	a->all = all;
	a->thread = p->thread;
	a->session = p->session;
	a->init = getpid();
	a->launch = launch;
	a->reports = all->reports;
	a->openers = all->openers;
	a->has_hello = hello != NULL;
	if (hello)
		a->hello = *hello;
	a->step = STEP_HELLO;
	a->error = 0;
	a->runs = false;
	a->run = p->run = 0;
	a->child = 0;
	a->is_later = p->is_later;
	a->waits = false;
	pid = p->is_kept ? make_starter(a) : make_process(a);
	if (pid < 0)
		return -errno;
	if (p->is_kept)
		p->starter = pid;
	else
		p->pid = pid;
	a->owner = p;
	p->arena = a;
	return 0;
}
