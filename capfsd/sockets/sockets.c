/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The object that owns everything of this front, its timers, and the model's hooks.
 *
 * ipc_free() forgets; it closes no listener and no connection, since those outlive a broker.
 * Whoever means to end them calls ipc_stop() before.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <syslog.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/process/messages.h"

/* Descendants that are visited one by one before walking all listeners is the shorter way. */
#define DESCENDANTS_MAX 256
#define BUCKETS_MIN 64

int
ipc_add_io(struct ipc *ipc, int fd, uint32_t events, sd_event_io_handler_t f, void *data,
	sd_event_source **ret)
{
	int r = sd_event_add_io(ipc->event, ret, fd, events, f, data);

	if (r < 0)
		return error_trace(r);
	r = sd_event_source_set_exit_on_failure(*ret, true);
	if (r < 0)
		return error_trace(r);
	if (fd != ipc->binder_fd)
		keep_add(ipc->keep, fd);
	return 0;
}

uint64_t
ipc_now(const struct ipc *ipc)
{
	uint64_t now = 0;

	/* Inside a dispatch this is the time when it began: no system call. */
	if (sd_event_now(ipc->event, CLOCK_MONOTONIC, &now) < 0)
		return 0;
	return now;
}

void
ipc_arm(sd_event_source *timer, uint64_t usec)
{
	int enabled = SD_EVENT_OFF;

	if (!timer || (sd_event_source_get_enabled(timer, &enabled), enabled != SD_EVENT_OFF))
		return;
	if (sd_event_source_set_time_relative(timer, usec) < 0 ||
		sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT) < 0)
		log_message(LOG_ERR, "a timer could not be set");
}

static void
log_no_room(int error)
{
	if (error == -ENOSPC)
		log_event(LOG_WARNING, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STORE_FULL}),
			"the state store is full: a client is refused or waits");
	else
		log_message(LOG_WARNING, "out of memory: a client is refused or waits");
}

void
ipc_fail(struct ipc *ipc, int error)
{
	if (error == -ENOMEM || error == -ENOSPC) {
		if (ipc_now(ipc) - ipc->logged_usec > UINT64_C(10000000)) {
			ipc->logged_usec = ipc_now(ipc);
			log_no_room(error);
		}
		return;
	}
	log_message(LOG_ERR, "the broker ends: %s", error_name(error));
	sd_event_exit(ipc->event, BROKER_EXIT_RESTART);
}

int
ipc_commit(struct ipc *ipc, struct change *ch)
{
	int r;

	memos_stage(ipc, ch);
	r = change_commit(ch);
	memos_settle(ipc, r == 0);
	return r;
}

int
ipc_add_timer(struct ipc *ipc, sd_event_time_handler_t f, sd_event_source **ret)
{
	/* A coarse timer would make a hand-over that is retried wait for a quarter of a second. */
	int r = sd_event_add_time(ipc->event, ret, CLOCK_MONOTONIC, 0, 1000, f, ipc);

	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = sd_event_source_set_exit_on_failure(*ret, true);
	return r < 0 ? r : 0;
}

static void
ipc_init_lists(struct ipc *ipc)
{
	struct list *lists[] = {
		&ipc->listeners,
		&ipc->queued,
		&ipc->sent,
		&ipc->idle,
		&ipc->retiring,
		&ipc->closed,
		&ipc->paused,
		&ipc->channels,
		&ipc->detaching,
		&ipc->starved,
		&ipc->starved_controls,
		&ipc->pending,
		&ipc->dirty,
		&ipc->staged,
		&ipc->inspections,
		&ipc->all_calls,
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_init(lists[i]);
}

static void
ipc_init_limits(struct ipc *ipc)
{
	struct rlimit limit = {.rlim_cur = 1024};
	size_t quarter;

	getrlimit(RLIMIT_NOFILE, &limit);
	quarter = limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : limit.rlim_cur / 4;
	/* Two for each hand-over: below that nothing would ever be handed over. */
	ipc->n_inflight_max = quarter < 2 ? 2 : quarter;
	ipc->n_idle_max = quarter < IDLE_LISTENERS_MAX ? quarter : IDLE_LISTENERS_MAX;
}

CLEANUP_DEFINE(struct ipc *, ipc_free)

int
ipc_new(struct model *m, struct state *state, const struct boot *boot, sd_event *event,
	const struct ipc_fs *fs, void *fs_data, struct ipc **ret)
{
	cleanup(ipc_free_p) struct ipc *ipc = calloc(1, sizeof(*ipc));
	int r;

	if (!ipc)
		return -ENOMEM;
	ipc->model = m;
	ipc->state = state;
	ipc->boot = boot;
	ipc->event = sd_event_ref(event);
	ipc->fs = fs;
	ipc->fs_data = fs_data;
	ipc->binder_fd = ipc->next_binder_fd = -1;
	ipc->activation_fd = -1;
	ipc_init_lists(ipc);
	ipc_init_limits(ipc);
	ipc->request = malloc(WIRE_CONTROL_MAX);
	ipc->reply = malloc(WIRE_CONTROL_MAX);
	ipc->packet = malloc(WIRE_CALL_MAX);
	if (!ipc->request || !ipc->reply || !ipc->packet ||
		index_reserve(&ipc->by_peer, BUCKETS_MIN) < 0)
		return -ENOMEM;
	r = ipc_add_timer(ipc, binding_on_retire, &ipc->retire_timer);
	if (r == 0)
		r = ipc_add_timer(ipc, binding_on_timer, &ipc->binder_timer);
	if (r == 0)
		r = ipc_add_timer(ipc, listener_on_pause, &ipc->pause_timer);
	if (r == 0)
		r = ipc_add_timer(ipc, channels_on_retry, &ipc->retry_timer);
	if (r == 0)
		r = ipc_add_timer(ipc, memos_on_timer, &ipc->flush_timer);
	if (r == 0)
		r = ipc_add_timer(ipc, counts_on_timer, &ipc->count_timer);
	if (r == 0)
		r = keep_new(ipc, &ipc->keep);
	if (r < 0)
		return error_trace(r);
	*ret = take_ptr(ipc);
	return 0;
}

int
ipc_close(const struct ipc *ipc, int fd)
{
	return ipc->forgetting ? -1 : fd_shutdown_close(fd);
}

static void
calls_end(struct ipc *ipc)
{
	while (!list_empty(&ipc->all_calls))
		call_free(list_entry(list_first(&ipc->all_calls), struct call, link));
}

static void
ipc_forget(struct ipc *ipc)
{
	ipc->forgetting = true;
	calls_end(ipc);
	activation_close(ipc);
	while (!list_empty(&ipc->listeners))
		listener_free(list_entry(list_first(&ipc->listeners), struct listener, link));
	while (!list_empty(&ipc->channels))
		channel_free(list_entry(list_first(&ipc->channels), struct channel, link));
	while (!list_empty(&ipc->detaching))
		channel_free(list_entry(list_first(&ipc->detaching), struct channel, link));
	while (!list_empty(&ipc->dirty)) {
		struct memo *memo = list_entry(list_first(&ipc->dirty), struct memo, link);

		list_unlink(&memo->link);
		free(memo);
	}
}

struct ipc *
ipc_free(struct ipc *ipc)
{
	if (!ipc)
		return NULL;
	ipc_forget(ipc);
	assert(list_empty(&ipc->listeners) && list_empty(&ipc->channels));
	assert(list_empty(&ipc->pending) && list_empty(&ipc->staged));
	inspections_forget(ipc);
	index_deinit(&ipc->challenges);
	index_deinit(&ipc->by_peer);
	sd_event_source_disable_unref(ipc->binder_source);
	sd_event_source_disable_unref(ipc->binder_timer);
	sd_event_source_disable_unref(ipc->retire_timer);
	sd_event_source_disable_unref(ipc->pause_timer);
	sd_event_source_disable_unref(ipc->retry_timer);
	sd_event_source_disable_unref(ipc->flush_timer);
	sd_event_source_disable_unref(ipc->count_timer);
	keep_free(ipc->keep);
	sd_event_unref(ipc->event);
	free(ipc->request);
	free(ipc->reply);
	free(ipc->packet);
	index_deinit(&ipc->calls);
	index_deinit(&ipc->calls_by_owner);
	free(ipc);
	return NULL;
}

void
ipc_pause(struct ipc *ipc)
{
	keep_now(ipc);
}

void
ipc_stop(struct ipc *ipc)
{
	calls_end(ipc);
	while (!list_empty(&ipc->listeners))
		listener_free(list_entry(list_first(&ipc->listeners), struct listener, link));
	list_for_each (i, &ipc->channels)
		error_trace(counts_settle(list_entry(i, struct channel, link)->pages));
	while (!list_empty(&ipc->channels))
		channel_free(list_entry(list_first(&ipc->channels), struct channel, link));
	ipc->binder_source = sd_event_source_disable_unref(ipc->binder_source);
	ipc->binder_fd = fd_close(ipc->binder_fd);
	ipc->next_binder_fd = fd_close(ipc->next_binder_fd);
	activation_close(ipc);
	ipc->stopped = true;
}

/* Is C the capability TOP or derived from it? */
static bool
capability_is_below(const struct capability *c, const struct capability *top)
{
	while (c && c->entity.depth > top->entity.depth)
		c = c->parent;
	return c == top;
}

static void
ipc_check_capability(struct capability *c)
{
	struct listener *l = c->listener;

	if (!l || connection_is_allowed(c))
		return;
	listener_done(l, ECONNREFUSED);
	listener_free(l);
}

void
ipc_restricted(struct ipc *ipc, struct capability *c)
{
	struct capability *d = c;
	size_t budget = DESCENDANTS_MAX;

	/* What is called from now on is refused, also where it need not come to us. */
	pages_restrict(c);
	if (list_empty(&ipc->listeners))
		return;
	/* Its socket is others' as well: only the names of it go. */
	if (entrypoint_listens(capability_entrypoint(c))) {
		ipc->fs->socket_invalidate(ipc->fs_data, &capability_object(c)->entity);
		return;
	}
	do
		ipc_check_capability(d);
	while ((d = capability_next_below(c, d)) && --budget > 0);
	if (!d)
		return;
	/* There are more descendants than listeners are likely to be. */
	list_for_each_safe (i, &ipc->listeners) {
		struct listener *l = list_entry(i, struct listener, link);

		if (l->entity->kind != ENTITY_CAPABILITY)
			continue;
		d = container_of(l->entity, struct capability, entity);
		if (capability_is_below(d, c))
			ipc_check_capability(d);
	}
}

static void
ipc_gone_entrypoint(struct ipc *ipc, struct entrypoint *e)
{
	e->channel = channel_free(e->channel);
	list_for_each_safe (i, &ipc->detaching) {
		struct channel *channel = list_entry(i, struct channel, link);

		if (channel->entrypoint == e)
			channel_free(channel);
	}
}

void
ipc_changed(struct ipc *ipc, struct entity *e)
{
	struct object *o = container_of(e, struct object, entity);
	struct channel *channel;

	if (e->kind != ENTITY_OBJECT || !e->linked || o->listener ||
		!entrypoint_listens(o->entrypoint) || !o->entrypoint->channel)
		return;
	/* Not here, where nothing may be charged: at the next chance. */
	channel = o->entrypoint->channel;
	channel->unlent = true;
	list_unlink(&channel->starved_link);
	list_append(&ipc->starved, &channel->starved_link);
	ipc_arm(ipc->retry_timer, 0);
}

void
ipc_gone(struct ipc *ipc, struct entity *e)
{
	switch ((enum entity_kind)e->kind) {
	case ENTITY_CAPABILITY:
		pages_forget(container_of(e, struct capability, entity));
		listener_free(listener_find(e));
		calls_gone(ipc, e);
		break;
	case ENTITY_SESSION:
		inspections_inherit(ipc, container_of(e, struct session, entity));
		listener_free(listener_find(e));
		break;
	case ENTITY_OBJECT:
		listener_free(listener_find(e));
		break;
	case ENTITY_ENTRYPOINT:
		ipc_gone_entrypoint(ipc, container_of(e, struct entrypoint, entity));
		break;
	default:
		break;
	}
}

void
ipc_reaped(struct ipc *ipc)
{
	list_for_each_safe (i, &ipc->pending) {
		struct control *c = list_entry(i, struct control, pending_link);

		if (!model_is_ending(ipc->model, c->parcel.pending))
			control_resume(c);
	}
}

uint64_t
ipc_activity(const struct ipc *ipc)
{
	return ipc->activity;
}

void
ipc_set_metrics(struct ipc *ipc, struct metrics *metrics)
{
	ipc->metrics = metrics;
}

void
ipc_count(const struct ipc *ipc, uint64_t *ret_connections, uint64_t *ret_listeners)
{
	*ret_connections = ipc->n_connections;
	*ret_listeners = ipc->n_listeners;
}
