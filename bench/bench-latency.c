/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-latency ROOT DIRECTORY [PART…]
 *
 * What a call of 64 bytes that are sent back costs, against equals: a SEQPACKET socket served from an
 * epoll set, by a program that waits in the same way, and sd-bus, peer to peer, without a bus daemon.
 *
 *	asleep	whoever waits sleeps: the client in poll(2), since its call has a time, the server in epoll_wait(2);
 *		the library's client does so in recvmsg(2), whose time it has set (SO_RCVTIMEO)
 *	loop	both have an event loop of their own, an epoll set, that what is measured is one part of
 *	look	both look again and again for 30 microseconds before they sleep
 *
 * with one client, and with fifty, where client and server have a processor each, and where all have one.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/clients.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(20000000)
#define BYTES 64
#define LOOK_USEC 30
#define BUS_PATH "/bench"
#define BUS_INTERFACE "bench.Call"

static const char text[BYTES] = "sixty-three characters and a zero, of which nobody reads a word";

static int
new_epoll(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	int poller = epoll_create1(EPOLL_CLOEXEC);

	if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die("epoll");
	return poller;
}

static void
wait_in(int poller)
{
	struct epoll_event event;

	while (epoll_wait(poller, &event, 1, -1) < 1)
		;
}

/* --- the library --- */

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	capc_reply(r, m);
}

static capc_entrypoint *
attach(const struct way *way)
{
	capc_session *s;
	capc_entrypoint *e;
	char how[128];

	bench_check(capc_session_open(way->root, TIMEOUT_USEC, &s), way->root);
	bench_check(capc_attach(s, way->address, 0, &e), way->address);
	snprintf(how, sizeof(how), "as=%s", way->address);
	bench_check(capc_object_add(e, 0, answer, NULL, how, NULL), way->address);
	bench_check(capc_entrypoint_set_busy_poll(e, (uint64_t)way->usec), "busy poll");
	return e;
}

static void
serve_library(const struct way *way)
{
	capc_entrypoint *e = attach(way);

	while (capc_serve(e, CAPC_FOREVER) >= 0)
		;
}

static void
serve_library_in_loop(const struct way *way)
{
	capc_entrypoint *e = attach(way);
	int poller = new_epoll(capc_entrypoint_fd(e));

	for (;;) {
		wait_in(poller);
		bench_check(capc_serve(e, 0), "serve");
	}
}

struct client {
	capc *c;
	int fd, poller;
	double usec;
};

static void *
connect_library(const struct way *way)
{
	static struct client client;
	capc_session *s;

	bench_check(capc_session_open(way->root, TIMEOUT_USEC, &s), way->root);
	bench_check(capc_open(s, way->address, TIMEOUT_USEC, &client.c), way->address);
	bench_check(capc_set_busy_poll(client.c, (uint64_t)way->usec), "busy poll");
	client.poller = new_epoll(capc_fd(client.c));
	return &client;
}

static void
call(void *data)
{
	struct client *client = data;
	struct capc_msg reply;

	bench_check(capc_call(client->c, &(struct capc_msg){.data = text, .n_data = BYTES}, &reply,
			    TIMEOUT_USEC),
		"call");
	capc_msg_done(&reply);
}

static void
call_in_loop(void *data)
{
	struct client *client = data;
	struct capc_msg reply;
	uint64_t serial, done;

	bench_check(capc_call_start(
			    client->c, &(struct capc_msg){.data = text, .n_data = BYTES}, &serial),
		"start");
	do
		wait_in(client->poller);
	while (capc_call_done(client->c, &done) == 0);
	bench_check(capc_call_finish(client->c, done, &reply, 0), "finish");
	capc_msg_done(&reply);
}

/* --- a socket --- */

static int
listen_at(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, CLIENTS_MAX) < 0)
		bench_die(path);
	return fd;
}

static int
events_look(int poller, struct epoll_event *events, int max, double usec)
{
	uint64_t end = bench_now_nsec() + (uint64_t)(usec * 1000);

	while (usec > 0 && bench_now_nsec() < end) {
		int n = epoll_wait(poller, events, max, 0);

		if (n > 0)
			return n;
		sched_yield();
	}
	return epoll_wait(poller, events, max, -1);
}

static void
serve_socket(const struct way *way)
{
	int listener = listen_at(way->address, SOCK_SEQPACKET), poller = new_epoll(listener);
	struct epoll_event events[32];
	char buffer[65536];

	for (;;) {
		int n = events_look(poller, events, 32, way->usec);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t got;

			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
				events[i] = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
				if (fd >= 0)
					epoll_ctl(poller, EPOLL_CTL_ADD, fd, &events[i]);
				continue;
			}
			got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
			if (got <= 0 || send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got)
				close(fd);
		}
	}
}

static void *
connect_socket(const struct way *way)
{
	static struct client client;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	client.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strncpy(address.sun_path, way->address, sizeof(address.sun_path) - 1);
	if (connect(client.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die(way->address);
	client.poller = new_epoll(client.fd);
	client.usec = way->usec;
	return &client;
}

static void
socket_send(const struct client *client)
{
	if (send(client->fd, text, BYTES, MSG_NOSIGNAL) != BYTES)
		bench_die("send");
}

static void
socket_receive(const struct client *client)
{
	char buffer[BYTES];

	if (recv(client->fd, buffer, BYTES, MSG_DONTWAIT) != BYTES)
		bench_die("receive");
}

static void
ask(void *data)
{
	struct client *client = data;
	struct pollfd p = {.fd = client->fd, .events = POLLIN};
	uint64_t end = client->usec > 0 ? bench_now_nsec() + (uint64_t)(client->usec * 1000) : 0;
	char buffer[BYTES];

	socket_send(client);
	while (end > 0 && bench_now_nsec() < end) {
		if (recv(client->fd, buffer, BYTES, MSG_DONTWAIT) == BYTES)
			return;
		sched_yield();
	}
	while (poll(&p, 1, 10000) < 1)
		;
	socket_receive(client);
}

static void
ask_in_loop(void *data)
{
	struct client *client = data;

	socket_send(client);
	wait_in(client->poller);
	socket_receive(client);
}

/* --- sd-bus --- */

static int
on_echo(sd_bus_message *m, void *data, sd_bus_error *error)
{
	const char *s;

	bench_check(sd_bus_message_read(m, "s", &s), "sd-bus");
	return sd_bus_reply_method_return(m, "s", s);
}

static const sd_bus_vtable table[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Echo", "s", "s", on_echo, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int
on_connection(sd_event_source *source, int listener, uint32_t events, void *data)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	sd_id128_t id;
	sd_bus *bus;

	if (fd < 0)
		return 0;
	bench_check(sd_id128_randomize(&id), "id");
	bench_check(sd_bus_new(&bus), "sd-bus");
	bench_check(sd_bus_set_fd(bus, fd, fd), "sd-bus");
	bench_check(sd_bus_set_server(bus, 1, id), "sd-bus");
	bench_check(sd_bus_set_anonymous(bus, 1), "sd-bus");
	bench_check(sd_bus_start(bus), "sd-bus");
	bench_check(sd_bus_add_object_vtable(bus, NULL, BUS_PATH, BUS_INTERFACE, table, NULL),
		"vtable");
	return sd_bus_attach_event(bus, sd_event_source_get_event(source), 0);
}

static void
serve_bus(const struct way *way)
{
	sd_event *loop;

	bench_check(sd_event_new(&loop), "sd-event");
	bench_check(sd_event_add_io(loop, NULL, listen_at(way->address, SOCK_STREAM), EPOLLIN,
			    on_connection, NULL),
		"sd-event");
	bench_check(sd_event_loop(loop), "sd-event");
}

static void *
connect_bus(const struct way *way)
{
	char address[256];
	sd_bus *bus;

	snprintf(address, sizeof(address), "unix:path=%s", way->address);
	bench_check(sd_bus_new(&bus), "sd-bus");
	bench_check(sd_bus_set_address(bus, address), "sd-bus");
	bench_check(sd_bus_start(bus), "sd-bus");
	return bus;
}

static void
call_bus(void *data)
{
	sd_bus_message *reply = NULL;

	bench_check(sd_bus_call_method(
			    data, NULL, BUS_PATH, BUS_INTERFACE, "Echo", NULL, &reply, "s", text),
		"sd-bus");
	sd_bus_message_unref(reply);
}

/* --- the table --- */

struct part {
	const char *name;
	struct way library, socket;
	void (*serve)(const struct way *way);
	double limit_two, limit_one; /* of the time of one client's call, where there are two CPUs, or one */
};

static struct way bus = {"sd-bus", connect_bus, call_bus, 0, "", "", 0, 0};

static struct part parts[] = {
	{"asleep", {"library", connect_library, call, 0, "", "asleep", 0, 0},
		{"socket", connect_socket, ask, 0, "", "", 0, 0}, serve_library, 1.05, 1.15},
	{"loop", {"library", connect_library, call_in_loop, 0, "", "loop", 0, 0},
		{"socket", connect_socket, ask_in_loop, 0, "", "", 0, 0}, serve_library_in_loop, 1.05, 1.15},
	{"look", {"library", connect_library, call, 0, "", "look", 0, LOOK_USEC},
		{"socket", connect_socket, ask, 0, "", "", 0, LOOK_USEC}, serve_library, 1.05, 1.15},
};

static void
start(struct way *way, void (*serve)(const struct way *way))
{
	way->server = fork();
	if (way->server < 0)
		bench_die("fork");
	if (way->server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(way);
		_exit(1);
	}
}

static void
wait_for(const char *path)
{
	struct stat st;

	for (int i = 0; i < 1000 && stat(path, &st) < 0; i++)
		usleep(10000);
}

static const char *
path_of(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/latency-%s", directory, name) < 0)
		bench_die("memory");
	return path;
}

static bool
wanted(const char *name, char **names)
{
	for (char **i = names; *i; i++)
		if (!strcmp(*i, name))
			return true;
	return !*names;
}

static int
report(const char *name, const struct seen *s, size_t n_clients, double limit)
{
	const struct seen *a = &s[0], *b = &s[1], *c = &s[2];
	bool many = n_clients > 1, worse;

	worse = many ? a->rate < 0.95 * b->rate || a->p99_usec > 1.3 * b->p99_usec || a->fairness > 1.5
		     : a->p50_usec > limit * b->p50_usec;
	worse |= c->rate >= a->rate;
	printf("%s: ", name);
	if (many)
		printf("calls/s %.3f (>= 0.95), p99 %.2f (<= 1.30), busiest/idlest %.2f (<= 1.50) %s",
			a->rate / b->rate, a->p99_usec / b->p99_usec, a->fairness, worse ? "worse" : "ok");
	else
		printf("%.3f (<= %.2f) %s", a->p50_usec / b->p50_usec, limit, worse ? "worse" : "ok");
	for (int i = 0; i < 3; i++)
		printf("%s%s p50 %.1f p99 %.1f CPU %.1f us, %.0f/s, %.2f", i == 0 ? " [" : "; ",
			i == 0 ? "call" : i == 1 ? "socket" : "sd-bus", s[i].p50_usec, s[i].p99_usec,
			s[i].cpu_usec, s[i].rate, s[i].fairness);
	puts("]");
	fflush(stdout);
	return worse;
}

static int
measure(const struct part *part, size_t n_clients, bool one_cpu)
{
	const struct way ways[] = {part->library, part->socket, bus};
	cpu_set_t servers = clients_cpu(-1), clients = one_cpu ? servers : clients_cpu(0);
	struct seen seen[3];
	char name[128];

	/* Whoever has more clients than processors does not put them there by hand. */
	if (n_clients > 1 && !one_cpu)
		servers = clients = clients_cpus();
	clients_compare(ways, 3, n_clients, 5, n_clients > 1 ? 300 : 100, &servers, &clients, seen);
	snprintf(name, sizeof(name), "call, %s, %zu at once, %s", part->name, n_clients,
		one_cpu ? "one CPU" : "two CPUs");
	return report(name, seen, n_clients, one_cpu ? part->limit_one : part->limit_two);
}

int
main(int argc, char **argv)
{
	int worse = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: bench-latency ROOT DIRECTORY [asleep|loop|look|one|many]…\n");
		return 2;
	}
	clients_cpus();
	bus.address = path_of(argv[2], "bus");
	start(&bus, serve_bus);
	wait_for(bus.address);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct part *p = &parts[i];
		char node[256];

		if (!wanted(p->name, argv + 3))
			continue;
		p->library.root = argv[1];
		p->socket.address = path_of(argv[2], p->name);
		start(&p->library, p->serve);
		start(&p->socket, serve_socket);
		snprintf(node, sizeof(node), "%s/caps/%s", argv[1], p->library.address);
		wait_for(node);
		wait_for(p->socket.address);
		for (int one_cpu = 0; one_cpu < 2; one_cpu++)
			worse |= measure(p, 1, one_cpu);
		if (p->library.usec > 0)
			continue;
		for (int one_cpu = 0; one_cpu < 2; one_cpu++)
			worse |= measure(p, 50, one_cpu);
	}
	return worse;
}
