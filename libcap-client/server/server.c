/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Serving. The daemon hands connected sockets over on the entrypoint's channel, each with a serial
 * that ascends, and counts those that were not acknowledged; after its own restart it may offer
 * one again, which the serial tells.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/server/serving.h"
#include "libcap-client/server/visited.h"

#define EVENTS_MAX 32 /* of one round */
#define FDS_DEFAULT 253 /* of one call */
#define CALLS_DEFAULT 64 /* unanswered, of one connection */

CLEANUP_DEFINE(struct capc_entrypoint *, capc_detach)

int
entrypoint_check(const struct capc_entrypoint *e)
{
	if (e->owner != process_id())
		return -ECHILD;
	return e->error;
}

int
capc_accept_raw(struct capc_entrypoint *e, capc_raw_handler *f, void *data)
{
	int r = entrypoint_check(e);

	if (r < 0)
		return r;
	e->raw = f;
	e->raw_data = data;
	return 0;
}

void
capc_entrypoint_set_timeout(struct capc_entrypoint *e, uint64_t timeout)
{
	e->timeout = timeout;
	if (entrypoint_check(e) == 0)
		entrypoint_set_timer(e);
}

int
capc_entrypoint_set_busy_poll(struct capc_entrypoint *e, uint64_t usec)
{
	int r = entrypoint_check(e);

	return r < 0 ? r : spin_set(&e->spin, usec);
}

void
capc_entrypoint_set_max(struct capc_entrypoint *e, size_t n_data, size_t n_fds)
{
	e->data_max = n_data < CAPC_PAYLOAD_MAX ? n_data : CAPC_PAYLOAD_MAX;
	e->fds_max = n_fds < CAPC_FDS_MAX ? n_fds : CAPC_FDS_MAX;
}

int
capc_entrypoint_set_calls(struct capc_entrypoint *e, unsigned n)
{
	if (n < WIRE_CREDIT_MIN || n > CAPC_CALLS_MAX)
		return -EINVAL;
	e->calls_max = n;
	return 0;
}

static int
spares_take(struct capc_entrypoint *e)
{
	for (size_t i = 0; i < 2; i++) {
		if (e->spare[i] >= 0)
			continue;
		e->spare[i] = fd_dup(e->epoll);
		if (e->spare[i] < 0)
			return e->spare[i];
	}
	return 0;
}

static void
spares_give(struct capc_entrypoint *e)
{
	for (size_t i = 0; i < 2; i++)
		e->spare[i] = fd_close(e->spare[i]);
}

static int
watch(struct capc_entrypoint *e, int fd, void *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

	return epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int
entrypoint_init(struct capc_entrypoint *e, struct capc_session *s, const char *name)
{
	memset(e, 0, offsetof(struct capc_entrypoint, buffer));
	e->owner = getpid();
	e->session = s;
	e->timeout = CAPC_TIMEOUT_USEC;
	e->data_max = CAPC_PAYLOAD_MAX;
	e->fds_max = FDS_DEFAULT;
	e->calls_max = CALLS_DEFAULT;
	e->epoll = e->channel = e->timer = e->spare[0] = e->spare[1] = -1;
	list_init(&e->connections);
	list_init(&e->stalled);
	list_init(&e->dead);
	list_init(&e->ahead);
	room_init(&e->room, ROOM_MAX);
	visited_init(&e->visited);
	e->name = strdup(name);
	if (!e->name)
		return -ENOMEM;
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0)
		return -errno;
	e->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->timer < 0)
		return -errno;
	return spares_take(e);
}

/* A daemon of 0.1.0 does not know the word for what is not wanted, and sends it. */
static int
channel_ask(struct capc_session *s, const char *name, const char *how, int *ret_fd)
{
	cleanup_text struct text node = {}, words = {};
	bool says = how && strstr(how, "pidfd=");
	int r;

	text_addf(&node, "entrypoints/%s", name);
	if (how)
		text_add(&words, how);
	if (!says)
		text_addf(&words, "%spidfd=no", words.n > 0 ? " " : "");
	r = text_done(&node);
	if (r == 0)
		r = text_done(&words);
	if (r == 0)
		r = session_do_fd(s, WIRE_ATTACH, node.data, words.data, session_deadline(s), ret_fd);
	if (r == -EINVAL && !says)
		r = session_do_fd(s, WIRE_ATTACH, node.data, how, session_deadline(s), ret_fd);
	return r;
}

int
capc_attach_how(struct capc_session *s, const char *name, const char *how,
	struct capc_entrypoint **ret)
{
	cleanup(capc_detach_p) struct capc_entrypoint *e = NULL;
	int r;

	session_begin(s);
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = entrypoint_init(e, s, name);
	if (r < 0)
		return r;
	e->caveats = how && strstr(how, "caveats=yes");
	r = channel_ask(s, name, how, &e->channel);
	if (r == 0)
		r = watch(e, e->channel, &e->channel);
	if (r == 0)
		r = watch(e, e->timer, &e->timer);
	if (r < 0)
		return r;
	*ret = take_ptr(e);
	return 0;
}

int
capc_attach(struct capc_session *s, const char *name, unsigned flags, struct capc_entrypoint **ret)
{
	const char *once = flags & CAPC_ATTACH_ONCE ? "once" : NULL;
	cleanup_text struct text words = {};
	int r;

	session_begin(s);
	if (flags & ~(unsigned)(CAPC_ATTACH_ONCE | CAPC_ATTACH_FDS | CAPC_ATTACH_PIDFD | CAPC_ATTACH_CAVEATS |
			CAPC_ATTACH_VISITS))
		return -EINVAL;
	if (once)
		text_add(&words, once);
	if (flags & CAPC_ATTACH_FDS)
		text_addf(&words, "%sfds=yes", words.n > 0 ? " " : "");
	if (flags & CAPC_ATTACH_PIDFD)
		text_addf(&words, "%spidfd=yes", words.n > 0 ? " " : "");
	if (flags & CAPC_ATTACH_CAVEATS)
		text_addf(&words, "%scaveats=yes", words.n > 0 ? " " : "");
	if (flags & CAPC_ATTACH_VISITS)
		text_addf(&words, "%svisits", words.n > 0 ? " " : "");
	r = text_done(&words);
	if (r == 0)
		r = capc_attach_how(s, name, words.data, ret);
	/* Daemons of 0.1.0 do not know these words: to them all clients may send descriptors. */
	if (r == -EINVAL && !(flags & (CAPC_ATTACH_CAVEATS | CAPC_ATTACH_VISITS)) &&
		flags & ~(unsigned)CAPC_ATTACH_ONCE)
		r = capc_attach_how(s, name, once, ret);
	return r;
}

/* Nothing comes any more, for the reason ERROR, which capc_serve() gives from now on. */
static void
entrypoint_end(struct capc_entrypoint *e, int error)
{
	while (!list_empty(&e->connections))
		connection_close(list_entry(list_first(&e->connections), struct connection, link));
	room_deinit(&e->room);
	e->channel = close_owned(e->channel, e->owner);
	spares_give(e);
	e->error = error;
}

static void
entrypoint_free(struct capc_entrypoint *e)
{
	objects_free(e);
	limits_unmap(&e->limits);
	visited_deinit(&e->visited);
	fd_close(e->timer);
	fd_close(e->epoll);
	free(e->name);
	free(e);
}

struct capc_entrypoint *
capc_detach(struct capc_entrypoint *e)
{
	if (!e)
		return NULL;
	entrypoint_end(e, -ENOTCONN);
	if (e->serving)
		e->detached = true;
	else
		entrypoint_free(e);
	return NULL;
}

int
capc_entrypoint_fd(const struct capc_entrypoint *e)
{
	return e->owner == process_id() ? e->epoll : -ECHILD;
}

static void
channel_watch(struct capc_entrypoint *e, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = &e->channel};

	if (epoll_ctl(e->epoll, EPOLL_CTL_MOD, e->channel, &event) < 0)
		entrypoint_end(e, -errno);
}

/*
 * Tells the daemon that the last hand-over was taken. When the channel is full nothing else is
 * received until it was told.
 */
static void
channel_acknowledge(struct capc_entrypoint *e)
{
	uint8_t message[16];
	int n = wire_taken_encode(e->unacknowledged, message, sizeof(message));
	ssize_t sent = msg_send(e->channel, message, (size_t)n, NULL, 0, MSG_DONTWAIT);

	if (sent == -EAGAIN)
		channel_watch(e, EPOLLOUT);
	else if (sent < 0)
		entrypoint_end(e, -ENOTCONN);
	else
		e->unacknowledged = 0;
}

/* Gives the connection to the raw handler or starts to read calls. Takes the descriptors. */
static void
handover_accept(struct capc_entrypoint *e, const struct wire_handover *m, int fd, int pidfd)
{
	char label[WIRE_LABEL_MAX + 1];
	struct capc_caller caller = {
		.badge = m->badge,
		.key = m->key,
		.capability = m->capability,
		.rights = m->rights,
		.uid = m->uid,
		.gid = m->gid,
		.pid = (pid_t)m->pid,
		.pidfd = pidfd,
		.label = label,
		.aside = m->aside,
		.caveats = m->caveats,
		.n_caveats = m->n_caveats,
	};

	memcpy(label, m->label, m->n_label);
	label[m->n_label] = '\0';
	if (!e->raw || m->page_index) {
		/* A failure has shut FD down: its client sees the end, which is all to be said. */
		connection_new(e, fd, &caller, m->page_index);
		return;
	}
	e->raw(fd, &caller, e->raw_data);
	fd_close(pidfd);
}

/* The listener of an object, or why there is none. Takes FD. Returns: 0, -EBADMSG, -EPROTO. */
static int
listener_take(struct capc_entrypoint *e, size_t n, int from)
{
	cleanup_close int fd = from;
	struct wire_listener m;
	struct object *o;
	int r = wire_listener_decode(e->buffer, n, &m);

	if (r < 0)
		return r;
	if (!m.error != (fd >= 0))
		return -EBADMSG;
	e->unacknowledged = m.badge;
	channel_acknowledge(e);
	o = entrypoint_find_badge(e, m.badge);
	if (!o) {
		/* Nobody will accept there: whoever connects is told at once. */
		fd = fd_shutdown_close(fd);
	} else if (m.error) {
		o->listener_error = -(int)m.error;
	} else if (!o->has_come) {
		o->listener = take_fd(fd);
		o->has_come = true;
	}
	return 0;
}

/*
 * The daemon sends them once more after its own restart. Returns: 0, -EBADMSG, -EPROTO, -ENOTCONN: there
 * is no memory for them, and without them no call may be answered.
 */
static int
channel_take_pages(struct capc_entrypoint *e, size_t n, int fds[2], size_t n_fds)
{
	cleanup_close int granted = n_fds > 0 ? fds[0] : -1, used = n_fds > 1 ? fds[1] : -1;
	int r = wire_pages_decode(e->buffer, n);

	if (r < 0)
		return r;
	if (used < 0)
		return -EBADMSG;
	r = e->limits.granted ? 0 : limits_map(granted, used, &e->limits);
	return r == 0 || r == -EBADMSG || r == -EPROTO ? r : -ENOTCONN;
}

/* Without a word on what has come of them a server would keep for ever what its clients had. */
static int
channel_look(struct capc_entrypoint *e, size_t n)
{
	uint64_t id;
	int r = wire_visit_decode(e->buffer, n, &id);

	if (r < 0)
		return r;
	e->unacknowledged = WIRE_VISIT_SERIAL;
	channel_acknowledge(e);
	r = e->error ? 0 : visited_look(e, id);
	if (r < 0 && !e->error)
		entrypoint_end(e, r);
	return 0;
}

/*
 * One message of the daemon with the descriptors in FDS, closed on failure. Returns: 1 when it was
 * a connection, 0 for a repetition or a listener, -EBADMSG, -EPROTO.
 */
static int
channel_take(struct capc_entrypoint *e, size_t n, int fds[2], size_t n_fds)
{
	cleanup_close int fd = n_fds > 0 ? fds[0] : -1, pidfd = n_fds > 1 ? fds[1] : -1;
	struct wire_handover m;
	int r;

	if (n > 1 && e->buffer[1] == WIRE_LISTENER)
		return listener_take(e, n, take_fd(fd));
	if (n > 1 && e->buffer[1] == WIRE_VISIT)
		return channel_look(e, n);
	r = wire_handover_decode(e->buffer, n, &m);
	if (r < 0)
		return r;
	if (fd < 0 || (m.page_index && !e->limits.granted))
		return -EBADMSG;
	e->unacknowledged = m.serial;
	if (m.serial <= e->serial) {
		/* The same connection again: a shutdown would end the one that is served. */
		channel_acknowledge(e);
		return 0;
	}
	e->serial = m.serial;
	channel_acknowledge(e);
	/* A daemon that does not know caveats must not be believed that there are none. */
	if (e->error || spares_take(e) < 0 || (e->caveats && !m.caveats))
		fd = fd_shutdown_close(fd);
	else
		handover_accept(e, &m, take_fd(fd), take_fd(pidfd));
	return 1;
}

/* Another thread took the room of the spares: the hand-over stays where it is for a while. */
static int
channel_pause(struct capc_entrypoint *e)
{
	epoll_ctl(e->epoll, EPOLL_CTL_DEL, e->channel, NULL);
	e->paused = true;
	entrypoint_retry(e);
	return 0;
}

static void
channel_resume(struct capc_entrypoint *e)
{
	int r = watch(e, e->channel, &e->channel);

	e->paused = false;
	if (r < 0)
		entrypoint_end(e, r);
}

/* One message, or what there is instead. Returns: as channel_take(); -EMFILE: it stays there. */
static int
channel_read(struct capc_entrypoint *e)
{
	int fds[2];
	size_t n_fds = 0;
	ssize_t n = msg_receive_whole(e->channel, e->buffer, sizeof(e->buffer), fds, 2, &n_fds);

	if (n > 1 && e->buffer[1] == WIRE_PAGES)
		return channel_take_pages(e, (size_t)n, fds, n_fds);
	if (n > 0)
		return channel_take(e, (size_t)n, fds, n_fds);
	if (n == -EMFILE)
		return -EMFILE;
	for (size_t i = 0; n == 0 && i < n_fds; i++)
		fd_close(fds[i]);
	if (n == -EAGAIN)
		return 0;
	return n == -EBADMSG || n == -EMSGSIZE ? -EBADMSG : -ENOTCONN;
}

/*
 * A process at its limit of descriptors has no room for the socket. So two spare ones make it; when
 * they cannot be taken again afterwards, the connection is ended at once, lest its client wait for
 * ever.
 */
static int
channel_receive(struct capc_entrypoint *e)
{
	int r = channel_read(e);

	if (r == -EMFILE) {
		spares_give(e);
		r = channel_read(e);
		if (r == -EMFILE)
			r = channel_pause(e);
	}
	if (r < 0 && !e->error)
		entrypoint_end(e, r);
	/* The sockets that were closed meanwhile have made room, or others have taken it. */
	if (!e->error)
		spares_take(e);
	return r > 0 ? r : 0;
}

static int
channel_dispatch(struct capc_entrypoint *e)
{
	if (!e->unacknowledged)
		return channel_receive(e);
	channel_acknowledge(e);
	if (!e->error && !e->unacknowledged)
		channel_watch(e, EPOLLIN);
	return 0;
}

static void
timer_dispatch(struct capc_entrypoint *e)
{
	uint64_t n;

	if (read(e->timer, &n, sizeof(n)) < 0)
		return;
	connections_expire(e);
	if (e->room_at && e->room_at <= now_usec()) {
		e->room_at = 0;
		room_expire(&e->room);
		entrypoint_keeps(e);
	}
	if (e->retry_at && e->retry_at <= now_usec()) {
		e->retry_at = 0;
		if (e->paused)
			channel_resume(e);
		connections_retry(e);
	}
	entrypoint_set_timer(e);
}

static int
dispatch(struct capc_entrypoint *e, const struct epoll_event *event)
{
	if (event->data.ptr == &e->channel)
		return channel_dispatch(e);
	if (event->data.ptr != &e->timer)
		return connection_dispatch(event->data.ptr, event->events);
	timer_dispatch(e);
	return 0;
}

static int
events_wait(struct capc_entrypoint *e, struct epoll_event *events, uint64_t deadline)
{
	int n = 0;

	/* Whoever was answered often asks again at once. */
	while (e->expects && n == 0 && spin_again(&e->spin, deadline))
		n = epoll_wait(e->epoll, events, EVENTS_MAX, 0);
	spin_end(&e->spin, n > 0);
	if (n > 0)
		return n;
	for (;;) {
		int left = deadline_left_msec(deadline);

		n = epoll_wait(e->epoll, events, EVENTS_MAX, left);

		if (n > 0 || (n == 0 && left == 0))
			return n;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

int
capc_serve(struct capc_entrypoint *e, uint64_t timeout)
{
	struct epoll_event events[EVENTS_MAX];
	int n, r, n_served = 0;

	r = entrypoint_check(e);
	if (r < 0)
		return r;
	if (e->serving)
		return -EBUSY;
	n = events_wait(e, events, deadline_after(timeout));
	if (n < 0)
		return n;
	e->serving = true;
	for (int i = 0; i < n && !e->error; i++)
		n_served += dispatch(e, &events[i]);
	e->serving = false;
	while (!list_empty(&e->dead)) {
		struct connection *c = list_entry(list_first(&e->dead), struct connection, link);

		list_unlink(&c->link);
		connection_unref(c);
	}
	e->expects = n_served > 0;
	r = e->error;
	if (e->detached)
		entrypoint_free(e);
	return r < 0 ? r : n_served;
}
