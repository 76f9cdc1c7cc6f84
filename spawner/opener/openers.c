/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spawner/opener/openers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/msg.h"
#include "spawner/opener/opener.h"
#include "spawner/program.h"
#include "spawner/raw.h"
#include "spawner/self.h"

#define LISTENERS_A_TURN 64
#define PAUSE_MSEC 100	/* between two for the same programs, which may kill them themselves */
#define RETRY_MSEC 1000 /* where there cannot be one now */

struct opener_child {
	struct list link;
	int listener;
	struct opener_page *page;
	pid_t pid;	    /* 0: there is none */
	uint64_t next_msec; /* before which there will be no other */
};

int
openers_init(
	struct openers *all, const char *title, int proc_fd, struct programs *programs, int *ret_fd)
{
	int pair[2], r = fd_socketpair(SOCK_SEQPACKET, pair);

	if (r < 0)
		return r;
	*all = (struct openers){
		.fd = pair[0], .title = title, .proc_fd = proc_fd, .programs = programs};
	list_init(&all->list);
	*ret_fd = pair[1];
	return 0;
}

static void
drop(struct opener_child *o)
{
	list_unlink(&o->link);
	munmap(o->page, sizeof(*o->page));
	close(o->listener);
	free(o);
}

/* Else nobody is left whom a filter has ask there. */
static bool
is_wanted(const struct opener_child *o)
{
	struct pollfd p = {.fd = o->listener};

	return poll(&p, 1, 0) == 0 || !(p.revents & POLLHUP);
}

/* It ends with the init, and has nothing of it but what it needs. */
static void __attribute__((noreturn))
become(struct openers *all, const struct opener_child *o, pid_t init)
{
	int kept[] = {o->listener, all->proc_fd};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != init)
		_exit(EXIT_FAILURE);
	raw_close_all_but(kept, 2);
	programs_forget(all->programs);
	self_title("capfs-opener", all->title);
	opener_main(o->listener, all->proc_fd, o->page);
}

static void
start(struct openers *all, struct opener_child *o)
{
	pid_t init = getpid(), pid = fork();

	if (pid == 0)
		become(all, o, init);
	o->pid = pid < 0 ? 0 : pid;
	o->next_msec = clock_msec(CLOCK_MONOTONIC) + (pid < 0 ? RETRY_MSEC : PAUSE_MSEC);
}

/* Where there is no memory, LISTENER is let go: these programs are told that there is no such call.
 */
static void
add(struct openers *all, int listener)
{
	struct opener_child *o = calloc(1, sizeof(*o));
	void *page = mmap(
		NULL, sizeof(*o->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!o || page == MAP_FAILED) {
		if (page != MAP_FAILED)
			munmap(page, sizeof(*o->page));
		free(o);
		close(listener);
		return;
	}
	o->listener = listener;
	o->page = page;
	list_append(&all->list, &o->link);
	start(all, o);
}

void
openers_receive(struct openers *all)
{
	for (int i = 0; i < LISTENERS_A_TURN; i++) {
		char byte;
		int listener;
		size_t n;
		ssize_t r = msg_receive(all->fd, &byte, 1, &listener, 1, &n, MSG_DONTWAIT);

		if (r == -EAGAIN)
			return;
		if (r > 0 && n == 1)
			add(all, listener);
	}
}

static struct opener_child *
find(const struct openers *all, pid_t pid)
{
	list_for_each (i, &all->list) {
		struct opener_child *o = list_entry(i, struct opener_child, link);

		if (o->pid == pid)
			return o;
	}
	return NULL;
}

bool
openers_have(const struct openers *all, pid_t pid)
{
	return find(all, pid) != NULL;
}

bool
openers_reaped(struct openers *all, pid_t pid, int status)
{
	struct opener_child *o = find(all, pid);

	if (!o)
		return false;
	o->pid = 0;
	if (!is_wanted(o))
		drop(o);
	else if (WIFEXITED(status))
		o->next_msec = clock_msec(CLOCK_MONOTONIC) + RETRY_MSEC;
	return true;
}

void
openers_renew(struct openers *all)
{
	uint64_t now = clock_msec(CLOCK_MONOTONIC);

	list_for_each_safe (i, &all->list) {
		struct opener_child *o = list_entry(i, struct opener_child, link);

		if (o->pid != 0)
			continue;
		if (!is_wanted(o))
			drop(o);
		else if (o->next_msec <= now)
			start(all, o);
	}
}

uint64_t
openers_due_msec(const struct openers *all)
{
	uint64_t first = 0;

	list_for_each (i, &all->list) {
		const struct opener_child *o = list_entry(i, struct opener_child, link);

		if (o->pid == 0 && (first == 0 || o->next_msec < first))
			first = o->next_msec;
	}
	return first;
}
