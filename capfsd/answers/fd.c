/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a posted descriptor (doc/PROTOCOL). Whoever posts one leaves it in the queue of his
 * connection, where it stays: the connection's record, and its cookie in the anchor's, are all that
 * the daemon has of it. Whoever fetches it gets a copy, which an inspector makes of what is queued
 * there (capfsd/binder): this process never has the descriptor, as to close one may take for ever.
 *
 * A crash finds each request still in its queue, and begins it anew, until the answer is out. What
 * was posted is committed with the anchor, and counts from then on; the one before ends with that.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "capfsd/answers/answers.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/inspections.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/model/event.h"
#include "capfsd/model/touch.h"
#include "capfsd/process/boot.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/sockets/connection.h"
#include "wire/wire.h"

/* In `answer` of a connection's record. */
enum posted_state {
	STATE_NEW,
	STATE_ANSWERED, /* and nothing more is taken from it */
	STATE_POSTED,	/* likewise; what was posted is in its queue */
};

/* An inspector is at it. */
struct look {
	struct connection *conn; /* NULL: it has ended */
	bool fetches;
};

static struct anchor *
anchor_at(const struct connection *conn)
{
	return anchor_of(conn->capability->target);
}

static bool
is_answered(const struct connection *conn)
{
	return conn->memo->record.connection.answer != STATE_NEW;
}

/* A client that does not read it gets none. */
static void
reply(struct connection *conn, int error)
{
	const int32_t answer = error;

	(void)msg_send(conn->fd, &answer, sizeof(answer), NULL, 0, MSG_DONTWAIT);
}

/*
 * Nothing more is taken from it. It stays until its client has gone: closed over what is queued it would
 * lose its answer, and a descriptor that it has not read yet is in flight.
 */
static void
leave(struct connection *conn)
{
	conn->memo->record.connection.answer = STATE_ANSWERED;
	memo_touch(conn->sockets, conn->memo);
	shutdown(conn->fd, SHUT_WR);
	if (fd_has_hung_up(conn->fd))
		connection_left(conn);
}

static void
refuse(struct connection *conn, int error, const char *reason)
{
	listener_log_refusal(conn->listener, conn->memo->record.connection.uid, error, reason);
	reply(conn, error);
	leave(conn);
}

/* What refuses it is the kernel, an inspector, or the share of inspectors that its session has. */
static void
refuse_system(struct connection *conn, int error)
{
	switch (error) {
	case EISDIR:
		return refuse(conn, error, "a directory would give the way up from it");
	case EBADF:
		return refuse(conn, error, "that is a path, and no open file");
	case EPERM:
		return refuse(conn, error, "kept open, /dev/fuse would have others wait at a mount without its server");
	case EXDEV:
		return refuse(conn, error, "connections of this daemon's are granted, and not posted");
	case EBUSY:
		return refuse(conn, error, "too many inspections of what was posted are not over");
	case EDQUOT:
		return refuse(conn, error, "its session has no room for a socket or a descriptor in flight");
	default:
		return refuse(conn, error, error_name(error));
	}
}

static bool
is_ours(const struct connection *conn, const struct binder_result *result)
{
	if (result->memory & RESULT_MEMORY)
		return false;
	if (connection_find_paired(conn->sockets, result->cookie))
		return true;
	return result->uid == conn->sockets->boot->daemon_uid && (result->object || result->capability);
}

/* Returns: 0, or -errno: nothing of it is stored. */
static int
commit(struct connection *conn, const struct binder_result *result)
{
	struct connection_record *record = &conn->memo->record;
	struct change *ch = change_begin(conn->sockets->model);
	const bool memory = result->memory & RESULT_MEMORY;
	int r = anchor_post(ch, anchor_at(conn), record->cookie, memory, result->size,
		(uint8_t)(result->memory & RESULT_SEALS));

	record->connection.answer = STATE_POSTED;
	if (r == 0)
		r = memo_stage(conn->memo, ch, NULL, 0);
	r = change_finish(ch, r);
	if (r < 0) {
		record->connection.answer = STATE_NEW;
		core_fail(conn->sockets, r);
	}
	return r;
}

/* The client sees the end behind its answer. */
static void
set_posted(struct anchor *a, struct connection *conn)
{
	a->posted = conn;
	reply(conn, 0);
	shutdown(conn->fd, SHUT_WR);
}

/* Who decides what others get from now on. */
static void
tell_posted(const struct connection *conn)
{
	const struct capability *c = conn->capability;
	cleanup_text struct text fields = {};
	const struct event event = {.verb = "post", .keep = EVENT_USUAL, .fields = &fields};

	text_addf(&fields, " slot=%s id=%" PRIu64 " uid=%" PRIu32, c->entity.name, c->entity.id,
		conn->memo->record.connection.uid);
	event_log(conn->sockets->model, c->session, &event);
}

static void
posted(struct connection *conn, const struct binder_result *result)
{
	struct anchor *a = anchor_at(conn);
	struct connection *before = a->posted;
	int r;

	if (result->error || is_ours(conn, result))
		return refuse_system(conn, result->error ? (int)result->error : EXDEV);
	if (!(capability_rights(conn->capability) & RIGHT_FDS))
		return refuse(conn, EPERM, "it lacks right 'fds'");
	r = connection_carry(conn);
	if (r == 0)
		r = commit(conn, result);
	if (r < 0)
		return refuse_system(conn, -r);
	set_posted(a, conn);
	tell_posted(conn);
	if (before && fd_has_hung_up(before->fd))
		connection_left(before);
}

static void
fetched(struct connection *conn, const struct binder_result *result)
{
	char byte;

	if (result->error == EPIPE || result->error == ECONNRESET)
		return connection_left(conn);
	if (result->error == EPERM)
		return refuse(conn, EPERM, "its client takes no descriptors");
	if (result->error)
		return refuse_system(conn, (int)result->error);
	(void)recv(conn->fd, &byte, sizeof(byte), MSG_DONTWAIT);
	leave(conn);
}

static void
on_looked(void *data, const struct session *s, uint64_t serial, const struct binder_result *result)
{
	cleanup_free struct look *look = data;
	struct connection *conn = look->conn;

	if (!conn)
		return;
	connection_set_reference(conn, NULL);
	if (!result)
		refuse(conn, EAGAIN, "its inspector has ended");
	else if (look->fetches)
		fetched(conn, result);
	else
		posted(conn, result);
}

/* PAYER is who has posted it: a file that cannot be closed keeps inspectors of its poster's alone. */
static void
begin(struct connection *conn, struct session *payer, const int *fds, size_t n)
{
	struct look *look = malloc(sizeof(*look));
	uint64_t serial;
	int r = -ENOMEM;

	if (look) {
		*look = (struct look){conn, n > 1};
		r = inspections_begin(
			conn->sockets, payer, INSPECTION_POSTED, fds, n, on_looked, look, &serial);
	}
	if (r == 0) {
		connection_set_reference(conn, &look->conn);
		return;
	}
	free(look);
	if (r == -EAGAIN)
		connect_again(conn);
	else if (r == -EDQUOT && payer != conn->capability->session)
		refuse(conn, EDQUOT, "the session of who has posted it has no room for a socket");
	else
		refuse_system(conn, -r);
}

static void
post(struct connection *conn)
{
	if (!(capability_rights(conn->capability) & RIGHT_FDS))
		return refuse(conn, EPERM, "it lacks right 'fds'");
	begin(conn, conn->capability->session, &conn->fd, 1);
}

static void
fetch(struct connection *conn)
{
	const struct connection *mailbox = anchor_at(conn)->posted;
	int r;

	if (!mailbox)
		return refuse(conn, ECONNREFUSED, "nothing is posted");
	/* However many want it at once, its poster has sockets left. */
	if (inspections_crowd(conn->sockets, mailbox->capability->session))
		return refuse_system(conn, EBUSY);
	r = connection_carry(conn);
	if (r < 0)
		return refuse_system(conn, -r);
	begin(conn, mailbox->capability->session, (int[]){mailbox->fd, conn->fd}, 2);
}

/* Where an inspector is at it, that tells of its end as well. */
static bool
fd_io(struct connection *conn)
{
	size_t n_fds = 0;
	uint8_t word;
	ssize_t n;

	if (conn->known_as || conn == anchor_at(conn)->posted)
		return false;
	n = is_answered(conn) ? -EAGAIN
			      : msg_receive(conn->fd, &word, sizeof(word), NULL, 0, &n_fds, MSG_PEEK | MSG_DONTWAIT);
	if (n == sizeof(word) && word == WIRE_POST && n_fds > 0)
		post(conn);
	else if (n == sizeof(word) && word == WIRE_FETCH && n_fds == 0)
		fetch(conn);
	else if (n > 0 || n == -EMSGSIZE)
		refuse(conn, EBADMSG, "that is neither a descriptor nor a request for one");
	else if (n != -EAGAIN || fd_has_hung_up(conn->fd))
		connection_left(conn);
	return false;
}

/*
 * The answer may be lost with the broker, and comes again unless it was the last thing that was sent. A cookie alone
 * says little: the kernel counts them from 1 on again when the machine starts.
 */
static void
fd_adopted(struct connection *conn)
{
	const struct connection_record *record = &conn->memo->record;
	struct anchor *a = anchor_at(conn);

	if (!is_answered(conn))
		return;
	(void)connection_carry(conn);
	if (record->connection.answer != STATE_POSTED || a->record.mailbox != record->cookie)
		return;
	set_posted(a, conn);
}

static void
fd_left(struct connection *conn)
{
	struct anchor *a = anchor_at(conn);
	struct model *m = conn->sockets->model;

	if (a->posted != conn)
		return;
	a->posted = NULL;
	entity_touch_below(m, &a->entity, entity_touch, model_stamp(m));
}

const struct answers fd_answers = {
	.io = fd_io,
	.adopted = fd_adopted,
	.left = fd_left,
};
