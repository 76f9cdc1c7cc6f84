/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/fs-kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capfsd/fs/front.h"
#include "capfsd/fs/records.h"
#include "capfsd/mount/init.h"
#include "capfsd/process/fds.h"

#define MAP_BYTES (16 << 20)
#define ANSWER_MSEC 10000
#define READ_MSEC 1500 /* instead of the thirty seconds that a read of a `call` may wait */

struct kernel k;

/* --- the child --- */

/* Texts are what grows by realloc(3), and nothing else does while a request is served. */
static volatile sig_atomic_t no_texts;

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_realloc(void *p, size_t n)
{
	return no_texts ? NULL : __real_realloc(p, n);
}

static void
on_no_texts(int signal)
{
	no_texts = !no_texts;
}

static bool
is_ready(void *data, struct entity *e)
{
	return !k.no_sockets;
}

static void
want(void *data, struct entity *e)
{
}

static void
forgotten(void *data, uint64_t id)
{
}

static const struct fs_sockets sockets = {.ready = is_ready, .want = want, .forgotten = forgotten};

/*
 * A service for `call`: "never" has no reply until "wake" is written by somebody, anything else has
 * one at once.
 */
#define ASKED_MAX 512
static struct asked {
	uint64_t handle;
	bool waits, told;
} asked[ASKED_MAX];
static struct fs *fs; /* never freed, as in the broker */

static struct asked *
find_asked(uint64_t handle)
{
	for (size_t i = 0; i < ASKED_MAX; i++)
		if (asked[i].handle == handle)
			return &asked[i];
	return NULL;
}

static int
call_write(void *data, struct request *r, struct node node, uint64_t handle, const void *bytes, size_t n)
{
	struct asked *a = find_asked(handle);

	if (n == 6 && memcmp(bytes, "refuse", 6) == 0)
		return refuse(r, EPERM, "not today");
	if (!a)
		a = find_asked(0);
	*a = (struct asked){.handle = handle, .waits = n == 5 && memcmp(bytes, "never", 5) == 0};
	for (size_t i = 0; i < ASKED_MAX && n == 4 && memcmp(bytes, "wake", 4) == 0; i++)
		if (asked[i].waits) {
			asked[i].waits = false;
			fs_call_ready(fs, asked[i].handle);
		}
	return request_commit(r, change_begin(r->model));
}

static int
call_read(void *data, struct request *r, struct node node, struct call_read *read)
{
	struct asked *a = find_asked(read->handle);

	if (!a)
		return CALL_E_NONE;
	if (a->waits && !read->resent)
		return CALL_E_WAIT;
	if (!a->told || read->resent)
		read->n = (size_t)snprintf(read->buffer, read->size, "%s",
			read->resent ? "resent" : "reply");
	a->told = !a->told;
	return 0;
}

static bool
call_exists(void *data, uint64_t handle)
{
	return find_asked(handle);
}

static void
call_end(void *data, uint64_t handle)
{
	if (find_asked(handle))
		*find_asked(handle) = (struct asked){};
}

static uint64_t
call_wait(void *data, const struct call_read *read, uint64_t until_usec)
{
	return until_usec;
}

static void
call_give_up(void *data, uint64_t handle)
{
}

static bool
call_poll(void *data, uint64_t handle)
{
	return !find_asked(handle) || !find_asked(handle)->waits;
}

static const struct calls calls = {
	CALL_BYTES_MAX, call_write, call_read, call_exists, call_end, call_wait, call_give_up, call_poll};

static void
on_changed(void *data, struct entity *e)
{
	fs_changed(data, e);
}

static void
on_shown(void *data, struct entity *e)
{
	fs_shown(data, e);
}

static void
on_gone(void *data, struct entity *e)
{
	fs_gone(data, e);
}

static void
on_logged(void *data, struct session *s)
{
	fs_logged(data, s);
}

static void
on_boarding(void *data, struct change *ch)
{
	fs_boarding(data, ch);
}

static void
on_arrived(void *data, bool stored)
{
	fs_arrived(data, stored);
}

static const struct model_hooks hooks = {
	.changed = on_changed,
	.shown = on_shown,
	.used = on_changed,
	.gone = on_gone,
	.logged = on_logged,
	.boarding = on_boarding,
	.arrived = on_arrived,
};

static int
load(void *data, uint64_t key, const void *record, size_t n)
{
	if (STORE_KEY_SPACE(key) > STORE_EVENT)
		return 0;
	return model_load(data, key, record, n);
}

/* caps/kv, which nobody serves but the calls above. */
static int
make_slot(struct model *m)
{
	struct change *ch = change_begin(m);
	struct capability *c;
	struct entrypoint *ep;
	struct object *o;
	int r = entrypoint_attach(ch, m->root, "kv", 2, 0, 1, &ep);

	if (r == 0)
		r = object_add(ch, ep, 1, OBJECT_SEQPACKET, OBJECT_CALLS, &o);
	if (r == 0)
		r = capability_originate(ch, TYPE_OBJECT, &o->entity, m->root, "kv", 2, RIGHTS_OBJECT, 0, &c);
	return r ? r : change_commit(ch);
}

static int
open_model(struct state **ret_state, struct model **ret)
{
	const struct quota quota = {{2000, 500, 100, 64 << 20, 200}};
	cleanup_free char *reason = NULL;
	int r = state_open(k.dir, MAP_BYTES, ret_state, &reason);

	if (r == 0)
		r = model_new(&state_store_ops, *ret_state, ret);
	if (r == 0 && state_is_new(*ret_state)) {
		r = model_create_root(*ret, 0, 0, 0711, &quota);
		return r ? r : make_slot(*ret);
	}
	if (r == 0)
		r = state_scan(*ret_state, load, *ret, &reason);
	return r ? r : model_load_done(*ret);
}

/* As if it had opened all but one of the files that it has numbers for. */
static void
on_user_signal(int signal)
{
	fs->n_opened += (UINT64_C(1) << FS_COUNTER_BITS) - 1;
}

/* Each piece of work takes as long as any other, on every machine: two fill a turn. */
static uint64_t
work_nsec(void)
{
	static uint64_t now;

	return now += TURN_NSEC / 2 + 1;
}

static int
sleep_msec(void)
{
	if (!turns_empty(fs->turns))
		return 0;
	return list_empty(&fs->reads) ? -1 : 10;
}

/* As the broker's loop, without sockets. */
static int
serve(void)
{
	static struct state *state;
	static struct model *m;
	static struct turns turns;
	struct pollfd p = {.fd = BOOT_FD_FUSE, .events = POLLIN};
	int r = open_model(&state, &m);

	turns_init(&turns, work_nsec);
	if (r == 0)
		r = fs_new(m, state, &k.boot, &turns, &sockets, NULL, &fs);
	if (r == 0) {
		m->hooks = &hooks;
		m->hooks_data = fs;
		fs_set_calls(fs, &calls, NULL);
		fs->read_usec = READ_MSEC * 1000;
		fs->no_resend = k.old;
		if (k.impatient)
			fs->interrupted_usec = 0;
		r = fs_take_over(fs);
	}
	signal(SIGUSR1, on_user_signal);
	signal(SIGUSR2, on_no_texts);
	while (r >= 0 && (poll(&p, 1, sleep_msec()) >= 0 || errno == EINTR)) {
		r = fs_drain(fs, false);
		fs_timeouts(fs);
		while (r >= 0 && !k.unreaped && !list_empty(&m->ending)) {
			r = model_reap(m, 64);
			fs_reaped(fs);
		}
	}
	return r == -ENODEV ? 0 : 1;
}

static void
kernel_start_child(void)
{
	k.child = fork();
	if (k.child != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(k.served, BOOT_FD_FUSE);
	fcntl(BOOT_FD_FUSE, F_SETFL, O_NONBLOCK);
	close(k.fd);
	if (k.served != BOOT_FD_FUSE)
		close(k.served);
	_exit(serve());
}

/* --- the kernel --- */

void
kernel_receive(void)
{
	struct pollfd p = {.fd = k.fd, .events = POLLIN};
	ssize_t n;

	do {
		struct iovec iov[2] = {{&k.out, sizeof(k.out)}, {k.data, sizeof(k.data)}};
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

		ck_assert_int_eq(poll(&p, 1, ANSWER_MSEC), 1);
		n = recvmsg(k.fd, &msg, 0);
		ck_assert_int_ge(n, (ssize_t)sizeof(k.out));
		ck_assert_uint_eq(k.out.len, (size_t)n);
		if (k.out.unique == 0 && k.out.error == FUSE_NOTIFY_POLL)
			k.n_polls++;
	} while (k.out.unique == 0);
	k.n = (size_t)n - sizeof(k.out);
}

void
kernel_send(uint32_t opcode, uint64_t node, uint64_t unique, const void *body, size_t n)
{
	struct fuse_in_header in = {
		.len = (uint32_t)(sizeof(in) + n),
		.opcode = opcode,
		.unique = unique,
		.nodeid = node,
		.pid = k.pid ? k.pid : (uint32_t)getpid(),
	};
	struct iovec iov[2] = {{&in, sizeof(in)}, {(void *)(uintptr_t)body, n}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	ck_assert_int_eq(sendmsg(k.fd, &msg, MSG_NOSIGNAL), (ssize_t)(sizeof(in) + n));
}

int
ask(uint32_t opcode, uint64_t node, const void *body, size_t n)
{
	k.unique += 2;
	kernel_send(opcode, node, k.unique, body, n);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, k.unique);
	return k.out.error;
}

uint64_t
look_up(uint64_t parent, const char *name)
{
	struct fuse_entry_out entry;

	if (ask(FUSE_LOOKUP, parent, name, strlen(name) + 1) < 0)
		return 0;
	ck_assert_uint_eq(k.n, sizeof(entry));
	memcpy(&entry, k.data, sizeof(entry));
	return entry.nodeid;
}

uint64_t
open_node(uint64_t node)
{
	const struct fuse_open_in in = {.flags = O_RDWR};
	struct fuse_open_out out;

	ck_assert_int_eq(ask(FUSE_OPEN, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	return out.fh;
}

const char *
read_node(uint64_t node, uint64_t fh, uint64_t offset)
{
	const struct fuse_read_in in = {.fh = fh, .offset = offset, .size = 4096};

	ck_assert_int_eq(ask(FUSE_READ, node, &in, sizeof(in)), 0);
	k.data[k.n] = '\0';
	return k.data;
}

size_t
write_body(char *body, uint64_t fh, const char *text, size_t n)
{
	const struct fuse_write_in in = {.fh = fh, .size = (uint32_t)n};

	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), text, n);
	return sizeof(in) + n;
}

int
write_node(uint64_t node, uint64_t fh, const char *text)
{
	char body[8192];

	return ask(FUSE_WRITE, node, body, write_body(body, fh, text, strlen(text)));
}

int
make_directory(uint64_t parent, const char *name)
{
	char body[256];
	const struct fuse_mkdir_in in = {.mode = 0755};

	memcpy(body, &in, sizeof(in));
	strcpy(body + sizeof(in), name);
	return ask(FUSE_MKDIR, parent, body, sizeof(in) + strlen(name) + 1);
}

void
kernel_settle(unsigned n)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	unsigned found;

	for (unsigned i = 0; i < ANSWER_MSEC; i++) {
		found = 0;
		for (size_t j = 0; j < BOOT_SERVED_MAX; j++)
			found += __atomic_load_n(&k.boot.page->served[j], __ATOMIC_SEQ_CST) != 0;
		if (found == n)
			return;
		nanosleep(&pause, NULL);
	}
	ck_abort_msg("%u in service, not %u", found, n);
}

void
kernel_stop(void)
{
	int status;

	ck_assert_int_eq(kill(k.child, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(k.child, &status, WUNTRACED), k.child);
	ck_assert(WIFSTOPPED(status));
}

void
kernel_continue(void)
{
	ck_assert_int_eq(kill(k.child, SIGCONT), 0);
}

void
kernel_end(void)
{
	kill(k.child, SIGKILL);
	waitpid(k.child, NULL, 0);
	boot_page_died(k.boot.page, true);
}

void
kernel_begin(void)
{
	k.boot.page->n_brokers++;
	kernel_start_child();
}

void
kernel_kill(void)
{
	kernel_end();
	kernel_begin();
}

void
kernel_starve(void)
{
	ck_assert_int_eq(kill(k.child, SIGUSR2), 0);
}

void
kernel_setup(void)
{
	const int room = 4 << 20;
	const struct {
		struct fuse_in_header header;
		struct fuse_init_in init;
	} init = {
		.header = {.len = sizeof(init), .opcode = FUSE_INIT, .unique = 2},
		.init = {.major = FUSE_KERNEL_VERSION, .minor = 40, .flags = UINT32_MAX,
			.flags2 = UINT32_MAX, .max_readahead = 131072},
	};
	int pair[2], r;

	memset(&k, 0, sizeof(k));
	fixture_directory(k.dir);
	k.boot.instance = 1;
	strcpy(k.boot.bind_dir, ".bind-1");
	k.boot.page = mmap(NULL, sizeof(*k.boot.page), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(k.boot.page, MAP_FAILED);
	memcpy(k.boot.init.request, &init, sizeof(init));
	k.boot.init.n_request = sizeof(init);
	r = fuse_init_answer(&init, sizeof(init), k.boot.init.reply, sizeof(k.boot.init.reply));
	ck_assert_int_gt(r, 0);
	k.boot.init.n_reply = (uint32_t)r;
	ck_assert_int_eq(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	/* /dev/fuse takes every notice at once; a broker that takes over sends hundreds before it is read. */
	ck_assert_int_eq(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	k.fd = pair[0];
	k.served = pair[1];
	k.unique = 100;
	kernel_start_child();
}

void
kernel_teardown(void)
{
	int status;

	close(k.fd);
	close(k.served);
	ck_assert_int_eq(waitpid(k.child, &status, 0), k.child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fixture_remove(k.dir);
	munmap(k.boot.page, sizeof(*k.boot.page));
}

uint64_t
find_call(void)
{
	return look_up(look_up(look_up(FUSE_ROOT_ID, "caps"), "kv"), "call");
}
