/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The object that owns everything of this room, and the model's hooks. broker/ makes and frees it,
 * and passes the hooks on; users like control/ join it by core_add_user(). It makes its modules
 * from the ground up and frees them in the other order, as each uses those before it.
 *
 * sockets_free() forgets; it closes no listener and no connection, since those outlive a broker.
 * Whoever means to end them calls sockets_stop() before.
 */
#include "config.h"

#include "capfsd/sockets/sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/listeners/doomed.h"
#include "capfsd/listeners/drain.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/listeners/spares.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/answers.h"
#include "capfsd/sockets/channel.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/connection.h"
#include "capfsd/sockets/counts.h"
#include "capfsd/sockets/lend.h"
#include "capfsd/sockets/pages.h"
#include "capfsd/sockets/serve.h"
#include "capfsd/sockets/visits.h"

/* Descendants that are visited one by one before walking all listeners is the shorter way. */
#define DESCENDANTS_MAX 256

CLEANUP_DEFINE(struct sockets *, sockets_free)

/* Who looks at descriptors may as well sleep over one. */
static int
begin_disposal(void *data, uint64_t serial, const struct session *s, int fd)
{
	return jobs_inspect(data, serial, s, INSPECTION_PASSED, &fd, fd >= 0);
}

static int
start_disposal(struct sockets *sockets)
{
	return disposal_new(sockets->event, begin_disposal, sockets, &sockets->disposal);
}

int
sockets_new(struct model *m, struct state *state, const struct boot *boot, sd_event *event,
	struct turns *turns, const struct sockets_fs *fs, void *fs_data, struct sockets **ret)
{
	static int (*const modules[])(struct sockets *sockets) = {
		start_disposal, core_init, inspections_new, memos_new, listeners_new, bindings_new, channels_new, counts_new,
		connections_new, served_new,
	};
	cleanup(sockets_free_p) struct sockets *sockets = calloc(1, sizeof(*sockets));
	int r;

	if (!sockets)
		return -ENOMEM;
	sockets->model = m;
	sockets->state = state;
	sockets->boot = boot;
	sockets->event = sd_event_ref(event);
	sockets->turns = turns;
	sockets->fs = fs;
	sockets->fs_data = fs_data;
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		r = modules[i](sockets);
		if (r < 0)
			return error_trace(r);
	}
	r = spares_new(event, boot, &sockets->spares);
	if (r < 0)
		return error_trace(r);
	core_add_user(sockets, &drain_ops, sockets);
	core_add_user(sockets, &serve_ops, sockets);
	core_add_user(sockets, &connect_ops, sockets);
	core_add_user(sockets, &lend_ops, sockets);
	*ret = take_ptr(sockets);
	return 0;
}

/*
 * Set before anything is freed: whatever ends after this must leave its socket open and its record
 * stored, or the successor would find nothing to take up.
 */
void
sockets_forget(struct sockets *sockets)
{
	sockets->forgetting = true;
}

struct sockets *
sockets_free(struct sockets *sockets)
{
	if (!sockets)
		return NULL;
	sockets_forget(sockets);
	if (sockets->listeners)
		listeners_end(sockets);
	if (sockets->channels)
		serve_end_all(sockets);
	served_free(sockets);
	connections_free(sockets);
	counts_free(sockets);
	channels_free(sockets);
	bindings_free(sockets);
	listeners_free(sockets);
	drains_free(sockets);
	inspections_free(sockets);
	memos_free(sockets);
	core_deinit(sockets);
	disposal_free(sockets->disposal);
	spares_free(sockets->spares);
	sd_event_unref(sockets->event);
	free(sockets);
	return NULL;
}

/*
 * Nobody knows whether the daemon will go on, so systemd gets its copies while there is somebody to
 * send them: afterwards it would ask in vain whose they are.
 */
void
sockets_pause(struct sockets *sockets)
{
	if (memos_settle(sockets) < 0)
		log_message(LOG_WARNING,
			"the state store is full: capfsd 0.1.0 would end the connections that it has no room for");
	spares_now(sockets->spares);
}

/* What servers counted is stored while their pages are there; their channels end after that. */
void
sockets_stop(struct sockets *sockets)
{
	listeners_end(sockets);
	drains_finish(sockets);
	list_for_each (i, &sockets->channels->all)
		error_trace(
			counts_settle(list_entry(i, struct channel, link)->endpoint->pages));
	serve_end_all(sockets);
	jobs_stop(sockets);
	sockets->stopped = true;
}

/* What was closed has given back descriptors and quota that others wait for. */
void
sockets_reaped(struct sockets *sockets)
{
	core_resume(sockets);
}

int
sockets_catch_up(struct sockets *sockets)
{
	return watches_catch_up(sockets->watches);
}

struct sockets_numbers
sockets_numbers(const struct sockets *sockets)
{
	return (struct sockets_numbers){
		.listeners = sockets->listeners->n,
		.connections = sockets->connections->n,
	};
}

/* --- the model's hooks --- */

/*
 * Is C the capability TOP or derived from it? Depths are compared first, so that no more is walked
 * than lies between the two.
 */
static bool
capability_is_below(const struct capability *c, const struct capability *top)
{
	while (c && c->entity.depth > top->entity.depth)
		c = c->parent;
	return c == top;
}

/*
 * A listener of what may not be called ends, and with it every connection that came through it:
 * that is what a revocation means. A look-up that waits is refused. Those of what has ended end in pieces, before any
 * of it is removed: whoever revokes waits until all of it is, and nobody else should.
 *
 * What may be called again, as it was adjusted, may still be named in the kernel, or held by somebody, from before;
 * and what may not be called any more for now is not to be named there without a listener.
 */
static void
check_capability(struct sockets *sockets, struct capability *c)
{
	struct listener *l = listener_find(&c->entity);

	if (endpoint_may_call(c)) {
		/* Who asks in the control protocol is looked at with each request. */
		if (!l)
			binding_recall(sockets, &c->entity);
		else if (!capability_service(c).controlled)
			connections_restricted(l);
		return;
	}
	if (!l)
		return;
	if (capability_is_doomed(c)) {
		listener_doom(l);
		return;
	}
	sockets->fs->socket_invalidate(sockets->fs_data, &c->entity);
	listener_done(l, ECONNREFUSED);
	listener_free(l);
}

/* Does nothing live that was derived from C? Children stand in the order of their ids, so the last one tells. */
static bool
is_over_below(const struct capability *c)
{
	return capability_is_doomed(c) ||
		list_entry(c->children.prev, struct capability, sibling_link)->entity.id <= c->record.revoked_upto;
}

/* All that is C or below it, by walking the listeners instead of the descendants. */
static void
check_listeners(struct sockets *sockets, struct capability *c)
{
	list_for_each_safe (i, &sockets->listeners->all) {
		struct listener *l = list_entry(i, struct listener, link);
		struct capability *d;

		if (l->entity->kind != ENTITY_CAPABILITY)
			continue;
		d = capability_of(l->entity);
		if (capability_is_below(d, c))
			check_capability(sockets, d);
	}
}

/*
 * One change can end a million capabilities, of which few have a listener. It is told of the
 * topmost, so either what is below that or all listeners must be looked at: whichever is shorter. The latter in pieces
 * where all of it has ended, for then nobody relies on it that there are no connections before it is removed.
 */
void
sockets_restricted(struct sockets *sockets, struct capability *c)
{
	const struct service service = capability_service(c);
	struct capability *d = c;
	size_t budget = DESCENDANTS_MAX;

	/* What is called from here on is refused, also where it need not come to us. */
	pages_restrict(c);
	counts_watch_capability(sockets, c);
	if (list_empty(&sockets->listeners->all) && capability_is_doomed(c))
		return;
	/* Its socket is others' as well: only the names of it go. */
	if (service.listens) {
		sockets->fs->socket_invalidate(sockets->fs_data, c->target);
		return;
	}
	do
		check_capability(sockets, d);
	while ((d = capability_next_below(c, d)) && --budget > 0);
	/* There are more descendants than listeners are likely to be. */
	if (d && is_over_below(c))
		listeners_look(sockets);
	else if (d)
		check_listeners(sockets, c);
}

static void
answers_changed(struct entity *e)
{
	const struct answers *answers = capability_answers[anchor_of(e)->record.type];

	if (answers && answers->changed)
		answers->changed(e);
}

/*
 * A new object of a server that accepts by itself needs a listener. Nothing is charged here, as
 * this is a hook.
 */
void
sockets_changed(struct sockets *sockets, struct entity *e)
{
	if (e->kind == ENTITY_OBJECT)
		lend_changed(object_of(e));
	if (e->kind == ENTITY_ANCHOR)
		answers_changed(e);
	if (e->kind == ENTITY_VISIT)
		visits_changed(visit_of(e));
}

/* The entity is freed after this, so nothing of this room may point to it any longer. */
void
sockets_gone(struct sockets *sockets, struct entity *e)
{
	switch ((enum entity_kind)e->kind) {
	case ENTITY_CAPABILITY:
		pages_forget(capability_of(e));
		listener_free(listener_find(e));
		break;
	case ENTITY_SESSION:
		listener_free(listener_find(e));
		drains_inherit(sockets, session_of(e));
		disposal_inherit(sockets->disposal, session_of(e));
		inspections_inherit(sockets, session_of(e));
		break;
	case ENTITY_OBJECT:
		listener_free(listener_find(e));
		break;
	case ENTITY_VISIT:
		visits_gone(visit_of(e));
		break;
	case ENTITY_ENTRYPOINT:
		serve_gone(entrypoint_of(e));
		break;
	default:
		break;
	}
}
