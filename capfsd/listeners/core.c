/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ground of this room: what core.h and endpoint.h promise. Every other module here may call it;
 * it calls none of them but spares.c, and reaches those above by struct endpoint_ops alone.
 */
#include "config.h"

#include "capfsd/listeners/core.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <syslog.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/spares.h"
#include "capfsd/model/session.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"
#include "capfsd/process/watch.h"

#define COMPLAINT_USEC 10000000
#define IDLE_LISTENERS_MAX 4096

/*
 * One timer for all that wait for something which nobody announces: the kernel tells no process
 * that descriptors in flight were taken elsewhere, or that there is memory again.
 */
static int
core_on_retry(sd_event_source *source, uint64_t usec, void *data)
{
	core_resume(data);
	return 0;
}

/*
 * A quarter of the descriptors may be in flight, and another quarter idle listeners: what is left
 * must do for connections and for everything else.
 */
int
core_init(struct sockets *sockets)
{
	struct rlimit limit = {.rlim_cur = 1024};
	size_t quarter;
	int r;

	list_init(&sockets->endpoints);
	list_init(&sockets->draining);
	getrlimit(RLIMIT_NOFILE, &limit);
	quarter = limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : limit.rlim_cur / 4;
	/* Two for each hand-over: below that nothing would ever be handed over. */
	sockets->n_inflight_max = quarter < 2 ? 2 : quarter;
	sockets->n_idle_max = quarter < IDLE_LISTENERS_MAX ? quarter : IDLE_LISTENERS_MAX;
	r = watches_new(sockets->event, sockets->turns, &sockets->watches);
	if (r < 0)
		return r;
	return loop_add_timer(sockets->event, core_on_retry, sockets, &sockets->retry_timer);
}

/*
 * These are of entrypoints that are still there; their channels and pages have been freed before.
 */
void
core_deinit(struct sockets *sockets)
{
	while (!list_empty(&sockets->endpoints))
		endpoint_free(list_entry(list_first(&sockets->endpoints), struct endpoint, link));
	sockets->retry_timer = sd_event_source_disable_unref(sockets->retry_timer);
	sockets->watches = watches_free(sockets->watches);
}

/* --- users --- */

void
core_add_user(struct sockets *sockets, const struct endpoint_ops *ops, void *data)
{
	assert(sockets->n_users < USERS_MAX);
	sockets->users[sockets->n_users].ops = ops;
	sockets->users[sockets->n_users++].data = data;
}

/* A user that goes before the sockets do must not be called through them any more. */
void
core_remove_user(struct sockets *sockets, const struct endpoint_ops *ops)
{
	for (unsigned i = 0; i < sockets->n_users; i++)
		if (sockets->users[i].ops == ops) {
			sockets->n_users--;
			memmove(&sockets->users[i], &sockets->users[i + 1],
				(sockets->n_users - i) * sizeof(sockets->users[0]));
			return;
		}
}

/*
 * A record says whose it is. A socket without one is shown to everybody: only its user may know its
 * name.
 */
bool
core_adopt(struct sockets *sockets, struct adopted *found)
{
	for (unsigned i = 0; i < sockets->n_users; i++) {
		const struct endpoint_ops *ops = sockets->users[i].ops;

		if (ops->adopt && (!found->kind || found->kind == ops->socket) &&
			ops->adopt(sockets->users[i].data, found))
			return true;
	}
	return false;
}

/*
 * Few enough to be looked through: a table by kinds would have to be kept in step with that of the
 * model.
 */
static const struct endpoint_ops *
user_of(const struct sockets *sockets, enum entity_kind kind, void **ret_data)
{
	for (unsigned i = 0; i < sockets->n_users; i++) {
		*ret_data = sockets->users[i].data;
		if (sockets->users[i].ops->entity == kind)
			return sockets->users[i].ops;
	}
	return NULL;
}

/*
 * A kind that nobody serves has no listener, so the client is an accident: it gets an end, not
 * silence.
 */
bool
core_tell_accepted(struct sockets *sockets, enum entity_kind kind, struct listener *l, int fd)
{
	void *data;
	const struct endpoint_ops *ops = user_of(sockets, kind, &data);
	bool gone;

	l->n_accepting++;
	if (ops && ops->accepted)
		ops->accepted(data, l, fd);
	else
		socket_discard(sockets, fd, sockets->model->root);
	l->n_accepting--;
	gone = l->gone;
	if (gone)
		core_drop(l);
	return !gone;
}

void
core_drop(struct listener *l)
{
	l->gone = true;
	if (l->n_accepting == 0)
		free(l);
}

void
core_tell_bound(struct sockets *sockets, enum entity_kind kind, struct listener *l, int error)
{
	void *data;
	const struct endpoint_ops *ops = user_of(sockets, kind, &data);

	if (ops && ops->bound)
		ops->bound(data, l, error);
}

void
core_tell_gone(struct sockets *sockets, enum entity_kind kind, struct listener *l)
{
	void *data;
	const struct endpoint_ops *ops = user_of(sockets, kind, &data);

	if (ops && ops->gone)
		ops->gone(data, l);
}

/* What has become free is not known, so everybody tries. */
void
core_resume(struct sockets *sockets)
{
	for (unsigned i = 0; i < sockets->n_users; i++)
		if (sockets->users[i].ops->resume)
			sockets->users[i].ops->resume(sockets->users[i].data);
}

void
core_resume_later(struct sockets *sockets, uint64_t usec)
{
	loop_arm(sockets->retry_timer, usec);
}

/* --- the loop --- */

/*
 * Every socket that lives on passes here, so this is where systemd's copy of it is ordered. What is
 * watched without this function (the binder) is made anew by whoever comes next.
 */
int
core_watch(struct sockets *sockets, struct watch *w, struct session *s, int fd, uint32_t events,
	bool (*f)(void *data), void *data)
{
	int r = watch_add(sockets->watches, w, &s->payer, fd, events, f, data);

	if (r == 0)
		spares_add(sockets->spares, fd);
	return r;
}

struct session *
core_session(const struct sockets *sockets, uint64_t id)
{
	struct entity *e = entity_find(sockets->model, id);

	return e && e->kind == ENTITY_SESSION ? session_of(e) : sockets->model->root;
}

void
core_disposal_told(struct sockets *sockets, const struct binder_result *result)
{
	if (result->ended == INSPECTION_GOES_ON)
		disposal_found(sockets->disposal, result->inspection,
			core_session(sockets, result->object));
	else
		disposal_told(sockets->disposal, result->inspection, result->ended);
}

uint64_t
core_now(const struct sockets *sockets)
{
	return loop_now(sockets->event);
}

/*
 * What is only forgotten stays open: the holder has it under the same number, and a shutdown(2)
 * would reach the connection itself.
 */
int
core_close(struct sockets *sockets, int fd, struct session *s)
{
	return sockets->forgetting ? -1 : socket_discard(sockets, fd, s);
}

/*
 * A client can provoke what is complained of as often as it likes; the log is everybody's. One line
 * in ten seconds is enough to find the cause by.
 */
bool
core_may_complain(struct sockets *sockets)
{
	uint64_t now = core_now(sockets);

	if (sockets->logged_usec && now - sockets->logged_usec <= COMPLAINT_USEC)
		return false;
	sockets->logged_usec = now;
	return true;
}

/*
 * Ending is the remedy where the next broker begins with what was committed and may not meet the
 * same error. A full store and a lack of memory are none of these: the next one would find just the
 * same.
 */
void
core_fail(struct sockets *sockets, int error)
{
	if (error == -ENOSPC) {
		if (core_may_complain(sockets))
			log_event(LOG_WARNING, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STORE_FULL}),
				"the state store is full: a client is refused or waits");
		return;
	}
	if (error == -ENOMEM) {
		if (core_may_complain(sockets))
			log_message(LOG_WARNING, "out of memory: a client is refused or waits");
		return;
	}
	log_message(LOG_ERR, "the broker ends: %s", error_name(error));
	sd_event_exit(sockets->event, BROKER_EXIT_RESTART);
}

/* --- descriptors in flight --- */

/*
 * A Unix socket may carry only so many descriptors that nobody has received yet, counted for the
 * whole user. Beyond that sends fail, those of other daemons of this user included.
 */
bool
core_may_fly(const struct sockets *sockets, size_t n)
{
	return sockets->n_inflight + n <= sockets->n_inflight_max;
}

void
core_fly(struct sockets *sockets, size_t n)
{
	sockets->n_inflight += n;
}

void
core_landed(struct sockets *sockets, size_t n)
{
	sockets->n_inflight -= n;
}

/* --- sockets --- */

/*
 * Both ids are in the name, and both must fit: a name that was made for one object must not be
 * taken for that of another.
 */
struct entity *
core_named(struct sockets *sockets, uint64_t object, uint64_t capability)
{
	struct entity *e = entity_find(sockets->model, capability ? capability : object);

	if (e && capability == 0)
		return e->kind == ENTITY_OBJECT ? e : NULL;
	if (!e)
		return NULL;
	if (object == 0)
		return e->kind == ENTITY_SESSION ? e : NULL;
	if (e->kind != ENTITY_CAPABILITY)
		return NULL;
	return capability_service(capability_of(e)).object == object ? e : NULL;
}

int
socket_discard(struct sockets *sockets, int fd, struct session *s)
{
	return disposal_end(sockets->disposal, fd, s, NULL);
}

int
socket_peer(int fd, struct ucred *ret)
{
	socklen_t n = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &n) < 0 ? -errno : 0;
}

bool
socket_is_listening(int fd)
{
	int listening = 0;
	socklen_t n = sizeof(listening);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening;
}

/* Such a socket has no name. */
bool
socket_is_paired(int fd)
{
	struct sockaddr_storage address;
	socklen_t n = sizeof(address);

	return getsockname(fd, (struct sockaddr *)&address, &n) == 0 && n <= sizeof(sa_family_t);
}

/* The next connection of the listener FD. Returns: its descriptor, -errno. */
static int
accept_next(int fd)
{
	/*
	 * Not SOCK_NONBLOCK: that flag would be the server's too, which shares the open file and
	 * may expect a socket that blocks.
	 */
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	return client < 0 ? -errno : client;
}

/*
 * A client that went away meanwhile is passed over. What says that there is no room is told from
 * what says that the listener is of no use any longer: the one is waited for, the other ends it.
 */
int
socket_accept_one(int fd, void (*f)(void *data, int client), void *data)
{
	int client = accept_next(fd);

	switch (client) {
	case -EINTR:
	case -ECONNABORTED:
	case -EPERM:
		return 0;
	case -EAGAIN:
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		return -client;
	}
	if (client < 0)
		return client;
	f(data, client);
	return 0;
}

/* --- entrypoints (endpoint.h) --- */

struct endpoint *
endpoint_find(const struct entrypoint *e)
{
	/* A capability whose type nobody serves has no entrypoint, and so nobody to talk to. */
	return e ? endpoint_slot(&e->entity) : NULL;
}

struct endpoint *
endpoint_new(struct sockets *sockets)
{
	struct endpoint *endpoint = calloc(1, sizeof(*endpoint));

	if (!endpoint)
		return NULL;
	list_append(&sockets->endpoints, &endpoint->link);
	list_init(&endpoint->queue);
	list_init(&endpoint->detaching_link);
	return endpoint;
}

/*
 * A server may come to an entrypoint that has one already, since callers have waited there. The one
 * that was made in advance is then not needed.
 */
struct endpoint *
endpoint_give(struct endpoint *endpoint, struct entrypoint *e)
{
	struct endpoint *found = endpoint_find(e);

	if (found) {
		endpoint_free(endpoint);
		return found;
	}
	assert(endpoint && !endpoint->entrypoint);
	endpoint->entrypoint = e;
	endpoint_set_slot(&e->entity, endpoint);
	return endpoint;
}

/*
 * One is made when somebody needs it: most entrypoints of a large tree have neither server nor
 * callers at the moment.
 */
struct endpoint *
endpoint_get(struct sockets *sockets, struct entrypoint *e)
{
	struct endpoint *endpoint = endpoint_find(e);

	if (endpoint)
		return endpoint;
	endpoint = endpoint_new(sockets);
	return endpoint ? endpoint_give(endpoint, e) : NULL;
}

/* Its entrypoint forgets it, so that another one may be made for that. */
struct endpoint *
endpoint_free(struct endpoint *endpoint)
{
	if (!endpoint)
		return NULL;
	assert(!endpoint->channel && !endpoint->pages && list_empty(&endpoint->queue));
	list_unlink(&endpoint->detaching_link);
	list_unlink(&endpoint->link);
	if (endpoint->entrypoint)
		endpoint_set_slot(&endpoint->entrypoint->entity, NULL);
	free(endpoint);
	return NULL;
}

struct channel *
endpoint_channel(const struct entrypoint *e)
{
	const struct endpoint *endpoint = endpoint_find(e);

	return endpoint ? endpoint->channel : NULL;
}

struct pages *
endpoint_pages(const struct entrypoint *e)
{
	const struct endpoint *endpoint = endpoint_find(e);

	return endpoint ? endpoint->pages : NULL;
}

uint32_t
endpoint_n_queued(const struct entrypoint *e)
{
	const struct endpoint *endpoint = endpoint_find(e);

	return endpoint ? endpoint->n_queued : 0;
}

/* The number is kept beside the list, as it is compared with the limit for each caller. */
void
endpoint_leave_queue(const struct entrypoint *e, struct list *link)
{
	list_unlink(link);
	endpoint_find(e)->n_queued--;
}

bool
endpoint_may_call(const struct capability *c)
{
	return capability_is_live(c) && capability_connects(c);
}

void
endpoint_look(const struct capability *c, struct passage *p)
{
	const struct entrypoint *e = capability_entrypoint(c);

	p->attached = endpoint_channel(e);
	p->n_queued = endpoint_n_queued(e);
}

bool
endpoint_takes_fds(const struct entity *e)
{
	if (e->kind == ENTITY_CAPABILITY)
		return capability_rights(capability_of(e)) & RIGHT_FDS;
	return e->kind == ENTITY_OBJECT && entrypoint_takes(object_of(e)->entrypoint, ENTRYPOINT_TAKES_FDS);
}

enum entity_kind
endpoint_user(const struct entity *e)
{
	if (e->kind == ENTITY_CAPABILITY && capability_service(capability_of(e)).controlled)
		return ENTITY_SESSION;
	return e->kind;
}

/*
 * Where nobody accepts and nobody will, a bound socket would let callers wait for ever: they are
 * refused instead, by there being no listener.
 */
bool
endpoint_is_served(const struct entity *e)
{
	struct entity *that = (struct entity *)(uintptr_t)e;

	if (e->kind == ENTITY_CAPABILITY) {
		const struct capability *c = capability_of(that);
		struct passage p;

		/* Where its server accepts by itself the listener is the object's. */
		if (capability_service(c).listens)
			return false;
		passage_init(&p, c);
		endpoint_look(c, &p);
		return passage_check(&p, PASSAGE_LISTEN, NULL) == 0;
	}
	if (e->kind == ENTITY_OBJECT) {
		const struct object *o = object_of(that);

		return endpoint_channel(o->entrypoint) &&
		       object_find(o->entrypoint, o->record.badge);
	}
	return session_of(that)->record.state == SESSION_RUNNING;
}
