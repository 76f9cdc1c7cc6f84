/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection is checked, charged and staged before anything of it is visible; the commit stores
 * its record; after that nothing may fail. A broker that dies before the commit leaves a socket
 * with a name and no record, which its successor treats as one that has just connected.
 *
 * Whoever is not let in is told why as far as there is a way: by an errno and a reason to those who
 * ask the daemon, by an event of the session and an end to those who used connect(2).
 */
#include "config.h"

#include "capfsd/sockets/connect.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/texts.h"
#include "capfsd/sockets/answers.h"
#include "capfsd/sockets/channel.h"
#include "capfsd/sockets/connection.h"
#include "capfsd/sockets/counts.h"
#include "capfsd/sockets/pages.h"
#include "capfsd/sockets/queue.h"

/* All that is told of a refusal, by its answer. */
static const struct {
	int error;
	const char *name;   /* in `metrics` */
	const char *reason; /* for the client; NULL: it is shown the account of QUOTA */
	enum quota_kind quota;
} refusals[] = {
	[0] = {.name = "error"},
	[CONNECT_E_ENDED] = {ENOENT, "ended", "the capability has ended", 0},
	[CONNECT_E_RIGHT] = {EPERM, "right", "it lacks right ", 0},
	[CONNECT_E_UNSERVED] = {ECONNREFUSED, "unserved", "nobody serves it", 0},
	[CONNECT_E_CALLS] = {EDQUOT, "calls", "its calls are used up", 0},
	[CONNECT_E_CONNS] = {EDQUOT, "conns", "its conns are in use", 0},
	[CONNECT_E_RATE] = {EDQUOT, "rate", "its rate is reached", 0},
	[CONNECT_E_QUEUED] = {EDQUOT, "held", "as many as may wait for its server already do", 0},
	[CONNECT_E_SOCKETS] = {EDQUOT, "sockets", NULL, QUOTA_SOCKETS},
	[CONNECT_E_INFLIGHT] = {EDQUOT, "inflight", NULL, QUOTA_INFLIGHT},
	[CONNECT_E_PAGES] = {EDQUOT, "pages", "its server can count no more capabilities", 0},
	[CONNECT_E_STORE] = {ENOSPC, "store", "the state store is full", 0},
	[CONNECT_E_MEMORY] = {ENOMEM, "memory", "the daemon is out of memory", 0},
};

#define N_REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

_Static_assert(N_REFUSALS == COUNTERS_REASONS, "each refusal has its counter");

const char *
connect_refusal_name(size_t answer)
{
	return answer < N_REFUSALS ? refusals[answer].name : NULL;
}

/* Its server must know of all its caveats, if it has any. */
static bool
is_told(const struct capability *c)
{
	unsigned n = caveats_count(c);

	return n == 0 || (n <= CAVEATS_MAX && capability_service(c).caveats);
}

/* Nothing is derived from the slot of a visit, so that none stands further up. */
static bool
is_accepted(const struct capability *c)
{
	return !c->visit || c->visit->record.open;
}

/*
 * Told to the client by whoever called this; here it is counted, as all refusals are in one place.
 */
int
connect_refused(struct sockets *sockets, const struct capability *c, int answer, struct text *t)
{
	assert(answer > 0 && (size_t)answer < N_REFUSALS);
	counters_add(sockets->model->counters->connects_refused, answer);
	if (answer == CONNECT_E_UNSERVED && !is_told(c))
		text_add(t, "its server does not ask for caveats, or there are more than it can be told");
	else if (answer == CONNECT_E_UNSERVED && !is_accepted(c))
		text_add(t, "its server has not accepted the visit yet");
	else if (refusals[answer].reason)
		text_add(t, refusals[answer].reason);
	else
		text_account(c->session, refusals[answer].quota, t);
	if (answer == CONNECT_E_RIGHT) {
		text_add(t, "'");
		rights_format(capability_type(c)->connects, t);
		text_add(t, "'");
	}
	return refusals[answer].error;
}

/*
 * Why C cannot be connected to, whatever its limits. Asked again for one of a predecessor: what has
 * changed meanwhile counts.
 */
static int
check(const struct capability *c)
{
	const struct entrypoint *e = capability_entrypoint(c);

	if (!capability_is_live(c))
		return CONNECT_E_ENDED;
	if (!endpoint_may_call(c))
		return CONNECT_E_RIGHT;
	if (!is_told(c) || !is_accepted(c))
		return CONNECT_E_UNSERVED;
	if (capability_service(c).answered || endpoint_channel(e))
		return 0;
	/* There are types that nobody ever serves. */
	return e && e->record.hold ? 0 : CONNECT_E_UNSERVED;
}

/*
 * Is there room for one more who waits for a server, if there is none? The endpoint is made here,
 * while it may still fail.
 */
static int
check_queue(struct sockets *sockets, struct entrypoint *e)
{
	if (!e || endpoint_channel(e))
		return 0;
	if (endpoint_n_queued(e) >= e->record.hold)
		return CONNECT_E_QUEUED;
	return endpoint_get(sockets, e) ? 0 : CONNECT_E_MEMORY;
}

/* The model's words for what a limit says, in ours. */
static int
count(struct change *ch, struct capability *c)
{
	switch (capability_connect(ch, c)) {
	case 0:
		return 0;
	case CAPABILITY_E_DEAD:
		return CONNECT_E_ENDED;
	case CAPABILITY_E_RIGHT:
		return CONNECT_E_RIGHT;
	case CAPABILITY_E_LIMIT_RATE:
		return CONNECT_E_RATE;
	case CAPABILITY_E_LIMIT_CALLS:
		return CONNECT_E_CALLS;
	case CAPABILITY_E_LIMIT_CONNS:
		return CONNECT_E_CONNS;
	default:
		return CONNECT_E_MEMORY;
	}
}

/*
 * Its calls are counted where the server does it, so the server must have an entry for it before it
 * has the connection: without one every call would be free.
 */
static int
stage_page(struct change *ch, struct capability *c)
{
	struct channel *channel = endpoint_channel(capability_entrypoint(c));
	int r;

	/* Who waits for a server is counted by that. */
	if (!capability_counts_calls(c) || !channel)
		return 0;
	r = pages_stage(channel, ch, c);
	if (r == -EDQUOT)
		return CONNECT_E_PAGES;
	return r < 0 ? CONNECT_E_MEMORY : 0;
}

/*
 * What it has in flight is paid for when it is sent; who could not pay is told now, as later it
 * could only be ended.
 */
static int
charge(struct connection *conn)
{
	if (connection_crowds(conn))
		return CONNECT_E_QUEUED;
	if (connection_charge(conn) < 0)
		return CONNECT_E_SOCKETS;
	return conn->channel && !connection_can_fly(conn) ? CONNECT_E_INFLIGHT : 0;
}

CLEANUP_DEFINE(struct connection *, connection_free)

/* Of a client whom the daemon answers serials are its own, and none has come yet. */
static uint64_t
first_serial(const struct entrypoint *e)
{
	if (!e)
		return 0;
	return endpoint_channel(e) ? channel_serial(endpoint_channel(e)) : queue_serial(e);
}

void
connect_make_room(const struct capability *c)
{
	struct channel *channel = endpoint_channel(capability_entrypoint(c));

	if (channel && capability_conns_left(c) == 0)
		channel_catch_up(channel);
}

/*
 * What needs no undoing comes first: all before the connection itself is only in the change, which
 * the caller aborts. FD is taken last.
 */
int
connect_stage(struct sockets *sockets, struct change *ch, struct capability *c,
	const struct arrival *arrival, struct connection **ret)
{
	cleanup(connection_free_p) struct connection *conn = NULL;
	struct entrypoint *e = capability_entrypoint(c);
	struct channel *channel = endpoint_channel(e);
	uint64_t cookie;
	int r;

	r = check(c);
	if (r == 0)
		r = check_queue(sockets, e);
	if (r == 0)
		r = count(ch, c);
	if (r == 0)
		r = stage_page(ch, c);
	if (r)
		return r;
	conn = connection_new(sockets, c);
	if (!conn)
		return CONNECT_E_MEMORY;
	r = charge(conn);
	if (r)
		return r;
	r = fd_socket_cookie(arrival->fd, &cookie);
	if (r < 0)
		return error_trace(r);
	r = connection_make_record(conn, cookie, arrival, first_serial(e));
	/* The channel's epoch, if it is new, is stored before a serial of it goes out. */
	if (r == 0 && channel)
		r = channel_stage_late(channel, ch);
	/*
	 * The other end of a pair goes with a reply, which must not be stored without this. What the daemon
	 * itself answers is stored with what that does.
	 */
	if (r == 0 && (arrival->client_cookie || conn->answers || !change_is_empty(ch) || !memo_place(sockets, conn->memo)))
		r = memo_stage(conn->memo, ch, NULL, 0);
	if (r == 0)
		r = connection_watch(conn, arrival->fd);
	if (r < 0)
		return CONNECT_E_MEMORY;
	*ret = take_ptr(conn);
	return 0;
}

/* The pages first: a server looks at the entry as soon as it has the connection. */
void
connect_publish(struct connection *conn)
{
	struct channel *channel = conn->channel;

	connection_publish(conn);
	if (conn->answers)
		return;
	conn->sockets->model->counters->offered++;
	if (!channel) {
		queue_hold_new(conn);
		return;
	}
	pages_publish(channel, conn->capability);
	counts_watch_capability(conn->sockets, conn->capability);
	channel_next_serial(channel);
	queue_enter(channel, conn);
	channel_pump(channel);
	channel_rest(channel);
}

/*
 * A negative answer is the daemon's own fault, or a client that has gone: counted, but nobody's
 * event, since the session could do nothing about it.
 */
static void
refuse_client(struct sockets *sockets, struct listener *l, const struct ucred *peer, int answer)
{
	const struct capability *c = capability_of(l->entity);
	cleanup_text struct text reason = {};
	int error;

	if (answer < 0) {
		counters_add(sockets->model->counters->connects_refused, 0);
		return;
	}
	error = connect_refused(sockets, c, answer, &reason);
	listener_log_refusal(l, peer->uid, error, reason.data ? reason.data : "");
}

/* Whatever happens the client hears of it: by its server, or by the end of the connection. */
static void
accepted(void *data, struct listener *l, int fd)
{
	struct capability *c = capability_of(l->entity);
	struct sockets *sockets = data;
	struct connection *conn = NULL;
	struct change *ch;
	struct arrival arrival = {.fd = fd};
	int r;

	sockets->model->counters->served[FRONT_SOCKET]++;
	connect_make_room(c);
	ch = change_begin(sockets->model);
	r = socket_peer(fd, &arrival.peer);
	if (r == 0)
		r = connect_stage(sockets, ch, c, &arrival, &conn);
	if (r) {
		change_abort(ch);
		socket_discard(sockets, fd, c->session);
		refuse_client(sockets, l, &arrival.peer, r);
		return;
	}
	r = change_commit(ch);
	if (r == 0) {
		connect_publish(conn);
		return;
	}
	core_fail(sockets, r);
	connection_free(conn);
	refuse_client(sockets, l, &arrival.peer, r == -ENOMEM ? CONNECT_E_MEMORY : CONNECT_E_STORE);
}

const struct endpoint_ops connect_ops = {
	.entity = ENTITY_CAPABILITY,
	.accepted = accepted,
	.gone = connections_gone,
};

/*
 * A connection of a predecessor is taken up if it could be made by now, and if the server is the
 * one that may have seen it. FD and MEMO are taken on success only.
 */
static int
restore(struct sockets *sockets, struct capability *c, int fd, struct memo *memo,
	struct connection **ret)
{
	cleanup(connection_free_p) struct connection *conn = NULL;
	struct entrypoint *e = capability_entrypoint(c);
	bool queued = memo->record.state == CONNECTION_QUEUED;

	if (check(c))
		return -ENOENT;
	/* What a server may have seen no other one gets, and it knows the entry where it counts. */
	if (!queued && e && (!endpoint_channel(e) ||
			       (capability_counts_calls(c) && !capability_page_index(c))))
		return -ENOENT;
	/* A broker died between the addition of some and the end of what was there before. */
	if (memo->record.connection.n_caveats != caveats_count(c))
		return -ENOENT;
	if (queued && (!e || !endpoint_get(sockets, e)))
		return -ENOMEM;
	conn = connection_new(sockets, c);
	if (!conn)
		return -ENOMEM;
	if (connection_watch(conn, fd) < 0)
		return -ENOMEM;
	connection_restore(conn, memo);
	*ret = take_ptr(conn);
	return 0;
}

void
connect_adopt(struct sockets *sockets, int fd, struct memo *memo)
{
	struct entity *e = entity_find(sockets->model, memo->record.owner);
	struct connection *conn;
	int r = -ENOENT;

	if (e && e->kind == ENTITY_CAPABILITY)
		r = restore(sockets, capability_of(e), fd, memo, &conn);
	if (r < 0) {
		socket_discard(sockets, fd, e ? entity_session(e) : sockets->model->root);
		memo_drop(sockets, memo);
		return;
	}
	/* It was paid for before. If others have used that up meanwhile, one of the two must go. */
	if (connection_charge_again(conn) < 0) {
		connection_free(conn);
		return;
	}
	connection_publish(conn);
	if (conn->answers)
		return;
	if (conn->channel)
		queue_enter(conn->channel, conn);
	else
		queue_hold(conn);
}
