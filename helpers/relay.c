/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "helpers/backend.h"
#include "helpers/peer.h"
#include "helpers/proxy-header.h"

#define CONNECT_DEADLINE_USEC (UINT64_C(10) * 1000000)
#define CONNECT_RETRY_USEC 20000
#define CLOSING_DEADLINE_USEC (UINT64_C(30) * 1000000)
#define CLOSING_MAX 8 /* of one session */

enum side_index {
	CLIENT,
	SERVER,
};

struct relay {
	struct relays *relays;
	struct list link;
	uint64_t since_usec; /* when it came into the list that it is in, or moved to its end */
	struct side sides[2];
	char label[96]; /* of the client's session */
	uid_t uid;
	gid_t gid;
	bool aside;   /* the client goes on with the server's side by itself */
	bool stepped; /* it does */
	bool dead;
};

static void
relay_move(struct relay *r, struct list *to)
{
	list_unlink(&r->link);
	list_append(to, &r->link);
	r->since_usec = r->relays->loop->now_usec;
}

/* Both sides see the end; the memory stays until the round is over. */
static void
relay_end(struct relay *r)
{
	struct relays *all = r->relays;

	if (r->dead)
		return;
	r->dead = true;
	for (int i = 0; i < 2; i++) {
		struct side *s = &r->sides[i];

		loop_remove(all->loop, &s->source);
		side_drop(s);
	}
	/* The daemon holds a duplicate of the client's, which only a shutdown reaches. */
	capc_raw_close(take_fd(r->sides[CLIENT].source.fd));
	fd_shutdown_close(take_fd(r->sides[SERVER].source.fd));
	relay_move(r, &all->dead);
	all->n--;
	if (all->service && all->n < all->options.max)
		service_resume(all->service);
}

static void
relay_refuse(struct relay *r, enum side_index i, const char *why)
{
	message_limited(&r->relays->limit, r->relays->loop->now_usec, "%s: %s %s; the connection is closed",
		r->label, i == CLIENT ? "the client" : "the server", why);
	relay_end(r);
}

static void
relay_pump(struct relay *r, enum side_index i)
{
	const char *why = r->dead ? NULL : side_pump(&r->sides[i]);

	if (why)
		relay_refuse(r, i, why);
}

static void
relay_watch(struct relay *r, enum side_index i)
{
	struct side *s = &r->sides[i];
	uint32_t events = side_events(s);
	int e;

	if (r->dead || s->hung_up)
		return;
	e = loop_modify(r->relays->loop, &s->source, events);
	if (e == 0 && s->unread && events & EPOLLET)
		e = loop_renew(r->relays->loop, &s->source);
	s->unread = false;
	if (e < 0)
		relay_end(r);
}

static void
relay_watch_both(struct relay *r)
{
	relay_watch(r, CLIENT);
	relay_watch(r, SERVER);
}

/* Whether the client left or was revoked is seen in a moment; until then nothing moves. */
static void
relay_suspect(struct relay *r)
{
	loop_remove(r->relays->loop, &r->sides[SERVER].source);
	relay_move(r, &r->relays->suspects);
}

/*
 * The client is gone, so that its limits no longer count what it left here. Of each session the
 * latest few go on; the others end, and with them what the server did not take.
 */
static void
relay_linger(struct relay *r)
{
	struct relays *all = r->relays;
	unsigned n = 0;

	relay_move(r, &all->closing);
	for (struct list *i = all->closing.prev, *before; i != &all->closing; i = before) {
		struct relay *one = list_entry(i, struct relay, link);

		before = i->prev;
		if (strcmp(one->label, r->label) != 0 || ++n <= CLOSING_MAX)
			continue;
		message_limited(&all->limit, all->loop->now_usec,
			"%s: more than %d of its clients have left before the server took what they "
			"sent; the rest of the oldest one's is dropped",
			r->label, CLOSING_MAX);
		relay_end(one);
	}
}

static void
relay_decide(struct relay *r)
{
	struct side *server = &r->sides[SERVER];

	if (peer_state(r->sides[CLIENT].source.fd) == PEER_OPEN ||
		(!server->hung_up && loop_add(r->relays->loop, &server->source, 0) < 0)) {
		relay_end(r);
		return;
	}
	relay_linger(r);
	relay_watch(r, SERVER);
}

static void
relay_run(struct relay *r, enum side_index i, uint32_t events)
{
	struct side *s = &r->sides[i];
	struct relays *all = r->relays;
	bool hung_up = events & (EPOLLHUP | EPOLLERR);
	bool gone = hung_up && i == CLIENT;
	/* Both have said their last word: the client is there and shut down, and nobody was revoked. */
	bool over = r->sides[SERVER].passed;

	r->sides[CLIENT].moved = r->sides[SERVER].moved = false;
	if (hung_up) {
		/* Level-triggered, it would be told again and again; what is queued can be read. */
		loop_remove(all->loop, &s->source);
		s->hung_up = true;
		side_deafen(s);
	}
	s->to_end = hung_up || events & (EPOLLPRI | EPOLLRDHUP);
	/* Only what this end is ready for: a look at the other one would find nothing, each time. */
	if (hung_up || events & EPOLLIN)
		relay_pump(r, i);
	if (hung_up || events & EPOLLOUT)
		relay_pump(r, !i);
	if (r->dead)
		return;
	if (side_is_done(&r->sides[CLIENT]) && side_is_done(&r->sides[SERVER])) {
		relay_end(r);
		return;
	}
	if (gone && !over && peer_state(s->source.fd) == PEER_OPEN) {
		relay_suspect(r);
		return;
	}
	if (gone)
		relay_linger(r);
	else if (hung_up || r->sides[CLIENT].moved || r->sides[SERVER].moved)
		relay_move(r, r->sides[CLIENT].hung_up ? &all->closing : &all->active);
	relay_watch_both(r);
}

static void
client_run(struct source *source, uint32_t events)
{
	relay_run(container_of(source, struct relay, sides[CLIENT].source), CLIENT, events);
}

static void
server_run(struct source *source, uint32_t events)
{
	relay_run(container_of(source, struct relay, sides[SERVER].source), SERVER, events);
}

/* The end of either is that of the other; a client that has the connection shuts it down to end it. */
static void
aside_server_run(struct source *source, uint32_t events)
{
	relay_end(container_of(source, struct relay, sides[SERVER].source));
}

static void
aside_client_run(struct source *source, uint32_t events)
{
	struct relay *r = container_of(source, struct relay, sides[CLIENT].source);
	struct relays *all = r->relays;
	int e = r->stepped || events & (EPOLLHUP | EPOLLERR)
		? -ECONNRESET : capc_step_aside(source->fd, r->sides[SERVER].source.fd);

	if (e == -EAGAIN)
		return;
	if (e == 0)
		e = loop_modify(all->loop, source, 0);
	if (e == 0)
		e = loop_add(all->loop, &r->sides[SERVER].source, 0);
	if (e == 0) {
		r->stepped = true;
		relay_move(r, &all->aside);
		return;
	}
	if (e != -ECONNRESET)
		message_limited(&all->limit, all->loop->now_usec, "%s: the connection cannot be handed on: %s",
			r->label, error_name(e));
	relay_end(r);
}

/* A header is small, and nothing was sent before it. */
static int
relay_start_aside(struct relay *r)
{
	struct side *client = &r->sides[CLIENT];

	if (client->n > 0 && send(r->sides[SERVER].source.fd, client->pending, client->n,
				     MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)client->n)
		return -ECONNRESET;
	client->source.run = aside_client_run;
	r->sides[SERVER].source.run = aside_server_run;
	relay_move(r, &r->relays->asking);
	return loop_add(r->relays->loop, &client->source, EPOLLIN);
}

/* The server has accepted: both sides begin to run. */
static void
relay_start(struct relay *r, int server_fd)
{
	struct relays *all = r->relays;

	r->sides[SERVER].source.fd = server_fd;
	if (r->aside) {
		if (relay_start_aside(r) < 0)
			relay_end(r);
		return;
	}
	relay_move(r, &all->active);
	for (int i = 0; i < 2; i++) {
		int e = side_start(&r->sides[i]);

		if (e == 0)
			e = loop_add(all->loop, &r->sides[i].source, side_events(&r->sides[i]));
		if (e < 0) {
			message_limited(
				&all->limit, all->loop->now_usec, "epoll: %s", error_name(e));
			relay_end(r);
			return;
		}
	}
	/* A header goes now, without waiting to be told that there is room; some servers speak only after it. */
	side_flush_pending(&r->sides[CLIENT]);
	relay_watch_both(r);
	relays_check(all);
}

/* What passes by itself: the server is busy, or is started again. */
static bool
is_awaited(const struct relay *r, int e)
{
	const struct relays *all = r->relays;
	uint64_t waited = all->loop->now_usec - r->since_usec;

	if (e == -EAGAIN)
		return waited < CONNECT_DEADLINE_USEC;
	return (e == -ENOENT || e == -ECONNREFUSED) && waited < all->options.wait_usec;
}

/* Returns: false, when it must be tried again. */
static bool
relay_connect(struct relay *r)
{
	struct relays *all = r->relays;
	const struct relays_options *o = &all->options;
	int fd = o->connect(o->data, r->sides[CLIENT].source.fd, r->uid, r->gid);

	if (fd >= 0) {
		relay_start(r, fd);
		return true;
	}
	if (is_awaited(r, fd))
		return false;
	message_limited(&all->limit, all->loop->now_usec, "%s: %s%s%s", o->path,
		fd == -EAGAIN ? "its backlog stays full: " : "", error_name(fd), backend_advice(fd));
	relay_end(r);
	return true;
}

/* The header is as if the client had sent it before anything else. */
static int
relay_introduce(struct relay *r, const struct capc_caller *caller)
{
	cleanup_text struct text header = {};
	struct side *client = &r->sides[CLIENT];
	int e = r->relays->options.send_proxy ? proxy_header(caller, &header) : 0;

	if (e < 0 || header.n == 0)
		return e;
	client->n = header.n;
	client->pending = text_take(&header);
	return 0;
}

static void
relay_turn_away(struct relays *all, int client_fd, const char *label, const char *why)
{
	message_limited(&all->limit, all->loop->now_usec, "%.95s: refused: %s", label, why);
	capc_raw_close(client_fd);
}

void
relays_add(struct relays *all, int client_fd, const struct capc_caller *caller)
{
	const char *label = caller->label ? caller->label : "";
	struct relay *r = calloc(1, sizeof(*r));
	int e;

	if (!r) {
		relay_turn_away(all, client_fd, label, "ENOMEM");
		return;
	}
	r->relays = all;
	r->sides[CLIENT] = (struct side){.source = {.fd = -1, .run = client_run}};
	r->sides[SERVER] = (struct side){.source = {.fd = -1, .run = server_run, .late = true}};
	for (int i = 0; i < 2; i++) {
		r->sides[i].other = &r->sides[!i];
		r->sides[i].mover = &all->mover;
	}
	e = relay_introduce(r, caller);
	if (e < 0) {
		free(r);
		relay_turn_away(all, client_fd, label, e == -ENAMETOOLONG
			? "its label or its caveats are longer than a PROXY header can say" : error_name(e));
		return;
	}
	r->sides[CLIENT].source.fd = client_fd;
	strncat(r->label, label, sizeof(r->label) - 1);
	r->aside = caller->aside;
	r->uid = caller->uid;
	r->gid = caller->gid;
	r->since_usec = all->loop->now_usec;
	list_append(&all->connecting, &r->link);
	all->n++;
	if (all->service && all->n >= all->options.max)
		service_pause(all->service);
	relay_connect(r);
}

void
relays_check(struct relays *all)
{
	if (all->checked)
		return;
	all->checked = true;
	backend_warn(all->options.path);
}

static void
end_expired(struct list *l, uint64_t now, uint64_t after_usec)
{
	list_for_each_safe (i, l) {
		struct relay *r = list_entry(i, struct relay, link);

		if (now - r->since_usec < after_usec)
			return;
		relay_end(r);
	}
}

/* In their order; those whose client did not wait end. */
static void
connect_waiting(struct relays *all)
{
	bool full = false;

	list_for_each_safe (i, &all->connecting) {
		struct relay *r = list_entry(i, struct relay, link);
		struct pollfd p = {.fd = r->sides[CLIENT].source.fd};

		full = full || !relay_connect(r);
		if (full && poll(&p, 1, 0) > 0)
			relay_end(r);
	}
}

static void
decide_suspects(struct relays *all)
{
	list_for_each_safe (i, &all->suspects) {
		struct relay *r = list_entry(i, struct relay, link);

		if (all->loop->now_usec - r->since_usec < PEER_GRACE_USEC)
			return;
		relay_decide(r);
	}
}

void
relays_tend(struct relays *all)
{
	uint64_t now = all->loop->now_usec;

	connect_waiting(all);
	decide_suspects(all);
	if (all->options.idle_usec > 0)
		end_expired(&all->active, now, all->options.idle_usec);
	end_expired(&all->closing, now, CLOSING_DEADLINE_USEC);
	end_expired(&all->asking, now, CONNECT_DEADLINE_USEC);
	list_for_each_safe (i, &all->dead) {
		struct relay *r = list_entry(i, struct relay, link);

		list_unlink(i);
		free(r);
	}
}

static uint64_t
time_left(const struct list *l, uint64_t now, uint64_t after_usec)
{
	const struct relay *r;
	uint64_t age;

	if (list_empty(l))
		return UINT64_MAX;
	r = list_entry(l->next, const struct relay, link);
	age = now - r->since_usec;
	return age < after_usec ? after_usec - age : 0;
}

uint64_t
relays_timeout(const struct relays *all)
{
	uint64_t now = all->loop->now_usec, left, timeout;

	timeout = list_empty(&all->connecting) ? UINT64_MAX : CONNECT_RETRY_USEC;
	if (all->options.idle_usec > 0) {
		left = time_left(&all->active, now, all->options.idle_usec);
		timeout = left < timeout ? left : timeout;
	}
	left = time_left(&all->suspects, now, PEER_GRACE_USEC);
	timeout = left < timeout ? left : timeout;
	left = time_left(&all->closing, now, CLOSING_DEADLINE_USEC);
	timeout = left < timeout ? left : timeout;
	left = time_left(&all->asking, now, CONNECT_DEADLINE_USEC);
	return left < timeout ? left : timeout;
}

int
relays_init(struct relays *all, struct loop *l, struct service *s, const struct relays_options *o)
{
	*all = (struct relays){.loop = l, .service = s, .options = *o};
	list_init(&all->connecting);
	list_init(&all->asking);
	list_init(&all->aside);
	list_init(&all->active);
	list_init(&all->suspects);
	list_init(&all->closing);
	list_init(&all->dead);
	return mover_init(&all->mover, o->seqpacket);
}

void
relays_deinit(struct relays *all)
{
	struct list *const lists[] = {
		&all->connecting, &all->asking, &all->aside, &all->active, &all->suspects, &all->closing};

	all->options.max = 0; /* nothing more is taken */
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each_safe (j, lists[i])
			relay_end(list_entry(j, struct relay, link));
	list_for_each_safe (i, &all->dead) {
		struct relay *r = list_entry(i, struct relay, link);

		list_unlink(i);
		free(r);
	}
	mover_deinit(&all->mover);
}
