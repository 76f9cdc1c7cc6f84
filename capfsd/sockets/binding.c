/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a listener comes and goes: made by the binder when a look-up wants it, given back when too
 * many of them have nobody connected.
 *
 * Giving back goes in steps, each of which may be the last: the kernel is told to look the node up
 * again (a look-up that comes keeps the listener), a second later the socket is closed, and if the
 * kernel does not forget the node soon after that, somebody holds its inode and can connect
 * without any look-up: then it is bound again.
 */
#include "config.h"

#include "capfsd/sockets/binding.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"
#include "capfsd/process/records.h"
#include "capfsd/sockets/endpoint.h"
#include "capfsd/sockets/listener.h"

#define MESSAGES_MAX 32	    /* of the binder, in a row */
#define BINDER_USEC 2000000 /* for one that is replaced, and its jobs */
#define RETIRE_USEC 1000000 /* from the invalidation of a node to the end of its listener */
#define UNPAID_MAX 16	    /* listeners that a session cannot pay for, each for its second */
#define FORGET_USEC 100000  /* from the end of a listener to the kernel's FORGET */
#define MARK (ENTITY_ID_MAX + 1) /* this bit is in no id */

/* The binder's socket, and who else asks it for something. */
struct bindings {
	int fd, next_fd; /* -1: none. NEXT_FD comes when the other has ended */
	uint64_t mark;   /* what this binder was asked first; 0: it has replied to that */
	bool mark_sent;
	sd_event_source *source, *binder_timer, *retire_timer;
	const struct inspector_ops *inspector;
	void *inspector_data;
};

/*
 * All that the binder needs to know. It has no view of the model, and must not need one: whoever
 * waits on the mount must know nothing that is of use to anybody else.
 */
static struct binder_job
binding_job(const struct listener *l)
{
	struct binder_job job = {
		.capability = l->entity->id,
		.socket_type = SOCK_SEQPACKET,
		.backlog = BACKLOG,
	};

	if (l->entity->kind == ENTITY_CAPABILITY) {
		struct service service = capability_service(capability_of(l->entity));

		job.object = service.object;
		job.socket_type = (uint32_t)service.socket;
	} else if (l->entity->kind == ENTITY_OBJECT) {
		job.capability = 0;
		job.object = l->entity->id;
		if (object_of(l->entity)->record.socket == OBJECT_STREAM)
			job.socket_type = SOCK_STREAM;
	}
	return job;
}

/* Returns: false: it has no room, which the loop waits for, or it died, which the loop will see. */
static bool
send_job(struct bindings *b, const struct binder_job *job)
{
	ssize_t n = msg_send(b->fd, job, sizeof(*job), NULL, 0, MSG_DONTWAIT);

	if (n == -EAGAIN || n == -ENOBUFS || n == -ENOMEM)
		sd_event_source_set_io_events(b->source, EPOLLIN | EPOLLOUT);
	return n >= 0;
}

/*
 * Has it done what a broker before this one asked of it? It works in order, so it is asked for
 * nothing first, and for more when it has replied to that. Else a listener that is on its way could
 * be made twice, and who connects while the second one is bound, but does not listen, is refused.
 */
static bool
has_settled(struct bindings *b)
{
	const struct binder_job nothing = {.capability = b->mark};

	if (b->mark && !b->mark_sent)
		b->mark_sent = send_job(b, &nothing);
	return !b->mark;
}

/*
 * Sends the binder what waits for it, as far as it takes it. What was sent is in a list of its own,
 * so that it can be given to the next binder when this one dies.
 */
static void
binding_send(struct sockets *sockets)
{
	struct bindings *b = sockets->bindings;
	struct listener *l;

	if (b->next_fd >= 0 || !b->source)
		return;
	sd_event_source_set_io_events(b->source, EPOLLIN);
	while (has_settled(b) && (l = listener_first(sockets, LISTENER_QUEUED))) {
		struct binder_job job = binding_job(l);

		if (!send_job(b, &job))
			return;
		listener_enter(l, LISTENER_SENT);
	}
}

/* L is queued even where there is no binder: the next one gets what waits. */
void
binding_request(struct listener *l)
{
	listener_enter(l, LISTENER_QUEUED);
	binding_send(l->sockets);
}

bool
binding_is_ready(struct sockets *sockets, struct entity *e)
{
	const struct listener *l = listener_find(e);

	return l && l->state == LISTENER_BOUND;
}

/* Its session pays for L, if need be with what it has for listeners that were only looked at. */
static int
pay(struct listener *l)
{
	while (listener_charge(l))
		if (!binding_yield(l->sockets, listener_session(l), l))
			return EDQUOT;
	return 0;
}

/*
 * A listener may be found in each of its states when its node is looked up. One that is on its way
 * back is kept: whoever has looked it up will connect.
 */
static void
want(struct listener *l)
{
	listener_want(l);
	switch ((enum listener_state)l->state) {
	case LISTENER_RETIRING:
		if (pay(l)) {
			listener_done(l, EDQUOT);
			return;
		}
		listener_enter(l, LISTENER_BOUND);
		/* fallthrough */
	case LISTENER_BOUND:
		listener_touch(l);
		listener_done(l, 0);
		binding_balance(l->sockets);
		return;
	case LISTENER_QUEUED:
	case LISTENER_SENT:
		return;
	case LISTENER_UNBOUND:
	case LISTENER_CLOSED:
		break;
	}
	/*
	 * Where all is in use it is made all the same, and given back at once: whoever connects in its second is
	 * refused as one for whom there is no room, which connect(2) could not tell from there being no server.
	 */
	(void)pay(l);
	binding_request(l);
}

/* Every way out tells socket_done, or the look-up would wait for its deadline. */
void
binding_want(struct sockets *sockets, struct entity *e)
{
	struct listener *l;

	if (sockets->stopped || !endpoint_is_served(e)) {
		sockets->fs->socket_done(sockets->fs_data, e, ECONNREFUSED);
		return;
	}
	l = listener_get(sockets, e);
	if (l)
		want(l);
	else
		sockets->fs->socket_done(sockets->fs_data, e, ENOMEM);
}

/* The last step: nobody has its inode, so nobody can connect without asking. */
void
binding_forgotten(struct sockets *sockets, uint64_t entity_id)
{
	struct entity *e = entity_find(sockets->model, entity_id);
	struct listener *l = NULL;

	if (e && (e->kind == ENTITY_CAPABILITY || e->kind == ENTITY_SESSION))
		l = listener_find(e);
	if (l && l->state == LISTENER_CLOSED)
		listener_give_up(l);
}

/* The first step. It still accepts: who had looked it up before may be about to connect. */
static void
binding_give_back(struct listener *l)
{
	struct sockets *sockets = l->sockets;

	listener_enter_for(l, LISTENER_RETIRING, RETIRE_USEC);
	sockets->fs->socket_invalidate(sockets->fs_data, l->entity);
	loop_arm(sockets->bindings->retire_timer, RETIRE_USEC);
}

/*
 * Gives back those without connections that nobody asked for longest, beyond the limit: whoever
 * lists a directory of a million slots has a listener made for each, and descriptors are fewer than
 * that.
 */
void
binding_balance(struct sockets *sockets)
{
	while (sockets->listeners->n_idle > sockets->n_idle_max)
		binding_give_back(listener_first(sockets, LISTENER_BOUND));
}

/*
 * The second step, a second later: whoever was about to connect has, and is served from the backlog
 * by the close. One that cannot pay again for a client it has goes on without a socket.
 */
static void
binding_retire(struct listener *l)
{
	/* Somebody connected in the meantime: it is in use again. */
	if (l->n_clients > 0 && listener_charge(l) == 0) {
		listener_enter(l, LISTENER_BOUND);
		return;
	}
	listener_enter_for(l, LISTENER_CLOSED, FORGET_USEC);
	listener_close(l, true);
	listener_uncharge(l);
}

/*
 * Whoever looks at a thousand slots of a session that can pay for two has as many listeners that pay nothing
 * any more and have their second to live; only a few of these have it whole.
 */
static void
give_back_unpaid(struct listener *l)
{
	const struct session *s = listener_session(l);
	struct listener *oldest = NULL;
	unsigned n = 0;

	binding_give_back(l);
	list_for_each (i, &l->sockets->listeners->by_state[LISTENER_RETIRING]) {
		struct listener *other = list_entry(i, struct listener, state_link);

		if (listener_session(other) != s || other->charge.session)
			continue;
		oldest = oldest ? oldest : other;
		n++;
	}
	if (n > UNPAID_MAX)
		binding_retire(oldest);
}

/*
 * For a session that needs its quota for a connection, or another listener. Its oldest idle listener pays
 * nothing from now on, and lives for another second: that costs less than to refuse somebody.
 */
bool
binding_yield(struct sockets *sockets, const struct session *s, const struct listener *keep)
{
	struct listener *l;

	if (listener_idle(sockets, s, keep, &l) == 0)
		return false;
	listener_uncharge(l);
	give_back_unpaid(l);
	return true;
}

/*
 * The kernel still has its node, so somebody holds it, who can connect without looking it up.
 * Without this their connect(2) would be refused, though somebody serves.
 */
static void
binding_bind_again(struct listener *l)
{
	if (endpoint_is_served(l->entity) && listener_charge(l) == 0)
		binding_request(l);
	else
		listener_give_up(l);
}

/*
 * Runs F for those in STATE that are due; it moves them elsewhere. Returns: when the next one is.
 */
static uint64_t
binding_run_due(
	struct sockets *sockets, enum listener_state state, void (*f)(struct listener *l))
{
	struct listener *l;

	while ((l = listener_first(sockets, state))) {
		if (l->due_usec > core_now(sockets))
			return l->due_usec;
		f(l);
		core_active(sockets);
	}
	return UINT64_MAX;
}

/*
 * The closed ones come first: what is retired in this round joins their list at its end, and has
 * its time yet to come.
 */
static int
binding_on_retire(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	uint64_t now = core_now(sockets);
	uint64_t closed = binding_run_due(sockets, LISTENER_CLOSED, binding_bind_again);
	uint64_t next = binding_run_due(sockets, LISTENER_RETIRING, binding_retire);

	if (closed == UINT64_MAX && listener_first(sockets, LISTENER_CLOSED))
		closed = now + FORGET_USEC;
	if (closed < next)
		next = closed;
	if (next != UINT64_MAX)
		loop_arm(sockets->bindings->retire_timer, next > now ? next - now : 0);
	return 0;
}

/*
 * The binder's reply to a job of this broker, or of one before it, so that nothing about it is
 * taken for granted: neither that the entity is still there, nor that anybody still wants a
 * listener. Takes FD, which may be -1.
 */
static void
binding_result(struct sockets *sockets, const struct binder_result *result, int fd)
{
	struct entity *e = core_named(sockets, result->object, result->capability);
	struct listener *l = e ? listener_find(e) : NULL;
	int error = result->error ? (int)result->error : fd < 0 ? EIO : 0;
	bool unpaid;

	if (e && !error && !endpoint_is_served(e))
		error = ECONNREFUSED;
	if (!l && e && !error)
		l = listener_get(sockets, e);
	if (!l) {
		socket_discard(sockets, fd, sockets->model->root);
		return;
	}
	/* One that is lent is its server's for good, and must be paid for before. */
	if (!error && listener_is_lent(l))
		error = pay(l);
	if (error)
		socket_discard(sockets, fd, listener_session(l));
	else
		error = -listener_set_fd(l, fd);
	unpaid = !error && pay(l);
	listener_done(l, unpaid ? EDQUOT : error);
	if (unpaid)
		give_back_unpaid(l);
	if (error)
		core_tell_bound(sockets, e->kind, l, error);
	if (error && l->fd < 0)
		listener_give_up(l);
	binding_balance(sockets);
}

static void binding_install(struct sockets *sockets, int fd);

/* The binder died. What it had not replied to the next one gets. */
static void
binding_lost(struct sockets *sockets)
{
	struct bindings *b = sockets->bindings;
	struct listener *l;

	b->source = sd_event_source_disable_unref(b->source);
	while ((l = listener_first(sockets, LISTENER_SENT)))
		listener_enter(l, LISTENER_QUEUED);
	/* Those who were at it ended with it, or are nobody's any more. */
	if (b->inspector)
		b->inspector->lost(b->inspector_data);
	disposal_lost(sockets->disposal);
	if (b->next_fd >= 0)
		binding_install(sockets, take_fd(b->next_fd));
	else
		log_message(LOG_INFO, "the binder is gone; waiting for the next");
}

/* One of a broker before this says nothing: what that asked for later may be under way. */
static void
binding_marked(struct sockets *sockets, uint64_t mark)
{
	if (mark != sockets->bindings->mark)
		return;
	sockets->bindings->mark = 0;
	binding_send(sockets);
}

/*
 * Returns: false: the binder is lost, and nothing more must be sent to it. So many messages in a
 * row, since sockets of clients are to have their turn.
 */
static bool
binding_receive(struct sockets *sockets)
{
	struct bindings *b = sockets->bindings;

	for (unsigned i = 0; i < MESSAGES_MAX; i++) {
		struct binder_result result;
		cleanup_close int listener = -1;
		size_t n_fds = 0;
		ssize_t n = msg_receive(b->fd, &result, sizeof(result), &listener, 1, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n != sizeof(result)) {
			fd_shutdown_close(take_fd(listener));
			binding_lost(sockets);
			return false;
		}
		core_active(sockets);
		if (!result.inspection && result.capability & MARK)
			binding_marked(sockets, result.capability);
		else if (!result.inspection)
			binding_result(sockets, &result, take_fd(listener));
		else if (result.inspection & DISPOSAL_SERIAL)
			core_disposal_told(sockets, &result);
		else if (b->inspector)
			b->inspector->seen(b->inspector_data, &result);
	}
	return true;
}

/* An inspector tells us before it tells its client, so that what that says is here already. */
void
binding_look(struct sockets *sockets)
{
	if (sockets->bindings->source)
		binding_receive(sockets);
}

static int
binding_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	if (binding_receive(data) && revents & EPOLLOUT)
		binding_send(data);
	return 0;
}

static void
binding_install(struct sockets *sockets, int fd)
{
	struct bindings *b = sockets->bindings;
	int r;

	/* Under the old one's number, since there the next broker will look for it. */
	if (b->fd >= 0 && b->fd != fd) {
		if (dup3(fd, b->fd, O_CLOEXEC) < 0)
			log_message(LOG_ERR, "the new binder: %s", error_name(errno));
		fd_close(fd);
	} else {
		b->fd = fd;
	}
	b->mark = MARK | core_now(sockets);
	b->mark_sent = false;
	r = fd_set_nonblock(b->fd, true);
	if (r == 0)
		r = loop_add_io(sockets->event, b->fd, EPOLLIN, binding_on_io, sockets, &b->source);
	if (r < 0)
		core_fail(sockets, r);
	else
		binding_send(sockets);
}

/*
 * One that is still there has its jobs to itself until it has answered them all: were two at the
 * same one, clients could come to the listener that is not ours. Its end of writing is shut down,
 * by which it knows that it is to end.
 */
void
binding_set_binder(struct sockets *sockets, int fd)
{
	struct bindings *b = sockets->bindings;

	if (!b->source) {
		binding_install(sockets, fd);
		return;
	}
	fd_close(b->next_fd);
	b->next_fd = fd;
	sd_event_source_set_io_events(b->source, EPOLLIN);
	shutdown(b->fd, SHUT_WR);
	loop_arm(b->binder_timer, BINDER_USEC);
}

/*
 * The binder that is replaced does not end, and is not waited for any longer: its jobs go to the
 * next.
 */
static int
binding_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	struct bindings *b = sockets->bindings;

	if (b->next_fd >= 0 && b->source)
		binding_lost(sockets);
	else if (b->next_fd >= 0)
		binding_install(sockets, take_fd(b->next_fd));
	return 0;
}

void
binding_set_inspector(struct sockets *sockets, const struct inspector_ops *ops, void *data)
{
	sockets->bindings->inspector = ops;
	sockets->bindings->inspector_data = data;
}

/* Waits for no binder. Nothing is begun before all is counted that other brokers have begun. */
int
binding_inspect(struct sockets *sockets, uint64_t serial, const struct session *s, int client)
{
	const struct binder_job job = {.inspection = serial, .object = s->entity.id};
	const struct bindings *b = sockets->bindings;

	return !b->source || (b->mark && client >= 0) ||
		msg_send(b->fd, &job, sizeof(job), &client, client >= 0, MSG_DONTWAIT) < 0
		? -EAGAIN : 0;
}

int
bindings_new(struct sockets *sockets)
{
	struct bindings *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->fd = b->next_fd = -1;
	sockets->bindings = b;
	r = loop_add_timer(sockets->event, binding_on_retire, sockets, &b->retire_timer);
	if (r == 0)
		r = loop_add_timer(sockets->event, binding_on_timer, sockets, &b->binder_timer);
	return r;
}

/* The binder ends when its socket does. */
void
bindings_stop(struct sockets *sockets)
{
	struct bindings *b = sockets->bindings;

	b->source = sd_event_source_disable_unref(b->source);
	b->fd = fd_close(b->fd);
	b->next_fd = fd_close(b->next_fd);
}

void
bindings_free(struct sockets *sockets)
{
	struct bindings *b = take_ptr(sockets->bindings);

	if (!b)
		return;
	sd_event_source_disable_unref(b->source);
	sd_event_source_disable_unref(b->binder_timer);
	sd_event_source_disable_unref(b->retire_timer);
	free(b);
}
