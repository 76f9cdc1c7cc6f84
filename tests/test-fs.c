/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P01 P02 P13 P14 S01 */
/*
 * The front of FUSE without a kernel: the test writes raw requests to one end of a pair, a child with
 * store, model and front serves the other. So the child can be killed, and requests can be sent that
 * no kernel sends.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "capfsd/boot.h"
#include "capfsd/fs/private.h"
#include "capfsd/keeper/init.h"
#include "tests/fixture.h"

#define MAP_BYTES (16 << 20)
#define ANSWER_MSEC 10000
#define READ_MSEC 1500 /* instead of the thirty seconds that a read of a `call` may wait */
#define RESENT (UINT64_C(1) << 63)

static struct kernel {
	char dir[FIXTURE_PATH];
	struct boot boot;
	int fd, served; /* ours, and the child's end */
	pid_t child;
	uint64_t unique;
	/* the last answer */
	struct fuse_out_header out;
	char data[140000];
	size_t n;
	unsigned n_polls; /* pollers woken */
} k;

/* --- the child --- */

static bool
is_ready(void *data, struct entity *e)
{
	return true;
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
call_write(void *data, struct request *r, struct capability *c, uint64_t handle, const void *bytes,
	size_t n)
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
call_read(void *data, struct request *r, struct capability *c, struct call_read *read)
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
	call_write, call_read, call_exists, call_end, call_wait, call_give_up, call_poll};

static void
on_changed(void *data, struct entity *e)
{
	fs_changed(data, e);
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

static const struct model_hooks hooks = {
	.changed = on_changed,
	.used = on_changed,
	.gone = on_gone,
	.logged = on_logged,
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
		r = capability_originate(ch, o, m->root, "kv", 2, RIGHTS_OBJECT, 0, &c);
	return r ? r : change_commit(ch);
}

static int
open_model(struct state **ret_state, struct model **ret)
{
	const struct quota quota = {{1000, 500, 100, 64 << 20, 200}};
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

/* As the broker's loop, without sockets. */
static int
serve(void)
{
	static struct state *state;
	static struct model *m;
	struct pollfd p = {.fd = BOOT_FD_FUSE, .events = POLLIN};
	int r = open_model(&state, &m);

	if (r == 0)
		r = fs_new(m, state, &k.boot, &sockets, NULL, &fs);
	if (r == 0) {
		m->hooks = &hooks;
		m->hooks_data = fs;
		fs_set_calls(fs, &calls, NULL);
		fs->read_usec = READ_MSEC * 1000;
		r = fs_take_over(fs);
	}
	signal(SIGUSR1, on_user_signal);
	while (r >= 0 && (poll(&p, 1, list_empty(&fs->reads) ? -1 : 10) >= 0 || errno == EINTR)) {
		r = fs_drain(fs, false);
		fs_timeouts(fs);
		while (r >= 0 && !list_empty(&m->ending)) {
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

/* The next message that is an answer; notifications are counted only. */
static void
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

static void
kernel_send(uint32_t opcode, uint64_t node, uint64_t unique, const void *body, size_t n)
{
	struct fuse_in_header in = {
		.len = (uint32_t)(sizeof(in) + n),
		.opcode = opcode,
		.unique = unique,
		.nodeid = node,
		.pid = (uint32_t)getpid(),
	};
	struct iovec iov[2] = {{&in, sizeof(in)}, {(void *)(uintptr_t)body, n}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	ck_assert_int_eq(sendmsg(k.fd, &msg, MSG_NOSIGNAL), (ssize_t)(sizeof(in) + n));
}

/* One request and its answer. Returns: its error, 0 or negative. */
static int
ask(uint32_t opcode, uint64_t node, const void *body, size_t n)
{
	k.unique += 2;
	kernel_send(opcode, node, k.unique, body, n);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, k.unique);
	return k.out.error;
}

static uint64_t
look_up(uint64_t parent, const char *name)
{
	struct fuse_entry_out entry;

	if (ask(FUSE_LOOKUP, parent, name, strlen(name) + 1) < 0)
		return 0;
	ck_assert_uint_eq(k.n, sizeof(entry));
	memcpy(&entry, k.data, sizeof(entry));
	return entry.nodeid;
}

static uint64_t
open_node(uint64_t node)
{
	const struct fuse_open_in in = {.flags = O_RDWR};
	struct fuse_open_out out;

	ck_assert_int_eq(ask(FUSE_OPEN, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	return out.fh;
}

static const char *
read_node(uint64_t node, uint64_t fh, uint64_t offset)
{
	const struct fuse_read_in in = {.fh = fh, .offset = offset, .size = 4096};

	ck_assert_int_eq(ask(FUSE_READ, node, &in, sizeof(in)), 0);
	k.data[k.n] = '\0';
	return k.data;
}

static size_t
write_body(char *body, uint64_t fh, const char *text, size_t n)
{
	const struct fuse_write_in in = {.fh = fh, .size = (uint32_t)n};

	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), text, n);
	return sizeof(in) + n;
}

static int
write_node(uint64_t node, uint64_t fh, const char *text)
{
	char body[8192];

	return ask(FUSE_WRITE, node, body, write_body(body, fh, text, strlen(text)));
}

static int
make_directory(uint64_t parent, const char *name)
{
	char body[256];
	const struct fuse_mkdir_in in = {.mode = 0755};

	memcpy(body, &in, sizeof(in));
	strcpy(body + sizeof(in), name);
	return ask(FUSE_MKDIR, parent, body, sizeof(in) + strlen(name) + 1);
}

static void
kernel_kill(void)
{
	kill(k.child, SIGKILL);
	waitpid(k.child, NULL, 0);
	boot_page_crashed(k.boot.page);
	k.boot.page->n_brokers++;
	kernel_start_child();
}

static void
setup(void)
{
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
	k.fd = pair[0];
	k.served = pair[1];
	k.unique = 100;
	kernel_start_child();
}

static void
teardown(void)
{
	int status;

	close(k.fd);
	close(k.served);
	ck_assert_int_eq(waitpid(k.child, &status, 0), k.child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fixture_remove(k.dir);
	munmap(k.boot.page, sizeof(*k.boot.page));
}

START_TEST(S01_nodes_are_found_and_read)
{
	const struct fuse_getattr_in getattr = {};
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), label = look_up(FUSE_ROOT_ID, "label");
	struct fuse_attr_out attr;
	uint64_t fh;

	ck_assert_uint_ne(sessions, 0);
	ck_assert_uint_ne(label, 0);
	ck_assert_uint_eq(look_up(FUSE_ROOT_ID, "nonsense"), 0);
	ck_assert_int_eq(k.out.error, -ENOENT);
	ck_assert_uint_eq(look_up(label, "x"), 0);
	ck_assert_int_eq(ask(FUSE_GETATTR, label, &getattr, sizeof(getattr)), 0);
	memcpy(&attr, k.data, sizeof(attr));
	ck_assert_uint_eq(attr.attr.size, strlen("init\n"));
	ck_assert(S_ISREG(attr.attr.mode));
	fh = open_node(label);
	ck_assert_str_eq(read_node(label, fh, 0), "init\n");
	ck_assert_str_eq(read_node(label, fh, 2), "it\n");
	ck_assert_str_eq(read_node(label, fh, 100), "");
	ck_assert_int_eq(ask(FUSE_GETATTR, UINT64_C(0x7777777777), &getattr, sizeof(getattr)), -ESTALE);
}
END_TEST

START_TEST(P01_what_is_not_offered_is_refused)
{
	static const struct {
		uint32_t opcode;
		int error;
		size_t n;
		const char *body;
	} refused[] = {
		{FUSE_SYMLINK, -EPERM, 4, "a\0b"},
		{FUSE_LINK, -EPERM, 10, "\1\0\0\0\0\0\0\0a"},
		{FUSE_UNLINK, -EPERM, 6, "label"},
		{FUSE_RMDIR, -EPERM, 6, "label"},
		{FUSE_READLINK, -ENOSYS, 0, ""},
		{FUSE_GETXATTR, -ENOSYS, 10, "\0\0\0\0\0\0\0\0a"},
		{FUSE_FALLOCATE, -ENOSYS, sizeof(struct fuse_fallocate_in), ""},
		{FUSE_OPENDIR, -ENOSYS, sizeof(struct fuse_open_in), ""},
		{4000, -ENOSYS, 0, ""},
	};
	char body[256] = {};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		memset(body, 0, sizeof(body));
		memcpy(body, refused[i].body, strlen(refused[i].body));
		ck_assert_msg(ask(refused[i].opcode, FUSE_ROOT_ID, body, refused[i].n) ==
				refused[i].error,
			"opcode %u: %d", refused[i].opcode, k.out.error);
	}
	ck_assert_int_eq(make_directory(look_up(FUSE_ROOT_ID, "caps"), "x"), -EPERM);
}
END_TEST

START_TEST(P02_two_openers_never_mix)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), node, one, two;

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	node = look_up(FUSE_ROOT_ID, "transfer_quota");
	one = open_node(node);
	two = open_node(node);
	ck_assert_uint_ne(one, two);
	ck_assert_int_eq(write_node(node, one, "to=app caps=3"), 0);
	ck_assert_int_eq(write_node(node, two, "to=nobody caps=3"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(read_node(node, two, 0), "nobody"));
	ck_assert_ptr_null(strstr(read_node(node, one, 0), "nobody"));
	/* The same, and nobody else's, from the next broker. */
	kernel_kill();
	ck_assert_ptr_null(strstr(read_node(node, one, 0), "nobody"));
	ck_assert_uint_ne(open_node(node), one);
	ck_assert_uint_ne(open_node(node), two);
}
END_TEST

START_TEST(P02_handles_that_are_open_are_not_given_again)
{
	uint64_t node = look_up(FUSE_ROOT_ID, "transfer_quota"), one, two;

	one = open_node(node);
	ck_assert_int_eq(write_node(node, one, "to=nobody caps=3"), -ENOENT);
	ck_assert_int_eq(kill(k.child, SIGUSR1), 0);
	two = open_node(node);
	ck_assert_uint_ne(one, two);
	ck_assert_ptr_null(strstr(read_node(node, two, 0), "nobody"));
	ck_assert_ptr_nonnull(strstr(read_node(node, one, 0), "nobody"));
}
END_TEST

/* Answered and killed; then the kernel, that never got the answer, asks again. */
START_TEST(P14_a_repeated_request_runs_once)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), node, quota, fh, unique;
	char body[256], before[4096];
	size_t n;

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	node = look_up(FUSE_ROOT_ID, "transfer_quota");
	quota = look_up(look_up(sessions, "app"), "quota");
	fh = open_node(node);
	n = write_body(body, fh, "to=app caps=3", 13);
	ck_assert_int_eq(ask(FUSE_WRITE, node, body, n), 0);
	unique = k.unique;
	strcpy(before, read_node(quota, open_node(quota), 0));
	kernel_kill();
	kernel_send(FUSE_WRITE, node, unique | RESENT, body, n);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, unique | RESENT);
	ck_assert_int_eq(k.out.error, 0);
	ck_assert_str_eq(read_node(quota, open_node(quota), 0), before);
	/* Not marked it is a new request, whose number happens to be the same. */
	kernel_send(FUSE_WRITE, node, unique, body, n);
	kernel_receive();
	ck_assert_int_eq(k.out.error, 0);
	ck_assert_str_ne(read_node(quota, open_node(quota), 0), before);
}
END_TEST

/* What a repeated request waited for may be gone before it is asked for again. */
START_TEST(P14_a_repeated_rmdir_is_answered)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), unique;

	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	ck_assert_int_eq(ask(FUSE_RMDIR, sessions, "app", 4), 0);
	unique = k.unique;
	kernel_kill();
	kernel_send(FUSE_RMDIR, sessions, unique | RESENT, "app", 4);
	kernel_receive();
	ck_assert_int_eq(k.out.error == 0 || k.out.error == -ENOENT, 1);
	ck_assert_uint_eq(look_up(sessions, "app"), 0);
}
END_TEST

/* Who waits for an edge polls once after the take-over, and is woken by what comes then. */
START_TEST(P14_a_poller_is_known_to_the_next_broker)
{
	uint64_t sessions = look_up(FUSE_ROOT_ID, "sessions"), log = look_up(FUSE_ROOT_ID, "events");
	const struct fuse_poll_in in = {
		.fh = open_node(log), .kh = 77, .flags = FUSE_POLL_SCHEDULE_NOTIFY, .events = POLLIN};
	const struct fuse_getattr_in getattr = {};

	ck_assert_int_eq(ask(FUSE_POLL, log, &in, sizeof(in)), 0);
	kernel_kill();
	ck_assert_int_eq(ask(FUSE_POLL, log, &in, sizeof(in)), 0);
	k.n_polls = 0;
	ck_assert_int_eq(make_directory(sessions, "app"), 0);
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
	ck_assert_uint_eq(k.n_polls, 1);
}
END_TEST

START_TEST(poisoned_request_is_refused)
{
	const struct fuse_getattr_in getattr = {};

	k.boot.page->poisoned = k.unique + 2;
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), -EIO);
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
}
END_TEST

static uint64_t
find_call(void)
{
	return look_up(look_up(look_up(FUSE_ROOT_ID, "caps"), "kv"), "call");
}

/* A READ that will be answered later. Returns: its number. */
static uint64_t
read_later(uint64_t node, uint64_t fh)
{
	const struct fuse_read_in in = {.fh = fh, .size = 4096, .flags = O_RDWR};

	k.unique += 2;
	kernel_send(FUSE_READ, node, k.unique, &in, sizeof(in));
	return k.unique;
}

static const char *
read_call(uint64_t node, uint64_t fh)
{
	read_later(node, fh);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, k.unique);
	k.data[k.n] = '\0';
	return k.data;
}

static void
interrupt(uint64_t unique)
{
	const struct fuse_interrupt_in in = {.unique = unique};

	k.unique += 2;
	kernel_send(FUSE_INTERRUPT, 0, k.unique, &in, sizeof(in));
}

static void
expect_answer(uint64_t unique, int error, const char *text)
{
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, unique);
	ck_assert_int_eq(k.out.error, error);
	ck_assert_uint_eq(k.n, strlen(text));
	ck_assert_mem_eq(k.data, text, k.n);
}

START_TEST(S04_a_call_is_asked_and_read)
{
	const struct fuse_open_in read_only = {.flags = O_RDONLY};
	struct fuse_open_out out;
	uint64_t node = find_call(), fh = open_node(node), other;
	char usage[256];

	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.open_flags, FOPEN_DIRECT_IO | FOPEN_STREAM);
	/* Offsets mean nothing: what was read is over. */
	strcpy(usage, read_call(node, fh));
	ck_assert_ptr_nonnull(strstr(usage, "request"));
	ck_assert_str_eq(read_call(node, fh), "");
	ck_assert_int_eq(write_node(node, fh, "one"), 0);
	ck_assert_str_eq(read_call(node, fh), "reply");
	ck_assert_str_eq(read_call(node, fh), "");
	/* Nothing can be asked: a text as any other. */
	ck_assert_int_eq(ask(FUSE_OPEN, node, &read_only, sizeof(read_only)), 0);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.open_flags, FOPEN_DIRECT_IO);
	ck_assert_str_eq(read_node(node, out.fh, 0), usage);
	ck_assert_str_eq(read_node(node, out.fh, 0), usage);
	ck_assert_str_eq(read_node(node, out.fh, 4), usage + 4);
	/* A refusal's reason is read where the reply would be. */
	other = open_node(node);
	ck_assert_int_eq(write_node(node, other, "refuse"), -EPERM);
	ck_assert_str_eq(read_call(node, other), "not today\n");
	ck_assert_str_eq(read_call(node, other), "");
}
END_TEST

START_TEST(P11_a_read_of_a_call_times_out)
{
	uint64_t node = find_call(), fh = open_node(node), unique;
	const struct fuse_getattr_in getattr = {};

	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	unique = read_later(node, fh);
	/* Others are served meanwhile. */
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &getattr, sizeof(getattr)), 0);
	expect_answer(unique, -ETIMEDOUT, "");
	read_node(look_up(FUSE_ROOT_ID, "events"), open_node(look_up(FUSE_ROOT_ID, "events")), 0);
	ck_assert_ptr_nonnull(strstr(k.data, "refused call caps/kv uid=0 ETIMEDOUT"));
}
END_TEST

START_TEST(P11_a_read_of_a_call_is_interrupted)
{
	uint64_t node = find_call(), fh = open_node(node), one, two, three;

	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	one = read_later(node, fh);
	two = read_later(node, fh);
	three = read_later(node, fh);
	interrupt(two);
	expect_answer(two, -EINTR, "");
	interrupt(three);
	interrupt(one);
	expect_answer(three, -EINTR, "");
	expect_answer(one, -EINTR, "");
	/* Before the read has come. */
	interrupt(k.unique + 4);
	one = read_later(node, fh);
	expect_answer(one, -EINTR, "");
	ck_assert_int_eq(write_node(node, fh, "one"), 0);
	ck_assert_str_eq(read_call(node, fh), "reply");
}
END_TEST

START_TEST(P11_many_wait_and_are_woken)
{
	uint64_t node = find_call(), fhs[200], unique[200];
	uint64_t waker = open_node(node);

	for (size_t i = 0; i < 200; i++) {
		fhs[i] = open_node(node);
		ck_assert_int_eq(write_node(node, fhs[i], "never"), 0);
		unique[i] = read_later(node, fhs[i]);
	}
	{
		char body[128];
		size_t n = write_body(body, waker, "wake", 4);
		bool seen[200] = {};

		k.unique += 2;
		kernel_send(FUSE_WRITE, node, k.unique, body, n);
		for (size_t i = 0; i < 201; i++) {
			size_t at = 0;

			kernel_receive();
			ck_assert_int_eq(k.out.error, 0);
			if (k.out.unique == k.unique)
				continue;
			while (at < 200 && unique[at] != k.out.unique)
				at++;
			ck_assert_uint_lt(at, 200);
			ck_assert(!seen[at]);
			seen[at] = true;
			ck_assert_uint_eq(k.n, 5);
		}
	}
}
END_TEST

START_TEST(P14_a_read_that_waits_is_sent_again)
{
	uint64_t node = find_call(), fh = open_node(node), unique, written;
	const struct fuse_getattr_in getattr = {};
	const struct fuse_read_in in = {.fh = fh, .size = 4096, .flags = O_RDWR};
	char body[128];
	size_t n = write_body(body, fh, "never", 5);

	ck_assert_int_eq(ask(FUSE_WRITE, node, body, n), 0);
	written = k.unique;
	unique = read_later(node, fh);
	/* It was read, and waits. */
	ck_assert_int_eq(ask(FUSE_GETATTR, node, &getattr, sizeof(getattr)), 0);
	kernel_kill();
	/* What was committed is not asked again: to this child it would be the first. */
	kernel_send(FUSE_WRITE, node, written | RESENT, body, n);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, written | RESENT);
	ck_assert_int_eq(k.out.error, 0);
	kernel_send(FUSE_READ, node, unique | RESENT, &in, sizeof(in));
	kernel_receive();
	ck_assert_uint_eq(k.n, 0);
	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	kernel_send(FUSE_READ, node, unique | RESENT, &in, sizeof(in));
	expect_answer(unique | RESENT, 0, "resent");
}
END_TEST

START_TEST(P14_a_read_that_kills_is_refused)
{
	uint64_t node = find_call(), fh = open_node(node), other = open_node(node), unique;
	char body[128];
	size_t n = write_body(body, other, "wake", 4);

	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	unique = read_later(node, fh);
	k.boot.page->poisoned = unique;
	kernel_send(FUSE_WRITE, node, k.unique += 2, body, n);
	expect_answer(unique, -EIO, "");
	kernel_receive();
	ck_assert_int_eq(k.out.error, 0);
	/* It is answered before the note is cleared. */
	for (int i = 0; i < 1000 && __atomic_load_n(&k.boot.page->executing, __ATOMIC_SEQ_CST); i++)
		usleep(1000);
	ck_assert_uint_eq(k.boot.page->executing, 0);
}
END_TEST

START_TEST(the_end_of_a_slot_wakes_its_readers)
{
	uint64_t caps = look_up(FUSE_ROOT_ID, "caps"), node = find_call(), fh = open_node(node);
	const struct fuse_release_in release = {.fh = fh};

	ck_assert_int_eq(write_node(node, fh, "one"), 0);
	ck_assert_int_eq(ask(FUSE_RMDIR, caps, "kv", 3), 0);
	read_later(node, fh);
	expect_answer(k.unique, -ESTALE, "");
	ck_assert_int_eq(write_node(node, fh, "two"), -ESTALE);
	ck_assert_int_eq(ask(FUSE_RELEASE, node, &release, sizeof(release)), 0);
}
END_TEST

START_TEST(P13_oversized_calls_are_not_sent)
{
	static char body[sizeof(struct fuse_write_in) + 65537], text[65537];
	uint64_t node = find_call(), fh = open_node(node);

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(ask(FUSE_WRITE, node, body, write_body(body, fh, text, 65536)), 0);
	ck_assert_int_eq(
		ask(FUSE_WRITE, node, body, write_body(body, fh, text, 65537)), -EMSGSIZE);
	ck_assert_int_eq(write_node(node, fh, "x"), -EMSGSIZE);
	ck_assert_int_eq(write_node(node, open_node(node), "x"), 0);
}
END_TEST

START_TEST(a_poller_of_a_call_is_woken)
{
	uint64_t node = find_call(), fh = open_node(node), other = open_node(node);
	const struct fuse_poll_in in = {
		.fh = fh, .kh = 78, .flags = FUSE_POLL_SCHEDULE_NOTIFY, .events = POLLIN};
	struct fuse_poll_out out;

	ck_assert_int_eq(ask(FUSE_POLL, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_ne(out.revents & POLLIN, 0);
	ck_assert_int_eq(write_node(node, fh, "never"), 0);
	ck_assert_int_eq(ask(FUSE_POLL, node, &in, sizeof(in)), 0);
	memcpy(&out, k.data, sizeof(out));
	ck_assert_uint_eq(out.revents, 0);
	k.n_polls = 0;
	ck_assert_int_eq(write_node(node, other, "wake"), 0);
	ck_assert_uint_eq(k.n_polls, 1);
}
END_TEST

START_TEST(P13_oversized_commands_change_nothing)
{
	static char body[sizeof(struct fuse_write_in) + 8192];
	uint64_t node = look_up(FUSE_ROOT_ID, "transfer_quota"), fh = open_node(node);
	static char text[8192];

	memset(text, ' ', sizeof(text));
	memcpy(text, "to=app caps=3", 13);
	ck_assert_int_eq(ask(FUSE_WRITE, node, body, write_body(body, fh, text, sizeof(text))), -EMSGSIZE);
	/* Nor does what follows in the same open file. */
	ck_assert_int_eq(write_node(node, fh, "to=app caps=3"), -EMSGSIZE);
	ck_assert_int_eq(write_node(node, open_node(node), "to=\xff\xfe caps=3"), -EINVAL);
	ck_assert_int_eq(write_node(node, open_node(node), ""), -EINVAL);
}
END_TEST

/* Random requests: whatever they say, each is answered, and the child lives. */
START_TEST(P13_random_requests)
{
	static const uint32_t opcodes[] = {FUSE_LOOKUP, FUSE_GETATTR, FUSE_SETATTR, FUSE_MKDIR, FUSE_RMDIR,
		FUSE_RENAME, FUSE_RENAME2, FUSE_OPEN, FUSE_READ, FUSE_WRITE, FUSE_RELEASE, FUSE_READDIR,
		FUSE_POLL, FUSE_STATFS, FUSE_MKNOD, FUSE_UNLINK, FUSE_FLUSH, FUSE_ACCESS, FUSE_LSEEK};
	const struct fuse_getattr_in getattr = {};
	uint64_t nodes[8] = {FUSE_ROOT_ID, look_up(FUSE_ROOT_ID, "sessions"),
		look_up(FUSE_ROOT_ID, "transfer_quota"), look_up(FUSE_ROOT_ID, "events"),
		look_up(FUSE_ROOT_ID, "quota"), look_up(FUSE_ROOT_ID, ".bind-1"), 12345, find_call()};
	uint64_t fh = open_node(nodes[2]);
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		char body[256] = {};
		uint32_t opcode = opcodes[(unsigned)rand_r(&seed) % (sizeof(opcodes) / sizeof(opcodes[0]))];

		for (size_t j = 0; j < 96; j++)
			body[j] = rand_r(&seed) % 3 ? 0 : (char)rand_r(&seed);
		if (rand_r(&seed) % 2)
			memcpy(body, &fh, sizeof(fh));
		/* The sizes that libfuse allocates or copies by are the kernel's, and sane. */
		if (opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_WRITE) {
			const uint32_t size = (uint32_t)rand_r(&seed) % 64;

			memcpy(body + offsetof(struct fuse_read_in, size), &size, sizeof(size));
		}
		ask(opcode, nodes[rand_r(&seed) % 8], body, sizeof(body));
		ck_assert_int_le(k.out.error, 0);
	}
	ck_assert_int_eq(ask(FUSE_GETATTR, FUSE_ROOT_ID, &getattr, sizeof(getattr)), 0);
}
END_TEST

/* Only sockets of slots take one; here are none. The kernel must go on asking. */
START_TEST(attributes_are_refused)
{
	static const char *const names[] = {"user.x", "security.capability", "capfs.vouch"};

	for (size_t i = 0; i < 3; i++) {
		char body[128] = {};
		struct fuse_setxattr_in in = {.size = 3};
		size_t n = strlen(names[i]) + 1;
		/* The kernel sends the short form unless it was told otherwise. */
		const size_t head = FUSE_COMPAT_SETXATTR_IN_SIZE;

		memcpy(body, &in, head);
		memcpy(body + head, names[i], n);
		memcpy(body + head + n, "abc", 3);
		ck_assert_int_eq(ask(FUSE_SETXATTR, look_up(FUSE_ROOT_ID, "control"), body, head + n + 3),
			i < 2 ? -EOPNOTSUPP : -EINVAL);
		ck_assert_int_eq(ask(FUSE_SETXATTR, UINT64_C(1) << 40, body, head + n + 3),
			i < 2 ? -EOPNOTSUPP : -ESTALE);
	}
}
END_TEST

START_TEST(requests_without_answer)
{
	const struct fuse_forget_in forget = {.nlookup = 1};
	const struct fuse_batch_forget_in batch = {.count = 0};
	const struct fuse_interrupt_in interrupt = {.unique = 50};
	const struct fuse_getattr_in getattr = {};

	kernel_send(FUSE_FORGET, look_up(FUSE_ROOT_ID, "caps"), 1000, &forget, sizeof(forget));
	kernel_send(FUSE_BATCH_FORGET, 0, 1002, &batch, sizeof(batch));
	kernel_send(FUSE_INTERRUPT, 0, 1004, &interrupt, sizeof(interrupt));
	/* Said with the next request: "not known (yet)", so that the kernel asks again. */
	kernel_send(FUSE_GETATTR, FUSE_ROOT_ID, 1006, &getattr, sizeof(getattr));
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, 1004);
	ck_assert_int_eq(k.out.error, -EAGAIN);
	kernel_receive();
	ck_assert_uint_eq(k.out.unique, 1006);
	ck_assert_int_eq(k.out.error, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fs");
	TCase *t = fixture_case(s, "fs", 60);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, S01_nodes_are_found_and_read);
	tcase_add_test(t, P01_what_is_not_offered_is_refused);
	tcase_add_test(t, P02_two_openers_never_mix);
	tcase_add_test(t, P02_handles_that_are_open_are_not_given_again);
	tcase_add_test(t, P14_a_repeated_request_runs_once);
	tcase_add_test(t, P14_a_repeated_rmdir_is_answered);
	tcase_add_test(t, P14_a_poller_is_known_to_the_next_broker);
	tcase_add_test(t, poisoned_request_is_refused);
	tcase_add_test(t, P13_oversized_commands_change_nothing);
	tcase_add_test(t, S04_a_call_is_asked_and_read);
	tcase_add_test(t, P11_a_read_of_a_call_times_out);
	tcase_add_test(t, P11_a_read_of_a_call_is_interrupted);
	tcase_add_test(t, P11_many_wait_and_are_woken);
	tcase_add_test(t, P14_a_read_that_waits_is_sent_again);
	tcase_add_test(t, P14_a_read_that_kills_is_refused);
	tcase_add_test(t, the_end_of_a_slot_wakes_its_readers);
	tcase_add_test(t, P13_oversized_calls_are_not_sent);
	tcase_add_test(t, a_poller_of_a_call_is_woken);
	tcase_add_test(t, P13_random_requests);
	tcase_add_test(t, attributes_are_refused);
	tcase_add_test(t, requests_without_answer);
	return fixture_main(s);
}
