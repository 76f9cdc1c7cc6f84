/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	signals raise ROOT SLOT TIMES		raises 1, so often
 *	signals sum ROOT SLOT TOTAL		waits until it has TOTAL, with a pause after each; prints it
 *	signals many ROOT N ROUNDS		N signals s0, s1, … of ROOT: each is raised by its number and
 *						one, and waited for, in each round
 *	signals packet PATH HEX…		sends each as a packet to the socket, and prints what comes
 *						for "-", as a number for each 8 bytes, or "end"
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(60000000)
#define PAUSE_USEC 2000

static int
check(int r, const char *what)
{
	if (r >= 0)
		return r;
	printf("%s: %s\n", what, error_name(r));
	exit(1);
}

static capc_session *
session(const char *root)
{
	capc_session *s;

	check(capc_session_open(root, TIMEOUT_USEC, &s), root);
	return s;
}

static capc_signal *
signal_of(capc_session *s, const char *slot)
{
	capc_signal *g;

	check(capc_signal_new(s, slot, &g), slot);
	return g;
}

/* A daemon that is not there for a moment has room again later. */
static void
raise_by(capc_signal *g, uint64_t n)
{
	int r;

	while ((r = capc_signal_raise(g, n)) == -EAGAIN)
		usleep(PAUSE_USEC);
	check(r, "raise");
}

static void
run_raise(char **argv)
{
	capc_session *s = session(argv[0]);
	capc_signal *g = signal_of(s, argv[1]);

	for (uint64_t n = strtoull(argv[2], NULL, 10); n > 0; n--)
		raise_by(g, 1);
	capc_signal_free(g);
	capc_session_free(s);
}

static void
run_sum(char **argv)
{
	capc_session *s = session(argv[0]);
	capc_signal *g = signal_of(s, argv[1]);
	uint64_t total = strtoull(argv[2], NULL, 10), sum = 0, n;
	int r;

	while (sum < total) {
		r = capc_signal_wait(g, TIMEOUT_USEC, &n);
		if (r < 0)
			printf("after %" PRIu64 ": ", sum);
		check(r, "wait");
		sum += n;
		usleep(PAUSE_USEC);
	}
	/* No more than that may come. */
	r = capc_signal_wait(g, 0, &n);
	printf("%" PRIu64 "%s\n", sum, r == -ETIMEDOUT ? "" : " and more");
	capc_signal_free(g);
	capc_session_free(s);
}

static void
run_many(char **argv)
{
	capc_session *s = session(argv[0]);
	unsigned n = (unsigned)atoi(argv[1]), rounds = (unsigned)atoi(argv[2]);
	capc_signal **all = calloc(n, sizeof(*all));
	char name[16];
	uint64_t got;

	check(all ? 0 : -ENOMEM, "memory");
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		all[i] = signal_of(s, name);
	}
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < n; i++)
			raise_by(all[i], i + 1);
		for (unsigned i = n; i-- > 0;) {
			check(capc_signal_wait(all[i], TIMEOUT_USEC, &got), "wait");
			if (got != i + 1)
				printf("s%u: %" PRIu64 " in round %u\n", i, got, round);
		}
	}
	for (unsigned i = 0; i < n; i++)
		capc_signal_free(all[i]);
	free(all);
	capc_session_free(s);
	printf("done\n");
}

static int
connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	check(connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0, path);
	return fd;
}

static void
print_packet(int fd)
{
	uint64_t words[8];
	ssize_t n = recv(fd, words, sizeof(words), 0);

	if (n <= 0)
		printf("end\n");
	for (ssize_t i = 0; i < n / 8; i++)
		printf("%" PRIu64 "%s", words[i], i + 1 < n / 8 ? " " : "\n");
}

static void
run_packet(char **argv)
{
	int fd = connect_to(argv[0]);

	for (argv++; *argv; argv++) {
		uint8_t bytes[256];
		size_t n = 0;

		if (strcmp(*argv, "-") == 0) {
			print_packet(fd);
			continue;
		}
		for (const char *p = *argv; p[0] && p[1]; p += 2)
			if (sscanf(p, "%2hhx", &bytes[n++]) != 1)
				exit(2);
		check(send(fd, bytes, n, MSG_NOSIGNAL) < 0 ? -errno : 0, "send");
	}
	close(fd);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n;
		void (*run)(char **argv);
	} modes[] = {{"raise", 3, run_raise}, {"sum", 3, run_sum}, {"many", 3, run_many}, {"packet", 2, run_packet}};

	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(argv[1], modes[i].name) == 0 && argc - 2 >= modes[i].n) {
			modes[i].run(argv + 2);
			return 0;
		}
	return 2;
}
