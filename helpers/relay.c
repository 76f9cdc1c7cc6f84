/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "helpers/backend.h"
#include "helpers/peer.h"
#include "helpers/proxy-header.h"

/* A packet is never longer than a socket's default buffer; a longer one is refused. */
#define BUFFER_STREAM_BYTES 65536
#define BUFFER_SEQPACKET_BYTES 262144
#define ROUNDS_MAX 8 /* so that one busy relay does not keep the others waiting */
#define CONNECT_DEADLINE_USEC (UINT64_C(10) * 1000000)
#define CONNECT_RETRY_USEC 20000
#define CLOSING_DEADLINE_USEC (UINT64_C(30) * 1000000)
#define CLOSING_MAX 8 /* of one session */

enum side_index {
	CLIENT,
	SERVER,
};

/* One end, and the direction that leads from it to the other one. */
struct side {
	struct source source;
	struct relay *relay;
	char *pending; /* read here, not yet written to the other side; NULL: nothing */
	size_t start, n;
	bool ended;   /* nothing more comes from here */
	bool passed;  /* … and the other side has been told */
	bool deaf;    /* nothing can be written to it any more */
	bool hung_up; /* both; it is no longer in the loop */
};

struct relay {
	struct relays *relays;
	struct list link;
	uint64_t since_usec; /* when it came into the list that it is in, or moved to its end */
	struct side sides[2];
	char label[96]; /* of the client's session */
	uid_t uid;
	gid_t gid;
	bool moved;	/* bytes, in this turn */
	bool dead;
};

static struct side *
other(struct side *s)
{
	return &s->relay->sides[s == &s->relay->sides[CLIENT] ? SERVER : CLIENT];
}

static const char *
side_name(const struct side *s)
{
	return s == &s->relay->sides[CLIENT] ? "the client" : "the server";
}

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
		free(take_ptr(s->pending));
	}
	/* The daemon holds a duplicate of the client's, which only a shutdown reaches. */
	capc_raw_close(take_fd(r->sides[CLIENT].source.fd));
	fd_shutdown_close(take_fd(r->sides[SERVER].source.fd));
	relay_move(r, &all->dead);
	all->n--;
	if (all->service && all->n < all->options.max)
		service_resume(all->service);
}

/* Who writes what nobody will read is told so, and does not wait for room in vain. */
static void
side_deafen(struct side *s)
{
	struct side *from = other(s);

	s->deaf = true;
	free(take_ptr(from->pending));
	shutdown(from->source.fd, SHUT_RD);
}

/* Writes what is pending from S. Returns: whether all of it has gone. */
static bool
side_flush(struct side *s, const char *data, size_t n, size_t *ret_sent)
{
	struct side *to = other(s);
	ssize_t sent;

	*ret_sent = 0;
	/* At least once: a packet may be empty. */
	do {
		sent = send(to->source.fd, data + *ret_sent, n - *ret_sent,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR && errno != EAGAIN && errno != ENOBUFS) {
			side_deafen(to);
			return true;
		}
		if (sent < 0 && errno != EINTR)
			return false;
		s->relay->moved = true;
		*ret_sent += sent > 0 ? (size_t)sent : 0;
	} while (*ret_sent < n);
	return true;
}

static bool
side_flush_pending(struct side *s)
{
	size_t sent;
	bool done;

	if (!s->pending)
		return true;
	done = side_flush(s, s->pending + s->start, s->n - s->start, &sent);
	s->start += sent;
	if (done)
		free(take_ptr(s->pending));
	return done;
}

/* Keeps a copy of what could not be written. Returns: 0 or -ENOMEM. */
static int
side_keep(struct side *s, const char *data, size_t n)
{
	s->pending = malloc(n > 0 ? n : 1);
	if (!s->pending)
		return -ENOMEM;
	memcpy(s->pending, data, n);
	s->start = 0;
	s->n = n;
	return 0;
}

static void
relay_refuse(struct side *s, const char *what)
{
	struct relays *all = s->relay->relays;

	message_limited(&all->limit, all->loop->now_usec, "%s: %s %s; the connection is closed",
		s->relay->label, side_name(s), what);
	relay_end(s->relay);
}

/*
 * Reads once and passes it on.
 * Returns: whether there may be more to do at once.
 */
static bool
side_move(struct side *s)
{
	struct relays *all = s->relay->relays;
	size_t size = all->options.seqpacket ? BUFFER_SEQPACKET_BYTES : BUFFER_STREAM_BYTES, sent;
	union {
		char buffer[CMSG_SPACE(sizeof(struct timeval))];
		struct cmsghdr align;
	} stamp;
	struct iovec iov = {all->buffer, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	/* A packet may be empty, which looks like the end; but the end comes without a time stamp. */
	if (all->options.seqpacket) {
		msg.msg_control = stamp.buffer;
		msg.msg_controllen = sizeof(stamp.buffer);
	}
	n = recvmsg(s->source.fd, &msg, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n >= 0 && (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		relay_refuse(s, msg.msg_flags & MSG_CTRUNC
					? "sent descriptors, which a relay does not pass on"
					: "sent a packet that is too long");
		return false;
	}
	if (n < 0 || (n == 0 && msg.msg_controllen == 0)) {
		s->ended = true;
		return false;
	}
	s->relay->moved = true;
	if (!side_flush(s, all->buffer, (size_t)n, &sent) &&
		side_keep(s, all->buffer + sent, (size_t)n - sent) < 0) {
		relay_refuse(s, "cannot be served without memory");
		return false;
	}
	/* A stream that gave less than was asked for has no more: what comes later wakes us again. */
	return all->options.seqpacket || (size_t)n == size || s->hung_up;
}

/* Moves from S what can be moved now. */
static void
side_pump(struct side *s)
{
	struct side *to = other(s);
	/* Nothing wakes us again for a side that hung up, and it can send no more. */
	int rounds = s->hung_up ? INT32_MAX : ROUNDS_MAX;

	while (rounds-- > 0 && !s->relay->dead && !to->deaf && side_flush_pending(s) && !s->ended)
		if (!side_move(s))
			break;
	if (s->relay->dead || !s->ended || s->pending || s->passed)
		return;
	s->passed = true;
	if (!to->deaf)
		shutdown(to->source.fd, SHUT_WR);
}

/* Nothing more will go from S to the other side. */
static bool
side_is_done(struct side *s)
{
	return s->passed || other(s)->deaf;
}

static void
side_watch(struct side *s)
{
	uint32_t events = 0;

	if (s->hung_up)
		return;
	if (!s->ended && !s->pending && !other(s)->deaf)
		events |= EPOLLIN;
	if (other(s)->pending)
		events |= EPOLLOUT;
	if (loop_modify(s->relay->relays->loop, &s->source, events) < 0)
		relay_end(s->relay);
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
	if (!r->dead)
		side_watch(server);
}

static void
side_run(struct source *source, uint32_t events)
{
	struct side *s = (struct side *)source; /* its first member */
	struct relay *r = s->relay;
	struct relays *all = r->relays;
	bool hung_up = events & (EPOLLHUP | EPOLLERR);
	bool gone = hung_up && s == &r->sides[CLIENT];
	/* Both have said their last word: the client is there and shut down, and nobody was revoked. */
	bool over = r->sides[SERVER].passed;

	r->moved = hung_up;
	if (hung_up) {
		/* Level-triggered, it would be told again and again; what is queued can be read. */
		loop_remove(all->loop, &s->source);
		s->hung_up = true;
		side_deafen(s);
	}
	/* Only what this end is ready for: a look at the other one would find nothing, each time. */
	if (hung_up || events & EPOLLIN)
		side_pump(s);
	if (!r->dead && (hung_up || events & EPOLLOUT))
		side_pump(other(s));
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
	else if (r->moved)
		relay_move(r, r->sides[CLIENT].hung_up ? &all->closing : &all->active);
	for (int i = 0; i < 2 && !r->dead; i++)
		side_watch(&r->sides[i]);
}

/* The server has accepted: both sides begin to run. */
static void
relay_start(struct relay *r, int server_fd)
{
	struct relays *all = r->relays;

	r->sides[SERVER].source.fd = server_fd;
	relay_move(r, &all->active);
	for (int i = 0; i < 2; i++) {
		int e, on = 1;

		if (all->options.seqpacket)
			setsockopt(r->sides[i].source.fd, SOL_SOCKET, SO_TIMESTAMP, &on,
				sizeof(on));
		e = loop_add(all->loop, &r->sides[i].source, EPOLLIN);
		if (e < 0) {
			message_limited(
				&all->limit, all->loop->now_usec, "epoll: %s", error_name(e));
			relay_end(r);
			return;
		}
	}
	/* A header goes now, without waiting to be told that there is room; some servers speak only after it. */
	side_flush_pending(&r->sides[CLIENT]);
	for (int i = 0; i < 2 && !r->dead; i++)
		side_watch(&r->sides[i]);
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
	for (int i = 0; i < 2; i++)
		r->sides[i] = (struct side){.source = {.fd = -1, .run = side_run}, .relay = r};
	e = relay_introduce(r, caller);
	if (e < 0) {
		free(r);
		relay_turn_away(all, client_fd, label, e == -ENAMETOOLONG
			? "its label is longer than a PROXY header can say" : error_name(e));
		return;
	}
	r->sides[CLIENT].source.fd = client_fd;
	strncat(r->label, label, sizeof(r->label) - 1);
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
	if (backend_is_exposed(all->options.path))
		message("warning: every user can connect to %s itself, without a capability",
			all->options.path);
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
	return left < timeout ? left : timeout;
}

int
relays_init(struct relays *all, struct loop *l, struct service *s, const struct relays_options *o)
{
	*all = (struct relays){.loop = l, .service = s, .options = *o};
	list_init(&all->connecting);
	list_init(&all->active);
	list_init(&all->suspects);
	list_init(&all->closing);
	list_init(&all->dead);
	all->buffer = malloc(o->seqpacket ? BUFFER_SEQPACKET_BYTES : BUFFER_STREAM_BYTES);
	return all->buffer ? 0 : -ENOMEM;
}

void
relays_deinit(struct relays *all)
{
	struct list *const lists[] = {
		&all->connecting, &all->active, &all->suspects, &all->closing};

	all->options.max = 0; /* nothing more is taken */
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each_safe (j, lists[i])
			relay_end(list_entry(j, struct relay, link));
	list_for_each_safe (i, &all->dead) {
		struct relay *r = list_entry(i, struct relay, link);

		list_unlink(i);
		free(r);
	}
	free(take_ptr(all->buffer));
}
