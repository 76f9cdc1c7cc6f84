/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/text.h"
#include "helpers/message.h"

#define PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define START_USEC (UINT64_C(10) * 1000000)
#define COMMAND_USEC (UINT64_C(5) * 1000000)
#define COMMAND_MAX 15000 /* HAProxy reads 16 KiB */
#define REPLY_MAX 4096
#define STREAMS_MAX (1 << 20) /* bytes of a list of them: some 300 each */
#define PASSED_BYTES "xx" /* HAProxy reads two with a descriptor, and looks at neither */
#define STATUS_EXEC 127
#define PRELOADED "capfs-haproxy.so"

/* --- its start --- */

/* What goes on to HAProxy. */
struct heirs {
	int fds[ENGINE_LISTENERS_MAX + 16];
	size_t n;
};

static void
heirs_deinit(struct heirs *h)
{
	while (h->n > 0)
		fd_close(h->fds[--h->n]);
}

static int
heirs_add(struct heirs *h, int fd)
{
	h->fds[h->n++] = fd;
	return fd;
}

/* Returns: HAProxy's end, -errno; ours is in *RET. */
static int
heirs_add_pair(struct heirs *h, int type, int *ret)
{
	int fds[2], e = fd_socketpair(type, fds);

	if (e < 0)
		return e;
	*ret = fds[0];
	return heirs_add(h, fds[1]);
}

static int
heirs_add_file(struct heirs *h, const char *name, const struct text *content)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	heirs_add(h, fd);
	if (content && write(fd, content->data, content->n) != (ssize_t)content->n)
		return -EIO;
	return fd;
}

/* A map in which every listener has a value, so that it can be set. */
static int
heirs_add_map(struct heirs *h, const char *name, size_t n)
{
	cleanup_text struct text t = {};

	for (size_t i = 0; i < n; i++)
		text_addf(&t, "%zu " CONFIGURATION_NONE "\n", i + LISTENER_FREE);
	return text_done(&t) < 0 ? -ENOMEM : heirs_add_file(h, name, &t);
}

/* In the new process. */
static _Noreturn void
execute(const struct heirs *h, int config, int preloaded, pid_t parent)
{
	char file[CONFIGURATION_FILE_BYTES], name[] = "haproxy", db[] = "-db", quiet[] = "-q", f[] = "-f";
	char *argv[] = {name, quiet, db, f, file, NULL};
	char path[] = "PATH=" PATH, preload[sizeof("LD_PRELOAD=") + CONFIGURATION_FILE_BYTES] = "LD_PRELOAD=";
	char *environment[] = {path, preload, NULL};
	sigset_t none;

	configuration_file(config, file);
	configuration_file(preloaded, preload + strlen(preload));
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent ||
		sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		_exit(STATUS_EXEC);
	for (size_t i = 0; i < h->n; i++)
		if (fd_set_cloexec(h->fds[i], false) < 0)
			_exit(STATUS_EXEC);
	if (fd_set_cloexec(preloaded, false) < 0)
		_exit(STATUS_EXEC);
	setenv("PATH", PATH, 1);
	/* It wants to know where it is, which may be where its user may not be. */
	if (chdir("/") < 0)
		_exit(STATUS_EXEC);
	execvpe(name, argv, environment);
	message("haproxy: %s%s", error_name(errno), errno == ENOENT ? ": it is not installed" : "");
	_exit(STATUS_EXEC);
}

static int
prepare(struct engine *e, const struct engine_options *o, struct heirs *h, int *ret_config)
{
	cleanup_text struct text t = {}, script = {};
	int listeners[ENGINE_LISTENERS_MAX];
	struct configuration c = {.server = o->server, .idle_usec = o->idle_usec, .wait_usec = o->wait_usec,
		.max = o->max, .listeners = listeners, .n_listeners = o->n_listeners};

	for (; e->n_listeners < o->n_listeners; e->n_listeners++) {
		listeners[e->n_listeners] = heirs_add_pair(h, SOCK_STREAM, &e->listeners[e->n_listeners]);
		if (listeners[e->n_listeners] < 0)
			return listeners[e->n_listeners];
	}
	c.commands = heirs_add_pair(h, SOCK_STREAM, &e->commands);
	c.log = c.commands < 0 ? c.commands : heirs_add_pair(h, SOCK_SEQPACKET, &e->log);
	c.upgrades = c.log < 0 ? c.log : heirs_add_pair(h, SOCK_STREAM, &e->upgrades);
	c.pages = c.upgrades < 0 ? c.upgrades : heirs_add_pair(h, SOCK_SEQPACKET, &e->pages);
	c.patterns = c.pages < 0 ? c.pages : heirs_add_file(h, "patterns", NULL);
	c.names = c.patterns < 0 ? c.patterns : heirs_add_map(h, "names", o->n_listeners);
	c.words = c.names < 0 ? c.names : heirs_add_map(h, "words", o->n_listeners);
	c.entries = c.words < 0 ? c.words : heirs_add_map(h, "entries", o->n_listeners);
	if (c.entries < 0)
		return c.entries;
	configuration_script(o->preloaded, c.pages, &script);
	c.script = text_done(&script) < 0 ? -ENOMEM : heirs_add_file(h, "count.lua", &script);
	if (c.script < 0)
		return c.script;
	configuration_file(c.patterns, e->patterns);
	configuration_file(c.names, e->names);
	configuration_file(c.words, e->words);
	configuration_file(c.entries, e->entries);
	/* What it says waits for nobody: what finds no room is lost. */
	if (fd_set_nonblock(c.log, true) < 0 || fd_set_nonblock(e->log, true) < 0 ||
		fd_set_nonblock(e->upgrades, true) < 0)
		return -errno;
	configuration_write(&c, &t);
	if (text_done(&t) < 0)
		return -ENOMEM;
	*ret_config = heirs_add_file(h, "haproxy.cfg", &t);
	return *ret_config < 0 ? *ret_config : 0;
}

/* --- commands --- */

/* Appends " WORD", of which nothing is taken for anything else. */
static void
add_word(struct text *t, const char *word)
{
	text_add_n(t, " ", 1);
	for (const char *p = word; *p; p++) {
		if (strchr(" \\;#\t", *p))
			text_add_n(t, "\\", 1);
		text_add_n(t, p, 1);
	}
}

/* Until the end of the reply, of which SIZE - 1 bytes are kept. Returns: 0, -ETIMEDOUT, -errno. */
static int
receive(int fd, char *reply, size_t size, uint64_t timeout_usec)
{
	uint64_t end = loop_clock_usec() + timeout_usec, now;
	size_t n = 0;

	while ((now = loop_clock_usec()) < end) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char rest[512];
		ssize_t r;

		if (poll(&p, 1, (int)((end - now + 999) / 1000)) <= 0)
			continue;
		r = n + 1 < size ? recv(fd, reply + n, size - 1 - n, 0) : recv(fd, rest, sizeof(rest), 0);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0) {
			reply[n] = '\0';
			return 0;
		}
		if (r > 0 && n + 1 < size)
			n += (size_t)r;
	}
	return -ETIMEDOUT;
}

/* A connection for each line, as HAProxy ends it behind its reply. */
static int
command(const struct engine *e, struct text *line, char *reply, size_t size, uint64_t timeout_usec)
{
	cleanup_close int ours = -1, its = -1;
	int fds[2], r;

	text_add(line, "\n");
	if (text_done(line) < 0)
		return -ENOMEM;
	if (line->n > COMMAND_MAX)
		return -EMSGSIZE;
	r = fd_socketpair(SOCK_STREAM, fds);
	if (r < 0)
		return r;
	ours = fds[0];
	its = fds[1];
	r = (int)msg_send(e->commands, PASSED_BYTES, 2, &its, 1, MSG_DONTWAIT);
	if (r < 0)
		return r;
	its = fd_close(its);
	if (send(ours, line->data, line->n, MSG_NOSIGNAL) != (ssize_t)line->n)
		return -EPIPE;
	return receive(ours, reply, size, timeout_usec);
}

/* What is done is answered by nothing but ends of lines. */
static int
order(const struct engine *e, struct text *line)
{
	char reply[REPLY_MAX];
	int r = command(e, line, reply, sizeof(reply), COMMAND_USEC);

	if (r < 0 || reply[strspn(reply, "\r\n ")] == '\0')
		return r;
	message("haproxy: %.*s", (int)strcspn(reply + strspn(reply, "\r\n "), "\r\n"),
		reply + strspn(reply, "\r\n "));
	return -EPROTO;
}

static void
add_setting(struct text *t, const char *map, uint32_t listener, const char *value)
{
	text_addf(t, "set map %s %" PRIu32, map, listener);
	add_word(t, value);
	text_add(t, ";");
}

int
engine_bar(const struct engine *e, const char *pattern)
{
	cleanup_text struct text t = {};

	text_addf(&t, "del acl %s", e->patterns);
	add_word(&t, pattern);
	return order(e, &t);
}

int
engine_allow(const struct engine *e, uint32_t listener, const char *pattern, const struct lease *lease)
{
	cleanup_text struct text t = {};

	add_setting(&t, e->names, listener, lease->name);
	add_setting(&t, e->words, listener, lease->words);
	add_setting(&t, e->entries, listener, lease->entry);
	text_addf(&t, "add acl %s", e->patterns);
	add_word(&t, pattern);
	return order(e, &t);
}

/* How many connections HAProxy has of it. Returns: -errno. */
static int
n_connections(const struct engine *e, uint32_t listener)
{
	cleanup_text struct text t = {};
	char reply[REPLY_MAX];
	const char *p = reply;
	int r;

	text_addf(&t, "show stat clients 8 %" PRIu32, listener);
	r = command(e, &t, reply, sizeof(reply), COMMAND_USEC);
	if (r < 0)
		return r;
	/* In the second line, behind names and queues. */
	p = strchr(reply, '\n');
	for (int i = 0; p && i < 4; i++)
		p = strchr(p + 1, ',');
	return p && p[1] >= '0' && p[1] <= '9' ? atoi(p + 1) : -EPROTO;
}

static bool
has_taken_all(const struct engine *e, uint32_t listener)
{
	int n;

	return ioctl(e->listeners[listener - LISTENER_FREE], SIOCOUTQ, &n) == 0 && n == 0;
}

bool
engine_is_idle(const struct engine *e, uint32_t listener)
{
	return has_taken_all(e, listener) && n_connections(e, listener) == 0;
}

int
engine_pass(const struct engine *e, uint32_t listener, int fd)
{
	ssize_t n = msg_send(e->listeners[listener - LISTENER_FREE], PASSED_BYTES, 2, &fd, 1, MSG_DONTWAIT);

	return n == -ETOOMANYREFS ? -EAGAIN : n < 0 ? (int)n : 0;
}

int
engine_give_pages(const struct engine *e, int granted, int used)
{
	const int fds[] = {granted, used};
	ssize_t n = msg_send(e->pages, "p", 1, fds, 2, MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

/* --- what it holds --- */

static bool
holds(const struct engine *e, const char *number, uint64_t inode)
{
	char path[64], target[64], wanted[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)e->pid, number);
	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	n = readlink(path, target, sizeof(target) - 1);
	return n > 0 && (size_t)n == strlen(wanted) && memcmp(target, wanted, (size_t)n) == 0;
}

static int
find(const struct engine *e, uint64_t inode)
{
	char path[64];
	struct dirent *d;
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)e->pid);
	dir = opendir(path);
	while (dir && fd < 0 && (d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.' && holds(e, d->d_name, inode))
			fd = atoi(d->d_name);
	if (dir)
		closedir(dir);
	return fd;
}

bool
engine_has(const struct engine *e, uint32_t listener, uint64_t inode, int *fd)
{
	char number[16];

	if (*fd < 0) {
		bool all = has_taken_all(e, listener);

		*fd = find(e, inode);
		return *fd >= 0 || !all;
	}
	snprintf(number, sizeof(number), "%d", *fd);
	return holds(e, number, inode);
}

/* --- whose request it is --- */

/* "… id=ID …, and below that co0=… fd=FD", the client's. Returns: FD, -ENOENT: it is another request; -errno. */
static int
client_of(const struct engine *e, const char *stream, size_t n, uint64_t id)
{
	cleanup_text struct text t = {};
	char reply[REPLY_MAX], number[32];
	const char *p;
	int r;

	text_add(&t, "show sess ");
	text_add_n(&t, stream, n);
	r = command(e, &t, reply, sizeof(reply), COMMAND_USEC);
	if (r < 0)
		return r;
	snprintf(number, sizeof(number), "] id=%" PRIu64 " ", id);
	p = strstr(reply, number);
	p = p ? strstr(p, " co0=") : NULL;
	p = p ? strstr(p, " fd=") : NULL;
	return p && p[4] >= '0' && p[4] <= '9' ? atoi(p + 4) : -ENOENT;
}

static int
inode_of(const struct engine *e, int fd, uint64_t *ret)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)e->pid, fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return sscanf(target, "socket:[%" SCNu64 "]", ret) == 1 ? 0 : -ENOENT;
}

/* Asked before and behind: then the number was that client's in between, and not one's that came after it. */
static int
find_at(const struct engine *e, const char *stream, size_t n, uint64_t id, int *ret_fd, uint64_t *ret_inode)
{
	int fd = client_of(e, stream, n, id), r;

	if (fd < 0)
		return fd;
	r = inode_of(e, fd, ret_inode);
	if (r < 0)
		return r;
	*ret_fd = fd;
	return client_of(e, stream, n, id) == fd ? 0 : -ENOENT;
}

/*
 * A line for each stream, "0x55b803264320: … be=upgrades …". The one that is looked for is likely to be among the
 * latest, which are the last.
 */
int
engine_find_client(const struct engine *e, uint64_t id, int *ret_fd, uint64_t *ret_inode)
{
	cleanup_free char *reply = malloc(STREAMS_MAX);
	cleanup_text struct text t = {};
	int r;

	text_add(&t, "show sess");
	r = reply ? command(e, &t, reply, STREAMS_MAX, COMMAND_USEC) : -ENOMEM;
	if (r < 0)
		return r;
	r = -ENOENT;
	for (char *end = reply + strlen(reply), *line; r == -ENOENT && end > reply; end = line - (line > reply)) {
		*end = '\0';
		line = strrchr(reply, '\n');
		line = line ? line + 1 : reply;
		if (strncmp(line, "0x", 2) == 0 && strstr(line, " be=" CONFIGURATION_UPGRADES " "))
			r = find_at(e, line, strcspn(line, ":"), id, ret_fd, ret_inode);
	}
	return r;
}

/* --- its life --- */

static void
engine_close(struct engine *e)
{
	while (e->n_listeners > 0)
		fd_close(e->listeners[--e->n_listeners]);
	e->commands = fd_close(e->commands);
	e->log = fd_close(e->log);
	e->upgrades = fd_close(e->upgrades);
	e->pages = fd_close(e->pages);
}

static int
fork_it(struct engine *e, const struct heirs *h, int config, int preloaded)
{
	pid_t parent = getpid();

	e->pid = fork();
	if (e->pid == 0)
		execute(h, config, preloaded, parent);
	if (e->pid > 0)
		return 0;
	e->pid = 0;
	return -errno;
}

int
engine_open_preloaded(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(PRELOADED));
	char *slash;
	int fd;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -ENOENT;
	strcpy(slash + 1, PRELOADED);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The loader only warns of what it cannot load, and goes on. */
static int
has_loaded(const struct engine *e)
{
	cleanup_free char *line = NULL;
	size_t size = 0;
	char path[64];
	FILE *f;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)e->pid);
	f = fopen(path, "re");
	while (f && !found && getline(&line, &size, f) > 0)
		found = strstr(line, PRELOADED);
	if (f)
		fclose(f);
	return found ? 0 : -ENOEXEC;
}

/* Until it answers, or has given up. */
static int
greet(const struct engine *e)
{
	cleanup_text struct text t = {};
	char reply[REPLY_MAX];
	int r;

	text_add(&t, "show version");
	r = command(e, &t, reply, sizeof(reply), START_USEC);
	if (r < 0 || !*reply)
		return r < 0 ? r : -ECONNRESET;
	return strtod(reply, NULL) < 2.6 - 0.001 ? -EOPNOTSUPP : 0;
}

/* Can it compile expressions? Not where memory is never both written and executed. */
static int
try_pattern(const struct engine *e)
{
	const struct lease nobody = {CONFIGURATION_NONE, CONFIGURATION_NONE, CONFIGURATION_NONE};
	int r = engine_allow(e, LISTENER_FREE, "^0$", &nobody);

	if (r == 0)
		r = engine_bar(e, "^0$");
	if (r == -EPROTO)
		message("haproxy: it compiles no expressions here (MemoryDenyWriteExecute=)");
	return r;
}

int
engine_start(struct engine *e, const struct engine_options *o)
{
	cleanup(heirs_deinit) struct heirs h = {};
	int config = -1, r;

	*e = (struct engine){.commands = -1, .log = -1, .upgrades = -1, .pages = -1};
	r = prepare(e, o, &h, &config);
	if (r == 0)
		r = fork_it(e, &h, config, o->preloaded);
	/* Else its end would not be seen. */
	heirs_deinit(&h);
	if (r == 0)
		r = greet(e);
	if (r == 0)
		r = has_loaded(e);
	if (r == 0)
		r = try_pattern(e);
	if (r == 0)
		return 0;
	message("haproxy: %s: %s", r == -EOPNOTSUPP ? "too old, 2.6 is wanted" : "it does not start", error_name(r));
	engine_stop(e);
	return r;
}

bool
engine_has_ended(struct engine *e, int *ret_status)
{
	if (e->pid == 0 || waitpid(e->pid, ret_status, WNOHANG) != e->pid)
		return false;
	e->pid = 0;
	return true;
}

void
engine_stop(struct engine *e)
{
	engine_close(e);
	if (e->pid == 0)
		return;
	/* It has nothing to end in order: its connections are ours. */
	kill(e->pid, SIGKILL);
	waitpid(e->pid, NULL, 0);
	e->pid = 0;
}
