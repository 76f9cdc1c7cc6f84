/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calling a service. Whoever waits, to send or to receive, takes what comes for all calls: a server that waits for
 * its returns to be read would else never read the next call.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcap-client/calling/calling.h"

static int
call_start(struct capc *c, const struct capc_msg *req, capc_replied *replied, void *data, uint64_t *ret_serial)
{
	struct pending *p;
	int r;

	c->refused = false;
	if (c->owner != process_id())
		return -ECHILD;
	if (c->state == LINK_UP && c->type != SOCK_SEQPACKET)
		return -EPROTOTYPE;
	r = message_check(req);
	if (r < 0)
		return r;
	if (!room_is_empty(&c->room))
		room_expire(&c->room);
	if (req->n_data > WIRE_PAYLOAD_MAX)
		handle_enter(c);
	p = pending_new(c, req);
	if (!p)
		return -ENOMEM;
	p->replied = replied;
	p->data = data;
	*ret_serial = p->serial;
	r = flow_call(c, p, req);
	dispatch_update(c);
	return r;
}

int
capc_call_start(struct capc *c, const struct capc_msg *req, uint64_t *ret_serial)
{
	uint64_t serial;
	int r = call_start(c, req, NULL, NULL, &serial);

	if (r == 0)
		*ret_serial = serial;
	return r;
}

int
capc_call_async(struct capc *c, const struct capc_msg *req, capc_replied *replied, void *data, uint64_t *ret_serial)
{
	uint64_t serial;
	int r = call_start(c, req, replied, data, &serial);

	if (r == 0 && ret_serial)
		*ret_serial = serial;
	return r;
}

int
capc_call_done(struct capc *c, uint64_t *ret_serial)
{
	if (c->owner != process_id())
		return -ECHILD;
	flow_step(c, SENT_MAX);
	dispatch_update(c);
	if (list_empty(&c->done))
		return 0;
	*ret_serial = list_entry(list_first(&c->done), struct pending, link)->serial;
	return 1;
}

/* Until something can be done. Returns: 0, -ETIMEDOUT, -errno. */
static int
wait_step(const struct capc *c, uint64_t deadline)
{
	uint64_t retry = (uint64_t)flow_retry_msec(c) * 1000, soon = retry ? deadline_after(retry) : UINT64_MAX;
	short events = c->is_blocked && !flow_is_simple(c) ? POLLIN | POLLOUT : POLLIN;
	int fd = c->fd, r;

	if (c->state == LINK_NONE)
		return 0;
	if (c->state != LINK_UP)
		link_wants(c, &fd, &events);
	r = wait_until_either(fd, events, c->server, soon < deadline ? soon : deadline);
	return r == -ETIMEDOUT && soon < deadline ? 0 : r;
}

/* As long as nothing but replies is waited for, most of which come soon. */
static void
pending_await(struct capc *c, const struct pending *p, uint64_t deadline)
{
	int r = 1;

	while (r > 0 && p->state != PENDING_DONE && flow_is_simple(c) && deadline_left(deadline) >= AWAIT_USEC)
		r = flow_await(c);
}

/* Waits until P is done, which is at once when its connection has ended. */
static int
pending_wait(struct capc *c, const struct pending *p, uint64_t deadline)
{
	bool again = false;

	if (flow_is_simple(c)) {
		while (p->state != PENDING_DONE && c->state == LINK_UP && spin_again(&c->spin, deadline))
			flow_take(c);
		spin_end(&c->spin, p->state == PENDING_DONE);
	}
	pending_await(c, p, deadline);
	/* There may be a connection since, by a function of another handle: nothing that is waited for tells of it. */
	if (p->state != PENDING_DONE && !flow_is_simple(c))
		flow_step(c, 1);
	while (p->state != PENDING_DONE) {
		int r;

		/* What comes for others must not prolong it. */
		if (again && deadline != UINT64_MAX && deadline_left_msec(deadline) == 0)
			return -ETIMEDOUT;
		again = true;
		r = wait_step(c, deadline);
		if (r < 0)
			return r;
		flow_step(c, 1);
	}
	return 0;
}

static int
call_finish(struct capc *c, uint64_t serial, struct capc_msg *ret, uint64_t deadline)
{
	struct pending *p;
	int r;

	*ret = (struct capc_msg){.origin = CAPC_ORIGIN_LIBRARY};
	if (c->owner != process_id())
		return -ECHILD;
	p = pending_find(c, serial);
	if (!p || p->replied)
		return -ENOENT;
	r = pending_wait(c, p, deadline);
	if (r == 0) {
		r = pending_result(p, ret);
		pending_free(c, p);
	}
	dispatch_update(c);
	return r;
}

int
capc_call_finish(struct capc *c, uint64_t serial, struct capc_msg *ret, uint64_t timeout)
{
	return call_finish(c, serial, ret, deadline_after(timeout));
}

int
capc_call_cancel(struct capc *c, uint64_t serial)
{
	struct pending *p;

	if (c->owner != process_id())
		return -ECHILD;
	p = pending_find(c, serial);
	if (!p)
		return -ENOENT;
	if (p->state == PENDING_SENT) {
		list_unlink(&p->link);
		p->state = PENDING_CANCELLING;
		list_append(&c->cancelling, &p->link);
		flow_send(c);
	} else {
		pending_free(c, p);
	}
	dispatch_update(c);
	return 0;
}

int
capc_call(struct capc *c, const struct capc_msg *req, struct capc_msg *ret, uint64_t timeout)
{
	uint64_t deadline = deadline_after(timeout), serial;
	int r = message_check(req);

	c->refused = false;
	if (r == 0 && c->owner == process_id() && c->state == LINK_NONE) {
		r = link_connect(c, deadline);
		c->refused = r < 0 && link_may(c) == 0;
	}
	if (r == 0)
		r = call_start(c, req, NULL, NULL, &serial);
	/* Not before REQ was read: both may be one. */
	*ret = (struct capc_msg){.origin = c->refused ? CAPC_ORIGIN_DAEMON : CAPC_ORIGIN_LIBRARY};
	if (r < 0 && r == c->farewell)
		ret->origin = CAPC_ORIGIN_SERVER;
	if (r < 0)
		return r;
	r = call_finish(c, serial, ret, deadline);
	if (r == -ETIMEDOUT && pending_find(c, serial))
		capc_call_cancel(c, serial);
	return r;
}
