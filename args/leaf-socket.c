/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* !socket: one that is connected, or that listens. */
#include "config.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "args/leaf.h"
#include "base/error.h"
#include "base/number.h"
#include "libcap-client/private.h"

struct wanted {
	const char *address; /* a path, which has a '/', or HOST:PORT */
	bool listens;
	int type;
	int backlog;
};

static int
read_type(const struct leaf *l, int *ret)
{
	static const struct {
		const char *name;
		int type;
	} types[] = {{"stream", SOCK_STREAM}, {"seqpacket", SOCK_SEQPACKET}, {"dgram", SOCK_DGRAM}};
	const char *type = leaf_option(l, "type");

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type ? type : "stream", types[i].name) == 0) {
			*ret = types[i].type;
			return 0;
		}
	return leaf_refuse(
		l->reason, -EINVAL, "the type '%s' is none of stream, seqpacket, dgram", type);
}

static int
read_backlog(const struct leaf *l, const struct wanted *w, int *ret)
{
	const char *backlog = leaf_option(l, "backlog");
	uint64_t n;

	*ret = SOMAXCONN;
	if (!backlog)
		return 0;
	if (!w->listens || w->type == SOCK_DGRAM)
		return leaf_refuse(l->reason, -EINVAL, "'backlog' is for what accepts");
	if (number_parse(backlog, strlen(backlog), false, &n) < 0 || n < 1 || n > 65536)
		return leaf_refuse(
			l->reason, -EINVAL, "'backlog' is 1 to 65536, not '%s'", backlog);
	*ret = (int)n;
	return 0;
}

static bool
is_path(const char *address)
{
	return strchr(address, '/');
}

static int
read_wanted(const struct leaf *l, struct wanted *ret)
{
	const char *connects = leaf_option(l, "connect"), *listens = leaf_option(l, "listen");
	int r = read_type(l, &ret->type);

	if (r < 0)
		return r;
	if (!connects == !listens)
		return leaf_refuse(
			l->reason, -EINVAL, "!socket needs one of 'connect' and 'listen'");
	ret->listens = listens;
	ret->address = listens ? listens : connects;
	if (!is_path(ret->address) && !strchr(ret->address, ':'))
		return leaf_refuse(l->reason, -EINVAL,
			"'%s' is neither a path with a '/' nor HOST:PORT", ret->address);
	if (!is_path(ret->address) && ret->type == SOCK_SEQPACKET)
		return leaf_refuse(
			l->reason, -EINVAL, "'%s' cannot be of type seqpacket", ret->address);
	return read_backlog(l, ret, &ret->backlog);
}

/* --- Unix --- */

/*
 * Nobody has that socket open any more; it is only a name that its last owner left. Of a file that is no
 * socket connect(2) says the same.
 */
static bool
is_stale(const struct sockaddr_un *address, int type)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	       errno == ECONNREFUSED;
}

static int
bind_path(int fd, const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!is_stale(&address, type))
		return -EADDRINUSE;
	if (unlink(path) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return 0;
}

static int
open_path(const struct wanted *w, int *ret_fd, char **ret_made)
{
	cleanup_close int fd = -1;
	cleanup_free char *made = strdup(w->address);
	int r;

	if (!w->listens)
		return connect_path(w->address, w->type, deadline_after(CAPC_TIMEOUT_USEC), ret_fd);
	fd = socket(AF_UNIX, w->type | SOCK_CLOEXEC, 0);
	if (fd < 0 || !made)
		return -errno;
	r = bind_path(fd, w->address, w->type);
	if (r < 0)
		return r;
	if (w->type != SOCK_DGRAM && listen(fd, w->backlog) < 0) {
		r = -errno;
		unlink(w->address);
		return r;
	}
	*ret_fd = take_fd(fd);
	*ret_made = take_ptr(made);
	return 0;
}

/* --- TCP and UDP --- */

/* A connection of a blocking socket that takes no longer than the library's others. */
static int
connect_bounded(int fd, const struct addrinfo *a)
{
	struct timeval bound = {.tv_sec = CAPC_TIMEOUT_USEC / 1000000}, none = {};

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound)) < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0)
		return errno == EINPROGRESS || errno == EAGAIN ? -ETIMEDOUT : -errno;
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) < 0 ? -errno : 0;
}

static int
listen_at(int fd, const struct addrinfo *a, const struct wanted *w)
{
	int on = 1;

	/* Connections of the one before, which are still ending, do not matter. */
	if ((w->type == SOCK_STREAM &&
		    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) ||
		bind(fd, a->ai_addr, a->ai_addrlen) < 0 ||
		(w->type == SOCK_STREAM && listen(fd, w->backlog) < 0))
		return -errno;
	return 0;
}

static int
open_address(const struct wanted *w, const struct addrinfo *a, int *ret_fd)
{
	cleanup_close int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
	int r = fd < 0 ? -errno : w->listens ? listen_at(fd, a, w) : connect_bounded(fd, a);

	if (r == 0)
		*ret_fd = take_fd(fd);
	return r;
}

/* "HOST:PORT", "[::1]:PORT", ":PORT" for all addresses. Splits HOST. Returns: the port; NULL: it is
 * none. */
static char *
split(char *host, const char **ret_host)
{
	char *colon = strrchr(host, ':');
	size_t n = (size_t)(colon - host);

	*colon = '\0';
	if (n > 1 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		host++;
	} else if (strchr(host, ':')) {
		return NULL;
	}
	*ret_host = *host ? host : NULL;
	return colon + 1;
}

static int
open_host(const struct leaf *l, const struct wanted *w, int *ret_fd)
{
	struct addrinfo hints = {.ai_socktype = w->type, .ai_flags = AI_NUMERICSERV}, *list;
	cleanup_free char *copy = strdup(w->address);
	const char *host, *port;
	int r;

	if (!copy)
		return -ENOMEM;
	port = split(copy, &host);
	if (!port || (!host && !w->listens))
		return leaf_refuse(l->reason, -EINVAL, "'%s' is no HOST:PORT", w->address);
	hints.ai_flags |= w->listens ? AI_PASSIVE : 0;
	r = l->dry ? 0 : getaddrinfo(host, port, &hints, &list);
	if (r != 0)
		return leaf_refuse(l->reason,
			r == EAI_SYSTEM	  ? -errno
			: r == EAI_MEMORY ? -ENOMEM
					  : -EADDRNOTAVAIL,
			"'%s': %s", w->address, gai_strerror(r));
	*ret_fd = -1;
	if (l->dry)
		return 0;
	r = -EADDRNOTAVAIL;
	for (struct addrinfo *a = list; a && r < 0; a = a->ai_next)
		r = open_address(w, a, ret_fd);
	freeaddrinfo(list);
	return r;
}

int
leaf_open_socket(const struct leaf *l, int *ret_fd, char **ret_made)
{
	struct wanted w = {};
	int r = read_wanted(l, &w);

	*ret_made = NULL;
	if (r < 0)
		return r;
	if (!is_path(w.address)) {
		r = open_host(l, &w, ret_fd);
	} else if (l->dry) {
		*ret_fd = -1;
	} else {
		r = open_path(&w, ret_fd, ret_made);
	}
	if (r < 0 && l->reason->n == 0)
		return leaf_refuse(l->reason, r,
			w.listens ? "'%s' cannot be listened at: %s"
				  : "'%s' cannot be connected to: %s",
			w.address, error_name(r));
	return r;
}
