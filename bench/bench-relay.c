/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-relay serve PATH				a server that sends back what it gets
 *	bench-relay measure NAME BYTES CLIENTS LIMIT DIRECT [WHAT PATH PID]…
 *
 * Requests of so many bytes by so many connections at once, each answered in full before the next: at the server
 * itself, and through each of what stands in between, of which the first is compared with the others. All take
 * turns; latencies have the median and the last percent, and what is between the two ends pays for its CPU by the
 * kernel's count. PATH is a socket, or "ROOT SLOT" with a relay that steps aside, which has a limit of its own.
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
#include "libcap-client/cap-client.h"

#define PIECE_BYTES 65536
#define CLIENTS_MAX 64
#define WAYS_MAX 8
#define ROUNDS 20
#define ROUND_NSEC UINT64_C(100000000)
#define SAMPLES_MAX 1000000
#define ASIDE_LIMIT 1.05

static char piece[PIECE_BYTES];

static void
watch(int poller, int fd, uint32_t events, void *data, bool again)
{
	struct epoll_event event = {.events = events, .data.ptr = data};

	if (epoll_ctl(poller, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die("epoll_ctl");
}

/* --- the server --- */

static void
answer(int fd)
{
	ssize_t n = recv(fd, piece, sizeof(piece), 0), sent = 0;

	while (n > 0 && sent < n) {
		ssize_t r = send(fd, piece + sent, (size_t)(n - sent), MSG_NOSIGNAL);

		if (r < 0)
			n = -1;
		sent += r;
	}
	if (n <= 0)
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
		listen(listener, SOMAXCONN) < 0 ||
		epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0)
		bench_die(path);
	for (;;) {
		if (epoll_wait(poller, &event, 1, -1) < 0)
			continue;
		if (event.data.fd != listener) {
			answer(event.data.fd);
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
	int fd;
	size_t to_send, to_receive; /* of the request that is under way */
	uint64_t start_nsec;
};

struct way {
	const char *what;
	struct client clients[CLIENTS_MAX];
	int poller;
	pid_t pid; /* what is in between; 0: nothing */
	bool aside; /* … and it gets out of the way */
	double *samples;
	size_t n_samples;
	uint64_t n, cpu_nsec, wall_nsec;
};

static size_t bytes, n_clients;

/* Of PID and, where it makes one for each connection, its children. */
static uint64_t
cpu_nsec(pid_t pid)
{
	char path[64];
	uint64_t all = 0, one;
	int child;
	FILE *f;

	if (pid <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%" SCNu64, &one) == 1)
		all = one;
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &child) == 1)
		all += cpu_nsec(child);
	if (f)
		fclose(f);
	return all;
}

/* Sends and receives what goes now. Returns: was the last byte received? */
static bool
client_move(struct way *w, struct client *c)
{
	bool was_sending = c->to_send > 0;
	ssize_t n;

	while (c->to_send > 0) {
		n = send(c->fd, piece, c->to_send < PIECE_BYTES ? c->to_send : PIECE_BYTES,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			bench_die(w->what);
		c->to_send -= (size_t)n;
	}
	if (was_sending && c->to_send == 0 && bytes > PIECE_BYTES)
		watch(w->poller, c->fd, EPOLLIN, c, true);
	n = recv(c->fd, piece, PIECE_BYTES, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		bench_die(w->what);
	c->to_receive -= n > 0 ? (size_t)n : 0;
	return c->to_receive == 0;
}

static void
client_begin(struct way *w, struct client *c)
{
	c->to_send = c->to_receive = bytes;
	c->start_nsec = bench_now_nsec();
	/* A small one goes at once, and needs no look whether there is room. */
	if (bytes <= PIECE_BYTES) {
		ssize_t n = send(c->fd, piece, bytes, MSG_NOSIGNAL);

		if (n != (ssize_t)bytes)
			bench_die(w->what);
		c->to_send = 0;
	} else {
		watch(w->poller, c->fd, EPOLLIN | EPOLLOUT, c, true);
	}
}

/* Every client works until the time is over, and then ends what it has begun. */
static void
round_of(struct way *w, bool counts)
{
	uint64_t start = bench_now_nsec(), cpu = cpu_nsec(w->pid), now = start;
	size_t working = n_clients;

	for (size_t i = 0; i < n_clients; i++)
		client_begin(w, &w->clients[i]);
	while (working > 0) {
		struct epoll_event events[CLIENTS_MAX];
		int n = epoll_wait(w->poller, events, CLIENTS_MAX, -1);

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
	w->cpu_nsec += cpu_nsec(w->pid) - cpu;
}

/* PATH is of a session and a slot, whose relay has to step aside. */
static int
connect_aside(const char *path)
{
	static capc_session *session;
	const char *slot = strchr(path, ' ') + 1;
	char root[256];
	capc *c;
	int r = 0;

	snprintf(root, sizeof(root), "%.*s", (int)(slot - path - 1), path);
	if (!session)
		r = capc_session_open(root, CAPC_FOREVER, &session);
	if (r == 0)
		r = capc_open_direct(session, slot, CAPC_FOREVER, &c);
	errno = -r;
	if (r < 0)
		bench_die(path);
	return capc_fd(c);
}

static void
way_open(struct way *w, const char *what, const char *path, const char *pid)
{
	w->what = what;
	w->aside = strchr(path, ' ');
	w->pid = (pid_t)strtol(pid, NULL, 10);
	w->poller = epoll_create1(EPOLL_CLOEXEC);
	w->samples = calloc(SAMPLES_MAX, sizeof(double));
	if (w->poller < 0 || !w->samples)
		bench_die("memory");
	for (size_t i = 0; i < n_clients; i++) {
		w->clients[i].fd = w->aside ? connect_aside(path) : bench_connect(path);
		watch(w->poller, w->clients[i].fd, EPOLLIN, &w->clients[i], false);
	}
}

/* The median, and what one of a hundred exceeds; in microseconds. */
static double
latency(struct way *w, double *ret_p99)
{
	double median = bench_median(w->samples, w->n_samples); /* sorts them */

	*ret_p99 = w->samples[w->n_samples - 1 - w->n_samples / 100] / 1000;
	return median / 1000;
}

static void
print(struct way *w, const struct way *direct, double median, double p99, double direct_median)
{
	printf("    %-22s %8.1f us, 99 %% %8.1f us, %9.0f a second", w->what, median, p99,
		(double)w->n / ((double)w->wall_nsec / 1e9));
	if (w != direct)
		printf(", %5.2f x direct, %6.1f us of CPU each", median / direct_median,
			(double)w->cpu_nsec / 1000 / (double)w->n);
	printf("\n");
}

static int
measure(int argc, char **argv)
{
	static struct way ways[WAYS_MAX];
	double limit = strtod(argv[5], NULL), median[WAYS_MAX] = {}, p99[WAYS_MAX];
	size_t n_ways = 1;
	bool worse, aside_worse = false;

	bytes = strtoul(argv[3], NULL, 10);
	n_clients = strtoul(argv[4], NULL, 10);
	if (bytes == 0 || n_clients == 0 || n_clients > CLIENTS_MAX)
		return 2;
	way_open(&ways[0], "direct", argv[6], "0");
	for (int i = 7; i + 2 < argc && n_ways < WAYS_MAX; i += 3)
		way_open(&ways[n_ways++], argv[i], argv[i + 1], argv[i + 2]);
	for (int i = -1; i < ROUNDS; i++)
		for (size_t j = 0; j < n_ways; j++)
			round_of(&ways[j], i >= 0);
	median[0] = latency(&ways[0], &p99[0]);
	worse = false;
	for (size_t j = 1; j < n_ways; j++) {
		median[j] = latency(&ways[j], &p99[j]);
		/* Nothing that users would take is faster. */
		if (!ways[j].aside)
			worse = worse || median[1] > median[j];
		else if (median[j] / median[0] > ASIDE_LIMIT)
			aside_worse = true;
	}
	worse = worse || median[1] / median[0] > limit;
	printf("relay, %s: %.3f (<= %.2f) %s\n", argv[2], median[1] / median[0], limit, worse ? "worse" : "ok");
	for (size_t j = 0; j < n_ways; j++)
		print(&ways[j], &ways[0], median[j], p99[j], median[0]);
	for (size_t j = 1; j < n_ways; j++)
		if (ways[j].aside)
			printf("stepped aside, %s: %.3f (<= %.2f) %s\n", argv[2], median[j] / median[0],
				ASIDE_LIMIT, aside_worse ? "worse" : "ok");
	return worse || aside_worse;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc >= 10 && strcmp(argv[1], "measure") == 0)
		return measure(argc, argv);
	fprintf(stderr, "usage: bench-relay serve PATH\n"
			"       bench-relay measure NAME BYTES CLIENTS LIMIT DIRECT [WHAT PATH PID]...\n");
	return 2;
}
