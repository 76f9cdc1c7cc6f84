/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/spawner-world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/msg.h"

int
world_kinds(void)
{
	return geteuid() == 0 ? 4 : 2;
}

const char *
world_built(const char *program, char path[static 512])
{
	const char *top = getenv("top_builddir");

	snprintf(path, 512, "%s/%s", top ? top : ".", program);
	return path;
}

static void
copy_program(const struct world *w)
{
	char path[512], bytes[65536];
	cleanup_close int from = open(world_built("tests/spawned", path), O_RDONLY | O_CLOEXEC);
	cleanup_close int to = -1;
	ssize_t n;

	ck_assert_int_ge(from, 0);
	snprintf(path, sizeof(path), "%s/spawned", w->directory);
	to = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
	ck_assert_int_ge(to, 0);
	while ((n = read(from, bytes, sizeof(bytes))) > 0)
		ck_assert_int_eq(write(to, bytes, (size_t)n), n);
	fchmod(to, 0755);
}

static void
make_directory(struct world *w)
{
	static const char *const below[] = {"cap", "cap/sessions", "cap/sessions/a",
		"cap/sessions/a/sessions", "cap/sessions/a/sessions/b", "cap/sessions/other"};
	char path[512];

	fixture_directory(w->directory);
	chmod(w->directory, 0755);
	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		cleanup_close int label = -1;

		snprintf(path, sizeof(path), "%s/%s", w->directory, below[i]);
		ck_assert_int_eq(mkdir(path, 0755), 0);
		snprintf(path, sizeof(path), "%s/%s/label", w->directory, below[i]);
		label = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		ck_assert_int_ge(label, 0);
	}
	copy_program(w);
}

/* By a descriptor, since the user may have no way to where it was built. */
static void __attribute__((noreturn))
be_spawner(const struct world *w, int fd, const char *option)
{
	char path[512], number[32];
	char *argv[] = {(char[]){"capfs-spawner"}, number, (char *)(uintptr_t)option, NULL};
	int program = open(world_built("spawner/capfs-spawner", path), O_RDONLY | O_CLOEXEC);

	snprintf(number, sizeof(number), "--fd=%d", fd);
	fd_set_cloexec(fd, false);
	if (geteuid() == 0 && !w->privileged &&
		(setgroups(0, NULL) < 0 || setresgid(w->gid, w->gid, w->gid) < 0 ||
			setresuid(w->uid, w->uid, w->uid) < 0))
		_exit(99);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fexecve(program, argv, environ);
	_exit(99);
}

void
world_begin(struct world *w, bool privileged, const char *option)
{
	struct process_record r = {.type = PROCESS_ATTACH};
	char bytes[sizeof(r) + FIXTURE_PATH + 8];
	int pair[2], n;

	*w = (struct world){.privileged = privileged, .uid = geteuid(), .gid = getegid()};
	if (w->uid == 0)
		w->uid = w->gid = WORLD_USER;
	make_directory(w);
	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	w->pid = fork();
	ck_assert_int_ge(w->pid, 0);
	if (w->pid == 0)
		be_spawner(w, pair[1], option);
	close(pair[1]);
	w->fd = pair[0];
	memcpy(bytes, &r, sizeof(r));
	n = snprintf(bytes + sizeof(r), sizeof(bytes) - sizeof(r), "%s/cap", w->directory);
	ck_assert_int_gt(send(w->fd, bytes, sizeof(r) + (size_t)n + 1, MSG_NOSIGNAL), 0);
}

void
await_end(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	ck_assert_int_eq(poll(&p, 1, WORLD_MSEC), 1);
}

void
world_end(struct world *w)
{
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	int status;

	ck_assert_int_ge(pidfd, 0);
	w->fd = fd_close(w->fd);
	await_end(pidfd);
	ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
	ck_assert_int_eq(status, 0);
	fixture_remove(w->directory);
}

void
world_plan(struct world *w, struct process_plan *p, uint32_t flags)
{
	*p = (struct process_plan){.uid = w->uid, .gid = w->gid, .flags = flags};
	snprintf(p->session, sizeof(p->session), "sessions/a");
}

void
world_bind(struct world *w, struct process_plan *p)
{
	snprintf(p->binds[0].path, sizeof(p->binds[0].path), "/usr");
	snprintf(p->binds[1].path, sizeof(p->binds[1].path), "/etc");
	snprintf(p->binds[2].path, sizeof(p->binds[2].path), "%s", w->directory);
	p->binds[2].writable = 1;
	p->n_binds = 3;
}

void
world_prepare(struct world *w, struct process_plan *p, int kind)
{
	world_begin(w, kind & 2, NULL);
	world_plan(w, p, 0);
	if (kind & 1) {
		p->flags = WORLD_CONFINED;
		world_bind(w, p);
	}
}

/* --- the broker ------------------------------------------------------------------------------------ */

void
broker_send(int fd, const struct process_record *r, const struct process_plan *p)
{
	char bytes[sizeof(*r) + sizeof(*p)];

	memcpy(bytes, r, sizeof(*r));
	if (p)
		memcpy(bytes + sizeof(*r), p, sizeof(*p));
	ck_assert_int_gt(send(fd, bytes, sizeof(*r) + (p ? sizeof(*p) : 0), MSG_NOSIGNAL), 0);
}

void
broker_ask(int fd, enum process_type type, uint64_t session, uint64_t thread)
{
	const struct process_record r = {.type = type, .session = session, .thread = thread};

	broker_send(fd, &r, NULL);
}

bool
broker_receive(int fd, struct process_record *ret, int ret_fds[2])
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int fds[2] = {-1, -1};
	size_t n_fds = 0;
	ssize_t n;

	ck_assert_msg(poll(&p, 1, WORLD_MSEC) == 1, "nothing comes");
	n = msg_receive(fd, ret, sizeof(*ret), fds, 2, &n_fds, 0);
	if (n == 0 || n == -ECONNRESET)
		return false;
	ck_assert_int_eq(n, sizeof(*ret));
	ret_fds[0] = n_fds > 0 ? fds[0] : -1;
	ret_fds[1] = n_fds > 1 ? fds[1] : -1;
	return true;
}

struct process_record
broker_await(int fd, enum process_type type)
{
	struct process_record r;
	int fds[2];

	do {
		ck_assert_msg(broker_receive(fd, &r, fds), "the end came before a record of type %d", type);
		fd_close(fds[0]);
		fd_close(fds[1]);
	} while (r.type == PROCESS_ORPHAN && type != PROCESS_ORPHAN);
	ck_assert_msg(r.type == type, "type %u (step %d, error %d) where %d was due", r.type, r.step, r.error,
		type);
	return r;
}

bool
world_make(struct world *w, int above, const struct process_plan *p, struct played *ret,
	struct process_record *ret_failed)
{
	struct process_record r = {.type = PROCESS_START, .session = ++w->last_id, .thread = ++w->last_id};
	int fd = above < 0 ? w->fd : above, fds[2];

	*ret = (struct played){
		.world = w, .fd = -1, .pidfd = -1, .launch = -1, .session = r.session, .thread = r.thread};
	broker_send(fd, &r, p);
	do
		ck_assert(broker_receive(fd, &r, fds));
	while (r.type == PROCESS_ENDED);
	ck_assert_uint_eq(r.session, ret->session);
	ck_assert_uint_eq(r.thread, ret->thread);
	ret->launch = fds[0];
	ret->fd = fds[1];
	if (r.type == PROCESS_LAUNCH)
		return true;
	ck_assert_uint_eq(r.type, PROCESS_FAILED);
	*ret_failed = r;
	return false;
}

void
world_session(struct world *w, const struct process_plan *p, struct played *ret)
{
	struct process_record failed;
	bool made = world_make(w, -1, p, ret, &failed);

	ck_assert_msg(made, "step %d, error %d", failed.step, failed.error);
	ck_assert_int_ge(ret->launch, 0);
	ck_assert_int_ge(ret->fd, 0);
}

void
played_end(struct played *s)
{
	s->launch = fd_close(s->launch);
	s->fd = fd_close(s->fd);
	if (s->pidfd >= 0)
		await_end(s->pidfd);
	s->pidfd = fd_close(s->pidfd);
}

void
world_over(struct played *s)
{
	played_end(s);
	broker_await(s->world->fd, PROCESS_ENDED);
	world_end(s->world);
}

int
played_launch(struct played *s, uint64_t *ret_thread)
{
	struct process_record r;
	int fds[2];

	*ret_thread = ++s->world->last_id;
	broker_ask(s->fd, PROCESS_START, s->session, *ret_thread);
	do
		ck_assert(broker_receive(s->fd, &r, fds));
	while (r.type == PROCESS_ORPHAN);
	ck_assert_msg(r.type == PROCESS_LAUNCH, "type %u, step %d, error %d", r.type, r.step, r.error);
	ck_assert_uint_eq(r.thread, *ret_thread);
	ck_assert_int_ge(fds[0], 0);
	ck_assert_int_lt(fds[1], 0);
	return fds[0];
}

/* --- the client ------------------------------------------------------------------------------------ */

static size_t
add_strings(char *bytes, size_t n, char *const *strings, uint32_t *ret)
{
	for (*ret = 0; strings && strings[*ret]; ++*ret) {
		size_t size = strlen(strings[*ret]) + 1;

		memcpy(bytes + n, strings[*ret], size);
		n += size;
	}
	return n;
}

void
client_fill(struct process_hello *h, char *const *argv, char *const *env, size_t n_fds, char **ret_bytes)
{
	*h = (struct process_hello){.magic = HELLO_MAGIC, .n_fds = (uint32_t)n_fds};
	*ret_bytes = malloc(HELLO_BYTES_MAX + 65536);
	h->n_bytes = (uint32_t)add_strings(*ret_bytes, 0, argv, &h->argc);
	h->n_bytes = (uint32_t)add_strings(*ret_bytes, h->n_bytes, env, &h->envc);
}

static int
send_as(int launch, const void *data, size_t n, uid_t uid, gid_t gid)
{
	ssize_t r = msg_send_as(launch, data, n, uid, gid, 0);

	return r < 0 ? (int)r : 0;
}

int
client_hello(int launch, const struct process_hello *h, uid_t uid, gid_t gid)
{
	return send_as(launch, h, h->n_groups > 0 ? sizeof(*h) : HELLO_BYTES_FIRST, uid, gid);
}

int
client_group(int launch, uid_t uid, gid_t group)
{
	return send_as(launch, "", 1, uid, group);
}

static size_t
lower(size_t a, size_t b)
{
	return a < b ? a : b;
}

int
client_send(struct world *w, int launch, char *const *argv, char *const *env, const int *fds, size_t n_fds,
	uint32_t flags)
{
	cleanup_free char *bytes = NULL;
	struct process_hello h;
	size_t sent = 0, sent_fds = 0;
	int r;

	client_fill(&h, argv, env, n_fds, &bytes);
	h.flags = flags;
	h.n_groups = w->n_groups;
	r = client_hello(launch, &h, w->uid, w->gid);
	for (uint32_t i = 0; r == 0 && i < w->n_groups; i++)
		r = client_group(launch, w->uid, w->groups[i]);
	while (r >= 0 && (sent < h.n_bytes || sent_fds < n_fds)) {
		size_t n = lower(h.n_bytes - sent, HELLO_PACKET_BYTES);
		size_t n_here = lower(n_fds - sent_fds, HELLO_PACKET_FDS);

		r = (int)msg_send(launch, n ? bytes + sent : "", n ? n : 1, fds + sent_fds, n_here, 0);
		sent += n;
		sent_fds += n_here;
	}
	return r < 0 ? r : 0;
}

struct process_answer
client_receive(int launch)
{
	struct process_answer a;
	struct pollfd p = {.fd = launch, .events = POLLIN};

	ck_assert_msg(poll(&p, 1, WORLD_MSEC + 30000) == 1, "the client waits for ever");
	return recv(launch, &a, sizeof(a), 0) == sizeof(a) ? a : (struct process_answer){-1, -1};
}

void
client_run(struct world *w, int launch, const char *const *words, const int *fds, size_t n_fds)
{
	char path[FIXTURE_PATH + 16];
	char *argv[16] = {path}, *env[] = {(char[]){"A=b"}, NULL};
	size_t n = 1;

	snprintf(path, sizeof(path), "%s/spawned", w->directory);
	while (words && *words)
		argv[n++] = (char *)(uintptr_t)*words++;
	ck_assert_int_eq(client_send(w, launch, argv, env, fds, n_fds, 0), 0);
	close(launch);
}

void
played_run(struct played *s, const char *const *words, const int *fds, size_t n_fds)
{
	struct process_record r;
	int with[2];

	client_run(s->world, s->launch, words, fds, n_fds);
	s->launch = -1;
	ck_assert(broker_receive(s->fd, &r, with));
	ck_assert_msg(r.type == PROCESS_INITED, "type %u, step %d, error %d", r.type, r.step, r.error);
	ck_assert_uint_eq(r.version, PROCESS_VERSION);
	s->pidfd = with[0];
	ck_assert_int_ge(s->pidfd, 0);
	r = broker_await(s->fd, PROCESS_RUNNING);
	ck_assert_uint_eq(r.thread, s->thread);
}

uint64_t
played_run_more(struct played *s, const char *const *words, const int *fds, size_t n_fds)
{
	uint64_t thread;

	client_run(s->world, played_launch(s, &thread), words, fds, n_fds);
	ck_assert_uint_eq(broker_await(s->fd, PROCESS_RUNNING).thread, thread);
	return thread;
}

int
await_byte(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	unsigned char byte;

	ck_assert_msg(poll(&p, 1, WORLD_MSEC) == 1, "nothing comes");
	return read(fd, &byte, 1) == 1 ? byte : -1;
}

char *
await_text(int fd, char *text, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	ck_assert_int_eq(poll(&p, 1, WORLD_MSEC), 1);
	n = read(fd, text, size - 1);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

void
check_failure(struct process_record r, int step, int error)
{
	ck_assert_msg(r.type == PROCESS_FAILED && r.step == step && r.error == error,
		"type %u, step %d, error %d where step %d, error %d was due", r.type, r.step, r.error, step,
		error);
}

void
close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}
