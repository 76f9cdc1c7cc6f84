/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mode bits: the kernel checks them, and the daemon never hears of whom they stop. Looked at are the directories
 * from / down to the slot's, since a slot's socket is as its directory is: it takes `x` of each of them, and `w` of
 * the last. The socket itself is left alone: whoever looks at it has the daemon listen there.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "capctl/owner.h"
#include "capctl/why/why.h"

#define GROUPS_MAX 1024
#define BITS_PASS 01
#define BITS_USE 03 /* a socket takes `w`, and its directory `x` */

struct asker {
	uid_t uid;
	gid_t groups[GROUPS_MAX];
	int n_groups;
	bool self; /* who runs this */
};

static int
asker_init(struct asker *a, const char *who)
{
	struct owner owner = OWNER_UNCHANGED;

	if (!who) {
		a->uid = geteuid();
		a->self = true;
		a->n_groups = getgroups(GROUPS_MAX - 1, a->groups);
		if (a->n_groups < 0)
			a->n_groups = 0;
		a->groups[a->n_groups++] = getegid();
		return 0;
	}
	if (owner_parse(who, &owner) != STATUS_DONE)
		return -EINVAL;
	a->uid = owner.uid;
	a->groups[a->n_groups++] = owner.gid == (gid_t)-1 ? (gid_t)owner.uid : owner.gid;
	return 0;
}

static bool
is_in_group(const struct asker *a, gid_t gid)
{
	for (int i = 0; i < a->n_groups; i++)
		if (a->groups[i] == gid)
			return true;
	return false;
}

/* The first of owner, group and others that fits decides, as in the kernel. */
static bool
may(const struct asker *a, const struct stat *st, unsigned bits)
{
	unsigned shift = st->st_uid == a->uid ? 6 : is_in_group(a, st->st_gid) ? 3 : 0;

	return a->uid == 0 || (st->st_mode >> shift & bits) == bits;
}

static void
add_user(uid_t uid, struct text *t)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		text_add(t, pw->pw_name);
	else
		text_addf(t, "%u", (unsigned)uid);
}

/* "you are root", "for you", "for ci" */
static void
add_asker(const struct asker *a, struct text *t)
{
	if (a->uid == 0) {
		text_add(t, a->self ? "you are root" : "root may");
		return;
	}
	text_add(t, "for ");
	if (a->self)
		text_add(t, "you");
	else
		add_user(a->uid, t);
}

/*
 * Who may look into the mount at all: without allow_other that is one user, whatever the bits say. Returns: that
 * user, or -1: everybody.
 */
static int64_t
mount_user(const struct stat *root)
{
	cleanup_free char *line = NULL;
	cleanup_text struct text device = {};
	FILE *f = fopen("/proc/self/mountinfo", "re");
	const char *user;
	int64_t uid = -1;
	size_t size = 0;

	text_addf(&device, " %u:%u ", major(root->st_dev), minor(root->st_dev));
	while (f && device.data && getline(&line, &size, f) > 0)
		if (strstr(line, device.data) && !strstr(line, "allow_other") && (user = strstr(line, "user_id=")))
			uid = (int64_t)strtoul(user + strlen("user_id="), NULL, 10);
	if (f)
		fclose(f);
	return uid;
}

/*
 * What a group can do with a directory it can do when that is the group's: less than to give it to everybody, and
 * its owner keeps it. Below the mount only sessions and slots have modes of their own.
 */
static void
open_to_group(struct why *y, const struct asker *a, const char *path, const char *bits)
{
	cleanup_text struct text word = {};

	add_shell_word(path, &word);
	if (text_done(&word) == 0)
		why_shell(y, "chgrp %u %s && chmod g+%s %s", (unsigned)a->groups[a->n_groups - 1], word.data, bits,
			word.data);
}

static bool
has_mode(const char *path, size_t n_root)
{
	const char *name = strrchr(path, '/');

	return strlen(path) <= n_root || (strcmp(name, "/caps") != 0 && strcmp(name, "/sessions") != 0);
}

/* Each directory of PATH, the last one included. Returns: 1, 0, or -1: one cannot be seen. */
static int
walk(struct why *y, const struct asker *a, char *path, size_t n_root, struct stat *ret)
{
	int verdict = 1;

	for (char *p = path + 1;; p++) {
		char kept = *p;
		bool last = !kept;

		if (kept && kept != '/')
			continue;
		*p = '\0';
		if (stat(path, ret) < 0)
			return -1;
		if (!may(a, ret, last ? BITS_USE : BITS_PASS)) {
			verdict = 0;
			if (has_mode(path, n_root))
				open_to_group(y, a, path, last ? "rwx" : "x");
		}
		*p = kept;
		if (last)
			return verdict;
	}
}

static void
print_mode(const struct asker *a, const struct stat *st, int verdict)
{
	cleanup_text struct text owner = {}, asker = {};

	add_user(st->st_uid, &owner);
	add_asker(a, &asker);
	if (text_done(&owner) == 0 && text_done(&asker) == 0)
		printf("  %-9s %04o owner %s, %s%s\n", "mode", (unsigned)st->st_mode & 0777, owner.data, asker.data,
			verdict ? "" : "   <- EACCES here");
}

int
why_access(struct why *y, const char *who)
{
	struct asker a = {};
	cleanup_free char *root = realpath(y->x->place.root, NULL);
	cleanup_text struct text path = {};
	struct stat st;
	int64_t only;
	int verdict;

	if (asker_init(&a, who) < 0)
		return -EINVAL;
	text_addf(&path, "%s/%s", root ? root : "", y->node.data);
	if (!root || text_done(&path) < 0)
		return -1;
	if (stat(root, &st) == 0 && (only = mount_user(&st)) >= 0 && only != (int64_t)a.uid) {
		printf("  %-9s of user %" PRId64 " alone, without allow_other   <- EACCES here\n", "mount", only);
		why_hint(y, "A mount of a user's own daemon is for that user alone.");
		return 0;
	}
	verdict = walk(y, &a, path.data, strlen(root), &st);
	if (verdict < 0)
		printf("  %-9s cannot be seen from here\n", "mode");
	else
		print_mode(&a, &st, verdict);
	return verdict;
}
