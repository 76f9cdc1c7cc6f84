/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * It gives nothing away before it knows for whom: the kernel's word comes first, with HELLO. Of what the plan
 * says root looks at the numbers and at the session's path, which has no other characters than names have;
 * all other paths are for the session's own user to look up.
 */
#include "config.h"

#include "spawner/doorman.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spawner/birth.h"
#include "spawner/hello.h"
#include "spawner/init.h"
#include "spawner/mounts.h"
#include "spawner/namespace.h"
#include "spawner/self.h"

#define TITLE "capfs-doorman"

static int
become(const struct process_plan *p, uint32_t n_groups)
{
	int r = p->uid == 0 ? 0 : self_bound();

	if (r < 0)
		return r;
	if (setgroups(n_groups, p->groups) < 0 || setresgid(p->gid, p->gid, p->gid) < 0 ||
		setresuid(p->uid, p->uid, p->uid) < 0)
		return -errno;
	/* Once more, as somebody who is not root: it must not be possible. */
	return p->uid != 0 && setresuid(0, 0, 0) == 0 ? -EPERM : 0;
}

/* What is left in the client's queue goes with this process, which may take long: not as root. */
static void __attribute__((noreturn))
turn_away(struct birth *b, int step, int error)
{
	(void)become(&b->plan, 0);
	birth_fail(b, step, error);
	_exit(EXIT_FAILURE);
}

/* The session's directory as a mount of its own, in no namespace yet. */
static int
open_session(const struct birth *b)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	const char *session = *b->plan.session ? b->plan.session : ".";
	cleanup_close int mount = open(b->place->mount, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int directory = -1;

	if (mount < 0)
		return -errno;
	mounts_refresh(mount, session);
	directory = (int)syscall(SYS_openat2, mount, session, &how, sizeof(how));
	return directory < 0 ? -errno : mounts_clone(directory, "", false);
}

static void __attribute__((noreturn))
be_confined(struct birth *b, int tree, const int go[2])
{
	const int more[] = {tree, go[0]};
	char byte;

	birth_begin(b, more, 2);
	/* Without its maps it is nobody. */
	if (read(go[0], &byte, 1) != 1)
		_exit(EXIT_FAILURE);
	close(go[0]);
	namespace_enter_given(b, tree);
	init_main(b, NULL);
}

static void __attribute__((noreturn))
make_confined(struct birth *b)
{
	int go[2], tree = open_session(b), r;
	char process[16];
	pid_t pid;

	if (tree < 0)
		birth_fail(b, STEP_CAP, -tree);
	if (pipe2(go, O_CLOEXEC) < 0)
		birth_fail(b, STEP_NS, errno);
	/* Inside nobody can. */
	if (setgroups(b->plan.n_groups, b->plan.groups) < 0)
		birth_fail(b, STEP_UID, errno);
	if (b->ret_pid)
		__atomic_store_n(b->ret_pid, BIRTH_COMING, __ATOMIC_RELEASE);
	pid = namespace_fork(&b->plan, -1, b->ret_pid);
	if (pid < 0)
		birth_fail(b, STEP_NS, errno);
	if (pid == 0)
		be_confined(b, tree, go);
	snprintf(process, sizeof(process), "%d", (int)pid);
	r = namespace_write_maps(-1, process, &b->plan);
	if (r < 0)
		turn_away(b, STEP_NS, -r);
	if (write(go[1], "", 1) != 1)
		_exit(EXIT_FAILURE);
	_exit(EXIT_SUCCESS);
}

/*
 * What a service of root's has that no user's process should be given: its keys, and being the last one
 * killed.
 */
static void
leave_root_behind(void)
{
	cleanup_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	(void)!write(fd, "0", 1);
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

void
doorman_main(struct birth *b)
{
	sigset_t none;
	int step, r;

	birth_begin(b, NULL, 0);
	prctl(PR_SET_NAME, TITLE);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	leave_root_behind();
	r = hello_peek(b->launch, b->reports, &b->plan, &step);
	if (r != 0)
		turn_away(b, step, r);
	if (b->plan.flags & PLAN_CONFINED) {
		hello_set_deadline(HELLO_SEC);
		make_confined(b);
	}
	r = become(&b->plan, b->plan.n_groups);
	if (r < 0)
		birth_fail(b, STEP_UID, -r);
	init_main(b, NULL);
}
