/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one that may reach the network: a service that is called with HOST:PORT/PATH and answers with the page that
 * is there, by HTTP. Who has a capability of it has what it fetches, and no socket.
 */
#include <cap-client.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PAGE_MAX (1 << 20)
#define SECONDS 10

static int
open_host(const char *host, const char *port)
{
	const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
	const struct timeval limit = {.tv_sec = SECONDS};
	struct addrinfo *all, *a;
	int fd = -1;

	if (getaddrinfo(host, port, &wanted, &all))
		return -1;
	for (a = all; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(all);
	return fd;
}

/* Asks for the page, and reads all that comes. Returns: its bytes, or -1. */
static ssize_t
get(int fd, const char *host, const char *path, char *page)
{
	char request[1024];
	int n = snprintf(request, sizeof(request), "GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host);
	ssize_t n_page = 0, r;

	if (n >= (int)sizeof(request) || send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		return -1;
	while ((r = read(fd, page + n_page, (size_t)(PAGE_MAX - n_page))) > 0)
		n_page += r;
	return r < 0 ? -1 : n_page;
}

static void
fetch(capc_request *r, struct capc_msg *m, void *data)
{
	char host[256], port[6], path[512] = "", *page = malloc(PAGE_MAX + 1), *body;
	int fd = -1;
	ssize_t n = -1;

	(void)data;
	if (page && sscanf(m->data, "%255[^:/ ]:%5[0-9]/%511[^ \r\n]", host, port, path) >= 2)
		fd = open_host(host, port);
	if (fd >= 0)
		n = get(fd, host, path, page);
	if (n >= 0) {
		page[n] = '\0';
		body = strstr(page, "\r\n\r\n");
		body = body ? body + 4 : page;
		capc_reply(r, &(struct capc_msg){.data = body, .n_data = (size_t)(page + n - body)});
	} else {
		capc_reply_error(r, EHOSTUNREACH, "it cannot be fetched");
	}
	if (fd >= 0)
		close(fd);
	free(page);
}

int
main(void)
{
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);

	/* A page may be larger than a message is; then it comes as memory. */
	if (r == 0)
		r = capc_attach(s, "fetch", CAPC_ATTACH_FDS, &e);
	if (r == 0)
		r = capc_object_add(e, 1, fetch, NULL, "as=fetch", NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "fetcher: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	capc_detach(e);
	capc_session_free(s);
	return EXIT_FAILURE;
}
