/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A listener is shut down before anything else, since a duplicate would keep it connectable, and
 * emptied, since who waits there would wait for ever. When it is both it says so: accept(2) fails with
 * EINVAL. The next broker finds one that was not emptied by its name and goes on with it (sockets/adopt.c).
 */
#include "config.h"

#include "capfsd/listeners/drain.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/model/quota.h"
#include "capfsd/model/session.h"
#include "capfsd/process/watch.h"

#define AGAIN_USEC 100000 /* without descriptors nobody is accepted for so long */

struct drain {
	struct list link; /* sockets.draining */
	struct sockets *sockets;
	struct session *session; /* pays */
	struct charge charge;
	struct watch watch;
	drain_admit *admit;
	uint64_t entity;
	int fd;
};

static void
drain_free(struct drain *d)
{
	watch_remove(&d->watch);
	list_unlink(&d->link);
	charge_deinit(&d->charge);
	free(d);
}

/* E may have ended since, and then has no clients any more. */
static void
drain_accepted(void *data, int client)
{
	struct drain *d = data;
	struct entity *e = d->admit ? entity_find(d->sockets->model, d->entity) : NULL;

	if (e)
		d->admit(d->sockets, e, client);
	else
		socket_discard(d->sockets, client, d->session);
}

/* Returns: 0, and one was taken; EAGAIN: none is left; another errno: there is no room for one. */
static int
drain_one(struct drain *d)
{
	int r = socket_accept_one(d->fd, drain_accepted, d);

	return r < 0 ? EAGAIN : r;
}

static void
drain_end(struct drain *d)
{
	watch_remove(&d->watch);
	socket_discard(d->sockets, d->fd, d->session);
	drain_free(d);
}

/* What is missing nobody tells (drains_resume()). */
static bool
drain_on_io(void *data)
{
	struct drain *d = data;
	int r = disposal_is_full(d->sockets->disposal, d->session) ? ENOBUFS : drain_one(d);

	if (r == 0)
		return true;
	if (r == EAGAIN)
		drain_end(d);
	else
		core_resume_later(d->sockets, AGAIN_USEC);
	return false;
}

/* Where it cannot be watched it stays open, and the next broker finds it. */
static void
drain_watch(struct drain *d, struct session *s)
{
	d->session = s;
	if (watch_add(d->sockets->watches, &d->watch, &s->payer, d->fd, EPOLLIN, drain_on_io, d) < 0)
		drain_free(d);
}

/* Most have nobody waiting, and are closed at once. */
void
drain_begin(struct sockets *sockets, struct entity *e, int fd, drain_admit *admit, struct charge *charge)
{
	struct drain *d = calloc(1, sizeof(*d));

	/* After this accept(2) does not wait any more, whatever a server has made of the file. */
	shutdown(fd, SHUT_RDWR);
	if (!d)
		return;
	d->sockets = sockets;
	d->admit = admit;
	d->entity = e->id;
	d->fd = fd;
	d->session = entity_session(e);
	list_append(&sockets->draining, &d->link);
	if (charge && charge->session)
		charge_merge(&d->charge, charge);
	if (drain_one(d) == EAGAIN) {
		drain_end(d);
		return;
	}
	if (!d->charge.session)
		(void)charge_init(&d->charge, d->session, QUOTA_SOCKETS, 1);
	drain_watch(d, d->session);
}

void
drains_inherit(struct sockets *sockets, struct session *s)
{
	list_for_each_safe (i, &sockets->draining) {
		struct drain *d = list_entry(i, struct drain, link);

		if (d->session != s)
			continue;
		watch_remove(&d->watch);
		charge_deinit(&d->charge);
		/* Its quota is the parent's again, unless others were faster. */
		(void)charge_init(&d->charge, s->parent, QUOTA_SOCKETS, 1);
		drain_watch(d, s->parent);
	}
}

static void
drains_resume(void *data)
{
	struct sockets *sockets = data;

	list_for_each (i, &sockets->draining)
		watch_again(&list_entry(i, struct drain, link)->watch);
}

const struct endpoint_ops drain_ops = {
	.resume = drains_resume,
};

/* Nobody is served any more. Without descriptors what is left goes with the close: EOF there. */
void
drains_finish(struct sockets *sockets)
{
	list_for_each_safe (i, &sockets->draining) {
		struct drain *d = list_entry(i, struct drain, link);

		d->admit = NULL;
		while (drain_one(d) == 0)
			;
		drain_end(d);
	}
}

void
drains_free(struct sockets *sockets)
{
	list_for_each_safe (i, &sockets->draining)
		drain_free(list_entry(i, struct drain, link));
}
