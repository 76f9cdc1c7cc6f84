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
#include "capfsd/listeners/binding.h"
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
#include "wire/pages.h"

#define AGAIN_USEC 100000
#define UNTAKEN_MIN 8 /* of a slot, or half of what its session may have, whatever others use */

/* What a client is told of a refusal, by its answer. */
static const struct {
	const char *reason; /* NULL: it is shown the account of QUOTA */
	enum quota_kind quota;
} refusals[CONNECT_N_ANSWERS] = {
	[CONNECT_E_ENDED] = {"the capability has ended", 0},
	[CONNECT_E_RIGHT] = {"it lacks right ", 0},
	[CONNECT_E_UNSERVED] = {"nobody serves it", 0},
	[CONNECT_E_CALLS] = {"its calls are used up", 0},
	[CONNECT_E_CONNS] = {"its conns are in use", 0},
	[CONNECT_E_RATE] = {"its rate is reached", 0},
	[CONNECT_E_QUEUED] = {"as many as may wait for its server already do", 0},
	[CONNECT_E_SOCKETS] = {NULL, QUOTA_SOCKETS},
	[CONNECT_E_INFLIGHT] = {NULL, QUOTA_INFLIGHT},
	[CONNECT_E_PAGES] = {"its server can count no more capabilities", 0},
	[CONNECT_E_STORE] = {"the state store is full", 0},
	[CONNECT_E_MEMORY] = {"the daemon is out of memory", 0},
};

/* Of those that nobody is there for, some have a reason of their own. */
static const char *
unserved_reason(const struct capability *c)
{
	struct passage p;

	if (capability_service(c).controlled)
		return "the control protocol is spoken there, at its socket alone";
	passage_init(&p, c);
	if (passage_ask(&p, PASSAGE_ONLY))
		return "its server does not ask for caveats, or there are more than it can be told";
	if (passage_ask(&p, PASSAGE_VISIT))
		return "its server has not accepted the visit yet";
	return refusals[CONNECT_E_UNSERVED].reason;
}

/*
 * Told to the client by whoever called this; here it is counted, as all refusals are in one place.
 */
int
connect_refused(struct sockets *sockets, const struct capability *c, int answer, struct text *t)
{
	assert(answer > 0 && answer < CONNECT_N_ANSWERS);
	counters_add(sockets->model->counters->connects_refused, answer);
	if (answer == CONNECT_E_UNSERVED)
		text_add(t, unserved_reason(c));
	else if (refusals[answer].reason)
		text_add(t, refusals[answer].reason);
	else
		text_account(c->session, refusals[answer].quota, t);
	if (answer == CONNECT_E_RIGHT) {
		text_add(t, "'");
		rights_format(capability_type(c)->connects, t);
		text_add(t, "'");
	}
	return connect_errno(answer);
}

/*
 * Each capability of C's line that has no entry in the pages of its server gets one; an index that was used before
 * only when enough of these lie there (pages.c). The server's session pays for the memory, in steps.
 */
static bool
pages_fit(const struct channel *channel, const struct capability *c)
{
	static const struct pages none;
	const struct pages *p = channel->endpoint->pages ? channel->endpoint->pages : &none;
	uint32_t missing = 0, again, fresh = PAGES_ENTRIES - 1 - p->n_given, n_slots;

	for (; c && !pages_have(p, c); c = c->parent)
		missing++;
	again = p->n_free > PAGES_QUARANTINE ? p->n_free - PAGES_QUARANTINE : 0;
	again = again < missing ? again : missing;
	fresh = fresh < missing - again ? fresh : missing - again;
	n_slots = pages_slots(p->n_given + fresh + 1);
	return missing - fresh <= p->n_free &&
		(n_slots <= p->n_slots || (n_slots - p->n_slots) * PAGES_SLOT_BYTES <=
						  quota_available(channel->entrypoint->session, QUOTA_RAM));
}

/*
 * A slot has at most half of what the others leave to it: however many services hang, there is
 * something left for the next one. A burst of clients of a small session is none of that. Listeners that were only
 * looked at leave all of theirs.
 */
static bool
crowds(const struct sockets *sockets, const struct session *s, const struct listener *l)
{
	uint64_t n = l ? l->n_untaken : 0, left = quota_available(s, QUOTA_SOCKETS) + n;
	uint64_t least = s->record.limit.n[QUOTA_SOCKETS] / 2;
	struct listener *oldest;

	if (least > UNTAKEN_MIN)
		least = UNTAKEN_MIN;
	if (n == 0 || n < least || n < left / 2)
		return false;
	return n >= (left + listener_idle(sockets, s, l, &oldest)) / 2;
}

/* If need be with what is paid for idle listeners but L. */
static bool
can_pay(const struct sockets *sockets, const struct session *s, const struct listener *l, unsigned n)
{
	uint64_t left = quota_available(s, QUOTA_SOCKETS);
	struct listener *oldest;

	return left >= n || left + listener_idle(sockets, s, l, &oldest) >= n;
}

/* What a connection takes beside N_SOCKETS is known for who makes one now, and for who asks what would be. */
static void
look(struct sockets *sockets, struct capability *c, unsigned n_sockets, struct passage *p)
{
	const struct entrypoint *e = capability_entrypoint(c);
	const struct channel *channel = endpoint_channel(e);
	const struct listener *l = listener_find(&c->entity);

	endpoint_look(c, p);
	if (capability_service(c).listens) {
		p->unbound = !binding_is_ready(sockets, c->target);
		return;
	}
	p->n_sockets = n_sockets;
	p->no_sockets = !can_pay(sockets, c->session, l, n_sockets);
	p->crowds = crowds(sockets, c->session, l);
	p->no_inflight = channel && !connections_can_fly(c->session, l);
	/* What is fetched or posted is in flight, the connection itself is not. */
	if (p->calls && capability_service(c).copies)
		p->no_inflight = quota_available(c->session, QUOTA_INFLIGHT) == 0;
	/* Who waits for a server is counted by that. */
	p->no_pages = channel && capability_counts_calls(c) && !pages_fit(channel, c);
	if (p->calls)
		p->no_rate = counts_no_rate(c);
}

void
connect_look(struct sockets *sockets, struct capability *c, struct passage *p)
{
	const struct listener *l = listener_find(&c->entity);

	look(sockets, c, l && l->charge.session ? 1 : 2, p);
}

/* Who has connected, and is to be let in by what CH leaves. */
static int
check(struct sockets *sockets, struct change *ch, struct capability *c)
{
	struct passage p;

	passage_init(&p, c);
	p.change = ch;
	look(sockets, c, 1, &p);
	return passage_check(&p, PASSAGE_ALL, NULL);
}

int
connect_count(struct sockets *sockets, struct change *ch, struct capability *c)
{
	int answer = check(sockets, ch, c);

	if (answer == 0 && capability_count(ch, c) < 0)
		return CONNECT_E_MEMORY;
	return answer;
}

/*
 * The endpoint of one who waits for a server is made here, while it may still fail. Clients of the control protocol are
 * no struct connection, and come by another way.
 */
static int
prepare(struct sockets *sockets, struct change *ch, struct capability *c)
{
	struct entrypoint *e = capability_entrypoint(c);
	int answer = capability_service(c).controlled ? CONNECT_E_UNSERVED : check(sockets, ch, c);

	if (answer == 0 && e && !endpoint_get(sockets, e))
		return CONNECT_E_MEMORY;
	return answer;
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

	r = prepare(sockets, ch, c);
	if (r == 0)
		r = stage_page(ch, c);
	if (r)
		return r;
	if (capability_count(ch, c) < 0)
		return CONNECT_E_MEMORY;
	conn = connection_new(sockets, c);
	if (!conn)
		return CONNECT_E_MEMORY;
	/* What it has in flight is paid for when it is sent. */
	if (connection_charge(conn) < 0)
		return CONNECT_E_SOCKETS;
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

/* Is there a limit that would keep out who comes by L, and that others who have left may still count against? */
static bool
is_tight(const struct sockets *sockets, const struct capability *c, const struct listener *l)
{
	const struct entrypoint *e = capability_entrypoint(c);

	if (capability_conns_left(c) == 0 || quota_available(c->session, QUOTA_SOCKETS) == 0 ||
		crowds(sockets, c->session, l))
		return true;
	if (endpoint_channel(e))
		return !connections_can_fly(c->session, l);
	return e && endpoint_n_queued(e) >= e->record.hold;
}

/*
 * Who connects comes before the ends of others, and what servers said of them, that were told along with it
 * (WATCH_NEW). Where that leaves too little room it is their turn first.
 */
static void
settle_if_tight(struct sockets *sockets, struct capability *c, struct listener *l)
{
	if (!is_tight(sockets, c, l))
		return;
	watches_settle(sockets->watches);
	connect_make_room(c);
}

/*
 * Whatever happens the client hears of it: by its server, or by the end of the connection. L is still needed for
 * a refusal.
 */
static void
let_in(struct sockets *sockets, struct listener *l, int fd)
{
	struct capability *c = capability_of(l->entity);
	struct connection *conn = NULL;
	struct change *ch;
	struct arrival arrival = {.fd = fd};
	int r;

	settle_if_tight(sockets, c, l);
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

static void
accepted(void *data, struct listener *l, int fd)
{
	struct sockets *sockets = data;

	sockets->model->counters->served[FRONT_SOCKET]++;
	listener_hold(l);
	let_in(sockets, l, fd);
	listener_unhold(l);
}

void
connect_again(struct connection *conn)
{
	list_unlink(&conn->channel_link);
	list_append(&conn->sockets->connections->again, &conn->channel_link);
	core_resume_later(conn->sockets, AGAIN_USEC);
}

static void
resume(void *data)
{
	struct sockets *sockets = data;
	struct list *again = &sockets->connections->again, end;

	/* Those that are to be looked at once more come behind it. */
	list_init(&end);
	list_append(again, &end);
	while (list_first(again) != &end) {
		struct connection *conn = list_entry(list_first(again), struct connection, channel_link);

		list_unlink(&conn->channel_link);
		conn->answers->io(conn);
	}
	list_unlink(&end);
}

const struct endpoint_ops connect_ops = {
	.entity = ENTITY_CAPABILITY,
	.accepted = accepted,
	.gone = connections_gone,
	.resume = resume,
};

/* What it counts for was counted: what is asked again is whether it may be, and for whom. */
static bool
may_stay(const struct capability *c)
{
	struct passage p;

	passage_init(&p, c);
	endpoint_look(c, &p);
	return passage_check(&p, PASSAGE_LISTEN, NULL) == 0 && !passage_ask(&p, PASSAGE_ONLY) &&
		!passage_ask(&p, PASSAGE_VISIT);
}

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

	if (!may_stay(c) || capability_service(c).controlled)
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
	if (conn->answers && conn->answers->adopted)
		conn->answers->adopted(conn);
	if (conn->answers)
		return;
	if (conn->channel)
		queue_enter(conn->channel, conn);
	else
		queue_hold(conn);
}
