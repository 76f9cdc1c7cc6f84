/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user namespace makes the rest possible for anybody, and is where the same code serves root and users:
 * all that is built here is built with capabilities that mean nothing outside. It has one user, who is the
 * same inside and outside, and that one's groups; no other number is mapped, and nobody inside changes groups.
 */
#include "config.h"

#include "spawner/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "spawner/birth.h"
#include "spawner/mounts.h"
#include "spawner/root.h"
#include "spawner/self.h"

/* That of control groups is made from within, as it begins where who makes it is. */
#define NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)

pid_t
namespace_fork(const struct process_plan *plan, int cgroup, uint32_t *ret_pid)
{
	struct clone_args a = {
		.flags = NAMESPACES | (plan->flags & PLAN_NET ? 0 : CLONE_NEWNET),
		.exit_signal = SIGCHLD,
	};

	if (cgroup >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cgroup;
	}
	if (ret_pid) {
		a.flags |= CLONE_PARENT | CLONE_PARENT_SETTID;
		a.parent_tid = (uint64_t)(uintptr_t)ret_pid;
		a.exit_signal = 0; /* as ours */
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

/* A file of PROCESS in a /proc, which is at PROC; -1: at its usual place. */
static int
write_file(int proc, const char *process, const char *name, const char *text)
{
	char path[48];
	cleanup_close int fd = -1;

	snprintf(path, sizeof(path), "%s%s/%s", proc < 0 ? "/proc/" : "", process, name);
	fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

#define MAP_LINE_BYTES 32

static size_t
add_line(char *map, size_t n, uint32_t id)
{
	return n + (size_t)snprintf(map + n, MAP_LINE_BYTES, "%u %u 1\n", id, id);
}

/* By whoever has no privilege outside only the first is written, and only where setgroups is denied. */
int
namespace_write_maps(int proc, const char *process, const struct process_plan *plan)
{
	char map[(PLAN_GROUPS_MAX + 1) * MAP_LINE_BYTES];
	size_t n = add_line(map, 0, plan->gid);
	int r;

	for (uint32_t i = 0; i < plan->n_groups; i++)
		if (plan->groups[i] != plan->gid)
			n = add_line(map, n, plan->groups[i]);
	r = write_file(proc, process, "setgroups", "deny");
	if (r == 0)
		r = write_file(proc, process, "gid_map", map);
	if (r < 0)
		return r;
	add_line(map, 0, plan->uid);
	return write_file(proc, process, "uid_map", map);
}

/* One's own files of /proc are root's, who is somebody else, unless one can be traced. */
static int
write_own_maps(const struct birth *b)
{
	int proc = b->place->proc_fd, r;

	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	r = namespace_write_maps(proc, "self", &b->plan);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return r;
}

static int
drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};

	int r = self_bound();

	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/*
 * For sessions below that are made from here, which write their maps there, and find their children. Where
 * none can be mounted, as in a container, there will be no confined ones below.
 */
static void
keep_proc(struct birth *b)
{
	static const char *const no_options[] = {NULL};

	fd_close(b->place->proc_fd);
	b->place->proc_fd = b->plan.flags & PLAN_PROC ? -1 : mounts_new("proc", no_options, 0);
}

static void
enter(struct birth *b, int tree)
{
	int step, r;

	if (unshare(CLONE_NEWCGROUP) < 0)
		birth_fail(b, STEP_NS, errno);
	keep_proc(b);
	r = root_make(&b->plan, tree, &step);
	if (r < 0)
		birth_fail(b, step, -r);
	close(tree);
	r = drop_capabilities();
	if (r < 0)
		birth_fail(b, STEP_CAPS, -r);
	snprintf(b->place->mount, sizeof(b->place->mount), "/cap");
	memcpy(b->place->session, b->plan.session, sizeof(b->place->session));
}

/* The session's directory by its path, which is known from the one that is mounted here. */
static int
open_session(const struct birth *b)
{
	char path[PATH_MAX + PLAN_SESSION_BYTES + 1];
	const char *session = b->plan.session + strlen(b->place->session);

	snprintf(path, sizeof(path), "%s/%s", b->place->mount, session);
	mounts_refresh(AT_FDCWD, path);
	return mounts_clone(AT_FDCWD, path, false);
}

void
namespace_enter_own(struct birth *b)
{
	int r, tree;

	birth_begin(b, NULL, 0);
	r = write_own_maps(b);
	if (r < 0)
		birth_fail(b, STEP_NS, -r);
	tree = open_session(b);
	if (tree < 0)
		birth_fail(b, STEP_CAP, -tree);
	enter(b, tree);
}

/* Inside, where it has the capabilities for that, and keeps them, as this changes from nobody to somebody. */
void
namespace_enter_given(struct birth *b, int tree)
{
	const struct process_plan *p = &b->plan;

	if (setresgid(p->gid, p->gid, p->gid) < 0 || setresuid(p->uid, p->uid, p->uid) < 0)
		birth_fail(b, STEP_UID, errno);
	enter(b, tree);
}
