/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Servers of a world: what they are given over their channels. */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "tests/sockets-world.h"

static int
serve(struct world *w, int control, const char *name, const char *how)
{
	struct answered a;
	char path[128], text[128];
	int channel;

	snprintf(path, sizeof(path), "entrypoints/%s", name);
	ck_assert_int_eq(world_ask(w, control, WIRE_ATTACH, path, w->attach ? w->attach : "", &a), 0);
	channel = a.fd;
	ck_assert_int_ge(channel, 0);
	snprintf(path, sizeof(path), "entrypoints/%s/objects", name);
	snprintf(text, sizeof(text), "key=7 as=%s %s", name, how);
	ck_assert_int_eq(world_ask(w, control, WIRE_WRITE, path, text, &a), 0);
	return channel;
}

int
world_serve(struct world *w, int control, const char *name, const char *socket)
{
	char how[32];

	snprintf(how, sizeof(how), "socket=%s", socket);
	return serve(w, control, name, how);
}

int
world_serve_calls(struct world *w, int control, const char *name)
{
	return serve(w, control, name, "protocol=calls");
}

bool
world_pages(struct world *w, int channel, int ret_fds[2])
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	size_t n_fds;
	ssize_t n;

	n = recv(channel, buffer, sizeof(buffer), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 || wire_pages_decode(buffer, (size_t)n) < 0)
		return false;
	n = msg_receive(channel, buffer, sizeof(buffer), ret_fds, 2, &n_fds, MSG_DONTWAIT);
	ck_assert_int_gt(n, 0);
	ck_assert_uint_eq(n_fds, 2);
	world_own(w, ret_fds[0]);
	world_own(w, ret_fds[1]);
	return true;
}

bool
world_handed(struct world *w, int channel, struct handed *ret)
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	int fds[2] = {-1, -1};
	size_t n_fds;
	ssize_t n = msg_receive(channel, buffer, sizeof(buffer), fds, 2, &n_fds, MSG_DONTWAIT);

	if (n <= 0)
		return false;
	ck_assert_uint_ge(n_fds, 1);
	ret->n_fds = n_fds;
	fd_close(fds[1]);
	ret->fd = world_own(w, fds[0]);
	ck_assert_int_eq(wire_handover_decode(buffer, (size_t)n, &ret->m), 0);
	memcpy(ret->label, ret->m.label, ret->m.n_label);
	ret->label[ret->m.n_label] = '\0';
	return true;
}

void
world_take(struct world *w, int channel, uint64_t serial)
{
	uint8_t buffer[64];
	int n = wire_taken_encode(serial, buffer, sizeof(buffer));

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(send(channel, buffer, (size_t)n, MSG_NOSIGNAL), n);
	world_settle(w);
}
