/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	passing same ROOT SLOT SLOT		compares what is exported of two slots
 *	passing connected ROOT SLOT SLOT	the same of two connections through their nodes
 *	passing raw ROOT SLOT TEXT		opens the slot, whose service speaks no calls
 *	passing use ROOT SLOT TEXT		exports, and calls from a process that got that in a message
 *	passing ring ROOT SLOT N		passes it on N times, each time as what was received
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"

#define SLOT_TIMEOUT_USEC UINT64_C(5000000)

static void
check(int r, const char *what)
{
	if (r >= 0)
		return;
	printf("%s: %s\n", what, error_name(r));
	exit(1);
}

static int
export(const char *root, const char *slot)
{
	capc_session *s;
	int fd;

	check(capc_session_open(root, SLOT_TIMEOUT_USEC, &s), root);
	fd = capc_export(s, slot);
	check(fd, slot);
	capc_session_free(s);
	return fd;
}

static int
call(int node, const char *text)
{
	struct capc_msg m = {.data = text, .n_data = strlen(text)};
	capc *c;

	check(capc_open_node(node, SLOT_TIMEOUT_USEC, &c), "open");
	check(capc_call(c, &m, &m, SLOT_TIMEOUT_USEC), "call");
	puts(m.data);
	capc_msg_done(&m);
	capc_free(c);
	return 0;
}

static int
connected(const char *root, const char *a, const char *b)
{
	capc *one, *two;
	int node_a = export(root, a), node_b = export(root, b);

	check(capc_open_node(node_a, SLOT_TIMEOUT_USEC, &one), a);
	check(capc_open_node(node_b, SLOT_TIMEOUT_USEC, &two), b);
	printf("%d\n", capc_same(capc_fd(one), capc_fd(two)));
	return capc_same(capc_fd(one), node_a) != 0;
}

static int
raw(const char *root, const char *slot, const char *text)
{
	char buffer[64];
	capc_session *s;
	capc *c;
	ssize_t n;

	check(capc_session_open(root, SLOT_TIMEOUT_USEC, &s), root);
	check(capc_open(s, slot, SLOT_TIMEOUT_USEC, &c), slot);
	if (send(capc_fd(c), text, strlen(text), MSG_NOSIGNAL) < 0)
		check(-errno, "send");
	n = recv(capc_fd(c), buffer, sizeof(buffer), 0);
	printf("%.*s\n", n > 0 ? (int)n : 0, buffer);
	capc_free(c);
	capc_session_free(s);
	return 0;
}

/* The receiver has nothing but one end of a socket pair. */
static int
use(const char *root, const char *slot, const char *text)
{
	int fds[2], node = export(root, slot), status;
	pid_t child;

	check(fd_socketpair(SOCK_SEQPACKET, fds), "pair");
	child = fork();
	if (child == 0) {
		size_t n_fds;
		char byte;
		int got;

		close(node);
		check((int)msg_receive(fds[1], &byte, 1, &got, 1, &n_fds, 0), "receive");
		exit(call(got, text));
	}
	check((int)msg_send(fds[0], "x", 1, &node, 1, 0), "send");
	close(node);
	return waitpid(child, &status, 0) != child || status != 0;
}

static int
count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Each hop exports nothing new: what came is what goes, as one descriptor, and it stays the same. */
static int
ring(const char *root, const char *slot, long n)
{
	int fds[2], first = export(root, slot), node = fd_dup(first), before;

	check(fd_socketpair(SOCK_SEQPACKET, fds), "pair");
	before = count_fds();
	for (long i = 0; i < n; i++) {
		size_t n_fds;
		char byte;

		check((int)msg_send(fds[0], "x", 1, &node, 1, 0), "send");
		close(node);
		check((int)msg_receive(fds[1], &byte, 1, &node, 1, &n_fds, 0), "receive");
		if (capc_same(first, node) != 1)
			return 1;
	}
	call(node, "around");
	return count_fds() != before;
}

int
main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	if (!strcmp(argv[1], "same"))
		return printf("%d\n", capc_same(export(argv[2], argv[3]), export(argv[2], argv[4]))) < 0;
	if (!strcmp(argv[1], "connected"))
		return connected(argv[2], argv[3], argv[4]);
	if (!strcmp(argv[1], "raw"))
		return raw(argv[2], argv[3], argv[4]);
	if (!strcmp(argv[1], "use"))
		return use(argv[2], argv[3], argv[4]);
	if (!strcmp(argv[1], "ring"))
		return ring(argv[2], argv[3], atol(argv[4]));
	return 2;
}
