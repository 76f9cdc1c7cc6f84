/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A socket that is not empty is sent over a pair of which somebody else gets the other end: from then
 * on it is in that end's queue, and nowhere else. Our copy of that end is kept until the other one has
 * taken it, so that a process which could not be started, or died before, loses nothing, and so that
 * neither we nor who starts that process ever closes a queue that is not empty.
 */
#include "config.h"

#include "capfsd/disposal/disposal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/msg.h"
#include "capfsd/model/quota.h"
#include "capfsd/model/session.h"
#include "capfsd/process/loop.h"

#define UNPAID_MAX 16	   /* of one session, before its listeners are left alone */
#define LOOKED_AT_MAX 128  /* of those that wait, in a row */
#define AGAIN_USEC 100000

struct closing {
	struct list link; /* disposal.waiting, or .asked */
	struct session *session;
	struct charge charge;
	uint64_t serial;
	int socket; /* not on its way yet; -1: it is in the queue of `fd` */
	int fd;	    /* the pair's other end; both -1: it was taken, by who hangs perhaps */
	bool moved; /* who was asked believes that it is still another session's */
};

struct disposal {
	disposal_begin *begin;
	void *data;
	struct list waiting, asked;
	sd_event_source *timer;
	uint64_t next_serial;
	int empty;	/* what stands under the number `probe` between two questions */
	int probe;	/* whatever is to be asked about is put under this number */
	int about_probe; /* /proc/self/fdinfo/PROBE */
};

/*
 * How many descriptors are in the queue of FD, and of those who wait to be accepted there: the kernel
 * counts also what cannot be read any more, as out-of-band data that was. Negative: not known.
 */
static long
n_queued(const struct disposal *d, int fd)
{
	char text[1024], *line;
	uint64_t cookie;
	ssize_t n = -1;

	if (d->about_probe < 0 || dup3(fd, d->probe, O_CLOEXEC) < 0)
		return -1;
	n = pread(d->about_probe, text, sizeof(text) - 1, 0);
	/* FD is still open, so this closes nothing for the last time. */
	if (dup3(d->empty, d->probe, O_CLOEXEC) < 0)
		abort();
	if (n <= 0)
		return -1;
	text[n] = '\0';
	line = strstr(text, "\nscm_fds:");
	if (line)
		return strtol(line + strlen("\nscm_fds:"), NULL, 10);
	/* One of another family lingers as long as its owner likes. What is no socket has no queue. */
	return fd_socket_cookie(fd, &cookie) == -ENOTSOCK ? 0 : -1;
}

static void
closing_free(struct closing *c)
{
	list_unlink(&c->link);
	charge_deinit(&c->charge);
	free(c);
}

static size_t
count_below(const void *data, const struct session *top)
{
	const struct disposal *d = data;
	size_t n = 0;

	list_for_each (i, &d->asked)
		n += quota_is_below(list_entry(i, struct closing, link)->session, top);
	return n;
}

/*
 * The socket leaves this process into the pair's queue. Returns: 0, or -errno: it is still here, as the
 * kernel has no room for it.
 */
static int
pack(struct closing *c)
{
	int fds[2], r;
	ssize_t n;

	if (c->socket < 0)
		return 0;
	r = fd_socketpair(SOCK_SEQPACKET, fds);
	if (r < 0)
		return r;
	n = msg_send(fds[0], "", 1, &c->socket, 1, MSG_DONTWAIT);
	fd_close(fds[0]);
	if (n < 0) {
		fd_close(fds[1]);
		return (int)n;
	}
	c->socket = fd_close(c->socket);
	c->fd = fds[1];
	return 0;
}

static void
ask(struct disposal *d, struct closing *c)
{
	if (!quota_share_left(c->session, DISPOSAL_MAX, DISPOSAL_MIN, count_below, d))
		return;
	if (pack(c) < 0 || d->begin(d->data, c->serial, c->session, c->fd) < 0) {
		loop_arm(d->timer, AGAIN_USEC);
		return;
	}
	list_unlink(&c->link);
	list_append(&d->asked, &c->link);
}

/* The next broker must know whose they are, if this one dies. */
static void
tell_moved(struct disposal *d)
{
	list_for_each (i, &d->asked) {
		struct closing *c = list_entry(i, struct closing, link);

		if (c->moved)
			c->moved = d->begin(d->data, c->serial, c->session, -1) < 0;
	}
}

/* Those that were looked at in vain go to the end, lest they hide others. */
static void
resume(struct disposal *d)
{
	struct list *link = list_first(&d->waiting);

	tell_moved(d);
	for (unsigned i = 0; link && i < LOOKED_AT_MAX; i++, link = list_first(&d->waiting)) {
		struct closing *c = list_entry(link, struct closing, link);

		list_unlink(&c->link);
		list_append(&d->waiting, &c->link);
		ask(d, c);
	}
	if (!list_empty(&d->waiting))
		loop_arm(d->timer, AGAIN_USEC);
}

static int
on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	resume(data);
	return 0;
}

/*
 * It is paid for by what FD paid, or anew; a session that cannot is let no more in (disposal_is_full()).
 * Without memory for it the socket stays open, and the next broker finds it.
 */
static int
dispose(struct disposal *d, int fd, struct session *payer, struct charge *charge)
{
	struct closing *c = calloc(1, sizeof(*c));

	if (!c)
		return -1;
	list_init(&c->link);
	c->session = payer;
	c->serial = d->next_serial++;
	c->socket = fd;
	c->fd = -1;
	if (charge && charge->session) {
		charge_merge(&c->charge, charge);
	} else {
		(void)charge_init(&c->charge, payer, QUOTA_SOCKETS, 1);
	}
	list_append(&d->waiting, &c->link);
	ask(d, c);
	return -1;
}

int
disposal_end(struct disposal *d, int fd, struct session *payer, struct charge *charge)
{
	if (fd < 0)
		return -1;
	/* Nothing comes any more after this, so that the answer stays true. */
	shutdown(fd, SHUT_RDWR);
	if (n_queued(d, fd) != 0)
		return dispose(d, fd, payer, charge);
	/*
	 * Closed over something unread, a Unix socket tells its other end ECONNRESET, and takes from it
	 * what it could still read. So what is queued is read first.
	 */
	msg_discard_all(fd);
	return fd_close(fd);
}

/*
 * Whoever lets go of a socket without shutting it down says by that that its peer has gone: nothing
 * comes any more here either.
 */
int
disposal_leave(struct disposal *d, int fd, struct session *payer, struct charge *charge)
{
	if (fd < 0)
		return -1;
	return n_queued(d, fd) != 0 ? dispose(d, fd, payer, charge) : fd_close(fd);
}

bool
disposal_is_full(const struct disposal *d, const struct session *payer)
{
	size_t n = 0;

	list_for_each (i, &d->waiting) {
		const struct closing *c = list_entry(i, struct closing, link);

		n += c->session == payer && !c->charge.session;
	}
	return n >= UNPAID_MAX;
}

static struct closing *
asked_for(const struct disposal *d, uint64_t serial)
{
	list_for_each (i, &d->asked) {
		struct closing *c = list_entry(i, struct closing, link);

		if (c->serial == serial)
			return c;
	}
	return NULL;
}

/* What it was to take is its own by now, or in the pair, which this broker has found as well. */
void
disposal_found(struct disposal *d, uint64_t serial, struct session *s)
{
	struct closing *c = asked_for(d, serial) ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return;
	c->session = s;
	c->serial = serial;
	c->socket = c->fd = -1;
	(void)charge_init(&c->charge, s, QUOTA_SOCKETS, 1);
	list_append(&d->asked, &c->link);
}

/*
 * One that ended and has not said that it took the socket has not, or has closed it: who comes next
 * finds out which. The pair's queue is empty once it was taken.
 */
void
disposal_told(struct disposal *d, uint64_t serial, bool ended)
{
	struct closing *c = asked_for(d, serial);

	if (!c)
		return;
	if (!ended) {
		c->fd = fd_close(c->fd);
		return;
	}
	if (c->fd < 0) {
		closing_free(c);
		resume(d);
		return;
	}
	list_unlink(&c->link);
	list_append(&d->waiting, &c->link);
	loop_arm(d->timer, AGAIN_USEC);
}

void
disposal_lost(struct disposal *d)
{
	list_for_each_safe (i, &d->asked)
		disposal_told(d, list_entry(i, struct closing, link)->serial, true);
}

void
disposal_inherit(struct disposal *d, const struct session *s)
{
	struct list *lists[] = {&d->waiting, &d->asked};

	for (size_t n = 0; n < sizeof(lists) / sizeof(lists[0]); n++)
		list_for_each (i, lists[n]) {
			struct closing *c = list_entry(i, struct closing, link);

			if (c->session != s)
				continue;
			charge_deinit(&c->charge);
			c->session = s->parent;
			/* Its quota is the parent's again, unless others were faster. */
			(void)charge_init(&c->charge, s->parent, QUOTA_SOCKETS, 1);
			c->moved = true;
		}
	tell_moved(d);
}

/* Without /proc nothing is known, and every socket is disposed of as if it had something queued. */
static int
open_probe(struct disposal *d)
{
	char path[64];

	d->empty = open("/dev/null", O_RDONLY | O_CLOEXEC);
	d->probe = d->empty < 0 ? -1 : fd_dup(d->empty);
	if (d->probe < 0)
		return d->empty < 0 ? -errno : d->probe;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", d->probe);
	d->about_probe = open(path, O_RDONLY | O_CLOEXEC);
	return 0;
}

CLEANUP_DEFINE(struct disposal *, disposal_free)

int
disposal_new(sd_event *event, disposal_begin *begin, void *data, struct disposal **ret)
{
	cleanup(disposal_free_p) struct disposal *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->begin = begin;
	d->data = data;
	d->empty = d->probe = d->about_probe = -1;
	d->next_serial = DISPOSAL_SERIAL | loop_now(event);
	list_init(&d->waiting);
	list_init(&d->asked);
	r = open_probe(d);
	if (r == 0)
		r = loop_add_timer(event, on_timer, d, &d->timer);
	if (r < 0)
		return error_trace(r);
	*ret = take_ptr(d);
	return 0;
}

struct disposal *
disposal_free(struct disposal *d)
{
	if (!d)
		return NULL;
	sd_event_source_disable_unref(d->timer);
	list_for_each_safe (i, &d->waiting)
		closing_free(list_entry(i, struct closing, link));
	list_for_each_safe (i, &d->asked)
		closing_free(list_entry(i, struct closing, link));
	fd_close(d->about_probe);
	fd_close(d->probe);
	fd_close(d->empty);
	free(d);
	return NULL;
}
