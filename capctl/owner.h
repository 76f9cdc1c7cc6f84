/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whom a session belongs to, as users say it, and the file system that is told. */
#pragma once

#include <sys/types.h>

struct owner {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* -1: unchanged, like the other two */
};

#define OWNER_UNCHANGED ((struct owner){(uid_t)-1, (gid_t)-1, (mode_t)-1})

/* USER or USER:GROUP, by name or number; a user's own group goes with the user. Returns: 0, or an exit status. */
int owner_parse(const char *word, struct owner *ret);
/*
 * GROUP,…, by name or number; RET has room for OWNER_GROUPS_MAX. Returns: 0, or an exit status.
 */
#define OWNER_GROUPS_MAX 32
int owner_parse_groups(const char *word, gid_t *ret, size_t *ret_n);
/* An octal one. Returns: 0, or an exit status. */
int owner_parse_mode(const char *word, struct owner *ret);

/* Of ROOT/NODE. By the file system: the kernel's rules decide who may. Returns: 0 or -errno. */
int owner_set(const char *root, const char *node, const struct owner *o);
