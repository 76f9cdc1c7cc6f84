/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals. What waits in a connection keeps what is behind it, so that there is one to raise through
 * and another one to wait at, each made when it is wanted first, and again when it has ended.
 *
 * Each packet has a serial, so that a daemon that was killed in between does nothing twice.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "libcap-client/private.h"

/* As it travels: a count above 0 is raised; 0 waits, and comes back with what was raised. */
struct packet {
	uint64_t serial, count;
};

struct way {
	struct capc *connection; /* NULL: none */
	uint64_t serial;	 /* of the last packet */
	bool waits;		 /* its reply is to come */
};

struct capc_signal {
	pid_t owner;
	struct capc_session *session; /* borrowed */
	char *slot;
	struct way raises, waits;
};

static void
way_end(struct way *w)
{
	w->connection = capc_free(w->connection);
	w->waits = false;
	w->serial = 0;
}

struct capc_signal *
capc_signal_free(struct capc_signal *g)
{
	if (!g)
		return NULL;
	way_end(&g->raises);
	way_end(&g->waits);
	free(g->slot);
	free(g);
	return NULL;
}

int
capc_signal_new(struct capc_session *s, const char *slot, struct capc_signal **ret)
{
	cleanup_text struct text node = {};
	struct capc_signal *g;
	int r = slot_node(slot, "", &node);

	if (r < 0)
		return r;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->owner = getpid();
	g->session = s;
	g->slot = strdup(slot);
	if (!g->slot) {
		free(g);
		return -ENOMEM;
	}
	*ret = g;
	return 0;
}

/* Returns: the descriptor, or as capc_open(). */
static int
way_open(struct capc_signal *g, struct way *w, uint64_t deadline)
{
	uint64_t now = now_usec();
	int r;

	if (g->owner != getpid())
		return -ECHILD;
	if (!w->connection) {
		r = capc_open(g->session, g->slot,
			deadline == UINT64_MAX ? CAPC_FOREVER : deadline > now ? deadline - now : 0, &w->connection);
		if (r < 0)
			return r;
	}
	return capc_fd(w->connection);
}

/* Returns: 0, -EAGAIN (the daemon is behind), -errno: the connection has ended. */
static int
way_send(struct way *w, uint64_t count)
{
	const struct packet p = {htole64(w->serial + 1), htole64(count)};
	ssize_t n = msg_send(capc_fd(w->connection), &p, sizeof(p), NULL, 0, MSG_DONTWAIT);

	if (n < 0)
		return (int)n;
	w->serial++;
	return 0;
}

/* Sends it, also through a second connection where the first has ended: then it has taken nothing. */
static int
way_ask(struct capc_signal *g, struct way *w, uint64_t count, uint64_t deadline)
{
	bool old = w->connection;
	int r = way_open(g, w, deadline);

	if (r >= 0)
		r = way_send(w, count);
	if (!old || (r != -EPIPE && r != -ECONNRESET && r != -ENOTCONN))
		return r;
	way_end(w);
	r = way_open(g, w, deadline);
	return r < 0 ? r : way_send(w, count);
}

int
capc_signal_raise(struct capc_signal *g, uint64_t n)
{
	int r;

	if (n == 0)
		return -EINVAL;
	r = way_ask(g, &g->raises, n, session_deadline(g->session));
	return r == -EPIPE ? -ECONNRESET : r;
}

/* A reply to an earlier connection's or broker's packet is passed over. Returns: 1, 0 (not yet), -errno. */
static int
take(struct way *w, uint64_t *ret_n)
{
	struct packet p;
	size_t n_fds;
	ssize_t n = msg_receive(capc_fd(w->connection), &p, sizeof(p), NULL, 0, &n_fds, MSG_DONTWAIT);

	if (n == -EAGAIN)
		return 0;
	if (n != sizeof(p)) {
		way_end(w);
		return n > 0 ? -EBADMSG : -ECONNRESET;
	}
	if (le64toh(p.serial) != w->serial || !w->waits)
		return 0;
	w->waits = false;
	*ret_n = le64toh(p.count);
	return 1;
}

int
capc_signal_wait(struct capc_signal *g, uint64_t timeout, uint64_t *ret_n)
{
	uint64_t deadline = deadline_after(timeout);
	struct way *w = &g->waits;
	int r;

	if (g->owner != getpid())
		return -ECHILD;
	if (!w->waits) {
		/* To connect takes its time, whatever the caller has. */
		r = way_ask(g, w, 0, session_deadline(g->session));
		if (r < 0)
			return r == -EPIPE ? -ECONNRESET : r;
		w->waits = true;
	}
	for (;;) {
		r = take(w, ret_n);
		if (r != 0)
			return r < 0 ? r : 0;
		r = wait_until(capc_fd(w->connection), POLLIN, deadline);
		if (r < 0)
			return r;
	}
}

int
capc_signal_fd(const struct capc_signal *g)
{
	return g->waits.connection ? capc_fd(g->waits.connection) : -ENOTCONN;
}
