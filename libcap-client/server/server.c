/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Serving: entrypoints, and rounds of what is due in them. */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/fd.h"
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
	if (entrypoint_check(e) < 0)
		return;
	entrypoint_lock(e);
	e->timeout = timeout;
	entrypoint_set_timer(e);
	entrypoint_unlock(e);
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
	if (entrypoint_check(e) < 0)
		return;
	entrypoint_lock(e);
	e->data_max = n_data < CAPC_PAYLOAD_MAX ? n_data : CAPC_PAYLOAD_MAX;
	e->fds_max = n_fds < CAPC_FDS_MAX ? n_fds : CAPC_FDS_MAX;
	entrypoint_unlock(e);
}

int
capc_entrypoint_set_calls(struct capc_entrypoint *e, unsigned n)
{
	int r = entrypoint_check(e);

	if (n < WIRE_CREDIT_MIN || n > CAPC_CALLS_MAX)
		return -EINVAL;
	if (r < 0)
		return r;
	entrypoint_lock(e);
	e->calls_max = n;
	entrypoint_unlock(e);
	return 0;
}

int
capc_entrypoint_set_handlers(struct capc_entrypoint *e, const struct capc_handlers *f, void *data)
{
	struct capc_handlers on = {};
	int r = entrypoint_check(e);

	if (r < 0)
		return r;
	if (f && f->size > sizeof(on))
		for (size_t i = sizeof(on); i < f->size; i++)
			if (((const char *)f)[i])
				return -EOPNOTSUPP;
	if (f)
		memcpy(&on, f, f->size < sizeof(on) ? f->size : sizeof(on));
	entrypoint_lock(e);
	e->on = on;
	e->on_data = data;
	entrypoint_unlock(e);
	return 0;
}

int
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

void
spares_give(struct capc_entrypoint *e)
{
	for (size_t i = 0; i < 2; i++)
		e->spare[i] = fd_close(e->spare[i]);
}

int
entrypoint_watch(struct capc_entrypoint *e, int fd, struct watched *w)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};

	return epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void
entrypoint_refuse(struct capc_entrypoint *e, int fd, int error)
{
	if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
		e->exhausted = error;
	if (socket_type(fd) == SOCK_SEQPACKET)
		connection_farewell(fd, -error, "the server has no room for the connection");
	fd_shutdown_close(fd);
}

static int timer_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events);

/* Also of one that fails capc_detach() makes an end. */
static int
entrypoint_make(struct capc_session *s, const char *name, struct capc_entrypoint **ret)
{
	struct capc_entrypoint *e = malloc(sizeof(*e));

	if (!e)
		return -ENOMEM;
	memset(e, 0, offsetof(struct capc_entrypoint, out));
	pthread_mutex_init(&e->mutex, NULL);
	e->n_refs = 1;
	e->owner = getpid();
	e->session = s;
	e->timeout = CAPC_TIMEOUT_USEC;
	e->data_max = CAPC_PAYLOAD_MAX;
	e->fds_max = FDS_DEFAULT;
	e->calls_max = CALLS_DEFAULT;
	e->epoll = e->channel = e->timer = e->spare[0] = e->spare[1] = e->pages[0] = e->pages[1] = -1;
	e->channel_watched.dispatch = channel_dispatch;
	e->timer_watched.dispatch = timer_dispatch;
	list_init(&e->connections);
	list_init(&e->stalled);
	list_init(&e->dead);
	list_init(&e->ahead);
	list_init(&e->listeners);
	/* Early at boot there may be none; addresses are a secret, too. */
	if (getrandom(&e->seed, sizeof(e->seed), GRND_NONBLOCK) < 0)
		e->seed = (uintptr_t)e;
	room_init(&e->room, ROOM_MAX);
	visited_init(&e->visited);
	*ret = e;
	e->name = strdup(name);
	e->packet = malloc(sizeof(*e->packet));
	if (!e->name || !e->packet)
		return -ENOMEM;
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0)
		return -errno;
	e->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->timer < 0)
		return -errno;
	return entrypoint_watch(e, e->timer, &e->timer_watched);
}

int
capc_entrypoint_new(struct capc_entrypoint **ret)
{
	cleanup(capc_detach_p) struct capc_entrypoint *e = NULL;
	int r = entrypoint_make(NULL, "", &e);

	if (r == 0)
		r = spares_take(e);
	if (r < 0)
		return r;
	*ret = take_ptr(e);
	return 0;
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
	r = entrypoint_make(s, name, &e);
	if (r == 0)
		r = spares_take(e);
	if (r < 0)
		return r;
	e->caveats = how && strstr(how, "caveats=yes");
	e->counts = how && strstr(how, "counts=yes");
	r = channel_ask(s, name, how, &e->channel);
	if (r == 0)
		r = entrypoint_watch(e, e->channel, &e->channel_watched);
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

/* Its timer has run out for ever: whoever polls hears of it. */
void
entrypoint_end(struct capc_entrypoint *e, int error)
{
	while (!list_empty(&e->connections))
		connection_close(list_entry(list_first(&e->connections), struct connection, link), error);
	listeners_free(e);
	room_deinit(&e->room);
	e->channel = close_owned(e->channel, e->owner);
	spares_give(e);
	e->error = error;
	if (e->owner == getpid())
		entrypoint_set_timer(e);
}

/* All but what kept requests need: the mutex. */
static void
entrypoint_deinit(struct capc_entrypoint *e)
{
	objects_free(e);
	limits_unmap(&e->limits);
	fd_close(e->pages[0]);
	fd_close(e->pages[1]);
	visited_deinit(&e->visited);
	fd_close(e->timer);
	fd_close(e->epoll);
	free(e->packet);
	free(e->name);
	e->n_refs--;
}

void
entrypoint_unlock(struct capc_entrypoint *e)
{
	bool last = e->n_refs == 0;

	pthread_mutex_unlock(&e->mutex);
	if (!last)
		return;
	pthread_mutex_destroy(&e->mutex);
	free(e);
}

/* In a child of fork another thread's mutex may be locked for ever, and its memory is nobody's. */
static void
entrypoint_abandon(struct capc_entrypoint *e)
{
	/* The timer is the parent's. */
	e->in_round = true;
	entrypoint_end(e, -ECHILD);
	e->on = (struct capc_handlers){};
	while (!list_empty(&e->dead)) {
		struct connection *c = list_entry(list_first(&e->dead), struct connection, link);

		list_unlink(&c->link);
		connection_unref(c);
	}
	entrypoint_deinit(e);
	if (e->n_refs == 0)
		free(e);
}

struct capc_entrypoint *
capc_detach(struct capc_entrypoint *e)
{
	if (!e)
		return NULL;
	if (e->owner != getpid()) {
		entrypoint_abandon(e);
		return NULL;
	}
	entrypoint_lock(e);
	entrypoint_end(e, -ENOTCONN);
	entrypoint_bury(e);
	if (e->serving)
		e->detached = true;
	else
		entrypoint_deinit(e);
	entrypoint_unlock(e);
	return NULL;
}

int
capc_entrypoint_fd(const struct capc_entrypoint *e)
{
	return e->owner == process_id() ? e->epoll : -ECHILD;
}

int
capc_pages(const struct capc_entrypoint *e, int *ret_granted, int *ret_used)
{
	int r = entrypoint_check(e);

	if (r < 0)
		return r;
	if (e->pages[0] < 0)
		return -ENOENT;
	*ret_granted = e->pages[0];
	*ret_used = e->pages[1];
	return 0;
}

static int
timer_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events)
{
	uint64_t n;

	(void)w;
	(void)events;
	if (read(e->timer, &n, sizeof(n)) < 0)
		return 0;
	e->dead_at = 0;
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
		listeners_retry(e);
		connections_retry(e);
	}
	entrypoint_set_timer(e);
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

/* What is due, and then what the program is to be told of it. Returns how much was served. */
static int
round_run(struct capc_entrypoint *e, const struct epoll_event *events, int n)
{
	int n_served = 0;

	e->in_round = true;
	for (int i = 0; i < n && !e->error; i++) {
		struct watched *w = events[i].data.ptr;

		n_served += w->dispatch(e, w, events[i].events);
	}
	entrypoint_bury(e);
	if (e->exhausted && e->on.exhausted && !e->detached) {
		int error = e->exhausted;

		e->exhausted = 0;
		entrypoint_unlock(e);
		e->on.exhausted(error, e->on_data);
		entrypoint_lock(e);
	}
	entrypoint_bury(e);
	e->in_round = false;
	return n_served;
}

int
capc_serve(struct capc_entrypoint *e, uint64_t timeout)
{
	struct epoll_event events[EVENTS_MAX];
	int n, r, n_served;

	r = entrypoint_check(e);
	if (r < 0)
		return r;
	if (e->serving)
		return -EBUSY;
	e->serving = true;
	n = events_wait(e, events, deadline_after(timeout));
	entrypoint_lock(e);
	n_served = round_run(e, events, n);
	e->serving = false;
	e->expects = n_served > 0;
	r = n < 0 ? n : e->error;
	if (e->detached)
		entrypoint_deinit(e);
	entrypoint_unlock(e);
	return r < 0 ? r : n_served;
}
