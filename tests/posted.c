/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	posted packet PATH HEX [N PATH…]	sends that as one packet to the socket PATH, with N times each descriptor,
 *						of a file, of a connection ("=PATH") or of a
 *						path ("@PATH"), and prints the answer: "0",
 *						"0 fd", the name of an errno, or "end"; or why it could not be sent
 *	posted itself ROOT SLOT			posts its own connection to the slot
 *	posted hold PATH FILE			posts the file, and waits for the end of its input
 *	posted unread PATH N			fetches from the socket N times, reads nothing, says "ready", and waits
 *						for the end of its input
 *	posted attach ROOT SLOT N ROUNDS	fetches memory N times, maps each ROUNDS times, and prints the sum of
 *						their first bytes
 *	posted sparse ROOT SLOT N		posts memory of N bytes, in which nothing is
 *	posted seal ROOT SLOT			posts memory that it has mapped, seals it, and writes there: what who
 *						fetches it can do is printed
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(60000000)
#define PACKET_MAX 64

static int
check(int r, const char *what)
{
	if (r >= 0)
		return r;
	printf("%s: %s\n", what, error_name(r));
	exit(1);
}

static int
connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = check(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket");
	int node = open(path, O_PATH | O_CLOEXEC);

	/* However long the path is. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", node);
	if (node < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		check(-errno, path);
	close(node);
	return fd;
}

static capc_session *
session(const char *root)
{
	capc_session *s;

	check(capc_session_open(root, TIMEOUT_USEC, &s), root);
	return s;
}

/* What comes behind the answer must be the end. */
static void
print_answer(int fd)
{
	size_t n_fds = 0;
	int fds[2];
	int32_t answer;
	ssize_t n = msg_receive(fd, &answer, sizeof(answer), fds, 2, &n_fds, 0);

	if (n != sizeof(answer)) {
		printf("end\n");
		return;
	}
	printf("%s%s", answer ? error_name(answer) : "0", n_fds > 0 ? " fd" : "");
	printf("%s\n", recv(fd, &answer, sizeof(answer), 0) > 0 ? " more" : "");
}

static void
run_packet(int argc, char **argv)
{
	unsigned char packet[PACKET_MAX];
	int fds[MSG_FDS_MAX], fd = connect_to(argv[0]);
	size_t n = strlen(argv[1]) / 2, n_fds = 0;
	ssize_t sent;

	for (size_t i = 0; i < n && i < sizeof(packet); i++)
		sscanf(argv[1] + 2 * i, "%2hhx", &packet[i]);
	for (int i = 3; i < argc; i++) {
		int file = *argv[i] == '=' ? connect_to(argv[i] + 1)
			: *argv[i] == '@'  ? open(argv[i] + 1, O_PATH | O_CLOEXEC)
					   : open(argv[i], O_RDONLY | O_CLOEXEC);

		check(file < 0 ? -errno : 0, argv[i]);
		for (int k = atoi(argv[2]); k > 0 && n_fds < MSG_FDS_MAX; k--)
			fds[n_fds++] = file;
	}
	sent = msg_send(fd, packet, n, fds, n_fds, 0);
	if (sent < 0)
		printf("%s\n", error_name((int)sent));
	else
		print_answer(fd);
}

static void
run_itself(int argc, char **argv)
{
	capc_session *s = session(argv[0]);
	capc *c;

	check(capc_open(s, argv[1], TIMEOUT_USEC, &c), argv[1]);
	printf("%s\n", error_name(capc_post(s, argv[1], capc_fd(c))));
	capc_free(c);
	capc_session_free(s);
}

static void
wait_for_end(void)
{
	char byte;

	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static void
run_hold(int argc, char **argv)
{
	int fd = connect_to(argv[0]), file = open(argv[1], O_RDONLY | O_CLOEXEC);

	check(file < 0 ? -errno : 0, argv[1]);
	check((int)msg_send(fd, "\1", 1, &file, 1, 0), "send");
	wait_for_end();
}

static void
run_unread(int argc, char **argv)
{
	for (int i = atoi(argv[1]); i > 0; i--) {
		int fd = connect_to(argv[0]);

		check((int)send(fd, "\2", 1, 0), "send");
	}
	wait_for_end();
}

static void
run_attach(int argc, char **argv)
{
	capc_session *s = session(argv[0]);
	unsigned long sum = 0;

	for (int i = atoi(argv[2]); i > 0; i--) {
		size_t n;
		int fd;

		check(capc_fetch(s, argv[1], TIMEOUT_USEC, &fd), "fetch");
		check(capc_dataspace_size(fd, &n), "size");
		for (int k = atoi(argv[3]); k > 0; k--) {
			unsigned char *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);

			check(p == MAP_FAILED ? -errno : 0, "mmap");
			sum += *p;
			munmap(p, n);
		}
		close(fd);
	}
	printf("%lu\n", sum);
	capc_session_free(s);
}

static void
run_sparse(int argc, char **argv)
{
	capc_session *s = session(argv[0]);
	int fd;

	check(capc_dataspace_new(NULL, (size_t)atol(argv[2]), &fd), "new");
	check(capc_dataspace_seal(fd), "seal");
	check(capc_post(s, argv[1], fd), "post");
	close(fd);
	capc_session_free(s);
}

static const char *
mapping(int fd, size_t n, int protection)
{
	void *p = mmap(NULL, n, protection, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? error_name(errno) : "mapped";
}

static void
run_seal(int argc, char **argv)
{
	capc_session *s = session(argv[0]);
	char path[64], *mine, *theirs;
	size_t n;
	int fd, copy;

	check(capc_dataspace_new("before", 7, &fd), "new");
	mine = mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	printf("seal %d\n", capc_dataspace_seal(fd));
	check(capc_post(s, argv[1], fd), "post");
	check(capc_fetch(s, argv[1], TIMEOUT_USEC, &copy), "fetch");
	printf("size %d\n", capc_dataspace_size(copy, &n));
	theirs = mmap(NULL, n, PROT_READ, MAP_SHARED, copy, 0);
	printf("later %s\n", mapping(copy, n, PROT_READ | PROT_WRITE));
	printf("write %s\n", write(copy, "x", 1) < 0 ? error_name(errno) : "written");
	printf("cut %s\n", ftruncate(copy, 0) < 0 ? error_name(errno) : "cut");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	close(fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	printf("again %s\n", fd < 0 ? error_name(errno) : mapping(fd, n, PROT_READ | PROT_WRITE));
	memcpy(mine, "after!", 7);
	printf("older %s\n", theirs);
	capc_session_free(s);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n;
		void (*run)(int argc, char **argv);
	} commands[] = {
		{"packet", 2, run_packet},
		{"itself", 2, run_itself},
		{"hold", 2, run_hold},
		{"unread", 2, run_unread},
		{"attach", 4, run_attach},
		{"sparse", 3, run_sparse},
		{"seal", 2, run_seal},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc > 1 && strcmp(argv[1], commands[i].name) == 0 && argc - 2 >= commands[i].n) {
			commands[i].run(argc - 2, argv + 2);
			return 0;
		}
	fprintf(stderr, "usage: posted COMMAND …\n");
	return 2;
}
