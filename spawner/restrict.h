/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a confined program takes away from itself: system calls, and what namespaces do not see. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#define RESTRICT_FILTER_MAX 1024

struct restrict_filter {
	size_t n;
	struct sock_filter instructions[RESTRICT_FILTER_MAX];
};

struct restrict_filters {
	struct restrict_filter calls;
	struct restrict_filter opens; /* none: this kernel asks nobody */
};

/* Made once, by who has libraries and memory to spare. Returns: 0 or -errno. */
int restrict_make_filters(struct restrict_filters *ret);

/* All below is by raw.h. Returns: 0 or an errno. */
int restrict_calls(const struct restrict_filter *filter);

/*
 * From here on this process and its children wait for who has *RET_LISTENER when they open something for reading
 * and writing, and cannot get privilege by what they execute. Returns: 0 or an errno: EOPNOTSUPP (before Linux
 * 5.19, or where nobody could look into them), EBUSY (somebody is asked already).
 */
int restrict_opens(const struct restrict_filter *filter, int *ret_listener);

/* Does the kernel keep from abstract sockets of others (Linux 6.12)? */
bool restrict_has_scopes(void);

/*
 * This process and its children reach files below their own root alone, also by directories that they are
 * given, and no abstract sockets of others and no signals to them. PROGRAM may be executed wherever it is;
 * -1: there is none. Returns: 0 or an errno.
 */
int restrict_files(int program);
