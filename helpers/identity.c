/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls of the kernel's own are used where the C library would change every thread, or where libcap
 * would be needed for two bits. SO_PEERCRED has the effective ids, files are checked with those of the file
 * system: that is how one process is two.
 */
#include "config.h"

#include "helpers/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/number.h"
#include "helpers/message.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#define GROUPS_MAX 65536 /* NGROUPS_MAX of Linux */
#define OVERFLOW_UID 65534
#define MAP_BYTES 4096
#define CAPABILITIES (UINT32_C(1) << CAP_SETUID | UINT32_C(1) << CAP_SETGID)

/* --- who it is to be ------------------------------------------------------------------------------- */

/* Room for N of them, and one at least. */
static int
make_room(struct identity *i, size_t n)
{
	gid_t *groups = reallocarray(i->groups, n + 1, sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	i->groups = groups;
	return 0;
}

static int
add_group(struct identity *i, const char *name)
{
	const struct group *g = getgrnam(name);
	uint64_t gid;

	if (!g && (number_parse(name, strlen(name), false, &gid) < 0 || gid >= UINT32_MAX)) {
		message("there is no group '%s'", name);
		return -EINVAL;
	}
	if (make_room(i, i->n_groups) < 0)
		return -ENOMEM;
	i->groups[i->n_groups++] = g ? g->gr_gid : (gid_t)gid;
	return 0;
}

/* "GROUP,…". The first one is that of the files it may reach as well: with --as-caller no other is. */
static int
add_groups(struct identity *i, char *list)
{
	size_t first = i->n_groups;
	char *rest = list;
	int r = 0;

	for (char *name; r == 0 && (name = strsep(&rest, ","));)
		r = add_group(i, name);
	if (r == 0)
		i->gid = i->groups[first];
	return r;
}

static int
find_user(struct identity *i, const char *name)
{
	const struct passwd *pw = getpwnam(name);
	uint64_t uid;
	int n = GROUPS_MAX;

	if (!pw && number_parse(name, strlen(name), false, &uid) == 0 && uid < UINT32_MAX)
		pw = getpwuid((uid_t)uid);
	if (!pw) {
		message("there is no user '%s'%s", name,
			strcmp(name, IDENTITY_USER) == 0
				? ", whom root becomes here (systemd-sysusers makes it, or useradd --system "
				  "--no-create-home --shell /usr/sbin/nologin " IDENTITY_USER
				  "): or name one by --user=USER"
				: "");
		return -EINVAL;
	}
	if (pw->pw_uid == 0 && !i->lend_root) {
		message("--user=%s would make every client root at the server: that is --lend-root", name);
		return -EINVAL;
	}
	i->uid = pw->pw_uid;
	i->gid = pw->pw_gid;
	if (make_room(i, GROUPS_MAX) < 0)
		return -ENOMEM;
	if (getgrouplist(pw->pw_name, pw->pw_gid, i->groups, &n) >= 0)
		i->n_groups = (size_t)n;
	return make_room(i, i->n_groups);
}

static int
find_self(struct identity *i)
{
	int n = getgroups(0, NULL);

	if (n < 0 || make_room(i, (size_t)n) < 0 || getgroups(n, i->groups) != n)
		return -ENOMEM;
	i->n_groups = (size_t)n;
	i->uid = geteuid();
	i->gid = getegid();
	return 0;
}

static bool
have_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[0].permitted & CAPABILITIES) == CAPABILITIES;
}

static uid_t
overflow_uid(void)
{
	cleanup_close int fd = open("/proc/sys/kernel/overflowuid", O_RDONLY | O_CLOEXEC);
	char text[16] = {};
	uint64_t uid;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n > 0 && text[n - 1] == '\n')
		n--;
	return n > 0 && number_parse(text, (size_t)n, false, &uid) == 0 ? (uid_t)uid : OVERFLOW_UID;
}

int
identity_init(struct identity *i, const struct identity_options *o)
{
	cleanup_free char *user = strdup(o->user ? o->user : "");
	char *groups = user ? strchr(user, ':') : NULL;
	bool root = geteuid() == 0;
	int r;

	*i = (struct identity){
		.for_others = o->for_others,
		.as_caller = o->as_caller,
		.lend_root = o->lend_root || !o->for_others,
		.overflow_uid = overflow_uid(),
	};
	if (!user)
		return -ENOMEM;
	if (groups)
		*groups++ = '\0';
	if (!root && o->user) {
		message("--user=%s can only be had by root", o->user);
		return -EPERM;
	}
	if (o->as_caller && !have_capabilities()) {
		message("--as-caller takes root, or CAP_SETUID and CAP_SETGID");
		return -EPERM;
	}
	if (*user || (root && !i->lend_root))
		r = find_user(i, *user ? user : IDENTITY_USER);
	else
		r = find_self(i);
	if (r == 0 && groups)
		r = add_groups(i, groups);
	i->changes = root && (i->uid != 0 || groups);
	if (r == -ENOMEM)
		message("--user: ENOMEM");
	return r;
}

void
identity_deinit(struct identity *i)
{
	free(i->groups);
	*i = (struct identity){};
}

/* --- taking it ----------------------------------------------------------------------------------- */

/* Two capabilities, or none. */
static int
keep_capabilities(uint32_t which)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct data[2] = {{.effective = which, .permitted = which}};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/*
 * The kernel forgets at each change of users that this process is to end with its parent. Returns: 0, -errno;
 * does not return when it has missed that.
 */
static int
end_with_parent(const struct identity *i)
{
	if (!i->parent_signal)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, i->parent_signal, 0, 0, 0) < 0)
		return -errno;
	if (getppid() != i->parent)
		raise(i->parent_signal);
	return 0;
}

static int
become(const struct identity *i)
{
	if (setgroups(i->n_groups, i->groups) < 0 || setresgid(i->gid, i->gid, i->gid) < 0 ||
		setresuid(i->uid, i->uid, i->uid) < 0)
		return -errno;
	/* Once more, as somebody who is not root: it must not be possible. */
	return i->uid != 0 && !i->as_caller && setresuid(0, 0, 0) == 0 ? -EPERM : 0;
}

int
identity_take(struct identity *i)
{
	int r = 0;

	prctl(PR_GET_PDEATHSIG, &i->parent_signal, 0, 0, 0);
	i->parent = getppid();
	if (i->for_others && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	/* They outlive the change of users, and each visit to root: identity_leave() raises them again. */
	if (r == 0 && i->as_caller && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && i->changes)
		r = become(i);
	if (r == 0 && i->as_caller)
		r = keep_capabilities(CAPABILITIES);
	if (r == 0)
		r = end_with_parent(i);
	if (r < 0)
		message("to become uid %u: %s", (unsigned)i->uid, error_name(r));
	return r;
}

/* --- as the caller --------------------------------------------------------------------------------- */

/* Returns: its length, 0: it cannot be read. */
static size_t
read_map(const char *path, char map[MAP_BYTES])
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, map, MAP_BYTES);

	return n > 0 ? (size_t)n : 0;
}

/*
 * The user 0 of another namespace is not root here, though it may have the same number. The maps of two
 * processes of one namespace are the same; the pidfd tells that it was this process whose map was read.
 */
static bool
is_of_our_namespace(const struct capc_caller *caller)
{
	char path[40], theirs[MAP_BYTES], ours[MAP_BYTES];
	struct pollfd p = {.fd = caller->pidfd, .events = POLLIN};
	size_t n, n_ours;

	if (caller->pidfd < 0 || caller->pid <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)caller->pid);
	n = read_map(path, theirs);
	n_ours = read_map("/proc/self/uid_map", ours);
	return n > 0 && n == n_ours && memcmp(ours, theirs, n) == 0 && poll(&p, 1, 0) == 0;
}

const char *
identity_refuses(const struct identity *i, const struct capc_caller *caller)
{
	if (!i->as_caller)
		return NULL;
	if (caller->uid == (uid_t)-1 || caller->gid == (gid_t)-1 || caller->uid == i->overflow_uid)
		return "nobody knows its user";
	if (caller->uid == 0 && !is_of_our_namespace(caller))
		return "it is not known to be root of this user namespace";
	return NULL;
}

/* What the kernel noted when the client connected; a pair that the daemon has made tells of the daemon. */
static size_t
peer_groups(int fd, uid_t uid, gid_t **ret)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	*ret = NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 || cred.uid != uid)
		return 0;
	n = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &n) == 0 || errno != ERANGE)
		return 0;
	*ret = malloc(n);
	if (*ret && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, *ret, &n) == 0)
		return n / sizeof(gid_t);
	return 0;
}

int
identity_enter(const struct identity *i, int client_fd, uid_t uid, gid_t gid)
{
	cleanup_free gid_t *groups = NULL;
	size_t n;
	int r = 0;

	if (!i->as_caller)
		return 0;
	n = peer_groups(client_fd, uid, &groups);
	if (syscall(SYS_setgroups, n, groups) < 0 || syscall(SYS_setresgid, -1, gid, -1) < 0 ||
		syscall(SYS_setresuid, -1, uid, -1) < 0)
		r = -errno;
	/* Files are reached as the relay. */
	setfsgid(i->gid);
	setfsuid(i->uid);
	if (r < 0)
		identity_leave(i);
	return r;
}

/* Whoever has been root has lost them with that, but for KEEPCAPS; the groups need one again. */
void
identity_leave(const struct identity *i)
{
	if (!i->as_caller)
		return;
	if (syscall(SYS_setresuid, -1, i->uid, -1) == 0 && keep_capabilities(CAPABILITIES) == 0 &&
		syscall(SYS_setresgid, -1, i->gid, -1) == 0 &&
		syscall(SYS_setgroups, i->n_groups, i->groups) == 0 && end_with_parent(i) == 0)
		return;
	message("cannot become uid %u again: %s", (unsigned)i->uid, error_name(-errno));
	_exit(1);
}
