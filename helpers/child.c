/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/child.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "helpers/peer.h"

#define END_USEC (UINT64_C(5) * 1000000)
#define LEFT_MAX 4	 /* processes of a session without their clients */
#define UNREAD_MAX 16	 /* what clients of a session sent and left, before there was a process */
#define LOOK_USEC 200000 /* between two looks whether clients that are held back are still there */

struct child {
	struct source source; /* the connection; watched for its end only */
	struct children *children;
	struct list link;
	uint64_t since_usec; /* when it was asked to end */
	pid_t pid;	     /* also of its process group; 0 while it waits */
	bool left;	     /* its client is gone, or was revoked */
	bool suspected;	     /* which of these is seen in a moment */
	bool asked;	     /* to end, and its group with it */
	bool reaped;	     /* but others of its group are still there */
	uid_t uid;
	uint64_t badge;
	char *label;
};

static void
child_move(struct child *c, struct list *to)
{
	list_unlink(&c->link);
	list_append(to, &c->link);
	c->since_usec = c->children->loop->now_usec;
}

static void
child_disconnect(struct child *c)
{
	loop_remove(c->children->loop, &c->source);
	capc_raw_close(take_fd(c->source.fd));
}

static void
child_suspect(struct child *c)
{
	c->suspected = true;
	c->children->n_suspects++;
	child_move(c, &c->children->running);
}

static void
child_trust(struct child *c)
{
	c->children->n_suspects -= c->suspected;
	c->suspected = false;
}

/* Its process has ended, or it never had one. */
static void
child_end(struct child *c)
{
	if (c->pid)
		c->children->n--;
	c->pid = 0;
	child_trust(c);
	child_disconnect(c);
	child_move(c, &c->children->dead);
}

static void
child_free(struct child *c)
{
	list_unlink(&c->link);
	free(c->label);
	free(c);
}

static void
child_ask_to_end(struct child *c)
{
	loop_remove(c->children->loop, &c->source);
	child_trust(c);
	c->left = c->asked = true;
	kill(-c->pid, SIGHUP);
	/* A stopped process would not see it. */
	kill(-c->pid, SIGCONT);
	child_move(c, &c->children->ending);
}

static void
child_run(struct source *source, uint32_t events)
{
	struct child *c = (struct child *)source; /* its first member */

	loop_remove(c->children->loop, source);
	c->left = true;
	if (peer_state(source->fd) == PEER_OPEN)
		child_suspect(c);
}

static void
decide_suspects(struct children *all)
{
	if (all->n_suspects == 0)
		return;
	list_for_each_safe (i, &all->running) {
		struct child *c = list_entry(i, struct child, link);

		if (!c->suspected || all->loop->now_usec - c->since_usec < PEER_GRACE_USEC)
			continue;
		if (peer_state(c->source.fd) == PEER_OPEN)
			child_ask_to_end(c);
		else
			child_trust(c);
	}
}

static int
set_environment(const struct child *c)
{
	char uid[16], badge[24];

	snprintf(uid, sizeof(uid), "%u", (unsigned)c->uid);
	snprintf(badge, sizeof(badge), "0x%" PRIx64, c->badge);
	unsetenv("NOTIFY_SOCKET");
	if (setenv("CAPFS_PEER_UID", uid, 1) < 0 || setenv("CAPFS_PEER_LABEL", c->label, 1) < 0 ||
		setenv("CAPFS_BADGE", badge, 1) < 0)
		return -errno;
	return 0;
}

/* In the new process: nothing but the connection and stderr goes on to the program. */
static _Noreturn void
child_execute(const struct child *c)
{
	char **command = c->children->command;
	sigset_t none;

	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (set_environment(c) == 0 && dup2(c->source.fd, STDIN_FILENO) >= 0 &&
		dup2(c->source.fd, STDOUT_FILENO) >= 0 &&
		syscall(SYS_close_range, 3, UINT_MAX, 0) == 0)
		execvp(command[0], command);
	message("%s: %s: %s", command[0], error_name(errno), strerror(errno));
	_exit(127);
}

static void
child_start(struct child *c)
{
	struct children *all = c->children;
	pid_t pid = fork();
	int e;

	if (pid == 0)
		child_execute(c);
	if (pid < 0) {
		message_limited(&all->limit, all->loop->now_usec, "fork: %s", error_name(errno));
		child_end(c);
		return;
	}
	/* In both, so that neither has to wait for the other. */
	setpgid(pid, pid);
	c->pid = pid;
	all->n++;
	child_move(c, &all->running);
	e = loop_add(all->loop, &c->source, 0);
	if (e < 0)
		message_limited(&all->limit, all->loop->now_usec, "epoll: %s", error_name(e));
}

static unsigned
count_left(const struct list *l, const char *label)
{
	unsigned n = 0;

	list_for_each (i, l) {
		const struct child *c = list_entry(i, const struct child, link);

		n += c->left && strcmp(c->label, label) == 0;
	}
	return n;
}

/*
 * A client's limits do not count the processes that go on without it. So of each session there are
 * but a few, and its next connection waits until one of them has ended.
 */
static bool
child_may_start(const struct child *c)
{
	const struct children *all = c->children;

	return count_left(&all->running, c->label) + count_left(&all->ending, c->label) < LEFT_MAX;
}

static bool
child_is_gone(const struct child *c)
{
	struct pollfd p = {.fd = c->source.fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* What is there to be read although nobody waits for an answer. */
static bool
child_has_input(const struct child *c)
{
	char byte;

	return recv(c->source.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Whether C, which cannot start yet, is to wait longer. */
static bool
child_may_wait(struct child *c)
{
	struct children *all = c->children;

	if (!child_is_gone(c))
		return true;
	if (!child_has_input(c))
		return false;
	c->left = true;
	if (count_left(&all->waiting, c->label) <= UNREAD_MAX)
		return true;
	message_limited(&all->limit, all->loop->now_usec,
		"%s: more than %d of its clients have left before there was a process for what they "
		"sent; one of them is dropped",
		c->label, UNREAD_MAX);
	return false;
}

static void
start_some(struct children *all)
{
	all->n_held = 0;
	list_for_each_safe (i, &all->waiting) {
		struct child *c = list_entry(i, struct child, link);

		if (all->n >= all->max)
			break;
		if (child_may_start(c))
			child_start(c);
		else if (!child_may_wait(c))
			child_end(c);
		else
			all->n_held++;
	}
}

/* As many as may run do; the service is taken from only while one more may. */
static void
start_waiting(struct children *all)
{
	start_some(all);
	if (all->n < all->max && all->n_held < all->max)
		service_resume(all->service);
	else
		service_pause(all->service);
}

void
children_add(struct children *all, int fd, const struct capc_caller *caller)
{
	struct child *c = calloc(1, sizeof(*c));
	char *label = strdup(caller->label ? caller->label : "");

	if (!c || !label) {
		message_limited(&all->limit, all->loop->now_usec, "ENOMEM");
		free(c);
		free(label);
		capc_raw_close(fd);
		return;
	}
	*c = (struct child){
		.source = {.fd = fd, .run = child_run},
		.children = all,
		.uid = caller->uid,
		.badge = caller->badge,
		.label = label,
	};
	list_append(&all->waiting, &c->link);
	start_waiting(all);
}

static struct child *
find(struct children *all, pid_t pid)
{
	struct list *const lists[] = {&all->running, &all->ending};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each (j, lists[i]) {
			struct child *c = list_entry(j, struct child, link);

			if (c->pid == pid)
				return c;
		}
	return NULL;
}

static bool
group_is_there(const struct child *c)
{
	return kill(-c->pid, 0) == 0 || errno != ESRCH;
}

/* What was asked to end is the whole group, which keeps the number of its first process. */
static void
child_reaped(struct child *c)
{
	c->reaped = c->asked && group_is_there(c);
	if (c->reaped)
		child_disconnect(c);
	else
		child_end(c);
}

void
children_reap(struct children *all)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		struct child *c = find(all, pid);

		if (c)
			child_reaped(c);
	}
	/* Those whose parents are gone are ours, so the last one of a group may have been among these. */
	list_for_each_safe (i, &all->ending) {
		struct child *c = list_entry(i, struct child, link);

		if (c->reaped && !group_is_there(c))
			child_end(c);
	}
}

static void
free_dead(struct children *all)
{
	list_for_each_safe (i, &all->dead)
		child_free(list_entry(i, struct child, link));
}

static void
kill_late(struct children *all)
{
	list_for_each_safe (i, &all->ending) {
		struct child *c = list_entry(i, struct child, link);

		if (all->loop->now_usec - c->since_usec < END_USEC)
			return;
		kill(-c->pid, SIGKILL);
		if (c->reaped)
			child_end(c);
		else
			child_move(c, &all->ending); /* and again, should something of it be left */
	}
}

void
children_tend(struct children *all)
{
	decide_suspects(all);
	kill_late(all);
	free_dead(all);
	if (!all->loop->ended)
		start_waiting(all);
}

uint64_t
children_timeout(const struct children *all)
{
	uint64_t timeout = all->n_held > 0 ? LOOK_USEC : UINT64_MAX, age;
	const struct child *c;

	if (all->n_suspects > 0)
		timeout = PEER_GRACE_USEC;
	if (list_empty(&all->ending))
		return timeout;
	c = list_entry(all->ending.next, const struct child, link);
	age = all->loop->now_usec - c->since_usec;
	if (age >= END_USEC)
		return 0;
	return END_USEC - age < timeout ? END_USEC - age : timeout;
}

void
children_stop(struct children *all)
{
	service_pause(all->service);
	list_for_each_safe (i, &all->waiting)
		child_end(list_entry(i, struct child, link));
	list_for_each_safe (i, &all->running)
		child_ask_to_end(list_entry(i, struct child, link));
	while (all->n > 0 && loop_wait(all->loop, children_timeout(all)) == 0)
		children_tend(all);
	free_dead(all);
}

void
children_init(struct children *all, struct loop *l, struct service *s, char **command, uint64_t max)
{
	*all = (struct children){.loop = l, .service = s, .command = command, .max = max};
	/* Who is left of a group becomes ours, and tells its end. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	list_init(&all->waiting);
	list_init(&all->running);
	list_init(&all->ending);
	list_init(&all->dead);
}

/* Without a loop that works there is nobody to wait for those that are left. */
void
children_deinit(struct children *all)
{
	struct list *const lists[] = {&all->waiting, &all->running, &all->ending};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each_safe (j, lists[i])
			child_end(list_entry(j, struct child, link));
	free_dead(all);
}
