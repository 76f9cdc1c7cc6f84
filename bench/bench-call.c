/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-call serve ROOT NAME		a service of the library's protocol
 *	bench-call copy PATH			1 MiB at a time through a stream socket
 *	bench-call bus NAME			sd-bus, behind the dbus-daemon of $DBUS_SESSION_BUS_ADDRESS
 *	bench-call hold ROOT NAME N		opens N connections, says so, keeps them until stdin ends
 *	bench-call measure ROOT NAME BUS	a call without arguments against that
 *	bench-call payload ROOT NAME COPY	1 MiB to the service, which reads all of it
 *	bench-call crowd ROOT NAME N		a call beside N open connections against one without
 *	bench-call limits ROOT LIMITED FREE	a call through a slot with limits against one without
 */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define CALL_TIMEOUT_USEC UINT64_C(10000000)
#define LARGE_BYTES (1 << 20)
#define BUS_PATH "/bench"
#define BUS_INTERFACE "bench.Call"

static void
raise_nofile(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* --- the library --- */

static void
answer(capc_request *r, struct capc_msg *m, void *data)
{
	uint64_t all = bench_sum(m->data, m->n_data);

	capc_reply(r, &(struct capc_msg){.data = &all, .n_data = m->n_data > 0 ? sizeof(all) : 0});
}

static int
serve(const char *root, const char *name)
{
	capc_session *s;
	capc_entrypoint *e;
	char how[128];
	int r;

	raise_nofile();
	bench_check(capc_session_open(root, CALL_TIMEOUT_USEC, &s), root);
	bench_check(capc_attach(s, name, CAPC_ATTACH_FDS, &e), name);
	snprintf(how, sizeof(how), "as=%s", name);
	bench_check(capc_object_add(e, 0, answer, NULL, how, NULL), name);
	while ((r = capc_serve(e, CAPC_FOREVER)) >= 0)
		;
	return r == -ENOTCONN ? 0 : 1;
}

static capc *
open_slot(const char *root, const char *name)
{
	capc_session *s;
	capc *c;

	bench_check(capc_session_open(root, CALL_TIMEOUT_USEC, &s), root);
	bench_check(capc_open(s, name, CALL_TIMEOUT_USEC, &c), name);
	return c;
}

static void
run_call(void *data)
{
	struct capc_msg reply;

	bench_check(capc_call(data, &(struct capc_msg){}, &reply, CALL_TIMEOUT_USEC), "call");
	capc_msg_done(&reply);
}

static char large[LARGE_BYTES];

static void
run_large(void *data)
{
	struct capc_msg reply;

	bench_check(capc_call(data, &(struct capc_msg){.data = large, .n_data = sizeof(large)},
			    &reply, CALL_TIMEOUT_USEC),
		"large call");
	capc_msg_done(&reply);
}

/* --- sockets --- */

static int
listen_at(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		exit(2);
	strcpy(address.sun_path, path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		bench_die(path);
	return fd;
}

static int
connect_to(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die(path);
	return fd;
}

static void
read_all(int fd, char *buffer, size_t n)
{
	while (n > 0) {
		ssize_t got = recv(fd, buffer, n, 0);

		if (got <= 0)
			exit(0);
		buffer += got;
		n -= (size_t)got;
	}
}

static int
serve_copy(const char *path)
{
	int listener = listen_at(path, SOCK_STREAM), fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	for (;;) {
		uint64_t all;

		read_all(fd, large, sizeof(large));
		all = bench_sum(large, sizeof(large));
		if (send(fd, &all, sizeof(all), MSG_NOSIGNAL) != sizeof(all))
			return 0;
	}
}

static void
run_copy(void *data)
{
	int fd = *(int *)data;
	uint64_t all;
	size_t sent = 0;

	while (sent < sizeof(large)) {
		ssize_t n = send(fd, large + sent, sizeof(large) - sent, MSG_NOSIGNAL);

		if (n <= 0)
			bench_die("copy");
		sent += (size_t)n;
	}
	if (recv(fd, &all, sizeof(all), MSG_WAITALL) != sizeof(all))
		bench_die("copy");
}

/* --- sd-bus --- */

static int
on_null(sd_bus_message *m, void *data, sd_bus_error *error)
{
	return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable table[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Null", "", "", on_null, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int
serve_sd_bus(sd_bus *bus)
{
	bench_check(sd_bus_add_object_vtable(bus, NULL, BUS_PATH, BUS_INTERFACE, table, NULL),
		"vtable");
	for (;;) {
		int r = sd_bus_process(bus, NULL);

		if (r < 0)
			return 0;
		if (r == 0 && sd_bus_wait(bus, UINT64_MAX) < 0)
			return 0;
	}
}

static int
serve_bus(const char *name)
{
	sd_bus *bus;

	bench_check(sd_bus_open_user(&bus), "bus");
	bench_check(sd_bus_request_name(bus, name, 0), name);
	return serve_sd_bus(bus);
}

struct bus_client {
	sd_bus *bus;
	const char *name;
};

static void
run_sd_bus(void *data)
{
	struct bus_client *b = data;

	bench_check(sd_bus_call_method(
			    b->bus, b->name, BUS_PATH, BUS_INTERFACE, "Null", NULL, NULL, ""),
		"sd-bus call");
}

/* --- measuring --- */

static const struct bench_plan plan = {401, 50, 1};

static int
measure(char **argv)
{
	struct bus_client bus = {.name = argv[2]};
	struct bench_side call = {run_call, open_slot(argv[0], argv[1]), NULL};
	double a, b;

	bench_check(sd_bus_open_user(&bus.bus), "bus");
	bench_pair(&call, &(struct bench_side){run_sd_bus, &bus, NULL}, &plan, &a, &b);
	return bench_report("call / through dbus-daemon", a, b, 0.40);
}

static int
measure_payload(char **argv)
{
	int fd = connect_to(argv[2], SOCK_STREAM);
	double a, b;

	memset(large, 1, sizeof(large));
	bench_pair(&(struct bench_side){run_large, open_slot(argv[0], argv[1]), NULL},
		&(struct bench_side){run_copy, &fd, NULL}, &(struct bench_plan){101, 10, 1}, &a, &b);
	return bench_report("payload of 1 MiB / through a socket", a, b, 0.70);
}

/* N connections of another process, whose descriptors are its own. */
static int
hold(const char *root, const char *name, long n)
{
	capc_session *s;
	char byte;

	raise_nofile();
	bench_check(capc_session_open(root, CALL_TIMEOUT_USEC, &s), root);
	for (long i = 0; i < n; i++) {
		struct capc_msg reply;
		capc *c;

		bench_check(capc_open(s, name, CALL_TIMEOUT_USEC, &c), name);
		bench_check(capc_call(c, &(struct capc_msg){}, &reply, CALL_TIMEOUT_USEC), "call");
		capc_msg_done(&reply);
	}
	puts("held");
	fflush(stdout);
	return read(STDIN_FILENO, &byte, 1) < 0;
}

/* A crowd at one server, nobody at the other. */
static int
measure_crowd(char **argv)
{
	double a, b;
	char name[128];

	snprintf(name, sizeof(name), "call beside %s connections / beside none", argv[3]);
	bench_pair(&(struct bench_side){run_call, open_slot(argv[0], argv[1]), NULL},
		&(struct bench_side){run_call, open_slot(argv[0], argv[2]), NULL}, &plan, &a, &b);
	return bench_report(name, a, b, 1.10);
}

static int
measure_limits(char **argv)
{
	double a, b;

	bench_pair(&(struct bench_side){run_call, open_slot(argv[0], argv[1]), NULL},
		&(struct bench_side){run_call, open_slot(argv[0], argv[2]), NULL}, &plan, &a, &b);
	return bench_report("call with limits / without", a, b, 1.03);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (argc == 4 && !strcmp(what, "serve"))
		return serve(argv[2], argv[3]);
	if (argc == 3 && !strcmp(what, "copy"))
		return serve_copy(argv[2]);
	if (argc == 3 && !strcmp(what, "bus"))
		return serve_bus(argv[2]);
	if (argc == 5 && !strcmp(what, "hold"))
		return hold(argv[2], argv[3], atol(argv[4]));
	if (argc == 5 && !strcmp(what, "measure"))
		return measure(argv + 2);
	if (argc == 5 && !strcmp(what, "payload"))
		return measure_payload(argv + 2);
	if (argc == 6 && !strcmp(what, "crowd"))
		return measure_crowd(argv + 2);
	if (argc == 5 && !strcmp(what, "limits"))
		return measure_limits(argv + 2);
	fprintf(stderr,
		"usage: bench-call serve|copy|bus|hold|measure|payload|crowd|limits …\n");
	return 2;
}
