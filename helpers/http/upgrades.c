/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/upgrades.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "helpers/backend.h"

#define LOOK_USEC 1000
#define LEAVING_USEC (UINT64_C(5) * 1000000)
#define STATUS_AT 9 /* "HTTP/1.1 101" */
#define STATUS_BYTES 12
/* A PROXY header as HAProxy writes it here: sixteen bytes, the last two of which say how many follow. */
#define HEADER_BYTES 16
#define HEADER_MAX 256
#define TYPE_UNIQUE_ID 5
#define ANSWER(status, message) \
	"HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"message\":\"" message "\"}\n"

static const char taken[] =
	"HTTP/1.1 200 OK\r\n" CONFIGURATION_TAKEN ": 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
static const char absent[] = ANSWER("503 Service Unavailable", "the server is not there");
static const char lost[] = ANSWER("500 Internal Server Error", "the filter has failed");

struct upgrade {
	struct source haproxy; /* the first member */
	struct source server;
	struct upgrades *all;
	struct list link;
	uint64_t id; /* of the request, as HAProxy counts them */
	uint64_t inode; /* of the client's socket */
	int there;	/* HAProxy's descriptor of that */
	uint64_t since_usec; /* … it is to let it go */
	bool left;	     /* the request is over there */
};

/* The memory stays until the round is over. */
static void
upgrade_end(struct upgrade *u)
{
	loop_remove(u->all->loop, &u->haproxy);
	loop_remove(u->all->loop, &u->server);
	u->haproxy.fd = fd_close(u->haproxy.fd);
	u->server.fd = fd_close(u->server.fd);
	list_unlink(&u->link);
	list_append(&u->all->dead, &u->link);
}

/* HAProxy answers by itself who gets nothing. */
static void
upgrade_fail(struct upgrade *u, const char *why, const char *answer)
{
	message_limited(&u->all->limit, u->all->loop->now_usec, "an upgrade: %s", why);
	(void)send(u->haproxy.fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
	upgrade_end(u);
}

/* FD, which it takes, and the server go on with each other. */
static void
upgrade_join(struct upgrade *u, int fd, const char *label)
{
	const struct capc_caller caller = {.label = label};

	loop_remove(u->all->loop, &u->server);
	u->all->server_fd = take_fd(u->server.fd);
	relays_add(&u->all->relays, fd, &caller);
	u->all->server_fd = fd_close(u->all->server_fd);
	upgrade_end(u);
}

/* Sends on what has come of the request: all of it is here, and has room there. Returns: 0 or -errno. */
static int
pass_request(struct upgrade *u)
{
	char data[4096];
	ssize_t n;

	while ((n = recv(u->haproxy.fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
		if (send(u->server.fd, data, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
			return -EPIPE;
	if (n == 0)
		return -ECONNRESET;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* The number of the request, in text. */
static int
read_id(const uint8_t *header, size_t n, uint64_t *ret)
{
	char text[HEADER_MAX] = "";
	size_t length;

	for (size_t at = HEADER_BYTES; at + 3 <= n; at += 3 + length) {
		length = (size_t)header[at + 1] << 8 | header[at + 2];
		if (length > n - at - 3)
			break;
		if (header[at] != TYPE_UNIQUE_ID)
			continue;
		memcpy(text, header + at + 3, length);
		return sscanf(text, "%" SCNu64, ret) == 1 ? 0 : -EBADMSG;
	}
	return -EBADMSG;
}

static int
read_header(struct upgrade *u)
{
	uint8_t header[HEADER_MAX];
	size_t n;

	/* HAProxy writes it at once. */
	if (recv(u->haproxy.fd, header, HEADER_BYTES, MSG_DONTWAIT) != HEADER_BYTES)
		return -EBADMSG;
	n = (size_t)header[HEADER_BYTES - 2] << 8 | header[HEADER_BYTES - 1];
	if (n > sizeof(header) - HEADER_BYTES ||
		recv(u->haproxy.fd, header + HEADER_BYTES, n, MSG_DONTWAIT) != (ssize_t)n)
		return -EBADMSG;
	return read_id(header, HEADER_BYTES + n, &u->id);
}

/* Its status is there, and is not taken. */
static bool
has_switched(const char *answer)
{
	return memcmp(answer, "HTTP/1.", 7) == 0 && memcmp(answer + STATUS_AT, "101", 3) == 0;
}

/* The server has switched: HAProxy is told, and goes. */
static void
upgrade_take(struct upgrade *u)
{
	int e = engine_find_client(u->all->engine, u->id, &u->there, &u->inode);

	if (e == 0 && send(u->haproxy.fd, taken, sizeof(taken) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		e = -errno;
	if (e < 0) {
		upgrade_fail(u, error_name(e), lost);
		return;
	}
	loop_remove(u->all->loop, &u->server);
	list_unlink(&u->link);
	list_append(&u->all->leaving, &u->link);
	u->since_usec = u->all->loop->now_usec;
}

static void
server_run(struct source *source, uint32_t events)
{
	struct upgrade *u = container_of(source, struct upgrade, server);
	char answer[STATUS_BYTES];
	ssize_t n = recv(source->fd, answer, sizeof(answer), MSG_PEEK | MSG_DONTWAIT);

	/* Less than that is not told again, but what comes behind it is. */
	if (n >= 0 && n < STATUS_BYTES && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	if (n == STATUS_BYTES && has_switched(answer)) {
		upgrade_take(u);
		return;
	}
	/* It is an answer like others, and HAProxy's. */
	loop_remove(u->all->loop, &u->haproxy);
	upgrade_join(u, take_fd(u->haproxy.fd), "");
}

/* The request begins. */
static int
upgrade_start(struct upgrade *u)
{
	int e = read_header(u);

	if (e < 0)
		return e;
	u->server.fd = backend_connect(u->all->server, SOCK_STREAM);
	if (u->server.fd < 0)
		return u->server.fd;
	return loop_add(u->all->loop, &u->server, EPOLLIN | EPOLLRDHUP | EPOLLET);
}

static void
haproxy_run(struct source *source, uint32_t events)
{
	struct upgrade *u = (struct upgrade *)source; /* its first member */
	int e = 0;

	if (u->since_usec) {
		/* Its last word is its end. */
		u->left = true;
		loop_remove(u->all->loop, source);
		return;
	}
	if (u->server.fd < 0)
		e = upgrade_start(u);
	if (e < 0) {
		upgrade_fail(u, error_name(e), absent);
		return;
	}
	e = pass_request(u);
	if (e < 0)
		upgrade_end(u); /* the client has left, or the server */
}

static void
upgrade_new(struct upgrades *all, int fd)
{
	struct upgrade *u = calloc(1, sizeof(*u));

	if (!u) {
		fd_close(fd);
		return;
	}
	*u = (struct upgrade){.haproxy = {.fd = fd, .run = haproxy_run}, .server = {.fd = -1, .run = server_run},
		.all = all};
	list_append(&all->asking, &u->link);
	if (loop_add(all->loop, &u->haproxy, EPOLLIN | EPOLLRDHUP) < 0)
		upgrade_end(u);
}

static void
upgrades_run(struct source *source, uint32_t events)
{
	struct upgrades *all = (struct upgrades *)source;
	char bytes[2];
	ssize_t n;

	do {
		size_t n_fds = 0;
		int fd;

		n = msg_receive(source->fd, bytes, sizeof(bytes), &fd, 1, &n_fds, MSG_DONTWAIT);
		if (n > 0 && n_fds == 1)
			upgrade_new(all, fd);
	} while (n > 0);
	/* Then HAProxy has ended, and so do we. */
	if (events & (EPOLLHUP | EPOLLERR))
		loop_remove(all->loop, source);
}

/* HAProxy has let it go: what the server has said comes first. */
static void
upgrade_begin(struct upgrade *u)
{
	const char *label = NULL;
	int fd = clients_take(u->all->clients, u->inode, &label);

	if (fd < 0)
		upgrade_end(u);
	else
		upgrade_join(u, fd, label);
}

static void
look_at_leaving(struct upgrades *all)
{
	list_for_each_safe (i, &all->leaving) {
		struct upgrade *u = list_entry(i, struct upgrade, link);

		if (u->left && !engine_has(all->engine, LISTENER_FREE, u->inode, &u->there))
			upgrade_begin(u);
		else if (all->loop->now_usec - u->since_usec >= LEAVING_USEC)
			upgrade_end(u);
	}
}

void
upgrades_tend(struct upgrades *all)
{
	look_at_leaving(all);
	relays_tend(&all->relays);
	list_for_each_safe (i, &all->dead) {
		list_unlink(i);
		free(list_entry(i, struct upgrade, link));
	}
}

uint64_t
upgrades_timeout(const struct upgrades *all)
{
	uint64_t timeout = relays_timeout(&all->relays);

	return !list_empty(&all->leaving) && LOOK_USEC < timeout ? LOOK_USEC : timeout;
}

/* Whoever joins two has connected already. */
static int
hand_over(void *data, int client_fd, uid_t uid, gid_t gid)
{
	struct upgrades *all = data;

	return take_fd(all->server_fd);
}

int
upgrades_init(struct upgrades *all, struct loop *l, struct clients *c, const char *server)
{
	const struct relays_options options = {.path = server, .connect = hand_over, .data = all, .max = UINT64_MAX};
	int e;

	*all = (struct upgrades){.source = {.fd = c->slots->engine->upgrades, .run = upgrades_run}, .loop = l,
		.clients = c, .engine = c->slots->engine, .server = server, .server_fd = -1};
	list_init(&all->asking);
	list_init(&all->leaving);
	list_init(&all->dead);
	e = relays_init(&all->relays, l, NULL, &options);
	if (e == 0)
		e = loop_add(l, &all->source, EPOLLIN);
	all->relays.checked = true; /* elsewhere */
	return e;
}

void
upgrades_deinit(struct upgrades *all)
{
	struct list *const lists[] = {&all->asking, &all->leaving};

	if (!all->loop)
		return;
	loop_remove(all->loop, &all->source);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_for_each_safe (j, lists[i])
			upgrade_end(list_entry(j, struct upgrade, link));
	relays_deinit(&all->relays);
	list_for_each_safe (i, &all->dead) {
		list_unlink(i);
		free(list_entry(i, struct upgrade, link));
	}
}
