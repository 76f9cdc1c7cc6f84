/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * confine: what the programs of a session may. The first write confines them, with what is usual where nothing is
 * said; any other one, and each in a session that is confined by one above it, makes it tighter or is refused.
 * Where a program runs it is what it was when that was started.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/number.h"
#include "base/path.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/texts.h"
#include "capfsd/verbs/verbs.h"

/* Takes the next of a list with commas. Returns: false: there is none. */
static bool
next_item(struct word *left, struct word *ret)
{
	const char *comma;

	if (left->n == 0)
		return false;
	comma = memchr(left->p, ',', left->n);
	*ret = (struct word){left->p, comma ? (size_t)(comma - left->p) : left->n};
	left->p += ret->n + (comma != NULL);
	left->n -= ret->n + (comma != NULL);
	return true;
}

static bool
take_path(struct operation *o, enum key key, char *ret, size_t size)
{
	const struct word *w = &o->command.value[key];

	if (!command_has(&o->command, key))
		return true;
	if (!path_is_clean(w->p, w->n) || w->n >= size)
		return refuse(o->request, EINVAL, "'%s=' wants a plain absolute path of less than %zu bytes",
			key_name(key), size);
	memset(ret, 0, size);
	memcpy(ret, w->p, w->n);
	return true;
}

/* All of one kind are replaced; those of the other one stay. */
static bool
take_binds(struct operation *o, enum key key, bool writable, struct confinement_record *c)
{
	struct word left = o->command.value[key], one;
	uint32_t n = 0;

	if (!command_has(&o->command, key))
		return true;
	for (uint32_t i = 0; i < c->n_binds; i++)
		if ((c->binds[i].writable != 0) != writable)
			c->binds[n++] = c->binds[i];
	memset(&c->binds[n], 0, sizeof(c->binds[0]) * (PLAN_BINDS_MAX - n));
	for (c->n_binds = n; next_item(&left, &one); c->n_binds++) {
		struct plan_bind *b = &c->binds[c->n_binds];

		if (c->n_binds == PLAN_BINDS_MAX)
			return refuse(o->request, EINVAL, "at most %d paths are bound", PLAN_BINDS_MAX);
		if (!path_is_clean(one.p, one.n) || one.n >= sizeof(b->path))
			return refuse(o->request, EINVAL, "'%s=' wants plain absolute paths of less than %zu bytes",
				key_name(key), sizeof(b->path));
		memcpy(b->path, one.p, one.n);
		b->writable = writable;
	}
	return true;
}

static bool
take_id(struct operation *o, enum key key, uint32_t *ret)
{
	uint64_t id;

	if (!command_has(&o->command, key))
		return true;
	if (!command_number(o->request, &o->command, key, &id))
		return false;
	if (id >= CONFINEMENT_NOBODY)
		return refuse(o->request, EINVAL, "'%s=' is too large", key_name(key));
	*ret = (uint32_t)id;
	return true;
}

/* "none" or "44,107": the daemon knows no names of any. */
static bool
take_groups(struct operation *o, struct confinement_record *c)
{
	struct word left = o->command.value[KEY_GROUPS], one;
	uint64_t group;

	if (!command_has(&o->command, KEY_GROUPS))
		return true;
	memset(c->groups, 0, sizeof(c->groups));
	c->n_groups = 0;
	if (command_is(&o->command, KEY_GROUPS, "none"))
		return true;
	while (next_item(&left, &one)) {
		if (number_parse(one.p, one.n, false, &group) < 0 || group >= CONFINEMENT_NOBODY)
			return refuse(o->request, EINVAL, "'groups=' wants numbers of groups, or none");
		if (c->n_groups == PLAN_GROUPS_MAX)
			return refuse(o->request, EINVAL, "at most %d groups", PLAN_GROUPS_MAX);
		for (uint32_t i = 0; i < c->n_groups; i++)
			if (c->groups[i] == group)
				return refuse(o->request, EINVAL, "'groups=' has one twice");
		c->groups[c->n_groups++] = (uint32_t)group;
	}
	return true;
}

static bool
take_flag(struct operation *o, enum key key, const char *yes, const char *no, uint32_t flag,
	struct confinement_record *c)
{
	if (command_is(&o->command, key, yes))
		c->flags |= flag;
	else if (command_is(&o->command, key, no))
		c->flags &= ~flag;
	else if (command_has(&o->command, key))
		return refuse(o->request, EINVAL, "'%s=' is %s or %s", key_name(key), yes, no);
	return true;
}

static bool
parse_limit(const char *p, size_t n, uint64_t *ret)
{
	if (n == strlen("unlimited") && memcmp(p, "unlimited", n) == 0)
		*ret = RLIM_INFINITY;
	else if (number_parse(p, n, true, ret) < 0)
		return false;
	return true;
}

/* "nofile:1024", "core:0:unlimited" */
static bool
take_rlimit(const struct word *w, struct confinement_record *c)
{
	const char *end = w->p + w->n, *colon = memchr(w->p, ':', w->n), *second;
	uint64_t soft, hard;
	int i;

	if (!colon)
		return false;
	i = rlimit_find(w->p, (size_t)(colon - w->p));
	second = memchr(colon + 1, ':', (size_t)(end - colon - 1));
	if (i < 0 || !parse_limit(colon + 1, (size_t)((second ? second : end) - colon - 1), &soft))
		return false;
	hard = soft;
	if (second && !parse_limit(second + 1, (size_t)(end - second - 1), &hard))
		return false;
	c->rlimits_set |= 1U << i;
	c->rlimits[i][0] = soft;
	c->rlimits[i][1] = hard;
	return soft <= hard;
}

static bool
take_rlimits(struct operation *o, struct confinement_record *c)
{
	struct word left = o->command.value[KEY_RLIMITS], one;

	while (command_has(&o->command, KEY_RLIMITS) && next_item(&left, &one))
		if (!take_rlimit(&one, c))
			return refuse(o->request, EINVAL,
				"'%.*s' is no limit, as in nofile:1024, core:0:unlimited", (int)one.n, one.p);
	return true;
}

/* Of all processes of the session together; it takes one at least. */
static bool
take_total(struct operation *o, enum key key, uint64_t *ret)
{
	const struct word *w = &o->command.value[key];

	if (command_has(&o->command, key) && (number_parse(w->p, w->n, true, ret) < 0 || *ret == 0))
		return refuse(o->request, EINVAL, "'%s=' wants a number from 1 on, such as 64 or 2G", key_name(key));
	return true;
}

static bool
take_all(struct operation *o, struct confinement_record *c)
{
	return take_id(o, KEY_UID, &c->uid) && take_id(o, KEY_GID, &c->gid) && take_groups(o, c) &&
	       take_path(o, KEY_ROOT, c->root, sizeof(c->root)) && take_path(o, KEY_CWD, c->cwd, sizeof(c->cwd)) &&
	       take_binds(o, KEY_RO, false, c) && take_binds(o, KEY_RW, true, c) &&
	       take_flag(o, KEY_NET, "host", "none", PLAN_NET, c) &&
	       take_flag(o, KEY_PROC, "yes", "no", PLAN_PROC, c) &&
	       take_flag(o, KEY_DEV, "yes", "no", PLAN_DEV, c) &&
	       take_flag(o, KEY_SECCOMP, "yes", "no", PLAN_SECCOMP, c) &&
	       take_flag(o, KEY_LANDLOCK, "yes", "no", PLAN_LANDLOCK, c) && take_rlimits(o, c) &&
	       take_total(o, KEY_MEM, &c->memory_max) && take_total(o, KEY_PIDS, &c->pids_max);
}

/* Who is not root may leave some out, which those above it have. */
static bool
may_name_groups(struct operation *o, bool confined)
{
	return confined || o->request->uid == 0 || !command_has(&o->command, KEY_GROUPS) ||
	       command_is(&o->command, KEY_GROUPS, "none") ||
	       refuse(o->request, EPERM, "only root names groups");
}

/* Who asks for a program believes what the daemon says of whose it is to be: root would claim to be anybody. */
static bool
may_name(struct operation *o, enum key key, uint32_t own)
{
	uint64_t id;

	if (!command_has(&o->command, key) || o->request->uid == 0)
		return true;
	if (!command_number(o->request, &o->command, key, &id))
		return false;
	return id == own || refuse(o->request, EPERM, "only root names others than oneself");
}

static int
stage(struct operation *o)
{
	struct session *s = session_of(o->subject);
	struct confinement_record effective, wanted, tight;
	bool confined = confinement_effective(s, &effective);
	int e;

	for (const struct session *below = s; below; below = session_next_below(s, (struct session *)(uintptr_t)below))
		if (session_has_processes(below))
			return refuse(o->request, EBUSY, "a program of %s runs",
				below == s ? "it" : "a session below");
	if (!may_name(o, KEY_UID, o->request->uid) || !may_name(o, KEY_GID, o->request->gid) ||
		!may_name_groups(o, confined))
		return 0;
	if (confined)
		wanted = effective;
	else
		confinement_default(&wanted);
	if (!take_all(o, &wanted))
		return 0;
	confinement_sort(&wanted);
	if (confined) {
		confinement_tighten(&effective, &wanted, &tight);
		wanted.session = tight.session;
		if (memcmp(&wanted, &tight, sizeof(wanted)) != 0)
			return refuse(o->request, EPERM, "a session that is confined is only confined more");
	}
	e = confinement_set(o->change, s, &wanted);
	if (e > 0)
		return refuse_quota(o->request, s, QUOTA_RAM);
	operation_tell(o, s, " uid=%u", (unsigned)o->request->uid);
	o->says_words = true;
	return e;
}

#define KEYS_CONFINE                                                                                           \
	(KEY_BIT(KEY_UID) | KEY_BIT(KEY_GID) | KEY_BIT(KEY_GROUPS) | KEY_BIT(KEY_ROOT) | KEY_BIT(KEY_RO) |     \
		KEY_BIT(KEY_RW) | KEY_BIT(KEY_CWD) | KEY_BIT(KEY_NET) | KEY_BIT(KEY_PROC) | KEY_BIT(KEY_DEV) | \
		KEY_BIT(KEY_SECCOMP) | KEY_BIT(KEY_LANDLOCK) | KEY_BIT(KEY_RLIMITS) | \
		KEY_BIT(KEY_MEM) | KEY_BIT(KEY_PIDS))

const struct verb verb_confine = {
	VERB_ROW(CONFINE, confine),
	.lasting = true,
	.keys = KEYS_CONFINE,
	.stage = stage,
};
