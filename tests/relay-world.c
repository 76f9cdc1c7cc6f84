/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/relay-world.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "helpers/backend.h"

#define TURN_USEC 10000

struct world w;

void
relay_setup(void)
{
	fixture_setup();
	w = (struct world){.listener = -1};
	fixture_directory(w.directory);
	snprintf(w.path, sizeof(w.path), "%s/socket", w.directory);
	ck_assert_int_eq(loop_init(&w.loop), 0);
	w.service = (struct service){.loop = &w.loop, .name = "test"};
	w.service.source.fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(loop_add(&w.loop, &w.service.source, EPOLLIN), 0);
}

void
relay_teardown(void)
{
	loop_remove(&w.loop, &w.service.source);
	close(w.service.source.fd);
	loop_deinit(&w.loop);
	fd_close(w.listener);
	fixture_remove(w.directory);
	fixture_teardown();
}

void
listen_behind(int type, int backlog)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	strcpy(a.sun_path, w.path);
	w.listener = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(w.listener, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(chmod(w.path, 0600), 0);
	ck_assert_int_eq(listen(w.listener, backlog), 0);
}

static int
connect_behind(void *data, int client_fd, uid_t uid, gid_t gid)
{
	return backend_connect(w.path, w.relays.options.seqpacket ? SOCK_SEQPACKET : SOCK_STREAM);
}

void
start_relays(const struct relays_options *o)
{
	struct relays_options options = *o;

	options.path = w.path;
	options.connect = o->connect ? o->connect : connect_behind;
	options.max = o->max ? o->max : 100;
	ck_assert_int_eq(relays_init(&w.relays, &w.loop, &w.service, &options), 0);
}

void
turn(void)
{
	uint64_t timeout = relays_timeout(&w.relays);

	ck_assert_int_eq(loop_wait(&w.loop, timeout < TURN_USEC ? timeout : TURN_USEC), 0);
	relays_tend(&w.relays);
}

bool
turn_until_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (int i = 0; i < TURNS_MAX; i++) {
		if (poll(&p, 1, 0) == 1)
			return true;
		turn();
	}
	return false;
}

int
connect_client(int type, int *ret_kept)
{
	int fds[2];

	ck_assert_int_eq(fd_socketpair(type, fds), 0);
	*ret_kept = fd_dup(fds[1]);
	relays_add(&w.relays, fds[1], &(struct capc_caller){.label = "init/app"});
	return fds[0];
}

int
accept_behind(void)
{
	int fd;

	ck_assert(turn_until_readable(w.listener));
	fd = accept4(w.listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

void
assert_end(int fd)
{
	char byte;

	ck_assert(turn_until_readable(fd));
	ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

void
assert_arrives(int from, int to, const char *text)
{
	char buffer[64] = "";

	ck_assert_int_eq(send(from, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	ck_assert(turn_until_readable(to));
	ck_assert_int_eq(recv(to, buffer, sizeof(buffer) - 1, MSG_DONTWAIT), (ssize_t)strlen(text));
	ck_assert_str_eq(buffer, text);
}
