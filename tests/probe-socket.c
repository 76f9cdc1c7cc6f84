/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The probe's commands that talk over sockets, and its random writer: see probe.c. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "tests/probe.h"

#define ASK_MSEC_MAX 20000
#define FUZZ_FILES_MAX 256

int64_t
probe_now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Through a descriptor, so that the length of the path does not matter. */
static int
connect_type(int path_fd, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", path_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(fd);
}

static int
connect_plain(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(fd);
}

static int
connect_any(const char *path, int type)
{
	cleanup_close int path_fd = -1;

	if (strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return connect_plain(path, type);
	path_fd = open(path, O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return -errno;
	return connect_type(path_fd, type);
}

int
probe_connect(const char *path)
{
	int fd = connect_any(path, SOCK_STREAM);

	return fd == -EPROTOTYPE ? connect_any(path, SOCK_SEQPACKET) : fd;
}

/* Prints what comes until the end. Returns: 0, or -errno. */
static int
print_all(int fd)
{
	int64_t deadline = probe_now_msec() + ASK_MSEC_MAX;
	char buffer[65536];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - probe_now_msec();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return -ETIMEDOUT;
		n = read(fd, buffer, sizeof(buffer));
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (fwrite(buffer, 1, (size_t)n, stdout) != (size_t)n)
			return -EIO;
	}
}

int
probe_ask(int argc, char **argv)
{
	cleanup_close int fd = -1;
	int r;

	if (argc != 3)
		return 2;
	fd = probe_connect(argv[1]);
	if (fd < 0) {
		puts(error_name(fd));
		return 1;
	}
	/* A connection that is refused by a limit may be shut down before the text is sent. */
	if (send(fd, argv[2], strlen(argv[2]), MSG_NOSIGNAL) < 0 && errno != EPIPE &&
		errno != ECONNRESET) {
		puts(error_name(errno));
		return 1;
	}
	shutdown(fd, SHUT_WR);
	r = print_all(fd);
	if (r == -ECONNRESET)
		r = 0;
	if (r < 0)
		puts(error_name(r));
	return r < 0;
}

/* Prints how many connections it got and how the last attempt ended, then keeps them. */
int
probe_flood(int argc, char **argv)
{
	int64_t deadline;
	int n = 0, wanted, fd = 0;

	if (argc != 4)
		return 2;
	wanted = atoi(argv[2]);
	deadline = probe_now_msec() + (int64_t)(atof(argv[3]) * 1000);
	while (n < wanted && (fd = probe_connect(argv[1])) >= 0)
		n++;
	printf("%d %s\n", n, fd < 0 ? error_name(fd) : "OK");
	fflush(stdout);
	while (probe_now_msec() < deadline)
		usleep(20000);
	return 0;
}

int
probe_inherit(int argc, char **argv)
{
	int fd;

	if (argc < 3)
		return 2;
	fd = probe_connect(argv[1]);
	if (fd < 0) {
		puts(error_name(fd));
		return 1;
	}
	if (fd == 3 ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, 3) < 0)
		return 2;
	execvp(argv[2], argv + 2);
	perror("probe: exec");
	return 2;
}

static int
serve_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return -EINVAL;
	strcpy(address.sun_path, path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 128) < 0)
		return -errno;
	return take_fd(fd);
}

/* Sends back what came. Clients wait for their answer, so a full buffer is nobody's fault but theirs. */
static void
serve_one(int fd)
{
	char buffer[65536];
	ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

/* A TCP socket whose buffers are full and whose last close(2) takes SECONDS. */
static int
lingering_socket(int seconds)
{
	static const char bytes[65536];
	const struct linger linger = {.l_onoff = 1, .l_linger = seconds};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t n = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, n) < 0 || listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *)&address, &n) < 0 ||
		connect(fd, (struct sockaddr *)&address, n) < 0 || accept(listener, NULL, NULL) < 0)
		return -errno;
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0 ? -errno : fd;
}

int
probe_linger(int argc, char **argv)
{
	int to, fd, r;
	pid_t daemon;

	if (argc != 4)
		return 2;
	daemon = atoi(argv[3]);
	to = probe_connect(argv[1]);
	fd = lingering_socket(atoi(argv[2]));
	if (to < 0 || fd < 0)
		return 1;
	usleep(200000); /* it sleeps now, and must not read before the file is in nobody else's hands */
	if (kill(daemon, SIGSTOP) < 0)
		return 1;
	r = msg_send(to, "junk", 4, &fd, 1, 0);
	/* What could not be sent would keep us here ourselves. */
	if (r < 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){}, sizeof(struct linger));
	close(fd);
	if (kill(daemon, SIGCONT) < 0 || (r < 0 && r != -EPERM))
		return 1;
	puts(r < 0 ? "refused" : "sent");
	fflush(stdout);
	pause();
	return 0;
}

int
probe_poll(int argc, char **argv)
{
	char text[4096];
	struct pollfd p = {.events = POLLIN};
	int64_t end;
	int n;

	if (argc != 3)
		return 2;
	end = probe_now_msec() + atoi(argv[2]) * 1000;
	p.fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (p.fd < 0)
		return 1;
	do {
		while (read(p.fd, text, sizeof(text)) > 0)
			;
		puts("waits");
		fflush(stdout);
		n = poll(&p, 1, atoi(argv[2]) * 1000);
		/* A broker that took over wakes everybody, whether there is something or not. */
	} while (n > 0 && !(p.revents & (POLLERR | POLLHUP)) && read(p.fd, text, sizeof(text)) == 0);
	/* At its end poll(2) looks once more. */
	n = n > 0 && probe_now_msec() < end;
	puts(n ? "woken" : "forgotten");
	return !n;
}

/* The listener that we were started with, as sd_listen_fds(3) has it; says what else came along. */
static int
serve_inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	cleanup_free int *fds = NULL;
	size_t n_fds;

	if (!pid || strtol(pid, NULL, 10) != getpid() || !n || strcmp(n, "1") != 0)
		return -EINVAL;
	if (fd_list(&fds, &n_fds) < 0)
		return -EIO;
	printf("names=%s fds=", names ? names : "");
	for (size_t i = 0; i < n_fds; i++)
		printf("%s%d", i > 0 ? "," : "", fds[i]);
	printf(" blocking=%s cloexec=%s\n", fcntl(3, F_GETFL) & O_NONBLOCK ? "no" : "yes",
		fcntl(3, F_GETFD) & FD_CLOEXEC ? "yes" : "no");
	fflush(stdout);
	return 3;
}

int
probe_serve(int argc, char **argv)
{
	cleanup_close int listener = argc == 2 ? serve_listen(argv[1]) : serve_inherited();
	cleanup_close int poller = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

	if (listener < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0) {
		puts(error_name(listener < 0 ? listener : errno));
		return 1;
	}
	while (epoll_wait(poller, &event, 1, -1) > 0 || errno == EINTR) {
		if (event.data.fd != listener) {
			serve_one(event.data.fd);
			continue;
		}
		event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		event.events = EPOLLIN;
		if (event.data.fd >= 0)
			epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event);
	}
	return 1;
}

/* PATH, opened with O_PATH, is descriptor 3 of the command. */
int
probe_keep(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_PATH | O_CLOEXEC) : -1;

	if (argc < 3)
		return 2;
	if (fd < 0 || (fd == 3 ? fcntl(3, F_SETFD, 0) : dup2(fd, 3)) < 0) {
		puts(error_name(errno));
		return 1;
	}
	execvp(argv[2], argv + 2);
	return 2;
}

struct fuzz_files {
	char *path[FUZZ_FILES_MAX];
	size_t n;
};

static int
fuzz_collect(const char *dir, struct fuzz_files *files)
{
	char *const roots[] = {(char *)dir, NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *e;

	if (!tree)
		return -errno;
	while ((e = fts_read(tree)) && files->n < FUZZ_FILES_MAX)
		if (e->fts_info == FTS_F && (e->fts_statp->st_mode & 0222))
			files->path[files->n++] = strdup(e->fts_path);
	fts_close(tree);
	return files->n ? 0 : -ENOENT;
}

/* Half of it tokens of the grammar, so that more than the first check is reached. */
static size_t
fuzz_text(char *buffer, size_t size)
{
	static const char *const tokens[] = {"to=", "from=", "as=", "rights=", "call", ",", "grant",
		"conns=", "calls=", "expires=", "18446744073709551615", "18446744073709551616", "-1",
		"0", " ", " ", " ", "caps=", "sockets=", "ram=", "1", "self", "id=", "immutable", "../",
		"/", "methods=0-3", "\n", "\xff", "%s%n", "with=", "child", "@", "\x01"};
	size_t n = 0, wanted = (size_t)random() % 64;

	if (random() % 50 == 0)
		wanted = (size_t)random() % size;
	while (n < wanted) {
		const char *token = tokens[(size_t)random() % (sizeof(tokens) / sizeof(tokens[0]))];
		size_t n_token = strlen(token);

		if (random() % 4 == 0) {
			buffer[n++] = (char)random();
			continue;
		}
		if (n + n_token > size)
			break;
		memcpy(buffer + n, token, n_token);
		n += n_token;
	}
	return n;
}

int
probe_fuzz(int argc, char **argv)
{
	struct fuzz_files files = {};
	char buffer[16384];
	int64_t deadline;
	unsigned long written = 0, taken = 0;

	if (argc != 4)
		return 2;
	srandom((unsigned)atoi(argv[3]));
	if (fuzz_collect(argv[1], &files) < 0) {
		puts("no command files");
		return 1;
	}
	deadline = probe_now_msec() + (int64_t)(atof(argv[2]) * 1000);
	while (probe_now_msec() < deadline) {
		const char *path = files.path[(size_t)random() % files.n];
		cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		/* Now and then in pieces. */
		do {
			size_t n = fuzz_text(buffer, sizeof(buffer));

			written++;
			if (n && write(fd, buffer, n) >= 0)
				taken++;
		} while (random() % 2);
	}
	printf("files=%zu written=%lu taken=%lu\n", files.n, written, taken);
	for (size_t i = 0; i < files.n; i++)
		free(files.path[i]);
	return 0;
}
