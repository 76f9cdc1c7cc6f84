/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a conversation is and has, from its making to its end: the client's end of a connection,
 * what it pays, and its place among the others. What is asked in it is conversation.c's, what is
 * read of it reply.c's; nobody else calls this.
 *
 * It is known from call_link() on, by the open file and by the capability. Until then it has no
 * descriptor of its own, and call_free() takes back only what was charged.
 */
#include "config.h"

#include "capfsd/conversation/call.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/sockets/connection.h"

#define CALL_RAM 512 /* charged for each */

struct call *
call_find(struct conversations *all, uint64_t handle)
{
	struct index_link *l = index_first(&all->by_handle, index_hash_id(handle));

	for (; l; l = index_next(l)) {
		struct call *call = container_of(l, struct call, handle_link);

		if (call->handle == handle)
			return call;
	}
	return NULL;
}

/*
 * The service sees an end like that of any client: what it has not read yet it may still read. The
 * connection's reference to this is taken off first, since the connection lives on until its server
 * has taken it, and would write into memory that was freed here.
 */
struct call *
call_free(struct call *call)
{
	struct conversations *all;

	if (!call)
		return NULL;
	all = call->all;
	watch_remove(&call->watch);
	if (call->fd >= 0) {
		index_remove(&all->by_handle, &call->handle_link);
		index_remove(&all->by_owner, &call->owner_link);
		call->fd = core_close(all->sockets, call->fd, call->socket.session);
	}
	list_unlink(&call->link);
	if (call->connection) {
		struct connection *conn = call->connection;

		connection_set_reference(conn, NULL);
		/* What it counted for is there at once for who asks next. */
		if (!all->sockets->forgetting)
			connection_left(conn);
	}
	charge_deinit(&call->socket);
	charge_deinit(&call->ram);
	call->memo = memo_drop(all->sockets, call->memo);
	free(call);
	return NULL;
}

CLEANUP_DEFINE(struct call *, call_free)

/*
 * The capability's session pays for the client's end as well: it is a socket of the daemon's that
 * somebody can have as many of as files that are open.
 */
int
call_new(struct conversations *all, struct capability *c, uint64_t handle, struct call **ret,
	enum quota_kind *ret_kind)
{
	cleanup(call_free_p) struct call *call = calloc(1, sizeof(*call));
	const struct service service = capability_service(c);

	if (!call)
		return -ENOMEM;
	call->all = all;
	call->handle = handle;
	call->fd = -1;
	call->stream = service.socket == SOCK_STREAM;
	call->calls = service.calls;
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

/*
 * Not asked for again but by whoever still waits: else the loop would turn for every piece of a
 * reply that nobody reads. CALL may be freed by those who are told.
 */
static bool
call_on_io(void *data)
{
	struct call *call = data;

	watch_set(&call->watch, 0);
	call->all->ready(call->all->ready_data, call->handle);
	return false;
}

/*
 * Watched only when somebody waits for it (call_watch()): most replies are read as soon as they are
 * there. FD is taken by the last step, so that whoever fails before it still has one to close.
 */
int
call_link(struct call *call, int fd)
{
	struct conversations *all = call->all;
	int r;

	r = core_watch(all->sockets, &call->watch, call->ram.session, fd, 0, call_on_io, call);
	if (r == 0)
		r = index_add(&all->by_handle, &call->handle_link, index_hash_id(call->handle));
	if (r < 0)
		return r;
	r = index_add(&all->by_owner, &call->owner_link,
		index_hash_id(call->memo->record.owner));
	if (r < 0) {
		index_remove(&all->by_handle, &call->handle_link);
		return r;
	}
	list_append(&all->all, &call->link);
	call->fd = fd;
	return 0;
}

/*
 * The connection may end before its client does, by a revocation; the pointer is then NULL, and
 * nobody reaches what was freed.
 */
void
call_connected(struct call *call, struct connection *conn)
{
	call->connection = conn;
	if (conn)
		connection_set_reference(conn, &call->connection);
}

int
call_stage(struct call *call, struct change *ch)
{
	return memo_stage(call->memo, ch, &call->progress, sizeof(call->progress));
}

int
call_commit(struct call *call)
{
	struct change *ch = change_begin(call->all->sockets->model);
	int r = call_stage(call, ch);

	if (r < 0) {
		change_abort(ch);
		return r;
	}
	return change_commit(ch);
}

void
call_watch(struct call *call)
{
	watch_set(&call->watch, EPOLLIN);
}
