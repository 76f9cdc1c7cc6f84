/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	call-service calls|seqpacket|stream NAME
 *
 * A service for it-call.sh, in slot caps/NAME. What is asked is a word and what follows it:
 *
 *	echo TEXT	TEXT
 *	bytes N		N bytes 'x'
 *	count		how many requests there have been, this one included
 *	here		how many on this connection
 *	fail E TEXT	the refusal E with reason TEXT (calls only)
 *	fd		a reply with a descriptor
 *	two		two replies
 *	empty		an empty reply
 *	late MSEC	"late", after so long
 *	never		no reply
 *	end		the end of the connection
 *
 * Anything else is answered by its length. A stream has one request for a connection.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "libcap-client/cap-client.h"

#define BYTES_MAX 300000
#define CLIENTS_MAX 512

struct client {
	int fd; /* 0: free */
	unsigned long n_here;
	char *request;
	size_t n;
};

static struct client clients[CLIENTS_MAX];
static unsigned long n_asked;
static bool is_stream;
static char reply[BYTES_MAX];

static bool
is(const char *request, const char *word)
{
	size_t n = strlen(word);

	return strncmp(request, word, n) == 0 && (request[n] == '\0' || request[n] == ' ');
}

/* What follows the word. */
static const char *
rest(const char *request)
{
	const char *space = strchr(request, ' ');

	return space ? space + 1 : "";
}

/* What all of them answer alike. Returns: the length in REPLY. */
static size_t
make_reply(const char *request, size_t n, unsigned long n_here)
{
	if (is(request, "echo"))
		return (size_t)snprintf(reply, sizeof(reply), "%s", rest(request));
	if (is(request, "bytes")) {
		size_t wanted = strtoul(rest(request), NULL, 10);

		memset(reply, 'x', sizeof(reply));
		return wanted < sizeof(reply) ? wanted : sizeof(reply);
	}
	if (is(request, "late")) {
		usleep((useconds_t)atoi(rest(request)) * 1000);
		return (size_t)snprintf(reply, sizeof(reply), "late");
	}
	if (is(request, "count"))
		return (size_t)snprintf(reply, sizeof(reply), "%lu", n_asked);
	if (is(request, "here"))
		return (size_t)snprintf(reply, sizeof(reply), "%lu", n_here);
	if (is(request, "empty"))
		return 0;
	return (size_t)snprintf(reply, sizeof(reply), "%zu", n);
}

static void
on_call(capc_request *r, struct capc_msg *m, void *data)
{
	char *request = strndup(m->data ? m->data : "", m->n_data);
	int stdin_fd = 0;

	if (!request)
		exit(1);
	n_asked++;
	/* A shell's line ends with a newline. */
	request[strcspn(request, "\n")] = '\0';
	if (is(request, "fail")) {
		char *reason;
		int error = (int)strtol(rest(request), &reason, 10);

		capc_reply_error(r, -error, reason + (*reason == ' '));
	} else if (is(request, "fd")) {
		capc_reply(r, &(struct capc_msg){.data = "fd", .n_data = 2, .fds = &stdin_fd, .n_fds = 1});
	} else if (!is(request, "never")) {
		size_t n = make_reply(request, m->n_data, 0);

		capc_reply(r, &(struct capc_msg){.data = reply, .n_data = n});
	}
	free(request);
}

static void
end(struct client *c)
{
	capc_raw_close(c->fd);
	free(c->request);
	*c = (struct client){};
}

static void
answer(struct client *c, const char *request, size_t n)
{
	size_t n_reply, sent = 0;

	n_asked++;
	c->n_here++;
	if (is(request, "never"))
		return;
	if (is(request, "end")) {
		end(c);
		return;
	}
	n_reply = make_reply(request, n, c->n_here);
	if (is(request, "fd")) {
		/* Where it is refused, that is told. */
		if (msg_send(c->fd, "fd", 2, &(int){0}, 1, 0) == -EPERM)
			msg_send(c->fd, "EPERM", 5, NULL, 0, 0);
		n_reply = 0;
	}
	if (is(request, "two"))
		send(c->fd, "one", 3, MSG_NOSIGNAL);
	/* A client that does not read is waited for, one that has gone is not. */
	while (sent < n_reply || (n_reply == 0 && !is_stream && is(request, "empty"))) {
		ssize_t n_sent = send(c->fd, reply + sent, n_reply - sent, MSG_NOSIGNAL);

		if (n_sent <= 0)
			break;
		sent += (size_t)n_sent;
	}
	if (is_stream)
		end(c);
}

static void
receive(struct client *c)
{
	char buffer[65536 + 1];
	ssize_t n = recv(c->fd, buffer, sizeof(buffer) - 1, 0);

	if (n < 0 || (n == 0 && !is_stream)) {
		end(c);
		return;
	}
	if (!is_stream) {
		buffer[n] = '\0';
		buffer[strcspn(buffer, "\n")] = '\0';
		answer(c, buffer, (size_t)n);
		return;
	}
	c->request = realloc(c->request, c->n + (size_t)n + 1);
	if (!c->request)
		exit(1);
	memcpy(c->request + c->n, buffer, (size_t)n);
	c->n += (size_t)n;
	c->request[c->n] = '\0';
	if (n == 0) {
		c->request[strcspn(c->request, "\n")] = '\0';
		answer(c, c->request, c->n);
	}
}

static void
on_connection(int fd, const struct capc_caller *caller, void *data)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (clients[i].fd == 0) {
			clients[i].fd = fd;
			return;
		}
	capc_raw_close(fd);
}

static int
serve_raw(capc_entrypoint *e)
{
	struct pollfd p[CLIENTS_MAX + 1];
	struct client *of[CLIENTS_MAX + 1];
	int r = 0;

	while (r >= 0) {
		nfds_t n = 1;

		p[0] = (struct pollfd){.fd = capc_entrypoint_fd(e), .events = POLLIN};
		for (size_t i = 0; i < CLIENTS_MAX; i++)
			if (clients[i].fd > 0) {
				of[n] = &clients[i];
				p[n++] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
			}
		if (poll(p, n, -1) < 0)
			return -errno;
		for (nfds_t i = 1; i < n; i++)
			if (p[i].revents)
				receive(of[i]);
		if (p[0].revents)
			r = capc_serve(e, 0);
	}
	return r;
}

int
main(int argc, char **argv)
{
	capc_session *s;
	capc_entrypoint *e = NULL;
	bool calls;
	char how[128];
	int r;

	if (argc != 3)
		return 2;
	calls = strcmp(argv[1], "calls") == 0;
	is_stream = strcmp(argv[1], "stream") == 0;
	snprintf(how, sizeof(how), "as=%s socket=%s", argv[2], is_stream ? "stream" : "seqpacket");
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, argv[2], CAPC_ATTACH_FDS, &e);
	if (r == 0 && !calls)
		r = capc_accept_raw(e, on_connection, NULL);
	if (r == 0)
		r = capc_object_add(e, 1, calls ? on_call : NULL, NULL, how, NULL);
	if (r == 0 && !calls)
		r = serve_raw(e);
	while (r >= 0 && calls)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "call-service: %s\n", strerror(-r));
	return 1;
}
