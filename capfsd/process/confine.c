/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon's processes take away from themselves: names, privilege, system calls. Each
 * function acts on the calling process alone, for good, and owns nothing. It is called by a child
 * before it reads the first byte of anybody: what a hostile client can make a process do is bounded
 * by what was left to it here.
 */
#include "config.h"

#include "capfsd/process/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/process/boot.h"

CLEANUP_DEFINE(scmp_filter_ctx, seccomp_release)

/*
 * Only strings that lie behind each other are one piece of memory; a caller of execve(2) is free to
 * have passed others, and writing over what is between them would destroy the environment.
 */
void
confine_argv(struct boot *boot, int argc, char *argv[])
{
	char *end = argv[0];

	for (int i = 0; i < argc && argv[i] == end; i++)
		end = argv[i] + strlen(argv[i]) + 1;
	boot->title = argv[0];
	boot->n_title = (size_t)(end - argv[0]);
}

/*
 * A name that does not fit into the memory of argv is left out there: ps then shows the old one,
 * and the short name that the kernel keeps is right all the same.
 */
void
confine_title(const struct boot *boot, const char *name)
{
	size_t n = strlen(name);

	prctl(PR_SET_NAME, name);
	if (!boot->title || n >= boot->n_title)
		return;
	memset(boot->title, 0, boot->n_title);
	memcpy(boot->title, name, n);
}

int
confine_tie(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	/*
	 * It may have ended before the kernel knew that we want to be told. We would then live on
	 * for ever, with a mount or a binder's socket that nobody else has.
	 */
	return getppid() == parent ? 0 : -ESRCH;
}

/*
 * Also those that an ordinary user's process may have been given. A kernel without an ambient set
 * says EINVAL, and has none to clear.
 */
static int
drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/*
 * The order matters: the bounding set can be reduced only with CAP_SETPCAP, groups and gid only
 * while the uid is root's, so the uid goes last. All three ids of each are set, or the saved one
 * would lead back. The kernel says EINVAL of capabilities that it does not have.
 */
static int
drop_user(const struct boot *boot)
{
	for (int capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
			return -errno;
	if (setgroups(0, NULL) < 0)
		return -errno;
	if (setresgid(boot->daemon_gid, boot->daemon_gid, boot->daemon_gid) < 0)
		return -errno;
	if (setresuid(boot->daemon_uid, boot->daemon_uid, boot->daemon_uid) < 0)
		return -errno;
	return 0;
}

int
confine_drop(const struct boot *boot, pid_t parent)
{
	int r = 0;

	if (boot->privileged)
		r = drop_user(boot);
	if (r == 0)
		r = drop_capabilities();
	if (r < 0)
		return r;
	/*
	 * The first is what the kernel asks of who loads a filter without privilege. The second
	 * keeps other processes of the daemon's user from tracing this one, and from its files in
	 * /proc.
	 */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return confine_tie(parent);
}

/*
 * All that a broker needs once it serves, also in libfuse, LMDB, libsystemd and the C library, on
 * every architecture: some are there under two names. A call that is missing here fails with EPERM
 * in use, so what a new library version calls must be added.
 */
static const int allowed_calls[] = {
	/* descriptors that are there, and their duplicates */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(sendfile),
	SCMP_SYS(sendfile64),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(fcntl64),
	SCMP_SYS(fstat),
	SCMP_SYS(fstat64),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(fallocate),
	SCMP_SYS(ftruncate),
	SCMP_SYS(ftruncate64),
	SCMP_SYS(fchmod),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fsync),
	/* sockets: pairs and what is accepted or sent to us, none made */
	SCMP_SYS(socketpair),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recv),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(send),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(listen), /* again, with another backlog */
	/* the event loop */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_settime64),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(eventfd2),
	SCMP_SYS(memfd_create),
	/* memory and time */
	SCMP_SYS(brk),
	SCMP_SYS(mmap),
	SCMP_SYS(mmap2),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(msync),
	SCMP_SYS(futex),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(sched_yield),
	SCMP_SYS(restart_syscall),
	/* itself */
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getppid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrlimit),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigreturn),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/*
 * Calls that are harmless with some arguments only: mprotect(2) may not make anything executable,
 * prlimit(2) may touch nobody else, and a signal may go to this process alone, which is what
 * abort(3) needs.
 */
static int
allow_with_arguments(scmp_filter_ctx filter)
{
	int r;

	r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return r;
}

/*
 * What it takes to look at a descriptor, to reply and to end. There is no read(2) and no write(2):
 * a descriptor of a client's may be any file of any file system, and is never used.
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

/*
 * Everything that is not named fails with EPERM. When a rule cannot be added nothing is loaded, and
 * the caller must end: a process that was meant to be confined never runs without.
 */
static int
load_filter(const int *calls, size_t n, int (*more)(scmp_filter_ctx filter))
{
	cleanup(seccomp_release_p) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = 0;

	if (!filter)
		return -ENOMEM;
	/* A refused call is a bug of ours or an attack: the kernel's log tells which. */
	if (seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1) < 0)
		log_message(LOG_DEBUG, "refused system calls are not logged by this kernel");
	/*
	 * A tree of comparisons and no list, as the filter runs at each system call. Libraries that
	 * do not know of it make a list, which is slower and as good.
	 */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	if (r == 0 && more)
		r = more(filter);
	if (r == 0)
		r = seccomp_load(filter);
	return r < 0 ? error_trace(r) : 0;
}

/*
 * Programs built with sanitizers make other calls, in threads and in /proc, and would fail at the
 * first.
 */
static bool
is_filtered(const struct boot *boot)
{
#ifdef HAVE_SANITIZERS
	return false;
#else
	return boot->privileged;
#endif
}

int
confine_filter_inspector(const struct boot *boot)
{
	if (!is_filtered(boot))
		return 0;
	return load_filter(inspector_calls, sizeof(inspector_calls) / sizeof(inspector_calls[0]), NULL);
}

int
confine_filter(const struct boot *boot)
{
	/*
	 * Log lines tell the local time, and its zone can be read only while files can still be
	 * opened.
	 */
	tzset();
	if (!is_filtered(boot))
		return 0;
	return load_filter(allowed_calls, sizeof(allowed_calls) / sizeof(allowed_calls[0]),
		allow_with_arguments);
}
