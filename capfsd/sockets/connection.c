/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection through a capability, from accept(2) or WIRE_OPEN to its end. It pays `sockets`
 * while it lasts and `inflight` until its server has taken it.
 *
 * The daemon keeps a duplicate of what the server gets. By it a revocation reaches the connection
 * wherever its descriptors went, and by it the daemon learns of its end: a HUP comes when the
 * client closes, or when the server shuts it down. Nothing is ever read from the duplicate but to
 * discard it.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/ops/texts.h"

#define HELD_USEC 1000000

/* All that is told of a refusal. Its number is that of its counter: appended, never moved. */
static const struct {
	int error;
	const char *name; /* in `metrics` */
	const char *reason; /* NULL: the account of QUOTA */
	enum quota_kind quota;
} refusals[] = {
	[0] = {0, "error", NULL, 0},
	[CONNECTION_E_ENDED] = {ENOENT, "ended", "the capability has ended", 0},
	[CONNECTION_E_RIGHT] = {EPERM, "right", "it lacks right 'call'", 0},
	[CONNECTION_E_UNSERVED] = {ECONNREFUSED, "unserved", "nobody serves it", 0},
	[CONNECTION_E_CALLS] = {EDQUOT, "calls", "its calls are used up", 0},
	[CONNECTION_E_CONNS] = {EDQUOT, "conns", "its conns are in use", 0},
	[CONNECTION_E_RATE] = {EDQUOT, "rate", "its rate is reached", 0},
	[CONNECTION_E_HELD] = {EDQUOT, "held", "as many as may wait for its server already do", 0},
	[CONNECTION_E_SOCKETS] = {EDQUOT, "sockets", NULL, QUOTA_SOCKETS},
	[CONNECTION_E_INFLIGHT] = {EDQUOT, "inflight", NULL, QUOTA_INFLIGHT},
	[CONNECTION_E_PAGES] = {EDQUOT, "pages", "its server can count no more capabilities", 0},
	[CONNECTION_E_STORE] = {ENOSPC, "store", "the state store is full", 0},
	[CONNECTION_E_MEMORY] = {ENOMEM, "memory", "the daemon is out of memory", 0},
};

#define N_REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

_Static_assert(N_REFUSALS == COUNTERS_REASONS, "each refusal has its counter");

const char *
ipc_refusal_name(size_t answer)
{
	return answer < N_REFUSALS ? refusals[answer].name : NULL;
}

int
connection_refusal(const struct capability *c, int answer, struct text *t)
{
	assert(answer > 0 && (size_t)answer < N_REFUSALS);
	if (refusals[answer].reason)
		text_add(t, refusals[answer].reason);
	else
		text_account(c->session, refusals[answer].quota, t);
	return refusals[answer].error;
}

int
socket_discard(int fd)
{
	shutdown(fd, SHUT_RDWR);
	msg_discard_all(fd);
	return fd_close(fd);
}

int
socket_peer(int fd, struct ucred *ret)
{
	socklen_t n = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &n) < 0 ? -errno : 0;
}

struct connection *
connection_find_paired(const struct ipc *ipc, uint64_t cookie)
{
	struct index_link *i = index_first(&ipc->by_peer, index_hash_id(cookie));

	for (; i; i = index_next(i)) {
		struct connection *conn = container_of(i, struct connection, peer_link);

		if (conn->memo->record.value == cookie)
			return conn;
	}
	return NULL;
}

bool
connection_is_allowed(const struct capability *c)
{
	return capability_is_live(c) && (capability_rights(c) & RIGHT_CALL);
}

static struct entrypoint *
connection_entrypoint(const struct connection *conn)
{
	return capability_entrypoint(conn->capability);
}

/* Its numbers are shown by the entrypoint's info. */
static void
tell_entrypoint(struct ipc *ipc, struct entrypoint *e)
{
	const struct model *m = ipc->model;

	if (m->hooks && m->hooks->changed)
		m->hooks->changed(m->hooks_data, &e->entity);
}

/* Everything of it but its lists and its descriptor, which may be half-made. */
static void
connection_deinit(struct connection *conn)
{
	conn->source = sd_event_source_disable_unref(conn->source);
	charge_deinit(&conn->socket);
	charge_deinit(&conn->inflight);
	conn->memo = memo_drop(conn->ipc, conn->memo);
}

struct connection *
connection_free(struct connection *conn)
{
	struct listener *l;

	if (!conn)
		return NULL;
	l = conn->listener;
	connection_deinit(conn);
	if (conn->fd >= 0)
		socket_discard(conn->fd);
	free(conn);
	if (l)
		listener_release(l);
	return NULL;
}

CLEANUP_DEFINE(struct connection *, connection_free)

static int connection_on_io(sd_event_source *source, int fd, uint32_t revents, void *data);

static struct connection *
connection_new(struct ipc *ipc, struct capability *c)
{
	struct connection *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->ipc = ipc;
	conn->fd = -1;
	conn->capability = c;
	conn->channel = capability_entrypoint(c)->channel;
	list_init(&conn->listener_link);
	list_init(&conn->channel_link);
	conn->listener = listener_get(ipc, &c->entity);
	return conn->listener ? conn : connection_free(conn);
}

/* Why C cannot be connected to, whatever its limits. */
static int
connection_check(const struct capability *c)
{
	if (!capability_is_live(c))
		return CONNECTION_E_ENDED;
	if (!connection_is_allowed(c))
		return CONNECTION_E_RIGHT;
	if (capability_entrypoint(c)->channel)
		return 0;
	return capability_entrypoint(c)->record.hold ? 0 : CONNECTION_E_UNSERVED;
}

static int
connection_count(struct change *ch, struct capability *c)
{
	switch (capability_connect(ch, c)) {
	case 0:
		return 0;
	case CAPABILITY_E_DEAD:
		return CONNECTION_E_ENDED;
	case CAPABILITY_E_RIGHT:
		return CONNECTION_E_RIGHT;
	case CAPABILITY_E_LIMIT_RATE:
		return CONNECTION_E_RATE;
	case CAPABILITY_E_LIMIT_CALLS:
		return CONNECTION_E_CALLS;
	case CAPABILITY_E_LIMIT_CONNS:
		return CONNECTION_E_CONNS;
	default:
		return CONNECTION_E_MEMORY;
	}
}

/* Its calls are counted where the server does it. */
static int
connection_page(struct change *ch, struct capability *c)
{
	int r;

	/* Who waits for a server is counted by that. */
	if (!capability_counts_calls(c) || !capability_entrypoint(c)->channel)
		return 0;
	r = pages_stage(capability_entrypoint(c)->channel, ch, c);
	if (r == -EDQUOT)
		return CONNECTION_E_PAGES;
	return r < 0 ? CONNECTION_E_MEMORY : 0;
}

static int
connection_charge(struct connection *conn)
{
	struct session *s = conn->capability->session;

	/* Listeners that were only looked at (`ls -l`) must not keep connections out. */
	if (charge_init(&conn->socket, s, QUOTA_SOCKETS, 1) &&
		(!binding_yield(conn->ipc, s, conn->listener) ||
			charge_init(&conn->socket, s, QUOTA_SOCKETS, 1)))
		return CONNECTION_E_SOCKETS;
	if (charge_init(&conn->inflight, s, QUOTA_INFLIGHT, HANDOVER_FDS))
		return CONNECTION_E_INFLIGHT;
	return 0;
}

/* Below those of every channel that comes, and behind all that waits. */
static uint64_t
held_serial(const struct entrypoint *e)
{
	if (list_empty(&e->held))
		return 1;
	return list_entry(e->held.prev, struct connection, channel_link)->serial + 1;
}

int
connection_stage(struct ipc *ipc, struct change *ch, struct capability *c, int fd,
	const struct ucred *peer, uint64_t client_cookie, struct connection **ret)
{
	cleanup(connection_free_p) struct connection *conn = NULL;
	uint64_t cookie;
	int r;

	r = connection_check(c);
	if (r == 0 && !capability_entrypoint(c)->channel &&
		capability_entrypoint(c)->n_held >= capability_entrypoint(c)->record.hold)
		r = CONNECTION_E_HELD;
	if (r == 0)
		r = connection_count(ch, c);
	if (r == 0)
		r = connection_page(ch, c);
	if (r)
		return r;
	conn = connection_new(ipc, c);
	if (!conn)
		return CONNECTION_E_MEMORY;
	r = connection_charge(conn);
	if (r)
		return r;
	r = fd_socket_cookie(fd, &cookie);
	if (r < 0)
		return error_trace(r);
	conn->memo = memo_new(SOCKET_CONNECTION, cookie, c->entity.id);
	if (!conn->memo)
		return CONNECTION_E_MEMORY;
	conn->paired = client_cookie != 0;
	conn->memo->record.value = client_cookie;
	conn->serial = conn->channel ? conn->channel->next_serial : held_serial(capability_entrypoint(c));
	conn->memo->record.serial = conn->serial;
	conn->memo->record.state = conn->channel ? CONNECTION_OFFERED : CONNECTION_HELD;
	conn->memo->record.uid = peer->uid;
	conn->memo->record.gid = peer->gid;
	conn->memo->record.pid = (uint32_t)peer->pid;
	/* The channel's epoch, if it is new, is stored before a serial of it goes out. */
	if ((conn->channel && !list_empty(&conn->channel->memo->link) &&
		    memo_stage(conn->channel->memo, ch, NULL, 0) < 0) ||
		memo_stage(conn->memo, ch, NULL, 0) < 0 ||
		ipc_add_io(ipc, fd, 0, connection_on_io, conn, &conn->source) < 0)
		return CONNECTION_E_MEMORY;
	conn->fd = fd;
	*ret = take_ptr(conn);
	return 0;
}

static void
connection_link(struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);

	conn->memo->stored = true;
	if (conn->memo->record.value && index_add(&conn->ipc->by_peer, &conn->peer_link,
						index_hash_id(conn->memo->record.value)) < 0)
		abort(); /* there are buckets from the start */
	capability_connected(conn->capability);
	listener_link(conn->listener, &conn->listener_link);
	e->n_connections++;
	conn->ipc->n_connections++;
	if (conn->state != CONNECTION_TAKEN)
		e->n_waiting++;
	conn->ipc->activity++;
	tell_entrypoint(conn->ipc, e);
}

void
connection_enqueue(struct list *list, struct connection *conn)
{
	struct list *before = list;

	/* From the end: but for those of a predecessor the serial is the highest. */
	while (before->prev != list &&
		list_entry(before->prev, struct connection, channel_link)->serial > conn->serial)
		before = before->prev;
	conn->state = CONNECTION_WAITING;
	list_append(before, &conn->channel_link);
}

void
connection_hold(struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);

	conn->channel = NULL;
	connection_enqueue(&e->held, conn);
	e->n_held++;
}

/* Whoever starts servers by hand, or by the events, learns it here. */
static void
connection_tell_held(const struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);
	uint64_t now = ipc_now(conn->ipc);

	if (e->held_usec && now - e->held_usec < HELD_USEC)
		return;
	e->held_usec = now;
	event_log(conn->ipc->model, e->session, "wait entrypoints/%s waiting=%u hold=%u",
		e->entity.name, (unsigned)e->n_held, e->record.hold);
}

void
connection_publish(struct connection *conn)
{
	struct channel *channel = conn->channel;

	connection_link(conn);
	conn->ipc->model->counters->offered++;
	if (!channel) {
		connection_hold(conn);
		connection_tell_held(conn);
		return;
	}
	pages_publish(channel, conn->capability);
	channel->next_serial++;
	channel_enqueue(channel, conn);
	channel_pump(channel);
}

/* The state `paired` is not stored: such a socket has no name. */
static bool
socket_is_paired(int fd)
{
	struct sockaddr_storage address;
	socklen_t n = sizeof(address);

	return getsockname(fd, (struct sockaddr *)&address, &n) == 0 && n <= sizeof(sa_family_t);
}

static int
connection_restore(
	struct ipc *ipc, struct capability *c, int fd, struct memo *memo, struct connection **ret)
{
	cleanup(connection_free_p) struct connection *conn = NULL;

	bool held = memo->record.state == CONNECTION_HELD;

	if (connection_check(c))
		return -ENOENT;
	/* What a server may have seen no other one gets, and it knows the entry where it counts. */
	if (!held && (!capability_entrypoint(c)->channel ||
			     (capability_counts_calls(c) && !capability_page_index(c))))
		return -ENOENT;
	conn = connection_new(ipc, c);
	if (!conn)
		return -ENOMEM;
	conn->serial = memo->record.serial;
	conn->state =
		memo->record.state == CONNECTION_TAKEN ? CONNECTION_TAKEN : CONNECTION_WAITING;
	if (charge_init(&conn->socket, c->session, QUOTA_SOCKETS, 1))
		return -EDQUOT;
	/* It was paid for before; what is missing now was given to others meanwhile. */
	if (conn->state != CONNECTION_TAKEN)
		(void)charge_init(&conn->inflight, c->session, QUOTA_INFLIGHT, HANDOVER_FDS);
	if (ipc_add_io(ipc, fd, 0, connection_on_io, conn, &conn->source) < 0)
		return -ENOMEM;
	conn->paired = socket_is_paired(fd);
	conn->repeated = memo->record.state == CONNECTION_OFFERED;
	*ret = take_ptr(conn);
	return 0;
}

void
connection_adopt(struct ipc *ipc, int fd, struct memo *memo)
{
	struct entity *e = entity_find(ipc->model, memo->record.owner);
	struct connection *conn;
	int r = -ENOENT;

	if (e && e->kind == ENTITY_CAPABILITY)
		r = connection_restore(
			ipc, container_of(e, struct capability, entity), fd, memo, &conn);
	if (r < 0) {
		socket_discard(fd);
		memo_drop(ipc, memo);
		return;
	}
	conn->fd = fd;
	conn->memo = memo;
	connection_link(conn);
	if (conn->state == CONNECTION_TAKEN)
		list_append(&conn->channel->taken, &conn->channel_link);
	else if (memo->record.state == CONNECTION_HELD)
		connection_hold(conn);
	else
		channel_enqueue(conn->channel, conn);
}

/* Gives everything back. What is in flight stays in its channel's list until it is taken. */
static void
connection_release(struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);
	struct capability *c = conn->capability;
	struct listener *l = conn->listener;

	if (conn->memo->record.value)
		index_remove(&conn->ipc->by_peer, &conn->peer_link);
	connection_deinit(conn);
	e->n_connections--;
	conn->ipc->n_connections--;
	if (conn->state != CONNECTION_TAKEN)
		e->n_waiting--;
	if (!conn->channel)
		e->n_held--;
	tell_entrypoint(conn->ipc, e);
	capability_disconnected(c);
	conn->capability = NULL;
	conn->listener = NULL;
	if (conn->call)
		conn->call->connection = NULL;
	conn->call = NULL;
	conn->ipc->activity++;
	if (l)
		listener_unlink(l, &conn->listener_link);
	if (conn->state == CONNECTION_OFFERED)
		return;
	list_unlink(&conn->channel_link);
	free(conn);
}

void
connection_end(struct connection *conn)
{
	if (!conn->capability)
		return;
	/* Before the descriptor: as the server has the file too, epoll would not forget it. */
	conn->source = sd_event_source_disable_unref(conn->source);
	conn->fd = conn->ipc->forgetting ? -1 : socket_discard(conn->fd);
	connection_release(conn);
}

/* Both directions are over: what the server has not read yet it may still read. */
static void
connection_hang_up(struct connection *conn)
{
	conn->source = sd_event_source_disable_unref(conn->source);
	conn->fd = fd_close(conn->fd);
	connection_release(conn);
}

void
connection_taken(struct connection *conn)
{
	struct entrypoint *e = connection_entrypoint(conn);

	conn->state = CONNECTION_TAKEN;
	conn->ipc->model->counters->taken++;
	charge_deinit(&conn->inflight);
	e->n_waiting--;
	if (conn->hung_up) {
		connection_hang_up(conn);
		return;
	}
	conn->memo->record.state = CONNECTION_TAKEN;
	memo_touch(conn->ipc, conn->memo);
	tell_entrypoint(conn->ipc, e);
}

void
connection_left(struct connection *conn)
{
	char byte;

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
	conn->hung_up = true;
	sd_event_source_set_enabled(conn->source, SD_EVENT_OFF);
}

static int
connection_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	connection_left(data);
	return 0;
}

void
connection_accepted(struct listener *l, int fd)
{
	struct capability *c = container_of(l->entity, struct capability, entity);
	struct ipc *ipc = l->ipc;
	struct change *ch = change_begin(ipc->model);
	struct connection *conn = NULL;
	cleanup_text struct text reason = {};
	struct ucred peer = {};
	int r;

	ipc->model->counters->served[FRONT_SOCKET]++;
	r = socket_peer(fd, &peer);
	if (r == 0)
		r = connection_stage(ipc, ch, c, fd, &peer, 0, &conn);
	if (r) {
		change_abort(ch);
	} else {
		r = ipc_commit(ipc, ch);
		if (r == 0) {
			connection_publish(conn);
			return;
		}
		ipc_fail(ipc, r);
		fd = -1;
		r = r == -ENOMEM ? CONNECTION_E_MEMORY : CONNECTION_E_STORE;
		/* L may go with it: whoever called holds it by its state. */
		connection_free(conn);
	}
	if (fd >= 0)
		socket_discard(fd);
	counters_add(ipc->model->counters->connects_refused, r);
	if (r > 0) {
		int error = connection_refusal(c, r, &reason);

		listener_log_refusal(l, peer.uid, error, reason.data ? reason.data : "");
	}
}
