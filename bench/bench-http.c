/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-http serve PATH				a server that answers every request with a few bytes
 *	bench-http measure NAME CLIENTS keep|each LIMIT WHAT PATH PIDS WHAT PATH PIDS
 *
 * Small requests by so many clients at once, each by one connection for all of its requests, or by one for each
 * request: through what stands in between first, compared with the same through the second. Both take turns;
 * latencies have the median and the last percent, and PIDS, joined by commas, pay for CPU by the kernel's count.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"

#define CLIENTS_MAX 64
#define ROUNDS 20
#define ROUND_NSEC UINT64_C(100000000)
#define SAMPLES_MAX 400000
#define PIDS_MAX 8
#define EVENTS_MAX 64

static const char request_keep[] = "GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: d\r\n\r\n";
static const char request_each[] =
	"GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

static void
watch(int poller, int fd, uint32_t events, void *data)
{
	struct epoll_event event = {.events = events, .data.ptr = data};

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die("epoll_ctl");
}

/* --- the server --- */

static void
answer_one(int fd)
{
	char text[4096];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	if (n > 0)
		text[n] = '\0';
	/* Requests are small, and come in one piece. */
	if (n <= 0 || !strstr(text, "\r\n\r\n") ||
		send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0)
		close(fd);
}

static int
serve(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int poller = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

	if (strlen(path) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, path);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listener, CLIENTS_MAX) < 0 ||
		epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0)
		bench_die(path);
	for (;;) {
		if (epoll_wait(poller, &event, 1, -1) < 0)
			continue;
		if (event.data.fd != listener) {
			answer_one(event.data.fd);
			continue;
		}
		event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		event.events = EPOLLIN;
		if (epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
			bench_die("accept");
	}
}

/* --- the clients --- */

struct client {
	int fd; /* -1: there is none now */
	size_t n;
	char text[512];
	uint64_t start_nsec;
};

struct way {
	const char *what, *path;
	struct client clients[CLIENTS_MAX];
	int poller;
	pid_t pids[PIDS_MAX];
	size_t n_pids;
	double *samples;
	size_t n_samples;
	uint64_t n, cpu_nsec, wall_nsec;
};

static size_t n_clients;
static bool each;

static uint64_t
cpu_nsec(const struct way *w)
{
	uint64_t all = 0, one;
	char path[64];
	FILE *f;

	for (size_t i = 0; i < w->n_pids; i++) {
		snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)w->pids[i]);
		f = fopen(path, "re");
		if (f && fscanf(f, "%" SCNu64, &one) == 1)
			all += one;
		if (f)
			fclose(f);
	}
	return all;
}

static void
client_begin(struct way *w, struct client *c)
{
	const char *request = each ? request_each : request_keep;
	size_t n = each ? sizeof(request_each) - 1 : sizeof(request_keep) - 1;

	c->n = 0;
	c->start_nsec = bench_now_nsec();
	if (c->fd < 0) {
		c->fd = bench_connect(w->path);
		watch(w->poller, c->fd, EPOLLIN, c);
	}
	if (send(c->fd, request, n, MSG_NOSIGNAL) != (ssize_t)n)
		bench_die(w->what);
}

static bool
is_whole(const struct client *c)
{
	return c->n >= 2 && memcmp(c->text + c->n - 2, "{}", 2) == 0;
}

/* Returns: was this the end of the answer, and of the connection, where it has one of its own? */
static bool
client_move(struct way *w, struct client *c)
{
	ssize_t n = recv(c->fd, c->text + c->n, sizeof(c->text) - c->n - 1, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0 || (n == 0 && !(each && is_whole(c)))) {
		errno = n < 0 ? errno : EPROTO;
		bench_die(w->what);
	}
	c->n += (size_t)n;
	if (each && n == 0) {
		close(c->fd);
		c->fd = -1;
		return true;
	}
	if (!is_whole(c))
		return false;
	c->text[c->n] = '\0';
	if (strncmp(c->text, "HTTP/1.1 200 ", 13) != 0) {
		errno = EBADMSG;
		bench_die(w->what);
	}
	return !each;
}

/* Every client works until the time is over, and then ends what it has begun. */
static void
round_of(struct way *w, bool counts)
{
	uint64_t start = bench_now_nsec(), cpu = cpu_nsec(w), now = start;
	size_t working = n_clients;

	for (size_t i = 0; i < n_clients; i++)
		client_begin(w, &w->clients[i]);
	while (working > 0) {
		struct epoll_event events[EVENTS_MAX];
		int n = epoll_wait(w->poller, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (!client_move(w, c))
				continue;
			now = bench_now_nsec();
			if (counts && w->n_samples < SAMPLES_MAX)
				w->samples[w->n_samples++] = (double)(now - c->start_nsec);
			w->n += counts;
			if (now - start < ROUND_NSEC)
				client_begin(w, c);
			else
				working--;
		}
	}
	if (!counts)
		return;
	w->wall_nsec += now - start;
	w->cpu_nsec += cpu_nsec(w) - cpu;
}

static void
way_open(struct way *w, char *const *words)
{
	w->what = words[0];
	w->path = words[1];
	for (char *p = words[2]; *p && w->n_pids < PIDS_MAX;) {
		w->pids[w->n_pids++] = (pid_t)strtol(p, &p, 10);
		p += *p == ',';
	}
	w->poller = epoll_create1(EPOLL_CLOEXEC);
	w->samples = calloc(SAMPLES_MAX, sizeof(double));
	if (w->poller < 0 || !w->samples)
		bench_die("memory");
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		w->clients[i].fd = -1;
}

struct figures {
	double median, p99, cpu;
};

static struct figures
way_figures(struct way *w)
{
	struct figures f = {.median = bench_median(w->samples, w->n_samples) / 1000}; /* sorts them */

	f.p99 = w->samples[w->n_samples - 1 - w->n_samples / 100] / 1000;
	f.cpu = (double)w->cpu_nsec / 1000 / (double)w->n;
	return f;
}

static int
report(const char *name, const char *figure, double a, double b, double limit)
{
	bool worse = !(a / b <= limit);

	printf("http, %s, %s: %.3f (<= %.2f) %s [%.1f / %.1f us]\n", name, figure, a / b, limit,
		worse ? "worse" : "ok", a, b);
	return worse;
}

static int
measure(int argc, char **argv)
{
	static struct way ways[2];
	double limit = strtod(argv[5], NULL);
	struct figures f[2];
	int worse;

	n_clients = strtoul(argv[3], NULL, 10);
	each = strcmp(argv[4], "each") == 0;
	if (n_clients == 0 || n_clients > CLIENTS_MAX)
		return 2;
	for (size_t i = 0; i < 2; i++)
		way_open(&ways[i], argv + 6 + 3 * i);
	for (int i = -1; i < ROUNDS; i++)
		for (size_t j = 0; j < 2; j++)
			round_of(&ways[j], i >= 0);
	for (size_t j = 0; j < 2; j++)
		f[j] = way_figures(&ways[j]);
	worse = report(argv[2], "median", f[0].median, f[1].median, limit);
	worse |= report(argv[2], "99 %", f[0].p99, f[1].p99, limit);
	worse |= report(argv[2], "CPU", f[0].cpu, f[1].cpu, limit);
	for (size_t j = 0; j < 2; j++)
		printf("    %-22s %9.0f a second\n", ways[j].what,
			(double)ways[j].n / ((double)ways[j].wall_nsec / 1e9));
	return worse;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc == 12 && strcmp(argv[1], "measure") == 0)
		return measure(argc, argv);
	fprintf(stderr, "usage: bench-http serve PATH\n"
			"       bench-http measure NAME CLIENTS keep|each LIMIT WHAT PATH PIDS WHAT PATH PIDS\n");
	return 2;
}
