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

#include "capfsd/listeners/binding.h"

#include <errno.h>

#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/process/loop.h"
#include "capfsd/process/records.h"

#define RETIRE_USEC 1000000 /* from the invalidation of a node to the end of its listener */
#define UNPAID_MAX 16	    /* listeners that a session cannot pay for, each for its second */
#define FORGET_USEC 100000  /* from the end of a listener to the kernel's FORGET */

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
			/* Its second begins anew. */
			listener_enter_for(l, LISTENER_RETIRING, RETIRE_USEC);
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
	case LISTENER_HELD:
		break;
	}
	/*
	 * Where all is in use it is made all the same, and given back at once: whoever connects in its second is
	 * refused as one for whom there is no room, which connect(2) could not tell from there being no server. But
	 * not while clients of the session wait to be closed, lest they fill one such listener after the other.
	 */
	if (pay(l) && disposal_is_full(l->sockets->disposal, listener_session(l))) {
		listener_done(l, EDQUOT);
		listener_give_up(l);
		return;
	}
	jobs_request(l);
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
	if (l && (l->state == LISTENER_CLOSED || l->state == LISTENER_HELD))
		listener_give_up(l);
}

/* The first step. It still accepts: who had looked it up before may be about to connect. */
static void
binding_give_back(struct listener *l)
{
	struct sockets *sockets = l->sockets;

	listener_enter_for(l, LISTENER_RETIRING, RETIRE_USEC);
	sockets->fs->socket_invalidate(sockets->fs_data, l->entity);
	loop_arm(sockets->retire_timer, RETIRE_USEC);
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

/* Has S a listener that has lost its place and still has its second? */
static bool
is_yielding(const struct sockets *sockets, const struct session *s)
{
	list_for_each (i, &sockets->listeners->by_state[LISTENER_RETIRING]) {
		const struct listener *l = list_entry(i, struct listener, state_link);

		if (listener_session(l) == s && !l->charge.session)
			return true;
	}
	return false;
}

/*
 * The kernel still has its node, so somebody holds it, who can connect without looking it up. Without this
 * their connect(2) would be refused, though somebody serves. It takes the place of an idle one, but only one
 * a second does in a session: where more are held than can be paid for, they change places for ever.
 */
static void
binding_bind_again(struct listener *l)
{
	if (!endpoint_is_served(l->entity))
		listener_give_up(l);
	else if (listener_charge(l) == 0 ||
		 (!is_yielding(l->sockets, listener_session(l)) && pay(l) == 0))
		jobs_request(l);
	else
		listener_enter_for(l, LISTENER_HELD, RETIRE_USEC);
}

/*
 * There has been no listener, and no look-up need come: its node is taken for one whose listener was just
 * closed.
 */
void
binding_recall(struct sockets *sockets, struct entity *e)
{
	struct listener *l;

	if (listener_find(e) || !endpoint_is_served(e) ||
		!sockets->fs->socket_is_known(sockets->fs_data, e))
		return;
	l = listener_get(sockets, e);
	if (!l)
		return;
	listener_enter_for(l, LISTENER_CLOSED, FORGET_USEC);
	loop_arm(sockets->retire_timer, FORGET_USEC);
}

/* What is waited for in each state that ends by itself. Their lists are in the order of what is due. */
static const struct {
	enum listener_state state;
	void (*f)(struct listener *l); /* moves it elsewhere, or puts it off */
} due[] = {
	{LISTENER_CLOSED, binding_bind_again},
	{LISTENER_HELD, binding_bind_again},
	{LISTENER_RETIRING, binding_retire},
};
#define N_DUE (sizeof(due) / sizeof(due[0]))

static int
binding_on_retire(sd_event_source *source, uint64_t usec, void *data)
{
	struct sockets *sockets = data;
	uint64_t now = core_now(sockets), next = UINT64_MAX;
	struct listener *l;

	for (size_t i = 0; i < N_DUE; i++)
		while ((l = listener_first(sockets, due[i].state)) && l->due_usec <= now)
			due[i].f(l);
	for (size_t i = 0; i < N_DUE; i++) {
		l = listener_first(sockets, due[i].state);
		if (l && l->due_usec < next)
			next = l->due_usec;
	}
	if (next != UINT64_MAX)
		loop_arm(sockets->retire_timer, next - now);
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
		core_tell_bound(sockets, endpoint_user(e), l, error);
	if (error && l->fd < 0)
		listener_give_up(l);
	binding_balance(sockets);
}

int
bindings_new(struct sockets *sockets)
{
	int r = jobs_new(sockets, binding_result);

	return r < 0 ? r :
		loop_add_timer(sockets->event, binding_on_retire, sockets, &sockets->retire_timer);
}

void
bindings_free(struct sockets *sockets)
{
	sockets->retire_timer = sd_event_source_disable_unref(sockets->retire_timer);
	jobs_free(sockets);
}
