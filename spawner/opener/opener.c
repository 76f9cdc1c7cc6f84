/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * To connect may take as long as a service likes, so each request has a thread, and one is always
 * left that waits for the next.
 *
 * What a program has in its memory may change while we look: the path is copied once, what it leads
 * to is held before it is looked at, and that is what is connected to. Whatever it is by then, it
 * is reached with the rights that the program itself has; so no answer here depends on what the
 * program could have meant. Who has taken another root or cannot be looked into, and whatever is no
 * socket, is left to the kernel, which opens what the program has there then, as if nobody had
 * asked.
 *
 * Landlock is none of this process's: it would keep it from looking into programs, and bounds neither O_PATH nor
 * connect(2) by a path for these.
 */
#include "config.h"

#include "spawner/opener/opener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define STACK_BYTES 262144
#define PIECE_BYTES 4096 /* within a page of whatever size: what lies behind may not be there */
#define CONNECT_SEC 30	 /* for a service that lets nobody in */
#define NAME_BYTES 48

enum {
	OPENER_E_ORDINARY = 1, /* it is none of our business */
};

struct opener {
	int listener;
	struct opener_page *page;
	struct statx root;
	pthread_mutex_t line; /* whose turn it is to wait for the next request */
	unsigned n;	      /* workers; changed by who has the line */
	atomic_uint n_idle;
};

struct worker {
	struct opener *opener;
	struct opener_asked *asked;
};

/* --- what a program means ---------------------------------------------------------------------- */

/* "PID/NAME": our directory is a /proc. */
static const char *
name_of(const struct seccomp_notif *q, const char *name, char buffer[static NAME_BYTES])
{
	snprintf(buffer, NAME_BYTES, "%u/%s", q->pid, name);
	return buffer;
}

static int
stat_root(const char *name, struct statx *ret)
{
	return statx(AT_FDCWD, name, AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, ret);
}

/* A mount is of one namespace alone. */
static bool
has_our_root(const struct opener *o, const struct seccomp_notif *q)
{
	char name[NAME_BYTES];
	struct statx s;

	return o->root.stx_mask & STATX_MNT_ID && stat_root(name_of(q, "root", name), &s) == 0 &&
	       s.stx_mask & STATX_MNT_ID && s.stx_mnt_id == o->root.stx_mnt_id &&
	       s.stx_ino == o->root.stx_ino && s.stx_dev_major == o->root.stx_dev_major &&
	       s.stx_dev_minor == o->root.stx_dev_minor;
}

static int
read_path(const struct seccomp_notif *q, uint64_t address, char path[static PATH_MAX])
{
	for (size_t n = 0; n < PATH_MAX;) {
		size_t piece = PIECE_BYTES - (size_t)((address + n) % PIECE_BYTES);
		struct iovec to = {path + n, piece < PATH_MAX - n ? piece : PATH_MAX - n};
		struct iovec from = {(void *)(uintptr_t)(address + n), to.iov_len};
		ssize_t got = process_vm_readv((pid_t)q->pid, &to, 1, &from, 1, 0);

		if (got <= 0)
			return OPENER_E_ORDINARY;
		if (memchr(path + n, '\0', (size_t)got))
			return *path ? 0 : OPENER_E_ORDINARY;
		n += (size_t)got;
	}
	return OPENER_E_ORDINARY;
}

/* Where a relative path begins. */
static int
open_base(const struct seccomp_notif *q, int directory)
{
	char name[NAME_BYTES], number[16];

	snprintf(number, sizeof(number), "fd/%d", directory);
	return open(name_of(q, directory == AT_FDCWD ? "cwd" : number, name), O_PATH | O_CLOEXEC);
}

/* The links of /proc that lead to descriptors lead to those of who follows them: such paths are the
 * kernel's. */
static int
look_up(int base, const char *path, int flags)
{
	const struct open_how how = {
		.flags = (uint64_t)(O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW)),
		.resolve = RESOLVE_NO_MAGICLINKS,
	};

	int fd;

	do
		fd = (int)syscall(SYS_openat2, base, path, &how, sizeof(how));
	while (fd < 0 && errno == EINTR);
	return fd;
}

static bool
is_socket(int node)
{
	struct statx s;

	return statx(node, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &s) == 0 &&
	       S_ISSOCK(s.stx_mode);
}

/* Its number may be somebody else's by now. */
static bool
waits(const struct opener *o, const struct seccomp_notif *q)
{
	return ioctl(o->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &q->id) == 0;
}

/* Returns: 0: *RET_NODE is a socket's, and the program waits; OPENER_E_ORDINARY. */
static int
look(const struct opener *o, const struct seccomp_notif *q, int *ret_node, int *ret_flags)
{
	bool at = q->data.nr == SYS_openat;
	const __u64 *arguments = q->data.args + (at ? 1 : 0);
	cleanup_close int base = -1, node = -1;
	char path[PATH_MAX];
	int r = has_our_root(o, q) ? read_path(q, arguments[0], path) : OPENER_E_ORDINARY;

	if (r != 0)
		return r;
	if (*path != '/') {
		base = open_base(q, at ? (int)q->data.args[0] : AT_FDCWD);
		if (base < 0)
			return OPENER_E_ORDINARY;
	}
	if (!waits(o, q))
		return OPENER_E_ORDINARY;
	node = look_up(base, path, (int)arguments[1]);
	if (node < 0 || !is_socket(node))
		return OPENER_E_ORDINARY;
	*ret_node = take_fd(node);
	*ret_flags = (int)arguments[1];
	return 0;
}

/* --- the socket -------------------------------------------------------------------------------- */

static int
set_patience(int fd, time_t sec)
{
	const struct timeval t = {.tv_sec = sec};

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0 ? -errno : 0;
}

/* By its descriptor, so that it is this one, whatever has its name by now. */
static int
connect_as(int node, int type, int flags, int *ret)
{
	bool nonblock = flags & O_NONBLOCK;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd =
		socket(AF_UNIX, type | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0);
	int r = fd < 0 ? -errno : set_patience(fd, CONNECT_SEC);

	if (r < 0)
		return r;
	/* A signal is ours alone: the program has got none. */
	snprintf(address.sun_path, sizeof(address.sun_path), "self/fd/%d", node);
	do
		r = connect(fd, (const struct sockaddr *)&address, sizeof(address));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN && !nonblock ? -ETIMEDOUT : -errno;
	r = set_patience(fd, 0);
	if (r == 0)
		*ret = take_fd(fd);
	return r;
}

/* Returns: 0, -errno, OPENER_E_ORDINARY: nobody can be connected there. */
static int
connect_to(int node, int flags, int *ret)
{
	int r = connect_as(node, SOCK_STREAM, flags, ret);

	if (r == -EPROTOTYPE)
		r = connect_as(node, SOCK_SEQPACKET, flags, ret);
	return r == -EPROTOTYPE ? OPENER_E_ORDINARY : r;
}

/* --- answers ----------------------------------------------------------------------------------- */

/* Who does not wait any more needs none. */
static void
refuse(const struct opener *o, const struct seccomp_notif *q, int r)
{
	struct seccomp_notif_resp answer = {
		.id = q->id,
		.error = r < 0 ? r : 0,
		.flags = r < 0 ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE,
	};

	(void)ioctl(o->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/* The program has it as NUMBER. */
static void
tell(const struct opener *o, const struct seccomp_notif *q, int number)
{
	struct seccomp_notif_resp answer = {.id = q->id, .val = number};

	(void)ioctl(o->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/*
 * In two steps: asked to do both at once, the kernel leaves the answer, and it is 0, when a signal keeps the
 * descriptor from being there. Who comes after us between the two has to find it (find_given()). Returns: its
 * number; -errno: such as that the program may not have more.
 */
static int
give(const struct opener *o, struct opener_asked *asked, int fd, int flags)
{
	struct seccomp_notif_addfd given = {
		.id = asked->notif.id,
		.srcfd = (__u32)fd,
		.newfd_flags = (__u32)(flags & O_CLOEXEC),
	};
	struct statx s;
	int number;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &s) < 0)
		return -errno;
	__atomic_store_n(&asked->socket, s.stx_ino, __ATOMIC_RELEASE);
	do
		number = ioctl(o->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given);
	while (number < 0 && errno == EINTR);
	return number < 0 ? -errno : number;
}

/* What a predecessor has given to the program, and could not tell it. Returns: its number, -1: there is none. */
static int
find_given(const struct opener_asked *asked)
{
	char name[NAME_BYTES], wanted[NAME_BYTES], link[NAME_BYTES];
	DIR *all = opendir(name_of(&asked->notif, "fd", name));
	const struct dirent *d;
	int number = -1;

	if (!all)
		return -1;
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", asked->socket);
	while (number < 0 && (d = readdir(all))) {
		ssize_t n = readlinkat(dirfd(all), d->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = '\0';
		if (strcmp(link, wanted) == 0)
			number = atoi(d->d_name);
	}
	closedir(all);
	return number;
}

static int
open_node(const struct opener *o, struct opener_asked *asked)
{
	cleanup_close int node = -1, fd = -1;
	int flags, r = look(o, &asked->notif, &node, &flags);

	if (r == 0)
		r = connect_to(node, flags, &fd);
	if (r != 0) {
		refuse(o, &asked->notif, r);
		return -1;
	}
	r = give(o, asked, fd, flags);
	if (r < 0)
		refuse(o, &asked->notif, r);
	return r;
}

static void
answer(const struct opener *o, struct opener_asked *asked)
{
	int number = asked->socket ? find_given(asked) : -1;

	if (number < 0)
		number = open_node(o, asked);
	if (number >= 0)
		tell(o, &asked->notif, number);
	/* In this order: what one program was given is never looked for in the next one. */
	__atomic_store_n(&asked->socket, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&asked->notif.id, 0, __ATOMIC_RELEASE);
}

/* --- workers ----------------------------------------------------------------------------------- */

static void *serve(void *p);

/* Where there cannot be one more, those that are there have to do. */
static void
add_worker(struct opener *o)
{
	struct worker *w = o->n < OPENER_WORKERS_MAX ? malloc(sizeof(*w)) : NULL;
	pthread_attr_t attributes;
	pthread_t thread;

	if (!w)
		return;
	*w = (struct worker){o, &o->page->asked[o->n]};
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	o->n_idle++;
	if (pthread_create(&thread, &attributes, serve, w) == 0) {
		o->n++;
	} else {
		o->n_idle--;
		free(w);
	}
	pthread_attr_destroy(&attributes);
}

/*
 * The kernel writes right to where a successor finds it, so that there is no moment in which it is
 * known to nobody else. It may have been taken back in between.
 */
static void
await(struct opener *o, struct seccomp_notif *q)
{
	struct pollfd p = {.fd = o->listener, .events = POLLIN};

	do {
		memset(q, 0, sizeof(*q));
		if (poll(&p, 1, -1) > 0 && p.revents & POLLHUP)
			_exit(EXIT_SUCCESS);
	} while (!(p.revents & POLLIN) || ioctl(o->listener, SECCOMP_IOCTL_NOTIF_RECV, q) < 0);
}

static void *
serve(void *p)
{
	struct worker w = *(struct worker *)p;
	struct opener *o = w.opener;

	free(p);
	for (;;) {
		/* What a predecessor was asked comes first. */
		if (w.asked->notif.id == 0) {
			pthread_mutex_lock(&o->line);
			await(o, &w.asked->notif);
			if (--o->n_idle == 0)
				add_worker(o);
			pthread_mutex_unlock(&o->line);
		} else {
			o->n_idle--;
		}
		answer(o, w.asked);
		o->n_idle++;
	}
	return NULL;
}

/* As many as have to be there from the begin: of what was asked, each has one. */
static unsigned
count_unanswered(const struct opener_page *page)
{
	unsigned n = 0;

	for (unsigned i = 0; i < OPENER_WORKERS_MAX; i++)
		if (page->asked[i].notif.id != 0)
			n = i + 1;
	return n;
}

void
opener_main(int listener, int proc, struct opener_page *page)
{
	static struct opener o = {.line = PTHREAD_MUTEX_INITIALIZER};
	unsigned n = count_unanswered(page);

	o.listener = listener;
	o.page = page;
	/* Without one nothing is found, and all is left to the kernel. */
	if ((proc < 0 ? chdir("/proc") : fchdir(proc)) < 0 || stat_root("/", &o.root) < 0)
		o.root.stx_mask = 0;
	pthread_mutex_lock(&o.line);
	for (unsigned before = ~0U; o.n <= n && o.n != before;) {
		before = o.n;
		add_worker(&o);
	}
	pthread_mutex_unlock(&o.line);
	/* The next one may have more luck. */
	if (o.n < n || o.n == 0)
		_exit(EXIT_FAILURE);
	for (;;)
		pause();
}
