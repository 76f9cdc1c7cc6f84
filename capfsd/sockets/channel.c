/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket to an attached server. After any crash what is offered again goes first and in order,
 * and the server knows a repetition by its serial alone.
 *
 * serve.c makes and ends it; queue.c, lend.c and pages.c send over it, and settle with it what was
 * taken. It reads acknowledgements and nothing else. A server that sends anything other is ended,
 * as one that cannot be told what it has.
 */
#include "config.h"

#include "capfsd/sockets/channel.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/sockets/visits.h"
#include "wire/wire.h"

#define CREDIT_MAX 8	 /* sent to one server that it has not acknowledged yet */
#define RETRY_USEC 10000 /* too many descriptors in flight: send again after that */

static bool channel_on_io(void *data);
static bool channel_on_end(void *data);

/*
 * A broker that dies between giving a serial and storing it would leave a successor that gives it
 * again, to another connection; the server would drop that as a repetition. The epoch is stored
 * before any of its serials goes out, so that the successor begins above all of them.
 */
static void
channel_set_epoch(struct channel *channel, uint64_t epoch)
{
	channel->memo->record.channel.epoch = epoch;
	channel->next_serial = epoch << EPOCH_SHIFT | 1;
}

CLEANUP_DEFINE(struct channel *, channel_free)

int
channel_new(struct sockets *sockets, const struct channel_ops *ops, struct session *s, int fd,
	struct memo *memo, struct channel **ret)
{
	cleanup(channel_free_p) struct channel *channel = calloc(1, sizeof(*channel));
	int r;

	if (!channel)
		return -ENOMEM;
	channel->sockets = sockets;
	channel->ops = ops;
	channel->fd = -1;
	list_init(&channel->link);
	list_init(&channel->starved_link);
	list_init(&channel->waiting);
	list_init(&channel->offered);
	list_init(&channel->taken);
	list_init(&channel->lending);
	list_init(&channel->untold);
	/* Here, since after the commit of an attachment nothing may fail any more. */
	channel->endpoint = endpoint_new(sockets);
	if (!channel->endpoint)
		return -ENOMEM;
	/* A server has none to say anything by. */
	(void)fd_refuse_descriptors(fd);
	r = fd_set_nonblock(fd, true);
	/* Its end is heard of at once, what it says when there is time, or when somebody waits for that. */
	if (r == 0)
		r = core_watch(
			sockets, &channel->watch, s, fd, EPOLLRDHUP, channel_on_end, channel);
	if (r == 0)
		r = watch_add(sockets->watches, &channel->late_watch, &s->payer, fd,
			EPOLLIN | WATCH_LATE | WATCH_LEVEL, channel_on_io, channel);
	if (r < 0)
		return error_trace(r);
	channel->fd = fd;
	channel->memo = memo;
	channel_set_epoch(channel, memo->record.channel.epoch);
	*ret = take_ptr(channel);
	return 0;
}

/*
 * The endpoint stays with the entrypoint, if there is one: callers may wait there for the next
 * server, and what this one counted is still to be stored.
 */
struct channel *
channel_free(struct channel *channel)
{
	if (!channel)
		return NULL;
	assert(list_empty(&channel->waiting) && list_empty(&channel->offered) &&
	       list_empty(&channel->taken));
	watch_remove(&channel->watch);
	watch_remove(&channel->late_watch);
	core_close(channel->sockets, channel->fd,
		channel->entrypoint ? channel->entrypoint->session : channel->sockets->model->root);
	visits_forget(channel);
	if (channel->entrypoint)
		channel->endpoint->channel = NULL;
	else
		endpoint_free(channel->endpoint);
	charge_deinit(&channel->charge);
	memo_drop(channel->sockets, channel->memo);
	list_unlink(&channel->starved_link);
	list_unlink(&channel->link);
	free(channel);
	return NULL;
}

/* The server's session pays for its channel. */
int
channel_charge(struct channel *channel, struct session *s)
{
	return charge_init(&channel->charge, s, QUOTA_SOCKETS, 1) ? -EDQUOT : 0;
}

/*
 * This comes after the commit, where nothing may fail: all that is needed was made with the
 * channel.
 */
void
channel_publish(struct channel *channel, struct entrypoint *e)
{
	channel->endpoint = endpoint_give(channel->endpoint, e);
	assert(!channel->endpoint->channel);
	channel->endpoint->channel = channel;
	channel->entrypoint = e;
	e->takes_visits = channel->memo->record.channel.visits;
	list_append(&channel->sockets->channels->all, &channel->link);
}

/* --- serials --- */

/*
 * The epoch comes from whoever waits for the server: their serials must be below those of the
 * channel.
 */
int
channel_stage(struct channel *channel, struct change *ch, const struct entrypoint *e,
	uint64_t thread, uint64_t epoch)
{
	channel_set_epoch(channel, epoch);
	channel->memo->record.owner = e->entity.id;
	channel->memo->record.channel.thread = thread;
	return memo_stage(channel->memo, ch, NULL, 0);
}

uint64_t
channel_serial(const struct channel *channel)
{
	return channel->next_serial;
}

/*
 * It is called only after the commit of what had the serial: one that was given and not used is no
 * harm, but of two connections that have the same the second would be dropped by the server.
 */
void
channel_next_serial(struct channel *channel)
{
	channel->next_serial++;
}

/*
 * It goes with the change of the first connection that depends on it: were that stored and the
 * epoch not, a successor would give the same serials again.
 */
int
channel_stage_late(struct channel *channel, struct change *ch)
{
	return memo_is_late(channel->memo) ? memo_stage(channel->memo, ch, NULL, 0) : 0;
}

void
channel_set_pages(struct channel *channel, uint64_t identity)
{
	channel->memo->record.channel.pages = identity;
	memo_touch(channel->sockets, channel->memo);
}

/* --- credit --- */

/* At the end of the line: those that starved before are served before it. */
void
channel_starve(struct channel *channel)
{
	struct sockets *sockets = channel->sockets;

	list_unlink(&channel->starved_link);
	list_append(&sockets->channels->starved, &channel->starved_link);
	core_resume_later(sockets, RETRY_USEC);
}

/*
 * It goes through the list of those that starve, which the loop pumps when no change is under way:
 * what is sent has quota charged for it, and in a hook nothing may be charged.
 */
void
channel_pump_soon(struct channel *channel)
{
	struct sockets *sockets = channel->sockets;

	list_unlink(&channel->starved_link);
	list_append(&sockets->channels->starved, &channel->starved_link);
	core_resume_later(sockets, 0);
}

/*
 * Without credit nothing is tried again: the acknowledgement that is missing will pump. Credit
 * keeps one slow server from having all descriptors in flight that the kernel allows this user.
 */
bool
channel_may_send(struct channel *channel, size_t n)
{
	if (channel->n_offered < CREDIT_MAX && core_may_fly(channel->sockets, n))
		return true;
	watches_hurry(channel->sockets->watches);
	if (channel->n_offered >= CREDIT_MAX)
		return false;
	channel_starve(channel);
	return false;
}

void
channel_sent(struct channel *channel, size_t n)
{
	channel->n_offered++;
	core_fly(channel->sockets, n);
}

void
channel_settled(struct channel *channel, size_t n)
{
	channel->n_offered--;
	core_landed(channel->sockets, n);
}

void
channel_pump(struct channel *channel)
{
	channel->ops->pump(channel);
}

void
channel_rest(struct channel *channel)
{
	if (list_empty(&channel->waiting))
		watches_delay(channel->sockets->watches);
}

void
channels_pump_starved(struct sockets *sockets)
{
	struct list *starved = &sockets->channels->starved, now = LIST_INIT(now);

	/* So that who queues up again meanwhile is not met twice. */
	while (!list_empty(starved)) {
		struct list *link = list_first(starved);

		list_unlink(link);
		list_append(&now, link);
	}
	while (!list_empty(&now)) {
		struct channel *channel =
			list_entry(list_first(&now), struct channel, starved_link);

		list_unlink(&channel->starved_link);
		channel_pump(channel);
	}
}

/* --- what the server says --- */

/* The next word of the server. Returns: 1, 0: there is none now; -EBADMSG: it has gone, or speaks otherwise. */
static int
channel_next(struct channel *channel, uint64_t *ret_serial)
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	size_t n_fds;
	ssize_t n = msg_receive(
		channel->fd, buffer, sizeof(buffer), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return 0;
	return n > 0 && wire_taken_decode(buffer, (size_t)n, ret_serial) == 0 ? 1 : -EBADMSG;
}

/*
 * `lost` frees CHANNEL, and `taken` may not: it is read on after that. Returns: was something taken?
 */
static bool
channel_read(struct channel *channel)
{
	uint64_t serial;
	int r = channel_next(channel, &serial);

	if (r < 0)
		channel->ops->lost(channel);
	if (r > 0)
		channel->ops->taken(channel, serial);
	return r > 0;
}

/* It says nothing but what it was asked; what else it says is told again, or the queue would fill up. */
static bool
channel_on_io(void *data)
{
	const struct channel *channel = data;

	return channel_read(data) && channel->n_offered > 0;
}

/* No end comes of this, as whoever called is in the midst of something: the loop tells of that. */
void
channel_catch_up(struct channel *channel)
{
	uint64_t serial;
	int r = 1;

	for (unsigned i = 0; r > 0 && i < CREDIT_MAX && channel->n_offered > 0; i++) {
		r = channel_next(channel, &serial);
		if (r > 0)
			channel->ops->taken(channel, serial);
	}
	if (r < 0)
		shutdown(channel->fd, SHUT_RDWR);
}

/* What it said before that counts. */
static bool
channel_on_end(void *data)
{
	return channel_read(data);
}

/*
 * The loop hears of a server's end after what it has already begun to dispatch. Whoever attaches in
 * its place, or calls it, would be told of a server that is not there.
 */
void
channel_look(struct channel *channel)
{
	struct pollfd p = {.fd = channel->fd};
	int n;

	do
		n = poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0 && (p.revents & (POLLHUP | POLLERR)))
		channel->ops->lost(channel);
}

/* --- all of them --- */

int
channels_new(struct sockets *sockets)
{
	struct channels *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	list_init(&all->all);
	list_init(&all->starved);
	sockets->channels = all;
	return 0;
}

void
channels_free(struct sockets *sockets)
{
	struct channels *all = take_ptr(sockets->channels);

	assert(!all || list_empty(&all->all));
	free(all);
}
