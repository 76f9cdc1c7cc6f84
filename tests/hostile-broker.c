/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon, with code of an attacker's in its first broker, run right after that has taken its
 * filter. It tries what such a one could want of the kernel, of keeper, holder and binder, and of
 * strangers, says "hostile: nothing WHAT" or "hostile: GOT WHAT" on stderr, and then goes on as the
 * broker that it was. $HOSTILE says what it tries:
 *
 *	kernel	calls that it may not make
 *	keeper	records of all kinds and none, and descriptors that are slow to close
 *	binder	likewise, and jobs that are none
 *	link	a symbolic link in place of the binder's directory
 *	holder	a keeper of its own, which has the holder become another program
 *	spawner	connections to capfs-spawner without end, and a descriptor in it
 *	wedge	to sleep, deaf to SIGKILL, over a file of somebody's who connects to $HOSTILE_DONE.socket
 *
 * It does so once, as long as the file $HOSTILE_DONE is not there.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/msg.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/fds.h"
#include "capfsd/process/filter.h"
#include "capfsd/process/records.h"

#define N_SLOW 6
#define SPAWNER_MSEC 2500
#define ANSWER_MSEC \
	30000 /* of a binder that goes on; one that closes a slow descriptor needs a minute */

int __real_filter_broker(void);
int __wrap_filter_broker(void);

enum gift {
	GIFT_DGRAM,  /* a socket that may send to anybody */
	GIFT_KEEPER, /* the end of a pair, of which the stranger has the other */
	GIFT_SLOW,   /* from here on: the last close takes a minute */
	GIFT_N = GIFT_SLOW + N_SLOW,
};

static int gifts[GIFT_N];

static void
say(bool got, const char *what)
{
	dprintf(STDERR_FILENO, "hostile: %s %s\n", got ? "GOT" : "nothing", what);
}

static void
die(const char *what)
{
	dprintf(STDERR_FILENO, "hostile: cannot %s: %s\n", what, strerror(errno));
	_exit(99);
}

/* --- the stranger: a process outside, who helps the attacker from there -------------------------
 */

static socklen_t
stranger_name(struct sockaddr_un *ret, const char *what)
{
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "hostile-%s-%s",
		getenv("HOSTILE_STRANGER"), what);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

/* A connection with unread bytes, and a minute to linger for them. Its other end stays with us. */
static int
slow_socket(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct linger linger = {.l_onoff = 1, .l_linger = 60};
	socklen_t n = sizeof(address);
	static char bytes[65536];
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, n) < 0 ||
		listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *)&address, &n) < 0 ||
		connect(fd, (struct sockaddr *)&address, n) < 0 || accept(listener, NULL, NULL) < 0)
		die("make a slow socket");
	/* Who ends with it in his table leaves it to the next one. */
	if (!strstr(getenv("HOSTILE"), "holder"))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	close(listener);
	return fd;
}

/* As the keeper would: a program comes along, which the holder is to become. */
static void
play_keeper(int fd)
{
	struct keeper_record record;
	int program = open("/bin/true", O_PATH | O_CLOEXEC);

	while (recv(fd, &record, sizeof(record), 0) == sizeof(record)) {
		if (record.type != KEEPER_ALONE)
			continue;
		say(true, "the holder asks a keeper that is none");
		record.type = KEEPER_BECOME;
		(void)msg_send(fd, &record, sizeof(record), &program, 1, 0);
	}
}

static void
stranger(int listener, int mailbox)
{
	int pair[2], fd = accept(listener, NULL, NULL);
	char byte;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		die("make a pair");
	gifts[GIFT_DGRAM] = socket(AF_UNIX, SOCK_DGRAM, 0);
	gifts[GIFT_KEEPER] = pair[0];
	for (int i = GIFT_SLOW; i < GIFT_N; i++)
		gifts[i] = slow_socket();
	if (msg_send(fd, "", 1, gifts, GIFT_N, 0) < 0)
		die("give");
	for (int i = 0; i < GIFT_N; i++)
		close(gifts[i]);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		play_keeper(pair[1]);
		_exit(0);
	}
	while (recv(mailbox, &byte, 1, 0) >= 0)
		say(true, "a stranger's ear");
}

/* Before main(): later everything that is open is closed, and no other socket can be made. */
static void __attribute__((constructor)) begin(void)
{
	struct sockaddr_un address;
	int listener, mailbox;
	pid_t parent = getpid();
	char name[16];
	socklen_t n;

	if (!getenv("HOSTILE") || getenv("HOSTILE_STRANGER"))
		return;
	snprintf(name, sizeof(name), "%d", (int)parent);
	setenv("HOSTILE_STRANGER", name, 1);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	mailbox = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	n = stranger_name(&address, "gifts");
	if (bind(listener, (struct sockaddr *)&address, n) < 0 || listen(listener, 1) < 0)
		die("listen");
	n = stranger_name(&address, "mail");
	if (bind(mailbox, (struct sockaddr *)&address, n) < 0)
		die("bind");
	if (fork() != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		stranger(listener, mailbox);
	_exit(0);
}

/* What a client of ours has sent us, while all was well. */
static void
take_gifts(void)
{
	struct sockaddr_un address;
	socklen_t n = stranger_name(&address, "gifts");
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	size_t n_fds = 0;
	char byte;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, n) < 0 ||
		msg_receive(fd, &byte, 1, gifts, GIFT_N, &n_fds, 0) != 1 || n_fds != GIFT_N)
		die("take");
	close(fd);
}

/* The broker's alarm interrupts. Returns: false: nothing came. */
static bool
comes(int fd, int msec)
{
	uint64_t end = clock_msec(CLOCK_MONOTONIC) + (uint64_t)msec, now;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int r;

	do {
		now = clock_msec(CLOCK_MONOTONIC);
		r = poll(&p, 1, now < end ? (int)(end - now) : 0);
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

/* --- the kernel ------------------------------------------------------------------------------- */

static char page[65536] __attribute__((aligned(65536)));
static int two[2];
static const struct sockaddr_un somebody = {AF_UNIX, "/run/systemd/notify"};

#define POINTER(p) ((long)(uintptr_t)(p))

static const struct {
	const char *what;
	long call;
	long arguments[6];
} calls[] = {
	{"execute", SYS_execve, {POINTER("/bin/true")}},
	{"open", SYS_openat, {AT_FDCWD, POINTER("/etc/passwd"), O_RDONLY}},
	{"open_anew", SYS_openat, {AT_FDCWD, POINTER("/proc/self/fd/0"), O_RDWR}},
	{"executable_memory", SYS_mmap,
		{0, 65536, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
	{"memory_made_executable", SYS_mprotect, {POINTER(page), 65536, PROT_READ | PROT_EXEC}},
	{"memory_by_key", SYS_pkey_mprotect, {POINTER(page), 65536, PROT_EXEC, -1}},
	{"memory_of_others", SYS_process_vm_readv, {1}},
	{"a_socket", SYS_socket, {AF_UNIX, SOCK_DGRAM}},
	{"a_pair_of_datagrams", SYS_socketpair,
		{AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, POINTER(two)}},
	{"a_pair_of_the_network", SYS_socketpair, {AF_INET, SOCK_STREAM, 0, POINTER(two)}},
	{"a_message_by_path", SYS_sendto,
		{BOOT_FD_BINDER, POINTER("x"), 1, 0, POINTER(&somebody), sizeof(somebody)}},
	{"a_connection", SYS_connect, {BOOT_FD_BINDER, POINTER(&somebody), sizeof(somebody)}},
	{"a_name", SYS_bind, {BOOT_FD_BINDER, POINTER(&somebody), sizeof(somebody)}},
	{"an_option_of_tcp", SYS_setsockopt,
		{BOOT_FD_BINDER, IPPROTO_TCP, TCP_NODELAY, POINTER(two), sizeof(two[0])}},
	{"a_signal_by_file", SYS_fcntl, {BOOT_FD_BINDER, F_SETOWN, 1}},
	{"another_signal_by_file", SYS_fcntl, {BOOT_FD_BINDER, F_SETSIG, SIGKILL}},
	{"a_signal", SYS_kill, {1, 0}},
	{"a_trace", SYS_ptrace, {PTRACE_SEIZE, 1}},
	{"a_namespace", SYS_unshare, {CLONE_NEWUSER}},
	{"another_root", SYS_chroot, {POINTER("/")}},
	{"another_place", SYS_chdir, {POINTER("/")}},
	{"a_device", SYS_ioctl, {BOOT_FD_FUSE, 0}},
	{"a_ring", SYS_io_uring_setup, {1}},
	{"itself_changed", SYS_prctl, {PR_SET_DUMPABLE, 1}},
};

static void
try_kernel(void)
{
	struct sockaddr_un address;
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_name = &address, .msg_iov = &iov, .msg_iovlen = 1};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const long *a = calls[i].arguments;

		errno = 0;
		say(syscall(calls[i].call, a[0], a[1], a[2], a[3], a[4], a[5]) >= 0 ||
				errno != EPERM,
			calls[i].what);
	}
	/* The stranger tells if it comes. */
	msg.msg_namelen = stranger_name(&address, "mail");
	say(sendmsg(gifts[GIFT_DGRAM], &msg, 0) >= 0, "an_abstract_name");
}

/* --- the mount -------------------------------------------------------------------------------- */

#define NODE 77

static mode_t mode; /* of what the binder looks for, NODE */

/* Returns: 0: it is refused. */
static size_t
reply(const struct fuse_in_header *in, void *out)
{
	const char *name = (const char *)(in + 1);
	struct fuse_attr_out attr = {
		.attr = {.ino = in->nodeid,
			.nlink = 2,
			.mode = in->nodeid == NODE ? mode : S_IFDIR | 0755},
	};
	struct fuse_entry_out entry = {
		.nodeid = NODE,
		.generation = 1,
		.attr = {.ino = NODE, .nlink = 2, .mode = mode},
	};

	switch (in->opcode) {
	case FUSE_LOOKUP:
		if (strncmp(name, ".bind-", 6) != 0)
			return 0;
		memcpy(out, &entry, sizeof(entry));
		return sizeof(entry);
	case FUSE_GETATTR:
		memcpy(out, &attr, sizeof(attr));
		return sizeof(attr);
	case FUSE_READLINK:
		say(true, "the_binder_follows_a_link");
		return 0;
	default:
		return 0;
	}
}

/* Returns: its opcode; 0: there was none in time. */
static uint32_t
serve_one(int msec)
{
	static union {
		struct fuse_in_header header;
		char bytes[135168];
	} in;
	struct {
		struct fuse_out_header header;
		char rest[256];
	} out = {};
	size_t n;

	if (!comes(BOOT_FD_FUSE, msec) || read(BOOT_FD_FUSE, &in, sizeof(in)) <= 0)
		return 0;
	if (in.header.opcode == FUSE_FORGET || in.header.opcode == FUSE_BATCH_FORGET ||
		in.header.opcode == FUSE_INTERRUPT)
		return in.header.opcode;
	n = reply(&in.header, out.rest);
	out.header.unique = in.header.unique;
	out.header.error = n ? 0 : -EIO;
	out.header.len = (uint32_t)(sizeof(out.header) + n);
	if (write(BOOT_FD_FUSE, &out, out.header.len) < 0)
		return 0;
	return in.header.opcode == FUSE_LOOKUP && n ? FUSE_LOOKUP : FUSE_GETATTR;
}

/* Returns: has the binder looked for its directory? */
static bool
serve_binder(void)
{
	bool looked = false;

	for (int i = 0; i < 100 && !looked; i++)
		looked = serve_one(1000) == FUSE_LOOKUP;
	return looked;
}

/* --- keeper and binder ------------------------------------------------------------------------ */

static int slow_used;

/* A descriptor of which nobody has another. */
static ssize_t
send_slow(int fd, const void *data, size_t n)
{
	int slow = gifts[GIFT_SLOW + slow_used++];
	ssize_t r = msg_send(fd, data, n, &slow, 1, MSG_DONTWAIT);

	/* What was not taken would make us wait for it. */
	if (r >= 0)
		close(slow);
	return r;
}

/* What it gets is given up at once, but the first: the spawner takes nothing from it. */
static void
try_spawner(void)
{
	const struct keeper_record want = {.type = KEEPER_WANT_SPAWNER};
	uint64_t end = clock_msec(CLOCK_MONOTONIC) + SPAWNER_MSEC;
	struct keeper_record record;
	int n = 0, first = -1, fd;
	size_t n_fds;

	while (clock_msec(CLOCK_MONOTONIC) < end) {
		(void)msg_send(BOOT_FD_KEEPER, &want, sizeof(want), NULL, 0, MSG_DONTWAIT);
		if (msg_receive(BOOT_FD_KEEPER, &record, sizeof(record), &fd, 1, &n_fds, MSG_DONTWAIT) < 0 ||
			record.type != KEEPER_SPAWNER || n_fds == 0)
			continue;
		n++;
		if (first < 0)
			first = fd;
		else
			close(fd);
	}
	dprintf(STDERR_FILENO, "hostile: %d connections\n", n);
	say(n > 8, "more_connections_than_a_few");
	fd = STDERR_FILENO;
	/* Before Linux 6.16 it is for the spawner to take none. */
	say(first >= 0 && msg_send(first, "", 1, &fd, 1, MSG_DONTWAIT) != -EPERM &&
			fd_refuse_descriptors(BOOT_FD_KEEPER) == 0,
		"a_descriptor_into_the_spawner");
}

/* A keeper that closes what it is sent does nothing for a minute; who looks from outside sees that.
 */
static void
try_keeper(void)
{
	struct keeper_record record = {.type = KEEPER_READY};
	char bytes[256] = {};

	(void)send_slow(BOOT_FD_KEEPER, &record, sizeof(record));
	(void)send_slow(BOOT_FD_KEEPER, bytes, sizeof(bytes));
	for (uint32_t i = 0; i < 4096; i++) {
		struct pollfd p = {.fd = BOOT_FD_KEEPER, .events = POLLOUT};

		poll(&p, 1, ANSWER_MSEC);
		record.type = i % 16;
		record.generation = i / 16;
		/* BECOME and others that only the keeper says, and lengths that no record has. */
		(void)msg_send(BOOT_FD_KEEPER, i % 5 ? (void *)&record : (void *)bytes,
			i % 5 ? sizeof(record) : i % sizeof(bytes), NULL, 0, MSG_DONTWAIT);
	}
	say(false, "the_keeper");
}

/* Does it still do as it is told? It has replied to all before it when it replies to this. */
static bool
binder_goes_on(uint64_t mark)
{
	const struct binder_job job = {.capability = mark};
	struct binder_result result;

	if (msg_send(BOOT_FD_BINDER, &job, sizeof(job), NULL, 0, 0) < 0)
		return false;
	while (comes(BOOT_FD_BINDER, ANSWER_MSEC)) {
		size_t n_fds = 0;
		int fd = -1;

		if (msg_receive(BOOT_FD_BINDER, &result, sizeof(result), &fd, 1, &n_fds, 0) !=
			sizeof(result))
			return false;
		if (n_fds > 0)
			say(true, "a_listener");
		if (!result.inspection && result.capability == mark)
			return result.error == EINVAL;
	}
	return false;
}

static void
try_binder(void)
{
	struct binder_job job = {.inspection = 1};
	char bytes[256] = {};

	/* It goes on when it has found its directory. */
	mode = S_IFDIR | 0777;
	serve_binder();
	for (int i = 0; i < 20; i++)
		(void)serve_one(50);
	(void)send_slow(BOOT_FD_BINDER, &job, sizeof(job));
	say(!binder_goes_on(1), "by_a_client_that_is_slow_to_close");
	job = (struct binder_job){.object = 1, .capability = 1, .socket_type = SOCK_STREAM};
	(void)send_slow(BOOT_FD_BINDER, &job, sizeof(job));
	say(!binder_goes_on(2), "by_a_job_with_a_descriptor");
	(void)send_slow(BOOT_FD_BINDER, bytes, sizeof(bytes));
	say(!binder_goes_on(3), "by_a_record_that_is_too_long");
	(void)send_slow(BOOT_FD_BINDER, bytes, 0);
	say(!binder_goes_on(4), "by_a_record_of_nothing");
	job = (struct binder_job){.object = 1, .capability = 1, .socket_type = SOCK_DGRAM};
	(void)msg_send(BOOT_FD_BINDER, &job, sizeof(job), NULL, 0, 0);
	say(!binder_goes_on(5), "a_socket_of_another_type");
}

/* The binder's directory is looked for at once; what comes after it tells what the binder makes of
 * it. */
static void
try_link(void)
{
	bool looked;

	mode = S_IFLNK | 0777;
	looked = serve_binder();
	while (looked && !comes(BOOT_FD_BINDER, 0) && serve_one(1000))
		;
	say(!looked || !comes(BOOT_FD_BINDER, ANSWER_MSEC), "a_binder_that_goes_elsewhere");
}

/* The holder's next word is for the keeper; whoever has the other end of this pair gets it. */
static void
try_holder(void)
{
	if (dup3(gifts[GIFT_KEEPER], BOOT_FD_KEEPER, O_CLOEXEC) < 0)
		die("replace the keeper");
	say(false, "the_holder");
	_exit(BROKER_EXIT_PAUSED);
}

static int visitors = -1, visitor = -1, visit = -1;

/* While the broker serves: the first message brings a file, and after the next one nobody can close it. */
static void
on_alarm(int signal)
{
	int error = errno;
	size_t n_fds;
	char byte;

	(void)signal;
	if (visitor < 0)
		visitor = accept4(visitors, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (visitor >= 0 && visit < 0)
		(void)msg_receive(visitor, &byte, 1, &visit, 1, &n_fds, MSG_DONTWAIT);
	else if (visit >= 0 && recv(visitor, &byte, 1, MSG_DONTWAIT) == 1)
		close(visit);
	errno = error;
}

/* Neither socket nor timer can be had later. */
static void
listen_for_visitors(void)
{
	const struct itimerval often = {{0, 100000}, {0, 100000}};
	const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	visitors = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s.socket", getenv("HOSTILE_DONE"));
	if (bind(visitors, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(visitors, 1) < 0)
		die("listen");
	if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &often, NULL) < 0)
		die("set a timer");
}

static const struct {
	const char *name;
	void (*f)(void);
} tries[] = {
	{"kernel", try_kernel},
	{"keeper", try_keeper},
	{"spawner", try_spawner},
	{"binder", try_binder},
	{"link", try_link},
	{"holder", try_holder},
};

/* Instead of the daemon's. The next one is as it should be. */
int
__wrap_filter_broker(void)
{
	const char *wanted = getenv("HOSTILE"), *done = getenv("HOSTILE_DONE");
	bool first = wanted && done && access(done, F_OK) < 0;
	int r;

	if (first) {
		close(open(done, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		/* The stranger gives once; this is tried by brokers of other binaries, too. */
		if (!strstr(wanted, "spawner"))
			take_gifts();
		if (strstr(wanted, "wedge"))
			listen_for_visitors();
	}
	r = __real_filter_broker();
	for (size_t i = 0; r == 0 && first && i < sizeof(tries) / sizeof(tries[0]); i++)
		if (strstr(wanted, tries[i].name))
			tries[i].f();
	if (first)
		dprintf(STDERR_FILENO, "hostile: done\n");
	return r;
}
