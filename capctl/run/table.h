/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors that a program gets, by their numbers there. Behind the standard three those that were added are
 * the table's and closed with it; what was lent comes last, and stays its owner's.
 */
#pragma once

#include <stddef.h>

#define STANDARD 3 /* stdin, stdout, stderr */

struct table {
	int *fds;
	char **labels;
	size_t n, n_owned, size;
};

/* Takes FD, in any case. Returns: 0, or an exit status, having said why. */
int table_add(struct table *t, int fd, const char *label);
/* As LABEL, or what is nearest to it and may be one. Nothing is added after it. */
int table_lend(struct table *t, int fd, const char *label);
void table_deinit(struct table *t);

#define RESERVED_FDS 128

/*
 * Small numbers that are not open, and stay so while others are opened: who names one of them names nothing, and
 * must not be given what happens to have it.
 */
struct reserve {
	int fds[RESERVED_FDS];
	size_t n;
};

/* Returns: 0, or an exit status, having said why. */
int reserve_fds(struct reserve *r);
void reserve_release(struct reserve *r);
