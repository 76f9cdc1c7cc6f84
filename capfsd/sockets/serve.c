/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What attaching and the loss of a server mean for everything else here. It joins those that share
 * a channel (channel_ops), and is called by control/attach.c, by the loop, and by adopt.c.
 *
 * A loss goes in an order that a crash may interrupt anywhere: those who may wait are put back; the
 * rest, the listeners and the channel end; what was counted is stored; and only then the thread is
 * taken off the entrypoint. Whoever finds a thread without a channel does what is left of that.
 */
#include "config.h"

#include "capfsd/sockets/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/model/event.h"
#include "capfsd/process/loop.h"
#include "capfsd/sockets/channel.h"
#include "capfsd/sockets/connection.h"
#include "capfsd/sockets/counts.h"
#include "capfsd/sockets/lend.h"
#include "capfsd/sockets/pages.h"
#include "capfsd/sockets/queue.h"
#include "capfsd/sockets/visits.h"

#define DETACH_AGAIN_USEC 1000000 /* the store was full, and is tried again after that */

struct served {
	struct list detaching; /* endpoints whose server is gone, which the store is to know */
	sd_event_source *timer;
};

/* --- what happens on a channel --- */

/* Listeners first: a server that waits for one can do nothing else. */
static void
serve_pump(struct channel *channel)
{
	lend_pump(channel);
	visits_pump(channel);
	queue_pump(channel);
}

/* Serials and badges are never the same: both are counted from the start of the one store. */
static void
serve_taken(struct channel *channel, uint64_t serial)
{
	if (visits_taken(channel, serial))
		return;
	if (!queue_taken(channel, serial)) {
		/* Perhaps it is nobody's: one that a predecessor offered and that ended. */
		lend_taken(channel, serial);
		return;
	}
	channel_pump(channel);
	channels_pump_starved(channel->sockets);
}

static void serve_lost(struct channel *channel);

static const struct channel_ops channel_ops = {
	.pump = serve_pump,
	.taken = serve_taken,
	.lost = serve_lost,
};

/* Those that starve, which is all that a channel ever waits for. */
static void
serve_resume(void *data)
{
	struct sockets *sockets = data;

	/* A pump ends nothing, as its callers may hold it. */
	list_for_each (i, &sockets->channels->starved)
		queue_refuse_unpaid(list_entry(i, struct channel, starved_link));
	channels_pump_starved(sockets);
}

const struct endpoint_ops serve_ops = {
	.resume = serve_resume,
};

void
serve_look(struct entrypoint *e)
{
	if (endpoint_channel(e))
		channel_look(endpoint_channel(e));
}

/* --- a server comes --- */

/* Everything that can fail, but for the store: an attachment that was committed must succeed. */
int
serve_prepare(struct sockets *sockets, struct session *s, const struct channel_ways *ways,
	struct channel **ret, int *ret_server_fd)
{
	cleanup_close int ours = -1, theirs = -1;
	struct channel *channel;
	struct memo *memo;
	uint64_t cookie;
	int r, fds[2];

	r = fd_socketpair(SOCK_SEQPACKET, fds);
	if (r < 0)
		return r;
	ours = fds[0];
	theirs = fds[1];
	r = fd_socket_cookie(ours, &cookie);
	if (r < 0)
		return r;
	memo = memo_new(SOCKET_CHANNEL, cookie, 0);
	if (!memo)
		return -ENOMEM;
	memo->record.channel.epoch = 1;
	memo->record.channel.no_pidfd = !ways->pidfd;
	memo->record.channel.aside = ways->aside;
	memo->record.channel.caveats = ways->caveats;
	memo->record.channel.visits = ways->visits;
	r = channel_new(sockets, &channel_ops, s, ours, memo, &channel);
	if (r < 0) {
		memo_drop(sockets, memo);
		return r;
	}
	ours = -1;
	r = channel_charge(channel, s);
	if (r < 0) {
		channel_free(channel);
		return r;
	}
	*ret_server_fd = take_fd(theirs);
	*ret = channel;
	return 0;
}

bool
serve_steps_aside(const struct entrypoint *e)
{
	const struct channel *channel = endpoint_channel(e);

	return channel && channel->memo->record.channel.aside;
}

struct channel *
serve_abandon(struct channel *channel)
{
	return channel_free(channel);
}

/*
 * The record of the channel goes with the change that attaches: neither is ever found without the
 * other.
 */
int
serve_stage(struct channel *channel, struct change *ch, struct entrypoint *e)
{
	const struct entrypoint_record *record = change_record(ch, &e->entity);

	return channel_stage(channel, ch, e, record->thread, queue_epoch(e));
}

/*
 * Nodes that the kernel may hold from the time before are looked up again: they can be bound by
 * now. Those that wait at a listener may send what this server takes, and no more.
 */
static void
invalidate_slots(struct sockets *sockets, struct entrypoint *e)
{
	list_for_each (i, &e->objects) {
		struct object *o = list_entry(i, struct object, entity.owner_link);

		list_for_each (j, &o->origins) {
			struct capability *top = list_entry(j, struct capability, origin_link);

			for (struct capability *c = top; c; c = capability_next_below(top, c)) {
				struct listener *l = listener_find(&c->entity);

				if (l)
					connections_restricted(l);
				sockets->fs->socket_invalidate(sockets->fs_data, &c->entity);
				binding_recall(sockets, &c->entity);
			}
		}
	}
}

/* Listeners are lent before callers are handed over, as on every later occasion. */
void
serve_publish(struct channel *channel, struct entrypoint *e)
{
	struct sockets *sockets = channel->sockets;

	memo_stored(sockets, channel->memo);
	channel_publish(channel, e);
	invalidate_slots(sockets, e);
	lend_all(sockets, e);
	visits_tell_all(channel);
	queue_take(channel);
}

/* --- a server goes --- */

/*
 * Nobody accepts for E any more: its sockets refuse, and are looked up again. A look-up that waits
 * is told now, since the binder's reply would find nobody served.
 */
static void
close_listeners(struct sockets *sockets, const struct entrypoint *e)
{
	list_for_each_safe (i, &sockets->listeners->all) {
		struct listener *l = list_entry(i, struct listener, link);

		if (listener_entrypoint(l) != e)
			continue;
		sockets->fs->socket_invalidate(sockets->fs_data, l->entity);
		listener_done(l, ECONNREFUSED);
		listener_free(l);
	}
}

/* What was used first: the entries are known by their thread, which goes. Returns: 0 or -errno. */
static int
detach(struct sockets *sockets, struct endpoint *endpoint)
{
	struct change *ch;
	int r = counts_settle(endpoint->pages);

	if (r < 0)
		return r;
	ch = change_begin(sockets->model);
	r = change_finish(ch, entrypoint_detach(ch, endpoint->entrypoint));
	if (r == 0)
		endpoint->pages = pages_free(endpoint->pages);
	return r;
}

/* The server of ENDPOINT is gone: only what it counted is left. */
static void
detach_or_retry(struct sockets *sockets, struct endpoint *endpoint)
{
	const struct entrypoint *e = endpoint->entrypoint;
	cleanup_text struct text fields = {};
	const struct event event = {.verb = "detach", .keep = EVENT_USUAL, .fields = &fields};
	int r;

	text_addf(&fields, " entrypoint=%s", e->entity.name);
	event_log(sockets->model, e->session, &event);
	r = detach(sockets, endpoint);
	if (r == 0)
		return;
	/* It stays attached in the store, to nobody, until that has room. */
	core_fail(sockets, r);
	list_append(&sockets->served->detaching, &endpoint->detaching_link);
	loop_arm(sockets->served->timer, DETACH_AGAIN_USEC);
}

/* In order, and no further than the store has room for: the next one would fail as well. */
static int
serve_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	struct list *detaching = &sockets->served->detaching;

	while (!list_empty(detaching)) {
		struct endpoint *endpoint =
			list_entry(list_first(detaching), struct endpoint, detaching_link);

		list_unlink(&endpoint->detaching_link);
		if (detach(sockets, endpoint) == 0)
			continue;
		list_append(detaching, &endpoint->detaching_link);
		loop_arm(sockets->served->timer, DETACH_AGAIN_USEC);
		return 0;
	}
	return 0;
}

/* Everything of CHANNEL but what its server has counted. Takes it. */
static void
end_channel(struct channel *channel)
{
	queue_end(channel);
	lend_detach(channel);
	channel_free(channel);
}

/*
 * Whoever called has nothing of CHANNEL left after this. Where callers may wait the listeners stay,
 * to let them in.
 */
static void
serve_lost(struct channel *channel)
{
	struct endpoint *endpoint = channel->endpoint;
	struct sockets *sockets = channel->sockets;

	queue_give_back(channel);
	end_channel(channel);
	if (!endpoint->entrypoint->record.hold)
		close_listeners(sockets, endpoint->entrypoint);
	detach_or_retry(sockets, endpoint);
}

void
serve_refuse(struct sockets *sockets, struct entrypoint *e)
{
	struct endpoint *endpoint = endpoint_find(e);

	if (!endpoint || endpoint->channel)
		return;
	queue_refuse(e);
	if (!e->record.hold)
		close_listeners(sockets, e);
}

/* The store knows already: nothing is settled, and nobody waits here any more. */
void
serve_gone(struct entrypoint *e)
{
	struct endpoint *endpoint = endpoint_find(e);

	if (!endpoint)
		return;
	if (endpoint->channel)
		end_channel(endpoint->channel);
	endpoint->pages = pages_free(endpoint->pages);
	endpoint_free(endpoint);
}

/*
 * The store is told nothing: where the daemon ends for good its servers are gone with the mount,
 * and where it only forgets they are the next broker's.
 */
void
serve_end_all(struct sockets *sockets)
{
	struct list *channels = &sockets->channels->all;

	while (!list_empty(channels))
		end_channel(list_entry(list_first(channels), struct channel, link));
	list_for_each (i, &sockets->endpoints) {
		struct endpoint *endpoint = list_entry(i, struct endpoint, link);

		endpoint->pages = pages_free(endpoint->pages);
	}
}

/* --- what a predecessor left --- */

/*
 * The entrypoint that MEMO's channel serves, if it still does: another server may have attached
 * since, with another thread.
 */
static struct entrypoint *
adopted_entrypoint(struct sockets *sockets, const struct memo *memo)
{
	struct entity *found = entity_find(sockets->model, memo->record.owner);
	struct entrypoint *e = NULL;

	if (found && found->kind == ENTITY_ENTRYPOINT)
		e = entrypoint_of(found);
	if (!e || e->record.thread == 0 || e->record.thread != memo->record.channel.thread ||
		endpoint_channel(e))
		return NULL;
	return e;
}

/*
 * Takes both. Without them the server counts what nobody sees, so that it cannot be served any
 * longer: limits would hold nobody. It may attach anew.
 */
static int
adopt_pages(struct sockets *sockets, struct endpoint *endpoint, const struct memo *memo,
	const int page_fds[2])
{
	int r = -ENOENT;

	if (!memo->record.channel.pages && page_fds[0] < 0 && page_fds[1] < 0)
		return 0;
	if (endpoint && page_fds[0] >= 0 && page_fds[1] >= 0)
		r = pages_adopt(sockets, endpoint, page_fds[0], page_fds[1]);
	if (r < 0) {
		fd_close(page_fds[0]);
		fd_close(page_fds[1]);
		return r;
	}
	counts_watch(sockets);
	return 0;
}

/*
 * The pages come first, since they are there even where the channel is not: what its server counted
 * up to its end is in them, and nowhere else.
 */
void
serve_adopt(struct sockets *sockets, int fd, struct memo *memo, const int page_fds[2])
{
	struct entrypoint *e = adopted_entrypoint(sockets, memo);
	struct endpoint *endpoint = e ? endpoint_get(sockets, e) : NULL;
	struct channel *channel;
	int r = adopt_pages(sockets, endpoint, memo, page_fds);

	/* Above whatever the one before has given. */
	memo->record.channel.epoch++;
	if (!endpoint || r < 0 || fd < 0 ||
		channel_new(sockets, &channel_ops, e->session, fd, memo, &channel) < 0) {
		socket_discard(sockets, fd, sockets->model->root);
		memo_drop(sockets, memo);
		/* A broker died between the end of a channel and the word of it in the store. */
		if (endpoint && endpoint->pages)
			detach_or_retry(sockets, endpoint);
		return;
	}
	(void)channel_charge(channel, e->session);
	channel_publish(channel, e);
	visits_tell_all(channel);
	memo_touch(sockets, memo);
}

/* An endpoint that waits already to be detached is not entered a second time. */
void
serve_orphan(struct sockets *sockets, struct entrypoint *e)
{
	struct endpoint *endpoint = endpoint_get(sockets, e);

	if (!endpoint)
		core_fail(sockets, -ENOMEM);
	else if (list_empty(&endpoint->detaching_link))
		detach_or_retry(sockets, endpoint);
}

/* --- all of them --- */

int
served_new(struct sockets *sockets)
{
	sockets->served = calloc(1, sizeof(*sockets->served));
	if (!sockets->served)
		return -ENOMEM;
	list_init(&sockets->served->detaching);
	return loop_add_timer(sockets->event, serve_on_timer, sockets, &sockets->served->timer);
}

void
served_free(struct sockets *sockets)
{
	struct served *served = take_ptr(sockets->served);

	if (served)
		sd_event_source_disable_unref(served->timer);
	free(served);
}
