/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a capability, an object or a session's control, and whoever came through it.
 * binding.c has it made and takes it back; its users hear of what happens by endpoint_ops.
 *
 * It is nothing without a socket and without clients, and is then freed: who calls anything that
 * may take the last of these away must not use it afterwards, or must have counted as a client
 * meanwhile.
 *
 * What becomes of its socket, and of those who wait there, when it is given up, is drain.c's.
 */
#include "config.h"

#include "capfsd/listeners/listener.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/drain.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/model/event.h"
#include "capfsd/model/session.h"
#include "capfsd/process/loop.h"

#define PAUSE_USEC 100000 /* without descriptors nobody is accepted for so long */

static enum entity_kind
kind_of(const struct listener *l)
{
	return l->entity->kind;
}

/*
 * What a listener stands for decides everything that follows; these three are all that asks for it.
 */
struct entrypoint *
listener_entrypoint(const struct listener *l)
{
	if (kind_of(l) == ENTITY_CAPABILITY)
		return capability_entrypoint(capability_of(l->entity));
	if (kind_of(l) == ENTITY_OBJECT)
		return object_of(l->entity)->entrypoint;
	return NULL;
}

struct session *
listener_session(const struct listener *l)
{
	if (kind_of(l) == ENTITY_CAPABILITY)
		return capability_of(l->entity)->session;
	if (kind_of(l) == ENTITY_OBJECT)
		return listener_entrypoint(l)->session;
	return session_of(l->entity);
}

/* One flooder keeps nobody else out, as each capability has its own. */
uint32_t
listener_backlog(const struct listener *l)
{
	const struct entrypoint *e = listener_entrypoint(l);

	return e ? entrypoint_backlog(e) : LISTENER_CONTROL_BACKLOG;
}

bool
listener_is_lent(const struct listener *l)
{
	return kind_of(l) == ENTITY_OBJECT;
}

struct listener *
listener_find(const struct entity *e)
{
	return endpoint_slot(e);
}

/*
 * It is known by its entity from here on, before it has a socket: whoever wants one meanwhile finds
 * it.
 */
struct listener *
listener_get(struct sockets *sockets, struct entity *e)
{
	struct listener *l = listener_find(e);

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->sockets = sockets;
	l->entity = e;
	l->fd = -1;
	list_init(&l->state_link);
	list_init(&l->paused_link);
	list_init(&l->doomed_link);
	list_init(&l->clients);
	list_init(&l->left);
	list_init(&l->loan.link);
	list_append(&sockets->listeners->all, &l->link);
	sockets->listeners->n++;
	endpoint_set_slot(e, l);
	return l;
}

/* --- states --- */

/*
 * The only place where the lists of states change, so that the number of idle ones is right: a
 * listener that is bound is counted exactly while it is in a list.
 */
static void
listener_move(struct listener *l, enum listener_state state, struct list *list)
{
	struct listeners *all = l->sockets->listeners;

	if (l->state == LISTENER_BOUND && !list_empty(&l->state_link))
		all->n_idle--;
	list_unlink(&l->state_link);
	l->state = state;
	if (!list)
		return;
	list_append(list, &l->state_link);
	if (state == LISTENER_BOUND)
		all->n_idle++;
}

void
listener_enter(struct listener *l, enum listener_state state)
{
	/* One that is bound is in a list while it is idle, which listener_touch() finds out. */
	bool listed = state != LISTENER_UNBOUND && state != LISTENER_BOUND;

	listener_move(l, state, listed ? &l->sockets->listeners->by_state[state] : NULL);
}

void
listener_enter_for(struct listener *l, enum listener_state state, uint64_t usec)
{
	listener_enter(l, state);
	l->due_usec = core_now(l->sockets) + usec;
}

/* Those that came first are in front, so they are also the first that are due. */
struct listener *
listener_first(const struct sockets *sockets, enum listener_state state)
{
	struct list *link = list_first(&sockets->listeners->by_state[state]);

	return link ? list_entry(link, struct listener, state_link) : NULL;
}

size_t
listener_idle(const struct sockets *sockets, const struct session *s, const struct listener *keep,
	struct listener **ret)
{
	size_t n = 0;

	*ret = NULL;
	list_for_each (i, &sockets->listeners->by_state[LISTENER_BOUND]) {
		struct listener *l = list_entry(i, struct listener, state_link);

		if (l != keep && l->charge.session == s && n++ == 0)
			*ret = l;
	}
	return n;
}

/*
 * While it is in use it is in no list, and cannot be given back; when it is idle again it goes to
 * the end of the list, behind those that nobody has asked for meanwhile.
 */
void
listener_touch(struct listener *l)
{
	struct list *idle = &l->sockets->listeners->by_state[LISTENER_BOUND];

	if (l->state == LISTENER_BOUND && !listener_is_lent(l))
		listener_move(l, LISTENER_BOUND, l->n_clients > 0 ? NULL : idle);
}

/* --- clients --- */

void
listener_hold(struct listener *l)
{
	l->n_clients++;
	listener_touch(l);
}

/*
 * While it is being freed its clients leave one by one, and none of them may free it a second time.
 */
void
listener_unhold(struct listener *l)
{
	l->n_clients--;
	if (l->ending)
		return;
	if (l->n_clients == 0)
		listener_touch(l);
	listener_release(l);
}

/*
 * The client is in the list as well as in the number, which also has those that are merely counted
 * by listener_hold().
 */
void
listener_link(struct listener *l, struct list *link)
{
	list_append(&l->clients, link);
	listener_hold(l);
}

void
listener_unlink(struct listener *l, struct list *link)
{
	list_unlink(link);
	listener_unhold(l);
}

/*
 * Without a socket and without clients nothing refers to it but its entity. Called after everything
 * that may have been the last.
 */
void
listener_release(struct listener *l)
{
	if (l->state == LISTENER_UNBOUND && l->n_clients == 0 && !l->ending)
		listener_free(l);
}

void
listener_give_up(struct listener *l)
{
	charge_deinit(&l->charge);
	listener_enter(l, LISTENER_UNBOUND);
	listener_release(l);
}

/* Idempotent, since a listener may be wanted while it is already on its way. */
int
listener_charge(struct listener *l)
{
	if (l->charge.session)
		return 0;
	return charge_init(&l->charge, listener_session(l), QUOTA_SOCKETS, 1) ? EDQUOT : 0;
}

/* For one that is being given back: its session needs the quota for something that is in use. */
void
listener_uncharge(struct listener *l)
{
	charge_deinit(&l->charge);
}

void
listener_want(struct listener *l)
{
	l->wanted = true;
}

/* Once for each look-up: a reply to one that does not wait would be a reply to the next. */
void
listener_done(struct listener *l, int error)
{
	if (!l->wanted)
		return;
	l->wanted = false;
	l->sockets->fs->socket_done(l->sockets->fs_data, l->entity, error);
}

/* However often a client is refused it is one line, so it pushes nothing out of the events. */
void
listener_log_refusal(struct listener *l, uid_t uid, int error, const char *reason)
{
	const struct entity *e = l->entity;
	bool slot = e->kind == ENTITY_CAPABILITY;
	cleanup_text struct text fields = {};
	const struct event event = {
		.verb = "connect",
		.error = error,
		.fields = &fields,
		.text = reason,
		.n_text = strlen(reason),
	};

	text_addf(&fields, " %s%s uid=%u", slot ? "slot=" : "at=control", slot ? e->name : "",
		(unsigned)uid);
	event_log(l->sockets->model, listener_session(l), &event);
}

/* --- accepting --- */

/*
 * The log is everybody's, so this is said now and then. The clients are not refused, but wait in
 * the backlog.
 */
void
listener_complain(struct sockets *sockets, int error)
{
	if (core_may_complain(sockets))
		log_message(LOG_WARNING, "accept: %s: clients wait", error_name(error));
}

/* Nobody is accepted while there is no room; the backlog keeps who comes. */
static void
listener_pause(struct listener *l)
{
	struct listeners *all = l->sockets->listeners;

	watch_set(&l->watch, 0);
	list_unlink(&l->paused_link);
	list_append(&all->paused, &l->paused_link);
	loop_arm(all->pause_timer, PAUSE_USEC);
}

/* All at once: whoever finds no descriptor is paused again, and the others have had their turn. */
static int
listener_on_pause(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;

	list_for_each_safe (i, &sockets->listeners->paused) {
		struct listener *l = list_entry(i, struct listener, paused_link);

		list_unlink(&l->paused_link);
		watch_set(&l->watch, EPOLLIN);
	}
	return 0;
}

void
listener_admit(struct sockets *sockets, struct entity *e, int fd)
{
	struct listener *l = listener_get(sockets, e);

	if (!l) {
		socket_discard(sockets, fd, entity_session(e));
		return;
	}
	l->uneven = true;
	/* Counted as a client meanwhile: a refusal lets go of a listener that is not bound. */
	l->n_clients++;
	if (!core_tell_accepted(sockets, endpoint_user(l->entity), l, fd))
		return;
	l->n_clients--;
	listener_touch(l);
	listener_release(l);
}

static void
accepted(void *data, int client)
{
	struct listener *l = data;

	core_tell_accepted(l->sockets, endpoint_user(l->entity), l, client);
}

/*
 * An error that is not about room says that the socket is shut down, and it would wake the loop for
 * ever.
 */
static bool
listener_on_io(void *data)
{
	struct listener *l = data;
	int r;

	/* Who sends what cannot be closed waits until some of it is. */
	if (disposal_is_full(l->sockets->disposal, listener_session(l))) {
		listener_pause(l);
		return false;
	}
	r = socket_accept_one(l->fd, accepted, l);
	/* Whether there are others it is told. */
	if (r == 0 || r == EAGAIN)
		return false;
	if (r > 0) {
		listener_complain(l->sockets, r);
		listener_pause(l);
		return false;
	}
	/* Shut down by nobody of us: it can be looked up again. */
	l->sockets->fs->socket_invalidate(l->sockets->fs_data, l->entity);
	listener_close(l, false);
	listener_give_up(l);
	return false;
}

static void
close_fd(struct listener *l, bool serve, struct charge *charge)
{
	int fd = take_fd(l->fd);

	watch_remove(&l->watch);
	list_unlink(&l->paused_link);
	if (fd >= 0 && !l->sockets->forgetting)
		drain_begin(l->sockets, l->entity, fd, serve ? listener_admit : NULL, charge);
}

void
listener_close(struct listener *l, bool serve)
{
	close_fd(l, serve, &l->charge);
}

/* Servers that know nothing of us expect one that blocks, as from systemd. */
static int
listener_set_lent(struct listener *l, int fd)
{
	int r;

	/* The server may have the first one already. */
	if (l->fd >= 0) {
		socket_discard(l->sockets, fd, listener_session(l));
		return 0;
	}
	(void)fd_set_descriptors(fd, endpoint_takes_fds(l->entity));
	r = fd_set_nonblock(fd, false);
	if (r < 0) {
		socket_discard(l->sockets, fd, listener_session(l));
		return error_trace(r);
	}
	l->fd = fd;
	listener_enter(l, LISTENER_BOUND);
	core_tell_bound(l->sockets, endpoint_user(l->entity), l, 0);
	return 0;
}

void
listener_restricted(struct listener *l)
{
	if (l->fd < 0)
		return;
	l->uneven = true;
	(void)fd_set_descriptors(l->fd, endpoint_takes_fds(l->entity));
	/* It listens already, and goes on so; one that is lent is its server's affair by now. */
	if (!listener_is_lent(l))
		(void)listen(l->fd, (int)listener_backlog(l));
}

/* Those who make connections see to it that what has ended before is taken account of. */
static uint32_t
watch_new(const struct listener *l)
{
	return endpoint_user(l->entity) == ENTITY_CAPABILITY ? WATCH_NEW : 0;
}

int
listener_set_fd(struct listener *l, int fd)
{
	int r;

	if (listener_is_lent(l))
		return listener_set_lent(l, fd);
	/* For what comes before it is accepted. */
	l->uneven = endpoint_takes_fds(l->entity) || !fd_bars_descriptors(fd);
	if (l->uneven)
		(void)fd_set_descriptors(fd, endpoint_takes_fds(l->entity));
	/* The youngest of several that are bound to one inode is the one that gets the clients. */
	close_fd(l, true, NULL);
	r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = core_watch(l->sockets, &l->watch, listener_session(l), fd, EPOLLIN | WATCH_LEVEL | watch_new(l),
			listener_on_io, l);
	if (r < 0) {
		socket_discard(l->sockets, fd, listener_session(l));
		return error_trace(r);
	}
	l->fd = fd;
	listener_enter(l, LISTENER_BOUND);
	listener_touch(l);
	return 0;
}

/* --- the end --- */

void
listener_leave_crowd(struct listener *l)
{
	l->sockets->listeners->n_crowded -= l->crowded;
	l->crowded = false;
}

/* Before its clients end: who is let in by nobody must not get in while they go. */
void
listener_end_socket(struct listener *l)
{
	l->ending = true;
	listener_close(l, false);
}

struct listener *
listener_free(struct listener *l)
{
	struct listeners *all;

	if (!l)
		return NULL;
	all = l->sockets->listeners;
	listener_end_socket(l);
	do /* it unlinks a client, since only it knows what that is */
		core_tell_gone(l->sockets, endpoint_user(l->entity), l);
	while (!list_empty(&l->clients));
	assert(list_empty(&l->loan.link));
	listener_enter(l, LISTENER_UNBOUND);
	charge_deinit(&l->charge);
	endpoint_set_slot(l->entity, NULL);
	list_unlink(&l->link);
	list_unlink(&l->doomed_link);
	listener_leave_crowd(l);
	if (--all->n < all->n_unlooked)
		all->n_unlooked = all->n;
	core_drop(l);
	return NULL;
}

void
listeners_end(struct sockets *sockets)
{
	while (!list_empty(&sockets->listeners->all))
		listener_free(list_entry(list_first(&sockets->listeners->all), struct listener, link));
}

int
listeners_new(struct sockets *sockets)
{
	struct listeners *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	list_init(&all->all);
	list_init(&all->paused);
	list_init(&all->doomed);
	for (unsigned i = 0; i < LISTENER_N_STATES; i++)
		list_init(&all->by_state[i]);
	sockets->listeners = all;
	return loop_add_timer(sockets->event, listener_on_pause, sockets, &all->pause_timer);
}

void
listeners_free(struct sockets *sockets)
{
	struct listeners *all = take_ptr(sockets->listeners);

	if (!all)
		return;
	assert(list_empty(&all->all));
	sd_event_source_disable_unref(all->pause_timer);
	free(all);
}
