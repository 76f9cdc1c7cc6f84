/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon's processes take away from themselves: names and privilege; system calls are
 * filter.c's. Each function acts on the calling process alone, for good, and owns nothing. It is
 * called by a child before it reads the first byte of anybody: what a hostile client can make a
 * process do is bounded by what was left to it here.
 */
#include "config.h"

#include "capfsd/process/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capfsd/process/boot.h"
#include "capfsd/process/filter.h"

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
 * What the keeper needs, and each of its children until it has dropped it: to mount and to look for
 * a lazy way out of it (SYS_ADMIN), to make children of the daemon's user (SETUID, SETGID, SETPCAP)
 * and to end them (KILL), to give that user the state's directory (CHOWN), and to get through
 * directories that are shut to root as to anybody else (DAC_READ_SEARCH). capfsd.service has the
 * same list.
 */
static const int keeper_capabilities[] = {
	CAP_SYS_ADMIN,
	CAP_SETUID,
	CAP_SETGID,
	CAP_SETPCAP,
	CAP_CHOWN,
	CAP_KILL,
	CAP_DAC_READ_SEARCH,
};

static uint64_t
keeper_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < sizeof(keeper_capabilities) / sizeof(keeper_capabilities[0]); i++)
		mask |= UINT64_C(1) << keeper_capabilities[i];
	return mask;
}

/*
 * Those that are not in MASK leave the bounding set, so that no program has them which is executed
 * later. Only CAP_SETPCAP allows that. The kernel says EINVAL of capabilities that it does not
 * have.
 */
static int
bound_capabilities(uint64_t mask)
{
	for (int capability = 0; capability < 64; capability++)
		if (!(mask & UINT64_C(1) << capability) &&
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
			return -errno;
	return 0;
}

/*
 * Also those that an ordinary user's process may have been given. A kernel without an ambient set
 * says EINVAL, and has none to clear.
 */
static int
keep_capabilities(uint64_t mask)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(mask >> 32 * i);
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/*
 * The order matters: the bounding set can be reduced only with CAP_SETPCAP, groups and gid only
 * while the uid is root's, so the uid goes last. All three ids of each are set, or the saved one
 * would lead back.
 */
static int
drop_user(const struct boot *boot)
{
	int r = bound_capabilities(0);

	if (r < 0)
		return r;
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
		r = keep_capabilities(0);
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
 * A user's keeper runs fusermount3, to mount and at its end again: with no_new_privs that
 * set-user-ID program would have no privilege. It has no capability to lose. The filter stays over
 * execve(2), so that one more for each upgrade would make every system call dearer.
 */
int
confine_keeper(struct boot *boot)
{
	int r;

	if (!boot->privileged)
		return 0;
	r = bound_capabilities(keeper_mask());
	if (r == 0)
		r = keep_capabilities(keeper_mask());
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r < 0 ? r : confine_family(boot);
}

int
confine_family(struct boot *boot)
{
	int r = boot->filtered ? 0 : filter_family();

	boot->filtered = r == 0;
	return r;
}
