/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes up what a predecessor left: descriptors without a word beside them, and records without a
 * descriptor beside them. A socket's cookie joins the two; a socket without a record says by its
 * own name what it is: a listener, or a connection that had just been accepted.
 *
 * Called once by the broker, before its loop turns, so that nobody is served in the midst of it. It
 * ends nothing that can be used. What nobody can explain is closed, or it would be left to each
 * later broker, and a table of descriptors fills up.
 */
#include "config.h"

#include "capfsd/sockets/adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/index.h"
#include "base/number.h"
#include "capfsd/disposal/disposal.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/binding.h"
#include "capfsd/listeners/drain.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/process/boot.h"
#include "capfsd/sockets/channel.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/lend.h"
#include "capfsd/sockets/pages.h"
#include "capfsd/sockets/queue.h"
#include "capfsd/sockets/serve.h"
#include "capfsd/state/state.h"
#include "wire/wire.h"

/* A record, and what of its descriptors has been found. */
struct found {
	struct index_link cookie_link;
	struct index_link fd_link; /* under the cookie of the reply's descriptor */
	struct index_link pages_link; /* under the identity of its pages */
	struct list link;
	struct adopted it;
	int page_fds[2]; /* -1: not found */
	char text[];
};

struct adoption {
	struct sockets *sockets;
	struct index by_cookie, by_fd_cookie, by_pages;
	struct list found;
	const int *fds; /* -1: dealt with */
	size_t n;
};

static struct found *
found_new(struct memo *memo, const void *text, size_t n)
{
	struct found *f = memo ? calloc(1, sizeof(*f) + n) : NULL;

	if (!f)
		return NULL;
	f->it.memo = memo;
	f->it.kind = memo->record.kind;
	f->it.fd = f->it.reply_fd = f->page_fds[0] = f->page_fds[1] = -1;
	f->it.text = f->text;
	f->it.n_text = n;
	memcpy(f->text, text, n);
	return f;
}

/*
 * What else of a record can be met without its socket: the descriptor of a reply that was not sent
 * yet. 0: nothing.
 */
static uint64_t
fd_cookie_of(const struct found *f)
{
	const struct connection_record *r = &f->it.memo->record;

	return r->kind == SOCKET_CONTROL ? r->control.fd_cookie : 0;
}

/* Pages are no sockets and have no cookie: they are found by the identity that stands in them. */
static uint64_t
pages_of(const struct found *f)
{
	const struct connection_record *r = &f->it.memo->record;

	return r->kind == SOCKET_CHANNEL ? r->channel.pages : 0;
}

/* Takes MEMO, which may be NULL. Returns: 0 or -errno. */
static int
adoption_add(struct adoption *a, struct memo *memo, const void *text, size_t n)
{
	struct found *f = found_new(memo, text, n);
	int r;

	if (!f) {
		free(memo);
		return -ENOMEM;
	}
	r = index_add(&a->by_cookie, &f->cookie_link, index_hash_id(memo->record.cookie));
	if (r < 0) {
		free(memo);
		free(f);
		return r;
	}
	list_append(&a->found, &f->link);
	if (fd_cookie_of(f))
		r = index_add(&a->by_fd_cookie, &f->fd_link, index_hash_id(fd_cookie_of(f)));
	if (r == 0 && pages_of(f))
		r = index_add(&a->by_pages, &f->pages_link, index_hash_id(pages_of(f)));
	return r;
}

/*
 * Every record is looked at, also those of sockets that are gone: they are dropped at the end. One
 * of a length that no version has written is a damaged store, and the broker must not go on with
 * that.
 */
static int
adoption_load(void *data, uint64_t key, const void *record, size_t n)
{
	struct adoption *a = data;
	struct connection_record copy;

	if (STORE_KEY_SPACE(key) != STORE_CONNECTION)
		return 0;
	if (n < sizeof(copy) || n > sizeof(copy) + WIRE_TEXT_MAX)
		return -EBADMSG;
	/* The store gives no promise for its bytes beyond the scan, and may be aligned to nothing. */
	memcpy(&copy, record, sizeof(copy));
	return adoption_add(a, memo_load(&copy), (const char *)record + sizeof(copy), n - sizeof(copy));
}

static struct found *
adoption_find(const struct adoption *a, uint64_t cookie)
{
	struct index_link *link = index_first(&a->by_cookie, index_hash_id(cookie));

	for (; link; link = index_next(link)) {
		struct found *f = container_of(link, struct found, cookie_link);

		if (f->it.memo->record.cookie == cookie)
			return f;
	}
	return NULL;
}

/* Connections of which the store was told nothing. One that is in both was about to be stored. */
static int
adoption_place(void *data, struct memo *memo)
{
	struct adoption *a = data;

	if (!adoption_find(a, memo->record.cookie))
		return adoption_add(a, memo, "", 0);
	memo_drop(a->sockets, memo);
	return 0;
}

/*
 * A descriptor that was on its way to a control client: its cookie stands in the record of the
 * reply.
 */
static struct found *
adoption_find_reply(const struct adoption *a, uint64_t cookie)
{
	struct index_link *link = index_first(&a->by_fd_cookie, index_hash_id(cookie));

	for (; link; link = index_next(link)) {
		struct found *f = container_of(link, struct found, fd_link);

		if (fd_cookie_of(f) == cookie)
			return f;
	}
	return NULL;
}

/*
 * The same for pages. Several channels cannot have the same ones, but a server can make files that
 * look so: the first of each kind is taken, and the rest is closed as unknown.
 */
static bool
adoption_join_page(struct adoption *a, int fd)
{
	struct index_link *link = NULL;
	uint64_t identity;
	unsigned kind;

	if (page_identify(fd, &kind, &identity))
		link = index_first(&a->by_pages, index_hash_id(identity));
	for (; link; link = index_next(link)) {
		struct found *f = container_of(link, struct found, pages_link);

		if (pages_of(f) != identity || f->page_fds[kind] >= 0)
			continue;
		f->page_fds[kind] = fd;
		return true;
	}
	return false;
}

/* Joins FD to its record. Returns: false when there is none; then FD is still the caller's. */
static bool
adoption_join(struct adoption *a, int fd)
{
	struct found *f;
	uint64_t cookie;

	if (fd_socket_cookie(fd, &cookie) < 0)
		return false;
	f = adoption_find(a, cookie);
	if (f && f->it.fd < 0) {
		f->it.fd = fd;
		return true;
	}
	if (f) {
		/* A copy of what is there: such as one received, but not yet looked at. */
		fd_close(fd);
		return true;
	}
	f = adoption_find_reply(a, cookie);
	if (!f || f->it.reply_fd >= 0)
		return false;
	f->it.reply_fd = fd;
	return true;
}

/*
 * The name alone says what it is. One that nobody serves by now is shut down, so that it refuses.
 */
static void
adopt_listener(struct sockets *sockets, struct entity *e, int fd)
{
	struct listener *l = NULL;

	/* The predecessor was about to close it. There may be another one, or it is bound when it is wanted. */
	if (e->kind != ENTITY_OBJECT && fd_has_hung_up(fd)) {
		drain_begin(sockets, e, fd, listener_admit, NULL);
		return;
	}
	if (endpoint_is_served(e))
		l = listener_get(sockets, e);
	if (!l || listener_charge(l)) {
		socket_discard(sockets, fd, entity_session(e));
		if (l)
			listener_release(l);
		return;
	}
	if (listener_set_fd(l, fd) < 0) {
		listener_give_up(l);
		return;
	}
	/* It may have been another way before. */
	l->uneven = true;
}

/*
 * A name is what the binder was told to bind, so it can be believed of a socket that is ours; that
 * it is ours the caller knows, as it was left by a broker of this mount.
 */
static struct entity *
named_entity(struct sockets *sockets, int fd)
{
	struct sockaddr_un address = {};
	socklen_t n = sizeof(address);
	char path[sizeof(address.sun_path) + 1] = {};
	uint64_t object, capability;

	if (getsockname(fd, (struct sockaddr *)&address, &n) < 0 || address.sun_family != AF_UNIX)
		return NULL;
	memcpy(path, address.sun_path, sizeof(address.sun_path));
	if (number_parse_pair(path, &object, &capability) < 0)
		return NULL;
	return core_named(sockets, object, capability);
}

/*
 * A socket without a record; or no socket: what the dead process had for itself. It is offered to
 * the other users first, as the service manager's listener has a name of its own.
 */
static void
adopt_unrecorded(struct sockets *sockets, int fd)
{
	struct adopted found = {.fd = fd, .reply_fd = -1};
	struct entity *e = named_entity(sockets, fd);

	if (core_adopt(sockets, &found))
		return;
	if (!e)
		socket_discard(sockets, fd, sockets->model->root);
	else if (socket_is_listening(fd))
		adopt_listener(sockets, e, fd);
	else if (e->kind == ENTITY_OBJECT)
		socket_discard(sockets, fd, entity_session(e));
	else
		/* Accepted, and nothing of it committed: as if it came only then. */
		listener_admit(sockets, e, fd);
}

/* Nothing is left of a record that somebody has taken up, since its memo has gone with it. */
static bool
is_left(const struct found *f, enum socket_kind kind)
{
	/* A channel may be gone, and its pages not yet. */
	return f->it.memo && f->it.memo->record.kind == kind &&
	       (f->it.fd >= 0 || f->page_fds[0] >= 0);
}

/*
 * Before connections, which need them: one is given back to the channel that may have offered it.
 */
static void
adopt_channels(struct adoption *a)
{
	list_for_each (i, &a->found) {
		struct found *f = list_entry(i, struct found, link);

		if (!is_left(f, SOCKET_CHANNEL))
			continue;
		serve_adopt(
			a->sockets, take_fd(f->it.fd), take_ptr(f->it.memo), f->page_fds);
		f->page_fds[0] = f->page_fds[1] = -1;
	}
}

static void
adopt_connections(struct adoption *a)
{
	list_for_each (i, &a->found) {
		struct found *f = list_entry(i, struct found, link);

		if (is_left(f, SOCKET_CONNECTION))
			connect_adopt(a->sockets, take_fd(f->it.fd), take_ptr(f->it.memo));
	}
}

/* What is its users', who take up one kind after the other. */
static void
adopt_others(struct adoption *a, enum socket_kind kind)
{
	list_for_each (i, &a->found) {
		struct found *f = list_entry(i, struct found, link);

		if (is_left(f, kind))
			core_adopt(a->sockets, &f->it);
	}
}

/* What nobody took is of no use: its end is told to whoever has the other one. */
static void
adoption_deinit(struct adoption *a)
{
	list_for_each_safe (i, &a->found) {
		struct found *f = list_entry(i, struct found, link);

		list_unlink(&f->link);
		index_remove(&a->by_cookie, &f->cookie_link);
		if (f->it.memo && f->it.fd >= 0)
			socket_discard(a->sockets, f->it.fd, a->sockets->model->root);
		disposal_leave(a->sockets->disposal, f->it.reply_fd, a->sockets->model->root, NULL);
		fd_close(f->page_fds[0]);
		fd_close(f->page_fds[1]);
		memo_drop(a->sockets, f->it.memo);
		free(f);
	}
	index_deinit(&a->by_cookie);
	/* Their members are the ones just freed. */
	a->by_fd_cookie.n = a->by_pages.n = 0;
	index_deinit(&a->by_fd_cookie);
	index_deinit(&a->by_pages);
}

/* Entrypoints whose server went while no broker looked. */
static void
adopt_orphans(struct sockets *sockets)
{
	struct session *root = sockets->model->root;

	for (struct session *s = root; s; s = session_next_below(root, s))
		list_for_each_safe (i, &s->owned[ENTITY_ENTRYPOINT]) {
			struct entrypoint *e = list_entry(i, struct entrypoint, entity.owner_link);

			if (e->record.thread && !endpoint_channel(e))
				serve_orphan(sockets, e);
		}
}

/*
 * The order is that of dependence: connections need channels; orphans are detached before anybody
 * who attaches in their place is heard; control clients come last, since their requests may be
 * about all of it.
 */
static int
adopt_all(struct adoption *a)
{
	struct sockets *sockets = a->sockets;
	cleanup_free int *rest = calloc(a->n + 1, sizeof(*rest));
	size_t n = 0;

	if (!rest)
		return -ENOMEM;
	for (size_t i = 0; i < a->n; i++)
		if (!adoption_join(a, a->fds[i]) && !adoption_join_page(a, a->fds[i]))
			rest[n++] = a->fds[i];
	adopt_channels(a);
	adopt_connections(a);
	list_for_each (i, &sockets->channels->all) {
		queue_take(list_entry(i, struct channel, link));
		channel_pump(list_entry(i, struct channel, link));
	}
	/* Before anybody can ask for one of these again. */
	adopt_orphans(sockets);
	for (size_t i = 0; i < n; i++)
		adopt_unrecorded(sockets, rest[i]);
	list_for_each (i, &sockets->channels->all)
		lend_all(sockets, list_entry(i, struct channel, link)->entrypoint);
	/* Control clients may have asked for programs. */
	adopt_others(a, SOCKET_INIT);
	adopt_others(a, SOCKET_THREAD);
	adopt_others(a, SOCKET_CONTROL);
	adopt_others(a, SOCKET_CALL);
	return 0;
}

/*
 * The mark of a request that was being sent is cleared only here, when whoever had to know of it
 * has looked (conversation/). A store without room for what is late is no reason not to serve.
 */
int
adopt(struct sockets *sockets, const int *fds, size_t n)
{
	struct adoption a = {.sockets = sockets, .fds = fds, .n = n};
	cleanup_free char *reason = NULL;
	int r;

	list_init(&a.found);
	r = state_scan(sockets->state, adoption_load, &a, &reason);
	if (r == 0)
		r = memos_placed(sockets, adoption_place, &a);
	if (r == 0)
		r = adopt_all(&a);
	adoption_deinit(&a);
	if (r) {
		log_message(LOG_ERR, "the store's connections: %s",
			reason ? reason : error_name(r < 0 ? r : EBADMSG));
		return r < 0 ? error_trace(r) : -EBADMSG;
	}
	if (sockets->boot->page)
		sockets->boot->page->sending = 0;
	r = memos_flush(sockets);
	if (r == -ENOSPC) {
		log_message(LOG_WARNING, "the state store is full: old connections stay in it");
		r = 0;
	}
	return r;
}
