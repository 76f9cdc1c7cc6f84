/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-socket plain PATH			a plain server that echoes
 *	bench-socket capability ROOT NAME	the same behind a capability, in broker mode
 *	bench-socket activated			the plain one with a listener by LISTEN_FDS, for mode listen
 *	bench-socket measure SOCKET PATH	both against each other, on an open connection
 *	bench-socket listen SOCKET PATH		likewise, of mode listen
 *
 * A round trip of 64 bytes, and in mode listen connect and close too (bench-connect has those of the other
 * mode). Both servers are the same epoll loop, one thread each; they differ in where connections come from.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define SOCKET_BYTES 64
#define SOCKET_TIMEOUT_USEC UINT64_C(10000000)

struct server {
	int poller;
	int source;              /* the listener, or the entrypoint's descriptor */
	capc_entrypoint *served; /* NULL: plain */
};

static void
server_watch(struct server *s, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(s->poller, EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die("epoll_ctl");
}

static void
server_take(int fd, const struct capc_caller *caller, void *data)
{
	server_watch(data, fd);
}

static void
server_accept(struct server *s)
{
	int fd;

	if (s->served) {
		int r = capc_serve(s->served, 0);

		if (r == -ENOTCONN)
			exit(0);
		if (r < 0) {
			errno = -r;
			bench_die("serve");
		}
		return;
	}
	fd = accept4(s->source, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		server_watch(s, fd);
}

static void
server_answer(struct server *s, int fd)
{
	char buffer[SOCKET_BYTES];
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

	if (n > 0 && send(fd, buffer, (size_t)n, MSG_NOSIGNAL) == n)
		return;
	epoll_ctl(s->poller, EPOLL_CTL_DEL, fd, NULL);
	if (s->served)
		capc_raw_close(fd);
	else
		close(fd);
}

static int
server_run(struct server *s)
{
	struct epoll_event event;

	server_watch(s, s->source);
	for (;;) {
		if (epoll_wait(s->poller, &event, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			bench_die("epoll_wait");
		}
		if (event.data.fd == s->source)
			server_accept(s);
		else
			server_answer(s, event.data.fd);
	}
}

static int
serve_plain(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct server s = {.poller = epoll_create1(EPOLL_CLOEXEC)};

	if (strlen(path) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, path);
	s.source = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s.source, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(s.source, 128) < 0)
		bench_die(path);
	return server_run(&s);
}

static int
serve_capability(const char *root, const char *name)
{
	struct server s = {.poller = epoll_create1(EPOLL_CLOEXEC)};
	capc_session *session;
	char how[128];
	int r;

	r = capc_session_open(root, SOCKET_TIMEOUT_USEC, &session);
	if (r == 0)
		r = capc_attach(session, name, 0, &s.served);
	if (r == 0)
		r = capc_accept_raw(s.served, server_take, &s);
	snprintf(how, sizeof(how), "as=%s socket=stream", name);
	if (r == 0)
		r = capc_object_add(s.served, 0, NULL, NULL, how, NULL);
	if (r < 0) {
		errno = -r;
		bench_die(name);
	}
	s.source = capc_entrypoint_fd(s.served);
	return server_run(&s);
}

static int
serve_activated(void)
{
	struct server s = {.poller = epoll_create1(EPOLL_CLOEXEC), .source = 3};

	return server_run(&s);
}

static void
round_trip(int fd)
{
	char buffer[SOCKET_BYTES] = "";
	size_t got = 0;

	if (send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL) != sizeof(buffer))
		bench_die("send");
	while (got < sizeof(buffer)) {
		ssize_t n = recv(fd, buffer, sizeof(buffer) - got, 0);

		if (n <= 0)
			bench_die("receive");
		got += (size_t)n;
	}
}

static void
run_connection(void *data)
{
	int fd = bench_connect(data);

	round_trip(fd);
	close(fd);
}

static void
run_data(void *data)
{
	round_trip(*(int *)data);
}

static int
measure(char *capability, char *plain)
{
	int capability_fd, plain_fd, worse;
	double a, b;

	capability_fd = bench_connect(capability);
	plain_fd = bench_connect(plain);
	bench_pair(&(struct bench_side){run_data, &capability_fd, NULL},
		&(struct bench_side){run_data, &plain_fd, NULL},
		&(struct bench_plan){601, 100, 1}, &a, &b);
	worse = bench_report("data on an open connection / plain", a, b, 1.02);
	close(capability_fd);
	close(plain_fd);
	return worse;
}

static int
measure_listen(char *capability, char *plain)
{
	double a, b;

	bench_pair(&(struct bench_side){run_connection, capability, NULL},
		&(struct bench_side){run_connection, plain, NULL},
		&(struct bench_plan){601, 20, 1}, &a, &b);
	return bench_report("listen mode, connect+call+close / plain server", a, b, 1.05);
}

int
main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "activated"))
		return serve_activated();
	if (argc == 4 && !strcmp(argv[1], "listen"))
		return measure_listen(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "plain"))
		return serve_plain(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "capability"))
		return serve_capability(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "measure"))
		return measure(argv[2], argv[3]);
	fprintf(stderr, "usage: bench-socket plain PATH | capability ROOT NAME | activated | measure|listen "
		"SOCKET PATH\n");
	return 2;
}
