/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	switch SLOT list [LABEL…]		prints the labels of the servers that match, a line each
 *	switch SLOT connect [LABEL…]		connects to the one that does; standard input goes there
 *	switch SLOT serve [LABEL…] -- COMMAND…	serves: COMMAND runs once for each connection, as its standard input
 *						and output, with its labels in $SWITCHBOARD_LABELS
 *
 * SLOT is one of a switchboard; `connect` tells the connection's labels on standard error.
 */
#include "switchboard.h"

#include <cap-client.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "labels.h"

/* M is to be done with, also on failure: it has what the switchboard says, or why it refuses. */
static int
ask(const char *slot, enum switchboard_method method, const char *labels, struct capc_msg *m)
{
	const struct capc_msg request = {.code = method, .data = labels, .n_data = strlen(labels)};
	capc_session *s = NULL;
	capc *c = NULL;
	int r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);

	*m = (struct capc_msg){};
	if (r == 0)
		r = capc_open(s, slot, CAPC_TIMEOUT_USEC, &c);
	if (r == 0)
		r = capc_call(c, &request, m, CAPC_TIMEOUT_USEC);
	if (r < 0)
		fprintf(stderr, "switch: %s %s\n", strerror(-r), m->code ? (const char *)m->data : s ? capc_session_reason(s) : "");
	capc_free(c);
	capc_session_free(s);
	return r;
}

static int
write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, data, n);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			data += written;
			n -= (size_t)written;
		}
	}
	return 0;
}

/* Returns: 1, 0 (the end), or -errno. */
static int
copy(int from, int to)
{
	char buffer[65536];
	ssize_t n = read(from, buffer, sizeof(buffer));
	int r;

	if (n <= 0)
		return n == 0 ? 0 : -errno;
	r = write_all(to, buffer, (size_t)n);
	return r < 0 ? r : 1;
}

/* Until the server has said all that it has to say. */
static int
converse(int fd)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	int r = 1;

	while (r > 0) {
		if (poll(p, 2, -1) < 0)
			return -errno;
		if (p[0].revents) {
			r = copy(fd, STDOUT_FILENO);
		} else if (copy(STDIN_FILENO, fd) <= 0) {
			shutdown(fd, SHUT_WR);
			p[1].fd = -1;
		}
	}
	return r;
}

static int
connect_to(const char *slot, const char *labels)
{
	struct capc_msg m;
	int r = ask(slot, SWITCHBOARD_CONNECT, labels, &m);

	if (r == 0 && m.n_fds != 1)
		r = -EPROTO;
	if (r == 0) {
		fprintf(stderr, "labels: %s\n", (const char *)m.data);
		r = converse(m.fds[0]);
	}
	capc_msg_clear(&m);
	return r;
}

static int
list(const char *slot, const char *labels)
{
	struct capc_msg m;
	int r = ask(slot, SWITCHBOARD_LIST, labels, &m);

	if (r == 0)
		fwrite(m.data, 1, m.n_data, stdout);
	capc_msg_clear(&m);
	return r;
}

/* LABELS has room for a terminator. Returns: the length, 0 (the switchboard has ended), -errno. */
static ssize_t
receive(int channel, char labels[LABELS_TEXT_BYTES], int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {labels, LABELS_TEXT_BYTES - 1};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (n <= 0)
		return n == 0 ? 0 : -errno;
	labels[n] = '\0';
	*ret_fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return *ret_fd < 0 ? -EPROTO : n;
}

/* The child's, with every signal as the command expects it. */
static void
run(int fd, const char *labels, char **command)
{
	signal(SIGCHLD, SIG_DFL);
	setenv("SWITCHBOARD_LABELS", labels, 1);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	execvp(command[0], command);
	_exit(127);
}

static int
take(int channel, char **command)
{
	char labels[LABELS_TEXT_BYTES];
	const char *answer = SWITCHBOARD_TAKEN;
	int fd = -1;
	ssize_t n = receive(channel, labels, &fd);
	pid_t pid;

	if (n <= 0)
		return n == 0 ? -ECONNRESET : (int)n;
	pid = fork();
	if (pid == 0)
		run(fd, labels, command);
	if (pid < 0)
		answer = SWITCHBOARD_REFUSED "no more processes";
	close(fd);
	return send(channel, answer, strlen(answer), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int
serve(const char *slot, const char *labels, char **command)
{
	struct capc_msg m;
	int r = ask(slot, SWITCHBOARD_SERVE, labels, &m), channel = capc_msg_take_fd(&m, 0);

	if (r == 0 && channel < 0)
		r = -EPROTO;
	capc_msg_clear(&m);
	signal(SIGCHLD, SIG_IGN);
	while (r == 0)
		r = take(channel, command);
	if (channel >= 0)
		close(channel);
	return r;
}

/* The arguments up to "--", with blanks between. Returns: where that is, or the end; NULL: they are too long. */
static char **
join(char **arguments, char text[LABELS_TEXT_BYTES])
{
	size_t n = 0;

	text[0] = '\0';
	for (; *arguments && strcmp(*arguments, "--") != 0; arguments++) {
		if (n + strlen(*arguments) + 2 > LABELS_TEXT_BYTES)
			return NULL;
		n += (size_t)sprintf(text + n, n > 0 ? " %s" : "%s", *arguments);
	}
	return arguments;
}

int
main(int argc, char **argv)
{
	char labels[LABELS_TEXT_BYTES];
	char **command = argc > 2 ? join(argv + 3, labels) : NULL;
	int r;

	signal(SIGPIPE, SIG_IGN);
	if (command && strcmp(argv[2], "list") == 0 && !*command) {
		r = list(argv[1], labels);
	} else if (command && strcmp(argv[2], "connect") == 0 && !*command) {
		r = connect_to(argv[1], labels);
	} else if (command && strcmp(argv[2], "serve") == 0 && *command && command[1]) {
		r = serve(argv[1], labels, command + 1);
	} else {
		fprintf(stderr, "usage: switch SLOT list|connect [LABEL...]\n"
				"       switch SLOT serve [LABEL...] -- COMMAND...\n");
		return 2;
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
