/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What runs in the half-started program. Its descriptors are its own, its memory is the
 * init's: it writes to its arena and to its stack, which lies there too. A descriptor of the client's arrives
 * at the number at which it stays, since all numbers before it are taken and all behind are free; so none is
 * copied and none is closed, which for a file of a stranger may take for ever.
 *
 * What may run more than once is kept by a process of its own, the starter, which got it in the same way and has
 * memory of its own. Each time it makes a process that is the init's child, as all programs are, so that its
 * death takes none with it. Init and starter speak by the arena.
 */
#include "config.h"

#include "spawner/starting.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "spawner/hello.h"
#include "spawner/raw.h"
#include "spawner/restrict.h"
#include "spawner/self.h"

#define CLONE_RETRY_MSEC 200

static void __attribute__((noreturn))
leave(void)
{
	for (;;)
		raw(SYS_exit_group, 127);
}

static void
tell_client(const struct program_arena *a, int step, int error)
{
	const struct process_answer answer = {.step = step, .error = error};

	if (a->run > 0)
		return;
	raw(SYS_sendto, a->launch, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

/*
 * The broker is told by the init, which sees us end and then finds the reason here. The client waits for the end of the
 * pair, which is not to come behind that of its own files.
 */
static void __attribute__((noreturn))
fail(struct program_arena *a, int error)
{
	__atomic_store_n(&a->error, error, __ATOMIC_RELEASE);
	tell_client(a, a->step, error);
	raw(SYS_close, a->launch);
	leave();
}

static void
enter(struct program_arena *a, int step)
{
	__atomic_store_n(&a->step, step, __ATOMIC_RELEASE);
}

/*
 * Closing comes first of all: one of those that we have copies of is the client's end of our own pair, and
 * while we had it we would wait for a client that has gone.
 */
static void
begin(struct program_arena *a)
{
	const char default_action[64] = {};
	const uint64_t no_signals = 0;
	int kept[] = {a->launch, a->reports, a->openers};

	raw_close_all_but(kept, 3);
	raw(SYS_rt_sigaction, SIGPIPE, default_action, NULL, sizeof(no_signals));
	raw(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, sizeof(no_signals));
	hello_set_deadline(HELLO_SEC);
}

static void
say_hello(struct program_arena *a)
{
	int r = 0, step = STEP_HELLO;

	if (!a->has_hello)
		r = hello_receive(a->launch, a->all->plan, &a->hello, &step);
	enter(a, step);
	if (r != 0)
		fail(a, r);
}

/* Only above its limit is a number invalid. */
static int
raise_fd(struct program_arena *a, int fd)
{
	long r = raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, a->hello.n_fds);

	if (r < 0)
		fail(a, EMFILE);
	return (int)r;
}

/* The pairs go to numbers above all that the client sends. */
static void
make_room(struct program_arena *a)
{
	int kept[3];

	enter(a, STEP_PLACE);
	kept[0] = a->launch = raise_fd(a, a->launch);
	kept[1] = a->reports = raise_fd(a, a->reports);
	kept[2] = a->openers = a->hello.flags & HELLO_OPEN_SOCKETS ? raise_fd(a, a->openers) : -1;
	raw_close_all_but(kept, 3);
}

/* Those that have come are to be the next ones. Returns: how many. */
static uint32_t
count_fds(struct program_arena *a, const struct msghdr *m, uint32_t next)
{
	const struct cmsghdr *c = m->msg_controllen > 0 ? CMSG_FIRSTHDR(m) : NULL;
	uint32_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	/* There is room for an even number. */
	if (n > a->hello.n_fds - next)
		fail(a, EBADMSG);
	for (uint32_t i = 0; i < n; i++)
		if (((const int *)(const void *)CMSG_DATA(c))[i] != (int)(next + i))
			fail(a, EBADMSG);
	return n;
}

/* Returns: the number of bytes that have come. */
static uint32_t
receive_packet(struct program_arena *a, uint32_t n_bytes, uint32_t *n_fds)
{
	char byte;
	uint32_t n_left = a->hello.n_bytes - n_bytes, room = a->hello.n_fds - *n_fds;
	struct iovec iov = {
		.iov_base = n_left > 0 ? a->bytes + n_bytes : &byte,
		.iov_len = n_left > 0 ? n_left : 1,
	};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	long n;

	if (room > HELLO_PACKET_FDS)
		room = HELLO_PACKET_FDS;
	if (room > 0) {
		m.msg_control = a->control;
		m.msg_controllen = CMSG_SPACE(room * sizeof(int));
	}
	do
		n = raw(SYS_recvmsg, a->launch, &m, 0);
	while (n == -EINTR);
	if (n <= 0)
		fail(a, n == 0 ? ECONNRESET : (int)-n);
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		fail(a, EBADMSG);
	*n_fds += count_fds(a, &m, *n_fds);
	return n_left > 0 ? (uint32_t)n : 0;
}

/*
 * A directory leads out of any root: by `..`, which nothing but Landlock bounds. What a file is, is known
 * here without asking whoever serves it.
 */
static void
refuse_directories(struct program_arena *a)
{
	struct statx st;

	for (uint32_t i = 0; i < a->hello.n_fds; i++) {
		long r = raw(SYS_statx, i, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st);

		if (r < 0 || S_ISDIR(st.stx_mode))
			fail(a, r < 0 ? (int)-r : EISDIR);
	}
}

static void
receive(struct program_arena *a)
{
	uint32_t n_bytes = 0, n_fds = 0;

	enter(a, STEP_FDS);
	while (n_bytes < a->hello.n_bytes || n_fds < a->hello.n_fds)
		n_bytes += receive_packet(a, n_bytes, &n_fds);
	refuse_directories(a);
	if (a->hello.flags & HELLO_EXEC_FD)
		raw(SYS_fcntl, a->hello.n_fds - 1, F_SETFD, FD_CLOEXEC);
}

/* Returns: what is behind the N strings that begin at S. */
static char *
split(struct program_arena *a, char *s, char **strings, uint32_t n)
{
	const char *end = a->bytes + a->hello.n_bytes;

	for (uint32_t i = 0; i < n; i++) {
		strings[i] = s;
		while (s < end && *s)
			s++;
		if (s == end)
			fail(a, EBADMSG);
		s++;
	}
	strings[n] = NULL;
	return s;
}

/* Nobody knows the number before us, and the program compares it with its own (sd_listen_fds(3)). */
static void
write_listen_pid(struct program_arena *a)
{
	static const char name[] = "LISTEN_PID=";
	char digits[20], *out = a->listen_pid + sizeof(name) - 1;
	long pid = raw(SYS_getpid);
	size_t n = 0;

	for (uint32_t i = 0; i < a->hello.envc; i++)
		if (strncmp(a->env[i], name, sizeof(name) - 1) == 0)
			a->env[i] = a->listen_pid;
	memcpy(a->listen_pid, name, sizeof(name) - 1);
	for (; pid > 0; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n > 0)
		*out++ = digits[--n];
	*out = '\0';
}

static void
take_words(struct program_arena *a)
{
	char *s = split(a, a->bytes, a->argv, a->hello.argc);

	s = split(a, s, a->env, a->hello.envc);
	if (s != a->bytes + a->hello.n_bytes)
		fail(a, EBADMSG);
}

static void
send_to_openers(struct program_arena *a, int listener)
{
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = a->control,
		.msg_controllen = CMSG_SPACE(sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	long r;

	*c = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	*(int *)(void *)CMSG_DATA(c) = listener;
	do
		r = raw(SYS_sendmsg, a->openers, &m, MSG_NOSIGNAL);
	while (r == -EINTR);
	if (r < 0)
		fail(a, (int)-r);
	raw(SYS_close, listener);
}

/* Before the limits, as it takes a number. What is opened here until the program executes is not asked about. */
static void
have_opens_asked(struct program_arena *a)
{
	int listener, r;

	if (!(a->hello.flags & HELLO_OPEN_SOCKETS))
		return;
	enter(a, STEP_SECCOMP);
	r = restrict_opens(&a->all->filters->opens, &listener);
	if (r != 0)
		fail(a, r);
	send_to_openers(a, listener);
}

static void
set_limits(struct program_arena *a)
{
	const struct process_plan *p = a->all->plan;
	long r = 0;

	enter(a, STEP_LIMITS);
	if (!(p->rlimits_set & 1U << RLIMIT_NOFILE))
		r = raw(SYS_prlimit64, 0, RLIMIT_NOFILE, &a->all->nofile, NULL);
	for (int i = 0; r == 0 && i < PLAN_RLIMITS; i++)
		if (p->rlimits_set & 1U << i)
			r = raw(SYS_prlimit64, 0, i, p->rlimits[i], NULL);
	if (r < 0)
		fail(a, (int)-r);
}

static void
go_to(struct program_arena *a, const char *directory)
{
	long r;

	enter(a, STEP_ROOT);
	r = *directory ? raw(SYS_chdir, directory) : 0;
	if (r < 0)
		fail(a, (int)-r);
}

static void
lock_files(struct program_arena *a)
{
	int r, program = a->hello.flags & HELLO_EXEC_FD ? (int)a->hello.n_fds - 1 : -1;

	enter(a, STEP_LANDLOCK);
	r = a->all->plan->flags & PLAN_LANDLOCK ? restrict_files(program) : 0;
	if (r != 0)
		fail(a, r);
}

/*
 * Whoever cannot be known to run does not. This waits for a broker that does not read, and nobody waits for
 * us.
 */
static void
announce(struct program_arena *a)
{
	const struct process_record running = {
		.type = PROCESS_RUNNING,
		.thread = a->thread,
		.session = a->session,
		.pid = (uint32_t)raw(SYS_getpid),
		.version = PROCESS_VERSION,
		.serial = a->run,
	};
	long n;

	enter(a, STEP_EXEC);
	hello_set_deadline(0);
	/* Before it is said, so that the init never says less than the broker knows. */
	__atomic_store_n(&a->runs, true, __ATOMIC_RELEASE);
	do
		n = raw(SYS_sendto, a->reports, &running, sizeof(running), MSG_NOSIGNAL, NULL, 0);
	while (n == -EINTR);
	/* The daemon is gone, and the init on its way out. */
	if (n < 0)
		fail(a, n == -EPIPE ? ECONNRESET : (int)-n);
	tell_client(a, STEP_NONE, 0);
}

static void
filter_calls(struct program_arena *a)
{
	int r;

	enter(a, STEP_SECCOMP);
	r = a->all->plan->flags & PLAN_SECCOMP ? restrict_calls(&a->all->filters->calls) : 0;
	if (r != 0)
		fail(a, r);
}

static void __attribute__((noreturn))
execute(struct program_arena *a)
{
	long r;

	enter(a, STEP_EXEC);
	if (a->hello.flags & HELLO_EXEC_FD) {
		r = raw(SYS_execveat, a->hello.n_fds - 1, "", a->argv, a->env, AT_EMPTY_PATH);
		/* A script: its interpreter would have to open a descriptor that it does not get. */
		if (r == -ENOENT)
			r = -ENOEXEC;
	} else {
		r = raw(SYS_execve, a->argv[0], a->argv, a->env);
	}
	fail(a, (int)-r);
}

/*
 * Of a bare session nobody else ends it when its init is killed: a spawner that came later is no parent of what is
 * left then. It is kept by execve(2), unless that gives privilege. An init that is gone already has sent nothing.
 */
static void
end_with_init(struct program_arena *a)
{
	raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	if (raw(SYS_getppid) != a->init)
		leave();
}

/* Its own descriptors and words come. */
static void
take_all(struct program_arena *a)
{
	begin(a);
	say_hello(a);
	make_room(a);
	receive(a);
	take_words(a);
}

static void __attribute__((noreturn))
become(struct program_arena *a)
{
	if (a->hello.flags & HELLO_LISTEN_PID)
		write_listen_pid(a);
	raw(SYS_setsid);
	end_with_init(a);
	have_opens_asked(a);
	set_limits(a);
	go_to(a, a->all->plan->cwd);
	lock_files(a);
	announce(a);
	filter_calls(a);
	execute(a);
}

int
starting_main(void *p)
{
	take_all(p);
	become(p);
}

/* --- in the starter -------------------------------------------------------------------------------- */

/*
 * There is no room for a process. What is kept stays: a crowd in its session is no reason to lose it. Only of the
 * first run the client is told, and then there is none.
 */
static void
say_none(struct program_arena *a, int error)
{
	const struct process_record failed = {
		.type = PROCESS_FAILED,
		.thread = a->thread,
		.session = a->session,
		.error = error,
		.step = STEP_FORK,
		.version = PROCESS_VERSION,
		.serial = a->run,
	};

	enter(a, STEP_FORK);
	if (a->run == 0)
		fail(a, error);
	__atomic_store_n(&a->error, error, __ATOMIC_RELEASE);
	while (send(a->reports, &failed, sizeof(failed), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* Room for one more process may come. */
static void
run_program(struct program_arena *a)
{
	const struct timespec pause = {.tv_nsec = CLONE_RETRY_MSEC * 1000000L};
	const uint64_t no_signals = 0;
	long pid = -EAGAIN;

	for (int n = 0; pid < 0 && n < HELLO_SEC * 1000 / CLONE_RETRY_MSEC; n++) {
		pid = raw(SYS_clone, CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, NULL, &a->child);
		if (pid < 0)
			nanosleep(&pause, NULL);
	}
	if (pid < 0)
		say_none(a, (int)-pid);
	if (pid != 0)
		return;
	raw(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, sizeof(no_signals));
	hello_set_deadline(HELLO_SEC);
	become(a);
}

/* The client is told that all has come, and the broker that it may be asked for. */
static void
announce_kept(struct program_arena *a)
{
	const struct process_record kept = {
		.type = PROCESS_STATE,
		.flags = PHASE_WAITING,
		.thread = a->thread,
		.session = a->session,
		.version = PROCESS_VERSION,
	};
	ssize_t n;

	/* Before it is said, as in announce(). */
	__atomic_store_n(&a->waits, true, __ATOMIC_RELEASE);
	do
		n = send(a->reports, &kept, sizeof(kept), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		fail(a, errno == EPIPE ? ECONNRESET : errno);
	tell_client(a, STEP_NONE, 0);
}

/* No signal of the session's user but SIGKILL and SIGSTOP reaches it. */
void
starting_keep(struct program_arena *a)
{
	const uint64_t all_signals = UINT64_MAX;

	take_all(a);
	hello_set_deadline(0);
	raw(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, NULL, sizeof(all_signals));
	self_title("capfs-starter", a->argv[0]);
	end_with_init(a);
	if (a->is_later)
		announce_kept(a);
	for (uint32_t run = 0;; run++) {
		if (run > 0 || !a->is_later)
			run_program(a);
		if (run == 0)
			close(a->launch);
		while (__atomic_load_n(&a->run, __ATOMIC_ACQUIRE) == run)
			raw(SYS_futex, &a->run, FUTEX_WAIT, run, NULL);
	}
}
