/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	importing node FROM SLOT TO [AS]	FROM passes SLOT on to TO, which imports it
 *	importing path PATH TO			TO imports PATH, opened with O_PATH
 *	importing named UID PATH TO		… opened by UID, who sends it
 *	importing file PATH TO			… opened for reading and writing
 *	importing connected FROM SLOT TO	FROM passes a connection on, made through the node
 *	importing opened FROM SLOT TO		… made by the daemon
 *	importing identify PATH TO		what TO is told of PATH
 *	importing hold ROOT SLOT N		opens N connections, or all it gets, and stays
 *	importing hostile FILE CONTROL N	sends N inspectors FILE, and stays
 *	importing forged DIR NAME TO		a socket of our own, bound to DIR/NAME
 *	importing around N SLOT SESSION…	each passes on what it has imported, N times
 *
 * FROM, TO and SESSION are directories of sessions. What an import gives is printed as "new SLOT" or
 * "held SLOT".
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "libcap-client/cap-client.h"
#include "wire/wire.h"

#define TIMEOUT_USEC UINT64_C(20000000)
#define SESSIONS_MAX 32

static void
check(int r, const char *what)
{
	if (r >= 0)
		return;
	printf("%s: %s\n", what, error_name(r));
	exit(1);
}

static capc_session *opened[SESSIONS_MAX];

static void
close_sessions(void)
{
	for (int i = 0; i < SESSIONS_MAX; i++)
		opened[i] = capc_session_free(opened[i]);
}

/* Lasts as long as this process. */
static capc_session *
session(const char *root)
{
	capc_session *s;
	int i = 0;

	check(capc_session_open(root, TIMEOUT_USEC, &s), root);
	capc_session_set_timeout(s, TIMEOUT_USEC);
	while (i < SESSIONS_MAX - 1 && opened[i])
		i++;
	opened[i] = s;
	return s;
}

/* What arrives when FD is sent in a message. Takes FD. */
static int
pass(int fd)
{
	int pair[2], got = -1;
	size_t n_fds;
	char byte;

	check(fd, "export");
	check(fd_socketpair(SOCK_SEQPACKET, pair), "pair");
	check((int)msg_send(pair[0], "x", 1, &fd, 1, 0), "send");
	close(fd);
	check((int)msg_receive(pair[1], &byte, 1, &got, 1, &n_fds, 0), "receive");
	close(pair[0]);
	close(pair[1]);
	return got;
}

static int
import(capc_session *to, int fd, const char *as)
{
	char *slot;
	int r = capc_import(to, fd, as, &slot);

	if (r < 0) {
		printf("%s: %s\n", error_name(r), capc_session_reason(to));
		return 1;
	}
	printf("%s %s\n", r ? "held" : "new", slot);
	free(slot);
	/* It was taken, and must not be there any more. */
	return fcntl(fd, F_GETFD) >= 0;
}

/* A client of another user's, who has nothing but the name, and a service that imports it. */
static int
named(const char *uid, const char *path, capc_session *to)
{
	uid_t user = (uid_t)strtoul(uid, NULL, 10);
	int pair[2], fd = -1;
	size_t n_fds;
	char byte;

	check(fd_socketpair(SOCK_SEQPACKET, pair), "pair");
	if (fork() == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 ||
			setresuid(user, user, user) < 0)
			_exit(1);
		fd = open(path, O_PATH | O_CLOEXEC);
		_exit(fd >= 0 && msg_send(pair[0], "x", 1, &fd, 1, 0) < 0);
	}
	close(pair[0]);
	check((int)msg_receive(pair[1], &byte, 1, &fd, 1, &n_fds, 0), "receive");
	close(pair[1]);
	if (fd >= 0)
		return import(to, fd, NULL);
	printf("no descriptor\n");
	return 1;
}

static int
identify(capc_session *to, int fd)
{
	struct capc_identity id;

	check(capc_identify(to, fd, &id), "identify");
	printf("verified=%d object=%" PRIu64 " badge=0x%" PRIx64 " capability=%" PRIu64
	       " rights=%x type=%s owner=%s slot=%s holder=%s "
	       "vouched=%d\n",
		id.verified, id.object, id.badge, id.capability, id.rights, id.type, id.owner,
		id.slot, id.holder, id.vouched);
	return 0;
}

/* A listener of that name, but in another directory, and not the daemon's. */
static int
forged(const char *directory, const char *name, capc_session *to)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name);
	unlink(address.sun_path);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listener, 1) < 0)
		check(-errno, "bind");
	import(to, open(address.sun_path, O_PATH | O_CLOEXEC), NULL);
	if (connect(client, (struct sockaddr *)&address, sizeof(address)) < 0)
		check(-errno, "connect");
	identify(to, client);
	return import(to, client, NULL);
}

/* The receiver identifies it, then imports it. */
static int
connected(capc_session *from, const char *slot, capc_session *to, bool through_node)
{
	int node, fd, r;
	capc *c;

	if (through_node) {
		node = capc_export(from, slot);
		check(capc_open_node(node, TIMEOUT_USEC, &c), slot);
		close(node);
	} else {
		check(capc_open(from, slot, TIMEOUT_USEC, &c), slot);
	}
	fd = pass(fd_dup(capc_fd(c)));
	identify(to, fd);
	r = import(to, fd, NULL);
	capc_free(c);
	return r;
}

static int
hold(capc_session *s, const char *slot, long n)
{
	long held = 0;
	capc *c;
	int r = 0;

	while (held < n && (r = capc_open(s, slot, TIMEOUT_USEC, &c)) == 0)
		held++;
	printf("held=%ld %s %s\n", held, r < 0 ? error_name(r) : "", capc_session_reason(s));
	fflush(stdout);
	pause();
	return 0;
}

/* One request by hand. Returns: the descriptor of its answer, -errno. */
static int
ask_inspection(int control, uint64_t serial)
{
	struct wire_request q = {.op = WIRE_INSPECT, .serial = serial, .path = "", .text = ""};
	uint8_t buffer[4096];
	struct wire_reply reply;
	int n = wire_request_encode(&q, buffer, sizeof(buffer)), fd = -1;
	size_t n_fds = 0;

	check((int)msg_send(control, buffer, (size_t)n, NULL, 0, 0), "request");
	n = (int)msg_receive(control, buffer, sizeof(buffer), &fd, 1, &n_fds, 0);
	check(n, "reply");
	check(wire_reply_decode(buffer, (size_t)n, &reply), "reply");
	return reply.error ? -(int)reply.error : fd;
}

static int
hostile(const char *path, const char *control_path, long n)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int file = open(path, O_RDWR | O_CLOEXEC);
	int control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	check(file < 0 ? -errno : 0, path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", control_path);
	check(connect(control, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0,
		control_path);
	for (long i = 1; i <= n; i++) {
		int fd = ask_inspection(control, (uint64_t)i);
		char byte;

		if (fd < 0) {
			puts(error_name(fd));
			continue;
		}
		check((int)msg_send(fd, "", 1, &file, 1, 0), "send");
		puts(recv(fd, &byte, 1, 0) == 1 ? "looked" : "lost");
	}
	puts("done");
	fflush(stdout);
	pause();
	return 0;
}

static int
count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Each session has its own slot of it, which it exports to the next. */
static int
around(long n, const char *slot, char **roots, int n_roots)
{
	capc_session *sessions[SESSIONS_MAX];
	char *name = strdup(slot);
	int fds, n_new = 0;

	if (n_roots < 2 || n_roots > SESSIONS_MAX)
		return 2;
	for (int i = 0; i < n_roots; i++)
		sessions[i] = session(roots[i]);
	fds = count_fds();
	for (long i = 0; i < n; i++) {
		int node = pass(capc_export(sessions[i % n_roots], name)), r;
		char *next;

		r = capc_import(sessions[(i + 1) % n_roots], node, NULL, &next);
		check(r, "import");
		n_new += r == 0;
		free(name);
		name = next;
	}
	free(name);
	printf("new=%d left=%d\n", n_new, count_fds() - fds);
	return 0;
}

int
main(int argc, char **argv)
{
	atexit(close_sessions);
	if (argc >= 5 && !strcmp(argv[1], "node"))
		return import(
			session(argv[4]), pass(capc_export(session(argv[2]), argv[3])), argv[5]);
	if (argc == 4 && !strcmp(argv[1], "path"))
		return import(session(argv[3]), open(argv[2], O_PATH | O_CLOEXEC), NULL);
	if (argc == 5 && !strcmp(argv[1], "named"))
		return named(argv[2], argv[3], session(argv[4]));
	if (argc == 4 && !strcmp(argv[1], "file"))
		return import(session(argv[3]), open(argv[2], O_RDWR | O_CLOEXEC), NULL);
	if (argc == 4 && !strcmp(argv[1], "identify"))
		return identify(session(argv[3]), open(argv[2], O_PATH | O_CLOEXEC));
	if (argc == 5 && (!strcmp(argv[1], "connected") || !strcmp(argv[1], "opened")))
		return connected(session(argv[2]), argv[3], session(argv[4]), argv[1][0] == 'c');
	if (argc == 5 && !strcmp(argv[1], "hold"))
		return hold(session(argv[2]), argv[3], atol(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "hostile"))
		return hostile(argv[2], argv[3], atol(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "forged"))
		return forged(argv[2], argv[3], session(argv[4]));
	if (argc >= 6 && !strcmp(argv[1], "around"))
		return around(atol(argv[2]), argv[3], argv + 4, argc - 4);
	return 2;
}
