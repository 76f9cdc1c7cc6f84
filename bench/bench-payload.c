/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-payload KIB CONNECTIONS CPU SERVERS_CPU LIMIT
 *
 * A call with so many KiB on each of so many connections at once, whose server reads all of them, against the same
 * over stream sockets. No daemon takes part.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(60000000)
#define CONNECTIONS_MAX 256
#define BATCH_BYTES (64 << 20) /* about what is sent between two looks at the clock */

static size_t n_bytes, n_connections;
static char *data;

static void *
get(size_t n)
{
	void *p = malloc(n);

	if (!p)
		bench_die("memory");
	return p;
}

static void
run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_die("sched_setaffinity");
}

/* --- the library --- */

static void
answer(capc_request *r, struct capc_msg *m, void *unused)
{
	uint64_t all = bench_sum(m->data, m->n_data);

	(void)unused;
	capc_reply(r, &(struct capc_msg){.data = &all, .n_data = sizeof(all)});
}

static void
serve_calls(const int *fds)
{
	capc_entrypoint *e;

	bench_check(capc_entrypoint_new(&e), "entrypoint");
	bench_check(capc_object_add(e, 1, answer, NULL, NULL, NULL), "object");
	for (size_t i = 0; i < n_connections; i++)
		bench_check(capc_serve_fd(e, 1, fds[i]), "connection");
	while (capc_serve(e, CAPC_FOREVER) >= 0)
		;
}

static void
call(void *connection)
{
	struct capc_msg reply;

	bench_check(capc_call(connection, &(struct capc_msg){.data = data, .n_data = n_bytes},
			    &reply, TIMEOUT_USEC),
		"call");
	capc_msg_clear(&reply);
}

/* --- stream sockets --- */

struct stream {
	int fd;
	size_t n_got;
	char *data;
};

static void
stream_read(struct stream *s)
{
	ssize_t n = recv(s->fd, s->data + s->n_got, n_bytes - s->n_got, MSG_DONTWAIT);
	uint64_t all;

	if (n <= 0)
		return;
	s->n_got += (size_t)n;
	if (s->n_got < n_bytes)
		return;
	s->n_got = 0;
	all = bench_sum(s->data, n_bytes);
	if (send(s->fd, &all, sizeof(all), MSG_NOSIGNAL) != sizeof(all))
		_exit(1);
}

static void
serve_streams(const int *fds)
{
	struct stream streams[CONNECTIONS_MAX];
	struct epoll_event events[CONNECTIONS_MAX];
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;

	for (size_t i = 0; i < n_connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &streams[i]};

		streams[i] = (struct stream){.fd = fds[i], .data = get(n_bytes)};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) < 0)
			bench_die("epoll_ctl");
	}
	while ((n = epoll_wait(epoll, events, CONNECTIONS_MAX, -1)) > 0)
		for (int i = 0; i < n; i++)
			stream_read(events[i].data.ptr);
}

static void
ask(void *connection)
{
	const int *fd = connection;
	uint64_t all;
	size_t done = 0;

	while (done < n_bytes) {
		ssize_t n = send(*fd, data + done, n_bytes - done, MSG_NOSIGNAL);

		if (n <= 0)
			bench_die("send");
		done += (size_t)n;
	}
	if (recv(*fd, &all, sizeof(all), MSG_WAITALL) != sizeof(all))
		bench_die("recv");
}

/* --- measuring --- */

/* Starts a process that serves the other ends of the sockets that come back in FDS. */
static void
start(int type, int cpu, void (*serve)(const int *), int *fds)
{
	int others[CONNECTIONS_MAX];

	for (size_t i = 0; i < n_connections; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
			bench_die("socketpair");
		fds[i] = pair[0];
		others[i] = pair[1];
	}
	switch (fork()) {
	case -1:
		bench_die("fork");
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0; i < n_connections; i++)
			close(fds[i]);
		run_on(cpu);
		serve(others);
		_exit(1);
	default:
		for (size_t i = 0; i < n_connections; i++)
			close(others[i]);
	}
}

/* One thread for each connection, all of which begin and end together. */
struct crowd {
	pthread_barrier_t barrier;
	size_t n_calls; /* of each at a time */
	void (*call)(void *connection);
};

struct caller {
	struct crowd *crowd;
	void *connection;
};

static void
calls(const struct crowd *c, void *connection)
{
	for (size_t i = 0; i < c->n_calls; i++)
		c->call(connection);
}

static void *
caller_run(void *p)
{
	const struct caller *caller = p;

	for (;;) {
		pthread_barrier_wait(&caller->crowd->barrier);
		calls(caller->crowd, caller->connection);
		pthread_barrier_wait(&caller->crowd->barrier);
	}
	return NULL;
}

static void
crowd_run(void *p)
{
	struct crowd *c = p;

	pthread_barrier_wait(&c->barrier);
	pthread_barrier_wait(&c->barrier);
}

static struct crowd *
crowd_new(void (*function)(void *), void *const *connections)
{
	struct crowd *c = get(sizeof(*c));
	size_t n = BATCH_BYTES / n_bytes / n_connections;

	c->n_calls = n > 0 ? n : 1;
	c->call = function;
	pthread_barrier_init(&c->barrier, NULL, (unsigned)n_connections + 1);
	for (size_t i = 0; i < n_connections; i++) {
		struct caller *caller = get(sizeof(*caller));
		pthread_t thread;

		*caller = (struct caller){c, connections[i]};
		errno = pthread_create(&thread, NULL, caller_run, caller);
		if (errno)
			bench_die("pthread_create");
	}
	return c;
}

int
main(int argc, char **argv)
{
	int fds[CONNECTIONS_MAX], streams[CONNECTIONS_MAX];
	void *handles[CONNECTIONS_MAX], *sockets[CONNECTIONS_MAX];
	struct crowd *callers, *askers;
	char name[128];
	double a, b, n;

	if (argc != 6 || atol(argv[2]) < 1 || atol(argv[2]) > CONNECTIONS_MAX) {
		fprintf(stderr, "usage: bench-payload KIB CONNECTIONS CPU SERVERS_CPU LIMIT\n");
		return 2;
	}
	n_bytes = (size_t)atol(argv[1]) << 10;
	n_connections = (size_t)atol(argv[2]);
	data = get(n_bytes);
	memset(data, 1, n_bytes);
	start(SOCK_SEQPACKET, atoi(argv[4]), serve_calls, fds);
	start(SOCK_STREAM, atoi(argv[4]), serve_streams, streams);
	run_on(atoi(argv[3]));
	for (size_t i = 0; i < n_connections; i++) {
		capc *c;

		bench_check(capc_from_fd(fds[i], &c), "connection");
		handles[i] = c;
		sockets[i] = &streams[i];
	}
	callers = crowd_new(call, handles);
	askers = crowd_new(ask, sockets);
	bench_pair(&(struct bench_side){crowd_run, callers, NULL}, &(struct bench_side){crowd_run, askers, NULL},
		&(struct bench_plan){7, 1, 1}, &a, &b);
	n = (double)(callers->n_calls * n_connections);
	snprintf(name, sizeof(name), "payload of %zu KiB, %zu connections, %s / streams", n_bytes >> 10, n_connections,
		strcmp(argv[3], argv[4]) ? "two CPUs" : "one CPU");
	return bench_report(name, a / n, b / n, atof(argv[5]));
}
