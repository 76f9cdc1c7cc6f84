/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library in many threads, each with objects of its own: clients that come and go, and two servers
 * for all of them. One more thread plays the daemon. Made for ThreadSanitizer, see .ci/run. Check knows
 * nothing of threads, so these give the line that went wrong, and the test asserts that there is none.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "libcap-client/cap-client.h"
#include "tests/fixture.h"
#include "tests/played-daemon.h"
#include "wire/wire.h"

#define SERVERS 2
#define CLIENTS 4
#define ROUNDS 20 /* of a client: each is a session and two connections */
#define PIPELINED 32
#define CONTROLS_MAX 64
#define LARGE 300000
#define BRIEF 1000 /* usec, where the time is to run out */

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__;                                                           \
	} while (0)

enum {
	KEY_ECHO = 1,
	KEY_KEEP,  /* keeps its calls until one with code 1 comes on the same connection */
	KEY_OTHER, /* comes and goes */
};

/* One thread each; `line` is what it gave. */
struct daemon {
	pthread_t thread;
	int line;
	struct pollfd polled[2 + CONTROLS_MAX]; /* the end, the listener, controls */
	nfds_t n_polled;
	int channels[SERVERS];
	uint64_t serials[SERVERS];
	uint8_t buffer[WIRE_CONTROL_MAX];
};

struct server {
	pthread_t thread;
	int line;
	char name[8];
	capc_request *kept[CLIENTS * 16];
	size_t n_kept;
	unsigned n_calls, n_cancelled;
};

struct client {
	pthread_t thread;
	int line;
	unsigned number;
};

static char directory[FIXTURE_PATH];
static struct daemon played;
static struct server servers[SERVERS];
static struct client clients[CLIENTS];
static sem_t attached; /* by each server, when it has or cannot */

/* ---- The daemon */

/* Gives one end of a connection through the slot PATH ("caps/echo-0") to its server, the other back. */
static int
daemon_open(struct daemon *d, const char *path, size_t n_path, int *ret_fd)
{
	uint8_t buffer[WIRE_CHANNEL_MAX];
	size_t i = (size_t)(path[n_path - 1] - '0');
	struct wire_handover m = {
		.serial = ++d->serials[i],
		.key = path[strlen("caps/")] == 'e' ? KEY_ECHO : KEY_KEEP,
		.label = "init/app",
		.n_label = 8,
	};
	int fds[2], n = wire_handover_encode(&m, buffer, sizeof(buffer));
	ssize_t sent;

	NEED(fd_socketpair(SOCK_SEQPACKET, fds) == 0);
	sent = msg_send(d->channels[i], buffer, (size_t)n, &fds[1], 1, 0);
	fd_close(fds[1]);
	*ret_fd = fds[0];
	NEED(sent == n);
	return 0;
}

static int
daemon_attach(struct daemon *d, const char *path, size_t n_path, int *ret_fd)
{
	int fds[2];

	NEED(fd_socketpair(SOCK_SEQPACKET, fds) == 0);
	d->channels[path[n_path - 1] - '0'] = fds[0];
	*ret_fd = fds[1];
	return 0;
}

static int
daemon_answer(struct daemon *d, int control, size_t n)
{
	cleanup_close int fd = -1;
	struct wire_request q;
	struct wire_reply reply;
	int line = 0, length;

	NEED(wire_request_decode(d->buffer, n, &q) == 0);
	reply = (struct wire_reply){.op = q.op, .serial = q.serial, .text = ""};
	if (q.op == WIRE_OPEN)
		line = daemon_open(d, q.path, q.n_path, &fd);
	else if (q.op == WIRE_ATTACH)
		line = daemon_attach(d, q.path, q.n_path, &fd);
	else if (q.op == WIRE_WRITE)
		reply.text = "object=7 badge=0x107";
	else
		reply.text = "init/app\n";
	reply.n_text = strlen(reply.text);
	length = wire_reply_encode(&reply, d->buffer, sizeof(d->buffer));
	NEED(line == 0);
	NEED(msg_send(control, d->buffer, (size_t)length, &fd, fd >= 0, 0) == length);
	return 0;
}

static int
daemon_serve(struct daemon *d, nfds_t i)
{
	size_t n_fds;
	ssize_t n;

	if (i == 1) {
		NEED(d->n_polled < 2 + CONTROLS_MAX);
		d->polled[d->n_polled++] = (struct pollfd){
			.fd = accept4(d->polled[1].fd, NULL, NULL, SOCK_CLOEXEC),
			.events = POLLIN,
		};
		return 0;
	}
	n = msg_receive(d->polled[i].fd, d->buffer, sizeof(d->buffer), NULL, 0, &n_fds, 0);
	if (n > 0)
		return daemon_answer(d, d->polled[i].fd, (size_t)n);
	fd_close(d->polled[i].fd);
	d->polled[i] = d->polled[--d->n_polled];
	return 0;
}

static int
daemon_run(struct daemon *d)
{
	while (poll(d->polled, d->n_polled, -1) > 0 && !d->polled[0].revents)
		for (nfds_t i = d->n_polled - 1; i > 0; i--) {
			int line = d->polled[i].revents ? daemon_serve(d, i) : 0;

			NEED(line == 0);
		}
	return 0;
}

static void *
daemon_thread(void *data)
{
	struct daemon *d = data;

	d->line = daemon_run(d);
	for (size_t i = 0; i < SERVERS; i++)
		fd_close(d->channels[i]);
	for (nfds_t i = 2; i < d->n_polled; i++)
		close(d->polled[i].fd);
	return NULL;
}

/* ---- A server */

static void
echo(capc_request *r, struct capc_msg *m, void *data)
{
	struct server *s = data;

	s->n_calls++;
	capc_reply(r, m);
}

/* Of the connection of R, which is answered too. */
static void
release(struct server *s, capc_request *r)
{
	uint64_t connection = (uintptr_t)capc_caller(r);
	size_t n = 0;

	for (size_t i = 0; i < s->n_kept; i++) {
		if ((uintptr_t)capc_caller(s->kept[i]) != connection) {
			s->kept[n++] = s->kept[i];
			continue;
		}
		s->n_cancelled += capc_cancelled(s->kept[i]);
		capc_reply(s->kept[i], NULL);
	}
	s->n_kept = n;
	capc_reply(r, NULL);
}

static void
keep(capc_request *r, struct capc_msg *m, void *data)
{
	struct server *s = data;

	s->n_calls++;
	if (m->code == 1)
		release(s, r);
	else
		s->kept[s->n_kept++] = r;
}

static int
server_rounds(struct server *s, capc_entrypoint *e)
{
	unsigned before = 0;
	uint64_t badge;
	int r;

	do {
		r = capc_serve(e, CAPC_FOREVER);
		if (r < 0 || s->n_calls / 64 == before)
			continue;
		/* Clients' calls wait meanwhile. */
		before = s->n_calls / 64;
		NEED(capc_object_add(e, KEY_OTHER, echo, s, NULL, &badge) == 0);
		NEED(capc_object_remove(e, badge) == 0);
	} while (r >= 0);
	NEED(r == -ENOTCONN);
	return 0;
}

static int
server_attached(struct server *s, capc_session *session)
{
	capc_entrypoint *e;
	int line;

	NEED(capc_attach(session, s->name, 0, &e) == 0);
	line = capc_object_add(e, KEY_ECHO, echo, s, NULL, NULL) == 0 ? 0 : __LINE__;
	if (line == 0 && capc_object_add(e, KEY_KEEP, keep, s, NULL, NULL) < 0)
		line = __LINE__;
	sem_post(&attached);
	if (line == 0)
		line = server_rounds(s, e);
	capc_detach(e);
	return line;
}

static void *
server_thread(void *data)
{
	struct server *s = data;
	capc_session *session;

	s->line = __LINE__;
	if (capc_session_open(directory, LONG, &session) < 0)
		return NULL;
	s->line = server_attached(s, session);
	sem_post(&attached);
	while (s->n_kept > 0)
		capc_reply(s->kept[--s->n_kept], NULL);
	capc_session_free(session);
	return NULL;
}

/* ---- A client */

/* Many under way, finished from the last to the first. */
static int
call_pipelined(capc *c)
{
	uint64_t serials[PIPELINED];
	struct capc_msg reply;

	for (uint32_t i = 0; i < PIPELINED; i++) {
		struct capc_msg req = {.code = i, .data = &i, .n_data = sizeof(i)};
		int r;

		while ((r = capc_call_start(c, &req, &serials[i])) == -EAGAIN)
			poll(&(struct pollfd){.fd = capc_fd(c), .events = POLLOUT}, 1, -1);
		NEED(r == 0);
	}
	for (uint32_t i = PIPELINED; i-- > 0;) {
		int r = capc_call_finish(c, serials[i], &reply, LONG);
		bool same = r == 0 && reply.n_data == sizeof(i) &&
			memcmp(reply.data, &i, sizeof(i)) == 0;

		capc_msg_done(&reply);
		NEED(same);
	}
	return 0;
}

static int
call_large(capc *c, unsigned number)
{
	cleanup_free char *data = malloc(LARGE);
	cleanup_close int fd = eventfd(number + 1, EFD_CLOEXEC), got = -1;
	struct capc_msg req = {.data = data, .n_data = LARGE, .fds = (int[]){fd, fd}, .n_fds = 2};
	struct capc_msg reply;
	uint64_t value = 0;
	bool same;

	NEED(data && fd >= 0);
	memset(data, (int)number, LARGE);
	NEED(capc_call(c, &req, &reply, LONG) == 0);
	same = reply.n_data == LARGE && reply.n_fds == 2 && memcmp(reply.data, data, LARGE) == 0;
	got = same ? capc_msg_take_fd(&reply, 1) : -1;
	capc_msg_done(&reply);
	NEED(same && read(got, &value, sizeof(value)) == sizeof(value));
	NEED(value == number + 1);
	return 0;
}

/* One is given up, one is waited for in vain, one is answered at last. */
static int
call_cancelled(capc *c)
{
	struct capc_msg call = {.code = 0}, last = {.code = 1}, reply;
	uint64_t first, second;

	NEED(capc_call_start(c, &call, &first) == 0);
	NEED(capc_call_start(c, &call, &second) == 0);
	NEED(capc_call_cancel(c, first) == 0);
	NEED(capc_call_finish(c, first, &reply, 0) == -ENOENT);
	NEED(capc_call(c, &call, &reply, BRIEF) == -ETIMEDOUT);
	NEED(capc_call(c, &last, &reply, LONG) == 0);
	capc_msg_done(&reply);
	NEED(capc_call_finish(c, second, &reply, LONG) == 0);
	capc_msg_done(&reply);
	return 0;
}

static int
client_call(capc_session *s, const char *slot, unsigned number, bool keeps)
{
	capc *c;
	int line;

	NEED(capc_open(s, slot, LONG, &c) == 0);
	line = keeps ? call_cancelled(c) : call_pipelined(c);
	if (line == 0 && !keeps)
		line = call_large(c, number);
	capc_free(c);
	return line;
}

static int
client_round(const struct client *client, unsigned round)
{
	char echo_slot[16], keep_slot[16];
	capc_session *s;
	const char *label;
	int line;

	snprintf(echo_slot, sizeof(echo_slot), "echo-%u", (client->number + round) % SERVERS);
	snprintf(keep_slot, sizeof(keep_slot), "keep-%u", round % SERVERS);
	NEED(capc_session_open(directory, LONG, &s) == 0);
	label = capc_session_label(s);
	line = label && strcmp(label, "init/app") == 0 ? 0 : __LINE__;
	if (line == 0)
		line = client_call(s, echo_slot, client->number, false);
	if (line == 0)
		line = client_call(s, keep_slot, client->number, true);
	capc_session_free(s);
	return line;
}

static void *
client_thread(void *data)
{
	struct client *client = data;

	for (unsigned i = 0; client->line == 0 && i < ROUNDS; i++)
		client->line = client_round(client, i);
	return NULL;
}

/* ---- All of them */

static void
start_all(int end)
{
	fixture_directory(directory);
	played.polled[0] = (struct pollfd){.fd = end, .events = POLLIN};
	played.polled[1] = (struct pollfd){
		.fd = played_listen(directory, "control", SOCK_SEQPACKET, 16),
		.events = POLLIN,
	};
	played.n_polled = 2;
	for (unsigned i = 0; i < SERVERS; i++)
		played.channels[i] = -1;
	ck_assert_int_eq(sem_init(&attached, 0, 0), 0);
	ck_assert_int_eq(pthread_create(&played.thread, NULL, daemon_thread, &played), 0);
	for (unsigned i = 0; i < SERVERS; i++) {
		snprintf(servers[i].name, sizeof(servers[i].name), "e%u", i);
		ck_assert_int_eq(pthread_create(&servers[i].thread, NULL, server_thread,
					 &servers[i]), 0);
	}
	for (unsigned i = 0; i < SERVERS; i++)
		ck_assert_int_eq(sem_wait(&attached), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i].number = i;
		ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, client_thread,
					 &clients[i]), 0);
	}
}

START_TEST(clients_and_servers_in_threads)
{
	int end = eventfd(0, EFD_CLOEXEC);
	unsigned n_calls = 0, n_cancelled = 0;

	start_all(end);
	for (unsigned i = 0; i < CLIENTS; i++) {
		ck_assert_int_eq(pthread_join(clients[i].thread, NULL), 0);
		ck_assert_int_eq(clients[i].line, 0);
	}
	ck_assert_int_eq(eventfd_write(end, 1), 0);
	ck_assert_int_eq(pthread_join(played.thread, NULL), 0);
	ck_assert_int_eq(played.line, 0);
	for (unsigned i = 0; i < SERVERS; i++) {
		ck_assert_int_eq(pthread_join(servers[i].thread, NULL), 0);
		ck_assert_int_eq(servers[i].line, 0);
		n_calls += servers[i].n_calls;
		n_cancelled += servers[i].n_cancelled;
	}
	ck_assert_uint_eq(n_calls, CLIENTS * ROUNDS * (PIPELINED + 1 + 4));
	/* Two of each four, of which the second was told before the last one came. */
	ck_assert_uint_eq(n_cancelled, CLIENTS * ROUNDS * 2);
	close(played.polled[1].fd);
	close(end);
	fixture_remove(directory);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("threads");
	TCase *t = fixture_case(s, "library", 120);

	tcase_add_test(t, clients_and_servers_in_threads);
	return fixture_main(s);
}
