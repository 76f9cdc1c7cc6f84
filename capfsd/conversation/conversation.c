/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A conversation that the daemon has with an object for an open file (caps/SLOT/call): one request,
 * its reply, the next request. It begins with the first request and ends with the file, and pays
 * `sockets` for its own end of the connection, which is one like any other at its other end.
 *
 * No request is sent twice. The first on a connection is put into the socket before the server is
 * offered it, and before the commit: who dies until then leaves two ends that nobody knows. A later
 * one is sent after its commit, while the page shared with the holder says so; whoever finds that
 * mark looks for a trace of it in the socket, and where there is none it cannot be known.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/ops/refusals.h"

#define CALL_RAM 512

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
#define MEMINFO_WMEM_ALLOC 2 /* enum of linux/sock_diag.h: what the other end has not read yet */
#define MEMINFO_MAX 16

static int call_on_io(sd_event_source *source, int fd, uint32_t revents, void *data);

struct call *
call_find(struct ipc *ipc, uint64_t handle)
{
	struct index_link *l = index_first(&ipc->calls, index_hash_id(handle));

	for (; l; l = index_next(l)) {
		struct call *call = container_of(l, struct call, handle_link);

		if (call->handle == handle)
			return call;
	}
	return NULL;
}

/* One that is not linked has no descriptor. */
struct call *
call_free(struct call *call)
{
	struct ipc *ipc;

	if (!call)
		return NULL;
	ipc = call->ipc;
	call->source = sd_event_source_disable_unref(call->source);
	if (call->fd >= 0) {
		index_remove(&ipc->calls, &call->handle_link);
		index_remove(&ipc->calls_by_owner, &call->owner_link);
		call->fd = ipc_close(ipc, call->fd);
	}
	list_unlink(&call->link);
	if (call->connection) {
		struct connection *conn = call->connection;

		conn->call = NULL;
		/* What it counted for is there at once for who asks next. */
		if (!ipc->forgetting)
			connection_left(conn);
	}
	charge_deinit(&call->socket);
	charge_deinit(&call->ram);
	call->memo = memo_drop(ipc, call->memo);
	free(call);
	return NULL;
}

CLEANUP_DEFINE(struct call *, call_free)

/* Everything but the descriptor. Returns: 0, EDQUOT with the kind of quota, -ENOMEM. */
static int
call_new(struct ipc *ipc, struct capability *c, uint64_t handle, struct call **ret,
	enum quota_kind *ret_kind)
{
	cleanup(call_free_p) struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->ipc = ipc;
	call->handle = handle;
	call->fd = -1;
	call->stream = capability_object(c)->record.socket == OBJECT_STREAM;
	call->calls = capability_object(c)->record.protocol == OBJECT_CALLS;
	list_init(&call->link);
	*ret_kind = QUOTA_RAM;
	if (charge_init(&call->ram, c->session, QUOTA_RAM, CALL_RAM))
		return EDQUOT;
	*ret_kind = QUOTA_SOCKETS;
	if (charge_init(&call->socket, c->session, QUOTA_SOCKETS, 1))
		return EDQUOT;
	*ret = take_ptr(call);
	return 0;
}

/* Makes it known. Takes FD on success. Returns: 0 or -errno. */
static int
call_link(struct call *call, int fd)
{
	struct ipc *ipc = call->ipc;
	int r;

	r = ipc_add_io(ipc, fd, EPOLLIN, call_on_io, call, &call->source);
	if (r == 0)
		r = sd_event_source_set_enabled(call->source, SD_EVENT_OFF);
	if (r >= 0)
		r = index_add(&ipc->calls, &call->handle_link, index_hash_id(call->handle));
	if (r < 0)
		return r;
	r = index_add(&ipc->calls_by_owner, &call->owner_link,
		index_hash_id(call->memo->record.owner));
	if (r < 0) {
		index_remove(&ipc->calls, &call->handle_link);
		return r;
	}
	list_append(&ipc->all_calls, &call->link);
	call->fd = fd;
	return 0;
}

static int
call_stage(struct call *call, struct change *ch)
{
	return memo_stage(call->memo, ch, (const char *)&call->progress, sizeof(call->progress));
}

int
call_commit(struct call *call)
{
	struct change *ch = change_begin(call->ipc->model);
	int r = call_stage(call, ch);

	if (r < 0) {
		change_abort(ch);
		return r;
	}
	return ipc_commit(call->ipc, ch);
}

static int
call_on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct call *call = data;

	call->ipc->activity++;
	call->ipc->fs->call_ready(call->ipc->fs_data, call->handle);
	return 0;
}

void
call_watch(struct call *call)
{
	sd_event_source_set_enabled(call->source, SD_EVENT_ONESHOT);
}

/* All of a request or nothing. Returns: 0 or -errno. */
static int
call_send(struct call *call, int fd, const void *data, size_t n)
{
	const struct wire_call m = {.type = WIRE_CALL,
		.serial = call->memo->record.serial,
		.payload = data,
		.n_payload = n};
	ssize_t sent;

	if (call->calls) {
		int size = wire_call_encode(&m, call->ipc->packet, WIRE_CALL_MAX);

		if (size < 0)
			return size;
		data = call->ipc->packet;
		n = (size_t)size;
	}
	sent = msg_send(fd, data, n, NULL, 0, MSG_DONTWAIT);
	if (sent < 0)
		return (int)sent;
	if (call->stream && shutdown(fd, SHUT_WR) < 0)
		return -errno;
	return (size_t)sent == n ? 0 : -ENOBUFS;
}

static int
refuse_send(struct request *r, int error)
{
	return refuse(r, -error, "the request cannot be sent");
}

/* A new connection over the pair FDS, with the request in it; [0] is the server's. */
static int
call_connect(struct call *call, struct request *r, struct capability *c, int fds[2])
{
	const struct ucred peer = {.uid = r->uid, .gid = r->gid, .pid = r->pid};
	struct ipc *ipc = call->ipc;
	cleanup_text struct text reason = {};
	struct change *ch = change_begin(ipc->model);
	struct connection *conn = NULL;
	int answer;

	answer = connection_stage(
		ipc, ch, c, fds[0], &peer, call->memo->record.cookie, &conn);
	if (answer < 0)
		return request_fail(r, ch, answer);
	if (answer > 0) {
		int error = connection_refusal(c, answer, &reason);

		change_abort(ch);
		counters_add(ipc->model->counters->connects_refused, answer);
		return refuse(r, error, "%s", reason.data ? reason.data : "");
	}
	fds[0] = -1;
	answer = call_stage(call, ch);
	if (answer < 0) {
		connection_free(conn);
		return request_fail(r, ch, answer);
	}
	memos_stage(ipc, ch);
	answer = request_commit(r, ch);
	memos_settle(ipc, answer == 0 && !r->error);
	if (answer < 0 || r->error) {
		connection_free(conn);
		return answer;
	}
	call->memo->stored = true;
	conn->call = call;
	call->connection = conn;
	connection_publish(conn);
	return 0;
}

/* The pair, the record, the request in the socket. Nobody but this process knows of them yet. */
static int
call_prepare(struct call *call, struct capability *c, int fds[2], const void *data, size_t n)
{
	uint64_t cookie;
	int e;

	e = fd_socketpair(call->stream ? SOCK_STREAM : SOCK_SEQPACKET, fds);
	if (e == 0)
		e = fd_socket_cookie(fds[1], &cookie);
	if (e < 0)
		return e;
	call->memo = memo_new(SOCKET_CALL, cookie, c->entity.id);
	if (!call->memo)
		return -ENOMEM;
	call->memo->record.value = call->handle;
	call->memo->record.serial = 1;
	return call_send(call, fds[1], data, n);
}

static int
call_begin(struct ipc *ipc, struct request *r, struct capability *c, uint64_t handle,
	const void *data, size_t n)
{
	cleanup(call_free_p) struct call *call = NULL;
	struct channel *channel = capability_entrypoint(c)->channel;
	int e, fds[2] = {-1, -1};
	enum quota_kind kind;

	if (entrypoint_listens(capability_entrypoint(c)))
		return refuse(r, EOPNOTSUPP, "its server accepts by itself: connect to its socket");
	/* One whose server went a moment ago need not wait for the loop to hear of it. */
	if (channel)
		channel_look(channel);
	e = call_new(ipc, c, handle, &call, &kind);
	if (e == EDQUOT)
		return refuse_quota(r, c->session, kind);
	if (e == 0)
		e = call_prepare(call, c, fds, data, n);
	if (e == 0)
		e = call_link(call, fds[1]);
	if (e == 0) {
		fds[1] = -1;
		e = call_connect(call, r, c, fds);
	} else {
		e = refuse_send(r, e);
	}
	fd_close(fds[0]);
	fd_close(fds[1]);
	if (e == 0 && !r->error)
		(void)take_ptr(call);
	return e;
}

static void
call_mark(struct call *call, uint64_t handle)
{
	struct boot_page *page = call->ipc->boot->page;

	if (page)
		__atomic_store_n(&page->sending, handle, __ATOMIC_SEQ_CST);
}

/*
 * Another request on the connection that is there. Returns: 0, the answer stands in R;
 * CALL_E_NONE: the service has ended it, and got nothing; -errno.
 */
static int
call_go_on(struct call *call, struct request *r, const void *data, size_t n)
{
	struct ipc *ipc = call->ipc;
	const struct call_progress before = call->progress;
	struct change *ch = change_begin(ipc->model);
	int e;

	call->progress = (struct call_progress){.tag = before.tag};
	call->memo->record.serial++;
	call_mark(call, call->handle);
	e = call_stage(call, ch);
	if (e == 0) {
		memos_stage(ipc, ch);
		e = request_commit(r, ch);
		memos_settle(ipc, e == 0 && !r->error);
	} else {
		e = request_fail(r, ch, e);
	}
	if (e < 0 || r->error) {
		call->progress = before;
		call->memo->record.serial--;
		call_mark(call, 0);
		return e;
	}
	e = call_send(call, call->fd, data, n);
	call_mark(call, 0);
	if (e == -EPIPE || e == -ECONNRESET || e == -ENOTCONN)
		return CALL_E_NONE;
	if (e < 0) {
		call->progress.state = CALL_FAILED;
		call->progress.error = (uint32_t)-e;
		error_trace(call_commit(call));
		return refuse_send(r, e);
	}
	return 0;
}

static int
calls_write(void *data, struct request *r, struct capability *c, uint64_t handle, const void *bytes,
	size_t n)
{
	struct ipc *ipc = data;
	struct call *call = call_find(ipc, handle);

	ipc->activity++;
	if (!capability_is_live(c))
		return refuse(r, ESTALE, "the capability has ended");
	if (call && !call_is_over(call))
		return refuse(r, EBUSY, "the reply to the request before must be read first");
	if (call && !call->stream && !call->progress.given_up &&
		call->progress.state == CALL_ANSWERED && connection_is_allowed(c) &&
		call_drain(call)) {
		int e = call_go_on(call, r, bytes, n);

		if (e != CALL_E_NONE)
			return e;
	}
	call_free(call);
	return call_begin(ipc, r, c, handle, bytes, n);
}

static int
calls_read(void *data, struct request *r, struct capability *c, struct call_read *read)
{
	struct call *call = call_find(data, read->handle);

	read->n = 0;
	if (!call)
		return CALL_E_NONE;
	if (!capability_is_live(c))
		return refuse(r, ESTALE, "the capability has ended");
	return call_read(call, r, c, read);
}

static bool
calls_exists(void *data, uint64_t handle)
{
	return call_find(data, handle);
}

static void
calls_end_one(void *data, uint64_t handle)
{
	call_free(call_find(data, handle));
}

/* A deadline that cannot be kept over a restart, for want of room, is kept until then. */
static uint64_t
calls_wait(void *data, const struct call_read *read, uint64_t until_usec)
{
	struct call *call = call_find(data, read->handle);
	struct call_progress *p;

	if (!call)
		return until_usec;
	p = &call->progress;
	if (read->resent && p->wait_unique == read->unique && p->wait_until_usec < until_usec)
		return p->wait_until_usec;
	p->wait_unique = read->unique;
	p->wait_until_usec = until_usec;
	error_trace(call_commit(call));
	return until_usec;
}

static void
calls_give_up(void *data, uint64_t handle)
{
	struct call *call = call_find(data, handle);

	if (!call || call->progress.given_up)
		return;
	call->progress.given_up = true;
	error_trace(call_commit(call));
}

static bool
calls_poll(void *data, uint64_t handle)
{
	struct call *call = call_find(data, handle);

	if (!call || call_is_readable(call))
		return true;
	call_watch(call);
	return false;
}

const struct calls ipc_calls = {
	.write = calls_write,
	.read = calls_read,
	.exists = calls_exists,
	.end = calls_end_one,
	.wait = calls_wait,
	.give_up = calls_give_up,
	.poll = calls_poll,
};

void
calls_gone(struct ipc *ipc, const struct entity *e)
{
	struct index_link *l = index_first(&ipc->calls_by_owner, index_hash_id(e->id));

	while (l) {
		struct call *call = container_of(l, struct call, owner_link);
		uint64_t handle = call->handle;

		l = index_next(l);
		if (call->memo->record.owner != e->id)
			continue;
		call_free(call);
		ipc->fs->call_ready(ipc->fs_data, handle);
	}
}

/* Is there a trace of the request that CALL's predecessor was sending? */
static bool
call_was_sent(struct call *call)
{
	uint32_t mem[MEMINFO_MAX] = {};
	socklen_t n = sizeof(mem);

	if (getsockopt(call->fd, SOL_SOCKET, SO_MEMINFO, mem, &n) == 0 &&
		mem[MEMINFO_WMEM_ALLOC] > 0)
		return true;
	return call_is_readable(call);
}

/* Who comes after this broker finds no mark any more: what it means must be in the store. */
static void
call_decide(struct call *call)
{
	const struct boot_page *page = call->ipc->boot->page;

	if (!page || page->sending != call->handle || call->progress.state != CALL_ASKED ||
		call_was_sent(call))
		return;
	call->progress.state = CALL_FAILED;
	call->progress.error = ECONNABORTED;
	error_trace(call_commit(call));
}

void
call_adopt(struct ipc *ipc, int fd, struct memo *memo, const void *progress, size_t n)
{
	struct entity *e = entity_find(ipc->model, memo->record.owner);
	struct call *call = NULL;
	enum quota_kind kind;
	int r = -ENOENT;

	if (e && e->kind == ENTITY_CAPABILITY && n == sizeof(call->progress) &&
		!call_find(ipc, memo->record.value))
		r = call_new(ipc, container_of(e, struct capability, entity), memo->record.value,
			&call, &kind);
	if (r == 0) {
		call->memo = memo;
		r = call_link(call, fd);
		if (r < 0)
			call->memo = NULL;
	}
	if (r) {
		call_free(call);
		fd_shutdown_close(fd);
		memo_drop(ipc, memo);
		return;
	}
	memcpy(&call->progress, progress, n);
	call->connection = connection_find_paired(ipc, memo->record.cookie);
	if (call->connection)
		call->connection->call = call;
	call_recall(call);
	call_decide(call);
}
