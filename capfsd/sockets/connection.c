/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a connection is and has; how it comes about is connect.c's, how it gets to its server
 * queue.c's. Whoever makes one calls the functions in that order: new, charge, make_record, watch,
 * and after the commit publish; until then connection_free() takes back all of it.
 *
 * It pays as long as it lasts, and every way to its end goes through connection_release(), so that
 * no count is given back twice or not at all. What a server was sent and has not acknowledged stays
 * in its channel's list even then, with nothing but its credit.
 */
#include "config.h"

#include "capfsd/sockets/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/listeners/spares.h"
#include "capfsd/sockets/answers.h"
#include "capfsd/sockets/channel.h"

#define BUCKETS_MIN 64

struct entrypoint *
connection_entrypoint(const struct connection *conn)
{
	return capability_entrypoint(conn->capability);
}

/*
 * A control client has the other end of it, and shows that to us: by its cookie we know which it
 * is.
 */
struct connection *
connection_find_paired(const struct sockets *sockets, uint64_t cookie)
{
	struct index_link *i = index_first(&sockets->connections->by_peer, index_hash_id(cookie));

	for (; i; i = index_next(i)) {
		struct connection *conn = container_of(i, struct connection, peer_link);

		if (conn->memo->record.connection.client_cookie == cookie)
			return conn;
	}
	return NULL;
}

/* There is one only, since a connection that was made here has one client in the daemon. */
void
connection_set_reference(struct connection *conn, struct connection **ref)
{
	conn->known_as = ref;
}

/* Its numbers are shown by the entrypoint's info. Where the daemon answers there is none. */
static void
tell_entrypoint(struct sockets *sockets, struct entrypoint *e)
{
	const struct model *m = sockets->model;

	if (e && m->hooks && m->hooks->changed)
		m->hooks->changed(m->hooks_data, &e->entity);
}

/* Everything of it but its lists and its descriptor, which is not watched any more. */
static void
connection_deinit(struct connection *conn)
{
	charge_deinit(&conn->socket);
	if (conn->answers && conn->inflight.session)
		core_landed(conn->sockets, 1);
	charge_deinit(&conn->inflight);
	conn->memo = memo_drop(conn->sockets, conn->memo);
}

/*
 * A connection that is not published counts nowhere yet. Its listener may have been made for it
 * alone, and then goes with it.
 */
struct connection *
connection_free(struct connection *conn)
{
	struct listener *l;

	if (!conn)
		return NULL;
	l = conn->listener;
	/* Before its number is closed: the file may live on elsewhere, and would be told of for ever. */
	watch_remove(&conn->watch);
	disposal_end(conn->sockets->disposal, conn->fd, conn->capability->session, &conn->socket);
	connection_deinit(conn);
	free(conn);
	if (l)
		listener_release(l);
	return NULL;
}

/* It holds no listener yet: that is freed with it, if it is never published. */
struct connection *
connection_new(struct sockets *sockets, struct capability *c)
{
	struct connection *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->sockets = sockets;
	conn->fd = -1;
	conn->capability = c;
	conn->channel = endpoint_channel(capability_entrypoint(c));
	conn->answers = capability_service(c).answered ? capability_answers[c->record.type] : NULL;
	if (conn->answers)
		conn->state = CONNECTION_TAKEN;
	list_init(&conn->listener_link);
	list_init(&conn->channel_link);
	list_init(&conn->left_link);
	conn->listener = listener_get(sockets, &c->entity);
	return conn->listener ? conn : connection_free(conn);
}

int
connection_charge(struct connection *conn)
{
	struct session *s = conn->capability->session;

	/* Listeners that were only looked at (`ls -l`) must not keep connections out. */
	if (charge_init(&conn->socket, s, QUOTA_SOCKETS, 1) &&
		(!binding_yield(conn->sockets, s, conn->listener) ||
			charge_init(&conn->socket, s, QUOTA_SOCKETS, 1)))
		return -EDQUOT;
	return 0;
}

int
connection_charge_again(struct connection *conn)
{
	return charge_init(&conn->socket, conn->capability->session, QUOTA_SOCKETS, 1) ? -EDQUOT
										       : 0;
}

/* Half of what the others leave to its slot; the first one needs no more than there is. */
static bool
may_fly(const struct session *s, const struct listener *l)
{
	uint64_t used = l ? l->n_flying * HANDOVER_FDS : 0;
	uint64_t left = quota_available(s, QUOTA_INFLIGHT) + used;

	return used + HANDOVER_FDS <= (used > 0 ? left / 2 : left);
}

bool
connections_can_fly(const struct session *s, const struct listener *l)
{
	return (l && l->n_flying > 0) || may_fly(s, l);
}

bool
connection_can_fly(const struct connection *conn)
{
	return conn->repeated || connections_can_fly(conn->capability->session, conn->listener);
}

/*
 * One of a predecessor had paid. If others have used that up meanwhile it goes without, since
 * nothing that its server may have seen is ever sent after something newer.
 */
bool
connection_fly(struct connection *conn)
{
	struct session *s = conn->capability->session;

	/* Who has left pays for nothing that is in flight. */
	if (conn->hung_up)
		return true;
	if (may_fly(s, conn->listener) && charge_init(&conn->inflight, s, QUOTA_INFLIGHT, HANDOVER_FDS) == 0)
		return true;
	return conn->repeated;
}

void
connection_land(struct connection *conn)
{
	charge_deinit(&conn->inflight);
}

int
connection_carry(struct connection *conn)
{
	if (conn->inflight.session)
		return 0;
	if (!core_may_fly(conn->sockets, 1))
		return -EAGAIN;
	if (charge_init(&conn->inflight, conn->capability->session, QUOTA_INFLIGHT, 1))
		return -EDQUOT;
	core_fly(conn->sockets, 1);
	return 0;
}

/*
 * What the store gets first says the worst: that a server may have seen it, if there is one. A
 * crash right after the offer then finds it so, without another commit in between.
 */
int
connection_make_record(struct connection *conn, uint64_t cookie, const struct arrival *arrival,
	uint64_t serial)
{
	struct connection_record *r;

	conn->memo = memo_new(SOCKET_CONNECTION, cookie, conn->capability->entity.id);
	if (!conn->memo)
		return -ENOMEM;
	conn->paired = arrival->client_cookie != 0;
	conn->serial = serial;
	r = &conn->memo->record;
	r->connection.client_cookie = arrival->client_cookie;
	r->connection.serial = serial;
	r->connection.uid = arrival->peer.uid;
	r->connection.gid = arrival->peer.gid;
	r->connection.pid = (uint32_t)arrival->peer.pid;
	r->connection.aside = arrival->aside;
	r->connection.n_caveats = caveats_count(conn->capability);
	r->state = conn->channel ? CONNECTION_OFFERED : CONNECTION_QUEUED;
	if (conn->answers)
		r->state = CONNECTION_TAKEN;
	return 0;
}

/*
 * `repeated` bars it from other servers: it may have been sent, though nobody says so. `paired` is not stored; the
 * peer credentials of such a one are this daemon's, and must not be given to a server as the client's.
 */
void
connection_restore(struct connection *conn, struct memo *memo)
{
	conn->memo = memo;
	conn->serial = memo->record.connection.serial;
	conn->state =
		memo->record.state == CONNECTION_TAKEN ? CONNECTION_TAKEN : CONNECTION_WAITING;
	conn->paired = socket_is_paired(conn->fd);
	conn->repeated = memo->record.state == CONNECTION_OFFERED;
	if (memo->record.state == CONNECTION_QUEUED)
		conn->channel = NULL;
}

/* Only the end of its client is ever told, as nothing else is asked of epoll. */
static bool
connection_on_io(void *data)
{
	connection_left(data);
	return false;
}

/* The daemon answers. What its client has sent before it left counts. */
static bool
connection_on_answered(void *data)
{
	struct connection *conn = data;

	return conn->answers->io(conn);
}

static void
connection_set_descriptors(const struct connection *conn, int fd)
{
	(void)fd_set_descriptors(fd, endpoint_takes_fds(&conn->capability->entity));
}

bool
connection_is_current(const struct connection *conn)
{
	return conn->memo->record.connection.n_caveats == caveats_count(conn->capability);
}

/*
 * Servers are told of caveats with the connection, and of none afterwards: where there are more by now it ends.
 * L may be freed.
 */
void
connections_restricted(struct listener *l)
{
	listener_restricted(l);
	listener_hold(l);
	list_for_each_safe (i, &l->clients) {
		struct connection *conn = list_entry(i, struct connection, listener_link);

		if (connection_is_current(conn))
			connection_set_descriptors(conn, conn->fd);
		else
			connection_end(conn);
	}
	listener_unhold(l);
}

int
connection_watch(struct connection *conn, int fd)
{
	/* Else it has that from its listener. */
	if (conn->listener->uneven || conn->paired)
		connection_set_descriptors(conn, fd);
	/* Who may post something leaves it there. */
	if (conn->answers && capability_service(conn->capability).fds)
		spares_never(fd);
	/* Of what a server answers HUP alone, which epoll tells always. */
	if (core_watch(conn->sockets, &conn->watch, conn->capability->session, fd,
		    conn->answers ? EPOLLIN : WATCH_LATE,
		    conn->answers ? connection_on_answered : connection_on_io, conn) < 0)
		return -ENOMEM;
	conn->fd = fd;
	return 0;
}

/* From here on it counts: for the capability and all above it, the entrypoint, and the metrics. */
void
connection_publish(struct connection *conn)
{
	struct connections *all = conn->sockets->connections;
	struct entrypoint *e = connection_entrypoint(conn);
	uint64_t client_cookie = conn->memo->record.connection.client_cookie;

	memo_stored(conn->sockets, conn->memo);
	if (client_cookie &&
		index_add(&all->by_peer, &conn->peer_link, index_hash_id(client_cookie)) < 0)
		abort(); /* there are buckets from the start */
	capability_connected(conn->capability);
	listener_link(conn->listener, &conn->listener_link);
	if (e)
		e->n_connections++;
	all->n++;
	if (conn->state != CONNECTION_TAKEN) {
		e->n_waiting++;
		conn->listener->n_untaken++;
	}
	tell_entrypoint(conn->sockets, e);
}

void
connection_wait(struct connection *conn, struct channel *channel)
{
	conn->channel = channel;
	conn->state = CONNECTION_WAITING;
}

void
connection_offered(struct connection *conn, unsigned n)
{
	if (!conn->hung_up)
		conn->listener->n_flying++;
	conn->state = CONNECTION_OFFERED;
	conn->n_sent = (uint8_t)n;
}

/* Its slot has nothing in flight by it any more. Others of that may be sent, a little later. */
static void
landed(struct connection *conn)
{
	if (conn->state != CONNECTION_OFFERED || !conn->listener || conn->hung_up)
		return;
	conn->listener->n_flying--;
	charge_deinit(&conn->inflight);
	if (!list_empty(&conn->channel->waiting))
		channel_pump_soon(conn->channel);
}

/*
 * For the end of its channel: the descriptors that were in flight are lost with that, and the state
 * says so before connection_release() looks at it.
 */
void
connection_unoffered(struct connection *conn)
{
	landed(conn);
	conn->state = CONNECTION_WAITING;
}

/* The store may hear of it late, since a crash before that costs only an offer that is repeated. */
void
connection_touch(struct connection *conn, enum connection_state state)
{
	conn->memo->record.state = (uint8_t)state;
	memo_touch(conn->sockets, conn->memo);
}

/* Gives everything back. What is in flight stays in its channel's list until it is taken. */
static void
connection_release(struct connection *conn)
{
	struct connections *all = conn->sockets->connections;
	struct entrypoint *e = connection_entrypoint(conn);
	struct capability *c = conn->capability;
	struct listener *l = conn->listener;
	bool queued = e && !conn->channel && !list_empty(&conn->channel_link);

	landed(conn);
	if (conn->answers && conn->answers->left)
		conn->answers->left(conn);
	if (conn->hung_up) {
		list_unlink(&conn->left_link);
		l->n_left--;
	}
	if (conn->memo->record.connection.client_cookie)
		index_remove(&all->by_peer, &conn->peer_link);
	connection_deinit(conn);
	if (e)
		e->n_connections--;
	all->n--;
	if (conn->state != CONNECTION_TAKEN) {
		e->n_waiting--;
		l->n_untaken--;
	}
	if (queued)
		endpoint_leave_queue(e, &conn->channel_link);
	tell_entrypoint(conn->sockets, e);
	capability_disconnected(c);
	conn->capability = NULL;
	conn->listener = NULL;
	if (conn->known_as)
		*conn->known_as = NULL;
	conn->known_as = NULL;
	if (l)
		listener_unlink(l, &conn->listener_link);
	if (conn->state != CONNECTION_OFFERED)
		connection_bury(conn);
}

/* It was kept for its credit alone, which has come back. */
void
connection_bury(struct connection *conn)
{
	assert(!conn->capability);
	list_unlink(&conn->channel_link);
	free(conn);
}

/* It is shut down, so that neither end can go on: whoever has a duplicate of it has a dead one. */
void
connection_end(struct connection *conn)
{
	if (!conn->capability)
		return;
	/* Before the descriptor: as the server has the file too, epoll would not forget it. */
	watch_remove(&conn->watch);
	if (!conn->sockets->forgetting)
		disposal_end(conn->sockets->disposal, conn->fd, conn->capability->session, &conn->socket);
	conn->fd = -1;
	connection_release(conn);
}

/*
 * Both directions are over by the client's own doing: what the server has not read yet it may still
 * read, so our duplicate is closed and not shut down.
 */
static void
connection_hang_up(struct connection *conn)
{
	watch_remove(&conn->watch);
	conn->fd = disposal_leave(
		conn->sockets->disposal, conn->fd, conn->capability->session, &conn->socket);
	connection_release(conn);
}

/* Its descriptors are out of flight. A client that had gone was kept for its server until here. */
void
connection_taken(struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);

	landed(conn);
	conn->state = CONNECTION_TAKEN;
	conn->sockets->model->counters->taken++;
	e->n_waiting--;
	conn->listener->n_untaken--;
	if (conn->hung_up) {
		connection_hang_up(conn);
		return;
	}
	connection_touch(conn, CONNECTION_TAKEN);
	tell_entrypoint(conn->sockets, e);
}

/*
 * The one of L's whose client has left that is given up before the others: the oldest, but of those
 * that the server was sent none as long as there is another, as it may be about to read them.
 */
static struct connection *
least_of(const struct listener *l)
{
	list_for_each (i, &l->left) {
		struct connection *conn = list_entry(i, struct connection, left_link);

		if (conn->state != CONNECTION_OFFERED)
			return conn;
	}
	return list_entry(list_first(&l->left), struct connection, left_link);
}

/*
 * Nobody waits for them, so they go before they keep out who does: of a slot there are at most a
 * quarter of what its session may have.
 */
static void
let_go(struct listener *l)
{
	uint64_t max = listener_session(l)->record.limit.n[QUOTA_SOCKETS] / 4;
	struct connection *conn;

	if (l->n_left <= (max > 1 ? max : 1))
		return;
	conn = least_of(l);
	listener_log_refusal(l, conn->memo->record.connection.uid, ECONNABORTED,
		"its client has left, and its server does not take it");
	connection_end(conn);
}

void
connection_left(struct connection *conn)
{
	char byte;

	if (conn->hung_up)
		return;
	if (conn->state == CONNECTION_TAKEN) {
		connection_hang_up(conn);
		return;
	}
	/* A client that wrote and left is still served; of one that only left nobody hears. */
	if (conn->state == CONNECTION_WAITING &&
		recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
		connection_end(conn);
		return;
	}
	landed(conn);
	conn->hung_up = true;
	watch_remove(&conn->watch);
	list_append(&conn->listener->left, &conn->left_link);
	conn->listener->n_left++;
	let_go(conn->listener);
}

/* --- all of them --- */

/* The listener's end is that of all who came through it, one after the other: a revocation is nothing else. */
void
connections_gone(void *data, struct listener *l)
{
	struct list *first = list_first(&l->clients);

	if (first)
		connection_end(list_entry(first, struct connection, listener_link));
}

int
connections_new(struct sockets *sockets)
{
	sockets->connections = calloc(1, sizeof(*sockets->connections));
	if (!sockets->connections)
		return -ENOMEM;
	list_init(&sockets->connections->again);
	return index_reserve(&sockets->connections->by_peer, BUCKETS_MIN);
}

void
connections_free(struct sockets *sockets)
{
	struct connections *all = take_ptr(sockets->connections);

	if (all)
		index_deinit(&all->by_peer);
	free(all);
}
