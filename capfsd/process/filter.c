/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which system calls each process of the daemon may still make (seccomp(2)), and whom the broker
 * may reach (landlock(7)). Both are for good, also over execve(2): the processes that never become
 * another program name what they need, and all else is refused. Keeper and holder become binaries
 * of which this one knows nothing, so that theirs names what no version may ever do, and no more
 * than capfsd.service refuses as well.
 *
 * A call that is missing in a list fails with EPERM in use: what a new version of a library calls
 * must be added. Each refusal is told to the kernel's log, as it is a bug of ours or an attack.
 */
#include "config.h"

#include "capfsd/process/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <systemd/sd-id128.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/process/pidfd.h"

CLEANUP_DEFINE(scmp_filter_ctx, seccomp_release)

#define SOCK_TYPE_BITS 0xf /* of socket(2)'s type: the rest are flags */
#define NAMESPACES                                                                    \
	(CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | \
		CLONE_NEWUSER | CLONE_NEWUTS)

#ifdef __s390__
#define CLONE_FLAGS 1 /* the argument of clone(2) that has them */
#else
#define CLONE_FLAGS 0
#endif

/* The arguments with which a call is allowed, or refused: all that stand in one line. */
struct rule {
	int call;
	unsigned n;
	struct scmp_arg_cmp args[2];
};

/* clang-format off */
#define COUNT(...) sizeof((struct scmp_arg_cmp[]){__VA_ARGS__}) / sizeof(struct scmp_arg_cmp)
#define WITH(name, ...) {SCMP_SYS(name), COUNT(__VA_ARGS__), {__VA_ARGS__}}
#define IS(argument, value) {(argument), SCMP_CMP_EQ, (scmp_datum_t)(value), 0}
#define IS_NOT(argument, value) {(argument), SCMP_CMP_NE, (scmp_datum_t)(value), 0}
#define HAS(argument, mask, value) {(argument), SCMP_CMP_MASKED_EQ, (mask), (value)}
/* clang-format on */

struct calls {
	const int *all; /* with any arguments */
	size_t n_all;
	const struct rule *some;
	size_t n_some;
	const struct calls *more; /* and these; or NULL */
};

#define CALLS(a, s, more)                                                          \
	{                                                                          \
		a, sizeof(a) / sizeof((a)[0]), s, sizeof(s) / sizeof((s)[0]), more \
	}

/* What broker and binder both need: sockets that are there, the log, memory, time, and themselves. */
static const int process_calls[] = {
	SCMP_SYS(write), /* the log */
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(fstat64),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recv),
	SCMP_SYS(sendmsg),
	SCMP_SYS(send),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getpeername),
	SCMP_SYS(listen), /* the broker: again, with another backlog */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(brk),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getppid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigreturn),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/*
 * Nothing becomes executable; a message goes to whom its socket is connected with; an option is one of
 * sockets as such, since what a client sends may be of any protocol.
 */
static const struct rule process_rules[] = {
	WITH(mmap, HAS(2, PROT_EXEC, 0)),
	WITH(mmap2, HAS(2, PROT_EXEC, 0)),
	WITH(mprotect, HAS(2, PROT_EXEC, 0)),
	WITH(sendto, IS(4, 0)),
	WITH(setsockopt, IS(1, SOL_SOCKET)),
};

static const struct calls process = CALLS(process_calls, process_rules, NULL);

/*
 * All that a broker needs once it serves, also in libfuse, LMDB, libsystemd and the C library, on
 * every architecture: some are there under two names.
 */
static const int broker_calls[] = {
	/* descriptors that are there, and their duplicates */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(sendfile),
	SCMP_SYS(sendfile64),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(fallocate),
	SCMP_SYS(ftruncate),
	SCMP_SYS(ftruncate64),
	SCMP_SYS(fchmod),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fsync),
	/* sockets: pairs and what is accepted or sent to us, none made */
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(getsockname),
	/* the event loop */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_settime64),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(eventfd2),
	SCMP_SYS(memfd_create),
	/* memory and time */
	SCMP_SYS(msync),
	SCMP_SYS(clock_getres),
	SCMP_SYS(sched_yield),
	/* itself */
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrlimit),
};

/*
 * Pairs are of the two kinds that know only each other. Of fcntl(2), F_SETOWN and F_SETSIG would send
 * any signal to any process of the daemon's user. prlimit(2) may touch nobody else.
 */
static const struct rule broker_rules[] = {
	WITH(socketpair, IS(0, AF_UNIX), HAS(1, SOCK_TYPE_BITS, SOCK_STREAM)),
	WITH(socketpair, IS(0, AF_UNIX), HAS(1, SOCK_TYPE_BITS, SOCK_SEQPACKET)),
	WITH(prlimit64, IS(2, 0)),
#define FCNTL(command) WITH(fcntl, IS(1, command)), WITH(fcntl64, IS(1, command))
	FCNTL(F_DUPFD),
	FCNTL(F_DUPFD_CLOEXEC),
	FCNTL(F_GETFD),
	FCNTL(F_SETFD),
	FCNTL(F_GETFL),
	FCNTL(F_SETFL),
	FCNTL(F_GETLK),
	FCNTL(F_SETLK),
	FCNTL(F_SETLKW),
	FCNTL(F_ADD_SEALS),
	FCNTL(F_GET_SEALS),
	WITH(ioctl, IS(1, PIDFD_STATUS_REQUEST)),
	WITH(ioctl, IS(1, FIONREAD)),
};

/*
 * The binder makes listeners where it stands, removes their names there, and forks inspectors, who
 * give up more. It has no way to open, to connect, or to go elsewhere.
 */
static const int binder_calls[] = {
	SCMP_SYS(bind),
	SCMP_SYS(unlink),
	SCMP_SYS(fork),
	SCMP_SYS(wait4),
	SCMP_SYS(waitpid),
	SCMP_SYS(waitid),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(seccomp),
	SCMP_SYS(clock_nanosleep_time64),
};

static const struct rule binder_rules[] = {
	WITH(socket, IS(0, AF_UNIX), HAS(1, SOCK_TYPE_BITS, SOCK_STREAM)),
	WITH(socket, IS(0, AF_UNIX), HAS(1, SOCK_TYPE_BITS, SOCK_SEQPACKET)),
	WITH(socketpair, IS(0, AF_UNIX)),
	WITH(unlinkat, IS(2, 0)),
	WITH(fcntl, IS(1, F_GETFL)),
	WITH(fcntl64, IS(1, F_GETFL)),
	WITH(fcntl, IS(1, F_GET_SEALS)),
	WITH(fcntl64, IS(1, F_GET_SEALS)),
	WITH(statx, IS(2, AT_EMPTY_PATH | AT_STATX_DONT_SYNC)),
	WITH(getdents64, IS(2, 0)),
	WITH(clone, HAS(CLONE_FLAGS, NAMESPACES, 0)),
	WITH(prctl, IS(0, PR_SET_NAME)),
	WITH(prctl, IS(0, PR_SET_PDEATHSIG)),
	WITH(prctl, IS(0, PR_SET_SECCOMP)),
	WITH(prctl, IS(0, PR_SET_NO_NEW_PRIVS)),
};

/*
 * What it takes to look at a descriptor, to reply and to end; the binder, whose filter it has besides,
 * must be allowed it, too. There is no read(2) and no write(2): a descriptor of a client's may be any file
 * of any file system, and is never used.
 */
static const int inspector_calls[] = {
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recv),
	SCMP_SYS(sendmsg),
	SCMP_SYS(fcntl),
	SCMP_SYS(fcntl64),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getpeername),
	SCMP_SYS(shutdown),
	SCMP_SYS(close),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static const struct rule inspector_rules[] = {
	WITH(sendto, IS(4, 0)),
	WITH(setsockopt, IS(1, SOL_SOCKET), IS(2, SO_PASSCRED)),
	WITH(statx, IS(2, AT_EMPTY_PATH | AT_STATX_DONT_SYNC)),
	WITH(getdents64, IS(2, 0)),
};

/*
 * What neither keeper nor holder, nor any program that they become, has a use for: other processes'
 * memory, the kernel's own, its clock, other namespaces, other roots, files by handle, keys, and
 * programs for the kernel to run. What both need, to mount, to execute, to fork, stays.
 */
static const int family_calls[] = {
	SCMP_SYS(acct),
	SCMP_SYS(add_key),
	SCMP_SYS(adjtimex),
	SCMP_SYS(bpf),
	SCMP_SYS(chroot),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_settime64),
	SCMP_SYS(create_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(init_module),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(ioperm),
	SCMP_SYS(iopl),
	SCMP_SYS(kcmp),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(kexec_load),
	SCMP_SYS(keyctl),
	SCMP_SYS(lookup_dcookie),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(nfsservctl),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(personality),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pivot_root),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(ptrace),
	SCMP_SYS(quotactl),
	SCMP_SYS(reboot),
	SCMP_SYS(request_key),
	SCMP_SYS(setdomainname),
	SCMP_SYS(sethostname),
	SCMP_SYS(setns),
	SCMP_SYS(settimeofday),
	SCMP_SYS(stime),
	SCMP_SYS(swapoff),
	SCMP_SYS(swapon),
	SCMP_SYS(syslog),
	SCMP_SYS(unshare),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(vhangup),
};

/* A program that is executed maps its text, but never what it can write as well. */
static const struct rule family_rules[] = {
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWCGROUP, CLONE_NEWCGROUP)),
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWIPC, CLONE_NEWIPC)),
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWNET, CLONE_NEWNET)),
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWNS, CLONE_NEWNS)),
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWPID, CLONE_NEWPID)),
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWUSER, CLONE_NEWUSER)),
	WITH(clone, HAS(CLONE_FLAGS, CLONE_NEWUTS, CLONE_NEWUTS)),
	WITH(pkey_mprotect, HAS(2, PROT_EXEC, PROT_EXEC)),
	WITH(shmat, HAS(2, SHM_EXEC, SHM_EXEC)),
	WITH(mmap, HAS(2, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE)),
	WITH(mmap2, HAS(2, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE)),
	WITH(mprotect, HAS(2, PROT_EXEC, PROT_EXEC)),
	WITH(socket, IS_NOT(0, AF_UNIX)),
};

static const struct calls broker = CALLS(broker_calls, broker_rules, &process);
static const struct calls binder = CALLS(binder_calls, binder_rules, &process);
static const struct calls inspector = CALLS(inspector_calls, inspector_rules, NULL);
static const struct calls family = CALLS(family_calls, family_rules, NULL);

static int
add_rules(scmp_filter_ctx filter, uint32_t action, const struct calls *calls)
{
	int r = calls->more ? add_rules(filter, action, calls->more) : 0;

	for (size_t i = 0; r == 0 && i < calls->n_all; i++)
		r = seccomp_rule_add(filter, action, calls->all[i], 0);
	for (size_t i = 0; r == 0 && i < calls->n_some; i++)
		r = seccomp_rule_add_array(
			filter, action, calls->some[i].call, calls->some[i].n, calls->some[i].args);
	return r;
}

#ifdef HAVE_SANITIZERS
#define IS_FILTERED false
#else
#define IS_FILTERED true
#endif

/*
 * When a rule cannot be added nothing is loaded, and the caller must end: a process that was meant
 * to be confined never runs without. MAY_ABORT: it may send signals to itself alone, which is what
 * abort(3) needs. Programs built with sanitizers make other calls, in threads and in /proc, and
 * would fail at the first: they have no filter.
 */
static int
load(uint32_t otherwise, uint32_t action, const struct calls *calls, bool may_abort)
{
	cleanup(seccomp_release_p) scmp_filter_ctx filter = seccomp_init(otherwise);
	int r;

	if (!IS_FILTERED)
		return 0;
	if (!filter)
		return -ENOMEM;
	if (seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1) < 0)
		log_message(LOG_DEBUG, "refused system calls are not logged by this kernel");
	/*
	 * A tree of comparisons and no list, as the filter runs at each system call. Libraries that
	 * do not know of it make a list, which is slower and as good.
	 */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = add_rules(filter, action, calls);
	/* Its flags stand where no filter sees them. Who is told that there is none takes clone(2). */
	if (r == 0 && otherwise == SCMP_ACT_ALLOW)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0 && may_abort)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (r == 0)
		r = seccomp_load(filter);
	return r < 0 ? error_trace(r) : 0;
}

static int
allow(const struct calls *calls, bool may_abort)
{
	return load(SCMP_ACT_ERRNO(EPERM), SCMP_ACT_ALLOW, calls, may_abort);
}

/*
 * A message can name whom it is for, in memory that no filter sees, and the journal's socket and
 * systemd's are of the kind that lets it. Landlock keeps it from abstract names of others, and
 * signals from everybody outside, from Linux 6.12 on; what is connected already stays. Older
 * kernels have no such thing, which is no reason not to serve.
 */
static int
scope(void)
{
	const struct {
		uint64_t access_fs, access_net, scoped;
	} attributes = {.scoped = 1 /* abstract sockets */ | 2 /* signals */};
	cleanup_close int fd = -1;

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* the version */) < 6)
		return 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return error_trace(-errno);
	return 0;
}

/*
 * What libraries read once and keep, while files can still be opened: the zone, for the times of
 * log lines, and the id of the boot, from which libsystemd takes when timers are to fall due
 * together.
 */
static void
read_ahead(void)
{
	sd_id128_t boot;

	tzset();
	(void)sd_id128_get_boot(&boot);
}

int
filter_broker(void)
{
	int r = scope();

	read_ahead();
	return r < 0 ? r : allow(&broker, true);
}

int
filter_binder(void)
{
	read_ahead();
	return allow(&binder, true);
}

int
filter_inspector(void)
{
	return allow(&inspector, false);
}

int
filter_family(void)
{
	return load(SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM), &family, false);
}
