/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Namespaces and Landlock are what confines; this closes what they leave: ways around them (io_uring), ways
 * to have capabilities again (user namespaces), and parts of the kernel that few programs need and many bugs
 * were in. All else is allowed, as nobody knows what programs there will be.
 *
 * The numbers of Landlock are written out, since headers are often older than the kernel.
 */
#include "config.h"

#include "spawner/restrict.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spawner/raw.h"

/* --- system calls ---------------------------------------------------------------------------------- */

CLEANUP_DEFINE(scmp_filter_ctx, seccomp_release)

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif
#ifdef __s390__
#define CLONE_FLAGS 1 /* the argument of clone(2) that has them */
#else
#define CLONE_FLAGS 0
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define LOW_HALF 0xffffffff /* of a number of which the kernel looks at no more */

static const int refused[] = {
	/* around what sees system calls, or into other processes */
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(userfaultfd),
	/* other namespaces, roots and mounts */
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(chroot),
	SCMP_SYS(pivot_root),
	SCMP_SYS(mount),
	SCMP_SYS(umount),
	SCMP_SYS(umount2),
	SCMP_SYS(open_tree),
	SCMP_SYS(move_mount),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	/* the kernel's own */
	SCMP_SYS(acct),
	SCMP_SYS(add_key),
	SCMP_SYS(bpf),
	SCMP_SYS(delete_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(init_module),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(kexec_load),
	SCMP_SYS(keyctl),
	SCMP_SYS(lookup_dcookie),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(quotactl),
	SCMP_SYS(reboot),
	SCMP_SYS(request_key),
	SCMP_SYS(swapoff),
	SCMP_SYS(swapon),
	SCMP_SYS(syslog),
	SCMP_SYS(vhangup),
};

struct refusal {
	int call, error;
	unsigned n;
	struct scmp_arg_cmp args[2];
};

/* clang-format off */
#define HAS(argument, mask, value) {(argument), SCMP_CMP_MASKED_EQ, (mask), (value)}
#define IS_NOT(argument, value) {(argument), SCMP_CMP_NE, (value), 0}
#define CLONE(flag) {SCMP_SYS(clone), EPERM, 1, {HAS(CLONE_FLAGS, (flag), (flag))}}
/* clang-format on */

static const struct refusal refused_with[] = {
	CLONE(CLONE_NEWUSER),
	CLONE(CLONE_NEWNS),
	CLONE(CLONE_NEWPID),
	CLONE(CLONE_NEWNET),
	CLONE(CLONE_NEWIPC),
	CLONE(CLONE_NEWUTS),
	CLONE(CLONE_NEWCGROUP),
	/* Its flags stand where no filter sees them. Who is told that there is none takes clone(2). */
	{SCMP_SYS(clone3), ENOSYS, 0, {}},
	/* Words for the terminal of the one who started us. */
	{SCMP_SYS(ioctl), EPERM, 1, {HAS(1, LOW_HALF, TIOCSTI)}},
	{SCMP_SYS(ioctl), EPERM, 1, {HAS(1, LOW_HALF, TIOCLINUX)}},
	/* Limits of others, who have the same user: the init and the programs of a session. */
	{SCMP_SYS(prlimit64), EPERM, 2, {IS_NOT(0, 0), IS_NOT(2, 0)}},
	/* When the init runs, by its number or as one of its user: who starves it holds the end of the session. */
	{SCMP_SYS(sched_setscheduler), EPERM, 1, {HAS(0, LOW_HALF, 1)}},
	{SCMP_SYS(sched_setparam), EPERM, 1, {HAS(0, LOW_HALF, 1)}},
	{SCMP_SYS(sched_setattr), EPERM, 1, {HAS(0, LOW_HALF, 1)}},
	{SCMP_SYS(sched_setaffinity), EPERM, 1, {HAS(0, LOW_HALF, 1)}},
	{SCMP_SYS(setpriority), EPERM, 1, {HAS(1, LOW_HALF, 1)}},
	{SCMP_SYS(setpriority), EPERM, 1, {HAS(0, LOW_HALF, PRIO_USER)}},
	{SCMP_SYS(ioprio_set), EPERM, 1, {HAS(1, LOW_HALF, 1)}},
	{SCMP_SYS(ioprio_set), EPERM, 1, {HAS(0, LOW_HALF, IOPRIO_WHO_USER)}},
};

static int
refuse_family(scmp_filter_ctx filter, enum scmp_compare how, int family)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
		SCMP_A0(how, (scmp_datum_t)family));
}

/* Local sockets and the internet's stay. What is greater than these is so by its upper half as well. */
static int
refuse_families(scmp_filter_ctx filter)
{
	int r = refuse_family(filter, SCMP_CMP_GT, AF_INET6);

	for (int family = AF_INET + 1; r == 0 && family < AF_INET6; family++)
		r = refuse_family(filter, SCMP_CMP_EQ, family);
	return r;
}

static int
add_rules(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(refused) / sizeof(refused[0]); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	for (size_t i = 0; r == 0 && i < sizeof(refused_with) / sizeof(refused_with[0]); i++) {
		const struct refusal *s = &refused_with[i];

		r = seccomp_rule_add_array(
			filter, SCMP_ACT_ERRNO((uint32_t)s->error), s->call, s->n, s->args);
	}
	return r < 0 ? r : refuse_families(filter);
}

/* The library writes to a file only, in all its versions. */
static int export(scmp_filter_ctx filter, struct restrict_filter *ret)
{
	cleanup_close int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(filter, fd);
	if (r < 0)
		return r;
	n = pread(fd, ret->instructions, sizeof(ret->instructions), 0);
	if (n < 0)
		return -errno;
	ret->n = (size_t)n / sizeof(ret->instructions[0]);
	return ret->n > 0 && ret->n < RESTRICT_FILTER_MAX ? 0 : -E2BIG;
}

static int
make_calls(struct restrict_filter *ret)
{
	cleanup(seccomp_release_p) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -ENOMEM;
	/*
	 * Calls of other architectures, also of x32, have other numbers, and would pass for what they are
	 * not.
	 */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = add_rules(filter);
	return r < 0 ? r : export(filter, ret);
}

/* To ask takes its time: nobody is asked about what is not opened as a socket would be, nearly all of it. */
static int
make_opens(struct restrict_filter *ret)
{
	cleanup(seccomp_release_p) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	const scmp_datum_t mask = O_ACCMODE | O_TRUNC | O_EXCL | O_PATH | O_DIRECTORY;
	int r;

	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(open), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, mask, O_RDWR));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, mask, O_RDWR));
	return r < 0 ? r : export(filter, ret);
}

/* Of a kernel without notifications the library does not know them. */
int
restrict_make_filters(struct restrict_filters *ret)
{
	if (make_opens(&ret->opens) < 0)
		ret->opens.n = 0;
	return make_calls(&ret->calls);
}

static long
set_filter(const struct restrict_filter *filter, unsigned flags)
{
	const struct sock_fprog f = {
		.len = (unsigned short)filter->n,
		.filter = (struct sock_filter *)filter->instructions,
	};

	return raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &f);
}

int
restrict_calls(const struct restrict_filter *filter)
{
	return (int)-set_filter(filter, 0);
}

/* Yama lets only a parent look into a process, or nobody, where its number is not 0. */
static bool
may_be_looked_into(void)
{
	long fd = raw(SYS_openat, AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC, 0);
	char digit = '0';

	if (fd < 0)
		return true;
	raw(SYS_read, fd, &digit, 1);
	raw(SYS_close, fd);
	return digit == '0';
}

/* A signal does not take back what was asked, else each of a service's connections could be one of several. */
int
restrict_opens(const struct restrict_filter *filter, int *ret_listener)
{
	long r;

	if (filter->n == 0 || !may_be_looked_into())
		return EOPNOTSUPP;
	r = raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (r == 0)
		r = set_filter(filter, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	if (r < 0)
		return r == -EINVAL ? EOPNOTSUPP : (int)-r;
	*ret_listener = (int)r;
	return 0;
}

/* --- Landlock -------------------------------------------------------------------------------------- */

#define VERSION_FLAG 1
#define RULE_PATH_BENEATH 1
#define RIGHTS_TO_EXECUTE 5 /* and to read: else the kernel does not open it for that */
#define SCOPES 3	    /* abstract sockets, signals */

/* How many rights on files each version has, from the first on; later ones have no more. */
static const unsigned char rights[] = {13, 14, 15, 15, 16};
#define RIGHTS_VERSION_MAX 5
#define SCOPES_VERSION 6

struct attributes {
	uint64_t files, network, scoped;
};

struct beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

static long
version(void)
{
	return raw(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);
}

bool
restrict_has_scopes(void)
{
	return version() >= SCOPES_VERSION;
}

/* Older kernels refuse attributes that they do not have. */
static long
make_ruleset(long v, uint64_t files)
{
	const struct attributes a = {.files = files, .scoped = v >= SCOPES_VERSION ? SCOPES : 0};
	size_t n = v >= SCOPES_VERSION ? sizeof(a) : sizeof(a.files);

	return raw(SYS_landlock_create_ruleset, &a, n, 0);
}

/* Files without a place, such as memfd_create(2) makes, cannot be named, and need not be. */
static long
add_rule(long ruleset, long file, uint64_t allowed)
{
	const struct beneath rule = {.allowed = allowed, .parent = (int32_t)file};
	long r = raw(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);

	return r == -EBADFD ? 0 : r;
}

int
restrict_files(int program)
{
	long v = version(), fd, root, r;
	uint64_t all;

	if (v < 1)
		return v == 0 || v == -ENOSYS ? EOPNOTSUPP : (int)-v;
	all = (UINT64_C(1) << rights[v > RIGHTS_VERSION_MAX ? RIGHTS_VERSION_MAX - 1 : v - 1]) - 1;
	fd = make_ruleset(v, all);
	if (fd < 0)
		return (int)-fd;
	r = root = raw(SYS_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0);
	if (root >= 0) {
		r = add_rule(fd, root, all);
		raw(SYS_close, root);
	}
	if (r == 0 && program >= 0)
		r = add_rule(fd, program, RIGHTS_TO_EXECUTE);
	if (r == 0)
		r = raw(SYS_landlock_restrict_self, fd, 0);
	raw(SYS_close, fd);
	return (int)-r;
}
