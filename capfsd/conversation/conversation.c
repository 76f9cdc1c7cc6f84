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

#include "capfsd/conversation/conversations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/conversation/call.h"
#include "capfsd/conversation/reply.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/request.h"
#include "capfsd/process/boot.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/connection.h"
#include "capfsd/sockets/serve.h"
#include "capfsd/tree/conversations.h"
#include "capfsd/tree/tree.h"
#include "wire/wire.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
#define MEMINFO_WMEM_ALLOC 2 /* enum of linux/sock_diag.h: what the other end has not read yet */
#define MEMINFO_MAX 16

/*
 * All of a request or nothing: half a request in a packet socket is impossible, and in a stream one
 * the service could not tell it from a whole one, so a conversation that took only a part of it
 * ends. The writing side of a stream is shut down, since its end is what tells the service that
 * this was all. Returns: 0 or -errno.
 */
static int
call_send(struct call *call, int fd, const void *data, size_t n)
{
	const struct wire_call m = {.type = WIRE_CALL,
		.serial = call->memo->record.call.serial,
		.payload = data,
		.n_payload = n};
	ssize_t sent;

	if (call->calls) {
		int size = wire_call_encode(&m, call->all->packet, WIRE_CALL_MAX);

		if (size < 0)
			return size;
		data = call->all->packet;
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

static int
refuse_connect(struct call *call, struct request *r, struct capability *c, int answer)
{
	cleanup_text struct text reason = {};
	int error = connect_refused(call->all->sockets, c, answer, &reason);

	return refuse(r, error, "%s", reason.data ? reason.data : "");
}

CLEANUP_DEFINE(struct call *, call_free)

/*
 * A new connection over the pair FDS, with the request in it; [0] is the server's. The connection,
 * the conversation and the reply to the WRITE go with one commit: after a crash there are all three
 * or none, and a WRITE that the kernel sends again is answered from the store instead of asking
 * twice.
 */
static int
call_connect(struct call *call, struct request *r, struct capability *c, int fds[2])
{
	const struct arrival arrival = {
		.fd = fds[0],
		.peer = {.uid = r->uid, .gid = r->gid, .pid = r->pid},
		.client_cookie = call->memo->record.cookie,
	};
	struct sockets *sockets = call->all->sockets;
	struct change *ch = change_begin(sockets->model);
	struct connection *conn = NULL;
	int answer;

	answer = connect_stage(sockets, ch, c, &arrival, &conn);
	if (answer < 0)
		return request_fail(r, ch, answer);
	if (answer > 0) {
		change_abort(ch);
		return refuse_connect(call, r, c, answer);
	}
	fds[0] = -1;
	answer = call_stage(call, ch);
	answer = answer < 0 ? request_fail(r, ch, answer) : request_commit(r, ch);
	if (answer < 0 || r->error) {
		connection_free(conn);
		return answer;
	}
	memo_stored(call->all->sockets, call->memo);
	call_connected(call, conn);
	connect_publish(conn);
	return 0;
}

/*
 * The pair, the record, and the request in the socket are made here. Nobody but this process knows
 * of them yet, so that whatever fails leaves nothing behind but two descriptors to be closed.
 */
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
	/* A reply is text: nobody could be given the descriptors of one. */
	(void)fd_refuse_descriptors(fds[1]);
	call->memo = memo_new(SOCKET_CALL, cookie, c->entity.id);
	if (!call->memo)
		return -ENOMEM;
	call->memo->record.call.handle = call->handle;
	call->memo->record.call.serial = 1;
	return call_send(call, fds[1], data, n);
}

/*
 * What was made is given up again by the cleanup until the commit has succeeded; after that the
 * open file has it, and the service may already be at it.
 */
static int
call_begin(struct conversations *all, struct request *r, struct capability *c, uint64_t handle,
	const void *data, size_t n)
{
	cleanup(call_free_p) struct call *call = NULL;
	const struct service service = capability_service(c);
	int e, fds[2] = {-1, -1};
	enum quota_kind kind;

	if (!service.entrypoint)
		return refuse(r, ECONNREFUSED, "nobody serves it");
	if (service.listens)
		return refuse(r, EOPNOTSUPP, "its server accepts by itself: connect to its socket");
	/* One whose server went a moment ago need not wait for the loop to hear of it. */
	serve_look(service.entrypoint);
	e = call_new(all, c, handle, &call, &kind);
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

/* The page outlives this broker: its successor sees that it died while it was sending. */
static void
call_mark(struct call *call, uint64_t handle)
{
	struct boot_page *page = call->all->sockets->boot->page;

	if (page)
		__atomic_store_n(&page->sending, handle, __ATOMIC_SEQ_CST);
}

/*
 * Another request on the connection that is there. Its serial is committed before it is sent: sent
 * first, it would be sent once more by a successor that knows nothing of it. The mark says
 * meanwhile that this cannot be told from the store. Returns: 0, the reply stands in R;
 * CALL_E_NONE: the service has ended it, and got nothing; -errno.
 */
static int
call_go_on(struct call *call, struct request *r, const void *data, size_t n)
{
	const struct call_progress before = call->progress;
	struct change *ch = change_begin(r->model);
	int e;

	call->progress = (struct call_progress){.tag = before.tag};
	call->memo->record.call.serial++;
	call_mark(call, call->handle);
	e = call_stage(call, ch);
	e = e < 0 ? request_fail(r, ch, e) : request_commit(r, ch);
	if (e < 0 || r->error) {
		call->progress = before;
		call->memo->record.call.serial--;
		call_mark(call, 0);
		return e;
	}
	e = call_send(call, call->fd, data, n);
	call_mark(call, 0);
	/*
	 * A service may close what is idle at any time. It has not seen this request, so that a new
	 * connection for it is no repetition.
	 */
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

/*
 * A connection is used again for the next request where that is possible: packets, whose reply was
 * read, and a service that has said nothing since. Else it ends, and a new one begins.
 */
static int
calls_write(void *data, struct request *r, struct node node, uint64_t handle, const void *bytes, size_t n)
{
	struct capability *c = capability_of(node.entity);
	struct conversations *all = data;
	struct call *call = call_find(all, handle);

	if (!capability_is_live(c))
		return refuse(r, ESTALE, "the capability has ended");
	if (call && !call_is_over(call))
		return refuse(r, EBUSY, "the reply to the request before must be read first");
	if (call && !call->stream && !call->progress.given_up &&
		call->progress.state == CALL_ANSWERED && endpoint_may_call(c) &&
		call_drain(call)) {
		int e = call_go_on(call, r, bytes, n);

		if (e != CALL_E_NONE)
			return e;
	}
	call_free(call);
	return call_begin(all, r, c, handle, bytes, n);
}

static int
calls_read(void *data, struct request *r, struct node node, struct call_read *read)
{
	struct capability *c = capability_of(node.entity);
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

/*
 * A READ that is sent again to a new broker keeps the deadline it had: else each crash would
 * prolong it. Without room in the store it holds as long as this broker does, so the error is only
 * traced.
 */
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

/*
 * From here on the reply counts as not wanted: who waited in vain may ask something else, on a new
 * connection, since the late reply would be taken for the next one's on this.
 */
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

const struct calls conversation_calls = {
	.bytes_max = CALL_BYTES_MAX,
	.write = calls_write,
	.read = calls_read,
	.exists = calls_exists,
	.end = calls_end_one,
	.wait = calls_wait,
	.give_up = calls_give_up,
	.poll = calls_poll,
};

/*
 * Whoever waits to read hears of it, and gets an error by the next look: without this that READ
 * would wait for its deadline. The next link is taken before the call is freed with its own.
 */
void
conversations_gone(struct conversations *all, const struct entity *e)
{
	struct index_link *l = index_first(&all->by_owner, index_hash_id(e->id));

	while (l) {
		struct call *call = container_of(l, struct call, owner_link);
		uint64_t handle = call->handle;

		l = index_next(l);
		if (call->memo->record.owner != e->id)
			continue;
		call_free(call);
		all->ready(all->ready_data, handle);
	}
}

/*
 * Is there a trace of the request that CALL's predecessor was sending? Bytes that the service has
 * not read yet are counted by the kernel as this socket's; if it has read them, it may have
 * replied. A service that has read and not replied leaves no trace.
 */
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

/*
 * Who comes after this broker finds no mark any more, since adopt() clears it: what it means must
 * be in the store. A request that may or may not have been done fails visibly: to send it again
 * could do it twice, and to wait for its reply could mean for ever.
 */
static void
call_decide(struct call *call)
{
	const struct boot_page *page = call->all->sockets->boot->page;

	if (!page || page->sending != call->handle || call->progress.state != CALL_ASKED ||
		call_was_sent(call))
		return;
	call->progress.state = CALL_FAILED;
	call->progress.error = ECONNABORTED;
	error_trace(call_commit(call));
}

/*
 * FOUND is a conversation of a predecessor. One whose capability is gone, or whose progress has
 * another length than this version's, cannot go on, and the end of its connection tells the
 * service. It is adopted after connections are, of which it finds the one that it is the client of.
 */
static bool
on_adopt(void *data, struct adopted *found)
{
	struct conversations *all = data;
	struct memo *memo;
	struct entity *e;
	struct call *call = NULL;
	enum quota_kind kind;
	int r = -ENOENT, fd;

	if (!found->kind)
		return false;
	memo = take_ptr(found->memo);
	fd = take_fd(found->fd);
	e = entity_find(all->sockets->model, memo->record.owner);
	if (e && e->kind == ENTITY_CAPABILITY && found->n_text == sizeof(call->progress) &&
		!call_find(all, memo->record.call.handle))
		r = call_new(all, capability_of(e),
			memo->record.call.handle, &call, &kind);
	if (r == 0) {
		call->memo = memo;
		r = call_link(call, fd);
		if (r < 0)
			call->memo = NULL;
	}
	if (r) {
		call_free(call);
		socket_discard(all->sockets, fd, e ? entity_session(e) : all->sockets->model->root);
		memo_drop(all->sockets, memo);
		return true;
	}
	memcpy(&call->progress, found->text, found->n_text);
	call_connected(call, connection_find_paired(all->sockets, memo->record.cookie));
	call_recall(call);
	call_decide(call);
	return true;
}

static const struct endpoint_ops call_ops = {
	.socket = SOCKET_CALL,
	.adopt = on_adopt,
};

CLEANUP_DEFINE(struct conversations *, conversations_free)

int
conversations_new(struct sockets *sockets, conversation_ready_t ready, void *data,
	struct conversations **ret)
{
	cleanup(conversations_free_p) struct conversations *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	all->sockets = sockets;
	all->ready = ready;
	all->ready_data = data;
	list_init(&all->all);
	all->packet = malloc(WIRE_CALL_MAX);
	if (!all->packet)
		return -ENOMEM;
	core_add_user(sockets, &call_ops, all);
	*ret = take_ptr(all);
	return 0;
}

void
conversations_stop(struct conversations *all)
{
	while (!list_empty(&all->all))
		call_free(list_entry(list_first(&all->all), struct call, link));
}

/*
 * Its row is taken out of the sockets' users first: they live on, and must not call what is gone.
 */
struct conversations *
conversations_free(struct conversations *all)
{
	if (!all)
		return NULL;
	core_remove_user(all->sockets, &call_ops);
	conversations_stop(all);
	index_deinit(&all->by_handle);
	index_deinit(&all->by_owner);
	free(all->packet);
	free(all);
	return NULL;
}
