/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes up what a predecessor left: descriptors without a word beside them, and records without a
 * descriptor beside them. A socket's cookie joins the two; a socket without a record says by its
 * own name what it is: a listener, or a connection that had just been accepted.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

struct found {
	struct index_link cookie_link;
	struct index_link fd_link; /* under the cookie of the reply's descriptor */
	struct index_link pages_link; /* under the identity of its pages */
	struct list link;
	struct memo *memo;
	int fd, reply_fd, page_fds[2];
	size_t n_text;
	char text[];
};

struct adoption {
	struct ipc *ipc;
	struct index by_cookie, by_fd_cookie, by_pages;
	struct list found;
	const int *fds; /* -1: dealt with */
	size_t n;
};

static struct found *
found_new(const void *data, size_t n)
{
	struct connection_record record;
	struct found *f;

	memcpy(&record, data, sizeof(record));
	f = calloc(1, sizeof(*f) + n - sizeof(record));
	if (!f)
		return NULL;
	f->memo = memo_new(record.kind, record.cookie, record.owner);
	if (!f->memo) {
		free(f);
		return NULL;
	}
	f->memo->record = record;
	f->memo->stored = true;
	f->fd = f->reply_fd = f->page_fds[0] = f->page_fds[1] = -1;
	f->n_text = n - sizeof(record);
	memcpy(f->text, (const char *)data + sizeof(record), f->n_text);
	return f;
}

static int
adoption_load(void *data, uint64_t key, const void *record, size_t n)
{
	struct adoption *a = data;
	struct found *f;
	int r;

	if (STORE_KEY_SPACE(key) != STORE_CONNECTION)
		return 0;
	if (n < sizeof(struct connection_record) ||
		n > sizeof(struct connection_record) + WIRE_TEXT_MAX)
		return -EBADMSG;
	f = found_new(record, n);
	if (!f)
		return -ENOMEM;
	r = index_add(&a->by_cookie, &f->cookie_link, index_hash_id(f->memo->record.cookie));
	if (r < 0) {
		free(f->memo);
		free(f);
		return r;
	}
	list_append(&a->found, &f->link);
	if (f->memo->record.fd_cookie)
		r = index_add(
			&a->by_fd_cookie, &f->fd_link, index_hash_id(f->memo->record.fd_cookie));
	if (r == 0 && f->memo->record.pages)
		r = index_add(&a->by_pages, &f->pages_link, index_hash_id(f->memo->record.pages));
	return r;
}

static struct found *
adoption_find(const struct adoption *a, uint64_t cookie)
{
	struct index_link *link = index_first(&a->by_cookie, index_hash_id(cookie));

	for (; link; link = index_next(link)) {
		struct found *f = container_of(link, struct found, cookie_link);

		if (f->memo->record.cookie == cookie)
			return f;
	}
	return NULL;
}

static struct found *
adoption_find_reply(const struct adoption *a, uint64_t cookie)
{
	struct index_link *link = index_first(&a->by_fd_cookie, index_hash_id(cookie));

	for (; link; link = index_next(link)) {
		struct found *f = container_of(link, struct found, fd_link);

		if (f->memo->record.fd_cookie == cookie)
			return f;
	}
	return NULL;
}

/* The same for pages. */
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

		if (f->memo->record.pages != identity || f->page_fds[kind] >= 0)
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
	if (f && f->fd < 0) {
		f->fd = fd;
		return true;
	}
	if (f) {
		/* A copy of what is there: such as one received, but not yet looked at. */
		fd_close(fd);
		return true;
	}
	f = adoption_find_reply(a, cookie);
	if (!f || f->reply_fd >= 0)
		return false;
	f->reply_fd = fd;
	return true;
}

struct backlog {
	struct ipc *ipc;
	struct entity *entity;
};

static void
backlog_accepted(void *data, int client)
{
	struct backlog *b = data;

	listener_admit(b->ipc, b->entity, client);
}

/* The predecessor was about to close it. There may be another one, or it is bound again when it is wanted. */
static bool
is_shut_down(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

/* Who had connected before has. */
static void
adopt_backlog(struct ipc *ipc, struct entity *e, int fd)
{
	struct backlog b = {ipc, e};

	for (unsigned n = 0; n <= BACKLOG && listener_accept_each(fd, backlog_accepted, &b) == 0;)
		n += ACCEPTS_MAX;
	fd_close(fd);
}

static void
adopt_listener(struct ipc *ipc, struct entity *e, int fd)
{
	struct listener *l = NULL;

	if (e->kind != ENTITY_OBJECT && is_shut_down(fd)) {
		adopt_backlog(ipc, e, fd);
		return;
	}
	if (listener_is_served(e))
		l = listener_get(ipc, e);
	if (!l || listener_charge(l)) {
		fd_shutdown_close(fd);
		if (l)
			listener_release(l);
		return;
	}
	if (listener_set_fd(l, fd) < 0) {
		charge_deinit(&l->charge);
		listener_release(l);
	}
}

/* A socket without a record; or no socket: what the dead process had for itself. */
static void
adopt_unrecorded(struct ipc *ipc, int fd)
{
	struct entity *e = binding_entity(ipc, fd);

	if (activation_is(ipc, fd))
		activation_adopt(ipc, fd);
	else if (!e)
		fd_shutdown_close(fd);
	else if (socket_is_listening(fd))
		adopt_listener(ipc, e, fd);
	else if (e->kind == ENTITY_OBJECT)
		socket_discard(fd);
	else
		/* Accepted, and nothing of it committed: as if it came now. */
		listener_admit(ipc, e, fd);
}

/* Takes up all records of KIND that have their descriptor. */
static void
adopt_recorded(struct adoption *a, enum socket_kind kind)
{
	list_for_each (i, &a->found) {
		struct found *f = list_entry(i, struct found, link);

		/* A channel may be gone, and its pages not yet. */
		if (!f->memo || (f->fd < 0 && f->page_fds[0] < 0) || f->memo->record.kind != kind)
			continue;
		switch (kind) {
		case SOCKET_CHANNEL:
			channel_adopt(a->ipc, take_fd(f->fd), take_ptr(f->memo), f->page_fds);
			f->page_fds[0] = f->page_fds[1] = -1;
			break;
		case SOCKET_CONNECTION:
			connection_adopt(a->ipc, take_fd(f->fd), take_ptr(f->memo));
			break;
		case SOCKET_CONTROL:
			control_adopt(a->ipc, take_fd(f->fd), take_ptr(f->memo), f->text, f->n_text,
				take_fd(f->reply_fd));
			break;
		case SOCKET_CALL:
			call_adopt(a->ipc, take_fd(f->fd), take_ptr(f->memo), f->text, f->n_text);
			break;
		}
	}
}

static void
adoption_deinit(struct adoption *a)
{
	list_for_each_safe (i, &a->found) {
		struct found *f = list_entry(i, struct found, link);

		list_unlink(&f->link);
		index_remove(&a->by_cookie, &f->cookie_link);
		if (f->memo && f->fd >= 0)
			fd_shutdown_close(f->fd);
		fd_close(f->reply_fd);
		fd_close(f->page_fds[0]);
		fd_close(f->page_fds[1]);
		memo_drop(a->ipc, f->memo);
		free(f);
	}
	index_deinit(&a->by_cookie);
	/* Their members are the ones just freed. */
	a->by_fd_cookie.n = a->by_pages.n = 0;
	index_deinit(&a->by_fd_cookie);
	index_deinit(&a->by_pages);
}

/* The session after S in depth-first order. */
static struct session *
session_after(struct session *s)
{
	if (!list_empty(&s->owned[ENTITY_SESSION]))
		return list_entry(list_first(&s->owned[ENTITY_SESSION]), struct session, entity.owner_link);
	for (; s->parent; s = s->parent)
		if (s->entity.owner_link.next != &s->parent->owned[ENTITY_SESSION])
			return list_entry(
				s->entity.owner_link.next, struct session, entity.owner_link);
	return NULL;
}

/* Entrypoints whose server went while no broker looked. */
static void
adopt_orphans(struct ipc *ipc)
{
	for (struct session *s = ipc->model->root; s; s = session_after(s))
		list_for_each_safe (i, &s->owned[ENTITY_ENTRYPOINT]) {
			struct entrypoint *e = list_entry(i, struct entrypoint, entity.owner_link);

			if (e->record.thread && !e->channel)
				channel_orphan(ipc, e);
		}
}

static int
adopt_all(struct adoption *a)
{
	struct ipc *ipc = a->ipc;
	cleanup_free int *rest = calloc(a->n + 1, sizeof(*rest));
	size_t n = 0;

	if (!rest)
		return -ENOMEM;
	for (size_t i = 0; i < a->n; i++)
		if (!adoption_join(a, a->fds[i]) && !adoption_join_page(a, a->fds[i]))
			rest[n++] = a->fds[i];
	adopt_recorded(a, SOCKET_CHANNEL);
	adopt_recorded(a, SOCKET_CONNECTION);
	list_for_each (i, &ipc->channels) {
		channel_take_held(list_entry(i, struct channel, link));
		channel_pump(list_entry(i, struct channel, link));
	}
	/* Before anybody can ask for one of these again. */
	adopt_orphans(ipc);
	for (size_t i = 0; i < n; i++)
		adopt_unrecorded(ipc, rest[i]);
	list_for_each (i, &ipc->channels)
		lend_all(ipc, list_entry(i, struct channel, link)->entrypoint);
	adopt_recorded(a, SOCKET_CONTROL);
	adopt_recorded(a, SOCKET_CALL);
	return 0;
}

int
ipc_adopt(struct ipc *ipc, const int *fds, size_t n)
{
	struct adoption a = {.ipc = ipc, .fds = fds, .n = n};
	cleanup_free char *reason = NULL;
	int r;

	list_init(&a.found);
	r = state_scan(ipc->state, adoption_load, &a, &reason);
	if (r == 0)
		r = adopt_all(&a);
	adoption_deinit(&a);
	if (r) {
		log_message(LOG_ERR, "the store's connections: %s",
			reason ? reason : error_name(r < 0 ? r : EBADMSG));
		return r < 0 ? error_trace(r) : -EBADMSG;
	}
	if (ipc->boot->page)
		ipc->boot->page->sending = 0;
	r = memos_flush(ipc);
	if (r == -ENOSPC) {
		log_message(LOG_WARNING, "the state store is full: old connections stay in it");
		ipc_arm(ipc->flush_timer, FLUSH_AGAIN_USEC);
		r = 0;
	}
	return r;
}
