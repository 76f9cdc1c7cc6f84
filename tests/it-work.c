/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/it-work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "libcap-client/cap-client.h"

#define WORK_TIMEOUT_MSEC 30000
#define WORK_TIMEOUT_USEC (WORK_TIMEOUT_MSEC * UINT64_C(1000))
#define WORK_PATH 256

int64_t
work_now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int
worker_fail(struct worker *w, const char *format, ...)
{
	const char *name = error_name(errno);
	va_list args;
	int n;

	if (w->failures++ > 0)
		return -1;
	va_start(args, format);
	n = vsnprintf(w->first_failure, sizeof(w->first_failure), format, args);
	va_end(args);
	if (n > 0 && (size_t)n < sizeof(w->first_failure))
		snprintf(w->first_failure + n, sizeof(w->first_failure) - (size_t)n, " (errno %s)",
			name);
	return -1;
}

/* PATH below the worker's session. */
static const char *
at(char buffer[static WORK_PATH], const char *session, const char *path)
{
	snprintf(buffer, WORK_PATH, "%s/%s", session, path);
	return buffer;
}

/* The whole text of a node. Returns: its length, or -1 with errno. */
static ssize_t
slurp(const char *path, char *buffer, size_t size)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r;

	if (fd < 0)
		return -1;
	while ((r = read(fd, buffer + n, size - 1 - n)) > 0)
		n += (size_t)r;
	buffer[n] = '\0';
	return r < 0 ? -1 : (ssize_t)n;
}

/* The figure KEY in the line of `quota` that begins with KIND; UINT64_MAX when it is not there. */
static uint64_t
quota_figure(const char *session, const char *kind, const char *key)
{
	char path[WORK_PATH], text[2048], wanted[64];
	const char *line, *p;

	if (slurp(at(path, session, "quota"), text, sizeof(text)) < 0)
		return UINT64_MAX;
	snprintf(wanted, sizeof(wanted), " %s=", key);
	line = strstr(text, kind);
	p = line ? strstr(line, wanted) : NULL;
	return p ? strtoull(p + strlen(wanted), NULL, 10) : UINT64_MAX;
}

/* Writes TEXT as a line and reads the result on the same open file. */
static int
command(const char *path, const char *text, char *result, size_t size)
{
	cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
	char line[256];
	ssize_t n = snprintf(line, sizeof(line), "%s\n", text);

	if (fd < 0 || n >= (ssize_t)sizeof(line) || write(fd, line, (size_t)n) != n)
		return -1;
	n = read(fd, result, size - 1);
	if (n < 0)
		return -1;
	result[n] = '\0';
	return 0;
}

static int
dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return take_fd(fd);
}

/* Reads exactly N bytes. Returns: 0; -1, at the end of file with errno EPIPE. */
static int
receive(int fd, void *data, size_t n)
{
	size_t got = 0;

	while (got < n) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t r;

		if (poll(&p, 1, WORK_TIMEOUT_MSEC) == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		r = recv(fd, (char *)data + got, n - got, 0);
		if (r == 0)
			errno = EPIPE;
		if (r <= 0)
			return -1;
		got += (size_t)r;
	}
	return 0;
}

/* Sends random bytes and wants them back. */
static int
exchange(struct worker *w, int fd)
{
	uint64_t out[8], in[8] = {};

	for (size_t i = 0; i < 8; i++)
		out[i] = (uint64_t)random() << 32 | (uint64_t)random();
	if (send(fd, out, sizeof(out), MSG_NOSIGNAL) != sizeof(out))
		return worker_fail(w, "send");
	if (receive(fd, in, sizeof(in)) < 0)
		return worker_fail(w, "receive");
	if (memcmp(out, in, sizeof(in)) != 0)
		return worker_fail(w, "other bytes came back");
	return 0;
}

/* Ends a conversation as one who has read everything. */
static void
hang_up(int fd)
{
	shutdown(fd, SHUT_RDWR);
	close(fd);
}

/* $ONLY_LATER: names, with a blank on each side, that a version has not to which the daemon goes back. */
static bool
goes_away(const char *name)
{
	const char *names = getenv("ONLY_LATER");
	char word[NAME_MAX + 3];

	snprintf(word, sizeof(word), " %s ", name);
	return names && strstr(names, word);
}

/* What tells of events, of others, or of what is asked. */
static bool
may_be_empty(const char *name)
{
	static const char *const names[] = {"events", "faults", "holders", "policy", "requests", "yield"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int
list_directory(struct worker *w, const char *path, unsigned depth)
{
	cleanup_closedir DIR *d = opendir(path);
	struct dirent *e;

	if (!d)
		return worker_fail(w, "opendir %s", path);
	while (errno = 0, (e = readdir(d))) {
		char child[WORK_PATH * 2], text[8192];
		struct stat st;

		if (e->d_name[0] == '.' || goes_away(e->d_name))
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
		if (lstat(child, &st) < 0)
			return worker_fail(w, "lstat %s", child);
		if (S_ISDIR(st.st_mode) && depth > 0 && list_directory(w, child, depth - 1) < 0)
			return -1;
		if (S_ISREG(st.st_mode) && !may_be_empty(e->d_name) && slurp(child, text, sizeof(text)) <= 0)
			return worker_fail(w, "read %s", child);
	}
	return errno ? worker_fail(w, "readdir %s", path) : 0;
}

static int
round_list(struct worker *w, const char *session, void **state)
{
	return list_directory(w, session, 3);
}

static int
round_connect(struct worker *w, const char *session, void **state)
{
	char path[WORK_PATH];
	int fd = dial(at(path, session, "caps/echo/socket")), r;

	if (fd < 0)
		return worker_fail(w, "connect");
	r = exchange(w, fd);
	hang_up(fd);
	return r;
}

/* One connection for the worker's life. */
static int
round_data(struct worker *w, const char *session, void **state)
{
	char path[WORK_PATH];
	int *fd = *state;

	if (!fd) {
		fd = *state = calloc(1, sizeof(*fd));
		if (!fd)
			return worker_fail(w, "memory");
		*fd = dial(at(path, session, "caps/echo/socket"));
	}
	if (*fd < 0 || exchange(w, *fd) < 0) {
		if (*fd >= 0)
			close(*fd);
		free(fd);
		*state = NULL;
		return worker_fail(w, "the long connection ended");
	}
	return 0;
}

static int
count_entries(const char *path)
{
	cleanup_closedir DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	return n - 2;
}

/* Grants without a name, renames, drops: a command that ran twice would leave a second slot. */
static int
round_grant(struct worker *w, const char *session, void **state)
{
	char grant[WORK_PATH], made[WORK_PATH], moved[WORK_PATH], caps[WORK_PATH], result[256];
	const char *to = strrchr(session, '/') + 1;
	char text[64];
	int n = count_entries(at(caps, session, "caps"));

	snprintf(text, sizeof(text), "to=%s", to);
	snprintf(grant, sizeof(grant), "%s/../../caps/echo/grant", session);
	if (command(grant, text, result, sizeof(result)) < 0)
		return worker_fail(w, "grant");
	if (strncmp(result, "slot=echo-2 id=", 15) != 0)
		return worker_fail(w, "grant's result is '%s'", result);
	if (count_entries(caps) != n + 1)
		return worker_fail(w, "%d slots after a grant, %d before", count_entries(caps), n);
	at(made, session, "caps/echo-2");
	at(moved, session, "caps/moved");
	if (rename(made, moved) < 0)
		return worker_fail(w, "rename");
	if (access(moved, F_OK) < 0 || access(made, F_OK) == 0)
		return worker_fail(w, "a slot was not renamed");
	if (rmdir(moved) < 0)
		return worker_fail(w, "drop");
	if (quota_figure(session, "caps", "used") != (uint64_t)n)
		return worker_fail(w, "quota after the drop");
	return 0;
}

static capc_session *
control(struct worker *w, void **state)
{
	capc_session *s = *state;
	int r;

	if (s)
		return s;
	r = capc_session_open(NULL, WORK_TIMEOUT_USEC, &s);
	if (r < 0) {
		errno = -r;
		worker_fail(w, "control session");
		return NULL;
	}
	*state = s;
	return s;
}

/* Over the control protocol: grant, reduce step by step, drop. */
static int
round_reduce(struct worker *w, const char *session, void **state)
{
	const char *to = strrchr(session, '/') + 1;
	capc_session *s = control(w, state);
	char node[WORK_PATH], how[64];
	int r;

	if (!s)
		return -1;
	snprintf(node, sizeof(node), "sessions/%s/caps/r/reduce", to);
	snprintf(how, sizeof(how), "to=%s as=r rights=call,reduce calls=9", to);
	r = capc_write(s, "caps/echo/grant", how, NULL, WORK_TIMEOUT_USEC);
	for (unsigned calls = 8; r == 0 && calls > 5; calls--) {
		snprintf(how, sizeof(how), "calls=%u", calls);
		r = capc_write(s, node, how, NULL, WORK_TIMEOUT_USEC);
	}
	if (r < 0) {
		errno = -r;
		return worker_fail(w, "grant or reduce over the control socket");
	}
	/* The same again is no reduction. */
	r = capc_write(s, node, how, NULL, WORK_TIMEOUT_USEC);
	if (r != -EINVAL)
		return worker_fail(w, "a second reduction gave %s", error_name(r));
	snprintf(node, sizeof(node), "%s/caps/r", session);
	if (rmdir(node) < 0)
		return worker_fail(w, "drop of what was reduced");
	return 0;
}

/* Grants, connects, revokes: the connection ends, the node is gone. */
static int
round_revoke(struct worker *w, const char *session, void **state)
{
	char revoke[WORK_PATH], grant[WORK_PATH], path[WORK_PATH], text[64], result[256];
	const char *to = strrchr(session, '/') + 1;
	cleanup_close int fd = -1;
	char byte;
	int again;

	snprintf(grant, sizeof(grant), "%s/../../caps/echo/grant", session);
	snprintf(revoke, sizeof(revoke), "%s/caps/v/revoke", session);
	snprintf(text, sizeof(text), "to=%s as=v rights=call,reduce", to);
	if (command(grant, text, result, sizeof(result)) < 0)
		return worker_fail(w, "grant to be revoked");
	fd = dial(at(path, session, "caps/v/socket"));
	if (fd < 0)
		return worker_fail(w, "connect to what will be revoked");
	if (exchange(w, fd) < 0)
		return -1;
	if (command(revoke, "self", result, sizeof(result)) < 0 && errno != ESTALE)
		return worker_fail(w, "revoke");
	if (receive(fd, &byte, 1) == 0 || errno == ETIMEDOUT)
		return worker_fail(w, "a revoked connection lives");
	again = dial(path);
	if (again >= 0 || errno != ENOENT) {
		if (again >= 0)
			close(again);
		return worker_fail(w, "connect to what was revoked");
	}
	return 0;
}

/* There and back: an amount that is moved twice, or not at all, shows in the limit. */
static int
round_transfer(struct worker *w, const char *session, void **state)
{
	char node[WORK_PATH], text[64], result[256];
	const char *to = strrchr(session, '/') + 1;
	uint64_t limit = quota_figure(session, "caps", "limit");

	snprintf(node, sizeof(node), "%s/../../transfer_quota", session);
	snprintf(text, sizeof(text), "to=%s caps=3 sockets=1", to);
	if (command(node, text, result, sizeof(result)) < 0)
		return worker_fail(w, "transfer there");
	if (quota_figure(session, "caps", "limit") != limit + 3)
		return worker_fail(w, "the limit after a transfer there");
	snprintf(text, sizeof(text), "from=%s caps=3 sockets=1", to);
	if (command(node, text, result, sizeof(result)) < 0)
		return worker_fail(w, "transfer back");
	if (quota_figure(session, "caps", "limit") != limit)
		return worker_fail(w, "the limit after a transfer back");
	return 0;
}

/* Makes sessions, gives them something, closes them. */
static int
round_session(struct worker *w, const char *session, void **state)
{
	uint64_t free_before = quota_figure(session, "caps", "free");
	char path[WORK_PATH], grant[WORK_PATH], label[128], result[256];

	if (mkdir(at(path, session, "sessions/s"), 0777) < 0)
		return worker_fail(w, "mkdir");
	if (command(at(grant, session, "caps/echo/grant"), "to=s", result, sizeof(result)) < 0)
		return worker_fail(w, "grant to a new session");
	if (slurp(at(grant, session, "sessions/s/label"), label, sizeof(label)) < 0 ||
		!strstr(label, "/s\n"))
		return worker_fail(w, "label of a new session");
	if (mkdir(path, 0777) == 0 || errno != EEXIST)
		return worker_fail(w, "a second mkdir");
	if (rmdir(path) < 0)
		return worker_fail(w, "rmdir");
	if (quota_figure(session, "caps", "free") != free_before)
		return worker_fail(w, "quota after the close");
	return 0;
}

const struct work work_table[WORK_N] = {
	{"list", round_list},
	{"connect", round_connect},
	{"data", round_data},
	{"grant", round_grant},
	{"reduce", round_reduce},
	{"revoke", round_revoke},
	{"transfer", round_transfer},
	{"session", round_session},
};

void
work_run(const struct work *work, struct worker *w, unsigned number)
{
	const char *root = getenv("CAPFS");
	char session[WORK_PATH];
	void *state = NULL;

	srandom(number + 1);
	snprintf(session, sizeof(session), "%s/sessions/w%u", root ? root : "/cap", number);
	while (!w->stop) {
		errno = 0;
		/* After a failure a round may begin in another state than it expects: go on slowly. */
		if (work->round(w, session, &state) < 0)
			usleep(50000);
		w->rounds++;
		w->last_msec = work_now_msec();
	}
}
