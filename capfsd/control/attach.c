/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two control requests that give a descriptor: a channel to serve an entrypoint, and a
 * connected socket. perform.c calls them, with what was asked and the reply that they fill.
 *
 * Both make a pair, keep one end, and commit what that is together with the reply, in which the
 * other end's cookie stands: a successor finds both ends among its descriptors, and sends the reply
 * with the one that belongs to it. Until the commit nobody knows of either, and both are closed.
 *
 * Nothing here may fail once a change is committed, since a client that was told of an error would
 * ask again, for what it already has.
 */
#include "config.h"

#include "capfsd/control/attach.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capfsd/control/control.h"
#include "capfsd/control/delegated.h"
#include "capfsd/control/exchange.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/ops/grammar.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/connection.h"
#include "capfsd/sockets/serve.h"
#include "capfsd/verbs/verbs.h"
#include "wire/wire.h"

/* --- attach --- */

/* An attachment that is under way. */
struct attachment {
	struct exchange *exchange;
	struct channel *channel; /* NULL: not made yet */
	uint32_t flags;	 /* enum entrypoint_flags */
	uint64_t hold, backlog;
	struct channel_ways ways;
};

/* "fds=yes", "caveats=yes", "counts=yes", "pidfd=no", "aside", "visits": what the server can do with what it is handed. */
static bool
attach_ways(struct request *r, const struct command *c, struct attachment *a)
{
	bool fds = false, counts = false;

	/* Servers of 0.1.0 have no word for it, and expect one. */
	a->ways = (struct channel_ways){.pidfd = true, .aside = command_has(c, KEY_ASIDE),
		.visits = command_has(c, KEY_VISITS)};
	if (!command_yes(r, c, KEY_FDS, &fds) || !command_yes(r, c, KEY_CAVEATS, &a->ways.caveats) ||
		!command_yes(r, c, KEY_COUNTS, &counts) || !command_yes(r, c, KEY_PIDFD, &a->ways.pidfd))
		return false;
	if (a->ways.caveats && a->flags & ENTRYPOINT_LISTEN)
		return refuse(r, EOPNOTSUPP, "with mode=listen nobody could tell the server of caveats");
	if (counts && a->flags & ENTRYPOINT_LISTEN)
		return refuse(r, EOPNOTSUPP, "with mode=listen the server does not know for whom it counts");
	a->flags |= (fds ? ENTRYPOINT_FDS : 0) | (a->ways.caveats ? ENTRYPOINT_CAVEATS : 0) |
		(counts ? ENTRYPOINT_COUNTS : 0);
	return true;
}

/*
 * "once", "mode=listen", "hold=N", "backlog=N", and attach_ways(). Callers cannot wait where a
 * server accepts by itself, as nobody here sees them, nor at an entrypoint that ends with its server. Returns: whether that was
 * understood.
 */
static bool
attach_how(struct operation *o, struct attachment *a)
{
	const struct command *c = &o->command;
	struct request *r = o->request;

	if (command_has(c, KEY_ONCE))
		a->flags |= ENTRYPOINT_ONCE;
	if (command_is(c, KEY_MODE, "listen"))
		a->flags |= ENTRYPOINT_LISTEN;
	else if (command_has(c, KEY_MODE) && !command_is(c, KEY_MODE, "broker"))
		return refuse(r, EINVAL, "mode is broker or listen");
	if (command_has(c, KEY_HOLD) && !command_number(r, c, KEY_HOLD, &a->hold))
		return false;
	if (a->hold > ENTRYPOINT_HOLD_MAX)
		return refuse(r, EINVAL, "at most %d callers wait", ENTRYPOINT_HOLD_MAX);
	if (a->hold && a->flags)
		return refuse(r, EINVAL,
			"'hold' is for an entrypoint that stays, and not for mode=listen");
	if (command_has(c, KEY_BACKLOG) && !command_number(r, c, KEY_BACKLOG, &a->backlog))
		return false;
	if (command_has(c, KEY_BACKLOG) && (a->backlog < 1 || a->backlog > ENTRYPOINT_BACKLOG_MAX))
		return refuse(r, EINVAL, "a backlog is 1 to %d", ENTRYPOINT_BACKLOG_MAX);
	return attach_ways(r, c, a);
}

/*
 * The channel, with everything of it that can fail; its other end goes with the reply. A refusal
 * leaves the channel to attach_done().
 */
static int
attach_prepare(struct operation *o)
{
	struct attachment *a = o->state;
	struct exchange *x = a->exchange;
	struct session *s = o->session;
	struct entity *found;
	int r;

	if (!attach_how(o, a))
		return 0;
	/* One whose server went a moment ago need not wait for the loop to hear of it. */
	found = entity_find_name(
		o->request->model, s->entity.id, ENTITY_ENTRYPOINT, o->name.p, o->name.n);
	if (found)
		serve_look(entrypoint_of(found));
	r = serve_prepare(x->control->controls->sockets, s, &a->ways, &a->channel, &x->fd);
	if (r < 0)
		return refuse_system(
			o->request, r, &(struct about){.session = s, .kind = QUOTA_SOCKETS});
	return 0;
}

/*
 * The entrypoint, how many may wait, and the record of the channel go with one change: an
 * entrypoint that is stored as served without a channel would be taken for an orphan by the next
 * broker.
 */
static int
attach_stage(struct operation *o)
{
	const struct attachment *a = o->state;
	struct request *r = o->request;
	struct entrypoint *e;
	int answer;

	answer = entrypoint_attach(
		o->change, o->session, o->name.p, o->name.n, a->flags, r->pid, &e);
	/* With a command callers wait for that, whatever its server says of others. */
	if (answer == 0)
		answer = entrypoint_wait(o->change, e,
			e->command ? e->record.hold : (uint16_t)a->hold, (uint32_t)a->backlog);
	if (answer == 0)
		answer = serve_stage(a->channel, o->change, e);
	if (answer < 0)
		return answer;
	if (answer > 0)
		return refuse_entrypoint(r, answer, &(struct about){.session = o->session});
	r->made = &e->entity;
	text_addf(&r->text, "entrypoint=%.*s", (int)o->name.n, o->name.p);
	operation_tell(o, o->session, " entrypoint=%.*s uid=%u", (int)o->name.n, o->name.p,
		(unsigned)r->uid);
	return 0;
}

static void
attach_done(struct operation *o, bool committed)
{
	struct attachment *a = o->state;

	if (committed)
		serve_publish(a->channel, entrypoint_of(o->request->made));
	else
		serve_abandon(a->channel);
}

const struct verb verb_attach = {
	VERB_ROW(ATTACH, attach),
	.keys = KEY_BIT(KEY_ONCE) | KEY_BIT(KEY_MODE) | KEY_BIT(KEY_HOLD) | KEY_BIT(KEY_FDS) |
		KEY_BIT(KEY_CAVEATS) | KEY_BIT(KEY_COUNTS) | KEY_BIT(KEY_BACKLOG) | KEY_BIT(KEY_PIDFD) | KEY_BIT(KEY_ASIDE) |
		KEY_BIT(KEY_VISITS),
	.wordless = true,
	.prepare = attach_prepare,
	.stage = attach_stage,
	.done = attach_done,
};

/*
 * Whose entrypoint it is follows from the path, since a session may attach for its children as
 * well.
 */
int
perform_attach(struct exchange *x)
{
	struct attachment attachment = {.exchange = x};
	struct operation o;
	struct node at;
	int e;

	o = exchange_operation(x, &verb_attach, NULL, NULL);
	o.state = &attachment;
	if (exchange_split(x, &at, &o.name))
		return 0;
	if (at.row->children != ENTITY_ENTRYPOINT)
		return refuse(&x->request, EPERM, "only entrypoints/NAME is served");
	o.session = tree_session_of(at);
	o.subject = &o.session->entity;
	e = verb_run(&o);
	if (x->request.error)
		x->fd = fd_close(x->fd);
	return e;
}

/* --- open --- */

/* A connection that is being made over a pair, of which the client gets the exchange's end. */
struct opening {
	struct exchange *exchange;
	struct connection *connection; /* NULL: not staged */
	int fd;			       /* the server's end, until that is the connection's */
};

/*
 * The other end of the pair is known to the connection by its cookie: by that an inspector's word
 * about such a socket is joined to the capability, as a pair has no name.
 */
static int
open_stage(struct operation *o)
{
	struct opening *opening = o->state;
	struct capability *c = capability_of(o->subject);
	struct control *control = opening->exchange->control;
	struct sockets *sockets = control->controls->sockets;
	struct arrival arrival = {.fd = opening->fd, .peer = control->peer};
	cleanup_text struct text reason = {};
	int answer, error;

	/* Only who serves it now: another one could not know what the client waits for. */
	arrival.aside = command_has(&o->command, KEY_ASIDE) && serve_steps_aside(capability_entrypoint(c));
	answer = fd_socket_cookie(opening->exchange->fd, &arrival.client_cookie);
	if (answer == 0)
		answer = connect_stage(sockets, o->change, c, &arrival, &opening->connection);
	if (answer == 0)
		opening->fd = -1;
	if (answer == 0 && arrival.aside)
		text_add(&o->request->text, "aside");
	if (answer <= 0)
		return answer;
	error = connect_refused(sockets, c, answer, &reason);
	return refuse(o->request, error, "%s", reason.data ? reason.data : "");
}

/* The server's end is the connection's once that is staged, and only until then closed here. */
static void
open_done(struct operation *o, bool committed)
{
	struct opening *opening = o->state;

	opening->fd = fd_close(opening->fd);
	if (committed)
		connect_publish(opening->connection);
	else
		connection_free(opening->connection);
}

const struct verb verb_open = {
	VERB_ROW(OPEN, open),
	.keys = KEY_BIT(KEY_ASIDE),
	.wordless = true,
	.stage = open_stage,
	.done = open_done,
};

/*
 * The capability that is to be opened. Its directory or its socket may be named, whichever a client
 * has at hand. NULL: refused.
 */
static struct capability *
open_find(struct exchange *x)
{
	struct request *r = &x->request;
	struct capability *c;
	struct node node;
	int e;

	e = tree_walk(r->model, control_root(x->control), x->asked->path, x->asked->n_path, &node);
	if (e) {
		refuse(r, e, "there is no such slot");
		return NULL;
	}
	/* Their server has no connection of ours: one made here would come to nobody. */
	if (node.entity->kind == ENTITY_OBJECT) {
		refuse(r, EOPNOTSUPP, "its server accepts by itself: connect to its socket");
		return NULL;
	}
	if (node.entity->kind != ENTITY_CAPABILITY ||
		(node.row->name && node.row->type != ROW_SOCKET)) {
		refuse(r, EINVAL, "only caps/SLOT is opened");
		return NULL;
	}
	c = capability_of(node.entity);
	if (!capability_service(c).entrypoint && !capability_service(c).answered) {
		refuse(r, ECONNREFUSED, "nobody serves it");
		return NULL;
	}
	if (capability_service(c).listens)
		refuse(r, EOPNOTSUPP, "its server accepts by itself: connect to its socket");
	else if (capability_service(c).controlled)
		refuse(r, EOPNOTSUPP, "the control protocol is spoken there: connect to its socket");
	return r->error ? NULL : c;
}

/*
 * For clients that cannot reach the mount's sockets by connect(2), or want to be told why they may
 * not: whoever is refused after connect(2) sees nothing but an end.
 */
int
perform_open(struct exchange *x)
{
	struct opening opening = {.exchange = x};
	struct capability *c = open_find(x);
	struct operation o;
	int e, fds[2];

	if (!c)
		return 0;
	connect_make_room(c);
	e = fd_socketpair(capability_service(c).socket, fds);
	if (e < 0)
		return refuse(&x->request, -e, "the daemon has no descriptor left");
	opening.fd = fds[0];
	x->fd = fds[1];
	/* As long as we have it; its owner may take some. */
	(void)fd_refuse_descriptors(x->fd);
	o = exchange_operation(x, &verb_open, c->session, &c->entity);
	o.state = &opening;
	e = verb_run(&o);
	/* Refused before it was staged. */
	opening.fd = fd_close(opening.fd);
	if (x->request.error)
		x->fd = fd_close(x->fd);
	return e;
}
