/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * capfs-metrics-http(8): answers one request for /metrics on the connection that is its standard
 * input, as capfs-inetd starts it. It does not trust who asks: a request has a bound and a
 * deadline, and nothing of it is used but what the answer depends on.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "metrics/http.h"
#include "helpers/message.h"

#define DEADLINE_MSEC 10000
#define LINGER_MSEC 2000
#define TEXT_BYTES_MAX (16 << 20)
#define STATUS_USAGE 2
#define END "# EOF\n"
#define PATH "/metrics"

static int64_t
now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The open file is others' too, so it stays one that blocks. Returns: 0 or -errno. */
static int
wait_for(short events, int64_t deadline)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = events};
	int64_t left;
	int r;

	do {
		left = deadline - now_msec();
		r = poll(&p, 1, left > 0 ? (int)left : 0);
	} while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : r == 0 ? -ETIMEDOUT : -errno;
}

static int
send_all(const char *data, size_t n, int64_t deadline)
{
	while (n > 0) {
		ssize_t sent = send(STDIN_FILENO, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r = 0;

		if (sent < 0 && errno == EAGAIN)
			r = wait_for(POLLOUT, deadline);
		else if (sent < 0 && errno != EINTR)
			r = -errno;
		if (r < 0)
			return r;
		if (sent > 0) {
			data += sent;
			n -= (size_t)sent;
		}
	}
	return 0;
}

/* Returns: the status of the answer; 0: nobody waits for one. */
static int
receive(struct http_request *ret, int64_t deadline)
{
	char buffer[HTTP_BYTES_MAX];
	size_t n = 0;
	int status = 0, r;

	while (status == 0) {
		ssize_t got = recv(STDIN_FILENO, buffer + n, sizeof(buffer) - n, MSG_DONTWAIT);

		if (got == 0)
			return n > 0 ? 400 : 0;
		if (got < 0 && errno == EAGAIN) {
			r = wait_for(POLLIN, deadline);
			if (r < 0)
				return r == -ETIMEDOUT && n > 0 ? 408 : 0;
		} else if (got < 0 && errno != EINTR) {
			return 0;
		} else if (got > 0) {
			n += (size_t)got;
			status = http_parse(buffer, n, PATH, ret);
		}
	}
	return status;
}

static int
read_file(const char *path, struct text *t)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buffer[65536];
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		text_add_n(t, buffer, (size_t)n);
		if (t->n > TEXT_BYTES_MAX)
			return -EFBIG;
	}
	return n < 0 ? -errno : text_done(t);
}

/* A text that a broker's end has cut is read again. */
static int
read_metrics(struct text *t)
{
	const char *root = getenv("CAPFS");
	cleanup_text struct text path = {};
	int r = -EIO;

	text_addf(&path, "%s" PATH, root && *root ? root : "/cap");
	if (text_done(&path) < 0)
		return -ENOMEM;
	for (int i = 0; i < 3; i++) {
		text_reset(t);
		r = read_file(path.data, t);
		if (r == 0 && t->n >= strlen(END) &&
			memcmp(t->data + t->n - strlen(END), END, strlen(END)) == 0)
			return 0;
	}
	r = r < 0 ? r : -EIO;
	message("%s: %s", path.data, strerror(-r));
	return r;
}

/* OpenMetrics names the family of a counter without the _total of its sample. */
static void
to_openmetrics(const struct text *t, struct text *ret)
{
	for (const char *line = t->data, *end = t->data + t->n, *next; line < end; line = next) {
		const char *name = line + strlen("# TYPE "), *blank;

		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next + 1 : end;
		blank = line[0] == '#' && name < next ? memchr(name, ' ', (size_t)(next - name))
						      : NULL;
		if (blank && blank - name > 6 && memcmp(blank - 6, "_total", 6) == 0) {
			text_add_n(ret, line, (size_t)(blank - 6 - line));
			line = blank;
		}
		text_add_n(ret, line, (size_t)(next - line));
	}
}

static int
answer(int status, const struct http_request *request, int64_t deadline)
{
	cleanup_text struct text read = {}, body = {}, out = {};
	const char *type = "text/plain; charset=utf-8";

	if (status == 200 && read_metrics(&read) < 0)
		status = 503;
	if (status == 200 && request->openmetrics) {
		type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
		to_openmetrics(&read, &body);
	} else if (status == 200) {
		type = "text/plain; version=0.0.4; charset=utf-8";
		text_add_n(&body, read.data, read.n);
	} else {
		text_addf(&body, "%d %s\n", status, http_reason(status));
	}
	text_addf(&out,
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
		"Cache-Control: no-store\r\nConnection: close\r\n\r\n",
		status, http_reason(status), type, body.n,
		status == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (!request->head)
		text_add_n(&out, body.data, body.n);
	if (text_done(&body) < 0 || text_done(&out) < 0)
		return -ENOMEM;
	return send_all(out.data, out.n, deadline);
}

/*
 * Who is still sending when the connection is closed may never read the answer: its next write fails first
 * (RFC 9112, 9.6). So it hears of the end, and what it goes on to say is read and dropped for a while.
 */
static void
linger(int64_t deadline)
{
	char buffer[HTTP_BYTES_MAX];

	shutdown(STDIN_FILENO, SHUT_WR);
	while (wait_for(POLLIN, deadline) == 0 && recv(STDIN_FILENO, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		;
}

int
main(int argc, char **argv)
{
	int64_t deadline = now_msec() + DEADLINE_MSEC;
	struct http_request request = {};
	socklen_t n = sizeof(int);
	int status, type;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("capfs-metrics-http (capfsd) " PACKAGE_VERSION);
		return 0;
	}
	if (argc != 1 || getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &n) < 0) {
		fputs("usage: capctl serve NAME --inetd -- capfs-metrics-http\n"
		      "Answers one request for " PATH " on its standard input, a socket.\n",
			stderr);
		return STATUS_USAGE;
	}
	status = receive(&request, deadline);
	if (status == 0)
		return 0;
	if (answer(status, &request, deadline + DEADLINE_MSEC) < 0)
		return 1;
	linger(now_msec() + LINGER_MSEC);
	return 0;
}
