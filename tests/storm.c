/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests and benchmarks of how the daemon shares its time: one client that asks for all of it,
 * and one that counts what is done between two of its own operations.
 *
 *	storm ask DIR CONNECTIONS OP PATH [TEXT]
 *		control requests of operation number OP, as many as go
 *	storm connect SOCKET PROCESSES
 *		connects and leaves
 *	storm read FILE PROCESSES
 *		open, read, close
 *	storm taken DIR ENTRYPOINT
 *		serves it, and says without end what it has taken
 *	storm count ROOT/metrics|ROOT N
 *		reads `metrics`, the file or by the control protocol, until N times others' control
 *		requests were served between two reads, and prints how many: least, median, most.
 *		A storm that had no CPU meanwhile is none, and is not counted
 *
 * DIR is a session's directory. All but the last go on until they are killed; "storm" on stdout
 * says that it has begun: something was replied to.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/msg.h"
#include "wire/wire.h"

#define CONNECTIONS_MAX 1024
#define DEPTH 16 /* requests under way on each connection */

static void
die(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void
begun(void)
{
	static bool told;

	if (told)
		return;
	told = true;
	puts("storm");
	fflush(stdout);
}

/* By its directory, whose path may be longer than an address. */
static int
connect_to(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int node = open(path, O_PATH | O_CLOEXEC), fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (node < 0 || fd < 0)
		die(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", node);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		fd = -1;
	}
	close(node);
	return fd;
}

static int
connect_control(const char *dir)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/control", dir);
	fd = connect_to(path, SOCK_SEQPACKET);
	if (fd < 0)
		die(path);
	return fd;
}

struct client {
	int fd;
	unsigned n; /* under way */
	uint64_t serial;
};

static uint8_t packet[WIRE_CONTROL_MAX];

static void
ask_more(struct client *c, struct wire_request *m)
{
	while (c->n < DEPTH) {
		int n;

		m->serial = c->serial + 1;
		n = wire_request_encode(m, packet, sizeof(packet));
		if (n < 0 || send(c->fd, packet, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		c->serial++;
		c->n++;
	}
}

/* What comes with a reply is of no use. */
static void
read_replies(struct client *c)
{
	int passed = -1;
	size_t n_fds = 0;
	ssize_t n;

	while ((n = msg_receive(c->fd, packet, sizeof(packet), &passed, 1, &n_fds, MSG_DONTWAIT)) >
		0) {
		if (n_fds > 0)
			close(passed);
		c->n--;
		begun();
	}
	if (n == 0) {
		errno = ECONNRESET;
		die("control");
	}
}

static void
storm_ask(int argc, char **argv)
{
	static struct client clients[CONNECTIONS_MAX];
	struct wire_request m = {
		.op = (uint8_t)atoi(argv[2]), .path = argv[3], .text = argc > 4 ? argv[4] : ""};
	int n = atoi(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[64];

	m.n_path = strlen(m.path);
	m.n_text = strlen(m.text);
	if (n < 1 || n > CONNECTIONS_MAX) {
		errno = EINVAL;
		die(argv[1]);
	}
	for (int i = 0; i < n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};

		clients[i].fd = connect_control(argv[0]);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) < 0)
			die("epoll");
	}
	for (;;) {
		int k;

		for (int i = 0; i < n; i++)
			ask_more(&clients[i], &m);
		k = epoll_wait(epoll, events, 64, 100);
		for (int i = 0; i < k; i++)
			read_replies(events[i].data.ptr);
	}
}

/* A process each, that ends with the first. Returns in all of them. */
static void
multiply(const char *n)
{
	for (int i = atoi(n); i > 1; i--) {
		pid_t parent = getpid(), pid = fork();

		if (pid < 0)
			die("fork");
		if (pid > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		return;
	}
	begun();
}

/* A refusal costs the daemon as well. */
static void
storm_connect(int argc, char **argv)
{
	multiply(argv[1]);
	for (;;) {
		int fd = connect_to(argv[0], SOCK_STREAM);

		if (fd >= 0)
			close(fd);
	}
}

static void
storm_read(int argc, char **argv)
{
	multiply(argv[1]);
	for (;;) {
		char text[4096];
		int fd = open(argv[0], O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, text, sizeof(text)) < 0)
			die(argv[0]);
		close(fd);
	}
}

/* Of serials that were never given the daemon must look for each. */
static void
storm_taken(int argc, char **argv)
{
	char path[128];
	struct wire_request m = {.op = WIRE_ATTACH, .serial = 1, .path = path, .text = ""};
	int control = connect_control(argv[0]), channel = -1, n;
	size_t n_fds = 0;

	m.n_path = (size_t)snprintf(path, sizeof(path), "entrypoints/%s", argv[1]);
	n = wire_request_encode(&m, packet, sizeof(packet));
	if (n < 0 || send(control, packet, (size_t)n, 0) < 0)
		die("attach");
	if (msg_receive(control, packet, sizeof(packet), &channel, 1, &n_fds, 0) <= 0 || n_fds == 0)
		die("attach");
	begun();
	for (uint64_t serial = UINT64_C(1) << 60;; serial++) {
		n = wire_taken_encode(serial, packet, sizeof(packet));
		if (send(channel, packet, (size_t)n, MSG_NOSIGNAL) < 0)
			die("channel");
	}
}

static char metrics[1 << 16];

static void
read_file(const char *path)
{
	size_t n = 0;
	ssize_t k;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	while ((k = read(fd, metrics + n, sizeof(metrics) - 1 - n)) > 0)
		n += (size_t)k;
	close(fd);
	metrics[n] = '\0';
}

/* The first piece has what is looked for. */
static void
read_node(int control)
{
	static uint64_t serial;
	struct wire_request m = {.op = WIRE_READ,
		.serial = ++serial,
		.path = "metrics",
		.n_path = strlen("metrics"),
		.text = ""};
	struct wire_reply reply;
	int n = wire_request_encode(&m, packet, sizeof(packet));

	if (n < 0 || send(control, packet, (size_t)n, MSG_NOSIGNAL) < 0)
		die("control");
	n = (int)recv(control, packet, sizeof(packet), 0);
	if (n <= 0 || wire_reply_decode(packet, (size_t)n, &reply) < 0 || reply.error) {
		errno = EPROTO;
		die("metrics");
	}
	memcpy(metrics, reply.text, reply.n_text);
	metrics[reply.n_text] = '\0';
}

/* Of those that others have made up to now. */
static uint64_t
requests(const char *path, int control)
{
	static const char wanted[] = "capfs_requests_total{front=\"control\",";
	uint64_t sum = 0;

	if (control >= 0)
		read_node(control);
	else
		read_file(path);
	for (const char *p = metrics; (p = strstr(p, wanted)); p++)
		sum += strtoull(strchr(p, '}') + 1, NULL, 10);
	return sum;
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
storm_count(int argc, char **argv)
{
	size_t n = (size_t)atoi(argv[1]);
	int control = strcmp(argv[0] + strlen(argv[0]) - strlen("metrics"), "metrics")
			      ? connect_control(argv[0])
			      : -1;
	uint64_t *between = calloc(n + 1, sizeof(*between)), last = requests(argv[0], control);

	if (!between || n == 0)
		die("memory");
	for (size_t i = 0; i < n;) {
		uint64_t now = requests(argv[0], control), own = control >= 0;

		between[i] = now - last - own;
		last = now;
		i += between[i] > 0;
	}
	qsort(between, n, sizeof(*between), compare);
	printf("%ju %ju %ju\n", (uintmax_t)between[0], (uintmax_t)between[n / 2],
		(uintmax_t)between[n - 1]);
	free(between);
}

static const struct {
	const char *name;
	int n_min, n_max;
	void (*run)(int argc, char **argv);
} storms[] = {
	{"ask", 4, 5, storm_ask},
	{"connect", 2, 2, storm_connect},
	{"read", 2, 2, storm_read},
	{"taken", 2, 2, storm_taken},
	{"count", 2, 2, storm_count},
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(storms) / sizeof(storms[0]); i++)
		if (!strcmp(argv[1], storms[i].name) && argc - 2 >= storms[i].n_min &&
			argc - 2 <= storms[i].n_max) {
			storms[i].run(argc - 2, argv + 2);
			return 0;
		}
	fprintf(stderr, "usage: storm ask|connect|read|taken|count …\n");
	return 2;
}
