/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a listener comes and goes: made by the binder when a look-up wants it, given back when too
 * many of them have nobody connected.
 *
 * Giving back goes in steps, each of which may be the last: the kernel is told to look the node up
 * again (a look-up that comes keeps the listener), a second later the socket is closed, and if the
 * kernel does not forget the node soon after that, somebody holds its inode and can connect
 * without any look-up: then it is bound again.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/number.h"

static struct binder_job
binding_job(const struct listener *l)
{
	struct binder_job job = {
		.capability = l->entity->id,
		.socket_type = SOCK_SEQPACKET,
		.backlog = BACKLOG,
	};
	const struct object *o;

	if (l->entity->kind == ENTITY_SESSION)
		return job;
	if (l->entity->kind == ENTITY_OBJECT) {
		o = container_of(l->entity, struct object, entity);
		job.capability = 0;
	} else {
		o = capability_object(container_of(l->entity, struct capability, entity));
	}
	job.object = o->entity.id;
	if (o->record.socket == OBJECT_STREAM)
		job.socket_type = SOCK_STREAM;
	return job;
}

/* Sends the binder what waits for it, as far as it takes it. */
static void
binding_send(struct ipc *ipc)
{
	if (ipc->next_binder_fd >= 0)
		return;
	while (ipc->binder_source && !list_empty(&ipc->queued)) {
		struct listener *l =
			list_entry(list_first(&ipc->queued), struct listener, state_link);
		struct binder_job job = binding_job(l);
		ssize_t n = msg_send(ipc->binder_fd, &job, sizeof(job), NULL, 0, MSG_DONTWAIT);

		if (n == -EAGAIN || n == -ENOBUFS || n == -ENOMEM) {
			sd_event_source_set_io_events(ipc->binder_source, EPOLLIN | EPOLLOUT);
			return;
		}
		/* Any other error means that it died, which the loop will see. */
		if (n < 0)
			return;
		listener_move(l, LISTENER_SENT, &ipc->sent);
	}
	if (ipc->binder_source)
		sd_event_source_set_io_events(ipc->binder_source, EPOLLIN);
}

void
binding_request(struct listener *l)
{
	listener_move(l, LISTENER_QUEUED, &l->ipc->queued);
	binding_send(l->ipc);
}

bool
ipc_socket_ready(struct ipc *ipc, struct entity *e)
{
	const struct listener *l = listener_find(e);

	return l && l->state == LISTENER_BOUND;
}

static void
binding_want(struct ipc *ipc, struct listener *l)
{
	l->wanted = true;
	switch ((enum listener_state)l->state) {
	case LISTENER_RETIRING:
		if (listener_charge(l)) {
			listener_done(l, EDQUOT);
			return;
		}
		listener_move(l, LISTENER_BOUND, NULL);
		/* fallthrough */
	case LISTENER_BOUND:
		listener_touch(l);
		listener_done(l, 0);
		binding_balance(l->ipc);
		return;
	case LISTENER_QUEUED:
	case LISTENER_SENT:
		return;
	case LISTENER_UNBOUND:
	case LISTENER_CLOSED:
		break;
	}
	if (listener_charge(l)) {
		listener_done(l, EDQUOT);
		listener_move(l, LISTENER_UNBOUND, NULL);
		listener_release(l);
		return;
	}
	binding_request(l);
}

void
ipc_socket_want(struct ipc *ipc, struct entity *e)
{
	struct listener *l;

	if (ipc->stopped || !listener_is_served(e)) {
		ipc->fs->socket_done(ipc->fs_data, e, ECONNREFUSED);
		return;
	}
	l = listener_get(ipc, e);
	if (l)
		binding_want(ipc, l);
	else
		ipc->fs->socket_done(ipc->fs_data, e, ENOMEM);
}

void
ipc_socket_forgotten(struct ipc *ipc, uint64_t entity_id)
{
	struct entity *e = entity_find(ipc->model, entity_id);
	struct listener *l = NULL;

	if (e && (e->kind == ENTITY_CAPABILITY || e->kind == ENTITY_SESSION))
		l = listener_find(e);
	if (!l || l->state != LISTENER_CLOSED)
		return;
	listener_move(l, LISTENER_UNBOUND, NULL);
	listener_release(l);
}

static void
binding_give_back(struct listener *l)
{
	struct ipc *ipc = l->ipc;

	listener_move(l, LISTENER_RETIRING, &ipc->retiring);
	l->due_usec = ipc_now(ipc) + RETIRE_USEC;
	ipc->fs->socket_invalidate(ipc->fs_data, l->entity);
	ipc_arm(ipc->retire_timer, RETIRE_USEC);
}

/* Gives back those without connections that nobody asked for longest, beyond the limit. */
void
binding_balance(struct ipc *ipc)
{
	while (ipc->n_idle > ipc->n_idle_max)
		binding_give_back(list_entry(list_first(&ipc->idle), struct listener, state_link));
}

bool
binding_yield(struct ipc *ipc, const struct session *s, const struct listener *keep)
{
	list_for_each (i, &ipc->idle) {
		struct listener *l = list_entry(i, struct listener, state_link);

		if (l == keep || l->charge.session != s)
			continue;
		binding_give_back(l);
		charge_deinit(&l->charge);
		return true;
	}
	return false;
}

static void
binding_retire(struct listener *l)
{
	struct ipc *ipc = l->ipc;

	/* Somebody connected in the meantime: it is in use again. */
	if (l->n_connections > 0 && listener_charge(l) == 0) {
		listener_move(l, LISTENER_BOUND, NULL);
		return;
	}
	listener_move(l, LISTENER_CLOSED, &ipc->closed);
	l->due_usec = ipc_now(ipc) + FORGET_USEC;
	listener_close(l, true);
	charge_deinit(&l->charge);
}

static void
binding_hold(struct listener *l)
{
	if (listener_is_served(l->entity) && listener_charge(l) == 0) {
		binding_request(l);
		return;
	}
	listener_move(l, LISTENER_UNBOUND, NULL);
	listener_release(l);
}

/* Runs F for those in LIST that are due; it moves them elsewhere. Returns: when the next one is. */
static uint64_t
binding_run_due(struct ipc *ipc, struct list *list, void (*f)(struct listener *l))
{
	while (!list_empty(list)) {
		struct listener *l = list_entry(list_first(list), struct listener, state_link);

		if (l->due_usec > ipc_now(ipc))
			return l->due_usec;
		f(l);
		ipc->activity++;
	}
	return UINT64_MAX;
}

int
binding_on_retire(sd_event_source *source, uint64_t usec, void *data)
{
	struct ipc *ipc = data;
	uint64_t held = binding_run_due(ipc, &ipc->closed, binding_hold);
	uint64_t next = binding_run_due(ipc, &ipc->retiring, binding_retire);

	if (!list_empty(&ipc->closed) && held == UINT64_MAX)
		held = ipc_now(ipc) + FORGET_USEC;
	if (held < next)
		next = held;
	if (next != UINT64_MAX)
		ipc_arm(ipc->retire_timer, next > ipc_now(ipc) ? next - ipc_now(ipc) : 0);
	return 0;
}

struct entity *
binding_find(struct ipc *ipc, uint64_t object, uint64_t capability)
{
	struct entity *e = entity_find(ipc->model, capability ? capability : object);

	if (e && capability == 0)
		return e->kind == ENTITY_OBJECT ? e : NULL;
	if (!e)
		return NULL;
	if (object == 0)
		return e->kind == ENTITY_SESSION ? e : NULL;
	if (e->kind != ENTITY_CAPABILITY)
		return NULL;
	return capability_object(container_of(e, struct capability, entity))->entity.id == object ? e : NULL;
}

struct entity *
binding_entity(struct ipc *ipc, int fd)
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
	return binding_find(ipc, object, capability);
}

/* The binder's answer to a job of this broker, or of one before it. Takes FD, which may be -1. */
static void
binding_result(struct ipc *ipc, const struct binder_result *result, int fd)
{
	struct entity *e = binding_find(ipc, result->object, result->capability);
	struct listener *l = e ? listener_find(e) : NULL;
	int error = result->error ? (int)result->error : fd < 0 ? EIO : 0;

	if (e && !error && !listener_is_served(e))
		error = ECONNREFUSED;
	if (!l && e && !error)
		l = listener_get(ipc, e);
	if (!l) {
		fd_shutdown_close(fd);
		return;
	}
	if (!error)
		error = listener_charge(l);
	if (error)
		fd_shutdown_close(fd);
	else
		error = -listener_set_fd(l, fd);
	listener_done(l, error);
	if (error && listener_is_lent(l))
		lend_failed(l, error);
	if (error && l->fd < 0) {
		charge_deinit(&l->charge);
		listener_move(l, LISTENER_UNBOUND, NULL);
		listener_release(l);
	}
	binding_balance(ipc);
}

static void binding_install(struct ipc *ipc, int fd);

/* The binder died. What it had not answered the next one gets. */
static void
binding_lost(struct ipc *ipc)
{
	ipc->binder_source = sd_event_source_disable_unref(ipc->binder_source);
	while (!list_empty(&ipc->sent))
		listener_move(list_entry(list_first(&ipc->sent), struct listener, state_link),
			LISTENER_QUEUED, &ipc->queued);
	/* Those who were at it ended with it, or are nobody's any more. */
	inspections_forget(ipc);
	if (ipc->next_binder_fd >= 0)
		binding_install(ipc, take_fd(ipc->next_binder_fd));
	else
		log_message(LOG_INFO, "the binder is gone; waiting for the next");
}

/* Returns: false: the binder is lost. */
static bool
binding_receive(struct ipc *ipc)
{
	for (unsigned i = 0; i < MESSAGES_MAX; i++) {
		struct binder_result result;
		int listener = -1;
		size_t n_fds = 0;
		ssize_t n = msg_receive(
			ipc->binder_fd, &result, sizeof(result), &listener, 1, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		if (n != sizeof(result)) {
			if (n_fds > 0)
				fd_shutdown_close(listener);
			binding_lost(ipc);
			return false;
		}
		ipc->activity++;
		if (result.inspection)
			inspection_result(ipc, &result);
		else
			binding_result(ipc, &result, n_fds > 0 ? listener : -1);
	}
	return true;
}

void
binding_look(struct ipc *ipc)
{
	if (ipc->binder_source)
		binding_receive(ipc);
}

static int
binding_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct ipc *ipc = data;

	if (binding_receive(ipc) && revents & EPOLLOUT)
		binding_send(ipc);
	return 0;
}

static void
binding_install(struct ipc *ipc, int fd)
{
	int r;

	/* Under the old one's number, since there the next broker will look for it. */
	if (ipc->binder_fd >= 0 && ipc->binder_fd != fd) {
		if (dup3(fd, ipc->binder_fd, O_CLOEXEC) < 0)
			log_message(LOG_ERR, "the new binder: %s", error_name(errno));
		fd_close(fd);
	} else {
		ipc->binder_fd = fd;
	}
	r = fd_set_nonblock(ipc->binder_fd, true);
	if (r == 0)
		r = ipc_add_io(
			ipc, ipc->binder_fd, EPOLLIN, binding_on_io, ipc, &ipc->binder_source);
	if (r < 0)
		ipc_fail(ipc, r);
	else
		binding_send(ipc);
}

/*
 * One that is still there has its jobs to itself until it has answered them all: were two at the same
 * one, clients could come to the listener that is not ours.
 */
void
ipc_set_binder(struct ipc *ipc, int fd)
{
	if (!ipc->binder_source) {
		binding_install(ipc, fd);
		return;
	}
	fd_close(ipc->next_binder_fd);
	ipc->next_binder_fd = fd;
	sd_event_source_set_io_events(ipc->binder_source, EPOLLIN);
	shutdown(ipc->binder_fd, SHUT_WR);
	ipc_arm(ipc->binder_timer, BINDER_USEC);
}

/* It does not end. */
int
binding_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct ipc *ipc = data;

	if (ipc->next_binder_fd < 0)
		return 0;
	if (ipc->binder_source)
		binding_lost(ipc);
	else
		binding_install(ipc, take_fd(ipc->next_binder_fd));
	return 0;
}
