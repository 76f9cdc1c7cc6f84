/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receives without room for descriptors: to close a stranger's file may take as long as he likes. */
#include "config.h"

#include "spawner/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"

#define PARCEL_FDS 2
#define RECORD_BYTES_MIN offsetof(struct process_record, error) /* type, flags, thread, session */

struct parcel {
	struct list link;
	struct process_record record;
	int fds[PARCEL_FDS];
	size_t n_fds;
};

void
channel_init(struct channel *c, int fd)
{
	*c = (struct channel){.fd = fd};
	list_init(&c->unsent);
	(void)fd_refuse_descriptors(fd);
}

static void
close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_close(fds[i]);
}

static void
drop(struct channel *c, struct parcel *p)
{
	list_unlink(&p->link);
	c->n_unsent--;
	close_all(p->fds, p->n_fds);
	free(p);
}

void
channel_deinit(struct channel *c)
{
	list_for_each_safe(i, &c->unsent)
		drop(c, list_entry(i, struct parcel, link));
	c->fd = fd_close(c->fd);
}

static void
keep(struct channel *c, const struct process_record *r, const int *fds, size_t n)
{
	struct parcel *p = malloc(sizeof(*p));

	if (!p) {
		close_all(fds, n);
		return;
	}
	*p = (struct parcel){.record = *r, .n_fds = n};
	if (n > 0)
		memcpy(p->fds, fds, n * sizeof(*fds));
	list_append(&c->unsent, &p->link);
	c->n_unsent++;
}

static ssize_t
send_now(const struct channel *c, const struct process_record *r, const int *fds, size_t n)
{
	return msg_send(c->fd, r, sizeof(*r), fds, n, MSG_DONTWAIT);
}

void
channel_send(struct channel *c, const struct process_record *r, int *fds, size_t n)
{
	if (c->fd >= 0 && (c->n_unsent > 0 || send_now(c, r, fds, n) == -EAGAIN))
		keep(c, r, fds, n);
	else
		close_all(fds, n);
}

void
channel_flush(struct channel *c)
{
	list_for_each_safe(i, &c->unsent) {
		struct parcel *p = list_entry(i, struct parcel, link);

		if (c->fd >= 0 && send_now(c, &p->record, p->fds, p->n_fds) == -EAGAIN)
			return;
		drop(c, p);
	}
}

short
channel_events(const struct channel *c)
{
	return c->n_unsent > 0 ? POLLOUT : POLLIN;
}

/* A packet without bytes is taken for the end: nobody has a use for one. */
int
channel_receive(struct channel *c, struct channel_packet *ret)
{
	struct {
		struct process_record record;
		unsigned char rest[CHANNEL_REST_BYTES];
	} bytes;
	size_t n_fds;
	ssize_t n = msg_receive(c->fd, &bytes, sizeof(bytes), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -EINTR)
		return CHANNEL_E_EMPTY;
	if (n == -EMSGSIZE || n == -EBADMSG)
		return CHANNEL_E_BAD;
	if (n <= 0)
		return n == 0 ? -ENOTCONN : (int)n;
	if ((size_t)n < RECORD_BYTES_MIN)
		return CHANNEL_E_BAD;
	ret->n_rest = 0;
	if ((size_t)n < sizeof(bytes.record)) {
		memset((char *)&bytes + n, 0, sizeof(bytes.record) - (size_t)n);
	} else {
		ret->n_rest = (size_t)n - sizeof(bytes.record);
		memcpy(ret->rest, bytes.rest, ret->n_rest);
	}
	ret->record = bytes.record;
	return 0;
}
