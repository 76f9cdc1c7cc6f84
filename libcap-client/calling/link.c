/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection of a handle. Who waits for it asks the daemon, and stands until it has answered. Who does not has
 * the request among those of the session, where others may take the answer: from then on it is a matter of steps,
 * each of which ends where it would have to wait.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "libcap-client/calling/calling.h"
#include "libcap-client/observe/observe.h"

static const char aside[] = "aside";

static const char *
words(const struct capc *c)
{
	return c->flags & CAPC_DIRECT ? aside : NULL;
}

/* Does the server have another connection for us? */
static bool
is_aside(const struct capc *c, const struct wire_reply *reply)
{
	return c->flags & CAPC_DIRECT && reply->n_text == strlen(aside) && memcmp(reply->text, aside, reply->n_text) == 0;
}

static int
connect_any(struct capc *c, struct text *path, uint64_t deadline)
{
	int r = text_done(path);

	if (r < 0)
		return r;
	r = connect_path(path->data, SOCK_SEQPACKET, deadline, &c->fd);
	if (r == -EPROTOTYPE)
		r = connect_path(path->data, SOCK_STREAM, deadline, &c->fd);
	return r;
}

/* By its node in the file system: all that there is without a session, or where the server accepts by itself. */
static int
connect_node(struct capc *c, uint64_t deadline)
{
	cleanup_text struct text path = {};
	int root = c->session ? session_root(c->session) : c->node;

	if (root < 0)
		return root;
	if (c->session)
		text_addf(&path, "/proc/self/fd/%d/%s/socket", root, c->slot);
	else
		text_addf(&path, "/proc/self/fd/%d%s", root, c->is_socket ? "" : "/socket");
	return connect_any(c, &path, deadline);
}

static bool
has_session(const struct capc *c)
{
	return c->session && !c->listens;
}

int
link_may(const struct capc *c)
{
	bool has_slot = c->session || c->node >= 0;

	if (has_slot && !(c->flags & CAPC_ONE_CONNECTION && c->generation > 0))
		return 0;
	return c->farewell ? c->farewell : -ENOTCONN;
}

int
link_up(struct capc *c)
{
	int r;

	/* The daemon gives it with this switched off. */
	(void)fd_set_descriptors(c->fd, true);
	c->type = socket_type(c->fd);
	r = c->type < 0 ? c->type : fd_set_nonblock(c->fd, false);
	if (r < 0) {
		c->fd = fd_shutdown_close(c->fd);
		c->lifeline = fd_shutdown_close(c->lifeline);
		return r;
	}
	c->state = LINK_UP;
	c->generation++;
	c->farewell = 0;
	observe_connected(c->fd);
	if (c->generation > 1)
		observe_reconnected(c->fd);
	c->failed = false;
	dispatch_news(c);
	return 0;
}

/* The first connection stays, so that each end hears of the other's. */
static void
step_over(struct capc *c, int fd)
{
	dispatch_forget(c);
	c->lifeline = c->fd;
	c->fd = fd;
}

static int
open_slot(struct capc *c, uint64_t deadline)
{
	struct wire_reply reply;
	int fd, r = session_do_fd_reply(c->session, WIRE_OPEN, c->slot, words(c), deadline, &reply, &c->fd);

	if (r < 0 || !is_aside(c, &reply))
		return r;
	r = aside_take(c->fd, deadline, &fd);
	if (r < 0)
		c->fd = fd_shutdown_close(c->fd);
	else
		step_over(c, fd);
	return r;
}

int
link_connect(struct capc *c, uint64_t deadline)
{
	int r = link_may(c);

	if (r < 0)
		return r;
	r = has_session(c) ? open_slot(c, deadline) : connect_node(c, deadline);
	/* Of a server that accepts by itself the daemon has no connections to give. */
	if (r == -EOPNOTSUPP && has_session(c)) {
		c->listens = true;
		r = connect_node(c, deadline);
	}
	return r < 0 ? r : link_up(c);
}

static void
link_failed(struct capc *c, int error)
{
	dispatch_forget(c);
	list_unlink(&c->opening.link);
	c->fd = fd_shutdown_close(c->fd);
	c->state = LINK_NONE;
	c->ended = error;
	c->failed = true;
	flow_fail(c, error, true);
	dispatch_news(c);
}

static void
opened(struct errand *e, int error, const struct wire_reply *reply, int fd)
{
	struct capc *c = list_entry(e, struct capc, opening);
	int r = error == 0 && fd < 0 ? -EBADMSG : error;

	c->listens = error == -EOPNOTSUPP;
	c->fd = fd;
	if (r == 0 && is_aside(c, reply)) {
		r = aside_ask(c->fd);
		c->state = LINK_ASIDE;
	} else if (r == 0) {
		r = link_up(c);
	}
	if (r < 0)
		link_failed(c, r);
	/* Another handle of the session may have taken it. */
	dispatch_news(c);
	dispatch_update(c);
}

int
link_begin(struct capc *c)
{
	int r;

	if (!has_session(c))
		return link_connect(c, deadline_after(CAPC_TIMEOUT_USEC));
	r = link_may(c);
	if (r < 0)
		return r;
	c->opening.answered = opened;
	r = errand_open(&c->opening, c->session, c->slot, words(c));
	if (r < 0 && r != -EAGAIN)
		return r;
	c->state = r == 0 ? LINK_OPENING : LINK_ASKING;
	return 0;
}

static int
step(struct capc *c)
{
	int fd, r;

	switch (c->state) {
	case LINK_ASKING:
		r = errand_open(&c->opening, c->session, c->slot, words(c));
		if (r == 0)
			c->state = LINK_OPENING;
		return r;
	case LINK_OPENING:
		return errand_process(&c->opening, c->session);
	case LINK_ASIDE:
		r = aside_answer(c->fd, &fd);
		if (r < 0)
			return r;
		step_over(c, fd);
		return link_up(c);
	case LINK_NONE:
	case LINK_UP:
		break;
	}
	return 0;
}

void
link_step(struct capc *c)
{
	int r = step(c);

	if (r < 0 && r != -EAGAIN && c->state != LINK_NONE)
		link_failed(c, r);
}

void
link_wants(const struct capc *c, int *ret_fd, short *ret_events)
{
	int session = c->session ? capc_session_fd(c->session) : -1;

	*ret_fd = c->state == LINK_ASIDE ? c->fd : session;
	*ret_events = c->state == LINK_ASKING ? POLLIN | POLLOUT : POLLIN;
}

int
link_end(struct capc *c, int error)
{
	dispatch_forget(c);
	c->fd = fd_shutdown_close(c->fd);
	c->lifeline = fd_shutdown_close(c->lifeline);
	c->server = fd_close(c->server);
	c->asks_server = false;
	c->is_timed = false;
	c->in.sender = NULL;
	c->state = LINK_NONE;
	c->ended = error;
	inbox_clear(&c->in);
	flow_reset(c, error);
	/* The next one may be to another server. */
	window_drop(&c->window);
	buffer_drop(&c->out);
	dispatch_news(c);
	return error;
}
