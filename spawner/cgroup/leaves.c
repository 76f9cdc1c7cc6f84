/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "spawner/cgroup/leaves.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/number.h"
#include "spawner/cgroup/delegated.h"
#include "wire/process.h"

#define PREFIX "session-"
#define NAME_BYTES 32
#define INIT_ATTRIBUTE "user.capfs.init" /* the pid of an init that others in its leaf end with */
#define PROCS_BYTES 65536

struct leaf {
	struct list link;
	uint64_t number;
	int watch;
	int pidfd; /* of an init that an earlier spawner has made; -1: none */
};

/*
 * What is said of each session, and what keeps it. One process is killed for want of memory and not all of them
 * (memory.oom.group), since its init tells the others' fate, and starts it again.
 */
static const struct limit {
	uint32_t bit;
	const char *controller, *file;
	size_t offset; /* in a plan */
} limits[] = {
	{CONTROLLER_MEMORY, "memory", "memory.max", offsetof(struct process_plan, memory_max)},
	{CONTROLLER_PIDS, "pids", "pids.max", offsetof(struct process_plan, pids_max)},
};
#define N_LIMITS (sizeof(limits) / sizeof(limits[0]))

/* --- files ----------------------------------------------------------------------------------------- */

static void
write_name(uint64_t number, char ret[static NAME_BYTES])
{
	snprintf(ret, NAME_BYTES, PREFIX "%" PRIu64, number);
}

static int
open_leaf(const struct leaves *all, uint64_t number)
{
	char name[NAME_BYTES];

	write_name(number, name);
	return openat(all->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int
write_file(int directory, const char *name, const char *text)
{
	cleanup_close int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* Is WORD one of those in the file, which are separated by blanks or by newlines? */
static bool
file_has_word(int directory, const char *name, const char *word)
{
	cleanup_close int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	cleanup_fclose FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char one[64];

	if (file)
		take_fd(fd);
	while (file && fscanf(file, "%63s", one) == 1)
		if (strcmp(one, word) == 0)
			return true;
	return false;
}

/* --- those that are there -------------------------------------------------------------------------- */

static struct leaf *
find(const struct leaves *all, uint64_t number)
{
	list_for_each(i, &all->list) {
		struct leaf *l = list_entry(i, struct leaf, link);

		if (l->number == number)
			return l;
	}
	return NULL;
}

static struct leaf *
find_watch(const struct leaves *all, int watch)
{
	list_for_each(i, &all->list) {
		struct leaf *l = list_entry(i, struct leaf, link);

		if (l->watch == watch)
			return l;
	}
	return NULL;
}

static void
forget_init(const struct leaves *all, struct leaf *l)
{
	if (l->pidfd >= 0)
		epoll_ctl(all->fd, EPOLL_CTL_DEL, l->pidfd, NULL);
	l->pidfd = fd_close(l->pidfd);
}

static void
forget(const struct leaves *all, struct leaf *l)
{
	forget_init(all, l);
	inotify_rm_watch(all->changes, l->watch);
	list_unlink(&l->link);
	free(l);
}

/* It is told when the last process in it has ended. */
static int
add(struct leaves *all, uint64_t number, struct leaf **ret)
{
	char path[96], name[NAME_BYTES];
	struct leaf *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	write_name(number, name);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s/cgroup.events", all->directory, name);
	*l = (struct leaf){.number = number, .pidfd = -1};
	l->watch = inotify_add_watch(all->changes, path, IN_MODIFY);
	if (l->watch < 0) {
		int e = -errno;

		free(l);
		return e;
	}
	list_append(&all->list, &l->link);
	*ret = l;
	return 0;
}

/* If nobody is in it. */
static void
remove_empty(struct leaves *all, struct leaf *l)
{
	char name[NAME_BYTES];

	write_name(l->number, name);
	if (unlinkat(all->directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		forget(all, l);
}

/*
 * It is removed when the kernel has said that it is empty: what it has not said by then it never says, and others
 * may listen as well.
 */
static void
end(struct leaves *all, struct leaf *l)
{
	cleanup_close int fd = open_leaf(all, l->number);

	forget_init(all, l);
	if (fd >= 0)
		(void)write_file(fd, "cgroup.kill", "1");
}

void
leaves_end(struct leaves *all, uint64_t number)
{
	struct leaf *l = number ? find(all, number) : NULL;

	if (l)
		end(all, l);
}

void
leaves_drop(struct leaves *all, uint64_t number)
{
	struct leaf *l = number ? find(all, number) : NULL;

	if (l)
		remove_empty(all, l);
}

/* --- new ones -------------------------------------------------------------------------------------- */

void
leaves_note(struct leaves *all, uint64_t number, pid_t pid)
{
	cleanup_close int fd = number ? open_leaf(all, number) : -1;
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	if (fd >= 0)
		(void)fsetxattr(fd, INIT_ATTRIBUTE, text, strlen(text), 0);
}

int
leaf_limit(int directory, const char *controller, const char *file, uint64_t value)
{
	char text[24];

	if (!file_has_word(directory, "cgroup.controllers", controller))
		return -EOPNOTSUPP;
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return write_file(directory, file, text);
}

static uint64_t
wanted(const struct process_plan *plan, const struct limit *l)
{
	uint64_t value;

	memcpy(&value, (const char *)plan + l->offset, sizeof(value));
	return value;
}

/* LEAF -1: there is none. */
static int
set_limits(int leaf, const struct process_plan *plan, uint32_t *missing)
{
	int r = 0;

	*missing = plan->cpu_usec ? CONTROLLER_CPU : 0;
	for (const struct limit *l = limits; l < limits + N_LIMITS && r == 0; l++) {
		if (!wanted(plan, l))
			continue;
		r = leaf < 0 ? -EOPNOTSUPP : leaf_limit(leaf, l->controller, l->file, wanted(plan, l));
		if (r != -EOPNOTSUPP)
			continue;
		*missing |= l->bit;
		r = 0;
	}
	/* What has no more room is not to live on in that of others. Not everywhere is there such a file. */
	if (plan->memory_max && !*missing && r == 0)
		(void)write_file(leaf, "memory.swap.max", "0");
	return *missing && r == 0 ? -EOPNOTSUPP : r;
}

static int
make_directory(struct leaves *all, uint64_t *ret_number)
{
	char name[NAME_BYTES];

	for (;;) {
		write_name(++all->n_made, name);
		if (mkdirat(all->directory, name, 0755) == 0) {
			*ret_number = all->n_made;
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
}

void
leaf_made_close(struct leaf_made *m)
{
	m->directory = fd_close(m->directory);
	m->kill = fd_close(m->kill);
	m->events = fd_close(m->events);
}

int
leaves_make(struct leaves *all, const struct process_plan *plan, struct leaf_made *ret, uint32_t *ret_missing)
{
	struct leaf_made m = {.directory = -1, .kill = -1, .events = -1};
	struct leaf *l = NULL;
	int r;

	*ret_missing = 0;
	*ret = m;
	if (all->error < 0)
		return all->error;
	if (all->directory < 0)
		return set_limits(-1, plan, ret_missing);
	r = make_directory(all, &m.number);
	if (r < 0)
		return r;
	r = add(all, m.number, &l);
	if (r == 0) {
		m.directory = open_leaf(all, m.number);
		r = m.directory < 0 ? -errno : set_limits(m.directory, plan, ret_missing);
	}
	if (r == 0) {
		m.events = openat(m.directory, "cgroup.events", O_RDONLY | O_CLOEXEC);
		m.kill = openat(m.directory, "cgroup.kill", O_WRONLY | O_CLOEXEC);
		r = m.events < 0 ? -errno : 0;
	}
	if (r < 0) {
		char name[NAME_BYTES];

		leaf_made_close(&m);
		write_name(m.number, name);
		unlinkat(all->directory, name, AT_REMOVEDIR);
		if (l)
			forget(all, l);
		return r;
	}
	*ret = m;
	return 0;
}

/* --- changes --------------------------------------------------------------------------------------- */

static void
read_changes(struct leaves *all)
{
	struct {
		_Alignas(struct inotify_event) char bytes[4096];
	} buffer;
	ssize_t n;

	while ((n = read(all->changes, buffer.bytes, sizeof(buffer.bytes))) > 0)
		for (char *p = buffer.bytes; p < buffer.bytes + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)p;
			struct leaf *l = find_watch(all, e->wd);

			if (l)
				remove_empty(all, l);
			p += sizeof(*e) + e->len;
		}
}

/* One at a time: what it does may be the end of another one. */
static bool
look_once(struct leaves *all, int msec)
{
	struct epoll_event e;
	int n;

	do
		n = epoll_wait(all->fd, &e, 1, msec);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	if (e.data.ptr)
		end(all, e.data.ptr);
	else
		read_changes(all);
	return true;
}

void
leaves_look(struct leaves *all)
{
	while (all->fd >= 0 && look_once(all, 0))
		;
}

/* --- begin and end --------------------------------------------------------------------------------- */

/* Returns: the pid that was noted; 0: none. */
static pid_t
read_init(int leaf)
{
	char text[16];
	ssize_t n = fgetxattr(leaf, INIT_ATTRIBUTE, text, sizeof(text));
	uint64_t pid;

	return n > 0 && number_parse(text, (size_t)n, false, &pid) == 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/*
 * Somebody's who was made by a spawner before this one: all in it end with its init, whose end nobody else tells
 * us. One that does not say who that is has one whose end the kernel sees to.
 */
static void
take_up_init(struct leaves *all, struct leaf *l)
{
	cleanup_close int leaf = open_leaf(all, l->number);
	pid_t pid = leaf < 0 ? 0 : read_init(leaf);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = l};
	char text[16];

	if (pid == 0)
		return;
	l->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	snprintf(text, sizeof(text), "%d", (int)pid);
	/* In this order: whoever is in there now is the one that was opened. */
	if (l->pidfd < 0 || !file_has_word(leaf, "cgroup.procs", text) ||
		epoll_ctl(all->fd, EPOLL_CTL_ADD, l->pidfd, &e) < 0)
		end(all, l);
}

static void
take_up(struct leaves *all, const char *name)
{
	size_t n = strlen(PREFIX);
	struct leaf *l;
	uint64_t number;

	if (strncmp(name, PREFIX, n) != 0 || number_parse(name + n, strlen(name + n), false, &number) < 0 ||
		unlinkat(all->directory, name, AT_REMOVEDIR) == 0 || errno != EBUSY || add(all, number, &l) < 0)
		return;
	take_up_init(all, l);
	/* The last one may have ended before that was watched. */
	remove_empty(all, l);
}

static int
take_up_all(struct leaves *all)
{
	int fd = openat(all->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *list = fd < 0 ? NULL : fdopendir(fd);

	if (!list)
		return -errno;
	for (struct dirent *d; (d = readdir(list));)
		take_up(all, d->d_name);
	return 0;
}

/*
 * Not where we are ourselves: a control group with processes has none to give, but for some; and none of these could
 * be put there by whoever starts us again while sessions are there.
 */
static void
switch_controllers_on(const struct leaves *all)
{
	char text[16];

	for (size_t i = 0; i < N_LIMITS; i++) {
		snprintf(text, sizeof(text), "+%s", limits[i].controller);
		(void)write_file(all->directory, "cgroup.subtree_control", text);
	}
}

int
leaves_init(struct leaves *all, const char *path)
{
	struct epoll_event e = {.events = EPOLLIN};
	cleanup_close int directory = -1;
	bool direct;

	*all = (struct leaves){.directory = -1, .changes = -1, .fd = -1};
	list_init(&all->list);
	directory = delegated_open(path, &direct);
	if (directory < 0)
		return path && strcmp(path, DELEGATED_OWN) != 0 ? all->error = directory : 0;
	all->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	all->fd = epoll_create1(EPOLL_CLOEXEC);
	if (all->changes < 0 || all->fd < 0 || epoll_ctl(all->fd, EPOLL_CTL_ADD, all->changes, &e) < 0)
		return -errno;
	all->directory = take_fd(directory);
	if (!direct)
		switch_controllers_on(all);
	return take_up_all(all);
}

void
leaves_deinit(struct leaves *all, int msec)
{
	uint64_t until = clock_msec(CLOCK_MONOTONIC) + (uint64_t)msec, now;

	while (!list_empty(&all->list) && (now = clock_msec(CLOCK_MONOTONIC)) < until)
		look_once(all, (int)(until - now));
	while (!list_empty(&all->list))
		forget(all, list_entry(list_first(&all->list), struct leaf, link));
	all->fd = fd_close(all->fd);
	all->changes = fd_close(all->changes);
	all->directory = fd_close(all->directory);
}
