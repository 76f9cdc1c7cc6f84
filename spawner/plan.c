/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker may be anybody who has taken over the daemon's: each number is a bound before it is used as one,
 * and each text ends where its room does.
 */
#include "config.h"

#include "spawner/plan.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/path.h"

#define ALL_FLAGS                                                                         \
	(PLAN_CONFINED | PLAN_NET | PLAN_PROC | PLAN_DEV | PLAN_SECCOMP | PLAN_LANDLOCK | \
		PLAN_NO_PRIVS)
#define SESSIONS "sessions/"

#define ENDS(text) (memchr((text), '\0', sizeof(text)) != NULL)

static bool
is_name_character(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

bool
plan_session_is_valid(const char *session)
{
	const char *s = session;

	while (*s) {
		if (strncmp(s, SESSIONS, strlen(SESSIONS)) != 0)
			return false;
		s += strlen(SESSIONS);
		if (*s == '.' || !is_name_character(*s))
			return false;
		while (is_name_character(*s))
			s++;
		if (*s && (*s++ != '/' || !*s))
			return false;
	}
	return true;
}

static bool
is_path_or_none(const char *path)
{
	return !*path || path_is_clean(path, strlen(path));
}

/* A session has a /proc and a /cap of its own, which nothing else takes the place of. */
static bool
is_bindable(const char *path)
{
	static const char *const own[] = {"/proc", "/cap"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (path_is_below(path, own[i]))
			return false;
	return path_is_clean(path, strlen(path));
}

static bool
texts_are_valid(const struct process_plan *p)
{
	if (!ENDS(p->session) || !ENDS(p->root) || !ENDS(p->cwd))
		return false;
	for (size_t i = 0; i < PLAN_BINDS_MAX; i++)
		if (!ENDS(p->binds[i].path) || (i < p->n_binds && !is_bindable(p->binds[i].path)))
			return false;
	return plan_session_is_valid(p->session) && is_path_or_none(p->root) &&
	       (is_path_or_none(p->cwd) || strcmp(p->cwd, "/") == 0);
}

static bool
limits_are_valid(const struct process_plan *p)
{
	if (p->rlimits_set >> PLAN_RLIMITS)
		return false;
	for (size_t i = 0; i < PLAN_RLIMITS; i++)
		if (p->rlimits_set & 1U << i && p->rlimits[i][0] > p->rlimits[i][1])
			return false;
	return true;
}

static int
check_user(const struct process_plan *p, const struct plan_scope *scope)
{
	if (p->uid == (uid_t)-1 || p->gid == (gid_t)-1)
		return -EINVAL;
	if ((p->uid == 0 || p->gid == 0) && !scope->root)
		return -EPERM;
	if (!scope->others && (p->uid != scope->uid || p->gid != scope->gid))
		return -EPERM;
	/* Its user namespace would have root of this one in it, who owns the files of the system. */
	return p->uid == 0 && p->flags & PLAN_CONFINED ? -EPERM : 0;
}

static int
check_groups(const struct process_plan *p, const struct plan_scope *scope)
{
	for (uint32_t i = 0; i < p->n_groups; i++) {
		if (p->groups[i] == (gid_t)-1 || (i > 0 && p->groups[i] <= p->groups[i - 1]))
			return -EINVAL;
		if (p->groups[i] == 0 && !scope->root)
			return -EPERM;
	}
	return 0;
}

static int
check_flags(const struct process_plan *p)
{
	if (p->flags & ~(uint32_t)ALL_FLAGS)
		return -EINVAL;
	if (!(p->flags & PLAN_CONFINED))
		return p->flags & ~(uint32_t)PLAN_NO_PRIVS || p->n_binds > 0 || *p->root ? -EINVAL : 0;
	/* Abstract sockets belong to the network: nothing but Landlock keeps from those of the host. */
	return p->flags & PLAN_NET && !(p->flags & PLAN_LANDLOCK) ? -EOPNOTSUPP : 0;
}

int
plan_decode(const void *data, size_t n, const struct plan_scope *scope, struct process_plan *ret)
{
	struct process_plan p;
	int r;

	if (n < sizeof(p))
		return -EINVAL;
	memcpy(&p, data, sizeof(p));
	if (p.n_groups > PLAN_GROUPS_MAX || p.n_binds > PLAN_BINDS_MAX || !texts_are_valid(&p) ||
		!limits_are_valid(&p))
		return -EINVAL;
	r = check_flags(&p);
	if (r == 0)
		r = check_user(&p, scope);
	if (r == 0)
		r = check_groups(&p, scope);
	if (r == 0)
		*ret = p;
	return r;
}

static bool
is_below(const char *session, const char *above)
{
	size_t n = strlen(above);

	return n == 0 ? *session : strncmp(session, above, n) == 0 && session[n] == '/';
}

static uint64_t
lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* 0 is no limit. */
static uint64_t
lower_if_any(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

int
plan_inherit(struct process_plan *p, const struct process_plan *above)
{
	if (!is_below(p->session, above->session))
		return -EINVAL;
	p->flags |= above->flags & (PLAN_SECCOMP | PLAN_LANDLOCK | PLAN_NO_PRIVS);
	for (size_t i = 0; i < PLAN_RLIMITS; i++) {
		uint64_t *own = p->rlimits[i];
		bool is_set = p->rlimits_set & 1U << i;

		if (!(above->rlimits_set & 1U << i))
			continue;
		own[1] = is_set ? lower(own[1], above->rlimits[i][1]) : above->rlimits[i][1];
		own[0] = lower(is_set ? own[0] : above->rlimits[i][0], own[1]);
	}
	p->rlimits_set |= above->rlimits_set;
	p->memory_max = lower_if_any(p->memory_max, above->memory_max);
	p->pids_max = lower_if_any(p->pids_max, above->pids_max);
	p->cpu_usec = lower_if_any(p->cpu_usec, above->cpu_usec);
	return 0;
}

bool
plan_shares_limits(const struct process_plan *p, const struct process_plan *above)
{
	return p->memory_max == above->memory_max && p->pids_max == above->pids_max &&
	       p->cpu_usec == above->cpu_usec;
}

/*
 * Who is not root has the groups that he has: he can neither give others nor take these away, and in a namespace
 * whose map has none of them nobody could show that he may be of one.
 */
bool
plan_groups_can_be(const struct process_plan *p, const struct plan_scope *scope, const struct process_plan *above)
{
	return (p->n_groups == 0 || scope->others) && (!above || above->n_groups == 0);
}
