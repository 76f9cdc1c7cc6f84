/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket of a signal (doc/PROTOCOL). A packet is a count, alone or behind a serial: above 0 it is
 * raised, 0 waits, and the reply to that is a packet of the same form with what was raised meanwhile.
 * Who raises and who waits never meet: the count is the model's, and is stored before anybody is told.
 *
 * With serials, which rise, nothing is counted twice and no reply is lost over a crash: the packet is
 * still in the queue then, and the record of the connection says whether it was done, and what the
 * reply was. Without them a crash between the two may count once more, and never less.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/answers/answers.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/model/change.h"
#include "capfsd/sockets/connection.h"

struct packet {
	uint64_t serial; /* 0: none */
	uint64_t count;
};

static struct anchor *
signal_of(const struct connection *conn)
{
	return anchor_of(conn->capability->target);
}

/* What cannot be a packet ends the connection, as there is no telling what the next ones mean. */
static bool
end(struct connection *conn, int error, const char *reason)
{
	listener_log_refusal(conn->listener, conn->memo->record.connection.uid, error, reason);
	connection_end(conn);
	return false;
}

/* Returns: 0; -EAGAIN; -EBADMSG; -ENOTCONN: the client has left. */
static int
peek(const struct connection *conn, struct packet *ret)
{
	uint64_t words[2];
	size_t n_fds = 0;
	ssize_t n = msg_receive(conn->fd, words, sizeof(words), NULL, 0, &n_fds, MSG_PEEK | MSG_DONTWAIT);

	if (n == -EAGAIN)
		return fd_has_hung_up(conn->fd) ? -ENOTCONN : -EAGAIN;
	if (n <= 0 && n != -EMSGSIZE)
		return -ENOTCONN;
	if (n_fds > 0 || (n != sizeof(words) && n != sizeof(words[0])))
		return -EBADMSG;
	*ret = (struct packet){.count = words[0]};
	if (n == sizeof(words))
		*ret = (struct packet){words[0], words[1]};
	return n == sizeof(words) && !ret->serial ? -EBADMSG : 0;
}

/* One byte is enough, since a packet that is read goes as a whole. */
static bool
take(struct connection *conn)
{
	char byte;

	(void)recv(conn->fd, &byte, 1, MSG_DONTWAIT);
	return true;
}

/* The reply in the form of the packet. Returns: 0; -EAGAIN: its client reads nothing; -errno. */
static int
reply(struct connection *conn, const struct packet *p, uint64_t count)
{
	const uint64_t words[2] = {p->serial, count};
	const size_t first = p->serial ? 0 : 1;
	ssize_t n = msg_send(conn->fd, words + first, sizeof(words) - first * sizeof(words[0]), NULL, 0,
		MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

/* Stages that the packet is done, if it can be asked again what became of it. */
static int
note(struct connection *conn, struct change *ch, const struct packet *p, uint64_t answer)
{
	if (!p->serial)
		return 0;
	conn->memo->record.connection.serial = p->serial;
	conn->memo->record.connection.answer = answer;
	return memo_stage(conn->memo, ch, NULL, 0);
}

/* Commits it. Where the store has no room the packet stays in the queue, and its client is ended. */
static bool
commit(struct connection *conn, struct change *ch, int e)
{
	e = change_finish(ch, e);
	if (e == 0)
		return true;
	core_fail(conn->sockets, e);
	return end(conn, -e, "the state store takes nothing");
}

static bool
raise_signal(struct connection *conn, const struct packet *p)
{
	struct change *ch;
	int e;

	if (!(capability_rights(conn->capability) & RIGHT_RAISE))
		return end(conn, EPERM, "it lacks right 'raise'");
	ch = change_begin(conn->sockets->model);
	e = anchor_raise(ch, signal_of(conn), p->count);
	if (e == 0)
		e = note(conn, ch, p, 0);
	return commit(conn, ch, e) && take(conn);
}

/* What could not be sent now leaves the packet where it is, until it can be. */
static bool
answer(struct connection *conn, const struct packet *p, uint64_t count)
{
	bool later = reply(conn, p, count) == -EAGAIN;

	watch_set(&conn->watch, later ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return !later && take(conn);
}

/*
 * What it gets is stored as taken before it goes out: whoever waits next must not get it as well. One
 * without a serial could not be told again what it has got, and so is told first.
 */
static bool
hand_out(struct connection *conn, const struct packet *p)
{
	struct anchor *a = signal_of(conn);
	uint64_t count = a->record.count;
	struct change *ch;
	int e;

	if (!p->serial && !answer(conn, p, count))
		return false;
	ch = change_begin(conn->sockets->model);
	e = anchor_take(ch, a);
	if (e == 0)
		e = note(conn, ch, p, count);
	if (!commit(conn, ch, e))
		return false;
	return !p->serial || answer(conn, p, count);
}

/* It waits in the queue of its own socket. A client that has left gets nothing, so that others do. */
static bool
wait_signal(struct connection *conn, const struct packet *p)
{
	struct anchor *a = signal_of(conn);

	if (!(capability_rights(conn->capability) & RIGHT_WAIT))
		return end(conn, EPERM, "it lacks right 'wait'");
	if (fd_has_hung_up(conn->fd)) {
		connection_left(conn);
		return false;
	}
	if (a->record.count > 0) {
		list_unlink(&conn->channel_link);
		return hand_out(conn, p);
	}
	if (list_empty(&conn->channel_link))
		list_append(&a->waiting, &conn->channel_link);
	return false;
}

/*
 * A serial that was done comes again from a broker that died before it took the packet, or from a
 * client that repeats itself; the latter has had its reply.
 */
static bool
signal_io(struct connection *conn)
{
	const struct connection_record *record = &conn->memo->record;
	struct packet p;

	switch (peek(conn, &p)) {
	case 0:
		break;
	case -EAGAIN:
		return false;
	case -EBADMSG:
		return end(conn, EBADMSG, "that is no count");
	default:
		connection_left(conn);
		return false;
	}
	if (p.serial && p.serial <= record->connection.serial) {
		if (p.serial == record->connection.serial && p.count == 0)
			return answer(conn, &p, record->connection.answer);
		return take(conn);
	}
	return p.count > 0 ? raise_signal(conn, &p) : wait_signal(conn, &p);
}

/* Whoever waits longest gets all of it. */
static void
signal_changed(struct entity *target)
{
	struct anchor *a = anchor_of(target);
	struct connection *first;

	if (a->record.count == 0 || list_empty(&a->waiting))
		return;
	first = list_entry(list_first(&a->waiting), struct connection, channel_link);
	watch_again(&first->watch);
}

/* The next one is called in its place. */
static void
signal_left(struct connection *conn)
{
	list_unlink(&conn->channel_link);
	signal_changed(conn->capability->target);
}

const struct answers signal_answers = {
	.io = signal_io,
	.left = signal_left,
	.changed = signal_changed,
};
